"""The supported versions of Numba. Does not import Numba."""

from __future__ import annotations

OLDEST, NEWEST = (0, 65), (0, 68)  # the tested versions
TESTED = " to ".join(".".join(map(str, v)) for v in (OLDEST, NEWEST))


def version(package: str) -> str:
    """The version of an installed package."""
    from importlib import metadata  # takes as long to import as a small kernel to compile

    return metadata.version(package)


def check_version(found: str | None = None) -> None:
    """Raises ImportError for an untested version of Numba, by default the installed one.

    Call it before importing anything that uses Numba's internals: with another version that import may fail in any way.
    """
    found = found or version("numba")
    if not OLDEST <= tuple(int(n) for n in found.split(".")[:2]) <= NEWEST:
        newest = ".".join(map(str, NEWEST))
        raise ImportError(f"Numba {found} is not supported, {TESTED} are: pip install 'numba~={newest}.0'")
