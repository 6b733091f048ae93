"""tracer: tensors with PyTorch-shaped autograd, and ``@trace``, which compiles the same code into fused kernels."""

from __future__ import annotations

from . import autograd, nn, ops, optim
from . import eager as _eager
from . import methods as _methods
from .autograd import enable_grad, is_grad_enabled, no_grad, set_grad_enabled
from .context import context as _context
from .ir import interp as _interp
from .ir.types import DType as dtype
from .ir.types import bool_ as bool
from .ir.types import float32, float64, int8, int16, int32, int64, uint8
from .ops.create import *
from .ops.index import *
from .ops.linalg import *
from .ops.pointwise import *
from .ops.reduce import *
from .ops.shape import *
from .random import Generator, default_generator, manual_seed, rand, randint, randn, randperm
from .tensor import Size, Tensor
from .tracing.function import TracedFunction, TraceWarning, eager, trace

float = float32
double = float64
long = int64
int = int32

__version__ = "0.1.0"


def get_default_dtype() -> dtype:
    """The dtype of tensors made from Python floats."""
    return _context.default_dtype


def set_default_dtype(d: dtype) -> None:
    """Sets the dtype of tensors made from Python floats. Raises TypeError unless it is floating."""
    if not d.is_floating_point:
        raise TypeError("only floating-point types are supported as the default type")
    _context.default_dtype = d


_methods.attach()
_interp.set_default(_eager.Eager())
