"""Alternative argument names: NumPy's (``axis``, ``keepdims``), PyTorch's older ones, and ``out``."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ..core.context import context
from ..core.tensor import Tensor
from ..core.warning import warn
from .inquiry import can_cast

# Functions whose results are not converted to the dtype of ``out``.
EXACT = {"aminmax", "complex", "gather", "multinomial", "polar"}
# Alternative names of parameters, in some overload of PyTorch's or in NumPy. A function's own parameter of that name takes
# precedence.
_ALSO = {
    "A": ("input",),
    "B": ("other", "b"),
    "dim": ("axis",),
    "dim0": ("axis0",),
    "dim1": ("axis1",),
    "dims": ("axis", "dim"),
    "input": ("x",),
    "indices_or_sections": ("indices", "sections", "tensor_indices_or_sections"),
    "keepdim": ("keepdims",),
    "self": ("input",),
    "shape": ("size",),
    "size": ("shape",),
    "split_size_or_sections": ("split_size",),
    "from_": ("from",),
    "x": ("input",),
}
_ALSO_OF: dict[str, dict[str, str | tuple[str, ...]]] = {
    "cholesky_inverse": {"L": "input"},
    "cholesky_solve": {"B": "input", "L": "input2"},
    "copy_": {"other": "src"},
    "heaviside": {"other": "values"},
    "lu_solve": {"B": "input"},
    "isin": {"elements": "element", "test_elements": "test_element"},
    "result_type": {"tensor1": ("tensor", "scalar", "scalar1"), "tensor2": ("other", "scalar2")},
    "max": {"dim": "other"},
    "min": {"dim": "other"},
    "searchsorted": {"values": "input"},
    "split": {"input": "tensor"},
}


def spellings(function: str, names: Collection[str]) -> dict[str, str]:
    """The parameter for each alternative name."""
    found = {other: name for name in names for other in _ALSO.get(name, ()) if other not in names}
    for name, others in _ALSO_OF.get(function, {}).items():
        found |= dict.fromkeys((others,) if isinstance(others, str) else others, name)
    return found


# The number that PyTorch's older forms have between the first operand and the others, and how many others there are.
_NUMBER_FIRST = {
    "add": ("alpha", 1),
    "sub": ("alpha", 1),
    "subtract": ("alpha", 1),
    "addcdiv": ("value", 2),
    "addcmul": ("value", 2),
}
# Functions whose integers after the tensor form one argument.
_TOGETHER = {"count_nonzero", "dsplit", "hsplit", "squeeze", "squeeze_", "vsplit"}


def regular(function: str, args: tuple[Any, ...]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional arguments in the usual form, from others that PyTorch accepts, such as ``x.add_(2, y)``; and keyword
    arguments.
    """
    if function in _TOGETHER and len(args) > 2 and all(type(x) is int for x in args[1:]):
        return (args[0], args[1:]), {}
    key, others = _NUMBER_FIRST.get(function.rstrip("_"), ("", 0))
    if not key or len(args) != others + 2 or isinstance(args[1], Tensor):
        return args, {}
    warn(f"This overload of {function} is deprecated: give the number as {key}=..., after the tensors.")
    return (args[0], *args[2:]), {key: args[1]}


def into(out: Any, result: Any, exact: bool) -> Any:
    """Writes a result, or each of several, to the tensors given as ``out``, which take its shape."""
    if out is None:
        return result
    if not isinstance(out, Tensor):
        return type(result)(*(into(o, r, exact) for o, r in zip(out, result, strict=True)))
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
