"""One table of samples per primitive: arguments and attributes. All checks of a primitive use it.

A floating sample is an array of float64; checks that run in float32 convert it. ``smooth=False`` marks samples at kinks and
special values (ties, zeros, NaN, infinities), where values are compared but not finite differences.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tracer.ir.primitive import PRIMITIVES

INF, NAN = np.inf, np.nan


@dataclass
class Sample:
    args: tuple
    attrs: dict[str, Any] = field(default_factory=dict)
    smooth: bool = True
    symmetric: bool = False  # the operand is a symmetric matrix, and stays one when it is varied


def normal(*shape, seed=0, low=None, high=None):
    rng = np.random.default_rng([seed, *shape])
    return rng.standard_normal(shape) if low is None else rng.uniform(low, high, shape)


def ints(*shape, high, seed=0):
    return np.random.default_rng([seed, *shape]).integers(0, high, shape)


SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, 0.5, 2.5, 3.5, -2.5, INF, -INF, NAN, 1e-3, 30.0, -30.0])
PAIR_A = np.array([0.0, -0.0, 1.0, 2.0, -1.0, INF, NAN, 3.0, -7.0, 7.0])
PAIR_B = np.array([0.0, 0.0, 1.0, 3.0, -1.0, INF, 1.0, NAN, 3.0, -3.0])
BOOLS = np.array([[True, False, True], [False, False, True]])


COMPLEX = normal(2, 3) + 1j * normal(2, 3, seed=1)


def unary(low=-3.0, high=3.0, special=SPECIAL):
    return [
        Sample((normal(3, 4, low=low, high=high),)),
        Sample((normal(low=low, high=high),)),
        Sample((np.zeros((0, 2)),)),
        Sample((special,), smooth=False),
    ]


def binary(low=-3.0, high=3.0, a=PAIR_A, b=PAIR_B):
    return [
        Sample((normal(3, 4, low=low, high=high), normal(3, 4, seed=1, low=low, high=high))),
        Sample((normal(5, low=low, high=high), normal(5, seed=2, low=low, high=high))),
        Sample((a, b), smooth=False),
    ]


def integers():
    return [
        Sample((np.array([0, 1, -2, 7, 2**40]), np.array([3, 1, 5, -7, 2**30])), smooth=False),
        Sample((np.array([0, 1, -2, 100], np.int32), np.array([3, 1, 5, 100], np.int32)), smooth=False),
    ]


def bits():
    return [Sample((BOOLS, ~BOOLS[::-1]), smooth=False), Sample((np.array([1, 6, -3]), np.array([3, 5, 9])), smooth=False)]


def reduce(low=-3.0, high=3.0):
    return [
        Sample((normal(3, 4, low=low, high=high),), {"axes": (1,)}),
        Sample((normal(3, 4, low=low, high=high),), {"axes": (0,)}),
        Sample((normal(2, 3, 4, low=low, high=high),), {"axes": (0, 2)}),
        Sample((normal(2, 3, 4, low=low, high=high),), {"axes": (1,)}),
        Sample((normal(2, 3, 4, low=low, high=high),), {"axes": (0, 1, 2)}),
        Sample((normal(5, low=low, high=high),), {"axes": ()}),
        Sample((np.array([[1.0, 1.0, 0.0], [2.0, NAN, INF]]),), {"axes": (1,)}, smooth=False),
        Sample((np.array([[3, 3, 1], [-4, 0, 9]]),), {"axes": (1,)}, smooth=False),
    ]


def arg():
    ties = np.array([[1.0, 5.0, 5.0, NAN], [0.0, -0.0, -1.0, -1.0]])
    return [
        Sample((normal(3, 4),), {"axes": (1,)}),
        Sample((normal(3, 4),), {"axes": (0,)}),
        Sample((ties,), {"axes": (1,)}, smooth=False),
        Sample((np.array([[2, 7, 7], [1, 1, 0]]),), {"axes": (1,)}, smooth=False),
        Sample((np.full((2, 3), -INF),), {"axes": (1,)}, smooth=False),
    ]


def matrix(*shape, seed=0):
    """Well-conditioned, with well-separated singular values."""
    k = min(shape[-2:])
    u, _, vh = np.linalg.svd(normal(*shape, seed=seed), full_matrices=False)
    return u * np.linspace(1.0, 3.0, k) @ vh


def definite(*shape, seed=0):
    q, _ = np.linalg.qr(normal(*shape, seed=seed))
    return q * np.linspace(1.0, 3.0, shape[-1]) @ np.swapaxes(q, -1, -2)


def square():
    return [Sample((matrix(3, 3),)), Sample((matrix(2, 4, 4),))]


def symmetric(**attrs):
    return [Sample((definite(*s),), attrs, symmetric=True) for s in [(3, 3), (2, 3, 3)]]


def rectangular(attrs=None):
    return [Sample((matrix(*shape),), attrs or {}) for shape in [(3, 3), (4, 2), (2, 4), (2, 4, 3)]]


def scan(**attrs):
    return [
        Sample((normal(3, 4),), {"axis": 1, **attrs}),
        Sample((normal(3, 4),), {"axis": 0, **attrs}),
        Sample((np.array([[2.0, 0.0, 3.0, 0.0], [NAN, 1.0, INF, -1.0]]),), {"axis": 1, **attrs}, smooth=False),
        Sample((ints(3, 4, high=5),), {"axis": 1, **attrs}, smooth=False),
    ]


SMOOTH = (
    "neg",
    "abs",
    "sign",
    "square",
    "exp",
    "expm1",
    "sin",
    "cos",
    "tanh",
    "sigmoid",
    "erf",
    "sinh",
    "cosh",
    "atan",
    "copy",
)
SPECIAL_EVERYWHERE = (
    "softplus",
    *("exp2", "asinh", "erfc", "erfcx", "ndtr", "log_ndtr", "i0", "i0e", "i1", "i1e"),
    *("bessel_j0", "bessel_j1", "airy_ai", "spherical_bessel_j0", "sinc"),
)
SPECIAL_POSITIVE = (
    *("log2", "log10", "cbrt", "lgamma", "digamma", "trigamma", "bessel_y0", "bessel_y1"),
    *("modified_bessel_k0", "modified_bessel_k1", "scaled_modified_bessel_k0", "scaled_modified_bessel_k1"),
)

_QKV = (normal(4, 6, 3), normal(4, 5, 3, seed=1), normal(4, 5, 2, seed=2))
_ATTENTION = [{"scale": 0.5, "causal": causal, "part": part} for causal in (False, True) for part in (1000, 60, 12)]

SAMPLES: dict[str, list[Sample]] = {
    "attention": [
        *(Sample(_QKV, attrs) for attrs in _ATTENTION),
        Sample(tuple(x.reshape(2, 2, *x.shape[1:]) for x in _QKV), _ATTENTION[2]),
    ],
    "attention_gradient": [
        Sample((normal(4, 6, 2, seed=4), normal(4, 6, 2, seed=5), *_QKV), {**_ATTENTION[k], "what": what})
        for k, what in enumerate("qkvqkv")
    ],
    "biased_attention_gradient": [
        Sample(
            (normal(4, 6, 2, seed=4), normal(4, 6, 2, seed=5), *_QKV, normal(m, rows, 5, seed=3)), {**_ATTENTION[k], "what": w}
        )
        for k, (m, rows, w) in enumerate(
            [(1, 1, "q"), (2, 6, "k"), (4, 6, "v"), (2, 1, "bias"), (1, 6, "bias"), (4, 6, "bias")]
        )
    ],
    "biased_attention": [
        Sample((*_QKV, normal(m, rows, 5, seed=3)), _ATTENTION[(m + rows) % 6]) for m in (1, 2, 4) for rows in (1, 6)
    ],
    **{name: unary() for name in SMOOTH},
    "detach": unary(),
    "underived": [Sample((normal(3),), {"of": "f"}, smooth=False)],
    "relu": [*unary(), Sample((np.array([-3, 0, 4]),), smooth=False)],
    **{name: unary(0.2, 3.0) for name in ["log", "sqrt", "rsqrt"]},
    **{name: unary(-0.8, 0.8) for name in ["log1p", "asin", "acos", "tan"]},
    "reciprocal": unary(0.5, 3.0),
    **{name: unary(0.1, 0.9) for name in ["floor", "ceil", "round"]},
    "isnan": [Sample((SPECIAL,), smooth=False)],
    **{name: [*binary(), *integers()] for name in ["add", "sub", "mul", "maximum", "minimum"]},
    "div": binary(0.5, 3.0),
    "pow": [
        Sample((np.array([2, -3, 0, 7, 1]), np.array([10, 3, 0, 30, 5])), smooth=False),
        Sample((np.array([2, -3, 100], np.int32), np.array([10, 3, 7], np.int32)), smooth=False),
        *binary(0.5, 3.0, np.array([0.0, 0.0, 2.0, -2.0, NAN, 1.0]), np.array([0.0, 2.0, 0.0, 3.0, 0.0, NAN])),
    ],
    "floor_divide": [
        Sample((np.array([5.3, -5.3, 2.2, 1.0, -1.0]), np.array([2.0, 2.0, -1.5, 0.0, 0.0])), smooth=False),
        Sample((np.array([7, -7, 7, -7, -(2**63)]), np.array([3, 3, -3, -3, -1])), smooth=False),
        Sample((np.array([-5.0, 5.0, -5.0]), np.array([INF, -INF, -INF])), smooth=False),
        Sample((normal(50) * 100, normal(50, seed=1)), smooth=False),
    ],
    "remainder": [
        Sample((np.array([5.3, -5.3, 2.2]), np.array([2.0, 2.0, -1.5]))),
        Sample((PAIR_A, PAIR_B), smooth=False),
        Sample((np.array([7, -7, 7, -7]), np.array([3, 3, -3, -3])), smooth=False),
    ],
    "atan2": binary(),
    **{name: [*binary(), *integers()] for name in ["eq", "ne", "lt", "le", "gt", "ge"]},
    **{name: bits() for name in ["and", "or", "xor"]},
    "not": [Sample((BOOLS,), smooth=False), Sample((np.array([0, 5, -7]),), smooth=False)],
    "where": [
        Sample((BOOLS, normal(2, 3), normal(2, 3, seed=1))),
        Sample((BOOLS, np.array([[1.0, NAN, 2.0]] * 2), np.array([[INF, 3.0, NAN]] * 2)), smooth=False),
        Sample((BOOLS, ints(2, 3, high=9), ints(2, 3, high=9, seed=1)), smooth=False),
    ],
    "cast": [
        Sample((normal(3, 4),), {"dtype": "f64"}),
        Sample((normal(3, 4) * 5,), {"dtype": "i64"}, smooth=False),
        Sample((normal(3, 4) * 5,), {"dtype": "i32"}, smooth=False),
        Sample((np.array([0.0, 0.5, NAN]),), {"dtype": "bool"}, smooth=False),
        Sample((BOOLS,), {"dtype": "f32"}, smooth=False),
        Sample((np.array([1, -1, 300]),), {"dtype": "u8"}, smooth=False),
    ],
    "check_index": [Sample((ints(4, high=5),), {"extent": 5, "message": "{} is out of range"}, smooth=False)],
    "sum": reduce(),
    "max": reduce(),
    "min": reduce(),
    "argmax": arg(),
    "argmin": arg(),
    "broadcast": [
        Sample((normal(3),), {"shape": (2, 3), "axes": (1,)}),
        Sample((normal(2),), {"shape": (2, 3), "axes": (0,)}),
        Sample((normal(),), {"shape": (2, 3), "axes": ()}),
        Sample((normal(2, 4),), {"shape": (2, 3, 4), "axes": (0, 2)}),
    ],
    "reshape": [
        Sample((normal(2, 6),), {"shape": (3, 4)}),
        Sample((normal(2, 3),), {"shape": (2, 1, 3)}),
        Sample((normal(1, 1),), {"shape": ()}),
    ],
    "permute": [Sample((normal(2, 3, 4),), {"axes": (2, 0, 1)}), Sample((normal(3, 2),), {"axes": (1, 0)})],
    "slice": [
        Sample((normal(5, 6),), {"starts": (1, 0), "stops": (4, 6), "steps": (1, 2)}),
        Sample((normal(7),), {"starts": (1,), "stops": (7,), "steps": (3,)}),
        Sample((normal(4),), {"starts": (2,), "stops": (2,), "steps": (1,)}),
    ],
    "select": [
        Sample((normal(5, 6),), {"starts": (1, 0), "stops": (2, 6), "steps": (1, 2), "shape": (3,)}),
        Sample((normal(4, 3, 5),), {"starts": (1, 2, 0), "stops": (2, 3, 5), "steps": (1, 1, 2), "shape": (1, 3)}),
        Sample((normal(4),), {"starts": (2,), "stops": (3,), "steps": (1,), "shape": ()}),
        Sample((normal(4, 3),), {"starts": (2, 3), "stops": (3, 3), "steps": (1, 1), "shape": (0,)}),
    ],
    "write_slice": [
        Sample((normal(5, 1, 6), normal(3, seed=1)), {"starts": (1, 0, 2), "stops": (4, 1, 3), "steps": (1, 1, 1)}),
        Sample((normal(5, 6), normal(3, 3, seed=1)), {"starts": (1, 0), "stops": (4, 6), "steps": (1, 2)}),
        Sample((normal(4), normal(4, seed=1)), {"starts": (0,), "stops": (4,), "steps": (1,)}),
    ],
    "slice_update": [
        Sample((normal(5, 6), normal(3, 3, seed=1)), {"starts": (1, 0), "stops": (4, 6), "steps": (1, 2)}),
        Sample((normal(4), normal(4, seed=1)), {"starts": (0,), "stops": (4,), "steps": (1,)}),
    ],
    "pad": [
        Sample((normal(2, 3),), {"low": (1, 0), "high": (0, 2), "interior": (0, 0), "value": 1.5}),
        Sample((normal(3),), {"low": (2,), "high": (1,), "interior": (2,), "value": 0}),
    ],
    "flip": [Sample((normal(3, 4),), {"axes": (1,)}), Sample((normal(3, 4),), {"axes": (0, 1)})],
    "adjoin": [
        Sample((normal(2, 3), normal(1, 3, seed=1), normal(4, 3, seed=2))),
        Sample((normal(2, 3),)),
        Sample((np.zeros((0, 3)), normal(2, 3))),
    ],
    "concatenate": [
        Sample((normal(2, 3), normal(2, 1, seed=1), normal(2, 2, seed=2)), {"axis": 1}),
        Sample((normal(2), normal(3, seed=1)), {"axis": 0}),
    ],
    "diagonal": [
        Sample((normal(3, 4),), {"offset": 0, "axis1": 0, "axis2": 1}),
        Sample((normal(2, 4, 3),), {"offset": -1, "axis1": 1, "axis2": 2}),
        Sample((normal(3, 2, 4),), {"offset": 1, "axis1": 2, "axis2": 0}),
        Sample((normal(3, 2),), {"offset": 5, "axis1": 0, "axis2": 1}),
    ],
    "diagonal_update": [
        Sample((normal(3, 4), normal(3, seed=1)), {"offset": 1, "axis1": 0, "axis2": 1}),
        Sample((normal(2, 4, 3), normal(2, 3, seed=1)), {"offset": -1, "axis1": 1, "axis2": 2}),
        Sample((normal(3, 2, 4), normal(2, 3, seed=1)), {"offset": -1, "axis1": 2, "axis2": 0}),
        Sample((normal(3, 2), normal(0)), {"offset": 5, "axis1": 0, "axis2": 1}),
    ],
    "strided": [
        Sample((normal(12),), {"shape": (2, 3), "strides": (1, 4), "offset": 2}),
        Sample((normal(6),), {"shape": (3, 2), "strides": (1, 1), "offset": 0}),
        Sample((normal(6),), {"shape": (2, 2), "strides": (0, 3), "offset": 1}),
        Sample((normal(6),), {"shape": (), "strides": (), "offset": 4}),
        Sample((normal(6),), {"shape": (0, 2), "strides": (9, 3), "offset": 1}),
    ],
    "strided_update": [
        Sample((normal(12), normal(2, 3, seed=1)), {"shape": (2, 3), "strides": (1, 4), "offset": 2}),
        Sample((normal(6), normal(seed=1)), {"shape": (), "strides": (), "offset": 4}),
    ],
    "strided_sum": [
        Sample((normal(2, 3),), {"extent": 12, "strides": (1, 4), "offset": 2}),
        Sample((normal(3, 2),), {"extent": 6, "strides": (1, 1), "offset": 1}),
    ],
    "windows_update": [
        Sample((normal(5, 6), normal(2, 3, 2, 2, seed=1)), {"size": (2, 3), "stride": (2, 3), "dilation": (1, 1)}),
        Sample((normal(2, 7), normal(2, 2, 3, seed=1)), {"size": (2,), "stride": (2,), "dilation": (1,)}),
    ],
    "bitcast": [
        Sample((np.array([[1.0, -2.5], [3.0, 0.0]], np.float32),), {"dtype": "i32"}, smooth=False),
        Sample((np.array([[1, -2], [3, 2**40]]),), {"dtype": "f32"}, smooth=False),
        Sample((np.array([[1, -2], [3, 70000]], np.int32),), {"dtype": "i64"}, smooth=False),
        Sample((np.array(3, np.int32),), {"dtype": "f32"}, smooth=False),
    ],
    "windows": [
        Sample((normal(2, 5, 6),), {"size": (2, 3), "stride": (1, 2), "dilation": (1, 1)}),
        Sample((normal(7),), {"size": (3,), "stride": (2,), "dilation": (2,)}),
    ],
    "fold": [
        Sample((normal(2, 2, 3, 4, 2),), {"extents": (5, 6), "stride": (1, 2), "dilation": (1, 1)}),
        Sample((normal(3, 2),), {"extents": (7,), "stride": (2,), "dilation": (2,)}),
    ],
    "matmul": [
        Sample((normal(3, 4), normal(4, 2, seed=1)), {"ta": False, "tb": False}),
        Sample((normal(4, 3), normal(4, 2, seed=1)), {"ta": True, "tb": False}),
        Sample((normal(3, 4), normal(2, 4, seed=1)), {"ta": False, "tb": True}),
        Sample((normal(4, 3), normal(2, 4, seed=1)), {"ta": True, "tb": True}),
        Sample((normal(2, 3, 4), normal(2, 4, 5, seed=1)), {"ta": False, "tb": False}),
        Sample((normal(2, 4, 3), normal(2, 5, 4, seed=1)), {"ta": True, "tb": True}),
        # One matrix for a batch: cotangents summed, or (if they are larger than the operands) from one product.
        *(
            Sample((normal(*(a[::-1] if ta else a)), normal(2, *(b[::-1] if tb else b), seed=1)), {"ta": ta, "tb": tb})
            for a, b in (((3, 4), (4, 9)), ((5, 6), (6, 1)))
            for ta in (False, True)
            for tb in (False, True)
        ),
        *(
            Sample((normal(2, 2, *(a[::-1] if ta else a)), normal(*(b[::-1] if tb else b), seed=1)), {"ta": ta, "tb": tb})
            for a, b in (((9, 4), (4, 3)), ((1, 6), (6, 5)))
            for ta in (False, True)
            for tb in (False, True)
        ),
        Sample((ints(3, 4, high=5), ints(2, 4, 2, high=5)), {"ta": False, "tb": False}, smooth=False),
        Sample((ints(3, 4, high=5), ints(4, 2, high=5)), {"ta": False, "tb": False}, smooth=False),
    ],
    "full": [
        Sample((), {"value": 1.5, "shape": (2, 3), "dtype": "f32"}, smooth=False),
        Sample((), {"value": INF, "shape": (), "dtype": "f64"}, smooth=False),
        Sample((), {"value": -3, "shape": (2,), "dtype": "i32"}, smooth=False),
        Sample((), {"value": True, "shape": (2,), "dtype": "bool"}, smooth=False),
    ],
    "blank": [Sample((), {"shape": (0, 3), "dtype": "f32", "n": 1}, smooth=False)],
    "iota": [
        Sample((), {"shape": (2, 3), "axis": 1, "dtype": "i64"}, smooth=False),
        Sample((), {"shape": (4, 2), "axis": 0, "dtype": "f32"}, smooth=False),
    ],
    "constant": [Sample((), {"data": "0000803f00000040", "shape": (2,), "dtype": "f32"}, smooth=False)],
    "uniform": [
        Sample((np.array([7, 0]),), {"shape": (3, 5), "dtype": "f32"}, smooth=False),
        Sample((np.array([-7, 2**40]),), {"shape": (11,), "dtype": "f64"}, smooth=False),
    ],
    "index_select": [
        Sample((normal(5, 3), ints(4, high=5)), {"axis": 0}),
        Sample((normal(2, 5, 3), ints(2, 3, high=5)), {"axis": 1}),
    ],
    "index_add": [
        Sample((normal(4, 3), ints(4, high=5)), {"axis": 0, "extent": 5}),
        Sample((normal(2, 2, 3), ints(2, high=2)), {"axis": 1, "extent": 2}),
        Sample((normal(4, 3).astype(np.float32), ints(4, high=5)), {"axis": 0, "extent": 5, "wide": True}, smooth=False),
    ],
    "gather": [
        Sample((normal(3, 4), ints(3, 2, high=4)), {"axis": 1}),
        Sample((normal(3, 4), ints(5, 4, high=3)), {"axis": 0}),
    ],
    "scatter_add": [
        Sample((normal(3, 2), ints(3, 2, high=4)), {"axis": 1, "shape": (3, 4)}),
        Sample((normal(5, 3), ints(5, 3, high=2)), {"axis": 0, "shape": (2, 3)}),
        Sample((normal(5, 3).astype(np.float32), ints(5, 3, high=2)), {"axis": 0, "shape": (2, 3), "wide": True}, smooth=False),
    ],
    "scatter_reduce": [
        *[
            Sample((normal(3, 4), normal(3, 2, seed=1), ints(3, 2, high=4)), {"axis": 1, "reduce": r})
            for r in ("max", "min", "prod")
        ],
        *[Sample((normal(4, 3), normal(5, 2, seed=1), ints(5, 2, high=4)), {"axis": 0, "reduce": r}) for r in ("max", "prod")],
        Sample((ints(4, high=9), ints(6, high=9, seed=1), ints(6, high=4, seed=2)), {"axis": 0, "reduce": "max"}, smooth=False),
        Sample(
            (np.array([0.0, 2.0]), np.array([3.0, 0.0, 1.5]), np.array([0, 1, 0])), {"axis": 0, "reduce": "prod"}, smooth=False
        ),
    ],
    **{name: [*unary(), Sample((COMPLEX,), smooth=False)] for name in ["conj", "real"]},
    **{name: [Sample((COMPLEX,), smooth=False)] for name in ["imag", "angle"]},
    "view_as_real": [Sample((COMPLEX,), smooth=False)],
    "view_as_complex": [Sample((normal(3, 2),), smooth=False)],
    "substitute": [Sample((normal(3), normal(3, seed=1)), smooth=False)],
    "unread": [Sample((normal(3), normal(3, seed=1)))],
    "complex": [Sample((normal(3), normal(3, seed=1)), smooth=False)],
    "fft": [
        Sample((COMPLEX,), {"axes": axes, "inverse": inverse, "scale": 0.5}, smooth=False)
        for axes in ((0,), (0, 1))
        for inverse in (False, True)
    ],
    "binary_cross_entropy": [
        *binary(0.1, 0.9)[:2],
        Sample((np.array([0.0, 1.0, 0.0, 1.0, 0.5]), np.array([0.0, 1.0, 1.0, 0.0, NAN])), smooth=False),
    ],
    "set_at": [
        Sample((normal(4, 3), normal(1, 3, seed=1), np.array(2)), {"axis": 0}),
        Sample((normal(2, 4, 3), normal(2, 1, 3, seed=1), np.array(3)), {"axis": 1}),
        Sample((normal(5), normal(1, seed=1), np.array(0)), {"axis": 0}),
        Sample((normal(5, 3), normal(2, 3, seed=1), np.array(3)), {"axis": 0}),
        Sample((normal(2, 5, 3), normal(2, 3, 3, seed=1), np.array(1, np.int32)), {"axis": 1}),
        Sample((normal(5), normal(5, seed=1), np.array(0)), {"axis": 0}),
    ],
    **{name: unary() for name in SPECIAL_EVERYWHERE},
    **{name: unary(0.3, 3.0) for name in SPECIAL_POSITIVE},
    "trunc": unary(0.1, 0.9),
    "acosh": unary(1.2, 3.0),
    **{name: unary(-0.8, 0.8) for name in ["atanh", "erfinv"]},
    "ndtri": unary(0.1, 0.9),
    "polygamma": [Sample((normal(3, 4, low=0.5, high=3.0),), {"n": n}) for n in (1, 2)],
    "hypot": binary(),
    **{name: binary() for name in ["logaddexp", "logaddexp2"]},
    **{name: binary(0.5, 3.0) for name in ["xlogy", "xlog1py"]},
    "entr": unary(0.2, 3.0),
    "logit": unary(0.1, 0.9),
    "trunc_divide": [Sample((PAIR_A, PAIR_B), smooth=False)],
    "fmod": [Sample((np.array([5.3, -5.3, 2.2]), np.array([2.0, 2.0, -1.5]))), *binary()[2:], *integers()],
    "copysign": binary(0.5, 3.0),
    "nextafter": [Sample((PAIR_A, PAIR_B), smooth=False)],
    "heaviside": [Sample((PAIR_A, PAIR_B), smooth=False)],
    "zeta": [Sample((normal(5, low=1.5, high=4.0), normal(5, low=0.5, high=4.0, seed=1)), smooth=False)],
    **{name: integers() for name in ["gcd", "lcm"]},
    **{name: [Sample((np.array([1, 5, -9]), np.array([0, 2, 1])), smooth=False)] for name in ["shift_left", "shift_right"]},
    **{
        name: [Sample((np.array([0.5, 1.5, 3.0]), normal(3, low=0.5, high=4.0)), smooth=False)]
        for name in ["gammainc", "gammaincc"]
    },
    "cumsum": [*scan(), *scan(reverse=True)],
    "cumprod": scan(),
    "logcumsumexp": scan()[:3],
    "prod": scan(),
    "recurrence": [
        Sample((normal(3, 4), normal(3, 4, seed=1)), {"axis": axis, "reverse": reverse})
        for axis in (0, 1)
        for reverse in (False, True)
    ],
    "cumargmax": [*scan(largest=True), *scan(largest=False)],
    "argsort": [*scan(descending=True), *scan(descending=False)],
    "searchsorted": [
        Sample((np.array([1.0, 2.0, 2.0, 5.0]), np.array([[0.0, 2.0], [5.0, 9.0]])), {"right": right}, smooth=False)
        for right in (False, True)
    ],
    "flat_nonzero": [
        Sample((BOOLS,), {"count": 3}, smooth=False),
        Sample((np.array([0.0, NAN, 2.0]),), {"count": 2}, smooth=False),
    ],
    "assignment": [Sample((normal(4, 3),), {"maximize": maximize}, smooth=False) for maximize in (False, True)],
    "unique_count": [Sample((ints(3, 4, high=4),), smooth=False)],
    "unique_values": [Sample((np.array([[2.0, 1.0], [2.0, -1.0]]),), {"count": 3}, smooth=False)],
    "unique_inverse": [Sample((np.array([[2.0, 1.0], [2.0, -1.0]]),), smooth=False)],
    "unique_counts": [Sample((np.array([[2.0, 1.0], [2.0, -1.0]]),), {"count": 3}, smooth=False)],
    "repeat_positions": [Sample((np.array([2, 0, 3]),), {"total": 5}, smooth=False)],
    "grouped_rows": [Sample((normal(7, 3), normal(4, 3, 2, seed=1), np.array([2, 2, 5, 6], np.int32)), {})],
    "grouped_sums": [Sample((normal(7, 3), normal(7, 2, seed=1), np.array([2, 2, 5, 6], np.int32)), {})],
    "solve": [
        Sample((matrix(3, 3), normal(3, 2, seed=1)), {}),
        Sample((matrix(2, 3, 3), normal(2, 3, 1, seed=1)), {}),
    ],
    "solve_triangular": [
        *(
            Sample((matrix(2, 3, 3), normal(2, 3, 2, seed=1)), {"lower": lower, "unit": unit})
            for lower in (False, True)
            for unit in (False, True)
        ),
        # A lower triangle, whose gradient has all elements.
        Sample(
            (np.tril(matrix(2, 3, 3)), normal(2, 3, 2, seed=1)), {"lower": True, "unit": False, "whole": True}, smooth=False
        ),
    ],
    **{name: square() for name in ["inv", "det", "adjugate", "logabsdet"]},
    "detsign": [Sample((matrix(2, 4, 4),), smooth=False)],
    **{name: [Sample((definite(3, 3),)), Sample((definite(2, 4, 4),))] for name in ["lu_lower", "lu_upper"]},
    "matrix_exp": [*square(), Sample((matrix(2, 3, 3) * np.array([0.01, 20.0])[:, None, None],), smooth=False)],
    **{name: symmetric() for name in ["eigvalsh", "eigvecsh"]},
    "cholesky": [*symmetric(upper=False, checked=True), *symmetric(upper=True, checked=False)],
    "cholesky_info": [
        Sample((np.array([[[4.0, 2.0], [2.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]]]),), {"upper": upper}, smooth=False)
        for upper in (False, True)
    ],
    # Complex: the gradients are tested in test_complex.
    **{name: [Sample((matrix(*s),), smooth=False) for s in [(3, 3), (2, 4, 4)]] for name in ["eigvals", "eigvecs"]},
    **{name: rectangular() for name in ["svdvals", "svd_u", "svd_vh"]},
    **{name: rectangular({"complete": False}) for name in ["qr_q", "qr_r"]},
    **{
        name: [Sample((matrix(*s),), smooth=False) for s in [(3, 3), (4, 2), (2, 2, 4)]]
        for name in ["lu_pivots", "geqrf_a", "geqrf_tau"]
    },
    "pivot_order": [Sample((np.array([[3, 3, 3], [1, 3, 3]], np.int32),), {"rows": 4}, smooth=False)],
    **{name: [Sample((definite(2, 3, 3),), {"hermitian": False}, smooth=False)] for name in ["ldl_data", "ldl_pivots"]},
    "ldl_solve": [
        Sample((definite(3, 3), np.array([1, 2, 3], np.int32), normal(3, 2)), {"hermitian": False}, smooth=False),
    ],
    "frexp_mantissa": [Sample((np.array([0.7, -3.0, 5.3, 1e-3]),)), Sample((SPECIAL,), smooth=False)],
    "frexp_exponent": [Sample((SPECIAL,), smooth=False)],
    "poisson_quantile": [Sample((normal(6, low=0.01, high=0.99), np.array([0.0, 0.1, 1.0, 7.0, 60.0, 1e4])), smooth=False)],
    "binomial_quantile": [
        Sample(
            (normal(6, low=0.01, high=0.99), np.array([0.0, 1, 5, 5, 40, 4]), np.array([0.5, 0.2, 0.0, 1.0, 0.3, 0.9])),
            smooth=False,
        )
    ],
    "gamma_quantile": [
        Sample((normal(6, low=0.05, high=0.95), np.array([0.2, 0.7, 1.0, 3.0, 20.0, 900.0])), smooth=False),
    ],
    "gamma_quantile_slope": [Sample((normal(4, low=0.5, high=3.0), np.array([0.2, 0.7, 1.0, 3.0])), smooth=False)],
    "orthogonal_polynomial": [
        Sample((normal(6, low=-1.5, high=1.5), np.array([-1.0, 0, 1, 2, 5, 9])), {"family": family}, smooth=False)
        for family in [
            "chebyshev_t",
            "chebyshev_u",
            "shifted_chebyshev_v",
            "hermite_h",
            "hermite_he",
            "laguerre_l",
            "legendre_p",
        ]
    ],
    "pinv": [
        Sample((matrix(*shape), np.ones((*shape[:-2], min(shape[-2:])), bool))) for shape in [(3, 3), (4, 2), (2, 4), (2, 4, 3)]
    ],
}

NOT_SAMPLED = {"fusion", "sum_lost", "contract", "addmm"}  # created by passes; tested with them


def cases():
    """(name, sample) pairs with a readable id."""
    for name, samples in SAMPLES.items():
        for i, sample in enumerate(samples):
            yield f"{name}-{i}", PRIMITIVES[name], sample
