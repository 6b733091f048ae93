"""Further functions that rearrange elements: roll, tile, stack and others."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, overload

import numpy as np

from ..core.context import context
from ..core.device import beside
from ..core.fused import fused
from ..core.inplace import follow_through
from ..core.size import Size
from ..core.tensor import Tensor
from ..core.views import LazyView, conjugated, without_conjugation
from ..ir import ops as P
from . import pointwise as F
from . import reduce
from .common import one_dim
from .complex import conj
from .create import full
from .parts import select
from .shape import _sizes, apart, cat, contiguous, expand, flip, narrow, permute, reshape, stack, transpose, unsqueeze

__all__ = [
    "adjoint",
    "as_strided",
    "as_strided_scatter",
    "atleast_1d",
    "atleast_2d",
    "atleast_3d",
    "broadcast_shapes",
    "broadcast_tensors",
    "cartesian_prod",
    "column_stack",
    "combinations",
    "concat",
    "concatenate",
    "dstack",
    "fliplr",
    "flipud",
    "hstack",
    "moveaxis",
    "movedim",
    "ravel",
    "repeat",
    "repeat_interleave",
    "reshape_as",
    "roll",
    "rot90",
    "row_stack",
    "select_scatter",
    "slice_scatter",
    "sum_to_size",
    "swapaxes",
    "swapdims",
    "tile",
    "unflatten",
    "unfold",
    "view_as",
    "vstack",
]


def movedim(input: Tensor, source: Any, destination: Any) -> Tensor:
    """Moves axes from ``source`` to ``destination`` and keeps the order of the others; a view."""
    a = [source] if isinstance(source, int) else list(source)
    b = [destination] if isinstance(destination, int) else list(destination)
    if len(a) != len(b):
        raise RuntimeError(
            f"movedim: Invalid source or destination dims: source ({a} dims) should contain the same number of dims as "
            f"destination ({b} dims)"
        )
    a, b = [one_dim(i, input.ndim) for i in a], [one_dim(i, input.ndim) for i in b]
    if len(set(a)) < len(a) or len(set(b)) < len(b):
        what = "source" if len(set(a)) < len(a) else "destination"
        raise RuntimeError(f"movedim: repeated dim in `{what}` ({source if what == 'source' else destination})")
    if input.ndim == 0:
        return P.permute(input, axes=())
    rest = iter([i for i in range(input.ndim) if i not in a])
    order = [a[b.index(i)] if i in b else next(rest) for i in range(input.ndim)]
    return permute(input, order)


moveaxis = movedim
swapaxes = swapdims = transpose


def ravel(input: Tensor) -> Tensor:
    """All elements along one axis: a view if memory is row-major, else a copy."""
    return reshape(contiguous(input), (-1,))


def view_as(input: Tensor, other: Tensor) -> Tensor:
    """A view in the shape of another tensor."""
    return input.view(other._data.shape)


def reshape_as(input: Tensor, other: Tensor) -> Tensor:
    """The elements in the shape of another tensor."""
    return reshape(input, other._data.shape)


def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """Splits one axis into several."""
    axis = one_dim(dim, input.ndim)
    if len(sizes) == 0:
        raise RuntimeError("unflatten: sizes must be non-empty")
    old = input._data.shape
    extents = list(sizes)
    if -1 in extents:
        known = math.prod(n for n in extents if n != -1)
        extents[extents.index(-1)] = old[axis] // known if known else 0
    if math.prod(extents) != old[axis]:
        raise RuntimeError(
            f"unflatten: Provided sizes {list(sizes)} don't multiply up to the size of dim {dim} ({old[axis]}) in the input "
            f"tensor"
        )
    return reshape(input, (*old[:axis], *extents, *old[axis + 1 :]))


def repeat(input: Tensor, *repeats: Any) -> Tensor:
    """Repeats the tensor along each axis; new axes come first."""
    counts = _sizes(repeats)
    lead = len(counts) - input.ndim
    if lead < 0:
        raise RuntimeError("Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor")
    if any(n < 0 for n in counts):
        raise RuntimeError(f"Trying to create tensor with negative dimension {min(counts)}: {list(counts)}")
    old = (1,) * lead + input._data.shape
    spread = tuple(n for pair in zip(counts, old, strict=True) for n in pair)
    x = reshape(input, tuple(n for e in old for n in (1, e)))
    return apart(reshape(expand(x, spread), tuple(c * n for c, n in zip(counts, old, strict=True))))


def tile(input: Tensor, *dims: Any) -> Tensor:
    """``repeat`` with missing counts of 1 before the given ones."""
    counts = _sizes(dims)
    return repeat(input, (1,) * (input.ndim - len(counts)) + counts)


def repeat_interleave(input: Tensor, repeats: Any = None, dim: int | None = None, *, output_size: int | None = None) -> Tensor:
    """Repeats each element (or slice along ``dim``) as often as ``repeats`` says."""
    if repeats is None:
        if dim is not None:
            raise TypeError("repeat_interleave(): argument 'dim' needs the argument 'repeats'")
        return P.index_select(P.iota(shape=input._data.shape, axis=0, dtype="i64"), _positions(input), axis=0)
    if dim is None:
        return repeat_interleave(reshape(input, (-1,)), repeats, 0)
    axis = one_dim(dim, input.ndim)
    x = reshape(input, (1,)) if input.ndim == 0 else input
    if isinstance(repeats, Tensor):
        if repeats.numel() == 1 and repeats.ndim <= 1:
            repeats = int(repeats.item())
        else:
            if repeats._data.shape != (x._data.shape[axis],):
                raise RuntimeError("repeats must have the same size as input along dim")
            return P.index_select(x, _positions(repeats), axis=axis)
    if repeats < 0:
        raise RuntimeError("Repeats must be non-negative")
    return apart(flatten_pair(expand_at(x, axis, repeats), axis))


def _positions(repeats: Tensor) -> Tensor:
    """0, 1, ..., each repeated. A trace reads the total number."""
    if repeats.ndim != 1:
        raise RuntimeError("repeat_interleave only accept 1D vector as repeat")
    if repeats.dtype.name not in ("int64", "int32"):
        raise NotImplementedError(f"\"repeat_interleave_cpu\" not implemented for '{repeats.dtype.ctype}'")
    if bool((repeats < 0).any()):
        raise RuntimeError("repeats can not be negative")
    return P.repeat_positions(repeats, total=int(repeats.sum()._observed("a number of repeats")))


def expand_at(x: Tensor, axis: int, n: int) -> Tensor:
    """Repeats ``x`` ``n`` times along a new axis after ``axis``."""
    old = x._data.shape
    return expand(unsqueeze(x, axis + 1), (*old[: axis + 1], n, *old[axis + 1 :]))


def flatten_pair(x: Tensor, axis: int) -> Tensor:
    """Merges two adjacent axes."""
    old = x._data.shape
    return reshape(x, (*old[:axis], old[axis] * old[axis + 1], *old[axis + 2 :]))


def _each(function: Any, tensors: tuple[Any, ...]) -> Any:
    if len(tensors) == 1:
        one = tensors[0]
        return function(one) if isinstance(one, Tensor) else tuple(function(x) for x in one)
    return tuple(function(x) for x in tensors)


@overload
def atleast_1d(tensors: Tensor, /) -> Tensor: ...
@overload
def atleast_1d(tensors: Sequence[Tensor], /) -> tuple[Tensor, ...]: ...
@overload
def atleast_1d(first: Tensor, second: Tensor, /, *tensors: Tensor) -> tuple[Tensor, ...]: ...
def atleast_1d(*tensors: Any) -> Any:
    """Adds axes, to at least one."""
    return _each(lambda x: reshape(x, (1,)) if x.ndim == 0 else x, tensors)


@overload
def atleast_2d(tensors: Tensor, /) -> Tensor: ...
@overload
def atleast_2d(tensors: Sequence[Tensor], /) -> tuple[Tensor, ...]: ...
@overload
def atleast_2d(first: Tensor, second: Tensor, /, *tensors: Tensor) -> tuple[Tensor, ...]: ...
def atleast_2d(*tensors: Any) -> Any:
    """Adds axes, to at least two."""
    return _each(lambda x: reshape(x, (1, 1)) if x.ndim == 0 else unsqueeze(x, 0) if x.ndim == 1 else x, tensors)


@overload
def atleast_3d(tensors: Tensor, /) -> Tensor: ...
@overload
def atleast_3d(tensors: Sequence[Tensor], /) -> tuple[Tensor, ...]: ...
@overload
def atleast_3d(first: Tensor, second: Tensor, /, *tensors: Tensor) -> tuple[Tensor, ...]: ...
def atleast_3d(*tensors: Any) -> Any:
    """Adds axes, to at least three."""

    def lift(x: Tensor) -> Tensor:
        if x.ndim == 0:
            return reshape(x, (1, 1, 1))
        if x.ndim == 1:
            return unsqueeze(unsqueeze(x, 0), 2)
        return unsqueeze(x, 2) if x.ndim == 2 else x

    return _each(lift, tensors)


def _some(name: str, tensors: Sequence[Tensor]) -> list[Tensor]:
    xs = list(tensors)
    if not xs:
        raise RuntimeError(f"{name} expects a non-empty TensorList")
    return xs


def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """Concatenates along the second axis (the first of vectors)."""
    xs = atleast_1d(_some("hstack", tensors))
    return cat(xs, 0 if xs[0].ndim == 1 else 1)


def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """Concatenates along the first axis."""
    return cat(atleast_2d(_some("vstack", tensors)), 0)


row_stack = vstack


def dstack(tensors: Sequence[Tensor]) -> Tensor:
    """Concatenates along the third axis."""
    return cat(atleast_3d(_some("dstack", tensors)), 2)


def column_stack(tensors: Sequence[Tensor]) -> Tensor:
    """Vectors as the columns of a matrix, matrices concatenated along the columns."""
    return hstack([reshape(x, (-1, 1)) if x.ndim <= 1 else x for x in _some("column_stack", tensors)])


@fused
def roll(input: Tensor, shifts: Any, dims: Any = None) -> Tensor:
    """Shifts elements cyclically along axes (along all axes as one, without ``dims``)."""
    amounts = [shifts] if isinstance(shifts, int) else list(shifts)
    if dims is None or (not isinstance(dims, int) and len(dims) == 0):
        if len(amounts) != 1:
            raise RuntimeError("shifts and dimensions must align. shifts: " + f"{len(amounts)}, dims:0")
        return reshape(roll(reshape(input, (-1,)), amounts[0], 0), input._data.shape)
    axes = [dims] if isinstance(dims, int) else list(dims)
    if len(axes) != len(amounts):
        raise RuntimeError(f"shifts and dimensions must align. shifts: {len(amounts)}, dims:{len(axes)}")
    if input.numel() == 0:
        return F.clone(input)
    out = input
    for amount, dim in zip(amounts, axes, strict=True):
        axis = one_dim(dim, input.ndim)
        if input.ndim == 0:
            raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
        n = input._data.shape[axis]
        if n and amount % n:
            k = amount % n
            out = cat([narrow(out, axis, n - k, k), narrow(out, axis, 0, n - k)], axis)
    return F.clone(out) if out is input else out


def rot90(input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """Rotates the plane of two axes by 90 degrees, ``k`` times."""
    if len(dims) != 2:
        raise RuntimeError(f"expected total rotation dims == 2, but got dims = {len(dims)}")
    if input.ndim < 2:
        raise RuntimeError(f"expected total dims >= 2, but got total dims = {input.ndim}")
    a, b = (one_dim(d, input.ndim) for d in dims)
    if a == b:
        raise RuntimeError(f"expected rotation dims to be different, but got dim0 = {dims[0]} and dim1 = {dims[1]}")
    if k % 4 == 1:
        return transpose(flip(input, (b,)), a, b)
    if k % 4 == 2:
        return flip(input, (a, b))
    if k % 4 == 3:
        return transpose(flip(input, (a,)), a, b)
    return F.clone(input)


def fliplr(input: Tensor) -> Tensor:
    """Reverses the columns."""
    if input.ndim < 2:
        raise RuntimeError("Input must be >= 2-d.")
    return flip(input, (1,))


def flipud(input: Tensor) -> Tensor:
    """Reverses the rows."""
    if input.ndim < 1:
        raise RuntimeError("Input must be >= 1-d.")
    return flip(input, (0,))


def cartesian_prod(*tensors: Tensor) -> Tensor:
    """The Cartesian product of vectors, in rows."""
    from .stats import meshgrid

    for x in tensors:
        if x.ndim != 1:
            raise RuntimeError(f"tracer.cartesian_prod: expects 1D tensors, got {x.ndim}D")
    if len(tensors) == 1:
        return tensors[0]
    return stack([reshape(g, (-1,)) for g in meshgrid(*tensors)], 1)


def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All combinations of ``r`` elements of a vector, in rows."""
    if input.ndim != 1:
        raise RuntimeError(f"Expect a 1D vector, but got shape {list(input.shape)}")
    if r < 0:
        raise RuntimeError(f"Expect a non-negative number, but got {r}")
    if r == 0:
        return full((0,), 0, dtype=input.dtype, device=beside(input))
    from .create import fixed

    pick = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = np.array(list(pick(range(input._data.shape[0]), r)), np.int64).reshape(-1, r)
    return P.index_select(input, fixed(rows), axis=0)


