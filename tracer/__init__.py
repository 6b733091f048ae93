"""tracer: tensors with PyTorch's API and autograd, and ``@trace``, which compiles the same code into fused kernels."""

from __future__ import annotations

import importlib as _importlib
import math as _math
from typing import Any as _Any

from . import amp, autograd, cuda, fft, func, linalg, nn, ops, optim, random, signal, special, utils
from .autograd import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from .core import eager as _eager
from .core import kernels as _kernels
from .core import methods as _methods
from .core.context import context as _context
from .core.device import device, get_default_device, set_default_device
from .core.dlpack import from_dlpack
from .core.layout import (
    channels_last,
    channels_last_3d,
    contiguous_format,
    layout,
    memory_format,
    preserve_format,
    strided,
)
from .core.precision import get_float32_matmul_precision, set_float32_matmul_precision
from .core.size import Size
from .core.tensor import Tensor
from .core.threads import get_num_threads, set_num_threads
from .func import vmap
from .interop import einops_backend as _einops_backend
from .interop import exchange as _interop
from .interop import paths as _paths
from .interop.layers import *
from .interop.legacy import (
    BFloat16Tensor,
    BoolTensor,
    ByteTensor,
    CharTensor,
    DoubleTensor,
    FloatTensor,
    HalfTensor,
    IntTensor,
    LongTensor,
    ShortTensor,
    svd,
)
from .ir import interp as _interp
from .ir.types import DType as dtype
from .ir.types import as_dtype as _as_dtype
from .ir.types import (
    bfloat16,
    complex64,
    complex128,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)
from .ir.types import bool_ as bool
from .linalg import cholesky_inverse, cholesky_solve, det, logdet, matrix_exp, matrix_power, slogdet
from .linalg import inv as inverse
from .linalg import pinv as pinverse
from .linalg.factorizations import cholesky, geqrf, lu_unpack, orgqr, ormqr, pca_lowrank, qr, svd_lowrank, triangular_solve
from .linalg.factorizations import packed_lu as lu
from .linalg.factorizations import solve_packed as lu_solve
from .ops import *
from .ops.contracts import complete as _complete
from .random import (
    Generator,
    bernoulli,
    default_generator,
    fork_rng,
    get_rng_state,
    initial_seed,
    manual_seed,
    multinomial,
    normal,
    rand,
    rand_like,
    randint,
    randint_like,
    randn,
    randn_like,
    randperm,
    seed,
    set_rng_state,
)
from .random.sampling import binomial, poisson
from .runtime.support.allocation import keep_freed_memory as _keep_freed_memory
from .serialization import load, save
from .signal.spectral import istft, stft
from .special import gammainc as igamma
from .special import gammaincc as igammac
from .tracing.decorator import trace
from .tracing.failure import TraceError, TraceWarning
from .tracing.function import TracedFunction
from .tracing.switches import eager

inf, nan, pi, e = _math.inf, _math.nan, _math.pi, _math.e
newaxis = None

float = float32
double = float64
long = int64
int = int32
short = int16
half = float16
cfloat = complex64
cdouble = complex128

__version__ = "0.1.0"


def __getattr__(name: str) -> _Any:
    """Imports a package of the library that is not imported with it, on first use."""
    if name in _LATER:
        return _importlib.import_module(f".{'compiler' if name == '_dynamo' else name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


_LATER = {"_dynamo", "accelerator", "backends", "compiler", "distributions", "profiler", "quasirandom"}


def get_default_dtype() -> dtype:
    """The dtype of tensors made from Python floats."""
    return _context.default_dtype


def set_default_dtype(d: dtype) -> None:
    """Sets the dtype of tensors made from Python floats. Raises TypeError unless it is floating."""
    d = _as_dtype(d)
    if not d.is_floating_point:
        raise TypeError("only floating-point types are supported as the default type")
    _context.default_dtype = d


_keep_freed_memory()
_kernels.use_kernels()
_methods.attach()
_paths.enter("autograd", "nn.modules", "optim")
_paths.enter_layers()
globals().update(_methods.functions_in_place())
_complete(globals())
_interop.attach()
_einops_backend.register()
_interp.set_default(_eager.Eager())
