"""Movements: every element of the result is an element of an operand (or a constant)."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..primitive import Kind, Piece, primitive
from ..types import TensorType, type_of
from .elementwise import copy

Shape = tuple[int, ...]
Param = Callable[[int], str]


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise RuntimeError(message)


# broadcast: operand axis i becomes axis axes[i] of the result; the other axes repeat.


def _infer_broadcast(x: TensorType, shape: Shape, axes: Shape) -> TensorType:
    fits = len(axes) == x.rank and list(axes) == sorted(set(axes)) and all(0 <= a < len(shape) for a in axes)
    _require(fits and all(shape[a] == n for a, n in zip(axes, x.shape, strict=True)), f"{x} does not go to {shape} by {axes}")
    return x.with_shape(tuple(shape))


def _broadcast(x: Any, shape: Shape, axes: Shape) -> np.ndarray:
    x = np.asarray(x)
    if x.flags.c_contiguous:  # NumPy's function takes several times as long
        strides = [0] * len(shape)
        for a, stride in zip(axes, x.strides, strict=True):
            strides[a] = stride
        return np.ndarray(shape, x.dtype, x, 0, strides)
    lifted = [1] * len(shape)
    for a, n in zip(axes, x.shape, strict=True):
        lifted[a] = n
    y = np.broadcast_to(x.reshape(lifted), shape)
    y.flags.writeable = x.flags.writeable
    return y


def _sum_to(g: Any, x_type: TensorType, shape: Shape, axes: Shape) -> Any:
    from .reduce import sum_

    return sum_(g, axes=tuple(i for i in range(len(shape)) if i not in axes))


def _put_broadcast(base: Any, view: Any, base_type: TensorType, shape: Shape, axes: Shape) -> Any:
    """Several view elements may be one element of the base. They are equal where this is called; the last one is taken."""
    if 0 in shape:
        return base
    starts = tuple(0 if i in axes else n - 1 for i, n in enumerate(shape))
    part = slice_(view, starts=starts, stops=tuple(shape), steps=(1,) * len(shape))
    return reshape(part, shape=base_type.shape)


broadcast = primitive(
    "broadcast",
    Kind.MOVEMENT,
    "x",
    infer=_infer_broadcast,
    impl=_broadcast,
    vjp=(_sum_to,),
    pieces=lambda index, types, attrs, param: [Piece(0, tuple(index[a] for a in attrs["axes"]))],
    put=_put_broadcast,
    torch_name="Expand",
)

# reshape: the same elements in row-major order.


def _infer_reshape(x: TensorType, shape: Shape) -> TensorType:
    if math.prod(shape) != x.numel or min(shape, default=0) < 0:
        raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {x.numel}")
    return x.with_shape(tuple(shape))


def reshape_pieces(index: tuple[str, ...], types: list[TensorType], attrs: dict[Any, Any], param: Param) -> list[Piece]:
    """If only axes of extent 1 are added or removed, the index is kept; otherwise it is flattened and split again."""
    old, new = types[0].shape, attrs["shape"]
    if is_unit_reshape(old, new):
        moving = iter([i for i, n in zip(index, new, strict=True) if n != 1])
        return [Piece(0, tuple("0" if n == 1 else next(moving) for n in old))]
    flat = "0"
    for i, n in zip(index, new, strict=True):
        flat = f"({flat} * {param(n)} + {i})" if flat != "0" else i
    split: list[str] = []
    for n in reversed(old[1:]):
        p = param(n)
        split.append(f"({flat} % {p})")
        flat = f"({flat} // {p})"
    return [Piece(0, tuple(reversed([*split, flat][: len(old)])))]


reshape = primitive(
    "reshape",
    Kind.MOVEMENT,
    "x",
    infer=_infer_reshape,
    impl=lambda x, shape: np.asarray(x).reshape(shape),
    vjp=(lambda g, x_type: reshape(g, shape=x_type.shape),),
    pieces=reshape_pieces,
    put=lambda base, view, base_type, shape: reshape(view, shape=base_type.shape),
    torch_name="View",
)

# permute: result axis i is operand axis axes[i].


def inverse(axes: Shape) -> Shape:
    result = [0] * len(axes)
    for i, a in enumerate(axes):
        result[a] = i
    return tuple(result)


def _infer_permute(x: TensorType, axes: Shape) -> TensorType:
    _require(sorted(axes) == list(range(x.rank)), f"axes {axes} do not permute {x}")
    return x.with_shape(tuple(x.shape[a] for a in axes))


permute = primitive(
    "permute",
    Kind.MOVEMENT,
    "x",
    infer=_infer_permute,
    impl=lambda x, axes: np.transpose(x, axes),
    vjp=(lambda g, axes: permute(g, axes=inverse(axes)),),
    pieces=lambda index, types, attrs, param: [Piece(0, tuple(index[a] for a in inverse(attrs["axes"])))],
    put=lambda base, view, base_type, axes: permute(view, axes=inverse(axes)),
)

# slice: starts, stops and positive steps, one each per axis, already clipped to the extents.


def _infer_slice(x: TensorType, starts: Shape, stops: Shape, steps: Shape) -> TensorType:
    if not len(starts) == len(stops) == len(steps) == x.rank:
        raise RuntimeError(f"slice of {x} needs {x.rank} starts, stops and steps")
    extents = []
    for n, a, b, s in zip(x.shape, starts, stops, steps, strict=True):
        if not 0 <= a <= b <= n or s <= 0:
            raise RuntimeError(f"slice {a}:{b}:{s} is out of range for extent {n}")
        extents.append(b - a if s == 1 else -(-(b - a) // s))
    return x.with_shape(tuple(extents))


@functools.lru_cache(1024)
def slices(starts: Shape, stops: Shape, steps: Shape) -> tuple[slice, ...]:
    """A region as an index."""
    return tuple(map(slice, starts, stops, steps))


def _slice(x: Any, starts: Shape, stops: Shape, steps: Shape) -> Any:
    x = np.asarray(x)
    part = x[slices(starts, stops, steps)]
    return part if part.size else begun_at(x, starts, steps, part.shape)


def strides_of(x: np.ndarray) -> tuple[int, ...]:
    """The strides in bytes. An empty new array has those that its shape gives; NumPy has zeros."""
    if x.size or any(x.strides):
        return x.strides
    step, strides = x.itemsize, []
    for n in reversed(x.shape):
        strides.append(step)
        step *= max(n, 1)
    return tuple(reversed(strides))


def begun_at(x: np.ndarray, starts: Shape, steps: Shape, shape: Shape) -> np.ndarray:
    """A slice without elements, with the address of its first element; NumPy would give it the address of ``x``."""
    extents = tuple(max(n, a + 1) for n, a in zip(x.shape, starts, strict=True))
    whole = np.lib.stride_tricks.as_strided(x, extents, strides_of(x))
    return whole[tuple(slice(a, None, s) for a, s in zip(starts, steps, strict=True))][tuple(map(slice, shape))]


_NEAR = 8


@functools.lru_cache(1 << 12)
def near_axes(shape: Shape) -> tuple[bool, ...]:
    """The axes that are short, with positions close to each other in memory, like the last one of an array of 3-vectors.

    The start of a slice along such an axis is in a kernel's text: a vector may hold elements of several positions.
    """
    return tuple([n <= _NEAR and math.prod(shape[a + 1 :]) <= _NEAR for a, n in enumerate(shape)])


def _slice_pieces(index: tuple[str, ...], types: list[TensorType], attrs: dict[Any, Any], param: Param) -> list[Piece]:
    rows = zip(index, attrs["starts"], attrs["steps"], near_axes(types[0].shape), strict=True)
    return [Piece(0, tuple([_affine(i, a, s, str if near else param) for i, a, s, near in rows]))]


def _affine(i: str, start: int, step: int, param: Param) -> str:
    scaled = i if step == 1 else f"{i} * {param(step)}"
    return scaled if start == 0 else f"({scaled} + {param(start)})"


def _slice_vjp(g: Any, x_type: TensorType, starts: Shape, stops: Shape, steps: Shape) -> Any:
    return pad(g, **_around(x_type.shape, starts, stops, steps), value=0)


@functools.lru_cache(1024)
def _around(shape: Shape, starts: Shape, stops: Shape, steps: Shape) -> dict[str, Shape]:
    """The padding that puts a slice back to its place in an array."""
    low, high = [], []
    for n, a, b, s in zip(shape, starts, stops, steps, strict=True):
        count = -(-(b - a) // s)
        low.append(a if count else 0)
        high.append(n - a - ((count - 1) * s + 1) if count else n)
    return {"low": tuple(low), "high": tuple(high), "interior": tuple(s - 1 for s in steps)}


slice_ = primitive(
    "slice",
    Kind.MOVEMENT,
    "x",
    infer=_infer_slice,
    impl=_slice,
    vjp=(_slice_vjp,),
    pieces=_slice_pieces,
    put=lambda base, view, base_type, starts, stops, steps: slice_update(base, view, starts=starts, stops=stops, steps=steps),
)

# select: a slice in a shape with other axes of extent 1, as an index with numbers or None gives it: one operation in eager
# mode. Passes see a slice and a reshape.


def _infer_select(x: TensorType, starts: Shape, stops: Shape, steps: Shape, shape: Shape) -> TensorType:
    part = _infer_slice(x, starts, stops, steps)
    if not is_unit_reshape(part.shape, shape):
        raise RuntimeError(f"select of {part} cannot have the shape {list(shape)}")
    return x.with_shape(tuple(shape))


def _select_vjp(g: Any, x_type: TensorType, starts: Shape, stops: Shape, steps: Shape) -> Any:
    part = tuple(-(-(b - a) // s) for a, b, s in zip(starts, stops, steps, strict=True))
    return _slice_vjp(reshape(g, shape=part), x_type, starts, stops, steps)


def _select_pieces(index: tuple[str, ...], types: list[TensorType], attrs: dict[Any, Any], param: Param) -> list[Piece]:
    region = {k: attrs[k] for k in ("starts", "stops", "steps")}
    part = _infer_slice(types[0], **region)
    (inner,) = reshape_pieces(index, [part], attrs, param)
    return slice_.pieces(inner.index, types, region, param)  # type: ignore[misc]


def _put_select(base: Any, view: Any, base_type: TensorType, starts: Shape, stops: Shape, steps: Shape, shape: Shape) -> Any:
    part = _infer_slice(base_type, starts, stops, steps).shape
    return slice_update(base, reshape(view, shape=part), starts=starts, stops=stops, steps=steps)


select_ = primitive(
    "select",
    Kind.MOVEMENT,
    "x",
    infer=_infer_select,
    impl=lambda x, starts, stops, steps, shape: _slice(x, starts, stops, steps).reshape(shape),
    vjp=(_select_vjp,),
    pieces=_select_pieces,
    put=_put_select,
)

# slice_update: x with x[starts:stops:steps] replaced by v.


def _infer_slice_update(x: TensorType, v: TensorType, starts: Shape, stops: Shape, steps: Shape) -> TensorType:
    part = _infer_slice(x, starts, stops, steps)
    if part != v:
        raise RuntimeError(f"slice of {x} is {part}, cannot be replaced by {v}")
    return x


def _slice_update(x: Any, v: Any, starts: Shape, stops: Shape, steps: Shape) -> np.ndarray:
    y = np.array(x)
    y[slices(starts, stops, steps)] = v
    return y


def _inside(i: str, start: int, step: int, n: int, param: Param) -> tuple[list[str] | None, str]:
    """Conditions that ``i`` is one of start, start+step, ... (``n`` of them), and its position among them; None if it is not.

    It is known of a number, an index of an unrolled axis.
    """
    if i.isdecimal():
        at, rest = divmod(int(i) - start, step)
        return ([] if rest == 0 and 0 <= at < n else None), str(at)
    count = param(n)
    position = i if start == 0 else f"({i} - {param(start)})"
    tests = [f"{position} >= 0"] if start else []
    if step != 1:
        s = param(step)
        tests.append(f"{position} % {s} == 0")
        position = f"({position} // {s})"
    return [*tests, f"{position} < {count}"], position


def _slice_update_pieces(index: tuple[str, ...], types: list[TensorType], attrs: dict[Any, Any], param: Param) -> list[Piece]:
    tests: list[str] = []
    inner: list[str] = []
    for i, n, whole, a, s in zip(index, types[1].shape, types[0].shape, attrs["starts"], attrs["steps"], strict=True):
        if (a, s, n) == (0, 1, whole):
            inner.append(i)
            continue
        conditions, position = _inside(i, a, s, n, param)
        if conditions is None:
            return [Piece(0, tuple(index))]
        tests += conditions
        inner.append(position)
    if not tests:
        return [Piece(1, tuple(inner))]
    return [Piece(1, tuple(inner), " and ".join(tests)), Piece(0, tuple(index))]


_SLICE_UPDATE_RULES = (
    lambda g, v_type, starts, stops, steps: slice_update(g, zeros(v_type), starts=starts, stops=stops, steps=steps),
    lambda g, starts, stops, steps: slice_(g, starts=starts, stops=stops, steps=steps),
)
slice_update = primitive(
    "slice_update",
    Kind.MOVEMENT,
    "x v",
    infer=_infer_slice_update,
    impl=_slice_update,
    vjp=_SLICE_UPDATE_RULES,
    pieces=_slice_update_pieces,
    torch_name="CopySlices",
)


# write_slice: slice_update for a program that writes v directly into the memory of x. v may lack axes of extent 1.


def is_unit_reshape(old: Shape, new: Shape) -> bool:
    """True if a reshape only adds or removes axes of extent 1."""
    return [n for n in old if n != 1] == [n for n in new if n != 1]


def _infer_write_slice(x: TensorType, v: TensorType, starts: Shape, stops: Shape, steps: Shape) -> TensorType:
    part = _infer_slice(x, starts, stops, steps)
    if part.dtype is not v.dtype or not is_unit_reshape(v.shape, part.shape):
        raise RuntimeError(f"slice of {x} is {part}, cannot be replaced by {v}")
    return x


def _write_slice(x: Any, v: Any, starts: Shape, stops: Shape, steps: Shape) -> np.ndarray:
    part = _infer_slice(type_of(x), starts, stops, steps)
    return _slice_update(x, np.reshape(v, part.shape), starts, stops, steps)


write_slice = primitive(
    "write_slice",
    Kind.MOVEMENT,
    "x v",
    infer=_infer_write_slice,
    impl=_write_slice,
    vjp=(
        lambda g, v_type, starts, stops, steps: write_slice(g, zeros(v_type), starts=starts, stops=stops, steps=steps),
        lambda g, v_type, starts, stops, steps: reshape(slice_(g, starts=starts, stops=stops, steps=steps), shape=v_type.shape),
    ),
    torch_name="CopySlices",
)


def zeros(type: TensorType) -> Any:
    from .source import full

    return full(value=0, shape=type.shape, dtype=type.dtype.short)


# pad: `low` and `high` elements of `value` at the ends, `interior` of them between adjacent elements.


def _infer_pad(x: TensorType, low: Shape, high: Shape, interior: Shape, value: Any) -> TensorType:
    _require(len(low) == len(high) == len(interior) == x.rank, f"pad of {x} needs {x.rank} amounts")
    _require(min((*low, *high, *interior), default=0) >= 0, "pad amounts are not negative")
    return x.with_shape(
        tuple(lo + n + max(n - 1, 0) * gap + hi for n, lo, hi, gap in zip(x.shape, low, high, interior, strict=True))
    )


def _pad(x: Any, low: Shape, high: Shape, interior: Shape, value: Any) -> np.ndarray:
    x = np.asarray(x)
    shape, inner = _inner(type_of(x), low, high, interior)
    if value.__class__ is int and value == 0:
        y = np.zeros(shape, x.dtype)
    else:
        y = np.full(shape, value, x.dtype)
    y[inner] = x
    return y


@functools.lru_cache(1024)
def _inner(x: TensorType, low: Shape, high: Shape, interior: Shape) -> tuple[Shape, tuple[slice, ...]]:
    """The shape of a padded array, and the place of the original elements."""
    ends = zip(x.shape, low, interior, strict=True)
    inner = [slice(lo, lo + (n - 1) * (gap + 1) + 1 if n else lo, gap + 1) for n, lo, gap in ends]
    return _infer_pad(x, low, high, interior, 0).shape, tuple(inner)


def _pad_pieces(index: tuple[str, ...], types: list[TensorType], attrs: dict[Any, Any], param: Param) -> list[Piece]:
    tests: list[str] = []
    inner: list[str] = []
    for i, n, lo, hi, gap in zip(index, types[0].shape, attrs["low"], attrs["high"], attrs["interior"], strict=True):
        if lo == hi == gap == 0:
            inner.append(i)
            continue
        conditions, position = _inside(i, lo, gap + 1, n, param)
        if conditions is None:
            return [Piece(None, value=attrs["value"])]
        tests += conditions
        inner.append(position)
    if not tests:
        return [Piece(0, tuple(inner))]
    return [Piece(0, tuple(inner), " and ".join(tests)), Piece(None, value=attrs["value"])]


def _pad_vjp(g: Any, x_type: TensorType, low: Shape, interior: Shape) -> Any:
    steps = tuple(gap + 1 for gap in interior)
    stops = tuple(lo + (n - 1) * s + 1 if n else lo for lo, n, s in zip(low, x_type.shape, steps, strict=True))
    return copy(slice_(g, starts=low, stops=stops, steps=steps))  # PyTorch's has rows without gaps


pad = primitive(
    "pad",
    Kind.MOVEMENT,
    "x",
    infer=_infer_pad,
    impl=_pad,
    vjp=(_pad_vjp,),
    pieces=_pad_pieces,
    torch_name="ConstantPadNd",
)

# flip: reverses the given axes.


def _infer_flip(x: TensorType, axes: Shape) -> TensorType:
    _require(len(set(axes)) == len(axes) and all(0 <= a < x.rank for a in axes), f"cannot flip {axes} of {x}")
    return x


flip = primitive(
    "flip",
    Kind.MOVEMENT,
    "x",
    infer=_infer_flip,
    impl=lambda x, axes: np.flip(x, axes).copy(),
    vjp=(lambda g, axes: flip(g, axes=axes),),
    pieces=lambda index, types, attrs, param: [
        Piece(
            0,
            tuple(f"({param(types[0].shape[k] - 1)} - {i})" if k in attrs["axes"] else i for k, i in enumerate(index)),
        )
    ],
)

# concatenate along an axis.


def _infer_concatenate(*xs: TensorType, axis: int) -> TensorType:
    _require(bool(xs), "expected a non-empty list of Tensors")
    _require(0 <= axis < xs[0].rank, f"axis {axis} does not fit {xs[0]}")
    for k, x in enumerate(xs):
        if x.dtype is not xs[0].dtype or x.rank != xs[0].rank:
            raise TypeError(f"cannot concatenate {', '.join(map(str, xs))}")
        for i, (m, n) in enumerate(zip(xs[0].shape, x.shape, strict=True)):
            _require(
                i == axis or m == n,
                f"Sizes of tensors must match except in dimension {axis}. Expected size {m} but got size {n} "
                f"for tensor number {k} in the list.",
            )
    shape = list(xs[0].shape)
    shape[axis] = sum(x.shape[axis] for x in xs)
    return xs[0].with_shape(tuple(shape))


def _concatenate_vjp(g: Any, types: list[TensorType], axis: int) -> tuple[Any, ...]:
    return tuple([slice_(g, **region) for region in _parts_of(axis, *[t.shape for t in types])])


@functools.lru_cache(1024)
def _parts_of(axis: int, *shapes: Shape) -> list[dict[str, Shape]]:
    """The operands of a concatenation as regions of its result."""
    regions, start = [], 0
    for shape in shapes:
        starts = tuple(start if i == axis else 0 for i in range(len(shape)))
        stops = tuple(s + n for s, n in zip(starts, shape, strict=True))
        regions.append({"starts": starts, "stops": stops, "steps": (1,) * len(shape)})
        start += shape[axis]
    return regions


def _concatenate_pieces(index: tuple[str, ...], types: list[TensorType], attrs: dict[Any, Any], param: Param) -> list[Piece]:
    axis, start, pieces = attrs["axis"], 0, []
    if index[axis].isdecimal():  # of an unrolled axis
        at = int(index[axis])
        ends = itertools.accumulate(t.shape[axis] for t in types)
        k, end = next((k, end) for k, end in enumerate(ends) if at < end)
        here = str(at - end + types[k].shape[axis])
        return [Piece(k, tuple(here if i == axis else e for i, e in enumerate(index)))]
    for k, t in enumerate(types):
        here = index[axis] if start == 0 else f"({index[axis]} - {param(start)})"
        inner = tuple(here if i == axis else e for i, e in enumerate(index))
        start += t.shape[axis]
        pieces.append(Piece(k, inner, None if k == len(types) - 1 else f"{index[axis]} < {param(start)}"))
    return pieces


concatenate = primitive(
    "concatenate",
    Kind.MOVEMENT,
    "*xs",
    infer=_infer_concatenate,
    impl=lambda *xs, axis: np.concatenate(xs, axis),
    vjp_all=_concatenate_vjp,
    pieces=_concatenate_pieces,
    torch_name="Cat",
)

# adjoin: concatenate along the first axis, for a program that writes its operands directly into the result.

adjoin = primitive(
    "adjoin",
    Kind.MOVEMENT,
    "*xs",
    infer=lambda *xs: _infer_concatenate(*xs, axis=0),
    impl=lambda *xs: np.concatenate(xs),
    vjp_all=lambda g, types: _concatenate_vjp(g, types, 0),
    pieces=lambda index, types, attrs, param: _concatenate_pieces(index, types, {"axis": 0}, param),
    torch_name="Cat",
)
