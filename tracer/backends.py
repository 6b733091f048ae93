"""PyTorch's back-end settings: no back end is available; settings are stored without effect."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any


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


cudnn = _Backend(enabled=False, benchmark=False, deterministic=False, allow_tf32=False, benchmark_limit=None)
cuda = _Backend(matmul=SimpleNamespace(allow_tf32=False, allow_fp16_reduced_precision_reduction=False))
cuda.sdp_kernel = lambda *args, **kwargs: cuda.flags()  # the choice among implementations of attention
mps, mkl, mkldnn, openmp, xeon, opt_einsum, cpu = (_Backend(enabled=False) for _ in range(7))
opt_einsum.strategy = None
mps.is_macos_or_newer = lambda major, minor: False
cpu.get_cpu_capability = lambda: "DEFAULT"
fp32_precision = "ieee"
