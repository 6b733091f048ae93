"""A program as plain data that a file can hold: kernels as text, steps, argument blocks, memory of values.

A plan is to a program what an object file is to code in memory. The argument blocks of all steps are one list of words.
Words that are addresses are listed as *relocations*, by their base: the arena, the constants, the cells where steps report
errors, or a function for products (``gemm_f32``). Addresses of inputs and results are *patches*, which are known at each call.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

from ...ir.types import TensorType, dtype_named

STATUS = 16  # bytes of a step's cell: the failed site, and the offending number


class StepKind(NamedTuple):
    """The common data of equal steps. Without a kernel, NumPy computes the step: the program calls back into Python."""

    name: str  # of the fusion, or of the primitive
    source: str  # the kernel's text; empty without one
    fallback: str  # a graph as text, which is evaluated if there is no kernel
    domain: int  # the kernel is called for parts of [0, domain)
    large: bool  # worth dividing among threads: at least ten times as long as waking them
    checks: list[list[str]]  # the names and messages of the exceptions it may raise, by site
    launch: tuple[int, ...] = ()  # on a GPU: blocks, and threads per block


@dataclass
class Plan:
    """The steps of a fused graph in order, and memory for every value."""

    inputs: list[TensorType]
    outputs: list[TensorType]
    updates: dict[int, int]
    device: str = "cpu"
    kinds: list[StepKind] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)  # the kind of each
    starts: list[int] = field(default_factory=list)  # start of its argument block among the words
    words: list[int] = field(default_factory=list)
    relocations: dict[str, list[int]] = field(default_factory=dict)  # the base, and the positions of the words
    patches: list[tuple[int, int, int]] = field(default_factory=list)  # position, slot, offset in bytes
    after: list[list[int]] = field(default_factory=list)  # on a GPU: the earlier steps that each must follow
    locs: dict[int, str] = field(default_factory=dict)  # source lines of steps that may fail
    arena: int = 0  # bytes
    constants: bytes = b""
    # The inputs and results that have been written when the last step that may fail runs.
    unsafe: list[int] = field(default_factory=list)
    unsafe_results: list[int] = field(default_factory=list)

    @property
    def results(self) -> list[int]:
        """The outputs that are not updates."""
        return [k for k in range(len(self.outputs)) if k not in self.updates]


def to_bytes(plan: Plan) -> bytes:
    """One line of JSON, then the constants."""
    head = {f.name: getattr(plan, f.name) for f in fields(Plan) if f.name != "constants"}
    for name in ("inputs", "outputs"):
        head[name] = [(t.dtype.short, t.shape, t.device) for t in head[name]]
    for name in ("updates", "locs"):  # JSON keys are strings
        head[name] = list(head[name].items())
    return json.dumps(head, separators=(",", ":")).encode() + b"\n" + plan.constants


def from_bytes(data: bytes) -> Plan:
    """Reads a plan. Raises ValueError for anything else."""
    head, _, constants = data.partition(b"\n")
    try:
        content: dict[str, Any] = json.loads(head)
        for name in ("inputs", "outputs"):
            content[name] = [TensorType(dtype_named(short), tuple(shape), device) for short, shape, device in content[name]]
        for name in ("updates", "locs"):
            content[name] = dict(content[name])
        content["patches"] = [(position, slot, further) for position, slot, further in content["patches"]]
        content["kinds"] = [StepKind(*row)._replace(launch=tuple(row[-1])) for row in content["kinds"]]
        return Plan(**content, constants=constants)
    except (KeyError, TypeError, AttributeError) as e:
        raise ValueError(f"not a plan: {e!r}") from e
