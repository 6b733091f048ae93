"""Matrix products by groups whose extents are data: a mixture of experts does not read them. Expectations are PyTorch's."""

import pytest

import tracer
import tracer.nn.functional as F
from tracer import nn

ENDS = [2, 2, 5, 6]


def by_loop(a, b, dim):
    """Each group's product, with the elements of groups read."""
    out, start = [], 0
    for group, end in enumerate(ENDS):
        left = a if a.ndim == 3 else a[start:end] if dim == "rows" else a[:, start:end]
        left = left[group] if a.ndim == 3 else left
        right = b[group] if b.ndim == 3 else b[:, start:end] if dim == "columns" else b[start:end]
        out.append(left @ right)
        start = end
    return tracer.stack(out) if dim == "inner" else tracer.cat(out, 0 if dim == "rows" else 1)


SHAPES = {"rows": ((6, 3), (4, 3, 2)), "columns": ((4, 2, 3), (3, 6)), "inner": ((3, 6), (6, 2))}


@pytest.mark.parametrize("dtype", [tracer.float32, tracer.bfloat16, tracer.float16])
@pytest.mark.parametrize("wrap", [lambda f: f, tracer.trace], ids=["eager", "traced"])
@pytest.mark.parametrize("dim", SHAPES)
def test_products_and_gradients(dim, wrap, dtype):
    tracer.manual_seed(0)
    a, b = (tracer.randn(*shape).to(dtype).requires_grad_() for shape in SHAPES[dim])
    ends = tracer.tensor(ENDS, dtype=tracer.int32)
    grouped = wrap(lambda a, b, ends: F.grouped_mm(a, b, offs=ends))
    for _ in range(2):
        found, wanted = grouped(a, b, ends), by_loop(a, b, dim)
        assert found.dtype is dtype and found.shape == wanted.shape
        weights = tracer.randn(wanted.shape).to(dtype)
        tolerance = 1e-6 if dtype is tracer.float32 else 0.05
        for x, y in zip(
            (found, *tracer.autograd.grad(found, (a, b), weights)),
            (wanted, *tracer.autograd.grad(wanted, (a, b), weights)),
            strict=True,
        ):
            assert tracer.allclose(x.float(), y.float(), rtol=tolerance, atol=tolerance)


def test_equal_groups_are_a_batch():
    a, b = tracer.randn(2, 3, 4), tracer.randn(2, 4, 5)
    assert F.grouped_mm(a, b).equal(a @ b)


def test_rows_of_no_group():
    x, w = tracer.ones(5, 2).requires_grad_(), tracer.ones(2, 2, 3).requires_grad_()
    y = F.grouped_mm(x, w, offs=tracer.tensor([1, 3], dtype=tracer.int32))
    y.sum().backward()
    assert y.tolist() == [[2] * 3] * 3 + [[0] * 3] * 2
    assert x.grad.tolist() == [[3] * 2] * 3 + [[0] * 2] * 2
    assert w.grad[:, 0, 0].tolist() == [1, 2]


ERRORS = [
    ((6, 3), (4, 2, 2), ENDS, {}, "contraction dimension"),
    ((6, 3), (4, 3, 2), ENDS[:3], {}, "matrix batch sizes"),
    ((6, 3), (4, 3, 2), None, {}, "Have to provide offsets"),
    ((4, 6, 3), (4, 3, 2), ENDS, {}, "Have to provide offsets"),
    ((4, 6, 3), (3, 3, 2), None, {}, "batched dimension"),
    ((6,), (4, 3, 2), ENDS, {}, "mat_a has to be 2 or 3d"),
    ((6, 3), (4, 3, 2), [ENDS], {}, "offs has to be 1D"),
    ((6, 3), (4, 3, 2), ENDS, {"bias": tracer.ones(2)}, "Bias not supported"),
    ((6, 3), (4, 3, 2), ENDS, {"out_dtype": tracer.float16}, "output dtype"),
]


@pytest.mark.parametrize("a, b, ends, more, message", ERRORS)
def test_errors(a, b, ends, more, message):
    offs = None if ends is None else tracer.tensor(ends, dtype=tracer.int32)
    with pytest.raises(RuntimeError, match=message):
        F.grouped_mm(tracer.ones(a), tracer.ones(b), offs=offs, **more)


def test_wrong_dtypes():
    a, b, ends = tracer.ones(6, 3), tracer.ones(4, 3, 2), tracer.tensor(ENDS, dtype=tracer.int32)
    with pytest.raises(RuntimeError, match="Expected mat_a to be Float32, BFloat16 or Float16 matrix, got Double"):
        F.grouped_mm(a.double(), b, offs=ends)
    with pytest.raises(RuntimeError, match="Offsets have to be int32"):
        F.grouped_mm(a, b, offs=ends.long())


def test_a_mixture_of_experts_is_compiled_whatever_the_routing():
    """Each batch sends other numbers of rows to the experts, which differ in extent from call to call."""
    tracer.manual_seed(0)
    router, weights = nn.Linear(4, 3), nn.Parameter(tracer.randn(3, 4, 4))

    @tracer.trace
    def step(x):
        scores, experts = router(x).softmax(-1).topk(2)
        experts, order = tracer.sort(experts.reshape(-1))
        counts = tracer.histc(experts.float(), bins=3, min=0, max=2)
        ends = counts.cumsum(0, dtype=tracer.int32)
        out = F.grouped_mm(x[order // 2], weights, offs=ends) * scores.reshape(-1)[order, None]
        loss = out.pow(2).mean()
        for p in (*router.parameters(), weights):
            p.grad = None
        loss.backward()
        return loss

    for seed in range(8):
        tracer.manual_seed(seed)
        x = tracer.randn(6, 4)
        found, grads = step(x), [weights.grad, router.weight.grad]
        wanted = step.__wrapped__(x)
        assert tracer.allclose(found, wanted)
        for got, expected in zip(grads, [weights.grad, router.weight.grad], strict=True):
            assert tracer.allclose(got, expected, rtol=1e-4, atol=1e-6)
    assert step.cache_info().replays == 7
