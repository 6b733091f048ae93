"""Indexed writes, and masked reads."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..core.context import context
from ..core.fused import fused
from ..core.inplace import may_change_untracked, require_apart
from ..core.tensor import Tensor
from ..ir import ops as P
from ..ir.interp import joint_shape
from ..ir.types import bool_, int64
from . import direct
from . import pointwise as F
from .common import constant_in, is_number, one_dim, to_dtype, typed, within
from .create import tensor
from .index import (
    _item,
    _wrapped,
    at_computed,
    chosen,
    gather,
    getitem,
    is_view_by,
    masked_fill,
    number_of_nonzero,
    positions,
    require_mask,
)
from .inquiry import filling, stored
from .shape import expand, reshape


def _checked(name: str, input: Tensor, dim: int, index: Tensor, src: Any) -> int:
    axis = one_dim(dim, input.ndim)
    if index.numel() == 0:
        return axis
    if index.dtype.name != "int64" and index.dtype.name != "int32":
        raise RuntimeError(f"{name}(): Expected dtype int32/int64 for index")
    if isinstance(src, Tensor) and src.dtype is not input.dtype:
        raise RuntimeError(f"{name}(): Expected self.dtype to be equal to src.dtype")
    if max(index.ndim, 1) != max(input.ndim, 1) or (isinstance(src, Tensor) and max(src.ndim, 1) != max(index.ndim, 1)):
        what = "self" if max(index.ndim, 1) != max(input.ndim, 1) else "src"
        raise RuntimeError(f"Index tensor must have the same number of dimensions as {what} tensor")
    sizes = input._data.shape or (1,)
    for d, n in enumerate(index._data.shape or (1,)):
        wide = d != axis and n > sizes[d]
        if wide or (isinstance(src, Tensor) and n > (src._data.shape or (1,))[d]):
            beside = f" and to be no larger size than src {list(src.shape)}" if isinstance(src, Tensor) else ""
            raise RuntimeError(
                f"Expected index {list(index.shape)} to be no larger than self {list(input.shape)} apart from dimension {axis}"
                + beside
            )
    return axis


def _as_vector(*xs: Any) -> Any:
    return [reshape(x, (1,)) if isinstance(x, Tensor) and x.ndim == 0 else x for x in xs]


def _source(src: Any, index: Tensor, dtype: Any) -> Tensor:
    """The part of ``src`` that ``index`` covers, or a number for each position."""
    if not isinstance(src, Tensor):
        return expand(filling(src, dtype), index._data.shape)
    return src if src._data.shape == index._data.shape else getitem(src, tuple(slice(n) for n in index._data.shape))


def _written(index: Tensor, axis: int, shape: tuple[int, ...]) -> Tensor:
    """The number of writes to each position, as int64."""
    ones = P.full(value=1, shape=index._data.shape, dtype="i64")
    return P.scatter_add(ones, index, axis=axis, shape=shape)


def _in_range(index: Tensor, extent: int, axis: int) -> Tensor:
    """The index, after checking that its positions exist."""
    return within(index, extent, f"index {{}} is out of bounds for dimension {axis} with size {extent}")


def _last_writer(index: Tensor, axis: int, shape: tuple[int, ...]) -> Tensor:
    """For each written position the number of the last element of ``index`` that writes to it; -1 elsewhere."""
    numbers = P.reshape(P.iota(shape=(index.numel(),), axis=0, dtype="i64"), shape=index._data.shape)
    none = P.full(value=-1, shape=shape, dtype="i64")
    return P.scatter_reduce(none, numbers, index, axis=axis, reduce="max")


@fused
def scatter(input: Tensor, dim: int, index: Tensor, src: Any = None, *, value: Any = None, reduce: str | None = None) -> Tensor:
    """``input`` with ``src`` written to result[i][index[i][j]] for dim 1, and so on. For repeated positions the last one
    stays.
    """
    src = value if src is None else src
    if reduce is not None:
        if reduce not in ("add", "multiply"):
            raise RuntimeError("reduce argument must be either add or multiply.")
        whole = _source(src, index, input.dtype)
        return scatter_reduce(input, dim, index, whole, "sum" if reduce == "add" else "prod")
    axis = _checked("scatter", input, dim, index, src)
    if index.numel() == 0:
        return constant_in(F.clone(input), src)
    if input.ndim == 0:
        i, s = _as_vector(index, src)
        return reshape(scatter(_as_vector(input)[0], 0, i, s), ())
    shape = input._data.shape
    source = _source(src, index, input.dtype)
    index = _in_range(index, shape[axis], axis)
    winner = _last_writer(index, axis, shape)
    chosen = P.index_select(reshape(source, (-1,)), F.clamp(winner, min=0), axis=0)
    return F.where(F.ge(winner, 0), chosen, input)


@fused
def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """``input`` with ``src`` added to result[i][index[i][j]] for dim 1, and so on."""
    axis = _checked("scatter_add", input, dim, index, src)
    if index.numel() == 0:
        return constant_in(F.clone(input), src)
    if input.ndim == 0:
        i, s = _as_vector(index, src)
        return reshape(scatter_add(_as_vector(input)[0], 0, i, s), ())
    index = _in_range(index, input._data.shape[axis], axis)
    return P.add(input, P.scatter_add(_source(src, index, input.dtype), index, axis=axis, shape=input._data.shape))


@fused
def scatter_reduce(input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True) -> Tensor:
    """``input`` with the elements of ``src`` at each position reduced by sum, prod, mean, amax or amin, with or without the
    existing element.
    """
    axis = _checked("scatter", input, dim, index, src)
    if reduce not in ("sum", "prod", "mean", "amax", "amin"):
        raise RuntimeError(f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}")
    if index.numel() == 0:
        return constant_in(F.clone(input), src)
    if input.ndim == 0:
        i, s = _as_vector(index, src)
        return reshape(scatter_reduce(_as_vector(input)[0], 0, i, s, reduce, include_self=include_self), ())
    shape = input._data.shape
    source = _source(src, index, input.dtype)
    index = _in_range(index, shape[axis], axis)
    reduces = reduce not in ("sum", "mean")
    if reduces and include_self:
        return P.scatter_reduce(input, source, index, axis=axis, reduce=_how(input, reduce))
    count = _written(index, axis, shape)
    hit = F.gt(count, 0)
    if not reduces:
        base = input if include_self else F.where(hit, P.full(value=0, shape=(), dtype=input.dtype.short), input)
        total = P.add(base, P.scatter_add(source, index, axis=axis, shape=shape))
        if reduce == "sum":
            return total
        number = F.add(count, 1) if include_self else count
        number = to_dtype(F.where(hit, number, 1), input.dtype)
        if input.is_floating_point():
            return F.div(total, number)
        return F.floor_divide(total, number)
    how = _how(input, reduce)
    base = F.where(hit, P.full(value=_neutral(input, how), shape=(), dtype=input.dtype.short), input)
    return P.scatter_reduce(base, source, index, axis=axis, reduce=how)


def _how(x: Tensor, reduce: str) -> str:
    """The primitive's word for a reduction. The product of bools is their minimum."""
    return {"amax": "max", "amin": "min"}.get(reduce, "min" if x.dtype is bool_ else "prod")


