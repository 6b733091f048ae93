"""Eager tensors: factories, conversion, facts about tensors, old names, axes by another name."""

import copy
import pickle

import numpy as np
import pytest
from values import check, ones

import tracer
from tracer import tensor
from tracer.nn import functional as F

# Factories, and conversion to other types.

FACTORIES = {
    "tensor of ints and floats": (lambda: tensor([1, 2.5]), [1, 2.5], "float32"),
    "tensor of bools and ints": (lambda: tensor([True, 2]), [1, 2], "int64"),
    "tensor of tensors": (lambda: tensor([tensor(1), tensor(2)]), [1, 2], "int64"),
    "tensor of an array": (lambda: tensor(np.arange(3.0)), [0, 1, 2], "float64"),
    "tensor of NumPy numbers": (lambda: tensor([np.float64(1.5)]), [1.5], "float64"),
    "large integers": (lambda: tensor([2**40]), [2**40], "int64"),
    "zeros": (lambda: tracer.zeros(1, 2), [[0, 0]], "float32"),
    "zeros of a list": (lambda: tracer.zeros([1, 2]), [[0, 0]], "float32"),
    "zeros of a Size": (lambda: tracer.zeros(ones(1, 2).shape), [[0, 0]], "float32"),
    "ones": (lambda: tracer.ones(2, dtype=tracer.int32), [1, 1], "int32"),
    "full of an int": (lambda: tracer.full((2,), 3), [3, 3], "int64"),
    "full of a bool": (lambda: tracer.full((2,), True), [True, True], "bool"),
    "full of a float": (lambda: tracer.full((), 1.5), 1.5, "float32"),
    "zeros_like": (lambda: tracer.zeros_like(tensor([1, 2])), [0, 0], "int64"),
    "ones_like": (lambda: tracer.ones_like(tensor([[1.0]])), [[1]], "float32"),
    "full_like": (lambda: tracer.full_like(tensor([1, 2]), 2), [2, 2], "int64"),
    "arange": (lambda: tracer.arange(1, 10, 3), [1, 4, 7], "int64"),
    "arange of floats": (lambda: tracer.arange(0, 1, 0.25), [0, 0.25, 0.5, 0.75], "float32"),
    "arange backwards": (lambda: tracer.arange(3, 0, -1), [3, 2, 1], "int64"),
    "linspace": (lambda: tracer.linspace(0, 1, 5), [0, 0.25, 0.5, 0.75, 1], "float32"),
    "linspace of one": (lambda: tracer.linspace(2, 3, 1), [2], "float32"),
    "eye": (lambda: tracer.eye(2, 3), [[1, 0, 0], [0, 1, 0]], "float32"),
    "Tensor": (lambda: tracer.Tensor([1, 2]), [1, 2], "float32"),
    "one_hot": (lambda: F.one_hot(tensor([0, 2]), 3), [[1, 0, 0], [0, 0, 1]], "int64"),
}


@pytest.mark.parametrize("name", FACTORIES)
def test_factory(name):
    make, expected, dtype = FACTORIES[name]
    check(make(), expected, dtype)


def test_random_numbers_repeat_after_seeding():
    tracer.manual_seed(3)
    a = tracer.rand(1000), tracer.randn(1000), tracer.randint(-2, 3, (1000,)), tracer.randperm(100)
    tracer.manual_seed(3)
    b = tracer.rand(1000), tracer.randn(1000), tracer.randint(-2, 3, (1000,)), tracer.randperm(100)
    assert all((x == y).all() for x, y in zip(a, b, strict=True))
    uniform, normal, integers, order = a
    assert 0 <= uniform.min().item() < 0.02 and 0.98 < uniform.max().item() < 1
    assert abs(normal.mean().item()) < 0.15 and abs(normal.std().item() - 1) < 0.1
    assert sorted(set(integers.tolist())) == [-2, -1, 0, 1, 2]
    assert sorted(order.tolist()) == list(range(100))
    assert not (tracer.rand(1000) == uniform).any()


def test_python_numbers():
    assert type(tensor([[5]]).item()) is int
    assert type(tensor(5.0).item()) is float
    assert type(tensor(True).item()) is bool
    assert ones(2).tolist() == [1.0, 1.0]
    assert tensor(3.0).tolist() == 3.0
    assert (float(tensor(2)), int(tensor(2.7)), bool(tensor([[0.0]]))) == (2.0, 2, False)
    assert [10, 20, 30][tensor(1)] == 20
    assert [t.item() for t in tracer.arange(3)] == [0, 1, 2]
    assert 2 in tracer.arange(3) and 5 not in tracer.arange(3)
    assert len(tracer.zeros(4, 2)) == 4


def test_numpy():
    array = np.ones(2)
    shared, copied = tracer.from_numpy(array), tensor(array)
    array[0] = 5
    check(shared, [5, 1], "float64")
    check(copied, [1, 1], "float64")
    shared.numpy()[1] = 7
    assert array[1] == 7
    assert np.asarray(tensor([1, 2])).dtype == np.int64
    assert tensor([1.0], requires_grad=True).detach().numpy().tolist() == [1.0]


def test_facts():
    x = tracer.zeros(2, 3)
    assert (x.numel(), x.dim(), x.ndim, x.size(1), x.size(-1), x.element_size()) == (6, 2, 2, 3, 3, 4)
    assert x.size() == x.shape == (2, 3)
    assert x.shape.numel() == 6
    assert x.is_floating_point() and not x.long().is_floating_point()
    assert {x: 1}[x] == 1  # hashed by identity


