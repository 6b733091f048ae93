"""Functions that rearrange elements: views where PyTorch's are views."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from operator import index
from typing import Any

from ..core.context import COUNTED, context
from ..core.layout import require_format
from ..core.tensor import Tensor
from ..core.views import LazyView, one_of_several
from ..ir import ops as P
from ..ir.types import DType
from ..tracing.moving import Place, recorder_for, view_at
from ..tracing.scalars import RuntimeInt
from . import direct
from .common import Dims, dims, element, one_dim, result_dtype, to_dtype
from .inquiry import fitting

__all__ = [
    "broadcast_to",
    "cat",
    "chunk",
    "contiguous",
    "expand",
    "expand_as",
    "flatten",
    "flip",
    "narrow",
    "permute",
    "reshape",
    "split",
    "split_with_sizes",
    "squeeze",
    "stack",
    "t",
    "transpose",
    "unsqueeze",
    "view",
]


# Shapes, axes and regions depend on plain numbers alone, and programs repeat them: they are computed once. Keys are exact ints.
_remembered = functools.lru_cache(4096)


def _sizes(shape: tuple[Any, ...]) -> tuple[int, ...]:
    """A shape given as one sequence or as several numbers."""
    if len(shape) == 1 and shape[0].__class__ is not int and not isinstance(shape[0], (int, Tensor)):
        shape = tuple(shape[0])
    for n in shape:
        if n.__class__ is not int:
            return tuple(int(n) for n in shape)
    return shape


def reshape(input: Tensor, *shape: Any) -> Tensor:
    """The elements in row-major order in another shape; one extent may be -1. Raises RuntimeError if they do not fit."""
    return P.reshape(input, shape=_completed(_sizes(shape), input._data.size))


@_remembered
def _completed(shape: tuple[int, ...], total: int) -> tuple[int, ...]:
    """A shape of so many elements, without -1."""
    sizes = shape
    if -1 in sizes:
        known = math.prod(n for n in sizes if n != -1)
        if sizes.count(-1) > 1:
            raise RuntimeError("only one dimension can be inferred")
        if (known == 0) or total % known:
            raise RuntimeError(f"shape '{list(sizes)}' is invalid for input of size {total}")
        sizes = tuple(total // known if n == -1 else n for n in sizes)
    if any(n < 0 for n in sizes):
        raise RuntimeError(f"invalid shape dimension {next(n for n in sizes if n < 0)}")
    if math.prod(sizes) != total:
        raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {total}")
    return sizes


def view(input: Tensor, *shape: Any, dtype: DType | None = None) -> Tensor:
    """``reshape`` without copying; or, given a dtype, the same bytes as elements of that dtype, detached.

    Raises RuntimeError if the memory's strides do not allow it.
    """
    if dtype is not None or (len(shape) == 1 and isinstance(shape[0], DType)):
        return _reread(input, dtype or shape[0])
    out = reshape(input, *shape)
    if out._view is None and out._data.size:
        raise RuntimeError(
            "view size is not compatible with input tensor's size and stride (at least one dimension spans across two "
            "contiguous subspaces). Use .reshape(...) instead."
        )
    return out


def _reread(input: Tensor, dtype: DType) -> Tensor:
    """The same bytes as elements of another dtype."""
    if isinstance(input, LazyView):
        raise RuntimeError(
            "tracer.Tensor.view is not supported for conjugate view tensors when converting to a different dtype."
        )
    old, new = input.element_size(), dtype.itemsize
    between = f"to view {input.dtype.ctype} as {dtype.ctype} (different element sizes)"
    if old != new and input.ndim == 0:
        raise RuntimeError(f"self.dim() cannot be 0 {between}")
    if old != new and input.stride(-1) != 1:
        raise RuntimeError(f"self.stride(-1) must be 1 {between}, but got {input.stride(-1)}")
    if new > old:
        ratio, extent, offset = new // old, input._data.shape[-1], input.storage_offset()
        if extent % ratio:
            raise RuntimeError(f"self.size(-1) must be divisible by {ratio} {between}, but got {extent}")
        if offset % ratio:
            raise RuntimeError(f"self.storage_offset() must be divisible by {ratio} {between}, but got {offset}")
        for axis, s in enumerate(input.stride()[:-1]):
            if s % ratio:
                raise RuntimeError(f"self.stride({axis}) must be divisible by {ratio} {between}, but got {s}")
    return P.bitcast(input, dtype=dtype.short)


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Merges the axes from ``start_dim`` to ``end_dim``."""
    shape = _flat(input._data.shape, index(start_dim), index(end_dim))
    return input if shape is None else P.reshape(input, shape=shape)


