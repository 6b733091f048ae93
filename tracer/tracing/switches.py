"""What turns tracing off, or replays into comparisons, for all traced functions."""

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
    """Whether traced functions run as written, in this thread."""
    return _mode.eager or _DISABLED


@contextlib.contextmanager
def eager() -> Iterator[None]:
    """In this block traced functions run eagerly, as written: for debugging."""
    before = _mode.eager
    _mode.eager = True
    SPECIAL.append(_mode)
    try:
        yield
    finally:
        SPECIAL.remove(_mode)
        _mode.eager = before
