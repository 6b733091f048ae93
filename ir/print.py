"""The textual form of a graph. ``parse.parse_graph`` reads it back; the two are inverse to each other."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from .graph import Graph, Op, Value


def print_graph(graph: Graph) -> str:
    names = graph.names()
    types = [str(v.type) for v in graph.outputs]
    result = types[0] if len(types) == 1 else f"({', '.join(types)})"
    head = f"func @{graph.name}({_typed(graph.inputs, names)}) -> {result} {{"
    return "\n".join([head, *_body(graph, names, "  ", "return"), "}"]) + "\n"


Names = Mapping[Value, str]


def _typed(values: Iterable[Value], names: Names) -> str:
    return ", ".join(f"%{names[v]}: {v.type}" for v in values)


def _body(graph: Graph, names: Names, indent: str, last: str) -> list[str]:
    lines: list[str] = []
    for op in graph.ops:
        lines += _op(op, names, indent)
    returned = []
    for k, v in enumerate(graph.outputs):
        stored = f" -> %{names[graph.inputs[graph.updates[k]]]}" if k in graph.updates else ""
        returned.append(f"%{names[v]}{stored}")
    lines.append(f"{indent}{last} {', '.join(returned)}".rstrip())
    return lines


def _op(op: Op, names: Names, indent: str) -> list[str]:
    results = _typed(op.results, names)
    operands = ", ".join(f"%{names[v]}" for v in op.operands)
    loc = f"  # {op.loc}" if op.loc else ""
    body = op.attrs.get("body")
    if isinstance(body, Graph):
        head = f"{indent}{results} = {op.primitive.name} @{body.name} {operands}".rstrip()
        inner, own = indent + "  ", body.names()
        lines = [f"{inner}({_typed(body.inputs, own)}):", *_body(body, own, inner, "yield")]
        return [f"{head} {{{loc}", *lines, f"{indent}}}"]
    defaults = op.primitive.defaults
    shown = {k: v for k, v in op.attrs.items() if k not in defaults or defaults[k] != v}
    attrs = f" {{{', '.join(f'{k}={_attr(v)}' for k, v in shown.items())}}}" if shown else ""
    return [f"{indent}{results} = {op.primitive.name} {operands}".rstrip() + attrs + loc]


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
