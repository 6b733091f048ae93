"""The textual form of a graph. ``parse.parse_graph`` reads it back; the two are inverse to each other.

Source locations are comments, with paths relative to the current folder. An operation without a comment has the location
of the operation above it; an empty comment means that the location is unknown.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from . import location
from .graph import Graph, Op, Value

WIDTH = 120  # columns: longer lists of values are broken

Names = Mapping[Value, str]


def print_graph(graph: Graph, names: Names | None = None, locations: bool = True) -> str:
    """The text of a graph; ``names`` are those of its values, by default ``graph.names()``."""
    return _Printer(locations).graph(graph, graph.names() if names is None else names)


class _Printer:
    """Prints one graph. ``loc`` is the location of the operation that was printed last."""

    def __init__(self, locations: bool) -> None:
        self.locations, self.loc = locations, ""

    def graph(self, graph: Graph, names: Names) -> str:
        types = [str(v.type) for v in graph.outputs]
        result = types[0] if len(types) == 1 else _listed("(", types, ")", "")
        head = _listed(f"func @{graph.name}(", _typed(graph.inputs, names), f") -> {result} {{", "")
        return "\n".join([head, *self.body(graph, names, "  ", "return"), "}"]) + "\n"

    def body(self, graph: Graph, names: Names, indent: str, last: str) -> list[str]:
        lines: list[str] = []
        for op in graph.ops:
            lines += self.op(op, names, indent)
        returned = []
        for k, v in enumerate(graph.outputs):
            stored = f" -> %{names[graph.inputs[graph.updates[k]]]}" if k in graph.updates else ""
            returned.append(f"%{names[v]}{stored}")
        lines.append(_listed(f"{indent}{last} ", returned, "", indent).rstrip())
        return lines

    def op(self, op: Op, names: Names, indent: str) -> list[str]:
        comment = location.comment(op.loc, self.loc) if self.locations else None
        where = "" if comment is None else f"  # {comment}".rstrip()
        self.loc = op.loc
        results = ", ".join(_typed(op.results, names))
        operands = ", ".join(f"%{names[v]}" for v in op.operands)
        body = op.attrs.get("body")
        if isinstance(body, Graph):
            head = f"{indent}{results} = {op.primitive.name} @{body.name} {operands}".rstrip()
            inner, own = indent + "  ", body.names()
            inputs = _listed(f"{inner}(", _typed(body.inputs, own), "):", inner)
            return [f"{head} {{{where}", inputs, *self.body(body, own, inner, "yield"), f"{indent}}}"]
        defaults = op.primitive.defaults
        shown = {k: v for k, v in op.attrs.items() if k not in defaults or defaults[k] != v}
        attrs = f" {{{', '.join(f'{k}={_attr(v)}' for k, v in shown.items())}}}" if shown else ""
        return [f"{indent}{results} = {op.primitive.name} {operands}".rstrip() + attrs + where]


def _typed(values: Iterable[Value], names: Names) -> list[str]:
    return [f"%{names[v]}: {v.type}" for v in values]


def _listed(start: str, items: list[str], end: str, indent: str) -> str:
    """``start``, the items and ``end`` in one line, or broken between items if that is too long."""
    line = f"{start}{', '.join(items)}{end}"
    if len(line.partition("\n")[0]) <= WIDTH:
        return line
    lines = [start.rstrip()]
    more = indent + "    "
    at = more
    for k, item in enumerate(items):
        item += "," * (k < len(items) - 1)
        if len(at) + len(item) > WIDTH and at.strip():
            lines.append(at.rstrip())
            at = more
        at += item + " "
    lines.append(at.rstrip())
    if end:
        lines.append(indent + end)
    return "\n".join(lines)


def _attr(v: Any) -> str:
    if isinstance(v, str):
        return json.dumps(v)
    if isinstance(v, tuple):
        return f"({','.join(map(_attr, v))})"
    if isinstance(v, (bool, int, float)):
        return repr(v)
    if isinstance(v, complex):
        return f"complex({v.real!r},{v.imag!r})"
    raise TypeError(f"an attribute must be a number, a string or a tuple of them, not {v!r}")