@_remembered
def _flat(shape: tuple[int, ...], start_dim: int, end_dim: int) -> tuple[int, ...] | None:
    a, b = one_dim(start_dim, len(shape)), one_dim(end_dim, len(shape))
    if a > b:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    if a == b and shape:
        return None
    old = shape or (1,)
    return (*old[:a], math.prod(old[a : b + 1]), *old[b + 1 :])


def permute(input: Tensor, *dims: Any) -> Tensor:
    """Permutes the axes. Raises TypeError if none is given."""
    if not dims:
        raise TypeError('permute() missing 1 required positional arguments: "dims"')
    return P.permute(input, axes=_order(input._data.ndim, _sizes(dims)))


@_remembered
def _order(rank: int, dims: tuple[int, ...]) -> tuple[int, ...]:
    if len(dims) != rank:
        raise RuntimeError(
            "permute(sparse_coo): number of dimensions in the tensor input does not match the length of the desired "
            f"ordering of dimensions i.e. input.dim() = {rank} is not equal to len(dims) = {len(dims)}"
        )
    chosen = tuple(one_dim(a, rank) for a in dims)
    if len(set(chosen)) < len(chosen):
        raise RuntimeError("permute(): duplicate dims are not allowed.")
    return chosen


def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Swaps two axes."""
    return P.permute(input, axes=_swapped(input._data.ndim, index(dim0), index(dim1)))


@_remembered
def _swapped(rank: int, dim0: int, dim1: int) -> tuple[int, ...]:
    axes = list(range(rank))
    a, b = one_dim(dim0, rank), one_dim(dim1, rank)
    if axes:
        axes[a], axes[b] = axes[b], axes[a]
    return tuple(axes)


def t(input: Tensor) -> Tensor:
    """The transpose of a matrix; a vector or number is unchanged."""
    if input.ndim > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {input.ndim}D")
    return transpose(input, 0, 1) if input.ndim == 2 else P.permute(input, axes=tuple(range(input.ndim)))


def squeeze(input: Tensor, dim: Dims = None) -> Tensor:
    """Removes axes of extent 1: all of them, or those in ``dim``."""
    chosen = dim if dim is None else index(dim) if isinstance(dim, int) else tuple(map(index, dim))
    return P.reshape(input, shape=_squeezed(input._data.shape, chosen))


@_remembered
def _squeezed(shape: tuple[int, ...], dim: int | tuple[int, ...] | None) -> tuple[int, ...]:
    axes = () if dim == () else dims(dim, len(shape))
    return tuple(n for i, n in enumerate(shape) if not (i in axes and n == 1))


def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """Inserts an axis of extent 1 at ``dim``."""
    return P.reshape(input, shape=_unsqueezed(input._data.shape, index(dim)))


@_remembered
def _unsqueezed(shape: tuple[int, ...], dim: int) -> tuple[int, ...]:
    axis = one_dim(dim, len(shape) + 1)
    return (*shape[:axis], 1, *shape[axis:])


def expand(input: Tensor, *size: Any, implicit: bool = False) -> Tensor:
    """A view with axes of extent 1 repeated; -1 keeps an extent. Raises RuntimeError if extents do not fit."""
    old = input._data.shape
    fewer, attrs = _expansion(old, _sizes(size), input.dtype)
    return P.broadcast(input if fewer == old else P.reshape(input, shape=fewer), **attrs)


@_remembered
def _expansion(old: tuple[int, ...], sizes: tuple[int, ...], dtype: DType) -> tuple[tuple[int, ...], dict[str, Any]]:
    """The shape without the axes to repeat, and the attributes of the broadcast."""
    lead = len(sizes) - len(old)
    if lead < 0:
        raise RuntimeError(
            f"expand({dtype.name}{list(old)}, size={list(sizes)}): the number of sizes provided ({len(sizes)}) must be "
            f"greater or equal to the number of dimensions in the tensor ({len(old)})"
        )
    if -1 in sizes[:lead]:
        raise RuntimeError(
            f"The expanded size of the tensor (-1) isn't allowed in a leading, non-existing dimension {sizes.index(-1)}"
        )
    new = tuple(old[i - lead] if n == -1 and i >= lead else n for i, n in enumerate(sizes))
    for i, n in enumerate(old):
        if n not in (1, new[i + lead]):
            raise RuntimeError(
                f"The expanded size of the tensor ({new[i + lead]}) must match the existing size ({n}) at non-singleton "
                f"dimension {i + lead}.  Target sizes: {list(new)}.  Tensor sizes: {list(old)}"
            )
    kept = tuple(i for i, n in enumerate(old) if n == new[i + lead])
    return tuple(old[i] for i in kept), {"shape": new, "axes": tuple(i + lead for i in kept)}


def broadcast_to(input: Tensor, size: Sequence[int]) -> Tensor:
    """``expand`` to the given shape."""
    return expand(input, tuple(size))


def expand_as(input: Tensor, other: Tensor) -> Tensor:
    """``expand`` to the shape of another tensor."""
    return expand(input, other._data.shape)


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Concatenates the tensors along ``dim``."""
    if isinstance(tensors, Tensor):
        raise TypeError("cat(): argument 'tensors' (position 1) must be tuple of Tensors, not Tensor")
    xs = list(tensors)
    if not xs:
        raise ValueError("tracer.cat(): expected a non-empty list of Tensors")
    for k, x in enumerate(xs):
        if not isinstance(x, Tensor):
            raise TypeError(f"expected Tensor as element {k} in argument 0, but got {type(x).__name__}")
    dtype = xs[0]._data.dtype
    if any(x._data.dtype is not dtype for x in xs):
        wanted = result_dtype(*xs)
        xs = [to_dtype(x, wanted) for x in xs]
    shapes = [x._data.shape for x in xs]
    if (0,) in shapes:
        xs, dim = _fitting_vectors(xs, dim)
        shapes = [x._data.shape for x in xs]
    axis = _joined(index(dim), *shapes)
    out = direct.joined(xs, None, axis)
    return P.concatenate(*xs, axis=axis) if out is None else out


