"""The part of a generated replay that runs a program on a device."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..runtime.devices import DeviceArray, DeviceError
from ..runtime.devices.array import ALIGNED
from ..runtime.support import objects

if TYPE_CHECKING:
    from ..runtime.devices import Device
    from .express import _Writer


def check(writer: _Writer, k: int, data: DeviceArray) -> None:
    """Checks the array of tensor ``k`` of the call, and names its address ``w`` and the number."""
    kind = f"{writer.constant(data.device)}, {data.shape!r}, {writer.constant(data.dtype)}"
    writer.say(f"w{k} = {writer.constant(_place_of)}(d{k}, {kind})")
    writer.require(f"w{k}")


def _place_of(data: Any, device: Device, shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """The address of an array on a device, as a kernel expects it; 0 for any other array."""
    if data.__class__ is not DeviceArray or data.memory.device is not device:
        return 0
    layout = data.layout
    where = objects.address(layout)
    fits = layout.shape == shape and layout.dtype is dtype and layout.flags.c_contiguous and not where % ALIGNED
    return where if fits else 0


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
    writer.say(f"with {writer.constant(threading.RLock())}:" if gradients else "if True:")
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
            on_device = isinstance(trace.fetch(i, writer.call)._data, DeviceArray)
            found.append(f"w{source.index}" if on_device else f"{writer.constant(objects.address)}(d{source.index})")
        elif source.kind == "array":
            found.append(f"{writer.constant(objects.address)}({writer.value(source.index)})")
        else:
            found.append(cells.get(i, f"{writer.constant(trace.addresses)}[{i}]"))
    return found
