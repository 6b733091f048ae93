"""The CPU that code is generated for: the host's, or a named one.

``TRACER_CPU`` selects it for a process: ``host``, one of x86-64's levels (``x86-64-v2`` to ``x86-64-v4``), or ``aarch64``.
Code for another CPU can be printed and compiled anywhere; it runs where the CPU has the instructions.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import llvmlite.binding as llvm

from ..interrupts import uninterrupted
from . import backend

_V2 = ("cx16", "popcnt", "sahf", "sse3", "sse4.1", "sse4.2", "ssse3")
_V3 = (*_V2, "avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "xsave")
_V4 = (*_V3, "avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl")
_LEVELS = {"x86-64": (), "x86-64-v2": _V2, "x86-64-v3": _V3, "x86-64-v4": _V4}
_OTHERS = {"aarch64": ("aarch64-unknown-linux-gnu", "generic", "+neon")}


@dataclass(frozen=True)
class CPU:
    """LLVM's description of a CPU: its name, ``+feature,-feature`` for what it has and lacks, and the target triple."""

    name: str
    features: str
    triple: str

    @property
    def described(self) -> backend.CPU:
        """The same as a tuple."""
        return self.name, self.features, self.triple

    @property
    def arch(self) -> str:
        return self.triple.split("-")[0]

    def has(self, feature: str) -> bool:
        return f"+{feature}" in self.features.split(",")

    @property
    def vector_bits(self) -> int:
        """The width of the widest vector register."""
        return 512 if self.has("avx512f") else 256 if self.has("avx2") else 128

    @property
    def fuses(self) -> bool:
        """True if it has fused multiply-add."""
        return self.has("fma") or self.arch == "aarch64"


def cpu_named(name: str) -> CPU:
    """The CPU of that name. Raises ValueError for an unknown name."""
    if name == "host":
        return _host()
    if name in _OTHERS:
        triple, model, features = _OTHERS[name]
        return CPU(model, features, triple)
    if name not in _LEVELS:
        raise ValueError(f"there is no CPU {name!r}; known are {', '.join(['host', *_LEVELS, *_OTHERS])}")
    features = ",".join(f"+{f}" for f in _LEVELS[name])
    triple = _host().triple if _host().arch == "x86_64" else "x86_64-unknown-linux-gnu"
    return CPU(name, _tuned(features), triple)


@functools.cache
@uninterrupted
def _host() -> CPU:
    return CPU(llvm.get_host_cpu_name(), _tuned(llvm.get_host_cpu_features().flatten()), llvm.get_process_triple())


def _tuned(features: str) -> str:
    """The features, with full vector width, which LLVM halves on CPUs that once lowered their clock for wide vectors; and
    without gathers for strided loads: from memory they run at a third of the speed of single loads, from a cache at half.
    """
    width = ",-prefer-256-bit" if "+avx512f" in features else ""
    gathers = ",+prefer-no-gather" if "+avx2" in features else ""
    return features + width + gathers


_selected: list[CPU] = []


def selected() -> CPU:
    """The CPU that this process generates code for. Raises ValueError if ``TRACER_CPU`` is unknown."""
    if not _selected:
        try:
            _selected.append(cpu_named(os.environ.get("TRACER_CPU") or "host"))
        except ValueError as e:
            raise ValueError(f"TRACER_CPU: {e}") from None
    return _selected[-1]


@contextmanager
def selecting(cpu: str | CPU) -> Iterator[CPU]:
    """Generates code for this CPU, or the CPU of that name, within the block."""
    _selected.append(cpu if isinstance(cpu, CPU) else cpu_named(cpu))
    try:
        yield _selected[-1]
    finally:
        _selected.pop()


class NotHere(RuntimeError):
    """Code is for a CPU that differs from this machine's."""


def check_runs_here(cpu: CPU) -> None:
    """Raises NotHere if this machine lacks instructions of the CPU."""
    host = _host()
    missing = [f for f in cpu.features.split(",") if f.startswith("+") and not host.has(f[1:])]
    if cpu.arch != host.arch:
        raise NotHere(f"this machine is {host.arch}: code for {cpu.arch} can be printed, not run")
    if missing:
        raise NotHere(f"this machine cannot run code for {cpu.name}: it lacks {', '.join(f[1:] for f in missing)}")


def target_machine(cpu: CPU, jit: bool = False) -> llvm.TargetMachine:
    """LLVM's code generator for the CPU."""
    return backend.target_machine(cpu.described, jit)
