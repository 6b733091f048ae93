"""Eager tensors: operators, dtypes, shapes, indexing."""

import pickle
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from values import check, name_of, ones

import tracer
from tracer import tensor
from tracer.nn import functional as F

INF, NAN = float("inf"), float("nan")
DTYPES = ("bool", "uint8", "int8", "int16", "int32", "int64", "float32", "float64")
quick = settings(max_examples=50, deadline=None)


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
    x.t().reshape(6)[0] = -1.0  # a copy
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
