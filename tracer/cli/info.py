"""Information about the installation."""

from __future__ import annotations

import ctypes.util
import os
import platform
from importlib.metadata import PackageNotFoundError, version

from .. import __version__
from ..runtime.compiler import cache, machine
from ..runtime.compiler.numba_version import TESTED
from ..runtime.support import team


def version_of(package: str) -> str:
    """The version of an installed distribution, or "not installed"."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _cpu() -> str:
    cpu, chosen = machine.selected(), os.environ.get("TRACER_CPU") or "host"
    try:
        machine.check_runs_here(cpu)
    except RuntimeError as e:
        return f"{cpu.name} (TRACER_CPU={chosen}), vectors of {cpu.vector_bits} bits; {e}"
    return f"{cpu.name} (TRACER_CPU={chosen}), vectors of {cpu.vector_bits} bits"


def _cuda_compiler() -> str:
    """The compiler for GPUs, and missing packages."""
    if version_of("numba-cuda") == "not installed":
        return "none: pip install 'tracer[cuda]' (no GPU is needed to compile)"
    parts = {"nvidia-nvvm": "NVVM", "nvidia-nvjitlink": "nvJitLink", "nvidia-cuda-nvdisasm": "nvdisasm (prints machine code)"}
    missing = [f"{what}: pip install {package}" for package, what in parts.items() if version_of(package) == "not installed"]
    return f"numba-cuda {version_of('numba-cuda')}" + (f"; missing {', '.join(missing)}" if missing else "")


def _cuda() -> str:
    if os.environ.get("TRACER_CUDA") == "emulate":
        return "emulated, for tests (TRACER_CUDA=emulate)"
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
    return f"{count.value} device(s) present"


def lines() -> list[tuple[str, str]]:
    """Pairs of a name and its description."""
    number, size = cache.entries()
    return [
        ("tracer", __version__),
        ("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        ("numpy", version_of("numpy")),
        ("scipy", version_of("scipy")),
        ("numba", f"{version_of('numba')} (tested: {TESTED})"),
        ("llvmlite", version_of("llvmlite")),
        ("cpu", _cpu()),
        ("threads", f"{team.get_num_threads()} for large kernels (TRACER_NUM_THREADS), {os.cpu_count()} CPUs"),
        ("layer", "POSIX threads (built in)" if team.get_num_threads() > 1 else "none: the calling thread"),
        ("cache", f"{cache.directory()}: {number} kernels, {size / 1024:.0f} KiB"),
        ("cuda", _cuda()),
        ("gpu kernels", _cuda_compiler()),
    ]
