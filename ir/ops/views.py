"""Views other than permutations of axes: diagonals, strided views, windows, other dtypes on the same bytes; and for each the
operation that replaces the view's elements in its base.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..primitive import Kind, Piece, host, primitive
from ..types import TensorType, dtype_named, type_of
from .movement import Param, Shape, _affine, _require, begun_at, strides_of, zeros


def _replaced(view: Any) -> Any:
    """NumPy meaning: ``x`` with the elements of its view replaced by ``v``. Where elements share memory the last stays."""

    def replace(x: Any, v: Any, **attrs: Any) -> np.ndarray:
        y = np.array(x, order="C")
        view(y, **attrs)[...] = v
        return y

    return replace


# diagonal: of the plane of two axes, as a last axis. Element i is at row i + max(-offset, 0), column i + max(offset, 0).


def _infer_diagonal(x: TensorType, offset: int, axis1: int, axis2: int) -> TensorType:
    _require(axis1 != axis2 and min(axis1, axis2) >= 0 and max(axis1, axis2) < x.rank, f"axes {axis1}, {axis2} of {x}")
    m, n = x.shape[axis1], x.shape[axis2]
    count = max(0, min(m, n - offset) if offset >= 0 else min(m + offset, n))
    return x.with_shape((*(e for i, e in enumerate(x.shape) if i not in (axis1, axis2)), count))


def _diagonal(x: Any, offset: int, axis1: int, axis2: int) -> np.ndarray:
    x = np.asarray(x)
    y = np.diagonal(x, offset, axis1, axis2)  # NumPy currently makes it read-only
    y.flags.writeable = x.flags.writeable
    return y


def _diagonal_pieces(index: tuple[str, ...], types: list[TensorType], attrs: dict[Any, Any], param: Param) -> list[Piece]:
    offset, a, b = attrs["offset"], attrs["axis1"], attrs["axis2"]
    rest, i = iter(index[:-1]), index[-1]
    row, column = _affine(i, max(-offset, 0), 1, param), _affine(i, max(offset, 0), 1, param)
    return [Piece(0, tuple(row if k == a else column if k == b else next(rest) for k in range(types[0].rank)))]


def _infer_diagonal_update(x: TensorType, v: TensorType, offset: int, axis1: int, axis2: int) -> TensorType:
    part = _infer_diagonal(x, offset, axis1, axis2)
    _require(part == v, f"the diagonal of {x} is {part}, cannot be replaced by {v}")
    return x


def _diagonal_update_pieces(
    index: tuple[str, ...], types: list[TensorType], attrs: dict[Any, Any], param: Param
) -> list[Piece]:
    offset, a, b = attrs["offset"], attrs["axis1"], attrs["axis2"]
    low = max(-offset, 0)
    place = index[a] if low == 0 else f"({index[a]} - {param(low)})"
    inner = (*(i for k, i in enumerate(index) if k not in (a, b)), place)
    row, column = index[a], index[b]
    if offset:
        row, column = (f"({row} + {param(offset)})", column) if offset > 0 else (row, f"({column} + {param(-offset)})")
    return [Piece(1, inner, f"{row} == {column}"), Piece(0, tuple(index))]


diagonal = primitive(
    "diagonal",
    Kind.MOVEMENT,
    "x",
    infer=_infer_diagonal,
    impl=_diagonal,
    vjp=(lambda g, x_type, offset, axis1, axis2: diagonal_update(zeros(x_type), g, offset=offset, axis1=axis1, axis2=axis2),),
    pieces=_diagonal_pieces,
    put=lambda base, view, base_type, offset, axis1, axis2: diagonal_update(
        base, view, offset=offset, axis1=axis1, axis2=axis2
    ),
)
diagonal_update = primitive(
    "diagonal_update",
    Kind.MOVEMENT,
    "x v",
    infer=_infer_diagonal_update,
    impl=_replaced(_diagonal),
    vjp=(
        lambda g, v_type, offset, axis1, axis2: diagonal_update(g, zeros(v_type), offset=offset, axis1=axis1, axis2=axis2),
        lambda g, offset, axis1, axis2: diagonal(g, offset=offset, axis1=axis1, axis2=axis2),
    ),
    pieces=_diagonal_update_pieces,
    torch_name="DiagonalScatter",
)

# strided: the elements offset + i0 * strides[0] + i1 * strides[1] + ... of a vector; they may coincide.


def _infer_strided(x: TensorType, shape: Shape, strides: Shape, offset: int) -> TensorType:
    _require(x.rank == 1 and len(shape) == len(strides), f"strided takes a vector, got {x}, {shape}, {strides}")
    _require(min((*shape, *strides, offset), default=0) >= 0, f"strided by {strides} from {offset}")
    last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    _require(0 in shape or last < x.shape[0], f"strided goes to {last} of {x}")
    return x.with_shape(tuple(shape))


def _strided(x: Any, shape: Shape, strides: Shape, offset: int) -> np.ndarray:
    x = np.asarray(x)
    step = x.strides[0]
    begin = x[offset:] if offset < x.size else begun_at(x, (offset,), (1,), (0,))
    return np.lib.stride_tricks.as_strided(begin, shape, tuple(s * step for s in strides))


def _strided_pieces(index: tuple[str, ...], types: list[TensorType], attrs: dict[Any, Any], param: Param) -> list[Piece]:
    terms = [_affine(i, 0, s, param) for i, s in zip(index, attrs["strides"], strict=True) if s]
    terms += [param(attrs["offset"])] if attrs["offset"] else []
    return [Piece(0, (f"({' + '.join(terms)})" if terms else "0",))]


def _infer_strided_update(x: TensorType, v: TensorType, shape: Shape, strides: Shape, offset: int) -> TensorType:
    part = _infer_strided(x, shape, strides, offset)
    _require(part == v, f"elements {part} cannot be replaced by {v}")
    return x


def _infer_strided_sum(g: TensorType, extent: int, strides: Shape, offset: int) -> TensorType:
    whole = g.with_shape((extent,))
    _infer_strided(whole, g.shape, strides, offset)
    return whole


def _strided_sum(g: Any, extent: int, strides: Shape, offset: int) -> np.ndarray:
    g = np.asarray(g)
    y = np.zeros(extent, g.dtype)
    positions = _strided(np.arange(extent), g.shape, strides, offset)
    np.add.at(y, positions, g)
    return y


strided = primitive(
    "strided",
    Kind.MOVEMENT,
    "x",
    infer=_infer_strided,
    impl=_strided,
    vjp=(lambda g, x_type, strides, offset: strided_sum(g, extent=x_type.shape[0], strides=strides, offset=offset),),
    pieces=_strided_pieces,
    put=lambda base, view, base_type, shape, strides, offset: strided_update(
        base, view, shape=shape, strides=strides, offset=offset
    ),
    torch_name="AsStrided",
)
strided_update = host(
    "strided_update",
    _replaced(_strided),
    "x v",
    infer=_infer_strided_update,
    vjp=(
        lambda g, v_type, shape, strides, offset: strided_update(g, zeros(v_type), shape=shape, strides=strides, offset=offset),
        lambda g, shape, strides, offset: strided(g, shape=shape, strides=strides, offset=offset),
    ),
    torch_name="AsStridedScatter",
)
strided_sum = host(
    "strided_sum",
    _strided_sum,
    "x",
    infer=_infer_strided_sum,
    vjp=(lambda g, x_type, strides, offset: strided(g, shape=x_type.shape, strides=strides, offset=offset),),
)


# windows: all windows over the last axes, as axes of positions inside the window and axes of windows,
#   result[..., k1, k2, o1, o2] = x[..., o1*stride1 + k1*dilation1, o2*stride2 + k2*dilation2]
# and fold, its adjoint, which sums overlapping windows.


def _infer_windows(x: TensorType, size: Shape, stride: Shape, dilation: Shape) -> TensorType:
    n = len(size)
    _require(len(stride) == len(dilation) == n <= x.rank, f"windows {size} do not fit {x}")
    _require(min((*size, *stride, *dilation), default=1) > 0, "windows need positive sizes, strides and dilations")
    spatial = x.shape[x.rank - n :]
    reach = tuple((k - 1) * d + 1 for k, d in zip(size, dilation, strict=True))
    _require(
        all(r <= e for r, e in zip(reach, spatial, strict=True)),
        f"Kernel size can't be greater than actual input size: windows of {reach} over {spatial}",
    )
    count = tuple((e - r) // s + 1 for e, r, s in zip(spatial, reach, stride, strict=True))
    return x.with_shape(x.shape[: x.rank - n] + tuple(size) + count)


def _windows(x: Any, size: Shape, stride: Shape, dilation: Shape) -> np.ndarray:
    n = len(size)
    x = np.asarray(x)
    shape = _infer_windows(type_of(x), size, stride, dilation).shape
    lead, steps = x.strides[: x.ndim - n], x.strides[x.ndim - n :]
    inside = tuple(s * d for s, d in zip(steps, dilation, strict=True))
    across = tuple(s * d for s, d in zip(steps, stride, strict=True))
    return np.lib.stride_tricks.as_strided(x, shape, lead + inside + across)


def _windows_pieces(index: tuple[str, ...], types: list[TensorType], attrs: dict[Any, Any], param: Param) -> list[Piece]:
    n = len(attrs["size"])
    lead, k, o = index[: -2 * n], index[-2 * n : -n], index[-n:]
    inner = tuple(
        f"({_affine(oi, 0, s, param)} + {_affine(ki, 0, d, param)})"
        for oi, s, ki, d in zip(o, attrs["stride"], k, attrs["dilation"], strict=True)
    )
    return [Piece(0, lead + inner)]


def _infer_fold(x: TensorType, extents: Shape, stride: Shape, dilation: Shape) -> TensorType:
    n = len(extents)
    lead = x.shape[: x.rank - 2 * n]
    size = x.shape[x.rank - 2 * n : x.rank - n]
    whole = x.with_shape(lead + tuple(extents))
    _require(_infer_windows(whole, size, stride, dilation) == x, f"{x} is not windows over {extents}")
    return whole


def _fold(x: Any, extents: Shape, stride: Shape, dilation: Shape) -> np.ndarray:
    n = len(extents)
    x = np.asarray(x)
    lead, size, count = x.shape[: x.ndim - 2 * n], x.shape[x.ndim - 2 * n : x.ndim - n], x.shape[x.ndim - n :]
    y = np.zeros(lead + tuple(extents), x.dtype)
    for k in np.ndindex(*size):
        at: tuple[Any, ...] = tuple(
            slice(i * d, i * d + (c - 1) * s + 1, s) for i, d, s, c in zip(k, dilation, stride, count, strict=True)
        )
        y[(Ellipsis, *at)] += x[(slice(None),) * len(lead) + k]
    return y


windows = primitive(
    "windows",
    Kind.MOVEMENT,
    "x",
    infer=_infer_windows,
    impl=_windows,
    vjp=(
        lambda g, x_type, size, stride, dilation: fold(
            g, extents=x_type.shape[x_type.rank - len(size) :], stride=stride, dilation=dilation
        ),
    ),
    pieces=_windows_pieces,
    put=lambda base, view, base_type, size, stride, dilation: windows_update(
        base, view, size=size, stride=stride, dilation=dilation
    ),
    torch_name="Im2Col",
)
fold = primitive(
    "fold",
    Kind.INDEXING,
    "x",
    infer=_infer_fold,
    impl=_fold,
    vjp=(
        lambda g, x_type, extents, stride, dilation: windows(
            g, size=x_type.shape[x_type.rank - 2 * len(extents) : x_type.rank - len(extents)], stride=stride, dilation=dilation
        ),
    ),
    torch_name="Col2Im",
)


def _infer_windows_update(x: TensorType, v: TensorType, size: Shape, stride: Shape, dilation: Shape) -> TensorType:
    part = _infer_windows(x, size, stride, dilation)
    _require(part == v, f"windows {part} cannot be replaced by {v}")
    return x


windows_update = host(
    "windows_update",
    _replaced(_windows),
    "x v",
    infer=_infer_windows_update,
    vjp=(
        lambda g, v_type, size, stride, dilation: windows_update(g, zeros(v_type), size=size, stride=stride, dilation=dilation),
        lambda g, size, stride, dilation: windows(g, size=size, stride=stride, dilation=dilation),
    ),
)

# bitcast: the same bytes as elements of another dtype. The last axis grows or shrinks if the sizes differ.


def _infer_bitcast(x: TensorType, dtype: str) -> TensorType:
    new = dtype_named(dtype)
    old_size, new_size = x.dtype.itemsize, new.itemsize
    if old_size == new_size:
        return x.with_dtype(new)
    _require(x.rank > 0 and x.shape[-1] * old_size % new_size == 0, f"{x} cannot be reinterpreted as {new.name}")
    return x.with_shape((*x.shape[:-1], x.shape[-1] * old_size // new_size)).with_dtype(new)


def _bitcast(x: Any, dtype: str) -> np.ndarray:
    x, new = np.asarray(x), dtype_named(dtype).numpy
    if x.itemsize != new.itemsize and x.size and x.strides[-1] != x.itemsize:
        x = np.ascontiguousarray(x)
    if x.size == 0:  # NumPy cannot split an array without strides
        x = np.lib.stride_tricks.as_strided(x, x.shape, strides_of(x))
    return x.view(new)


bitcast = host(
    "bitcast",
    _bitcast,
    infer=_infer_bitcast,
    in_format=True,
    put=lambda base, view, base_type, dtype: bitcast(view, dtype=base_type.dtype.short),
)
