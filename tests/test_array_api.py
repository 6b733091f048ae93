"""The array API standard's namespace, compared with NumPy's, which follows the standard, on ordinary and special values."""

import inspect

import numpy as np
import pytest

import tracer
from tracer import array_api as xp

INF, NAN = np.inf, np.nan
SPECIALS = np.array([0.0, -0.0, 1.0, -1.0, 0.5, -2.5, INF, -INF, NAN, 1e-300, 1e300])
ints = np.array([[3, -1, 0], [7, 2, -5]])

# The functions in the standard of 2025.12.
NAMES = """
    e inf nan newaxis pi bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32 float64 complex64 complex128
    arange asarray empty empty_like eye from_dlpack full full_like linspace meshgrid ones ones_like tril triu zeros zeros_like
    astype broadcast_arrays broadcast_shapes broadcast_to can_cast finfo iinfo isdtype result_type
    abs acos acosh add asin asinh atan atan2 atanh bitwise_and bitwise_left_shift bitwise_invert bitwise_or bitwise_right_shift
    bitwise_xor ceil clip conj copysign cos cosh divide equal exp expm1 floor floor_divide greater greater_equal hypot imag
    isfinite isinf isnan less less_equal log log1p log2 log10 logaddexp logical_and logical_not logical_or logical_xor maximum
    minimum multiply negative nextafter not_equal positive pow real reciprocal remainder round sign signbit sin sinh square sqrt
    subtract tan tanh trunc take take_along_axis __array_namespace_info__ matmul matrix_transpose tensordot vecdot concat
    expand_dims flip moveaxis permute_dims repeat reshape roll squeeze stack tile unstack argmax argmin count_nonzero nonzero
    searchsorted where unique_all unique_counts unique_inverse unique_values isin argsort sort cumulative_prod cumulative_sum
    max mean min prod std sum var all any diff linalg fft __array_api_version__
"""
LINALG = """
    cholesky cross det diagonal eig eigh eigvals eigvalsh inv matmul matrix_norm matrix_power matrix_rank matrix_transpose
    outer pinv qr slogdet solve svd svdvals tensordot trace vecdot vector_norm
"""
FFT = "fft ifft fftn ifftn rfft irfft rfftn irfftn hfft ihfft fftfreq rfftfreq fftshift ifftshift"


def test_names():
    for names, space in ((NAMES, xp), (LINALG, xp.linalg), (FFT, xp.fft)):
        missing = [name for name in names.split() if not hasattr(space, name)]
        assert not missing


def agree(found, expected):
    if isinstance(expected, (tuple, list)):
        assert len(found) == len(expected)
        for f, e in zip(found, expected, strict=True):
            agree(f, e)
        return
    assert isinstance(found, tracer.Tensor)
    expected = np.asarray(expected)
    assert found.numpy().dtype == expected.dtype and tuple(found.shape) == expected.shape
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12, atol=1e-14)


def check(name, *arrays, space=None, **kwargs):
    theirs, mine = np, xp
    if space is not None:
        theirs, mine = getattr(np, space), getattr(xp, space)
    with np.errstate(all="ignore"):
        expected = getattr(theirs, name)(*arrays, **kwargs)
    found = getattr(mine, name)(*[xp.asarray(a) if isinstance(a, np.ndarray) else a for a in arrays], **kwargs)
    agree(found, expected)


UNARY = """
    abs acos acosh asin asinh atan atanh cos cosh exp expm1 log log1p log2 log10 sin sinh square sqrt tan tanh ceil floor trunc
    round sign negative positive isfinite isinf isnan signbit reciprocal logical_not
"""


@pytest.mark.parametrize("name", UNARY.split())
def test_of_one_array(name):
    check(name, SPECIALS)
    check(name, np.array(1.5))


@pytest.mark.parametrize("name", ["abs", "negative", "positive", "square", "sign", "ceil", "floor", "round", "trunc"])
@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"])
def test_of_integers(name, dtype):
    check(name, np.array([0, 1, 2, 100], dtype))


@pytest.mark.parametrize("name", ["abs", "conj", "real", "imag", "exp", "sqrt", "log", "sin", "tanh", "square", "negative"])
def test_of_complex_numbers(name):
    check(name, np.array([1 + 2j, -3.5j, 0j, 2 - 1j]))


BINARY = """
    add atan2 copysign divide equal floor_divide greater greater_equal hypot less less_equal logaddexp maximum minimum multiply
    nextafter not_equal pow remainder subtract
"""


@pytest.mark.parametrize("name", BINARY.split())
def test_of_two_arrays(name):
    a, b = np.meshgrid(SPECIALS, SPECIALS)
    if name in ("floor_divide", "remainder"):  # NumPy's results for infinities are not reliable there
        keep = np.isfinite(a) & np.isfinite(b) & (b != 0) & (np.abs(b) > 1e-3) & (np.abs(a) < 1e9)
        a, b = a[keep], b[keep]
    check(name, a, b)
    check(name, np.ones((2, 1, 3)), np.full((4, 1), 2.0))


