"""Eager tensors: operators, dtypes, shapes, indexing, printing, factories, and PyTorch's errors for bad input."""

import copy
import pickle
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tracer
from tracer import tensor
from tracer.nn import functional as F

INF, NAN = float("inf"), float("nan")
DTYPES = ("bool", "uint8", "int8", "int16", "int32", "int64", "float32", "float64")
quick = settings(max_examples=50, deadline=None)


def ones(*shape, dtype="float32"):
    return tracer.ones(*shape, dtype=getattr(tracer, dtype))


def name_of(dtype):
    return str(dtype).split(".")[-1]


def check(got, expected, dtype=None):
    """Same shape, same values (NaN equal to NaN), and the dtype if one is named."""
    np.testing.assert_allclose(got.detach().numpy(), np.array(expected), rtol=1e-6)
    assert tuple(got.shape) == np.shape(expected)
    assert dtype is None or name_of(got.dtype) == dtype


# Operators.

OPERATORS = {
    "add": (lambda: tensor([1.0, 2.0]) + tensor([3.0, 4.0]), [4, 6], "float32"),
    "radd": (lambda: 1 + tensor([1.0, 2.0]), [2, 3], "float32"),
    "rsub": (lambda: 2 - tensor([1, 3]), [1, -1], "int64"),
    "mul": (lambda: tensor([1, 2]) * 2.5, [2.5, 5], "float32"),
    "truediv of integers": (lambda: tensor([1, 2]) / tensor([2, 4]), [0.5, 0.5], "float32"),
    "rtruediv": (lambda: 1 / tensor([1, 2]), [1, 0.5], "float32"),
    "pow": (lambda: tensor([2, 3]) ** tensor([2, 3]), [4, 27], "int64"),
    "rpow": (lambda: 2 ** tensor([1.0, 3.0]), [2, 8], "float32"),
    "pow zero": (lambda: tensor([0.0]) ** 0, [1], "float32"),
    "pow of a negative": (lambda: tensor([-8.0]) ** (1 / 3), [NAN], "float32"),
    "mod takes the divisor's sign": (lambda: tensor([7, -7, 7, -7]) % tensor([3, 3, -3, -3]), [1, 2, -2, -1], "int64"),
    "mod of floats": (lambda: tensor([7.0, -7.0]) % -3, [-2, -1], "float32"),
    "rmod": (lambda: 5 % tensor([3, -3]), [2, -1], "int64"),
    "floordiv": (lambda: tensor([7, -7]) // 2, [3, -4], "int64"),
    "rfloordiv": (lambda: 7 // tensor([2.0, 3.0]), [3, 2], "float32"),
    "neg": (lambda: -tensor([1, -2]), [-1, 2], "int64"),
    "pos": (lambda: +tensor([1, -2]), [1, -2], "int64"),
    "abs": (lambda: abs(tensor([1, -2])), [1, 2], "int64"),
    "and": (lambda: tensor([5, 3]) & tensor([4, 2]), [4, 2], "int64"),
    "or": (lambda: tensor([5, 3]) | 4, [5, 7], "int64"),
    "xor": (lambda: tensor([5, 3]) ^ 1, [4, 2], "int64"),
    "invert": (lambda: ~tensor([5, 3]), [-6, -4], "int64"),
    "invert of bools": (lambda: ~tensor([True, False]), [False, True], "bool"),
    "sum of bools is or": (lambda: tensor([True, False]) + tensor([True, True]), [True, True], "bool"),
    "uint8 wraps around": (lambda: tensor([200], dtype=tracer.uint8) + 100, [44], "uint8"),
    "matmul": (lambda: tensor([[1.0, 2.0], [3.0, 4.0]]) @ tensor([[1.0], [10.0]]), [[21], [43]], "float32"),
    "lt": (lambda: tensor([1, 2]) < 2, [True, False], "bool"),
    "reflected lt": (lambda: 1 < tensor([1, 2]), [False, True], "bool"),  # noqa: SIM300
    "eq across dtypes": (lambda: tensor([1, 2]) == tensor([1.0, 3.0]), [True, False], "bool"),
    "ne": (lambda: tensor([1, 2]) != 1, [False, True], "bool"),
    "comparison with NaN": (lambda: tensor([NAN, 1.0]) >= 0, [False, True], "bool"),
    "NumPy integer on the right": (lambda: ones(2) * np.int64(2), [2, 2], "float32"),
    "NumPy float32 on the right": (lambda: ones(2, dtype="int64") * np.float32(2), [2, 2], "float32"),
    "NumPy float64 on the right": (lambda: ones(2) * np.float64(2), [2, 2], "float32"),
    "NumPy float64 on the left": (lambda: np.float64(2) * ones(2), [2, 2], "float32"),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_operator(name):
    make, expected, dtype = OPERATORS[name]
    check(make(), expected, dtype)


def test_division_by_zero_and_logarithm_outside_its_domain_are_silent():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(tensor([1.0, -1.0, 0.0]) / 0, [INF, -INF, NAN])
        check(tensor([-1.0, 0.0]).log(), [NAN, -INF])
        check(tensor([-1.0]).sqrt(), [NAN])
        check(tensor([1000.0]).exp(), [INF])


def test_comparison_with_something_else_is_false():
    assert (tensor([1, 2]) == None) is False  # noqa: E711
    assert (tensor([1, 2]) == "a") is False
    assert (tensor([1, 2]) != None) is True  # noqa: E711


def test_named_operations():
    t = tracer.arange(3.0)
    check(t.add(1, alpha=2), [2, 3, 4])
    check(t.sub(1, alpha=2), [-2, -1, 0])
    check(tracer.maximum(t, ones(3)), [1, 1, 2])
    check(tracer.minimum(t, ones(3)), [0, 1, 1])
    check(t.clamp(max=1), [0, 1, 1])
    check(t.masked_fill(tensor([True, False, True]), -1), [-1, 1, -1])
    check(tracer.where(t > 0, t, 7.0), [7, 1, 2])
    check(tensor([2.5, 3.5, -2.5, 0.5]).round(), [2, 4, -2, 0])
    check(tensor([1e-8, -1e-8]).log1p(), [1e-8, -1e-8])
    check(tensor([1e-8]).expm1(), [1e-8])


def test_nan_goes_through():
    x = tensor([1.0, NAN, 3.0])
    check(tracer.maximum(x, ones(3)), [1, NAN, 3])
    check(x.relu(), [1, NAN, 3])
    check(x.clamp(0, 2), [1, NAN, 2])
    check(x.sign(), [1, 0, 1])
    check(x.max(), NAN)
    assert x.argmax().item() == 1


# Promotion. Rows: left operand's dtype; columns: DTYPES. As torch.result_type of two tensors with dimensions.

PROMOTION = """
bool     bool uint8 int8 int16 int32 int64 float32 float64
uint8    uint8 uint8 int16 int16 int32 int64 float32 float64
int8     int8 int16 int8 int16 int32 int64 float32 float64
int16    int16 int16 int16 int16 int32 int64 float32 float64
int32    int32 int32 int32 int32 int32 int64 float32 float64
int64    int64 int64 int64 int64 int64 int64 float32 float64
float32  float32 float32 float32 float32 float32 float32 float32 float64
float64  float64 float64 float64 float64 float64 float64 float64 float64
"""


@pytest.mark.parametrize("row", PROMOTION.strip().splitlines(), ids=lambda row: row.split()[0])
def test_promotion_of_two_tensors(row):
    left, *expected = row.split()
    assert [name_of((ones(2, dtype=left) * ones(2, dtype=right)).dtype) for right in DTYPES] == expected


@pytest.mark.parametrize("row", PROMOTION.strip().splitlines(), ids=lambda row: row.split()[0])
def test_promotion_with_a_tensor_without_dimensions(row):
    """It counts only if it is of a higher category: bool, integer, floating."""
    left = row.split()[0]
    category = {"b": 0, "u": 1, "i": 1, "f": 2}
    expected = [right if category[right[0]] > category[left[0]] else left for right in DTYPES]
    assert [name_of((ones(2, dtype=left) + tensor(1, dtype=getattr(tracer, right))).dtype) for right in DTYPES] == expected


@pytest.mark.parametrize("dtype", DTYPES)
def test_promotion_with_numbers(dtype):
    floating = dtype if dtype.startswith("float") else "float32"
    x = ones(2, dtype=dtype)
    assert name_of((x * True).dtype) == dtype
    assert name_of((x * 2).dtype) == ("int64" if dtype == "bool" else dtype)
    assert name_of((x * 2.5).dtype) == floating
    assert name_of((x / 2).dtype) == floating
    assert name_of(x.exp().dtype) == floating
    assert name_of(x.sum().dtype) == (dtype if dtype.startswith("float") else "int64")
    assert name_of((x < 2.5).dtype) == "bool"
    assert name_of(tracer.where(x > 0, x, 1.5).dtype) == floating
    assert name_of(tracer.cat([x, ones(1)]).dtype) == ("float64" if dtype == "float64" else "float32")


@pytest.mark.parametrize("dtype", DTYPES)
def test_promotion_of_powers(dtype):
    x = ones(2, dtype=dtype)
    assert name_of((x**2).dtype) == ("int64" if dtype == "bool" else dtype)
    assert name_of((x**2.0).dtype) == (dtype if dtype.startswith("float") else "float32")


def test_default_dtype():
    assert tracer.get_default_dtype() is tracer.float32
    tracer.set_default_dtype(tracer.float64)
    try:
        assert tensor(1.5).dtype is tracer.float64
        assert (tensor([1]) / 2).dtype is tracer.float64
    finally:
        tracer.set_default_dtype(tracer.float32)


def test_casts():
    check(tensor([2.5, -2.5]).long(), [2, -2], "int64")
    check(tensor([0.0, 2.0]).bool(), [False, True], "bool")
    check(ones(2).type_as(ones(1, dtype="int32")), [1, 1], "int32")
    t = ones(2)
    assert t.to(tracer.float32) is t
    assert t.float() is t
    assert t.double().dtype is tracer.float64


# Broadcasting and reductions.


@quick
@given(st.data())
def test_broadcasting_is_numpys(data):
    shapes = data.draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=4)).input_shapes
    integers = st.integers(-100, 100).map(float)
    a, b = (data.draw(hnp.arrays(np.float64, shape, elements=integers)) for shape in shapes)
    x, y = tensor(a), tensor(b)
    np.testing.assert_array_equal((x + y).numpy(), a + b, strict=True)
    np.testing.assert_array_equal((x * y).numpy(), a * b, strict=True)


def cube():
    return tracer.arange(24.0).reshape(2, 3, 4)


REDUCTIONS = {
    "sum": (lambda: cube().sum(), 276),
    "sum of two dims": (lambda: cube().sum((0, 2)), [60, 92, 124]),
    "sum keepdim": (lambda: cube().sum(1, keepdim=True), [[[12, 15, 18, 21]], [[48, 51, 54, 57]]]),
    "sum of the last dim": (lambda: cube().sum(dim=-1), [[6, 22, 38], [54, 70, 86]]),
    "sum of no dims is of all": (lambda: cube().sum(()), 276),
    "mean": (lambda: cube().mean((0, 1)), [10, 11, 12, 13]),
    "var": (lambda: cube().var(1), [[16, 16, 16, 16], [16, 16, 16, 16]]),
    "var without correction": (lambda: cube().var(0, correction=0)[0], [36, 36, 36, 36]),
    "std": (lambda: cube().std(), 7.0710678),
    "amax": (lambda: cube().amax((0, 1)), [20, 21, 22, 23]),
    "amin": (lambda: cube().amin(), 0),
    "max": (lambda: cube().max(1).values, [[8, 9, 10, 11], [20, 21, 22, 23]]),
    "max indices": (lambda: cube().max(1, keepdim=True).indices, [[[2, 2, 2, 2]], [[2, 2, 2, 2]]]),
    "min": (lambda: cube().min(-1)[0], [[0, 4, 8], [12, 16, 20]]),
    "argmax is the first": (lambda: tensor([[1, 3, 3], [2, 0, 2]]).argmax(1), [1, 0]),
    "argmax of all": (lambda: tensor([[1, 3, 3], [2, 0, 2]]).argmax(), 1),
    "argmin": (lambda: tensor([[1, 3, 3], [2, 0, 2]]).argmin(0, keepdim=True), [[0, 1, 1]]),
    "any": (lambda: tensor([[0, 1], [0, 0]]).any(1), [True, False]),
    "all": (lambda: tensor([[0, 1], [1, 1]]).all(1), [False, True]),
    "all of nothing": (lambda: tensor([]).all(), True),
    "any of nothing": (lambda: tensor([]).any(), False),
    "sum of nothing": (lambda: tracer.zeros(0, 3).sum(0), [0, 0, 0]),
    "sum of bools counts": (lambda: tensor([True, False, True]).sum(), 2),
    "logsumexp": (lambda: tensor([1000.0, 1001.0]).logsumexp(0), 1001.3132617),
    "logsumexp of -inf": (lambda: tensor([-INF, -INF]).logsumexp(0), -INF),
    "softmax": (lambda: tensor([1000.0, 1001.0]).softmax(0), [0.26894143, 0.73105857]),
    "log_softmax": (lambda: tensor([-INF, 0.0]).log_softmax(0), [-INF, 0]),
    "of a number": (lambda: tensor(2.0).sum(0), 2),
}


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reduction(name):
    make, expected = REDUCTIONS[name]
    check(make(), expected)


def test_mean_of_nothing_is_nan_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(tensor([]).mean(), NAN)


# Shapes and views.


@quick
@given(st.data())
def test_permute_and_reshape_round_trips(data):
    array = data.draw(hnp.arrays(np.int64, hnp.array_shapes(max_dims=4, max_side=4)))
    order = data.draw(st.permutations(range(array.ndim)))
    x = tensor(array)
    moved = x.permute(order)
    np.testing.assert_array_equal(moved.numpy(), array.transpose(order), strict=True)
    np.testing.assert_array_equal(moved.permute(np.argsort(order).tolist()).numpy(), array, strict=True)
    np.testing.assert_array_equal(moved.reshape(-1).reshape(moved.shape).numpy(), moved.numpy(), strict=True)
    np.testing.assert_array_equal(x.flatten().numpy(), array.ravel())


SHAPES = {
    "reshape": (lambda x: x.reshape(6, -1), (6, 4)),
    "reshape by a tuple": (lambda x: x.reshape((4, 6)), (4, 6)),
    "view": (lambda x: x.view(-1), (24,)),
    "flatten": (lambda x: x.flatten(1), (2, 12)),
    "flatten of a number": (lambda x: x.sum().flatten(), (1,)),
    "permute": (lambda x: x.permute(2, 0, 1), (4, 2, 3)),
    "permute by negative dims": (lambda x: x.permute(-1, 0, 1), (4, 2, 3)),
    "transpose": (lambda x: x.transpose(0, -1), (4, 3, 2)),
    "T": (lambda x: x[0].T, (4, 3)),
    "mT": (lambda x: x.mT, (2, 4, 3)),
    "unsqueeze": (lambda x: x.unsqueeze(-1), (2, 3, 4, 1)),
    "squeeze": (lambda x: x[None, :, None].squeeze(), (2, 3, 4)),
    "squeeze of one dim": (lambda x: x[None, :, None].squeeze(0), (2, 1, 3, 4)),
    "squeeze leaves other extents": (lambda x: x.squeeze(0), (2, 3, 4)),
    "expand": (lambda x: x[:, :1].expand(5, 2, 3, -1), (5, 2, 3, 4)),
    "expand_as": (lambda x: x[:1, :1].expand_as(x), (2, 3, 4)),
    "broadcast_to": (lambda x: tracer.broadcast_to(x, (5, 2, 3, 4)), (5, 2, 3, 4)),
    "narrow": (lambda x: x.narrow(2, 1, 2), (2, 3, 2)),
    "flip": (lambda x: x.flip(0, 1), (2, 3, 4)),
    "stack": (lambda x: tracer.stack([x, x], -1), (2, 3, 4, 2)),
    "cat": (lambda x: tracer.cat([x, x, x], 1), (2, 9, 4)),
    "pad": (lambda x: F.pad(x, (1, 2, 0, 1)), (2, 4, 7)),
    "negative pad": (lambda x: F.pad(x, (-1, 0)), (2, 3, 3)),
    "matmul with a vector": (lambda x: x @ ones(4), (2, 3)),
    "vector with matmul": (lambda x: ones(3) @ x, (2, 4)),
    "matmul broadcasts batches": (lambda x: x[:, None] @ ones(5, 4, 6), (2, 5, 3, 6)),
    "matmul over nothing": (lambda x: ones(2, 0) @ ones(0, 3), (2, 3)),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shape(name):
    make, expected = SHAPES[name]
    assert make(cube()).shape == expected


def test_split_chunk_cat_stack():
    assert [p.tolist() for p in tracer.arange(5).split(2)] == [[0, 1], [2, 3], [4]]
    assert [p.tolist() for p in tracer.arange(5).split([1, 4])] == [[0], [1, 2, 3, 4]]
    assert [p.tolist() for p in tracer.arange(7).chunk(3)] == [[0, 1, 2], [3, 4, 5], [6]]
    assert [len(p) for p in tracer.arange(5).chunk(4)] == [2, 2, 1]
    check(tracer.cat([ones(2, 1), tracer.zeros(2, 2)], -1), [[1, 0, 0], [1, 0, 0]])
    check(tracer.stack([ones(2), tracer.zeros(2)], 1), [[1, 0], [1, 0]])


def test_cat_skips_empty_vectors():
    check(tracer.cat([tensor([]), tracer.zeros(1, 2)]), [[0, 0]])


def test_views_share_memory_and_copies_do_not():
    x = tracer.zeros(2, 3)
    x.view(6)[0] = 1.0
    x.t()[2, 1] = 2.0
    row = x[1]
    row += 10
    x[:, 1:2].mul_(3)
    x.reshape(6)[1] = 7.0
    check(x, [[1, 7, 0], [10, 30, 12]])
    x.t().reshape(6)[0] = -1.0  # had to copy
    x.clone()[0] = -1.0
    x[[0, 1]][0] = -1.0
    assert x[0, 0].item() == 1


def test_contiguity():
    x = tracer.zeros(2, 3)
    assert x.is_contiguous()
    assert not x.t().is_contiguous()
    assert x.t().contiguous().is_contiguous()
    assert x.contiguous() is x
    assert not x[0].expand(2, 3).is_contiguous()


def test_products():
    check(tracer.outer(tracer.arange(2.0), tracer.arange(3.0)), [[0, 0, 0], [0, 1, 2]])
    check(tracer.dot(tracer.arange(3), tracer.arange(3)), 5, "int64")
    check(tracer.mv(ones(2, 2), tracer.arange(2.0)), [1, 1])
    check(tracer.addmm(ones(2), ones(2, 2), ones(2, 2), beta=2, alpha=3), [[8, 8], [8, 8]])
    check(tracer.arange(4).reshape(2, 2) @ tracer.arange(4).reshape(2, 2), [[2, 3], [6, 11]], "int64")


# Indexing.


@pytest.mark.parametrize(
    "index",
    [
        1, -1, (-1, -1), (slice(None), 1), (slice(1, None), slice(None, None, 2)), (..., 0), None, (slice(None), None),
        (1, ...), slice(5, None), (slice(None, -1), slice(-2, None)), (), [0, 2], (slice(None), [3, 0]),
        ([0, 1], [2, 3]), (1, [0, 2]), ([0, 2], 1), ([[0], [2]], [1, 3]), np.array([[0, 1], [2, 0]]),
        np.array([True, False, True]), np.int64(1), range(2),
    ],
    ids=str,
)  # fmt: skip
def test_indexing_is_numpys(index):
    array = np.arange(12).reshape(3, 4)
    np.testing.assert_array_equal(tensor(array)[index].numpy(), array[index], strict=True)


def test_indexing_by_tensors():
    x = tracer.arange(12).reshape(3, 4)
    check(x[tensor([-1, 0])], [[8, 9, 10, 11], [0, 1, 2, 3]])
    check(x[tensor([0, 1]), tensor([2, 3])], [2, 7])
    check(x[x > 8], [9, 10, 11])
    check(x[tensor(1)], [4, 5, 6, 7])
    assert x[x > 100].shape == (0,)
    check(tracer.gather(x[:2, :3], 1, tensor([[2, 0], [1, 1]])), [[2, 0], [5, 5]])
    check(tracer.zeros(2, 3).scatter_add(1, tensor([[2, 0], [1, 1]]), ones(2, 2)), [[1, 0, 1], [0, 2, 0]])
    check(x.index_select(1, tensor([2, 0])), [[2, 0], [6, 4], [10, 8]])
    cube_ = tracer.arange(24).reshape(2, 3, 4)
    check(cube_[0, :, tensor([2, 3])], [[2, 3], [6, 7], [10, 11]])


def test_indexing_by_a_python_bool():
    assert ones(3, 4)[True].shape == (1, 3, 4)
    assert ones(3, 4)[False].shape == (0, 3, 4)


def test_index_tensors_apart():
    x = tracer.arange(24).reshape(2, 3, 4)
    check(x[tensor([0, 1]), :, tensor([2, 3])], [[2, 6, 10], [15, 19, 23]])


def test_assignment():
    x = ones(2, 3)
    x[0] = tensor([1.0, 2.0, 3.0])
    x[:, 1] = 0
    x[x > 2] = -1.0
    check(x, [[1, 0, -1], [1, 0, 1]])


def test_in_place():
    x = tracer.arange(3.0)
    same = x
    x += 1
    assert same is x
    check(x.mul_(2).clamp_(max=5).add_(ones(3, dtype="float64")), [3, 5, 6], "float32")
    check(x.zero_(), [0, 0, 0])
    check(x.fill_(2), [2, 2, 2])
    check(ones(3, dtype="int64").copy_(tensor([1.7, 2.2, -1.9])), [1, 2, -1], "int64")


FRESH = {
    "arange": lambda: tracer.arange(3),
    "arange.reshape": lambda: tracer.arange(4).reshape(2, 2),
    "full": lambda: tracer.full((2,), 3.0),
    "eye": lambda: tracer.eye(2),
    "linspace": lambda: tracer.linspace(0, 1, 3),
    "cast": lambda: ones(3).long(),
    "sum": lambda: ones(2, 2).sum(),
    "clone of an expanded tensor": lambda: ones(2).expand(3, 2).clone(),
    "pickled": lambda: pickle.loads(pickle.dumps(ones(2))),
    "one_hot": lambda: F.one_hot(tensor([0, 1]), 2),
}


@pytest.mark.parametrize("name", FRESH)
def test_what_is_new_can_be_changed(name):
    x, y = FRESH[name](), FRESH[name]()
    before = y.tolist()
    x.add_(1)
    assert x.tolist() != before
    assert y.tolist() == before
    assert FRESH[name]().tolist() == before


# Printing. Expected texts are PyTorch's.

PRINTED = [
    (lambda: tensor([1.0, 2.5]), "tensor([1.0000, 2.5000])"),
    (lambda: tensor([1, 2, 3]), "tensor([1, 2, 3])"),
    (lambda: tensor([-1, 10, 100]), "tensor([ -1,  10, 100])"),
    (lambda: tensor(3), "tensor(3)"),
    (lambda: tensor(3.5), "tensor(3.5000)"),
    (lambda: tensor(True), "tensor(True)"),
    (lambda: tensor([True, False]), "tensor([ True, False])"),
    (lambda: tensor([True, True]), "tensor([True, True])"),
    (lambda: tensor([1.0, 2.0], dtype=tracer.float64), "tensor([1., 2.], dtype=torch.float64)"),
    (lambda: tensor([1, 2], dtype=tracer.int32), "tensor([1, 2], dtype=torch.int32)"),
    (lambda: tensor([[1.0, -2.0], [3.0, 4.0]]), "tensor([[ 1., -2.],\n        [ 3.,  4.]])"),
    (lambda: tracer.zeros(2, 1, 2), "tensor([[[0., 0.]],\n\n        [[0., 0.]]])"),
    (lambda: tensor([]), "tensor([])"),
    (lambda: tracer.zeros(0, 3), "tensor([], size=(0, 3))"),
    (lambda: tracer.zeros(0, dtype=tracer.int64), "tensor([], dtype=torch.int64)"),
    (lambda: tensor([1e-5, 1.0]), "tensor([1.0000e-05, 1.0000e+00])"),
    (lambda: tensor([1e-3, 1.0]), "tensor([0.0010, 1.0000])"),
    (lambda: tensor([1e10, 1.0]), "tensor([1.0000e+10, 1.0000e+00])"),
    (lambda: tensor([1.0, 1000.0]), "tensor([   1., 1000.])"),
    (lambda: tensor([1.0, 2000.0]), "tensor([1.0000e+00, 2.0000e+03])"),
    (lambda: tensor([1.0, 2.0, NAN, INF]), "tensor([1., 2., nan, inf])"),
    (lambda: tensor([1.5, NAN, -INF]), "tensor([1.5000,    nan,   -inf])"),
    (lambda: tensor([-1.5, 10.25, 100.0]), "tensor([ -1.5000,  10.2500, 100.0000])"),
    (
        lambda: tracer.arange(21),
        "tensor([ 0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14, 15, 16, 17,\n        18, 19, 20])",
    ),
    (lambda: tracer.arange(1001), "tensor([   0,    1,    2,  ...,  998,  999, 1000])"),
    (lambda: tracer.zeros(1001), "tensor([0., 0., 0.,  ..., 0., 0., 0.])"),
    (lambda: tensor([1.0], requires_grad=True), "tensor([1.], requires_grad=True)"),
    (lambda: tensor([1.0], requires_grad=True) + 1, "tensor([2.], grad_fn=<AddBackward0>)"),
    (lambda: tensor(-2.5, requires_grad=True).neg(), "tensor(2.5000, grad_fn=<NegBackward0>)"),
    (
        lambda: tensor([1.0], dtype=tracer.float64, requires_grad=True) * 2,
        "tensor([2.], dtype=torch.float64, grad_fn=<MulBackward0>)",
    ),
    (lambda: ones(2, 3).shape, "torch.Size([2, 3])"),
    (lambda: tracer.nn.Parameter(ones(2)), "Parameter containing:\ntensor([1., 1.], requires_grad=True)"),
]


@pytest.mark.parametrize(("make", "expected"), PRINTED, ids=[text for _, text in PRINTED])
def test_printing(make, expected):
    assert repr(make()) == expected


def test_formatting():
    assert f"{tensor(1.5):.2f}" == "1.50"
    assert f"{tensor(1.5)}" == "1.5"
    assert f"{tensor([1.5])}" == "tensor([1.5000])"
    assert str(tensor(1.5)) == "tensor(1.5000)"


# Factories, and the way out.

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


# Bad input: PyTorch's exception, and the heart of its message.

BAD = {
    "add": (
        lambda: ones(2, 3) + ones(4),
        RuntimeError,
        "a (3) must match the size of tensor b (4) at non-singleton dimension 1",
    ),
    "mul": (
        lambda: ones(2, 3) * ones(3, 3),
        RuntimeError,
        "a (2) must match the size of tensor b (3) at non-singleton dimension 0",
    ),
    "where": (
        lambda: tracer.where(tensor([True, False]), ones(3), 2.0),
        RuntimeError,
        "a (2) must match the size of tensor b (3)",
    ),
    "add a string": (lambda: ones(2) + "a", TypeError, "unsupported operand type(s) for +: 'Tensor' and 'str'"),
    "add None": (lambda: ones(2) + None, TypeError, "unsupported operand type(s) for +: 'Tensor' and 'NoneType'"),
    "add a list": (lambda: ones(2) + [1, 2], TypeError, "unsupported operand type(s) for +: 'Tensor' and"),  # noqa: RUF005
    "compare with None": (lambda: ones(2) < None, TypeError, "'<' not supported between instances of 'Tensor' and 'NoneType'"),
    "matmul": (lambda: ones(2, 3) @ ones(2, 3), RuntimeError, "mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)"),
    "vector with matrix": (
        lambda: ones(3) @ ones(2, 3),
        RuntimeError,
        "mat1 and mat2 shapes cannot be multiplied (1x3 and 2x3)",
    ),
    "matrix with vector": (lambda: ones(2, 3) @ ones(2), RuntimeError, "size mismatch, got input (2), mat (2x3), vec (2)"),
    "vector with vector": (
        lambda: ones(3) @ ones(2),
        RuntimeError,
        "inconsistent tensor size, expected tensor [3] and src [2]",
    ),
    "batches": (
        lambda: ones(2, 2, 3) @ ones(2, 2, 3),
        RuntimeError,
        "Expected size for first two dimensions of batch2 tensor to be: [2, 3] but got: [2, 2]",
    ),
    "batch extents": (
        lambda: ones(2, 2, 3) @ ones(3, 3, 3),
        RuntimeError,
        "size of tensor a (2) must match the size of tensor b (3) at non-singleton dimension 0",
    ),
    "matmul of a number": (
        lambda: tensor(1.0) @ ones(2),
        RuntimeError,
        "both arguments to matmul need to be at least 1D, but they are 0D and 1D",
    ),
    "matmul of two dtypes": (
        lambda: ones(2, 3) @ ones(3, 2, dtype="float64"),
        RuntimeError,
        "expected m1 and m2 to have the same dtype, but got: float != double",
    ),
    "matmul with a Python number": (lambda: ones(2) @ 3, TypeError, "unsupported operand type(s) for @: 'Tensor' and 'int'"),
    "mm": (lambda: tracer.mm(ones(2), ones(2, 2)), RuntimeError, "self must be a matrix"),
    "dot": (lambda: tracer.dot(ones(2), ones(2, 2)), RuntimeError, "1D tensors expected, but got 1D and 2D tensors"),
    "dot of lengths": (
        lambda: tracer.dot(ones(2), ones(3)),
        RuntimeError,
        "inconsistent tensor size, expected tensor [2] and src [3]",
    ),
    "bmm": (lambda: tracer.bmm(ones(2, 3), ones(2, 3)), RuntimeError, "batch1 must be a 3D tensor"),
    "t": (lambda: ones(2, 3, 4).t(), RuntimeError, "t() expects a tensor with <= 2 dimensions, but self is 3D"),
    "integers with gradients": (
        lambda: tensor([1, 2], requires_grad=True),
        RuntimeError,
        "Only Tensors of floating point and complex dtype can require gradients",
    ),
    "bools with gradients": (
        lambda: tracer.zeros(2, dtype=tracer.bool, requires_grad=True),
        RuntimeError,
        "Only Tensors of floating point",
    ),
    "requires_grad_ of integers": (
        lambda: tensor([1, 2]).requires_grad_(),
        RuntimeError,
        "only Tensors of floating point dtype can require gradients",
    ),
    "reshape": (lambda: ones(6).reshape(4), RuntimeError, "shape '[4]' is invalid for input of size 6"),
    "reshape with -1": (lambda: ones(6).reshape(-1, 4), RuntimeError, "shape '[-1, 4]' is invalid for input of size 6"),
    "reshape with two -1": (lambda: ones(6).reshape(-1, -1), RuntimeError, "only one dimension can be inferred"),
    "reshape with -2": (lambda: ones(6).reshape(-2, 3), RuntimeError, "invalid shape dimension -2"),
    "view": (lambda: ones(6).view(5), RuntimeError, "shape '[5]' is invalid for input of size 6"),
    "view across strides": (
        lambda: ones(2, 3).t().view(6),
        RuntimeError,
        "view size is not compatible with input tensor's size and stride",
    ),
    "sum dim": (
        lambda: ones(2, 3).sum(2),
        IndexError,
        "Dimension out of range (expected to be in range of [-2, 1], but got 2)",
    ),
    "mean dim": (
        lambda: ones(2, 3).mean(-3),
        IndexError,
        "Dimension out of range (expected to be in range of [-2, 1], but got -3)",
    ),
    "softmax dim": (lambda: ones(2, 3).softmax(2), IndexError, "Dimension out of range"),
    "argmax dim": (lambda: ones(2, 3).argmax(2), IndexError, "Dimension out of range"),
    "size dim": (lambda: ones(2, 3).size(2), IndexError, "Dimension out of range"),
    "transpose dim": (lambda: ones(2, 3).transpose(0, 2), IndexError, "Dimension out of range"),
    "unsqueeze dim": (lambda: ones(2, 3).unsqueeze(4), IndexError, "expected to be in range of [-3, 2], but got 4"),
    "squeeze dim": (lambda: ones(2, 3).squeeze(4), IndexError, "expected to be in range of [-2, 1], but got 4"),
    "cat dim": (lambda: tracer.cat([ones(2)], 1), IndexError, "expected to be in range of [-1, 0], but got 1"),
    "repeated dim": (lambda: ones(2, 3).sum((0, -2)), RuntimeError, "dim 0 appears multiple times in the list of dims"),
    "permute": (lambda: ones(2, 3).permute(0), RuntimeError, "does not match the length of the desired ordering of dimensions"),
    "permute twice": (lambda: ones(2, 3).permute(0, 0), RuntimeError, "permute(): duplicate dims are not allowed."),
    "expand": (
        lambda: ones(2, 3).expand(3, 3),
        RuntimeError,
        "(3) must match the existing size (2) at non-singleton dimension 0.  Target sizes: [3, 3].  Tensor sizes: [2, 3]",
    ),
    "expand to fewer": (
        lambda: ones(2, 3).expand(3),
        RuntimeError,
        "the number of sizes provided (1) must be greater or equal to the number of dimensions in the tensor (2)",
    ),
    "expand a new dim by -1": (
        lambda: ones(3).expand(-1, 3),
        RuntimeError,
        "The expanded size of the tensor (-1) isn't allowed in a leading, non-existing dimension 0",
    ),
    "flatten": (
        lambda: ones(2, 3).flatten(1, 0),
        RuntimeError,
        "flatten() has invalid args: start_dim cannot come after end_dim",
    ),
    "index": (lambda: ones(2, 3)[2], IndexError, "index 2 is out of bounds for dimension 0 with size 2"),
    "second index": (lambda: ones(2, 3)[0, -4], IndexError, "index -4 is out of bounds for dimension 1 with size 3"),
    "index tensor": (lambda: ones(2, 3)[tensor([0, 2])], IndexError, "index 2 is out of bounds for dimension 0 with size 2"),
    "too many indices": (lambda: ones(2, 3)[0, 0, 0], IndexError, "too many indices for tensor of dimension 2"),
    "index of a number": (lambda: tensor(1.0)[0], IndexError, "invalid index of a 0-dim tensor"),
    "index by a float": (
        lambda: ones(2, 3)[1.5],
        IndexError,
        "ellipsis (`...`), None and long or byte Variables are valid indices (got float)",
    ),
    "index by a float tensor": (
        lambda: ones(2)[tensor([0.0])],
        IndexError,
        "tensors used as indices must be long, int, byte or bool tensors",
    ),
    "mask": (
        lambda: ones(2, 3)[tensor([True, False, True])],
        IndexError,
        "The shape of the mask [3] at index 0 does not match the shape of the indexed tensor [2, 3]",
    ),
    "negative step": (lambda: ones(2)[::-1], ValueError, "step must be greater than zero"),
    "assignment": (
        lambda: ones(2, 3).__setitem__(0, ones(4)),
        RuntimeError,
        "The expanded size of the tensor (3) must match the existing size (4) at non-singleton dimension 0",
    ),
    "assignment outside": (
        lambda: ones(2, 3).__setitem__(2, 1),
        IndexError,
        "index 2 is out of bounds for dimension 0 with size 2",
    ),
    "gather": (
        lambda: tracer.gather(ones(2, 3), 1, tensor([[3]])),
        RuntimeError,
        "index 3 is out of bounds for dimension 1 with size 3",
    ),
    "gather of two ranks": (
        lambda: tracer.gather(ones(2, 3), 1, tensor([0])),
        RuntimeError,
        "Index tensor must have the same number of dimensions as input tensor",
    ),
    "one_hot": (lambda: F.one_hot(tensor([3]), 3), RuntimeError, "Class values must be smaller than num_classes."),
    "narrow": (lambda: ones(5).narrow(0, 3, 3), RuntimeError, "start (3) + length (3) exceeds dimension size (5)."),
    "split": (lambda: ones(5).split([2, 2]), RuntimeError, "split_with_sizes expects split_sizes to sum exactly to 5"),
    "split by 0": (lambda: ones(5).split(0), RuntimeError, "split_size can only be 0 if dimension size is 0"),
    "chunk by 0": (lambda: ones(5).chunk(0), RuntimeError, "chunk expects `chunks` to be greater than 0, got: 0"),
    "cat": (
        lambda: tracer.cat([ones(2, 3), ones(2, 4)]),
        RuntimeError,
        "must match except in dimension 0. Expected size 3 but got size 4 for tensor number 1 in the list.",
    ),
    "cat of two ranks": (
        lambda: tracer.cat([ones(2, 3), ones(2)]),
        RuntimeError,
        "Tensors must have same number of dimensions: got 2 and 1",
    ),
    "cat of nothing": (lambda: tracer.cat([]), ValueError, "expected a non-empty list of Tensors"),
    "stack": (
        lambda: tracer.stack([ones(2), ones(3)]),
        RuntimeError,
        "stack expects each tensor to be equal size, but got [2] at entry 0 and [3] at entry 1",
    ),
    "stack of nothing": (lambda: tracer.stack([]), RuntimeError, "stack expects a non-empty TensorList"),
    "item of many": (lambda: ones(3).item(), RuntimeError, "a Tensor with 3 elements cannot be converted to Scalar"),
    "item of nothing": (lambda: tensor([]).item(), RuntimeError, "a Tensor with 0 elements cannot be converted to Scalar"),
    "bool of many": (lambda: bool(ones(2)), RuntimeError, "Boolean value of Tensor with more than one value is ambiguous"),
    "bool of nothing": (lambda: bool(tensor([])), RuntimeError, "Boolean value of Tensor with no values is ambiguous"),
    "float of many": (lambda: float(ones(2)), ValueError, "only one element tensors can be converted to Python scalars"),
    "int of many": (lambda: int(ones(2)), ValueError, "only one element tensors can be converted to Python scalars"),
    "float as an index": (
        lambda: [1, 2][tensor(1.0)],
        TypeError,
        "only integer tensors of a single element can be converted to an index",
    ),
    "len of a number": (lambda: len(tensor(1.0)), TypeError, "len() of a 0-d tensor"),
    "iteration over a number": (lambda: list(tensor(1.0)), TypeError, "iteration over a 0-d tensor"),
    "numpy with gradients": (
        lambda: tracer.ones(2, requires_grad=True).numpy(),
        RuntimeError,
        "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.",
    ),
    "asarray with gradients": (
        lambda: np.asarray(tracer.ones(2, requires_grad=True)),
        RuntimeError,
        "Can't call numpy() on Tensor that requires grad",
    ),
    "ragged": (lambda: tensor([[1, 2], [3]]), ValueError, "expected sequence of length 2 at dim 1 (got 1)"),
    "tensor of a string": (lambda: tensor("abc"), TypeError, "invalid data type 'str'"),
    "tensor of None": (lambda: tensor(None), RuntimeError, "Could not infer dtype of NoneType"),
    "from_numpy of a list": (lambda: tracer.from_numpy([1]), TypeError, "expected np.ndarray (got list)"),
    "from_numpy of strings": (lambda: tracer.from_numpy(np.array(["a"])), TypeError, "can't convert np.ndarray of type"),
    "zeros": (lambda: tracer.zeros(-1), RuntimeError, "negative"),
    "arange by 0": (lambda: tracer.arange(0, 5, 0), RuntimeError, "step must be nonzero"),
    "arange the wrong way": (
        lambda: tracer.arange(5, 0),
        RuntimeError,
        "upper bound and lower bound inconsistent with step sign",
    ),
    "linspace": (lambda: tracer.linspace(0, 1, -1), RuntimeError, "number of steps must be non-negative"),
    "randint": (
        lambda: tracer.randint(3, 3, (2,)),
        RuntimeError,
        "random_ expects 'from' to be less than 'to', but got from=3 >= to=3",
    ),
    "default dtype": (
        lambda: tracer.set_default_dtype(tracer.int64),
        TypeError,
        "only floating-point types are supported as the default type",
    ),
    "mean of integers": (
        lambda: tensor([1, 2]).mean(),
        RuntimeError,
        "Input dtype must be either a floating point or complex dtype. Got: Long",
    ),
    "max of nothing": (
        lambda: tensor([]).max(),
        RuntimeError,
        "max(): Expected reduction dim to be specified for input.numel() == 0",
    ),
    "argmax of nothing": (
        lambda: tensor([]).argmax(),
        IndexError,
        "argmax(): Expected reduction dim to be specified for input.numel() == 0",
    ),
    "amax of nothing": (
        lambda: tracer.zeros(0, 3).amax(0),
        IndexError,
        "amax(): Expected reduction dim 0 to have non-zero size.",
    ),
    "negative power of integers": (
        lambda: tensor([1, 2]) ** -1,
        RuntimeError,
        "Integers to negative integer powers are not allowed.",
    ),
    "integers modulo 0": (lambda: tensor([1, 2]) % tensor([2, 0]), RuntimeError, "ZeroDivisionError"),
    "invert of floats": (
        lambda: ~ones(2),
        TypeError,
        "~ (operator.invert) is only implemented on integer and Boolean-type tensors",
    ),
    "and of floats": (lambda: ones(2) & ones(2), NotImplementedError, "\"bitwise_and_cpu\" not implemented for 'Float'"),
    "subtraction of bools": (
        lambda: tensor([True]) - tensor([True]),
        RuntimeError,
        "Subtraction, the `-` operator, with two bool tensors is not supported.",
    ),
    "subtraction from a bool": (
        lambda: tensor([True]) - 1,
        RuntimeError,
        "Subtraction, the `-` operator, with a bool tensor is not supported.",
    ),
    "negation of bools": (
        lambda: -tensor([True]),
        RuntimeError,
        "Negation, the `-` operator, on a bool tensor is not supported.",
    ),
    "clamp": (lambda: ones(2).clamp(), RuntimeError, "torch.clamp: At least one of 'min' or 'max' must not be None"),
    "condition": (
        lambda: tracer.where(ones(2), 1.0, 2.0),
        RuntimeError,
        "where expected condition to be a boolean tensor, but got a tensor with dtype Float",
    ),
    "in-place broadcast": (
        lambda: ones(2).add_(ones(2, 2)),
        RuntimeError,
        "output with shape [2] doesn't match the broadcast shape [2, 2]",
    ),
    "in-place cast": (
        lambda: tensor([1, 2]).add_(1.5),
        RuntimeError,
        "result type Float can't be cast to the desired output type Long",
    ),
    "in-place on an expanded tensor": (
        lambda: ones(2).expand(3, 2).add_(1),
        RuntimeError,
        "more than one element of the written-to tensor refers to a single memory location",
    ),
    "a number too large for a dtype": (
        lambda: tracer.full((2,), 1e300, dtype=tracer.float32),
        RuntimeError,
        "value cannot be converted to type float without overflow",
    ),
    "a complex number for an integer": (
        lambda: ones(2).long().masked_fill(tensor([True, False]), 1j),
        RuntimeError,
        "value cannot be converted to type int64_t without overflow",
    ),
    "roll of a number along an axis": (lambda: tracer.roll(tensor(1.0), 1, 0), IndexError, "tensor has no dimensions"),
    "cat of a tensor": (lambda: tracer.cat(ones(2)), TypeError, "must be tuple of Tensors, not Tensor"),
    "max of a number": (lambda: tracer.max(1, ones(2)), TypeError, "must be Tensor, not int"),
    "igamma of a number": (lambda: tracer.igamma(1.0, ones(2)), TypeError, "must be Tensor, not float"),
    "xlog1py of numbers": (lambda: tracer.special.xlog1py(1, 2), TypeError, "invalid combination of arguments"),
    "an operator called with numbers": (lambda: tracer.Tensor.__radd__(1, 2), TypeError, "requires a 'Tensor'"),
    "a negative deviation": (lambda: ones(2).normal_(0, -1), RuntimeError, "normal expects std >= 0.0"),
    "out of another dtype": (
        lambda: tracer.gather(ones(2), 0, tensor([0]), out=tracer.zeros(1, dtype=tracer.float64)),
        RuntimeError,
        "Expected out tensor to have dtype Float, but got Double instead",
    ),
    "to an unknown device": (lambda: ones(2).to("nowhere"), RuntimeError, "nowhere"),
    "unknown attribute": (lambda: ones(2).nope, AttributeError, "'Tensor' object has no attribute 'nope'"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    wrong, exception, words = BAD[name]
    with pytest.raises(exception) as caught:
        wrong()
    assert caught.type is exception
    assert words in str(caught.value)


# Questions, old names, numbers drawn in place.


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
    x[1:] += x[:-1]
    assert x.tolist() == [0, 1, 3, 5, 7, 9]
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
    """Warnings are silenced around each operation and each backward pass, and only there."""
    with np.errstate(all="raise"):
        x = tensor([0.0], requires_grad=True)
        (1 / x).sum().backward()
        with pytest.raises(RuntimeError):
            ones(2) + ones(3)
        with pytest.raises(FloatingPointError):
            np.ones(1) / np.zeros(1)
