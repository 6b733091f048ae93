"""Indexing: basic indices give views, index tensors give copies."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.context import context
from ..core.device import on_cpu
from ..core.fused import fused
from ..core.tensor import Tensor, wrap
from ..core.warning import warn
from ..ir import ops as P
from ..ir.interp import current, selection
from ..ir.types import bool_, int32, int64, uint8
from ..tracing.moving import Place, distance, is_computed, recorder_for, view_at
from ..tracing.scalars import RuntimeInt
from . import direct
from .common import one_dim, to_dtype
from .inquiry import as_number, filling
from .shape import reshape

if TYPE_CHECKING:
    from ..tracing.recorder import Recorder

__all__ = [
    "gather",
    "index_select",
    "masked_fill",
]

# Types of items that turn a list containing them into a tuple of indices.
_PARTS = (list, tuple, range, slice, np.ndarray, Tensor)


def _items(index: Any) -> list[Any]:
    """The items of an index. A short list that holds sequences, tensors, slices, None or ``...`` counts as a tuple."""
    if isinstance(index, list) and len(index) < 32 and any(i is None or i is ... or isinstance(i, _PARTS) for i in index):
        index = tuple(index)
    return [_item(i) for i in (index if isinstance(index, tuple) else (index,))]


def _item(item: Any) -> Any:
    """An item as a number, a slice, None, Ellipsis, a bool, or a tensor of positions or a mask."""
    if type(item) is RuntimeInt:
        return int(item.pinned())
    if item is None or item is ... or isinstance(item, (int, slice)):
        return item
    if isinstance(item, (list, tuple, range, str, bytes)) or (isinstance(item, np.ndarray) and item.ndim):
        from .create import tensor

        item = tensor(item)
        if item.numel() == 0 or item.is_floating_point():
            item = to_dtype(item, int64)  # elements of a list are converted to integers
    elif not isinstance(item, Tensor):
        if isinstance(item, np.bool_) or not hasattr(item, "__index__"):
            raise IndexError(
                "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices "
                f"(got {type(item).__name__})"
            )
        return item.__index__()
    dtype = item.dtype
    if dtype is uint8:
        warn("indexing with dtype uint8 is deprecated, please use a dtype bool instead.")
        item, dtype = P.ne(item, 0), bool_
    if dtype is bool_:
        return item
    if dtype not in (int64, int32):
        raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
    return item if item.ndim else int(item)


def _consumes(item: Any) -> int:
    """The number of the tensor's axes that an item indexes."""
    if item is None or item is ... or isinstance(item, bool):
        return 0
    return item.ndim if isinstance(item, Tensor) and item.dtype is bool_ else 1


def chosen(x: Tensor, index: Any) -> tuple[Tensor, dict[int, Tensor]]:
    """The result of the numbers, slices and None of an index, a view or ``x`` itself; and the index tensors, by axis of that
    result.

    A bool, or a mask without dimensions, is a mask of one element over a new axis. Raises IndexError, or ValueError for
    steps below 1.
    """
    tokens = _plain(index)
    if tokens is not None:
        view = _view_by(x._data.shape, tokens)
        return x if view is None else view[0](x, **view[1]), {}
    items = _items(index)
    rest = _rest(x._data.shape, items)
    tensors: dict[int, Tensor] = {}
    plain: list[Any] = []  # the index that leaves the axes of index tensors whole
    axis = final = 0  # of x, and of the result
    for item in items:
        width = rest if item is ... else _consumes(item)
        if isinstance(item, (bool, Tensor)):
            if isinstance(item, bool):
                tensors[final] = P.iota(shape=(int(item),), axis=0, dtype="i64")
            else:
                if item.dtype is bool_:
                    require_mask(x, item, axis)
                tensors[final] = item if item.ndim else P.reshape(item, shape=(1,))
            plain += [slice(None)] * width or [None]
            final += width or 1
        else:
            plain.append(item)
            final += 1 if item is None else 0 if isinstance(item, int) else width
        if item is ...:
            rest = 0
        axis += width
    view = _view_by(x._data.shape, tuple(map(_token, plain)))
    return x if view is None else view[0](x, **view[1]), tensors


