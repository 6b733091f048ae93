"""Inspection of the dynamic graph: edges, hooks, and pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from ..core.context import SPECIAL, context
from ..core.tensor import Tensor
from .edges import GradientEdge, get_gradient_edge
from .engine import running
from .hooks import RemovableHandle, register
from .node import BackwardNode as Node
from .node import walk

__all__ = [
    "GradientEdge",
    "Node",
    "disable_saved_tensors_hooks",
    "get_gradient_edge",
    "increment_version",
    "register_multi_grad_hook",
    "save_on_cpu",
    "saved_tensors_hooks",
    "to_dot",
    "to_svg",
]


class saved_tensors_hooks:
    """In this block, tensors that operations save for a backward pass go through ``pack_hook``, and back through
    ``unpack_hook``.
    """

    def __init__(self, pack_hook: Callable[[Tensor], Any], unpack_hook: Callable[[Any], Tensor]):
        if not (callable(pack_hook) and callable(unpack_hook)):
            raise TypeError("saved_tensors_hooks(): arguments 'pack_hook' and 'unpack_hook' must be callable")
        self.hooks = (pack_hook, unpack_hook)

    def __enter__(self) -> None:
        if context.hooks_disabled is not None:
            raise RuntimeError(context.hooks_disabled)
        if context.recorder is not None:
            context.recorder.give_up("uses saved-tensors hooks")
        context.saved_tensors_hooks = (*context.saved_tensors_hooks, self.hooks)
        SPECIAL.append(self)

    def __exit__(self, *exception: object) -> None:
        SPECIAL.remove(self)
        context.saved_tensors_hooks = context.saved_tensors_hooks[:-1]


class save_on_cpu(saved_tensors_hooks):
    """In this block, tensors saved for a backward pass are kept as copies in main memory."""

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda"):
        super().__init__(lambda t: t.detach().clone(), lambda t: t)


@contextmanager
def disable_saved_tensors_hooks(error_message: str) -> Iterator[None]:
    """In this block saved-tensors hooks raise RuntimeError with this message."""
    if context.saved_tensors_hooks:
        raise RuntimeError(error_message)
    before, context.hooks_disabled = context.hooks_disabled, error_message
    try:
        yield
    finally:
        context.hooks_disabled = before


def increment_version(tensor: Tensor | Iterable[Tensor]) -> None:
    """Marks tensors as changed in place."""
    for t in (tensor,) if isinstance(tensor, Tensor) else tensor:
        t._changes()[0] += 1


class _Handles:
    """Removes several hooks."""

    def __init__(self, handles: Sequence[RemovableHandle]):
        self.handles = tuple(handles)

    def remove(self) -> None:
        for handle in self.handles:
            handle.remove()

    def __enter__(self) -> _Handles:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


def register_multi_grad_hook(tensors: Sequence[Tensor], fn: Callable[..., None], *, mode: str = "all") -> _Handles:
    """Calls ``fn`` in each backward pass when the gradients of ``tensors`` are known.

    ``mode`` "all": calls it once all gradients that the pass computes are known, with a list of them and None for the
    others. "any": calls it with the first gradient; tensors that require no gradient are ignored. Returns a handle whose
    ``remove()`` removes the hook. Raises AssertionError in mode "all" for a tensor that requires no gradient.
    """
    if mode not in ("all", "any"):
        raise ValueError(f"Expects mode to be one of ('all', 'any') but got {mode}")
    if mode == "any":
        tensors = [t for t in tensors if t.requires_grad]
    elif not all(t.requires_grad for t in tensors):
        raise AssertionError("register_multi_grad_hook(): argument 'tensors' must hold tensors that require gradients")
    several = _Several([t._node() or t for t in tensors], fn, mode == "any")
    return _Handles([register(t, partial(several, i)) for i, t in enumerate(tensors)])


class _Several:
    """A hook on the gradients of several tensors, whose places in the graph are ``targets``."""

    def __init__(self, targets: Sequence[Any], fn: Callable[..., None], any_: bool):
        self.targets, self.fn, self.any = targets, fn, any_

    def __call__(self, i: int, gradient: Tensor) -> None:
        """The gradient of tensor ``i`` is known."""
        engine = running()
        assert engine is not None
        if self.any:
            if self not in engine.gathered:
                engine.gathered[self] = 0, []
                self.fn(gradient)
            return
        if self not in engine.gathered:
            engine.gathered[self] = sum([engine.executes(t) for t in self.targets]), [None] * len(self.targets)
        missing, gradients = engine.gathered[self]
        gradients[i] = gradient
        engine.gathered[self] = missing - 1, gradients
        if missing == 1:
            self.fn(gradients)


def _layers(t: Tensor) -> tuple[list[Node], list[tuple[Any, Any]]]:
    """The nodes behind a tensor, latest first, and (node, source of its operand) for every edge."""
    root = t._node()
    if root is None:
        raise ValueError("the tensor has no graph: it was not computed from tensors that require gradients")
    nodes = sorted(walk(root), key=lambda n: -n.sequence)
    edges = [(n, target) for n in nodes for target in n.edges[::3] if target is not None]
    return nodes, edges


def _label(x: Any, names: Mapping[int, str]) -> str:
    if isinstance(x, Tensor):
        return f"{names.get(id(x), 'leaf')} {list(x.shape)}"
    return x.name()


def to_dot(t: Tensor, params: Mapping[str, Tensor] | None = None) -> str:
    """The graph behind ``t`` in Graphviz's language; ``params`` names leaves."""
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
    """The graph behind ``t`` as an SVG picture: each node is below those that read its results."""
    from html import escape

    names = {id(p): name for name, p in (params or {}).items()}
    nodes, edges = _layers(t)
    depth: dict[int, int] = {}
    for a, b in edges:  # latest first: a node follows all nodes that read it
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