@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "maximum", "minimum", "equal", "less", "pow", "remainder"])
@pytest.mark.parametrize("pair", [("int8", "int16"), ("uint8", "int8"), ("uint16", "uint32"), ("uint64", "uint64")])
def test_integers_promote(name, pair):
    check(name, np.array([1, 2, 7], pair[0]), np.array([3, 2, 1], pair[1]))


@pytest.mark.parametrize(
    "name", ["bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_left_shift", "bitwise_right_shift", "logical_and"]
)
def test_bits(name):
    check(name, np.array([5, 9, 12]), np.array([1, 3, 2]))


def test_numbers_beside_arrays():
    agree(xp.add(xp.asarray([1, 2]), 3), np.array([4, 5]))
    agree(xp.subtract(1.5, xp.asarray(np.array([1.0]))), np.array([0.5]))
    assert xp.multiply(xp.asarray([1], dtype=xp.int8), 2).dtype is xp.int8
    with pytest.raises(TypeError):
        xp.add(1, 2)


REDUCE = ["sum", "prod", "max", "min", "mean", "std", "var", "all", "any", "count_nonzero"]


@pytest.mark.parametrize("name", REDUCE)
@pytest.mark.parametrize("axis", [None, 0, -1, (0, 1), ()])
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions(name, axis, keepdims):
    if axis == () and name == "count_nonzero":
        return
    x = np.arange(24.0).reshape(2, 3, 4) - 5
    found = getattr(xp, name)(xp.asarray(x), axis=axis, keepdims=keepdims)
    agree(found, getattr(np, name)(x, axis=axis, keepdims=keepdims))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "uint16", "int32", "bool"])
def test_small_integers_add_up_in_64_bits(dtype):
    x = np.array([1, 0, 1], dtype)
    check("sum", x)
    check("prod", x)
    check("cumulative_sum", x)


def test_orders():
    x = np.array([[3.0, 1.0, 2.0], [0.5, 7.0, -1.0]])
    for axis in (0, 1):
        check("sort", x, axis=axis)
        check("argsort", x, axis=axis)
        check("argmax", x, axis=axis, keepdims=True)
        check("argmin", x, axis=axis)
        check("cumulative_sum", x, axis=axis, include_initial=True)
        check("cumulative_prod", x, axis=axis)
        check("diff", x, axis=axis)
    agree(xp.sort(xp.asarray(x), descending=True), -np.sort(-x))
    check("argmax", x)
    check("searchsorted", np.array([1.0, 2.0, 2.0, 5.0]), np.array([0.0, 2.0, 9.0]), side="right")
    check("where", x > 1, x, np.zeros(3))
    check("nonzero", ints)
    check("isin", ints, np.array([3, 2]))
    check("isin", ints, np.array([3, 2]), invert=True)


def test_sets():
    x = np.array([[3, 1, 3], [2, 1, 1]])
    for name in ("unique_counts", "unique_inverse", "unique_all"):
        check(name, x)
    agree(xp.unique_values(xp.asarray(x)), np.unique(x))
    agree(xp.unique_counts(xp.asarray(np.array([NAN, NAN, 1.0]))), (np.array([1.0, NAN, NAN]), np.array([1, 1, 1])))


def test_manipulation():
    x = np.arange(12).reshape(2, 3, 2)
    check("expand_dims", x, axis=1)
    check("flip", x)
    check("flip", x, axis=1)
    check("moveaxis", x, 0, 2)
    check("permute_dims", x, (2, 0, 1))
    check("repeat", x, 2, axis=1)
    check("reshape", x, (4, 3))
    check("roll", x, 1)
    check("roll", x, (1, 2), axis=(0, 1))
    check("squeeze", x[:, :1], axis=1)
    check("tile", x, (2, 1, 3))
    check("take", x, np.array([1, 0, -1]), axis=1)
    check("take_along_axis", x, np.array([[[1], [0], [-1]]] * 2), axis=2)
    check("unstack", x, axis=1)
    check("broadcast_to", x, (5, 2, 3, 2))
    agree(xp.concat([xp.asarray(x), xp.asarray(x)], axis=1), np.concat([x, x], axis=1))
    agree(xp.concat([xp.asarray(x), xp.asarray(x)], axis=None), np.concat([x, x], axis=None))
    agree(xp.stack([xp.asarray(x), xp.asarray(x)], axis=-1), np.stack([x, x], axis=-1))
    agree(xp.broadcast_arrays(xp.asarray(x), xp.asarray(np.ones(2))), np.broadcast_arrays(x, np.ones(2)))
    assert xp.broadcast_shapes((3, 1), (1, 4)) == (3, 4)
    with pytest.raises(ValueError, match="extent 3"):
        xp.squeeze(xp.asarray(x), 1)


