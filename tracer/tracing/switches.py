"""Switches for all traced functions: turn tracing off, or compare every replay."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

from ..context import SPECIAL

_DISABLED = os.environ.get("TRACER_DISABLE", "0") not in ("", "0")
CHECKED = os.environ.get("TRACER_CHECK", "0") not in ("", "0")


class _Mode(threading.local):
    eager: bool = False


_mode = _Mode()


def is_eager() -> bool:
    """True if traced functions run eagerly in this thread."""
    return _mode.eager or _DISABLED


@contextlib.contextmanager
def eager() -> Iterator[None]:
    """Runs traced functions eagerly in this block, for debugging."""
    before = _mode.eager
    _mode.eager = True
    SPECIAL.append(_mode)
    try:
        yield
    finally:
        SPECIAL.remove(_mode)
        _mode.eager = before
