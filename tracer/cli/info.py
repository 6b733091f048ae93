"""What this installation runs on."""

from __future__ import annotations

import ctypes.util
import os
import platform
from importlib.metadata import PackageNotFoundError, version

import llvmlite.binding as llvm

from .. import __version__
from ..runtime import cache, team


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _cpu() -> str:
    features = llvm.get_host_cpu_features()
    width = next((w for f, w in (("avx512f", 512), ("avx2", 256), ("neon", 128), ("sse2", 128)) if features.get(f)), 64)
    return f"{llvm.get_host_cpu_name()}, vectors of {width} bits"


def _cuda() -> str:
    found = ctypes.util.find_library("cuda")
    if found is None:
        return "none: no NVIDIA driver (libcuda) on this machine"
    try:
        driver = ctypes.CDLL(found)
        status = driver.cuInit(0)
        count = ctypes.c_int(0)
        if status == 0:
            status = driver.cuDeviceGetCount(ctypes.byref(count))
    except (OSError, AttributeError) as e:
        return f"none: the NVIDIA driver does not load ({e})"
    if status or not count.value:
        return f"none: the NVIDIA driver finds no device (status {status})"
    return f"{count.value} device(s) present; kernels are generated for the CPU only so far"


def lines() -> list[tuple[str, str]]:
    """Pairs of a name and what there is to say."""
    number, size = cache.entries()
    packages = ("numpy", "llvmlite", "scipy")
    return [
        ("tracer", __version__),
        ("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        *((p, _version(p)) for p in packages),
        ("cpu", _cpu()),
        ("threads", f"{team.get_num_threads()} for large kernels (TRACER_NUM_THREADS), {os.cpu_count()} CPUs"),
        ("layer", "a team of our own on POSIX threads" if team.get_num_threads() > 1 else "none: the calling thread"),
        ("cache", f"{cache.directory()}: {number} kernels, {size / 1024:.0f} KiB"),
        ("cuda", _cuda()),
    ]
