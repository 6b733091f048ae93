"""``torch.amp``: mixed precision. For CUDA where there is no device it is off, with PyTorch's warning."""

from __future__ import annotations

import warnings
from typing import Any

from .. import amp
from ..amp import custom_bwd, custom_fwd, get_autocast_dtype, is_autocast_enabled
from ..core.device import device
from ..cuda import is_available
from .absent import rest_of

__getattr__ = rest_of("amp")


def is_autocast_available(device_type: str) -> bool:
    """Whether there is such a device, with mixed precision."""
    return amp.is_autocast_available(device_type) and (device_type != "cuda" or is_available())


class autocast(amp.autocast):
    """``tracer.amp.autocast``; for a device that is not there it has no effect, and a warning says so."""

    def __init__(self, device_type: str = "cuda", dtype: Any = None, enabled: bool = True, cache_enabled: bool | None = None):
        kind = device(device_type).type
        if is_autocast_available(kind):
            super().__init__(kind, dtype, enabled)
            return
        if enabled:
            warnings.warn(f"User provided device_type of '{kind}', but it is not available. Disabling", stacklevel=2)
        super().__init__("cuda", None, False)


class GradScaler(amp.GradScaler):
    """``tracer.amp.GradScaler``; for a device that is not there it has no effect."""

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 65536.0,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ):
        there = is_autocast_available(str(device).partition(":")[0])
        super().__init__(device, init_scale, growth_factor, backoff_factor, growth_interval, enabled and there)