@overload
def broadcast_tensors(tensors: Sequence[Tensor], /) -> tuple[Tensor, ...]: ...
@overload
def broadcast_tensors(*tensors: Tensor) -> tuple[Tensor, ...]: ...
def broadcast_tensors(*tensors: Any) -> tuple[Tensor, ...]:
    """The tensors, expanded to a common shape."""
    xs = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else tensors
    sizes = broadcast_shapes(*(x._data.shape for x in xs))
    return tuple(x if x._data.shape == sizes else expand(x, sizes) for x in xs)


def broadcast_shapes(*shapes: Any) -> Size:
    """The shape that all the given shapes broadcast to."""
    try:
        return Size(np.broadcast_shapes(*(tuple(s) if not isinstance(s, int) else (s,) for s in shapes)))
    except ValueError:
        raise RuntimeError("Shape mismatch: objects cannot be broadcast to a single shape") from None


def unfold(input: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """All windows of ``size`` elements along an axis, ``step`` apart, as a last axis."""
    axis = one_dim(dimension, input.ndim)
    x = movedim(input, axis, -1) if input.ndim else reshape(input, (1,))
    extent = x._data.shape[-1]
    if size < 0:
        raise RuntimeError(f"size is {size} but must be >= 0")
    if size > extent:
        raise RuntimeError(f"maximum size for tensor at dimension {axis} is {extent} but size is {size}")
    if step <= 0:
        raise RuntimeError(f"step is {step} but must be > 0")
    if input.ndim == 0:
        return narrow(x, 0, 0, size)
    if size == 0:
        nothing = narrow(x, -1, 0, 0)
        return movedim(reshape(nothing, (*x._data.shape[:-1], extent // step + 1, 0)), -2, axis)
    w = P.windows(x, size=(size,), stride=(step,), dilation=(1,))
    return movedim(w, (-2, -1), (-1, axis))


def as_strided(input: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None) -> Tensor:
    """A view of the tensor's memory with the given strides, beginning at ``storage_offset``, by default at the tensor's first
    element.

    Raises RuntimeError for elements outside the memory, NotImplementedError if PyTorch's memory would have elements between
    those of this memory: NumPy arrays that are parts of others.
    """
    if isinstance(input, LazyView):
        if not conjugated(input) or not input.is_complex():
            raise NotImplementedError("as_strided of a view that is negated: use resolve_neg() first")
        return P.conj(as_strided(without_conjugation(input), size, stride, storage_offset))
    sizes, strides = _sizes((size,)), _sizes((stride,))
    if len(sizes) != len(strides):
        raise RuntimeError("mismatch in length of strides and shape")
    if any(s < 0 for s in strides):
        raise RuntimeError(f"as_strided: Negative strides are not supported at the moment, got strides: {list(strides)}")
    if any(n < 0 for n in sizes):
        raise RuntimeError(f"as_strided: sizes must not be negative, got sizes: {list(sizes)}")
    if context.recorder is not None:
        context.recorder.movings.read_offset(context.recorder, input)
    memory, itemsize = _memory(input), input.element_size()
    start = (input._address() - memory._address()) // itemsize
    offset = start if storage_offset is None else int(storage_offset)
    if offset < 0:
        raise RuntimeError(f"Tensor: invalid storage offset {offset}")
    reach = sum((n - 1) * s for n, s in zip(sizes, strides, strict=True))
    last = offset + reach
    if 0 not in sizes and last >= memory._data.size:
        raise RuntimeError(
            f"setStorage: sizes {list(sizes)}, strides {list(strides)}, storage offset {offset}, and itemsize {itemsize} "
            f"requiring a storage size of {(last + 1) * itemsize} are out of bounds for storage of size {memory._data.nbytes}"
        )
    if 0 not in sizes and offset >= start and (own := _vector(input)) is not None and offset - start + reach < own._data.size:
        return P.strided(own, shape=sizes, strides=strides, offset=offset - start)
    out = P.strided(memory, shape=sizes, strides=strides, offset=offset)
    if context.grad_enabled and input._view is not None and input._followed():
        attrs = {"shape": sizes, "strides": strides, "offset": offset}
        follow_through(out, input, lambda whole: P.strided(_elements(whole, input), **attrs))
    return out


def _vector(t: Tensor) -> Tensor | None:
    """The tensor's elements in memory order, as a view; None if they do not fill the memory."""
    if not t._data.flags.c_contiguous:
        order = sorted(range(t.ndim), key=lambda d: -t._data.strides[d])
        if not t._data.transpose(order).flags.c_contiguous:
            return None
        t = P.permute(t, axes=tuple(order))
    return reshape(t, (-1,))


def _memory(t: Tensor) -> Tensor:
    """All the memory of a tensor, as a vector that is a view."""
    followed = t._followed_base()
    whole = root = t._root()
    if followed is not root:  # autograd does not track beyond a detached tensor
        whole = root.detach()
        whole._counter = t._changes()
    return _elements(whole, t)


def _elements(whole: Tensor, like: Tensor) -> Tensor:
    """All elements of memory in order, as a vector of another tensor's dtype."""
    if whole.is_complex() and whole.element_size() == 2 * like.element_size():
        whole = P.view_as_real(whole)
    elif whole._data.dtype != like._data.dtype:
        whole = P.bitcast(reshape(whole, (-1,)), dtype=like.dtype.short)
    vector = _vector(whole)
    if vector is None:
        raise NotImplementedError("as_strided of a tensor whose memory is part of an array of NumPy")
    return vector


def as_strided_scatter(
    input: Tensor, src: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None
) -> Tensor:
    """A copy of the input with ``src`` in the elements of ``as_strided`` with these arguments. The input must be contiguous."""
    if not input.is_contiguous():
        raise NotImplementedError("as_strided_scatter of a tensor whose memory is not contiguous")
    if src._data.shape != tuple(size):
        raise RuntimeError(
            f"expected src to have a size equal to the slice of self. src size = {list(src.shape)}, slice size = {list(size)}"
        )
    return _put(lambda x: as_strided(x, size, stride, storage_offset), input, src)


def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """A copy of the input with ``src`` at ``index`` along ``dim``."""
    part = select(input, dim, index)
    if part._data.shape != src._data.shape:
        raise RuntimeError(
            f"expected src to have a size equal to the slice of self. src size = {list(src.shape)}, slice size = "
            f"{list(part.shape)}"
        )
    return _put(lambda x: select(x, dim, index), input, src)


def slice_scatter(
    input: Tensor, src: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    """A copy of the input with ``src`` in a slice along ``dim``."""
    axis = one_dim(dim, input.ndim)
    index = (*(slice(None),) * axis, slice(start, end, step))
    return _put(lambda x: x[index], input, src)


def _put(view: Any, input: Tensor, src: Tensor) -> Tensor:
    out = F.clone(input)
    view(out).copy_(src)
    return out


def adjoint(input: Tensor) -> Tensor:
    """The conjugate transpose of the last two axes; a view. Raises RuntimeError for vectors."""
    return conj(matrix_transpose(input))


def matrix_transpose(input: Tensor) -> Tensor:
    """The transpose of the last two axes; a view. A number is unchanged; raises RuntimeError for a vector."""
    if input.ndim == 1:
        raise RuntimeError("tensor.mT and tensor.mH are only supported on matrices or batches of matrices. Got 1-D tensor.")
    return transpose(input, -2, -1) if input.ndim else input


def sum_to_size(input: Tensor, *size: Any) -> Tensor:
    """The sum over the axes along which ``size`` is broadcast to the input's shape."""
    sizes = _sizes(size)
    lead = input.ndim - len(sizes)
    if lead < 0 or any(n not in (1, m) for n, m in zip(sizes, input._data.shape[lead:], strict=False)):
        raise RuntimeError(f"size {{{list(sizes)}}} is not expandable to size {{{list(input.shape)}}}.")
    axes = tuple(i for i, n in enumerate(input._data.shape) if i < lead or (sizes[i - lead] == 1 and n != 1))
    if not axes and sizes and sizes == input._data.shape:
        return input
    out = reduce.sum(input, axes or None) if axes or not sizes else input
    return out if out._data.shape == sizes else reshape(out, sizes)


concat = concatenate = cat
