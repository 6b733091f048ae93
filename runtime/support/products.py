"""The functions that kernels call for products."""

from __future__ import annotations

from ...ir.types import dtype_named
from .contraction import contraction
from .direct import direct
from .gemm import gemm
from .winograd import winograd
from .winograd_gradient import winograd_gradient

_FUNCTIONS = {"gemm": gemm, "contract": contraction, "direct": direct, "winograd": winograd, "gradient": winograd_gradient}


def product(name: str) -> int:
    """The address of the function that a kernel calls by a name, such as ``gemm_f32`` or ``contract_bf16``."""
    kind, short = name.split("_")
    return _FUNCTIONS[kind](dtype_named(short))
