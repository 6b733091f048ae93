"""Functions composed of several operations, on 16-bit tensors: computed in float32, rounded once.

A primitive rounds its result once (``ir.halves``); a composition would round after each operation.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, overload

from ..core.tensor import Tensor
from ..ir.halves import is_half
from ..ir.types import DType, float32
from .common import result_dtype, to_dtype

F = TypeVar("F", bound=Callable[..., Any])


@overload
def opmath(function: F) -> F: ...
@overload
def opmath(*, as_input: bool = False, written: Sequence[str] = ()) -> Callable[[F], F]: ...
def opmath(function: Any = None, *, as_input: bool = False, written: Sequence[str] = ()) -> Any:
    """Decorates a function: 16-bit tensors among its arguments are converted to float32, and float32 results are rounded to
    the arguments' common dtype, or to ``dtype``. Differentiable, like the casts.

    A function with the argument ``inplace`` then changes its first argument.

    as_input  the results have the dtype of the first argument
    written   names of arguments that are passed unchanged, because the function changes them
    """
    if function is None:
        return functools.partial(opmath, as_input=as_input, written=written)
    parameters = inspect.signature(function).parameters
    names = [name for name, p in parameters.items() if p.kind is not p.KEYWORD_ONLY]
    by_name = written or "dtype" in parameters or "inplace" in parameters

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        for x in args:
            if _has_halves(x):
                break
        else:
            if not kwargs or not any(map(_has_halves, kwargs.values())):
                return function(*args, **kwargs)
        if by_name:
            args, kwargs = (), {**dict(zip(names, args, strict=False)), **kwargs}
        first = args[0] if args else kwargs[names[0]]
        dtype = kwargs.get("dtype")
        if dtype is not None:
            kwargs["dtype"] = dtype.wide
        else:
            dtype = first.dtype if as_input else result_dtype(*_floating(args), *_floating(kwargs.values()))
        if inplace := kwargs.get("inplace", False):
            kwargs["inplace"] = False
        given = {k: v if k in written else widened(v) for k, v in kwargs.items()}
        out = narrowed(function(*map(widened, args), **given), dtype)
        return first._become(out) if inplace else out

    return call


def _has_halves(x: Any) -> bool:
    if isinstance(x, Tensor):
        return x._data.itemsize == 2 and is_half(x._data.dtype)
    return isinstance(x, (list, tuple)) and any(map(_has_halves, x))


def _floating(xs: Any) -> list[Tensor]:
    """The floating tensors among arguments; only these determine the result's dtype."""
    found: list[Tensor] = []
    for x in xs:
        if isinstance(x, (list, tuple)):
            found += _floating(x)
        elif isinstance(x, Tensor) and x.is_floating_point():
            found.append(x)
    return found


def widened(x: Any) -> Any:
    """16-bit tensors, also in lists and tuples, converted to float32; others unchanged."""
    if isinstance(x, (list, tuple)) and _has_halves(x):
        return type(x)(map(widened, x))
    return to_dtype(x, float32) if _has_halves(x) else x


def narrowed(x: Any, dtype: DType) -> Any:
    """float32 tensors, also in lists and tuples, converted to ``dtype`` if that is 16-bit."""
    if not dtype.is_half:
        return x
    if isinstance(x, tuple) and hasattr(x, "_fields"):
        return type(x)(*(narrowed(v, dtype) for v in x))
    if isinstance(x, (list, tuple)):
        return type(x)(narrowed(v, dtype) for v in x)
    return to_dtype(x, dtype) if isinstance(x, Tensor) and x.dtype is float32 else x
