"""Running a user's program, as ``python script.py`` does."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence
from pathlib import Path


class NoScript(Exception):
    """There is no such program; the message is one line."""


def run_script(script: str, arguments: Sequence[str]) -> int:
    """Runs a file, or a module if there is no such file, as ``__main__`` with these arguments. Returns its exit code.

    Raises NoScript if there is neither; the program's own exceptions pass.
    """
    path = Path(script)
    folder = str(path.resolve().parent) if path.is_file() else str(Path.cwd())
    before = sys.argv, sys.path.copy()
    sys.argv, sys.path = [script, *arguments], [folder, *sys.path]
    try:
        if path.is_file():
            runpy.run_path(script, run_name="__main__")
        elif path.suffix == ".py" or "/" in script or not _is_module(script):
            raise NoScript(f"there is no file or module {script!r}")
        else:
            runpy.run_module(script, run_name="__main__", alter_sys=True)
    except SystemExit as e:
        if isinstance(e.code, str):
            print(e.code, file=sys.stderr)
            return 1
        return int(e.code or 0)
    finally:
        sys.argv, sys.path = before
    return 0


def _is_module(name: str) -> bool:
    from importlib.util import find_spec

    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):
        return False
