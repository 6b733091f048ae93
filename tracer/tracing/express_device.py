"""The part of a generated replay that runs a program on a device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..runtime.devices import DeviceError, address_on, device_of
from ..runtime.forks import reentrant_lock
from ..runtime.support import objects

if TYPE_CHECKING:
    from .express import _Writer


def check(writer: _Writer, k: int, data: Any) -> None:
    """Checks the array of tensor ``k`` of the call, and names its address ``w`` and the number."""
    kind = f"{writer.constant(data.device)}, {data.shape!r}, {writer.constant(data.dtype)}"
    writer.say(f"w{k} = {writer.constant(address_on)}(d{k}, {kind})")
    writer.require(f"w{k}")


def program(writer: _Writer, made: int, gradients: Mapping[str, str]) -> None:
    """The call of the program, with ``made`` results. Gradients that are only replaced are released before the call, so that
    their memory can be used again.
    """
    trace, run = writer.trace, writer.trace.executable.program.run
    numbers = [(i, source.index) for i, source in enumerate(trace.sources) if source.kind == "float"]
    cells = {i: f"cells_at + {8 * k}" for k, (i, _) in enumerate(numbers)}
    if numbers:
        values = ", ".join(writer.value(v) for _, v in numbers)
        writer.say(f"try: cells = {writer.constant(np.array)}([{values}], {writer.constant(np.float64)})")
        writer.say("except OverflowError: return MISS")
        writer.say(f"cells_at = {writer.constant(objects.address)}(cells)")
    writer.say(f"with {writer.constant(reentrant_lock())}:" if gradients else "if True:")
    if not trace.executable.program.may_fail:
        for t in dict.fromkeys([*map(writer.owner, trace.early), *map(writer.owner, trace.fixed_early)]):
            writer.say(f"{t}._grad = None", 2)
    writer.say(f"try: r = {writer.constant(run)}([{', '.join(_addresses(writer, cells))}])", 2)
    writer.say(f"except {writer.constant(DeviceError)}: raise", 2)
    writer.say(f"except {writer.constant((IndexError, RuntimeError, MemoryError))}: return MISS", 2)
    for j in range(made):
        writer.say(f"o{j} = new(Tensor); o{j}._data = r[{j}]; o{j}._counter = UNCHANGED", 2)
    writer.count_changes()


def _addresses(writer: _Writer, cells: Mapping[int, str]) -> list[str]:
    """The addresses of the program's inputs. ``cells``: those of numbers."""
    trace, found = writer.trace, []
    for i, source in enumerate(trace.sources):
        if source.kind == "argument":
            on_device = device_of(trace.fetch(i, writer.call)._data) is not None
            found.append(f"w{source.index}" if on_device else f"{writer.constant(objects.address)}(d{source.index})")
        elif source.kind == "array":
            found.append(f"{writer.constant(objects.address)}({writer.value(source.index)})")
        else:
            found.append(cells.get(i, f"{writer.constant(trace.addresses)}[{i}]"))
    return found
