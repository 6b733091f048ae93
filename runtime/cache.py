"""Compiled kernels on disk, by content.

A file is named by the content address of its kernel and begins with the SHA-256 of the rest, checked when
it is read; a damaged file counts as absent. Files are written whole, under another name, and then renamed, so
processes may share the directory. Only its owner can write there: machine code is read from it.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path

_DIGEST = 32


def directory() -> Path:
    """``$TRACER_CACHE_DIR``, or ``tracer`` in the user's cache directory."""
    chosen = os.environ.get("TRACER_CACHE_DIR")
    if chosen:
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "tracer"


def _usable(path: Path) -> bool:
    """Whether the directory is ours alone to write to."""
    try:
        info = path.stat()
    except OSError:
        return False
    if not stat.S_ISDIR(info.st_mode):
        return False
    if not hasattr(os, "getuid"):
        return True
    return info.st_uid == os.getuid() and not info.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def read(name: str) -> bytes | None:
    """The contents stored under ``name``, or None."""
    path = directory()
    if not _usable(path):
        return None
    try:
        data = (path / f"{name}.o").read_bytes()
    except OSError:
        return None
    digest, code = data[:_DIGEST], data[_DIGEST:]
    return code if hashlib.sha256(code).digest() == digest else None


def write(name: str, code: bytes) -> None:
    """Stores ``code`` under ``name``. A directory that cannot be written to is no error: the code is just not kept."""
    path = directory()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _usable(path):
            return
        handle, temporary = tempfile.mkstemp(dir=path, prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as f:
                f.write(hashlib.sha256(code).digest() + code)
            os.replace(temporary, path / f"{name}.o")
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError:
        return


def entries() -> tuple[int, int]:
    """How many kernels are stored, and their size in bytes."""
    files = list(directory().glob("k_*.o"))
    return len(files), sum(f.stat().st_size for f in files)
