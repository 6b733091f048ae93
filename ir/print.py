"""The textual form of a graph. ``parse.parse_graph`` reads it back; the two are inverse to each other."""

from __future__ import annotations

import json
from typing import Any

from .graph import Graph, Op, Value


def print_graph(graph: Graph) -> str:
    params = ", ".join(_typed(v) for v in graph.inputs)
    types = [str(v.type) for v in graph.outputs]
    result = types[0] if len(types) == 1 else f"({', '.join(types)})"
    lines = [f"func @{graph.name}({params}) -> {result} {{", *_body(graph, "  ", "return"), "}"]
    return "\n".join(lines) + "\n"


def _typed(v: Value) -> str:
    return f"%{v.name}: {v.type}"


def _body(graph: Graph, indent: str, last: str) -> list[str]:
    lines: list[str] = []
    for op in graph.ops:
        lines += _op(op, indent)
    returned = []
    for k, v in enumerate(graph.outputs):
        stored = f" -> %{graph.inputs[graph.updates[k]].name}" if k in graph.updates else ""
        returned.append(f"%{v.name}{stored}")
    lines.append(f"{indent}{last} {', '.join(returned)}".rstrip())
    return lines


def _op(op: Op, indent: str) -> list[str]:
    results = ", ".join(_typed(v) for v in op.results)
    operands = ", ".join(f"%{v.name}" for v in op.operands)
    loc = f"  # {op.loc}" if op.loc else ""
    body = op.attrs.get("body")
    if isinstance(body, Graph):
        head = f"{indent}{results} = {op.primitive.name} @{body.name} {operands}".rstrip()
        params = ", ".join(_typed(v) for v in body.inputs)
        inner = indent + "  "
        return [f"{head} {{{loc}", f"{inner}({params}):", *_body(body, inner, "yield"), f"{indent}}}"]
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
    raise TypeError(f"an attribute is a number, a string or a tuple of them, not {v!r}")
