"""PyTorch's back-end settings. They are stored without effect, except ``cuda.matmul.allow_tf32``."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from .core.precision import allow_tf32, get_float32_matmul_precision


class _Backend(SimpleNamespace):
    """A back end that is not available."""

    def is_available(self) -> bool:
        return False

    def is_built(self) -> bool:
        return False

    def version(self) -> None:
        return None

    def flags(self, *args: Any, **kwargs: Any) -> Any:
        """A context without effect."""
        import contextlib

        return contextlib.nullcontext()


class _Products:
    """Settings of products on a CUDA device."""

    allow_fp16_reduced_precision_reduction = allow_bf16_reduced_precision_reduction = False

    @property
    def allow_tf32(self) -> bool:
        """Whether products of float32 may use TF32: that of ``tracer.set_float32_matmul_precision``."""
        return get_float32_matmul_precision() != "highest"

    @allow_tf32.setter
    def allow_tf32(self, allowed: bool) -> None:
        allow_tf32(bool(allowed))


cudnn = _Backend(enabled=False, benchmark=False, deterministic=False, allow_tf32=False, benchmark_limit=None)
cuda = _Backend(matmul=_Products())
cuda.sdp_kernel = lambda *args, **kwargs: cuda.flags()  # the choice among implementations of attention
for _name in ("flash", "mem_efficient", "math", "cudnn"):
    setattr(cuda, f"enable_{_name}_sdp", lambda enabled: None)
    setattr(cuda, f"{_name}_sdp_enabled", lambda name=_name: name == "math")
mps, mkl, mkldnn, openmp, xeon, opt_einsum, cpu = (_Backend(enabled=False) for _ in range(7))
opt_einsum.strategy = None
mps.is_macos_or_newer = lambda major, minor: False
cpu.get_cpu_capability = lambda: "DEFAULT"
fp32_precision = "ieee"