@_remembered
def _joined(dim: int, *shapes: tuple[int, ...]) -> int:
    """The axis along which arrays are concatenated."""
    first, axis = shapes[0], one_dim(dim, len(shapes[0]))
    for k, shape in enumerate(shapes):
        if len(shape) != len(first):
            raise RuntimeError(f"Tensors must have same number of dimensions: got {len(first)} and {len(shape)}")
        for i, (m, n) in enumerate(zip(first, shape, strict=True)):
            if i != axis and m != n:
                raise RuntimeError(
                    f"Sizes of tensors must match except in dimension {axis}. Expected size {m} but got size {n} "
                    f"for tensor number {k} in the list."
                )
    return axis


def _fitting_vectors(xs: list[Tensor], dim: int) -> tuple[list[Tensor], int]:
    """The operands of ``cat``: as in PyTorch, an empty vector fits anywhere."""
    like = next((x for x in xs if x._data.shape != (0,)), None)
    if like is None:
        return xs, 0
    slab = tuple(0 if i == one_dim(dim, like.ndim) else n for i, n in enumerate(like._data.shape))
    return [reshape(x, slab) if x._data.shape == (0,) else x for x in xs if x._data.shape != (0,) or x._requires_grad], dim


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Stacks the tensors along a new axis."""
    xs = list(tensors)
    if not xs:
        raise RuntimeError("stack expects a non-empty TensorList")
    shape = xs[0]._data.shape
    for i, x in enumerate(xs):
        if x._data.shape != shape:
            raise RuntimeError(
                f"stack expects each tensor to be equal size, but got {list(shape)} at entry 0 and {list(x.shape)} at entry {i}"
            )
    dim = one_dim(dim, len(shape) + 1)
    one = (*shape[:dim], 1, *shape[dim:])
    if (out := direct.joined(xs, one, dim)) is not None:
        return out
    return cat([P.reshape(x, shape=one) for x in xs], dim)


def split(input: Tensor, split_size_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Parts of the given size (the last may be smaller), or of the given sizes, along ``dim``."""
    size = split_size_or_sections
    if COUNTED and context.recorder is not None and isinstance(size, int) and input.ndim:
        context.recorder.counts.divide(input, one_dim(index(dim), input.ndim), context.recorder)
    regions = _regions(input._data.shape, index(size) if isinstance(size, int) else tuple(map(index, size)), index(dim))
    return one_of_several([P.slice_(input, **region) for region in regions])


