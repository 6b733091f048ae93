"""The environment variables that the package reads."""

from __future__ import annotations

import os
from pathlib import Path

from ..runtime.compiler import machine
from ..runtime.support import team
from .errors import CommandError


def check() -> None:
    """Raises CommandError if one has a wrong value."""
    try:
        machine.selected()
        team.number_of_threads()
    except ValueError as e:
        raise CommandError(str(e)) from None
    folder = os.environ.get("TRACER_CACHE_DIR")
    if folder and Path(folder).expanduser().exists() and not Path(folder).expanduser().is_dir():
        raise CommandError(f"TRACER_CACHE_DIR must be a folder, which {folder!r} is not")
