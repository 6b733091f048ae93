"""``torch.cuda.amp``: older names of those in ``torch.amp``."""

from __future__ import annotations

from typing import Any

from .. import amp
from ..amp import GradScaler, custom_bwd, custom_fwd

__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd"]


class autocast(amp.autocast):
    """``torch.amp.autocast("cuda")``."""

    def __init__(self, enabled: bool = True, dtype: Any = None, cache_enabled: bool | None = True):
        super().__init__("cuda", dtype, enabled, cache_enabled)
