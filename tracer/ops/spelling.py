"""Arguments that every function takes: NumPy's names for PyTorch's (``axis``, ``keepdims``), and ``out``."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from ..context import context
from ..ir.types import as_dtype
from ..tensor import Tensor
from .inquiry import can_cast

# Those whose results are not converted to the dtype of ``out``.
_EXACT = {"aminmax", "complex", "gather", "multinomial", "polar"}


def spelled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which takes both spellings, and ``out``, where results are put."""
    parameters = inspect.signature(function).parameters
    names = {"axis": next((n for n in ("dim", "dims") if n in parameters), None), "keepdims": "keepdim"}
    known = {new: old for new, old in names.items() if old is not None and old in parameters and new not in parameters}

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if kwargs:
            kwargs = {known.get(name, name): value for name, value in kwargs.items()}
            if kwargs.get("dtype") is not None:
                kwargs["dtype"] = as_dtype(kwargs["dtype"])
            if "out" in kwargs:
                return _into(kwargs.pop("out"), function(*args, **kwargs), function.__name__ in _EXACT)
        return function(*args, **kwargs)

    return call


def _into(out: Any, result: Any, exact: bool) -> Any:
    """Puts a result, or each of several, into the tensors given for it, which take its shape."""
    if out is None:
        return result
    if not isinstance(out, Tensor):
        return type(result)(*(_into(o, r, exact) for o, r in zip(out, result, strict=True)))
    if context.grad_enabled and (out.requires_grad or result.requires_grad):
        raise RuntimeError(
            "functions with out=... arguments don't support automatic differentiation, but one of the arguments requires grad."
        )
    if exact and out.dtype is not result.dtype:
        raise RuntimeError(f"Expected out tensor to have dtype {result.dtype.ctype}, but got {out.dtype.ctype} instead")
    if not can_cast(result.dtype, out.dtype):
        raise RuntimeError(f"result type {result.dtype.ctype} can't be cast to the desired output type {out.dtype.ctype}")
    if out._data.shape != result._data.shape:
        out.data = result.to(out.dtype)
        return out
    return out.copy_(result)
