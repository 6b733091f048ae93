"""Machine code for NVIDIA GPUs from PTX, by nvJitLink; its resource usage and its disassembly. No GPU is needed."""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

ARCHITECTURES = ("sm_80", "sm_90", "sm_100")  # the tested ones
# nvJitLink aborts the process for an unknown architecture.
_KNOWN = (*ARCHITECTURES, *(f"sm_{n}" for n in (86, 87, 88, 89, 103, 110, 120, 121)))
_SPILLED = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_USED = re.compile(r"Used (\d+) registers(?:, used \d+ barriers)?(?:, (\d+) bytes smem)?")


@dataclass(frozen=True)
class Cubin:
    """Machine code and its resources: registers per thread, spilled bytes per thread, shared memory per block in bytes."""

    code: bytes
    registers: int
    spilled: int
    shared: int


def cubin(ptx: str, architecture: str) -> Cubin:
    """The machine code of PTX.

    Raises ValueError for an unknown architecture, and RuntimeError with the linker's report for rejected PTX.
    """
    if architecture not in _KNOWN:
        raise ValueError(f"unknown architecture {architecture!r}; known: {', '.join(_KNOWN)}")
    from cuda.bindings import nvjitlink

    handle = nvjitlink.create(2, [f"-arch={architecture}", "-verbose"])
    try:
        data = ptx.encode()
        nvjitlink.add_data(handle, nvjitlink.InputType.PTX, data, len(data), "kernel")
        nvjitlink.complete(handle)
        code = bytearray(nvjitlink.get_linked_cubin_size(handle))
        nvjitlink.get_linked_cubin(handle, code)
        report = _report(handle)
    except nvjitlink.nvJitLinkError as e:
        raise RuntimeError(f"nvJitLink rejects a kernel for {architecture}: {e}\n{_errors(handle)}") from None
    finally:
        nvjitlink.destroy(handle)
    used, spilled = _USED.search(report), _SPILLED.search(report)
    if used is None:
        raise RuntimeError(f"nvJitLink does not report a kernel's resources: {report}")
    return Cubin(
        bytes(code),
        int(used[1]),
        int(spilled[2]) + int(spilled[3]) if spilled else 0,
        int(used[2] or 0),
    )


def _report(handle: int) -> str:
    from cuda.bindings import nvjitlink

    text = bytearray(max(nvjitlink.get_info_log_size(handle), 1))
    nvjitlink.get_info_log(handle, text)
    return text.decode(errors="replace")


def _errors(handle: int) -> str:
    from cuda.bindings import nvjitlink

    text = bytearray(max(nvjitlink.get_error_log_size(handle), 1))
    nvjitlink.get_error_log(handle, text)
    return text.decode(errors="replace")


def disassembly(code: bytes) -> str:
    """Machine code as text. Raises FileNotFoundError, with what to install, if there is no nvdisasm."""
    tool = _nvdisasm()
    with tempfile.NamedTemporaryFile(suffix=".cubin") as f:
        f.write(code)
        f.flush()
        return subprocess.run([tool, "-c", f.name], capture_output=True, text=True, check=True).stdout


def _nvdisasm() -> str:
    """The path of the disassembler: from NVIDIA's wheel, or from an installed toolkit."""
    import shutil

    try:
        import nvidia

        for place in nvidia.__path__:
            for found in Path(place).glob("**/bin/nvdisasm"):
                return str(found)
    except ImportError:
        pass
    found_on_path = shutil.which("nvdisasm")
    if found_on_path is None:
        raise FileNotFoundError("printing machine code needs nvdisasm: pip install nvidia-cuda-nvdisasm")
    return found_on_path