@_remembered
def _regions(shape: tuple[int, ...], size: int | tuple[int, ...], dim: int) -> Sequence[dict[str, tuple[int, ...]]]:
    """The parts as regions of an array."""
    if not shape:
        raise RuntimeError("split expects at least a 1-dimensional tensor")
    axis = one_dim(dim, len(shape))
    extent = shape[axis]
    if not isinstance(size, int):
        sections = list(size)
        if any(n < 0 for n in sections):
            raise RuntimeError(f"split_with_sizes expects split_sizes have only non-negative entries, but got {sections}")
    elif size < 0:
        raise RuntimeError(f"split expects split_size be non-negative, but got split_size={size}")
    elif size == 0 and extent:
        raise RuntimeError(f"split_size can only be 0 if dimension size is 0, but got dimension size of {extent}")
    else:
        sections = [min(size, extent - i) for i in range(0, extent, size)] if extent else [0]
    if sum(sections) != extent:
        raise RuntimeError(
            f"split_with_sizes expects split_sizes to sum exactly to {extent} (input tensor's size at dimension {dim}), "
            f"but got split_sizes={sections}"
        )
    ends = list(itertools.accumulate(sections))
    return [_region(shape, axis, end - n, end) for n, end in zip(sections, ends, strict=True)]


def _region(shape: tuple[int, ...], axis: int, start: int, stop: int) -> dict[str, tuple[int, ...]]:
    starts, stops = [0] * len(shape), list(shape)
    starts[axis], stops[axis] = start, stop
    return {"starts": tuple(starts), "stops": tuple(stops), "steps": (1,) * len(shape)}


def part(input: Tensor, axis: int, start: int, stop: int) -> Tensor:
    """The elements from ``start`` to ``stop`` along an axis, a view. All are in range."""
    return P.slice_(input, **_region(input._data.shape, axis, start, stop))


def slice_at(input: Tensor, axis: int, position: int) -> Tensor:
    """The slice at a position of an axis, without that axis, a view. It is in range."""
    return P.select_(input, **region_at(input._data.shape, axis, position))


@_remembered
def region_at(shape: tuple[int, ...], axis: int, position: int) -> dict[str, tuple[int, ...]]:
    """The attributes of ``P.select_`` that give the slice at a position of an axis."""
    return {**_region(shape, axis, position, position + 1), "shape": (*shape[:axis], *shape[axis + 1 :])}


