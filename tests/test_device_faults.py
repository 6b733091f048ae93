"""Programs that gave wrong or stale results on a device, or for memory and facts that traces did not compare."""

import gc
import warnings

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="needs the extra 'cuda'")

import tracer
from tracer.nn import functional as F

pytestmark = [
    pytest.mark.usefixtures("cuda"),
    pytest.mark.filterwarnings("error:(?s).*has no kernel for this device"),
]


def test_integers_as_arguments():
    for function in (
        lambda x, n: x * n,
        lambda x, n: x / n,
        lambda x, n: x + 2**n,
        lambda x, n: x * int(n / 2) + round(n * 1.5),
    ):
        traced = tracer.trace(function)
        for n in (1, 2, 3, 4, 5, 7):
            x = tracer.ones(3)
            assert traced(x.cuda(), n).tolist() == pytest.approx(function(x, n).tolist())
    with pytest.raises((OverflowError, RuntimeError)):
        traced(tracer.ones(3, device="cuda"), 10**400)


def test_a_failed_call_changes_nothing():
    def f(x, index, p):
        y = x[index].sum()
        p.add_(1)
        return y

    traced, x, p = tracer.trace(f), tracer.ones(4, device="cuda"), tracer.zeros(3, device="cuda")
    for k in range(4):
        traced(x, tracer.tensor([k], device="cuda"), p)
    assert p.tolist() == [4] * 3
    for _ in range(3):
        with pytest.raises(IndexError):
            traced(x, tracer.tensor([9], device="cuda"), p)
    assert p.tolist() == [4] * 3
    traced(x, tracer.tensor([0], device="cuda"), p)
    assert p.tolist() == [5] * 3


@pytest.mark.filterwarnings("ignore:(?s).*shares memory with another package")
@pytest.mark.parametrize("how", ["capsule", "interface"])
def test_memory_that_a_function_exports(how):
    seen = []

    def f(x):
        y = x * 2
        other = tracer.from_dlpack(y.__dlpack__()) if how == "capsule" else y.__cuda_array_interface__["shape"]
        seen.append(other.tolist() if how == "capsule" else other)
        return y + 1

    traced = tracer.trace(f)
    for k in range(3):
        traced(tracer.full((2,), float(k), device="cuda"))
    assert seen == ([[0, 0], [2, 2], [4, 4]] if how == "capsule" else [(2,)] * 3)


def test_a_product_of_empty_matrices():
    x, y = tracer.ones(0, 3, device="cuda"), tracer.ones(3, 2, device="cuda")
    assert (x @ y).shape == (0, 2)
    assert (y * 2).sum().item() == 12


def test_a_sum_over_nothing():
    x, y = tracer.ones(3, 0, device="cuda"), tracer.ones(0, 2, device="cuda")
    b = tracer.ones(2, device="cuda")
    f = tracer.trace(lambda x, y: F.linear(x, y.t(), b))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the host computes it
        assert (x @ y).tolist() == [[0, 0]] * 3
        for _ in range(3):
            assert f(x, y).tolist() == [[1, 1]] * 3


def test_the_backward_pass_of_one_of_several_results():
    f = tracer.trace(lambda x: (x.exp().sum(), (x * 2).sum()))
    for _ in range(3):
        x = tracer.zeros(3, device="cuda", requires_grad=True)
        f(x)[0].backward()
        assert x.grad.tolist() == [1, 1, 1]


@pytest.mark.parametrize("traced", [False, True])
def test_backward_passes_of_work_in_streams(traced):
    """They follow the work of all streams, whatever stream they are started in."""
    side, other = tracer.cuda.Stream(), tracer.cuda.Stream()
    f = lambda x: (x * 2).exp().sum()
    run = tracer.trace(f) if traced else f
    for _ in range(4):
        x = tracer.zeros(4, device="cuda", requires_grad=True)
        side.wait_stream(tracer.cuda.current_stream())
        with tracer.cuda.stream(side):
            y = run(x)
        other.wait_stream(side)
        with tracer.cuda.stream(other):
            z = y * 3
        z.backward()
        with tracer.cuda.stream(side):
            w = tracer.zeros(4, device="cuda") + 1  # may have memory that the pass has used
        assert x.grad.tolist() == [6] * 4
        tracer.cuda.synchronize()
        assert w.tolist() == [1] * 4


