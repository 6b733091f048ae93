"""Graphs as pictures: in Graphviz's language, and as SVG."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from ..ir.graph import Graph, Op, Value
from ..ir.location import origin_of, relative
from ..ir.primitive import Kind
from .errors import CommandError

_COLOURS = {
    Kind.CONTRACTION: "#fde2c8",
    Kind.FUSION: "#d5e8fa",
    Kind.REDUCTION: "#e3f3d9",
    Kind.MOVEMENT: "#f3f3f3",
    Kind.SOURCE: "#f3f3f3",
}
_HEAD = """\
  rankdir=TB;
  node [shape=box, style="filled,rounded", fillcolor=white, fontname="monospace", fontsize=10, margin="0.08,0.04"];
  edge [fontname="monospace", fontsize=8, color="#555555", arrowsize=0.6];
"""


def dot(graphs: Iterable[Graph]) -> str:
    """The graphs in Graphviz's language: a box for each operation, an edge for each value. Constants are not drawn."""
    parts = [_one(graph, f"g{k}") for k, graph in enumerate(graphs)]
    return "digraph {\n" + _HEAD + "".join(parts) + "}\n"


def _one(graph: Graph, prefix: str) -> str:
    names = graph.names()
    lines = [f"  subgraph cluster_{prefix} {{", f"    label={_quoted(f'@{graph.name}')}; color=none; fontname=monospace;"]
    node: dict[Value, str] = {}
    read = {v for op in graph.ops for v in op.operands} | set(graph.outputs)
    for i, v in enumerate(graph.inputs):
        if v in read:
            node[v] = f"{prefix}_in{i}"
            label = f"%{names[v]}\n{v.type}"
            lines.append(f'    {node[v]} [label={_quoted(label)}, shape=ellipse, style=filled, fillcolor="#fff7cc"];')
    for i, op in enumerate(graph.ops):
        if op.primitive.kind is Kind.SOURCE and not op.operands:
            continue
        node.update(dict.fromkeys(op.results, f"{prefix}_{i}"))
        colour = _COLOURS.get(op.primitive.kind, "white")
        label, note = _label(op, names), _note(op)
        lines.append(f'    {prefix}_{i} [label={_quoted(label)}, fillcolor="{colour}", tooltip={_quoted(note)}];')
        for v in dict.fromkeys(op.operands):
            if v in node:
                lines.append(f"    {node[v]} -> {prefix}_{i} [label={_quoted(str(v.type) if v.op is not None else '')}];")
    for k, v in enumerate(graph.outputs):
        target = f"\nupdates %{names[graph.inputs[graph.updates[k]]]}" if k in graph.updates else ""
        label = f"result {k}{target}"
        lines.append(f'    {prefix}_out{k} [label={_quoted(label)}, shape=ellipse, style=filled, fillcolor="#e8ddf5"];')
        if v in node:
            lines.append(f"    {node[v]} -> {prefix}_out{k};")
    return "\n".join([*lines, "  }"]) + "\n"


def _label(op: Op, names: dict[Value, str]) -> str:
    body = op.attrs.get("body")
    head = f"{op.primitive.name} @{body.name}" if isinstance(body, Graph) else op.primitive.name
    results = ", ".join(f"%{names[v]}: {v.type}" for v in op.results[:3]) + ", ..." * (len(op.results) > 3)
    return f"{head}\n{results}"


def _note(op: Op) -> str:
    """The operations of a fusion, and the source line."""
    body = op.attrs.get("body")
    inner = [o.primitive.name for o in body.ops] if isinstance(body, Graph) else []
    where = f"{relative(op.loc)} {origin_of(op.loc)}".strip()
    return "\n".join(filter(None, [where, ", ".join(inner)])) or op.primitive.name


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def svg(text: str) -> str:
    """A picture of a graph in Graphviz's language, laid out by Graphviz."""
    try:
        import pygraphviz
    except ImportError:
        raise CommandError("the format 'svg' needs pygraphviz: pip install 'tracer[graphs]'") from None
    logging.getLogger("pygraphviz").setLevel(logging.ERROR)
    drawn: bytes = pygraphviz.AGraph(string=text).draw(format="svg", prog="dot")
    return drawn.decode()
