"""Where a program runs: on the CPU, or on the device of its inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..runtime.devices import device_of

if TYPE_CHECKING:
    from ..ir.graph import Graph
    from ..runtime.devices import Device


@dataclass(frozen=True)
class Placement:
    """The device of a program, None for the CPU, and the inputs that are on the CPU nevertheless (numbers, counts of steps)."""

    device: Device | None = None
    on_host: frozenset[int] = frozenset()

    @staticmethod
    def of(devices: Sequence[Device | None], device: Device | None) -> Placement:
        """For inputs on these devices, and results on ``device``."""
        return CPU if device is None else Placement(device, frozenset(i for i, d in enumerate(devices) if d is None))

    def of_some(self, inputs: Sequence[int]) -> Placement:
        """That of a program whose first inputs are some of these."""
        return replace(self, on_host=frozenset(k for k, i in enumerate(inputs) if i in self.on_host)) if self.on_host else self

    def holds(self, i: int, array: Any) -> bool:
        """Whether an array is where input ``i`` is expected."""
        return device_of(array) is (None if i in self.on_host else self.device)

    def program(self, graph: Graph) -> Any:
        """The program of a graph, compiled."""
        if self.device is None:
            from ..runtime.programs.planned import planned
            from ..runtime.programs.program import Program  # imports llvmlite: only when something is compiled

            return Program(planned(graph))
        from ..runtime.devices.apply import plan
        from ..runtime.devices.program import DeviceProgram

        return DeviceProgram(plan(graph, self.device), self.device, self.on_host)


CPU = Placement()