def test_creation():
    agree(xp.arange(5), np.arange(5))
    agree(xp.arange(1, 10, 3, dtype=xp.int32), np.arange(1, 10, 3, dtype=np.int32))
    agree(xp.arange(5, 1), np.arange(5, 1))
    agree(xp.linspace(0.0, 1.0, 5, dtype=xp.float64, endpoint=False), np.linspace(0, 1, 5, endpoint=False))
    agree(xp.eye(3, 4, k=1, dtype=xp.float64), np.eye(3, 4, 1))
    agree(xp.full((2, 3), 7), np.full((2, 3), 7))
    agree(xp.meshgrid(xp.arange(2), xp.arange(3)), np.meshgrid(np.arange(2), np.arange(3)))
    agree(xp.tril(xp.asarray(ints), k=-1), np.tril(ints, -1))
    assert xp.zeros(3).dtype is xp.float32 and xp.ones((), dtype=xp.int8).shape == ()
    assert xp.asarray(2**63).dtype is xp.uint64
    x = xp.asarray([1, 2])
    assert xp.asarray(x) is x and xp.asarray(x, copy=True) is not x
    with pytest.raises(ValueError, match="copy"):
        xp.asarray([1, 2], copy=False)


def test_dtypes():
    assert xp.isdtype(xp.float32, "real floating") and not xp.isdtype(xp.float32, "integral")
    assert xp.isdtype(xp.uint16, ("bool", "unsigned integer")) and xp.isdtype(xp.int8, xp.int8)
    assert xp.result_type(xp.int8, xp.asarray([1], dtype=xp.int16)) is xp.int16
    assert xp.result_type(xp.float32, 2.0) is xp.float32
    assert xp.can_cast(xp.int8, xp.int16) and not xp.can_cast(xp.int16, xp.int8)
    assert xp.finfo(xp.float64).eps == np.finfo(np.float64).eps and xp.finfo(xp.complex64).dtype is xp.float32
    assert (xp.iinfo(xp.uint16).max, xp.iinfo(xp.int8).min) == (65535, -128)
    assert xp.astype(xp.asarray([1.7]), xp.int64).tolist() == [1]
    with pytest.raises(TypeError, match="real part"):
        xp.astype(xp.asarray([1j]), xp.float32)
    info = xp.__array_namespace_info__()
    assert set(info.dtypes(kind="complex floating")) == {"complex64", "complex128"}
    assert info.default_dtypes()["indexing"] is xp.int64


def test_linalg():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 3, 3)), rng.standard_normal((2, 3, 2))
    s = a @ np.swapaxes(a, -1, -2) + 3 * np.eye(3)
    for name in ("det", "inv", "slogdet", "svdvals", "matrix_norm", "trace", "diagonal", "pinv", "matrix_rank"):
        check(name, a, space="linalg")
    for name in ("cholesky", "eigvalsh"):
        check(name, s, space="linalg")
    check("solve", a, b, space="linalg")
    check("matmul", a, b)
    check("matrix_power", a, 3, space="linalg")
    check("matrix_transpose", b)
    check("vecdot", a, a, axis=-1)
    check("cross", a, a[:, ::-1].copy(), space="linalg")
    check("outer", np.arange(3.0), np.arange(2.0), space="linalg")
    check("tensordot", a, b, axes=((1,), (1,)))
    check("vector_norm", a, axis=1, ord=3, space="linalg")
    check("qr", np.tril(s[0]) + np.eye(3), space="linalg")


@pytest.mark.parametrize("name", FFT.split()[:10])
def test_fft(name):
    x = np.random.default_rng(0).standard_normal((3, 4))
    x = x if name in ("rfft", "rfftn", "ihfft") else x + 1j
    check(name, x, space="fft")
    check(name, x, space="fft", norm="ortho")


def test_arrays_know_the_namespace():
    x = xp.asarray([1.0])
    assert x.__array_namespace__() is xp and x.__array_namespace__(api_version="2025.12") is xp
    with pytest.raises(ValueError, match="unknown version"):
        x.__array_namespace__(api_version="1999.01")
    assert x.to_device("cpu") is x


def test_signatures_are_positional_where_the_standard_says_so():
    for name in [*BINARY.split(), "bitwise_and", "logical_or"]:
        kinds = [(p.name, p.kind) for p in inspect.signature(getattr(xp, name)).parameters.values()]
        assert kinds == [("x1", inspect.Parameter.POSITIONAL_ONLY), ("x2", inspect.Parameter.POSITIONAL_ONLY)]
    for name in UNARY.split():
        assert next(iter(inspect.signature(getattr(xp, name)).parameters.values())).kind is inspect.Parameter.POSITIONAL_ONLY


def test_gradients_flow():
    x = tracer.tensor([1.0, 2.0], requires_grad=True)
    xp.sum(xp.multiply(xp.sin(x), x)).backward()
    expected = np.cos([1.0, 2.0]) * [1.0, 2.0] + np.sin([1.0, 2.0])
    assert x.grad.tolist() == pytest.approx(expected.tolist())
