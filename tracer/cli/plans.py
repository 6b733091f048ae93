"""The plan of a program as text: its steps, and the memory of all values."""

from __future__ import annotations

from typing import Any

from ..ir.graph import Graph, Value
from ..runtime.programs.layout import Layout


def plan_of(fused: Graph, device: str) -> tuple[str, dict[str, Any]]:
    """The plan of a fused graph for a device, as text and as data."""
    layout = Layout(fused, device)
    layout.write()
    plan, names = layout.plan, fused.names()
    steps = []
    for i, step in enumerate(layout.steps):
        kind = plan.kinds[step.kind]
        size = sum(v.type.nbytes for v in dict.fromkeys(step.arrays))
        runs = "NumPy" if not kind.source and device == "cpu" else "a library" if not kind.source else f"domain {kind.domain}"
        runs += ", several threads" if kind.large else ""
        runs += f", {kind.launch[0]} x {kind.launch[1]} threads" if kind.launch else ""
        steps.append(
            {
                "step": i,
                "kernel": kind.name.removeprefix("@"),
                "reads": [_name(v, names) for v in step.op.operands],
                "writes": [_name(v, names) for v in step.op.results],
                "bytes": size,
                "runs": runs,
                "may_fail": i in plan.locs,
                "location": str(step.op.loc),
            }
        )
    uses = _uses(layout)
    buffers = [_buffer(layout, v, names, uses.get(layout.root(v), [])) for v in _values(layout)]
    total = {"arena": plan.arena, "constants": len(plan.constants), "kinds": len(plan.kinds)}
    text = "\n".join(
        [
            f"# {len(steps)} steps of {len(plan.kinds)} kinds; arena {plan.arena} bytes, constants {len(plan.constants)} bytes",
            "",
            *_table(("step", "kernel", "bytes", "runs", "writes", "reads"), steps),
            "",
            *_table(("value", "type", "memory", "bytes", "steps"), buffers),
        ]
    )
    return text + "\n", {"steps": steps, "buffers": buffers, **total}


def _name(v: Value, names: dict[Value, str]) -> str:
    return f"%{names.get(v, v.name or '_')}"


def _values(layout: Layout) -> list[Value]:
    """All values with memory, in the order of their first use."""
    graph = layout.graph
    found = dict.fromkeys(graph.inputs)
    for op in graph.ops:
        found.update(dict.fromkeys(op.results))
    for step in layout.steps:
        found.update(dict.fromkeys(step.arrays))
    return list(found)


def _uses(layout: Layout) -> dict[Value, list[int]]:
    """The steps that read or write each value."""
    uses: dict[Value, list[int]] = {}
    for i, step in enumerate(layout.steps):
        for root in dict.fromkeys(layout.root(v) for v in (*step.op.operands, *step.op.results)):
            uses.setdefault(root, []).append(i)
    return uses


def _buffer(layout: Layout, v: Value, names: dict[Value, str], uses: list[int]) -> dict[str, Any]:
    base, where, offset = layout.place(v)
    inputs = len(layout.plan.inputs)
    if base != "slot":
        memory = f"{base} + {where + offset}"
    elif where < inputs:
        memory = f"input %{names[layout.graph.inputs[where]]}"
    else:
        memory = f"result {layout.plan.results[where - inputs]}"
    lifetime = "" if not uses else f"{uses[0]}" if uses[0] == uses[-1] else f"{uses[0]}-{uses[-1]}"
    return {"value": _name(v, names), "type": str(v.type), "memory": memory, "bytes": v.type.nbytes, "steps": lifetime}


_WIDE = 60  # columns


def _table(columns: tuple[str, ...], rows: list[dict[str, Any]]) -> list[str]:
    """Lines with aligned columns; numbers are aligned at the right."""
    cells = [[", ".join(x) if isinstance(x := row[c], list) else str(x) for c in columns] for row in rows]
    right = [any(isinstance(row[c], int) for row in rows) for c in columns]
    widths = [min(_WIDE, max([len(c), *(len(row[k]) for row in cells)])) for k, c in enumerate(columns)]

    def line(row: list[str]) -> str:
        texts = [x.rjust(w) if r else x.ljust(w) for x, w, r in zip(row, widths, right, strict=True)]
        return "  ".join(texts).rstrip()

    return [line(list(columns)), *map(line, cells)]