def test_copies_are_independent():
    x = tensor([1.0, 2.0], requires_grad=True)
    for twin in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert twin.requires_grad and twin.is_leaf and twin.data_ptr() != x.data_ptr()
        check(twin, [1, 2])


# Inspection, old names, in-place random numbers.


def test_questions_about_tensors_and_dtypes():
    x = tracer.ones(2, 3)
    assert tracer.is_tensor(x) and not tracer.is_tensor([1])
    assert tracer.numel(x) == 6 and tracer.is_floating_point(x) and x.stride() == (3, 1) and x.T.stride(0) == 1
    assert tracer.promote_types(tracer.int8, tracer.float32) is tracer.float32
    assert tracer.result_type(tracer.ones(2, dtype=tracer.int32), 1.5) is tracer.float32
    assert tracer.can_cast(tracer.int64, tracer.float32) and not tracer.can_cast(tracer.float32, tracer.int64)
    assert tracer.finfo(tracer.float32).eps == 2**-23 and tracer.iinfo(tracer.int16).max == 32767
    assert x.type() == "torch.FloatTensor" and x.type(tracer.DoubleTensor).dtype is tracer.float64
    assert tracer.device("cuda" if tracer.cuda.is_available() else "cpu") == x.device
    with pytest.raises(RuntimeError, match="ambiguous"):
        tracer.is_nonzero(x)
    with pytest.raises(TypeError, match="floating point input type"):
        tracer.finfo(tracer.int8)


def test_numbers_drawn_in_place():
    tracer.manual_seed(0)
    u = tracer.empty(2000).uniform_(2, 4)
    assert u.min() >= 2 and u.max() < 4 and abs(u.mean().item() - 3) < 0.1
    n = tracer.empty(2000).normal_(5, 2)
    assert abs(n.mean().item() - 5) < 0.2 and abs(n.std().item() - 2) < 0.2
    e = tracer.empty(2000).exponential_(0.5)
    assert e.min() >= 0 and abs(e.mean().item() - 2) < 0.3
    r = tracer.empty(2000, dtype=tracer.int64).random_(3, 7)
    assert sorted(set(r.tolist())) == [3, 4, 5, 6]


def test_in_place_arithmetic_on_overlapping_memory():
    x = tracer.arange(6, dtype=tracer.float32)
    with pytest.raises(RuntimeError, match="single memory location"):  # would be read and written at the same time
        x[1:] += x[:-1]
    x[::2] += x[1::2]
    assert x.tolist() == [1, 1, 5, 3, 9, 5]
    y = tracer.ones(3)
    y *= y
    y -= 0.5
    assert y.tolist() == [0.5] * 3 and y._version == 2
    with pytest.raises(RuntimeError, match="broadcast shape"):
        y += tracer.ones(2, 3)


BOTH_SPELLINGS = {
    "linalg.vector_norm": lambda x, **k: tracer.linalg.vector_norm(x, **k),
    "linalg.norm": lambda x, **k: tracer.linalg.norm(x, **k),
    "special.logsumexp": lambda x, **k: tracer.special.logsumexp(x, **k),
    "sum": lambda x, **k: x.sum(**k),
}


@pytest.mark.parametrize("name", BOTH_SPELLINGS)
def test_axis_and_keepdims(name):
    function, x = BOTH_SPELLINGS[name], tracer.arange(6.0).reshape(2, 3)
    check(function(x, axis=1, keepdims=True), function(x, dim=1, keepdim=True).tolist())


def test_axis_in_other_namespaces():
    x = tracer.arange(6.0).reshape(2, 3)
    F = tracer.nn.functional
    assert tracer.equal(tracer.fft.fft(x, axis=0), tracer.fft.fft(x, dim=0))
    assert tracer.equal(F.normalize(x, axis=0), F.normalize(x, dim=0))
    assert tracer.equal(F.cosine_similarity(x, x + 1, axis=0), F.cosine_similarity(x, x + 1, dim=0))
    out = tracer.empty(2)
    assert tracer.linalg.vector_norm(x, dim=1, out=out) is out
    check(out, [5**0.5, 50**0.5])


def test_numpy_warns_as_before_after_operations():
    """Warnings are silenced only around each operation and each backward pass."""
    with np.errstate(all="raise"):
        x = tensor([0.0], requires_grad=True)
        (1 / x).sum().backward()
        with pytest.raises(RuntimeError):
            ones(2) + ones(3)
        with pytest.raises(FloatingPointError):
            np.ones(1) / np.zeros(1)


def test_complex_numbers_without_dimensions():
    a = tracer.tensor(1 + 2j, requires_grad=True)
    y = a.conj()
    (y * y.conj()).real.backward()
    assert y.item() == 1 - 2j and a.grad.item() == 2 + 4j


def test_logarithms_of_sums_of_complex_exponentials():
    z = np.array([1 + 2j, 3 - 1j, 0.5j, 2])
    w = tracer.tensor(z)
    assert np.allclose(tracer.logsumexp(w, 0).numpy(), np.log(np.exp(z).sum()))
    assert np.allclose(np.exp(tracer.logaddexp(w, w * 2).numpy()), np.exp(z) + np.exp(2 * z))
    assert np.allclose(tracer.addcdiv(w, w, w).numpy(), z + 1)


def test_what_takes_no_value_of_its_input_has_a_derivative_of_zero():
    for function in (lambda x: tracer.fill(x, 3), tracer.bernoulli):
        x = tracer.tensor([0.25, 1.0], requires_grad=True)
        y = function(x)
        assert y.requires_grad
        y.sum().backward()
        assert x.grad.tolist() == [0.0, 0.0]
