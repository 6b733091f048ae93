"""The disk cache of compiled code, addressed by content: machine code (``k_``, ``n_``), code for GPUs
(``c_``), and plans of programs (``p_``).

A file's name is the content address of its source. The file begins with a keyed digest (BLAKE2, RFC 7693) of its name and
contents, which is checked when it is read. The key is a random number in the same directory, so files that are damaged,
renamed or written by another program count as absent. Files are written completely under a temporary name and then renamed,
so processes may share the directory. Only its owner may write to it, because machine code is loaded from it. Its size is
bounded: the least recently used files are removed first.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import hmac
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

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
    """True if the directory belongs to this user, and nobody else may write to it."""
    try:
        info = path.stat()
    except OSError:
        return False
    if not stat.S_ISDIR(info.st_mode):
        return False
    if not hasattr(os, "getuid"):
        return True
    return info.st_uid == os.getuid() and not info.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def new_file(directory: Path) -> tuple[int, str]:
    """The descriptor and the path of a new file that only the owner can read. Raises OSError if it cannot be created.

    ``tempfile`` draws names from a generator that a traced program may reach, where the draw would count as the program's.
    """
    path = str(directory / f".new-{os.urandom(8).hex()}")
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), path


@functools.cache
def _key(path: Path) -> bytes:
    """The key of a directory's digests. Raises OSError if there is none and none can be created."""
    file = path / "key"
    if not file.exists() or file.stat().st_size != _DIGEST:
        file.unlink(missing_ok=True)
        handle, temporary = new_file(path)
        try:
            with os.fdopen(handle, "wb") as f:
                f.write(os.urandom(_DIGEST))
            with contextlib.suppress(FileExistsError):  # another process was faster
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
    with contextlib.suppress(OSError):  # the time of last use, for ``_make_room``
        os.utime(path / name)
    return code


def write(name: str, code: bytes) -> None:
    """Stores ``code`` under ``name``. If the directory is not writable, nothing is stored and no error is raised."""
    path = directory()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _usable(path):
            return
        handle, temporary = new_file(path)
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


def kept(meaning: str, make: Callable[[], bytes]) -> bytes:
    """Code for a GPU that ``meaning`` determines: from disk, or made, and stored."""
    name = "c_" + hashlib.sha256(meaning.encode()).hexdigest()[:40]
    code = read(name)
    if code is None:
        code = make()
        write(name, code)
    return code


def _make_room(path: Path, written: int) -> None:
    """Removes the least recently used files if the total exceeds the limit: down to three quarters of it.

    Scanning all files is slow. Each write does it with a probability proportional to its size: on average once per
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


class Entry(NamedTuple):
    """A file: its name, its size in bytes, and the time of its last use in seconds since 1970."""

    name: str
    nbytes: int
    used: float


def files() -> Iterator[Entry]:
    """The stored files: kernels, native functions, plans, and graphs of failed compilations."""
    for f in sorted(directory().glob("[a-z]_*")):
        with contextlib.suppress(OSError):  # another process may have removed it
            info = f.stat()
            yield Entry(f.name, info.st_size, info.st_mtime)


def is_valid(name: str) -> bool:
    """False if programs ignore a file: it is damaged, renamed, or was written with another key. Does not count as a use."""
    if name.startswith("g_"):
        return True  # text for a report, which programs do not read
    path = directory()
    try:
        data = (path / name).read_bytes()
        return _usable(path) and hmac.compare_digest(_digest(path, name, data[_DIGEST:]), data[:_DIGEST])
    except OSError:
        return False


def remove(name: str) -> bool:
    """Removes a file; False if that is impossible."""
    try:
        (directory() / name).unlink(missing_ok=True)
    except OSError:
        return False
    return True


def entries() -> tuple[int, int]:
    """The number of stored kernels and their size in bytes."""
    files = list(directory().glob("k_*"))
    return len(files), sum(f.stat().st_size for f in files)
