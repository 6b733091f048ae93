"""Helpers for operations: axes, dtype promotion, operands."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.context import context
from ..core.tensor import Tensor
from ..ir.halves import is_half
from ..ir.ops import cast, check_index, full, sum_, unread
from ..ir.ops import underived as underived_
from ..ir.types import DType, combine, dtype_of, exact, float64, promoted, scalar_dtype
from ..tracing.scalars import RuntimeFloat, RuntimeInt, RuntimeNumber

Dims = int | Sequence[int] | None
Number = complex | np.number[Any] | np.bool_  # floats, ints and bools are complex numbers to type checkers
Operand = Tensor | Number  # of an elementwise function


def one_dim(dim: int, rank: int) -> int:
    """A non-negative axis. Raises IndexError with PyTorch's message."""
    n = max(rank, 1)
    if not -n <= dim < n:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got {dim})")
    return dim % n


def number_of_elements(x: Tensor, axes: Sequence[int]) -> int | Tensor:
    """The product of the extents of some axes: in a recording a tensor, if it depends on how many elements a mask selects."""
    extents = [x._data.shape[a] for a in axes]
    return math.prod(extents) if context.recorder is None else context.recorder.counts.product(extents)


def dims(dim: Dims, rank: int) -> tuple[int, ...]:
    """Sorted axes; None or () means all. Raises IndexError, or RuntimeError for a repeated one."""
    if dim is None:
        return tuple(range(rank))
    if isinstance(dim, int):
        axis = one_dim(dim, rank)
        return (axis,) if rank else ()
    chosen = [one_dim(d, rank) for d in dim]
    if len(set(chosen)) < len(chosen):
        repeated = next(d for d in chosen if chosen.count(d) > 1)
        raise RuntimeError(f"dim {repeated} appears multiple times in the list of dims")
    return tuple(sorted(chosen)) if chosen and rank else tuple(range(rank))


def require_real(name: str, x: Tensor) -> None:
    """Raises NotImplementedError for complex numbers, if a composed function does not support them."""
    if x._data.dtype.kind == "c":
        raise NotImplementedError(f"\"{name}_cpu\" not implemented for '{x.dtype.ctype}'")


def is_number(x: Any) -> bool:
    return isinstance(x, (bool, int, float, complex, np.number, np.bool_))


def to_dtype(x: Tensor, dtype: DType) -> Tensor:
    return x if x._data.dtype == dtype.numpy else cast(x, dtype=dtype.short)


def operand(x: Any) -> Any:
    """A tensor or a Python number; NumPy scalars count as numbers. Raises TypeError for anything else."""
    if isinstance(x, np.generic):
        return x.item()
    if isinstance(x, Tensor) or is_number(x):
        return exact(x)
    raise TypeError(f"expected a Tensor or a number, got {type(x).__name__}")


def element(value: Any, dtype: DType) -> Any:
    """A number as an element of ``dtype``, converted as in C: integers wrap, fractions are truncated, bools compare with 0."""
    if isinstance(value, RuntimeInt) and dtype.kind != "b":
        return value.tensor(dtype)
    if isinstance(value, RuntimeFloat):
        return value.tensor(dtype) if dtype.category > 1 else to_dtype(value.tensor(float64), dtype)
    value = exact(value)
    if dtype.kind == "b":
        return bool(value)
    if dtype.kind in "ui":
        bits = 8 * dtype.itemsize
        if not -(1 << 63) <= value < 1 << max(bits, 63):
            raise OverflowError(f"{value} is out of the range of int64")
        low = int(value) % (1 << bits)
        return low - (1 << bits) if dtype.kind == "i" and low >> (bits - 1) else low
    return value


def typed(x: Any, dtype: DType) -> Tensor:
    """A tensor or a number as a tensor of ``dtype``."""
    if isinstance(x, Tensor):
        return to_dtype(x, dtype)
    value = element(x, dtype)
    return value if isinstance(value, Tensor) else full(value=value, shape=(), dtype=dtype.short)


def result_dtype(*xs: Any) -> DType:
    """PyTorch's type of an operation on tensors and Python numbers."""
    tensors = [x.type_ for x in xs if isinstance(x, Tensor)]
    best: DType | None = promoted(tensors) if tensors else None
    for x in xs:
        if not isinstance(x, Tensor):
            best = combine(best, scalar_dtype(x, context.default_dtype))
    assert best is not None
    return best


def in_format(x: Any, like: Tensor) -> Any:
    """A number rounded to the format of a 16-bit tensor, for comparisons; arithmetic uses it in float32."""
    if isinstance(x, Tensor) or not is_half(like._data.dtype):
        return x
    return float(np.float32(x).astype(like._data.dtype))


def constant_in(x: Tensor, *sources: Any) -> Tensor:
    """``x`` in the graph of the ``sources`` without depending on them: their gradients are 0."""
    for s in sources:
        if isinstance(s, Tensor) and s._requires_grad:
            x = unread(x, to_dtype(sum_(s, axes=tuple(range(s.ndim))), x.dtype))
    return x


def underived(name: str, x: Tensor, *sources: Any) -> Tensor:
    """The result of an operation without a derivative, in the graph of the ``sources``: a backward pass that reaches it raises
    NotImplementedError.
    """
    followed = constant_in(x, *sources) if x.dtype.category > 1 else x
    return x if followed is x else underived_(followed, of=name)


_PLAIN = (float, int)


def match(*xs: Any, floating: bool = False) -> Sequence[Any]:
    """Operands of one dtype. Numbers stay numbers if another operand is a tensor. ``floating``: at least the default float
    dtype.
    """
    if len(xs) == 2:  # the most common case first
        a, b = xs
        if (
            isinstance(a, Tensor)
            and (dtype := a._data.dtype).kind == "f"
            and ((isinstance(b, Tensor) and b._data.dtype is dtype) or type(b) in _PLAIN)
        ):
            return xs
    xs = tuple(map(operand, xs))
    tensors = [x for x in xs if isinstance(x, Tensor)]
    if not tensors:
        from .create import tensor

        return match(tensor(xs[0]), *xs[1:], floating=floating)
    dtype = tensors[0]._data.dtype
    simple = all(t._data.dtype == dtype for t in tensors)
    if not (simple and dtype.kind == "f") or any(isinstance(x, complex) for x in xs):
        wanted = result_dtype(*xs)
        if floating and not (wanted.is_floating_point or wanted.is_complex):
            wanted = context.default_dtype
        return [to_dtype(x, wanted) if isinstance(x, Tensor) else element(x, wanted) for x in xs]
    return [x.tensor(dtype_of(dtype)) if isinstance(x, RuntimeNumber) else x for x in xs]


def as_floating(x: Any) -> Tensor:
    """A floating tensor: integers become the default dtype."""
    if isinstance(x, Tensor) and x._data.dtype.kind == "f":
        return x
    (x,) = match(x, floating=True)
    return x


def within(numbers: Tensor, extent: int, message: str) -> Tensor:
    """Checks that integers are in [0, extent). Raises RuntimeError with the message otherwise, in compiled code too."""
    try:
        return check_index(numbers, extent=extent, message=message)
    except IndexError as e:
        raise RuntimeError(str(e)) from None


def walked_again(out: Tensor) -> Tensor:
    """The result of an operation whose derivative reads only constants: a backward pass frees nothing, and can be repeated."""
    node: Any = out._grad_fn
    if node is not None and getattr(node, "keeps", False):
        node.keeps = False
    return out