def _neutral(x: Tensor, how: str) -> Any:
    """The number that does not change a reduction of elements of ``x``."""
    if how == "prod":
        return 1
    if x.is_floating_point():
        return -math.inf if how == "max" else math.inf
    if x.dtype is bool_:
        return how == "min"
    limits = np.iinfo(x._data.dtype)
    return limits.min if how == "max" else limits.max


def _require_vector(name: str, index: Tensor, error: type[Exception]) -> None:
    if index.ndim > 1:
        raise error(f"{name}(): Index is supposed to be a vector, but got dim: {index.ndim}")


def _vector_index(name: str, input: Tensor, dim: int, index: Tensor) -> tuple[Tensor, int, Tensor]:
    axis = one_dim(dim, input.ndim)
    _require_vector(name, index, RuntimeError)
    x = reshape(input, (1,)) if input.ndim == 0 else input
    i = _wrapped(reshape(index, (-1,)), x._data.shape[axis], axis)
    return x, axis, i


def _slices(
    name: str, input: Tensor, dim: int, index: Tensor, source: Tensor, error: type[Exception] = RuntimeError
) -> tuple[Tensor, int, Tensor, Tensor]:
    """``_vector_index``, and a source with a slice of the right shape for each position; numbers as vectors."""
    axis, count = one_dim(dim, input.ndim), index.numel()
    _require_vector(name, index, IndexError)
    own, given = input._data.shape, source._data.shape
    both = own != () != given
    if not given and count != 1:
        raise IndexError(f"{name}(): Expected one index for a source without dimensions, but got {count}")
    if error is IndexError and both and len(own) != len(given):
        raise IndexError(
            f"{name}(): When source and destination are not scalars, their dimensionality must match. Source dimensionality "
            f"({len(given)}), destination dimensionality ({len(own)})"
        )
    if given and axis < len(given) and count != given[axis]:
        raise error(
            f"{name}(): Number of indices ({count}) should be equal to source.size(dim): ({given[axis]}), for dim: {axis}"
        )
    own_slice, given_slice = (own[:axis] + own[axis + 1 :], given[:axis] + given[axis + 1 :]) if both else (own, given)
    if own_slice != given_slice and (both or error is not IndexError):
        raise RuntimeError(
            f"{name}(): source tensor shape must match self tensor shape, excluding the specified dimension. Got self.shape = "
            f"{list(own)} source.shape = {list(given)}"
        )
    x, axis, i = _vector_index(name, input, dim, index)
    extent = x._data.shape[axis]
    message = f"{name}(): index {{}} is out of bounds for dimension {axis} with size {extent}"
    P.check_index(reshape(index, (-1,)), extent=extent, message=message)  # negative positions are not allowed here
    return x, axis, i, reshape(source, (1,)) if not given else source


