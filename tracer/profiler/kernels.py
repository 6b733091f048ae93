"""What each kernel of a profile did: its operations, source lines, phase, bytes and floating-point operations."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ..ir.graph import Op, Value
from ..ir.location import Location
from ..ir.ops import contract, fusion, matmul
from ..ir.primitive import Kind
from ..runtime.programs.layout import steps_of
from ..runtime.programs.plan import Plan
from ..runtime.programs.timing import Timing
from ..tracing.graph_function import Executable
from .roof import roof

PHASES = ("forward", "backward", "optimizer")
_BACKWARD = (".backward", ".adjoint")


@dataclass
class Kernel:
    """One step of a program.

    name         of the kernel, or of the operation
    operations   the names of the primitives that it computes
    lines        the lines of the user's source, ``file:line``
    modules      the paths of the modules in whose calls these operations were recorded
    phase        forward, backward or optimizer; several, joined by ``+``, for a kernel with operations of each
    nanoseconds  of all calls
    nbytes       read and written by one call: all elements of its arrays, each once
    flops        floating-point operations of one call; each elementwise operation and each reduced element counts as one
    share        of the roof: the shortest time that the machine's measured limits allow, divided by the average time
    """

    function: str
    program: int
    step: int
    name: str
    operations: tuple[str, ...]
    lines: tuple[str, ...]
    modules: tuple[str, ...]
    phase: str
    calls: int
    nanoseconds: int
    nbytes: int
    flops: int
    dtype: str
    source: str
    result: str = ""

    @property
    def mean(self) -> float:
        """Nanoseconds of one call, on average."""
        return self.nanoseconds / self.calls if self.calls else 0.0

    @property
    def share(self) -> float:
        return roof().nanoseconds(self.nbytes, self.flops, self.dtype) / self.mean if self.mean else 0.0


def executables() -> dict[int, Executable]:
    """The compiled graphs of this process, by the identity of their plans."""
    found = {}
    for x in list(Executable.existing):
        with contextlib.suppress(AttributeError):  # it is being compiled
            found[id(x.program.plan)] = x
    return found


def kernels(timing: Timing) -> list[Kernel]:
    """The kernels that ran, with their times."""
    known = executables()
    found = []
    for number, (plan, record) in enumerate(zip(timing.programs, timing.records, strict=True)):
        if record[2]:
            counts = record[4:].reshape(-1, 2).tolist()
            found += list(_of_program(number, plan, counts, known.get(id(plan))))
    return found


def _of_program(number: int, plan: Plan, counts: list[list[int]], executable: Executable | None) -> Iterator[Kernel]:
    steps: list[Any] = steps_of(executable.fused) if executable is not None else []
    if len(steps) != len(plan.steps):
        steps = [None] * len(plan.steps)
    name = executable.graph.name if executable is not None else "native function"
    function, backward = name, False
    for suffix in _BACKWARD:
        if suffix in name:
            function, backward = name[: name.index(suffix)], True
    for i, (k, step) in enumerate(zip(plan.steps, steps, strict=True)):
        kind = plan.kinds[k]
        described: dict[str, Any] = {"operations": (), "lines": (), "modules": (), "phase": "", "nbytes": 0, "flops": 0}
        described["dtype"] = "f32"
        if step is not None:
            described = describe(*step)
        if backward:
            described["phase"] = "backward"
        calls, nanoseconds = counts[i]
        named = kind.name.removeprefix("@")  # of the first of several equal steps
        if step is not None and step[0].primitive is fusion:
            named = step[0].attrs["body"].name
        text = kind.source or kind.fallback
        yield Kernel(function, number, i, named, calls=calls, nanoseconds=nanoseconds, source=text, **described)


def describe(op: Op, arrays: Iterable[Value]) -> dict[str, Any]:
    """The properties of a step that its operation determines."""
    body = op.attrs["body"].ops if op.primitive is fusion else (op,)
    # Constants and movements may have come from elsewhere: equal ones are computed once.
    shown = [o for o in body if o.primitive.kind not in (Kind.MOVEMENT, Kind.SOURCE)] or body
    locs = [o.loc for o in shown if o.loc] or [op.loc]
    phases = {loc.phase for loc in locs if isinstance(loc, Location)}
    modules = [loc.module for loc in locs if isinstance(loc, Location) and loc.module]
    return {
        "operations": tuple(dict.fromkeys(o.primitive.name for o in shown)),
        "lines": tuple(dict.fromkeys(str(loc) for loc in locs if loc)),
        "modules": tuple(dict.fromkeys(modules)),
        "phase": "+".join(p for p in PHASES if p in phases),
        "nbytes": sum(v.type.nbytes for v in dict.fromkeys(arrays)),
        "flops": sum(map(_flops, body)),
        "dtype": op.results[0].dtype.short,
        "result": ", ".join(str(v.type) for v in op.results),
    }


def _flops(op: Op) -> int:
    if op.primitive is contract:
        return 2 * math.prod(op.attrs["extents"])
    if op.primitive is matmul:
        a = op.operands[0]
        return 2 * op.result.type.numel * a.shape[-2 if op.attrs["ta"] else -1]
    if op.primitive.kind is Kind.ELEMENTWISE:
        return op.result.type.numel
    if op.primitive.kind is Kind.REDUCTION:
        return op.operands[0].type.numel
    return 0