def _rest(shape: tuple[int, ...], items: Sequence[Any]) -> int:
    """The number of axes that an ellipsis stands for. Raises IndexError if the items do not fit."""
    rest = len(shape) - sum(map(_consumes, items))
    if rest < 0:
        if not shape and all(isinstance(i, slice) for i in items):
            raise IndexError("slice() cannot be applied to a 0-dim tensor.")
        if not shape and all(isinstance(i, int) for i in items):
            raise IndexError(
                "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C++ to convert a "
                "0-dim tensor to a number"
            )
        raise IndexError(f"too many indices for tensor of dimension {len(shape)}")
    if sum(i is ... for i in items) > 1 and items[-1] is not ...:
        raise IndexError("an index can only have a single ellipsis ('...')")
    return rest


_EXACT = (int, type(None))


def _token(item: Any) -> Any:
    """An int, slice, None or Ellipsis as an int, a triple of ints or None, None or Ellipsis."""
    if not isinstance(item, slice):
        return item
    bounds = item.start, item.stop, item.step
    for n in bounds:
        if n.__class__ not in _EXACT:
            item.indices(1)  # raises TypeError
            return tuple([None if n is None else operator.index(n) for n in bounds])
    return bounds


def _plain(index: Any) -> tuple[Any, ...] | None:
    """The tokens of an index that has only ints, slices, None and Ellipsis; None for another one."""
    if index.__class__ is not tuple:
        index = (index,)
    tokens: list[Any] = []
    for item in index:
        if item.__class__ is slice:
            tokens.append(_token(item))
        elif item.__class__ is int or item is None or item is ...:
            tokens.append(item)
        else:
            return None
    return tuple(tokens)


def is_view_by(index: Any, x: Tensor, view: Tensor) -> bool:
    """True if ``view`` was made by ``x[index]``, and still shows these elements of ``x``."""
    if view._view is None or (tokens := _plain(index)) is None:
        return False
    viewed, primitive, attrs = view._viewed()
    if viewed is not x:
        return False
    return (primitive, attrs) == (_view_by(x._data.shape, tokens) or (P.reshape, {"shape": x._data.shape}))