@fused
def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1) -> Tensor:
    """``input`` with the slices of ``source`` added at the positions ``index`` along ``dim``."""
    if source.dtype is not input.dtype:
        raise RuntimeError(
            f"index_add_(): self ({input.dtype.ctype}) and source ({source.dtype.ctype}) must have the same scalar type"
        )
    x, axis, i, s = _slices("index_add_", input, dim, index, source)
    if alpha != 1:
        s = P.mul(s, filling(alpha, s.dtype))
    out = P.add(x, P.index_add(s, i, axis=axis, extent=x._data.shape[axis]))
    return reshape(out, input._data.shape)


def _positions_along(x: Tensor, axis: int, i: Tensor, like: tuple[int, ...]) -> Tensor:
    """``i`` as an index for ``scatter``: the same for all other axes."""
    return expand(reshape(i, tuple(-1 if d == axis else 1 for d in range(x.ndim))), like)


def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """``input`` with the slices of ``source`` written at the positions ``index`` along ``dim``."""
    if source.dtype is not input.dtype:
        raise RuntimeError(
            f"index_copy_(): self and source expected to have the same dtype, but got (self) {input.dtype.ctype} and (source) "
            f"{source.dtype.ctype}"
        )
    x, axis, i, s = _slices("index_copy_", input, dim, index, source, IndexError)
    return reshape(scatter(x, axis, _positions_along(x, axis, i, s._data.shape), s), input._data.shape)


