"""``torch.overrides``: functions never dispatch to ``__torch_function__``."""

from __future__ import annotations

from typing import Any

from ..core.tensor import Tensor
from .absent import rest_of

__getattr__ = rest_of("overrides")


def has_torch_function(relevant_args: Any) -> bool:
    """False."""
    return False


has_torch_function_unary = has_torch_function_variadic = has_torch_function


def is_tensor_like(inp: Any) -> bool:
    """True for a tensor."""
    return isinstance(inp, Tensor)
