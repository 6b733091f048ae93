"""PTX of kernels for GPUs: from this process, from disk, or compiled. Numba is imported when a kernel is compiled."""

from __future__ import annotations

import functools
import hashlib
from importlib.metadata import version
from pathlib import Path

from . import cache


@functools.cache
def _meaning() -> str:
    """What determines the code: the relevant source files, and the compilers' versions."""
    from ... import codegen

    here, text = Path(__file__).parent, Path(codegen.__file__ or "").parent
    files = [here / f"{name}.py" for name in ("numba_cuda", "grid", "nvvm", "intrinsics", "arithmetic", "halves")]
    files += [text / f"{name}.py" for name in ("math", "circular", "error", "powers", "binary", "special")]
    content = hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()
    return "|".join([content, *(version(name) for name in ("numba-cuda", "nvidia-nvvm", "llvmlite"))])


@functools.lru_cache(maxsize=4096)
def ptx(source: str, threads: int, capability: tuple[int, int] = (8, 0)) -> str:
    """The kernel of a text, named ``kernel``, for blocks of ``threads``, for a compute capability and later ones."""

    def make() -> bytes:
        from .numba_cuda import ptx as compiled

        return compiled(source, threads, capability=capability).encode()

    return cache.kept(f"{_meaning()}\n{threads} {capability}\n{source}", make).decode()
