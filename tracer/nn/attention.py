"""PyTorch's choice among implementations of attention: here, there is one, so a choice has no effect."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from enum import IntEnum
from typing import Any


class SDPBackend(IntEnum):
    """PyTorch's implementations."""

    ERROR = -1
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3
    OVERRIDEABLE = 4


def sdpa_kernel(backends: SDPBackend | Sequence[SDPBackend], set_priority: bool = False) -> Any:
    """A context without effect."""
    return contextlib.nullcontext()