def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most ``chunks`` parts of equal size (the last may be smaller)."""
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    if input.ndim == 0:
        raise RuntimeError("chunk expects at least a 1-dimensional tensor")
    extent = input._data.shape[one_dim(dim, input.ndim)]
    return split(input, -(-extent // chunks) if extent else [0] * chunks, dim)


def split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Parts of the given sizes along ``dim``."""
    return split(input, list(split_sizes), dim)


def narrow(input: Tensor, dim: int, start: RuntimeInt | int, length: int) -> Tensor:
    """``length`` elements from ``start`` along ``dim``, a view."""
    if input.ndim == 0:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    if isinstance(start, Tensor) and (start.ndim or start.dtype.kind not in "ui"):
        raise RuntimeError("start must be an 0-dim integral Tensor.")
    axis = one_dim(dim, input.ndim)
    extent = input._data.shape[axis]
    begin: Any = int(start) if isinstance(start, Tensor) else start
    if -extent <= begin < 0:
        begin += extent
    if length < 0:
        raise RuntimeError("narrow(): length must be non-negative.")
    if begin < 0 or begin > extent:
        raise IndexError(f"start out of range (expected to be in range of [-{extent}, {extent}], but got {begin})")
    if begin + length > extent:
        raise RuntimeError(f"start ({begin}) + length ({length}) exceeds dimension size ({extent}).")
    if type(begin) is RuntimeInt and length and (recorder := recorder_for(input)) is not None:
        n, count = index(begin._value), index(length)
        seen = P.slice_, _region(input._data.shape, axis, n, n + count)
        return view_at(recorder, input, seen, None, [Place(axis, begin, count)])
    return part(input, axis, index(begin), index(begin + length))


def flip(input: Tensor, *dims: Any) -> Tensor:
    """A copy with the given axes reversed."""
    axes = [one_dim(d, input.ndim) for d in _sizes(dims)]
    if len(set(axes)) < len(axes):
        repeated = next(d for d in axes if axes.count(d) > 1)
        raise RuntimeError(f"dim {repeated} appears multiple times in the list of dims")
    return P.flip(input, axes=tuple(sorted(axes))) if input.ndim else P.copy(input)


def pad(input: Tensor, pad: Sequence[int], value: float = 0.0) -> Tensor:
    """Pads the input with ``value``; amounts in pairs from the last axis, as in ``tracer.nn.functional.pad``. Negative amounts
    crop.
    """
    if len(pad) % 2 or len(pad) > 2 * input.ndim:
        raise RuntimeError("Padding length must be divisible by 2 and at most twice the number of dimensions of the input")
    low, high = [0] * input.ndim, [0] * input.ndim
    for i in range(len(pad) // 2):
        low[-1 - i], high[-1 - i] = pad[2 * i], pad[2 * i + 1]
    if input.dtype.category < 2:
        value = element(fitting(value if isinstance(value, int) else float(value), input.dtype), input.dtype)
    out = input
    if min((*low, *high), default=0) < 0:
        starts = tuple(max(-lo, 0) for lo in low)
        stops = tuple(n - max(-hi, 0) for n, hi in zip(input._data.shape, high, strict=True))
        if any(stop < start for start, stop in zip(starts, stops, strict=True)):
            raise RuntimeError(f"padding {list(pad)} removes more than an input of shape {list(input.shape)} has")
        out = P.slice_(out, starts=starts, stops=stops, steps=(1,) * input.ndim)
    grow_low, grow_high = tuple(max(v, 0) for v in low), tuple(max(v, 0) for v in high)
    return P.pad(out, low=grow_low, high=grow_high, interior=(0,) * input.ndim, value=value)


def contiguous(input: Tensor, memory_format: Any = None) -> Tensor:
    """The input if its memory is row-major, else a row-major copy. Other memory formats are accepted and ignored."""
    require_format("contiguous", memory_format, input.ndim)
    return input if input.is_contiguous() else P.copy(input)


def apart(x: Tensor) -> Tensor:
    """``x`` in unshared memory."""
    return x if x._view is None else P.copy(x)
