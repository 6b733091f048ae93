"""What was compiled, kept on disk by content: machine code (``k_``, ``n_``) and the plans of programs (``p_``).

A file is named by the content address of what it was made of. It begins with a keyed digest (BLAKE2, RFC 7693) of its name and
the rest, checked when it is read. The key is a random number in the same directory, so a file that is damaged, that was
renamed, or that another program wrote, counts as absent. Files are written whole, under another name, and then renamed, so
processes may share the directory. Only its owner can write there: machine code is read from it. It is bounded in size:
what was used longest ago goes first.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import hmac
import os
import stat
import tempfile
from pathlib import Path

_DIGEST = 32
LIMIT = 512 << 20  # bytes: some ten thousand kernels


def directory() -> Path:
    """``$TRACER_CACHE_DIR``, or ``tracer`` in the user's cache directory."""
    chosen = os.environ.get("TRACER_CACHE_DIR")
    if chosen:
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "tracer"


def _usable(path: Path) -> bool:
    """Whether the directory belongs to this user, and no other may write to it."""
    try:
        info = path.stat()
    except OSError:
        return False
    if not stat.S_ISDIR(info.st_mode):
        return False
    if not hasattr(os, "getuid"):
        return True
    return info.st_uid == os.getuid() and not info.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


@functools.cache
def _key(path: Path) -> bytes:
    """The key of a directory's digests. Raises OSError if there is none and none can be made."""
    file = path / "key"
    if not file.exists() or file.stat().st_size != _DIGEST:
        file.unlink(missing_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path, prefix=".new-")  # for its owner alone to read
        try:
            with os.fdopen(handle, "wb") as f:
                f.write(os.urandom(_DIGEST))
            with contextlib.suppress(FileExistsError):  # another process was first
                os.link(temporary, file)
        finally:
            os.unlink(temporary)
    return file.read_bytes()


def _digest(path: Path, name: str, code: bytes) -> bytes:
    return hashlib.blake2b(name.encode() + b"\0" + code, key=_key(path), digest_size=_DIGEST).digest()


def read(name: str) -> bytes | None:
    """The contents stored under ``name``, or None."""
    path = directory()
    if not _usable(path):
        return None
    try:
        data = (path / name).read_bytes()
        digest, code = data[:_DIGEST], data[_DIGEST:]
        if not hmac.compare_digest(_digest(path, name, code), digest):
            return None
    except OSError:
        return None
    with contextlib.suppress(OSError):  # the time of last use, by which ``_make_room`` chooses
        os.utime(path / name)
    return code


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
                f.write(_digest(path, name, code) + code)
            os.replace(temporary, path / name)
        except BaseException:
            os.unlink(temporary)
            raise
        _make_room(path, len(code))
    except OSError:
        return


def _make_room(path: Path, written: int) -> None:
    """Removes what was used longest ago when there is more than the limit: down to three quarters of it.

    To look at every file takes long. Each write does so with a probability proportional to its bytes: on average once in a
    sixteenth of the limit, however many processes write.
    """
    if int.from_bytes(os.urandom(4)) / 2**32 >= written / (LIMIT / 16):
        return
    files = [(f, f.stat()) for f in path.glob("[a-z]_*")]
    total = sum(info.st_size for _, info in files)
    if total <= LIMIT:
        return
    for f, info in sorted(files, key=lambda pair: pair[1].st_mtime):
        f.unlink(missing_ok=True)
        total -= info.st_size
        if total <= LIMIT * 3 // 4:
            return


def entries() -> tuple[int, int]:
    """How many kernels are stored, and their size in bytes."""
    files = list(directory().glob("k_*"))
    return len(files), sum(f.stat().st_size for f in files)