@functools.lru_cache(4096)
def _view_by(shape: tuple[int, ...], tokens: tuple[Any, ...]) -> tuple[Any, dict[str, Any]] | None:
    """The primitive, and its attributes, that gives the view of a tensor by an index; None for the tensor itself."""
    items = [slice(*token) if isinstance(token, tuple) else token for token in tokens]
    rest = _rest(shape, items)
    cuts: list[tuple[int, int, int]] = []  # start, stop, step on each axis
    final: list[int] = []
    for item in items:
        axis = len(cuts)
        if item is None:
            final.append(1)
        elif item is ...:
            cuts += [(0, n, 1) for n in shape[axis : axis + rest]]
            final += shape[axis : axis + rest]
            rest = 0
        elif isinstance(item, slice):
            start, stop, step = item.indices(shape[axis])
            if step < 1:
                raise ValueError("step must be greater than zero")
            stop = max(start, stop)
            cuts.append((start, stop, step))
            final.append(-(-(stop - start) // step))
        else:
            extent = shape[axis]
            if not -extent <= item < extent:
                raise IndexError(f"index {item} is out of bounds for dimension {axis} with size {extent}")
            cuts.append((item % extent, item % extent + 1, 1))
    cuts += [(0, n, 1) for n in shape[len(cuts) :]]
    final += shape[len(shape) - rest :] if rest else ()
    cut = tuple([-(-(stop - start) // step) for start, stop, step in cuts])
    if all(c == (0, n, 1) for c, n in zip(cuts, shape, strict=True)):
        return None if shape == tuple(final) else (P.reshape, {"shape": tuple(final)})
    starts, stops, steps = zip(*cuts, strict=True)
    region = {"starts": starts, "stops": stops, "steps": steps}
    return (P.slice_, region) if cut == tuple(final) else (P.select_, {**region, "shape": tuple(final)})


def require_mask(x: Tensor, mask: Tensor, axis: int) -> None:
    for j, (m, n) in enumerate(zip(mask._data.shape, x._data.shape[axis:], strict=False)):
        if m != n:
            raise IndexError(
                f"The shape of the mask {list(mask.shape)} at index {j} does not match the shape of the indexed tensor "
                f"{list(x.shape)} at index {axis + j}"
            )


def positions(x: Tensor, tensors: Mapping[int, Tensor]) -> dict[int, Tensor]:
    """The index tensors, by axis, as valid positions: a mask becomes the positions of its true elements on each of its axes.
    Raises IndexError for positions out of range, and for shapes that do not broadcast.
    """
    found: dict[int, Tensor] = {}
    for axis, item in tensors.items():
        if item.dtype is bool_:
            found |= {axis + k: where for k, where in enumerate(nonzero_by_axis(item))}
        else:
            found[axis] = item
    try:
        sizes = np.broadcast_shapes(*(i._data.shape for i in found.values()))
    except ValueError:
        text = ", ".join(str(list(i.shape)) for i in found.values())
        raise IndexError(f"shape mismatch: indexing tensors could not be broadcast together with shapes {text}") from None
    shape = x._data.shape
    # nothing is selected: positions are not checked
    if 0 in sizes or any(n == 0 for a, n in enumerate(shape) if a not in found):
        if 0 not in sizes and any(shape[a] == 0 for a in found):
            raise IndexError("index is out of bounds for dimension with size 0")
        return dict.fromkeys(found, P.full(value=0, shape=sizes, dtype="i64"))
    return {axis: _wrapped(i, shape[axis], axis) for axis, i in found.items()}


def getitem(input: Tensor, index: Any) -> Tensor:
    """``input[index]``: numbers, slices, None, Ellipsis, bools; sequences and tensors of positions, masks.

    Numbers, slices, None and Ellipsis give a view, all others a copy. If the sequences and tensors are not adjacent, their
    axes come first in the result. Raises IndexError as PyTorch does.
    """
    if context.recorder is not None and (moving := at_computed(input, index)) is not None:
        if not moving[1] and moving[0] is not input:
            return moving[0]
        input, index = moving
    tokens = _plain(index)
    if tokens is not None:
        view = _view_by(input._data.shape, tokens)
        primitive, attrs = (P.reshape, {"shape": input._data.shape}) if view is None else view  # x[:] is a new view
        return current().bind(primitive, (input,), attrs)  # type: ignore[no-any-return]
    if (picked := direct.read(input, index)) is not None:
        return picked
    part, tensors = chosen(input, index)
    if not tensors:
        return P.reshape(input, shape=input._data.shape) if part is input else part  # x[:] is a new view
    if len(tensors) == 1:
        ((axis, mask),) = tensors.items()
        if mask.dtype is bool_:
            return _masked(part, mask, axis)
    if len(tensors) > 1 and not any(t.dtype is bool_ for t in tensors.values()):
        return _picked(part, tuple(tensors), *tensors.values())
    return _advanced(part, positions(part, tensors))


@fused
def _picked(x: Tensor, axes: tuple[int, ...], *tensors: Tensor) -> Tensor:
    """The elements at positions along several axes."""
    return _advanced(x, positions(x, dict(zip(axes, tensors, strict=True))))


def is_computed_number(item: Any) -> bool:
    """True for a tensor of one integer that a recorded run computes, or that it is given."""
    return (
        isinstance(item, Tensor)
        and item._data.ndim == 0
        and item.dtype in (int64, int32)
        and context.recorder is not None
        and is_computed(context.recorder, item)
    )


def _is_computed(item: Any) -> bool:
    """True for a number or a tensor of one integer of a recorded run, and for a slice between two of them. With one such bound,
    a slice has another length in each call.
    """
    if type(item) is slice:
        return item.step in (None, 1) and _is_computed(item.start) and _is_computed(item.stop)
    return type(item) is RuntimeInt or is_computed_number(item)


class _MustBeRead(Exception):
    """A number or tensor in an index must be a constant of the recording."""


def at_computed(x: Tensor, index: Any) -> tuple[Tensor, tuple[Any, ...]] | None:
    """The view by the items of an index that are numbers or tensors of one integer of a recorded run, or slices between such,
    and the index of that view which remains. They are not read. None if there are no such items, or if they must be read.
    """
    items = list(index) if type(index) is tuple else [index]
    computed = [k for k, item in enumerate(items) if _is_computed(item)]
    if not computed or (recorder := recorder_for(x)) is None:
        return None
    for_view = _plain(tuple([item for k, item in enumerate(items) if k not in computed])) is not None
    # The items as the eager run sees them.
    now = [_now(item) if k in computed else item if for_view else _item(item) for k, item in enumerate(items)]
    shape = x._data.shape
    rest, axis, axes = _rest(shape, now), 0, list[int]()
    for item in now:
        axes.append(axis)
        axis += rest if item is ... else _consumes(item)
    try:
        found = {k: _place(recorder, items[k], shape[axes[k]], axes[k]) for k in computed}
    except _MustBeRead:
        return None
    except IndexError:
        if for_view:
            _view_by(shape, tuple(map(_token, now)))  # raises the error of the first item that has one
        raise
    places = {k: place for k, place in found.items() if place is not None}
    if not places:
        return None
    if for_view:
        return _one_view(recorder, x, now, places, rest), ()
    whole: list[Any] = [slice(None)] * len(shape)
    for k, place in places.items():
        whole[place.axis] = now[k]
    view = _view_by(shape, tuple(map(_token, whole)))
    assert view is not None
    ordered = sorted(places.values(), key=lambda place: -place.axis)
    remaining = [slice(None) if k in places else item for k, item in enumerate(now) if k not in places or type(item) is slice]
    return view_at(recorder, x, view, None, ordered), tuple(remaining)


def _one_view(recorder: Recorder, x: Tensor, items: Sequence[Any], places: Mapping[int, Place], rest: int) -> Tensor:
    """The view by an index without tensors, of which the items with these numbers are at computed places."""
    shape = x._data.shape
    view = _view_by(shape, tuple(map(_token, items)))
    cut = _view_by(shape, tuple([_token(slice(None) if k in places else item) for k, item in enumerate(items)]))
    axis, moved = 0, list[Place]()  # axes of the cut
    for k, item in enumerate(items):
        if k in places:
            moved.append(replace(places[k], axis=axis))
        axis += rest if item is ... else k in places or not isinstance(item, int)
    assert view is not None
    return view_at(recorder, x, view, cut, moved[::-1])


def _now(item: Any) -> Any:
    """A computed item with its current numbers."""
    if type(item) is slice:
        return slice(_now(item.start), _now(item.stop))
    return int(item._data) if isinstance(item, Tensor) else operator.index(item._value)


def _place(recorder: Recorder, item: Any, extent: int, axis: int) -> Place | None:
    """Where a computed item is on an axis; None if it is there in each call. Raises IndexError if it is out of range,
    _MustBeRead if its number of elements may vary.
    """
    if isinstance(item, Tensor):
        return Place(axis, to_dtype(_wrapped(item, extent, axis), int64), None)
    if type(item) is not slice:
        at = recorder.floats.apply(_position, (item, extent, axis))
        return Place(axis, at, None) if type(at) is RuntimeInt else None
    if isinstance(item.start, Tensor) or isinstance(item.stop, Tensor):
        length = distance(recorder, item.start, item.stop)
        if length is None or not 0 < length <= extent:
            raise _MustBeRead
        if not P.eq(P.minimum(P.maximum(item.start, 0), extent - length), item.start):  # not all in range
            raise _MustBeRead
        return Place(axis, to_dtype(item.start, int64), length) if length < extent else None
    bounds = (item.start, item.stop, extent)
    length = recorder.floats.apply(_length, bounds, decides=True)
    if not length:  # where it is may be asked for
        raise _MustBeRead
    start = recorder.floats.apply(_start, bounds) if length < extent else 0
    return Place(axis, start, length) if type(start) is RuntimeInt else None


# What replays compute again for numbers of a call.


def _position(n: int, extent: int, axis: int) -> int:
    n = operator.index(n)
    if not -extent <= n < extent:
        raise IndexError(f"index {n} is out of bounds for dimension {axis} with size {extent}")
    return n % extent


def _start(start: int, stop: int, extent: int) -> int:
    return slice(start, stop).indices(extent)[0]


def _length(start: int, stop: int, extent: int) -> int:
    return len(range(*slice(start, stop).indices(extent)))


def _advanced(x: Tensor, tensors: dict[int, Tensor]) -> Tensor:
    (first, index), *rest = tensors.items()
    if not rest:
        return P.index_select(x, index, axis=first)
    axes = list(tensors)
    if axes != list(range(first, first + len(axes))):
        x = P.permute(x, axes=(*axes, *(a for a in range(x.ndim) if a not in axes)))
        return _advanced(x, dict(enumerate(tensors.values())))
    old = x._data.shape
    flat = index
    for axis, i in rest:
        flat = flat * old[axis] + i
    merged = P.reshape(x, shape=(*old[:first], math.prod(old[a] for a in axes), *old[first + len(axes) :]))
    return P.index_select(merged, flat, axis=first)


def _wrapped(index: Tensor, extent: int, axis: int) -> Tensor:
    """Negative positions count from the end. Raises IndexError for positions out of range."""
    if index.dtype not in (int64, int32):
        raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
    if not extent and index.numel():
        raise IndexError("index is out of bounds for dimension with size 0")
    if context.recorder is None and selection.interpreter is None and P.in_range(on_cpu(index._data), extent):
        return index
    message = f"index {{}} is out of bounds for dimension {axis} with size {extent}"
    try:
        wrapped = P.where(P.lt(index, 0), P.add(index, extent), index)
        return P.check_index(wrapped, extent=extent, message=message)
    except IndexError:
        data = on_cpu(index._data)
        wrong = data[(data < -extent) | (data >= extent)]
        raise IndexError(message.format(wrong[0])) from None


def _masked(x: Tensor, mask: Tensor, axis: int) -> Tensor:
    """The elements where the mask is true."""
    old = x._data.shape
    flat = P.reshape(x, shape=(*old[:axis], mask.numel(), *old[axis + mask.ndim :]))
    return P.index_select(flat, flat_nonzero(mask), axis=axis)


def flat_nonzero(x: Tensor) -> Tensor:
    """The positions of non-zero elements in the flattened tensor. A trace reads their number."""
    if context.recorder is None:
        return wrap(np.flatnonzero(x._data))
    there = x if x.dtype is bool_ else P.ne(x, P.full(value=0, shape=x._data.shape, dtype=x.dtype.short))
    return P.flat_nonzero(there, count=number_of_nonzero(there))


def number_of_nonzero(x: Tensor) -> int:
    """How many elements are not zero. A trace reads it."""
    if context.recorder is None:
        return int(np.count_nonzero(on_cpu(x._data)))
    return context.recorder.counts.of(x, context.recorder)


def nonzero_by_axis(x: Tensor) -> list[Tensor]:
    """The positions of non-zero elements, by axis."""
    if context.recorder is None:
        return [wrap(where) for where in np.nonzero(x._data)]
    flat, found = flat_nonzero(x), list[Tensor]()
    if x.ndim == 1:
        return [flat]
    for n in reversed(x._data.shape):
        found.append(P.remainder(flat, n))
        flat = P.floor_divide(flat, n)
    return found[::-1]


def gather(input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    """result[i][j] = input[i][index[i][j]] for dim 1, and so on."""
    axis = one_dim(dim, input.ndim)
    if index.numel() == 0 and (index.ndim != input.ndim or index.dtype.name not in ("int64", "int32")):
        nothing = P.full(value=0, shape=(0,), dtype="i64")
        return reshape(P.index_select(reshape(input, (-1,)), nothing, axis=0), index._data.shape)
    if index.dtype.name not in ("int64", "int32"):
        raise RuntimeError("gather(): Expected dtype int32/int64 for index")
    if input.ndim == 0 or index.ndim == 0:
        x = reshape(input, (1,)) if input.ndim == 0 else input
        i = reshape(index, (1,)) if index.ndim == 0 else index
        return reshape(P.gather(x, i, axis=0), index._data.shape)
    if input.ndim != index.ndim:
        raise RuntimeError("Index tensor must have the same number of dimensions as input tensor")
    try:
        return P.gather(input, index, axis=axis)
    except IndexError as e:
        raise RuntimeError(str(e)) from None


def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """The slices of ``input`` along ``dim`` at the positions in the vector ``index``."""
    if index.ndim > 1:
        raise IndexError("index_select(): Index is supposed to be a vector")
    if index.dtype.name not in ("int64", "int32"):
        raise RuntimeError("index_select(): Expected dtype int32 or int64 for index")
    axis, index = one_dim(dim, input.ndim), reshape(index, (1,)) if index.ndim == 0 else index
    if input.ndim == 0:
        return reshape(P.index_select(reshape(input, (1,)), index, axis=0), ())
    if index.numel() and input.ndim > 1 and not input._data.shape[axis]:
        raise RuntimeError("index_select(): self indexing axis dim should be positive")
    return P.index_select(input, index, axis=axis)


def masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """``value`` where the mask is true."""
    if mask.dtype.name != "bool":
        raise RuntimeError(f"masked_fill_ only supports boolean masks, but got mask with dtype {mask.dtype.ctype.lower()}")
    if isinstance(value, Tensor) and value.ndim:
        raise RuntimeError(
            f"masked_fill_ only supports a 0-dimensional value tensor, but got tensor with {value.ndim} dimension(s)."
        )
    return P.where(mask, filling(value, input.dtype) if isinstance(value, Tensor) else as_number(value, input.dtype), input)
