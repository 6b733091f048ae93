"""The dynamic graph, to look at: saved-tensors hooks, and a picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..context import context
from ..tensor import Tensor
from .node import BackwardNode, walk

__all__ = ["saved_tensors_hooks", "to_dot", "to_svg"]


class saved_tensors_hooks:
    """In this block what operations save for a backward pass goes through ``pack_hook``, and back through ``unpack_hook``."""

    def __init__(self, pack_hook: Callable[[Tensor], Any], unpack_hook: Callable[[Any], Tensor]):
        self.hooks = (pack_hook, unpack_hook)

    def __enter__(self) -> None:
        if context.recorder is not None:
            context.recorder.give_up("uses saved-tensors hooks")
        context.saved_tensors_hooks = (*context.saved_tensors_hooks, self.hooks)

    def __exit__(self, *exception: object) -> None:
        context.saved_tensors_hooks = context.saved_tensors_hooks[:-1]


def _layers(t: Tensor) -> tuple[list[BackwardNode], list[tuple[Any, Any]]]:
    """The nodes behind a tensor, latest first, and (node, what its operand was made by) for every edge."""
    if t.grad_fn is None:
        raise ValueError("the tensor has no graph: it was not computed from tensors that require gradients")
    nodes = sorted(walk(t.grad_fn), key=lambda n: -n.sequence)
    edges = [(n, target) for n in nodes for target in n.edges[::3] if target is not None]
    return nodes, edges


def _label(x: Any, names: Mapping[int, str]) -> str:
    if isinstance(x, Tensor):
        return f"{names.get(id(x), 'leaf')} {list(x.shape)}"
    return x.name()


def to_dot(t: Tensor, params: Mapping[str, Tensor] | None = None) -> str:
    """The graph behind ``t`` in Graphviz's language; ``params`` gives names to leaves."""
    names = {id(p): name for name, p in (params or {}).items()}
    nodes, edges = _layers(t)
    things = list(dict.fromkeys([*nodes, *(e[1] for e in edges)]))
    number = {id(x): k for k, x in enumerate(things)}
    lines = ["digraph {", "  rankdir=BT;"]
    for x in things:
        shape = "box, style=filled, fillcolor=lightblue" if isinstance(x, Tensor) else "ellipse"
        lines.append(f'  n{number[id(x)]} [label="{_label(x, names)}", shape={shape}];')
    lines += [f"  n{number[id(b)]} -> n{number[id(a)]};" for a, b in edges]
    return "\n".join([*lines, "}"])


def to_svg(t: Tensor, params: Mapping[str, Tensor] | None = None) -> str:
    """The graph behind ``t`` as a picture: each node below those that read its results."""
    from html import escape

    names = {id(p): name for name, p in (params or {}).items()}
    nodes, edges = _layers(t)
    depth: dict[int, int] = {}
    for a, b in edges:  # latest first: a node comes after all that read it
        depth[id(b)] = max(depth.get(id(b), 0), depth.get(id(a), 0) + 1)
    rows: dict[int, list[Any]] = {}
    for x in dict.fromkeys([*nodes, *(e[1] for e in edges)]):
        rows.setdefault(depth.get(id(x), 0), []).append(x)
    width = 180 * max(map(len, rows.values()))
    place = {id(x): ((k + 0.5) * width / len(row), 40 + 70 * d) for d, row in rows.items() for k, x in enumerate(row)}
    height = 70 * (max(rows) + 1) + 20
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif">']
    for a, b in edges:
        (x1, y1), (x2, y2) = place[id(b)], place[id(a)]
        parts.append(f'<line x1="{x1:.0f}" y1="{y1 - 15:.0f}" x2="{x2:.0f}" y2="{y2 + 15:.0f}" stroke="gray"/>')
    for row in rows.values():
        for x in row:
            cx, cy = place[id(x)]
            label = escape(_label(x, names))
            fill = "lightblue" if isinstance(x, Tensor) else "white"
            parts.append(
                f'<rect x="{cx - 80:.0f}" y="{cy - 15:.0f}" width="160" height="30" rx="6" fill="{fill}" stroke="black"/>'
                f'<text x="{cx:.0f}" y="{cy + 4:.0f}" font-size="11" text-anchor="middle">{label}</text>'
            )
    return "".join([*parts, "</svg>"])