def test_numbers_in_several_streams():
    """A number that was copied in one stream is not overwritten while another one reads it."""
    x, side = tracer.ones(3, device="cuda"), tracer.cuda.Stream()
    tracer.cuda.synchronize()
    for k in range(600):
        with tracer.cuda.stream(side if k % 2 else None):
            y = x * (k // 2 * 0.5)
    tracer.cuda.synchronize()
    assert y.tolist() == [149.5] * 3


def test_writes_into_computed_tensors_stay_on_the_device():
    y = tracer.ones(3, 4, device="cuda") * 2
    y[:, 1:3] = 5
    y[1].zero_()
    assert y.tolist() == [[2, 5, 5, 2], [0] * 4, [2, 5, 5, 2]]


def test_output_arguments_of_other_kinds():
    a, out = tracer.ones(3, device="cuda")._data, np.zeros(3, np.float32)
    with pytest.warns(match="has no kernel"):
        assert np.add(a, a, out=out) is out
    assert out.tolist() == [2, 2, 2]


CHANGING = {
    "the stream": lambda x: x * (2 if tracer.cuda.current_stream() == tracer.cuda.default_stream() else 3),
    "memory in use": lambda x: x * (tracer.cuda.memory_allocated() // 100_000),
}


@pytest.mark.filterwarnings("ignore:(?s).*runs eagerly")
@pytest.mark.parametrize("name", CHANGING)
def test_what_changes_without_the_function(name):
    f, side, kept = tracer.trace(CHANGING[name]), tracer.cuda.Stream(), []
    x = tracer.ones(2, device="cuda")
    for k in range(4):
        tracer.cuda.synchronize()
        gc.collect()
        kept.append(tracer.ones(100_000 * k + 1, device="cuda"))
        with tracer.cuda.stream(side if k % 2 else None):
            assert f(x).tolist() == CHANGING[name](x).tolist()


def leaf():
    return tracer.ones(2, requires_grad=True)


def retained():
    x = leaf() * 1
    x.retain_grad()
    return x


def inference():
    with tracer.inference_mode():
        return tracer.ones(2)


LONG = tracer.arange(64.0)
FACTS = {
    "grad_fn": (lambda x: x.grad_fn.name(), lambda: [leaf().exp(), leaf() * leaf(), leaf().sin()]),
    "edges": (lambda x: len(x.grad_fn.next_functions), lambda: [leaf().exp(), leaf() * leaf(), leaf().sin()]),
    "retains_grad": (lambda x: x.retains_grad, lambda: [leaf() * 1, retained(), leaf() * 1]),
    "is_inference": (lambda x: x.is_inference(), lambda: [tracer.ones(2), inference(), tracer.ones(2)]),
    "is_pinned": (lambda x: x.is_pinned(), lambda: [tracer.ones(2), tracer.ones(2).pin_memory(), tracer.ones(2)]),
    "storage_offset": (lambda x: (x * x.storage_offset()).tolist(), lambda: [LONG[a : a + 4] for a in (0, 16, 32)]),
    "storage": (lambda x: x.untyped_storage().nbytes(), lambda: [tracer.ones(n)[:3] for n in (8, 16, 32)]),
    "base": (lambda x: x._base.shape[0], lambda: [tracer.ones(n)[:3] for n in (8, 16, 32)]),
}


@pytest.mark.filterwarnings("ignore:(?s).*runs eagerly")
@pytest.mark.parametrize("name", FACTS)
def test_facts_about_arguments(name):
    function, arguments = FACTS[name]
    traced = tracer.trace(function)
    for _ in range(2):
        for x in arguments():
            assert traced(x) == function(x)


@pytest.mark.filterwarnings("ignore:(?s).*runs eagerly")
def test_the_layout_of_gradients():
    traced = tracer.trace(lambda x: x.grad.stride())
    for k in range(6):
        x = tracer.ones(2, 3, requires_grad=True)
        x.grad = tracer.ones(2, 3) if k % 2 else tracer.ones(3, 2).t()
        assert traced(x) == x.grad.stride()


def test_arrays_of_subclasses(tmp_path):
    np.zeros(3, np.float32).tofile(tmp_path / "a")
    array = np.memmap(tmp_path / "a", np.float32, "r+")
    tracer.from_numpy(array).add_(1)
    tracer.as_tensor(array).add_(1)
    array.flush()
    assert np.fromfile(tmp_path / "a", np.float32).tolist() == [2, 2, 2]


def test_capsules_of_bfloat16():
    x = tracer.ones(3, dtype=tracer.bfloat16)
    y = tracer.from_dlpack(x)
    y.add_(1)
    assert x.tolist() == [2, 2, 2] and y.dtype is tracer.bfloat16