@fused
def index_fill(input: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """``input`` with a number written at the positions ``index`` along ``dim``."""
    x, axis, i = _vector_index("index_fill_", input, dim, index)
    if isinstance(value, Tensor) and value.ndim:
        raise RuntimeError(
            f"index_fill_ only supports a 0-dimensional value tensor, but got tensor with {value.ndim} dimension(s)."
        )
    hit = F.gt(P.index_add(P.full(value=1, shape=i._data.shape, dtype="i64"), i, axis=0, extent=x._data.shape[axis]), 0)
    mask = expand(reshape(hit, tuple(-1 if d == axis else 1 for d in range(x.ndim))), x._data.shape)
    return reshape(P.where(mask, filling(value, x.dtype), x), input._data.shape)


def index_reduce(input: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True) -> Tensor:
    """``input`` with the slices of ``source`` reduced into the positions ``index``, by prod, mean, amax or amin."""
    x, axis, i, s = _slices("index_reduce_", input, dim, index, source)
    out = scatter_reduce(x, axis, _positions_along(x, axis, i, s._data.shape), s, reduce, include_self=include_self)
    return reshape(out, input._data.shape)


def index_put(input: Tensor, indices: Sequence[Any], values: Tensor, accumulate: bool = False) -> Tensor:
    """``input`` with broadcast ``values`` written, or added, at the positions that index tensors select."""
    tensors: dict[int, Tensor] = {}
    axis = 0
    for k, item in enumerate(indices):
        if item is not None:
            if not isinstance(item, Tensor):
                raise TypeError(f"index_put(): argument 'indices' must be Tensors, but element {k} is a {type(item).__name__}")
            item = _item(item)
            tensors[axis] = item if isinstance(item, Tensor) else tensor(item)
            if tensors[axis].dtype is bool_:
                require_mask(input, tensors[axis], axis)
        axis += item.ndim if isinstance(item, Tensor) and item.dtype is bool_ else 1
    if axis > input.ndim:
        raise IndexError(f"too many indices for tensor of dimension {input.ndim} (got {axis})")
    if not tensors:
        raise IndexError("at least one of the indices must be a tensor")
    return _put(input, tensors, values, accumulate)


def _put(input: Tensor, tensors: Mapping[int, Tensor], values: Any, accumulate: bool = False) -> Tensor:
    """``input`` with ``values`` written, or added, at the positions that the index tensors select on their axes."""
    v = values if isinstance(values, Tensor) else typed(values, input.dtype)
    if v.dtype is not input.dtype:
        raise RuntimeError(
            f"Index put requires the source and destination dtypes match, got {input.dtype.ctype} for the destination and "
            f"{v.dtype.ctype} for the source."
        )
    ((axis, mask), *others) = tensors.items()
    if not others and mask.dtype is bool_ and not accumulate:
        return _put_at_mask(input, axis, mask, v)
    if any(t.dtype is bool_ for t in tensors.values()):  # how many positions it has depends on its elements
        return _put_at(input, v, accumulate, tensors)
    return _put_at_positions(input, v, accumulate, tuple(tensors), *tensors.values())


@fused
def _put_at_positions(input: Tensor, v: Tensor, accumulate: bool, axes: tuple[int, ...], *tensors: Tensor) -> Tensor:
    return _put_at(input, v, accumulate, dict(zip(axes, tensors, strict=True)))


def _put_at(input: Tensor, v: Tensor, accumulate: bool, tensors: Mapping[int, Tensor]) -> Tensor:
    """Slices are written: those along the axes of the index tensors, as one axis."""
    found = positions(input, tensors)
    axes, sizes = list(found), joint_shape(*(i._data.shape for i in found.values()))
    first, last = axes[0], axes[-1] + 1
    if axes != list(range(first, last)):  # the axes of the index come first in the values
        order = [*axes, *(a for a in range(input.ndim) if a not in axes)]
        moved = _put_at(P.permute(input, axes=tuple(order)), v, accumulate, dict(enumerate(found.values())))
        return P.permute(moved, axes=tuple(order.index(a) for a in range(input.ndim)))
    shape = input._data.shape
    before, after, extent = shape[:first], shape[last:], math.prod(shape[first:last])
    v = _fitted(v, (*before, *sizes, *after))
    if v.numel() == 0:
        return constant_in(F.clone(input), v)
    at: Any = None
    for a, i in found.items():
        at = to_dtype(i, int64) if at is None else F.add(F.mul(at, shape[a]), to_dtype(i, int64))
    at, n = reshape(expand(at, sizes), (-1,)), math.prod(sizes)
    x, what = reshape(input, (*before, extent, *after)), reshape(v, (*before, n, *after))
    if accumulate:
        out = P.add(x, P.index_add(what, at, axis=first, extent=extent))
    else:
        writer = _last_writer(at, 0, (extent,))
        written = P.index_select(what, F.clamp(writer, min=0), axis=first)
        out = F.where(reshape(F.ge(writer, 0), (-1,) + (1,) * len(after)), written, x)
    return reshape(out, shape)


def _fitted(v: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """Values for the elements of an indexing result of this shape."""
    lead = v.ndim - len(sizes)
    if lead > 0 and all(n == 1 for n in v._data.shape[:lead]):
        v = reshape(v, v._data.shape[lead:])
    try:
        return expand(v, sizes)
    except RuntimeError:
        raise RuntimeError(
            f"shape mismatch: value tensor of shape {list(v.shape)} cannot be broadcast to indexing result of shape "
            f"{list(sizes)}"
        ) from None


def _put_at_mask(input: Tensor, axis: int, mask: Tensor, values: Tensor) -> Tensor:
    """``input`` with the values, in order, where the mask on the axes from ``axis`` on is true."""
    shape, count = input._data.shape, number_of_nonzero(mask)
    before, after = shape[:axis], shape[axis + mask.ndim :]
    v = _fitted(values, (*before, count, *after))
    if v.numel() == 0:
        return constant_in(F.clone(input), v)
    there = reshape(mask, (-1,))
    chosen = P.index_select(v, _rank_among(there, count), axis=axis)
    flat = reshape(input, (*before, mask.numel(), *after))
    return reshape(F.where(reshape(there, (-1,) + (1,) * len(after)), chosen, flat), shape)


def _rank_among(mask: Tensor, count: int) -> Tensor:
    """For each true element of a vector, how many are before it; for the others, a valid position among ``count``."""
    return F.clamp(F.sub(P.cumsum(to_dtype(mask, int64), axis=0), 1), 0, count - 1)


def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements where the mask is true, in a vector. Their number depends on values."""
    if mask.dtype.name != "bool":
        raise RuntimeError("masked_select: expected BoolTensor for mask")
    sizes = joint_shape(input._data.shape, mask._data.shape)
    return getitem(
        expand(input, sizes) if sizes else reshape(input, (1,)), expand(mask, sizes) if sizes else reshape(mask, (1,))
    )


def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """The elements of ``source``, in order, where the mask is true."""
    if source.dtype is not input.dtype:
        raise RuntimeError(
            f"masked_scatter_: expected self and source to have same dtypes but got {input.dtype.ctype} and "
            f"{source.dtype.ctype}"
        )
    if mask.dtype.name != "bool":
        raise RuntimeError(f"masked_scatter_ only supports boolean masks, but got mask with dtype {mask.dtype.ctype}")
    sizes = joint_shape(input._data.shape, mask._data.shape)
    x, m = expand(input, sizes), expand(mask, sizes)
    n = source.numel()
    count = P.sum_(to_dtype(m, int64), axes=tuple(range(m.ndim)))
    within(count, n + 1, "masked_scatter_: expected self and source to have the same number of elements")
    if n == 0 or m.numel() == 0:
        return constant_in(F.clone(x), source)
    chosen = P.index_select(reshape(source, (-1,)), _rank_among(reshape(m, (-1,)), n), axis=0)
    return F.where(m, reshape(chosen, sizes), x)


def take(input: Tensor, index: Tensor) -> Tensor:
    """The elements at positions in the flattened input."""
    flat = reshape(input, (-1,))
    return P.index_select(flat, _wrapped(index, flat._data.shape[0], 0), axis=0)


def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """``gather`` whose other axes broadcast; without ``dim``, in the flattened input."""
    if indices.dtype.name != "int64":
        raise RuntimeError(f"tracer.take_along_dim(): dtype of indices should be Long but got {indices.dtype.ctype}")
    if dim is None:
        return gather(reshape(input, (-1,)), 0, reshape(indices, (-1,)))
    if input.ndim != indices.ndim:
        raise RuntimeError(
            f"tracer.take_along_dim(): input and indices should have the same number of dimensions, but got {input.ndim} "
            f"dimensions "
            f"for input, and {indices.ndim} dimensions for indices"
        )
    axis = one_dim(dim, input.ndim)
    a = [1 if i == axis else n for i, n in enumerate(input._data.shape)]
    b = [1 if i == axis else n for i, n in enumerate(indices._data.shape)]
    sizes = joint_shape(tuple(a), tuple(b))
    x = expand(input, tuple(input._data.shape[axis] if i == axis else n for i, n in enumerate(sizes)))
    i = expand(indices, tuple(indices._data.shape[axis] if i == axis else n for i, n in enumerate(sizes)))
    return gather(x, axis, _wrapped(i, input._data.shape[axis], axis))


def put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """``input`` with the elements of ``source`` at positions in the flattened input."""
    if source.dtype is not input.dtype:
        raise RuntimeError(
            f"put_(): self and source expected to have the same dtype, but got self.dtype = {input.dtype.ctype} and "
            f"source.dtype = "
            f"{source.dtype.ctype}"
        )
    if index.numel() != source.numel():
        raise IndexError(
            "put_(): Expected source and index to have the same number of elements, but got source.numel() = "
            f"{source.numel()}, index.numel() = {index.numel()}"
        )
    flat = reshape(input, (-1,))
    return reshape(index_put(flat, (reshape(index, (-1,)),), reshape(source, (-1,)), accumulate), input._data.shape)


def setitem(input: Tensor, index: Any, value: Any) -> None:
    """``input[index] = value``, in place, for every index that ``getitem`` takes. The value is a tensor that broadcasts, or a
    number. Raises TypeError for other values, RuntimeError for shapes that do not fit, IndexError like ``getitem``.
    """
    if direct.write(input, index, value):
        return
    if not isinstance(value, Tensor) and not is_number(value):
        kind = type(value)
        name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
        raise TypeError(f"can't assign a {name} to a tracer.{input.dtype.ctype}Tensor: write a tensor or a number")
    # Where autograd follows the change, positions are read.
    followed = input.requires_grad or (isinstance(value, Tensor) and value.requires_grad)
    moving = None if followed or context.recorder is None else at_computed(input, index)
    if isinstance(value, Tensor) and _is_there(value, input, index, moving) and may_change_untracked(input):
        input._changes()[0] += 1  # the end of x[index] += y, which has written the elements
        return
    part, tensors = chosen(*(moving or (input, index)))
    if not isinstance(value, Tensor):
        value = stored(value.item() if isinstance(value, np.generic) else value, part.dtype)
    if not tensors:
        if isinstance(value, Tensor) and value.ndim > part.ndim:
            extra = value.ndim - part.ndim
            if any(n != 1 for n in value._data.shape[:extra]):
                raise RuntimeError(
                    f"expand({value.dtype.name}{list(value.shape)}, size={list(part.shape)}): the number of sizes provided "
                    f"({part.ndim}) must be greater or equal to the number of dimensions in the tensor ({value.ndim})"
                )
            value = reshape(value, value._data.shape[extra:])
        part.copy_(value)
        return
    before = part._snapshot() if part.requires_grad else part
    if len(tensors) == 1 and (not isinstance(value, Tensor) or (value.numel() == 1 and value.ndim <= part.ndim)):
        ((axis, mask),) = tensors.items()
        if mask.dtype is bool_:
            if isinstance(value, Tensor):
                value = reshape(value, ())
            ones = (1,) * (part.ndim - axis - mask.ndim)
            part._become(masked_fill(before, reshape(mask, mask._data.shape + ones), value), partly=True)
            return
    if isinstance(value, Tensor):
        require_apart(part, value, or_same=False)
    part._become(_put(before, tensors, value), partly=True)


def _is_there(value: Tensor, input: Tensor, index: Any, moving: tuple[Tensor, tuple[Any, ...]] | None) -> bool:
    """True if ``value`` is ``input[index]``; ``moving`` is what ``at_computed`` says of that."""
    if context.recorder is None:
        return is_view_by(index, input, value)
    if moving is not None:
        view, remaining = moving
        return not remaining and context.recorder.movings.are_one(view, value)
    return context.recorder.movings.of(value) is None and is_view_by(index, input, value)


__all__ = [
    "index_add",
    "index_copy",
    "index_fill",
    "index_put",
    "index_reduce",
    "masked_scatter",
    "masked_select",
    "put",
    "scatter",
    "scatter_add",
    "scatter_reduce",
    "take",
    "take_along_dim",
]
