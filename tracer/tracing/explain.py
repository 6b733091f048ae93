"""The text of ``TracedFunction.explain``: arguments, guards, effects, times, and the tree of paths."""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.tensor import Tensor
from ..ir.markup import preformatted
from .kinds import CONTENTS, GROWTH, STATIC, contained
from .replay import Trace
from .tape import Decision, Gradient, Look
from .tree import Node, Tree

if TYPE_CHECKING:
    from .effects import Place
    from .ending import Ending
    from .facade import CacheInfo
    from .guards import Environment

_SHOWN = 12  # maximum listed names, and items of containers
_LINES = 60  # maximum lines of a tree


def arguments(function: Callable[..., Any], args: tuple, kwargs: dict) -> list[str]:
    """A line for each argument of a call: ``x: float32[3, 4], requires grad``."""
    try:
        bound = inspect.signature(function).bind(*args, **kwargs).arguments
    except (TypeError, ValueError):
        bound = {**{f"argument {i}": a for i, a in enumerate(args)}, **kwargs}
    return [f"{name}: {described(a)}" for name, a in bound.items()]


def described(x: Any, depth: int = 0) -> str:
    """The type of an argument, as a trace depends on it."""
    if isinstance(x, Tensor):
        more = ", requires grad" if x.requires_grad else ""
        more += "" if x._grad_fn is None else ", computed"
        return f"{x.dtype.name}{list(x.shape)}{more}"
    if isinstance(x, np.ndarray):
        return f"NumPy array {x.dtype}{list(x.shape)}"
    if type(x) is float:
        return "float"
    if isinstance(x, STATIC):
        text = repr(x)
        return f"{type(x).__name__} {text if len(text) <= 40 else text[:37] + '...'}" if x is not None else "None"
    if isinstance(x, dict) and depth < 3:
        pairs = list(contained(x))
        items = [f"{key!r}: {described(value, depth + 1)}" for key, value in pairs[:_SHOWN]]
        return f"{type(x).__name__} {{{', '.join(items)}{', ...' * (len(pairs) > _SHOWN)}}}"
    if isinstance(x, (list, tuple)) and depth < 3:
        held = list(contained(x))
        items = [described(item, depth + 1) for item in held[:_SHOWN]]
        return f"{type(x).__name__} ({', '.join(items)}{', ...' * (len(held) > _SHOWN)})"
    return type(x).__qualname__


def guards(environment: Environment) -> str:
    """The comparisons in every call, besides the arguments."""
    names = list(dict.fromkeys(name for name in environment.names if not name.startswith("__")))
    found = [f"the names {', '.join(names[:_SHOWN])}{', ...' * (len(names) > _SHOWN)}"] if names else []
    if environment.tensors:
        found.append(f"{len(environment.tensors)} tensors, by dtype, shape and requires_grad")
    return "; ".join([*found, "whether gradients are enabled, the default dtype and device"])


class Explanation(str):
    """The text of a report, which notebooks show as it is printed."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return preformatted(self)


def explained(
    name: str, traces: Sequence[Trace | Tree], info: CacheInfo, environment: Environment, reasons: Mapping[Any, str]
) -> str:
    """The report on a traced function: for each trace its graph or its tree, arguments, effects and times; ``reasons`` to run
    eagerly.
    """
    counts = f"{info.replays} replays, {info.recordings} recordings, {info.eager} other calls"
    lines = [f"{name}: {len(traces)} traces, {counts}"]
    lines += [f"  guards: {guards(environment)}"] if traces else []
    for n, trace in enumerate(traces):
        if isinstance(trace, Trace):
            head, body = _of_graph(trace), _effects(trace, len(trace.written), len(trace.all_grads), environment)
        else:
            head, body = _of_tree(trace), _shortened(_branches(trace, trace.root, environment))
        lines += [f"  trace {n}: {head}", *(f"    {argument}" for argument in trace.called_with)]
        lines += [f"    {_times(trace)}", *(f"    {line}" for line in body)]
        if isinstance(trace, Tree):
            lines += [f"    eager {why}" for why in trace.left]
    lines += [f"  eager: {reason}" for reason in dict.fromkeys(reasons.values())]
    return "\n".join(lines)


def _of_graph(trace: Trace) -> str:
    if trace.function.is_being_compiled:
        return f"{len(trace.graph.ops)} operations, which are being compiled in the background"
    try:
        steps = trace.executable.program.steps
    except Exception as e:  # the next call says so too, and how to report it
        return f"{len(trace.graph.ops)} operations, which cannot be compiled ({type(e).__name__})"
    different = len({step.source for step in steps})
    return f"{len(trace.graph.ops)} operations in {len(steps)} kernels ({different} different), one native call"


def _of_tree(tree: Tree) -> str:
    current = tree.joins.current
    what = (
        "however many elements its masks select"
        if current is not None and current.counts
        else "while Python reads the same values"
    )
    joined = "" if current is None else f" (one for the whole path, {what})"
    if tree.joins.failure:
        joined += f" (one for a whole path could not be compiled: {tree.joins.failure})"
    return f"{_count(tree.paths, 'path')}, {_count(tree.nodes, 'segment')}, {_count(len(tree.functions), 'program')}{joined}"


def _times(trace: Trace | Tree) -> str:
    compiled = sum(f.compiled_in for f in trace.functions)
    fastest = f", the fastest that was timed in {_duration(trace.fastest)}" if trace.fastest < math.inf else ""
    made = f"recorded in {_duration(trace.recorded_in)}, compiled in {_duration(compiled)}"
    return f"{made}, replayed {trace.replays} times{fastest}"


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n != 1)}"


def _duration(seconds: float) -> str:
    unit, scale = ("s", 1.0) if seconds >= 1 else ("ms", 1e3) if seconds >= 1e-3 else ("us", 1e6)
    return f"{seconds * scale:.3g} {unit}"


def _effects(done: Trace | Ending, updates: int, grads: int, environment: Environment) -> list[str]:
    """The observable changes of a replay."""
    counted = [
        (updates, "changes {} in place", "tensor"),
        (grads, "sets {}", "gradient"),
        (len(done.flags), "sets requires_grad of {}", "tensor"),
        (len(done.prints), "prints or logs {}", "time"),
    ]
    found = [text.format(_count(n, what)) for n, text, what in counted if n]
    places = list(dict.fromkeys(_write(place, environment) for place, _ in done.effects))
    found = [*places[:_SHOWN], *["..."] * (len(places) > _SHOWN), *found]
    return [f"effects: {'; '.join(found)}"] if found else []


def _write(place: Place, environment: Environment) -> str:
    holder = place.holder if place.slot is None else place.slot.holder
    if place.key is CONTENTS or place.key is GROWTH:
        what = "sets what is in" if place.key is CONTENTS else "adds to"
        return f"{what} {'an argument' if holder is None else environment.called(holder, '')}"
    return f"sets {f'{place.key!r} of an argument' if holder is None else environment.called(holder, place.key)}"


# The tree.


def _branches(tree: Tree, node: Node | None, environment: Environment) -> list[str]:
    """The segments from a node on, and the continuation for each observed value. Of several branches the longest comes last,
    at the node's own depth; consecutive equal segments are shown once, with their number.
    """
    sizes = _sizes(node)
    blocks: list[list[str]] = []
    while node is not None:
        block = _segment(tree, node, environment)
        children = sorted(node.children.items(), key=lambda item: sizes[id(item[1])])
        if len(children) == 1:
            what = _seen(tree, node, children[0][0])
            block.append(f"{node.span.event}: {what}" if what else str(node.span.event))
        elif children:
            block.append(f"{node.span.event}:")
            for seen, child in children[:-1]:
                block.append(f"  {_seen(tree, node, seen)}:")
                block += [f"    {line}" for line in _branches(tree, child, environment)]
            block.append(f"  {_seen(tree, node, children[-1][0])}: as follows")
        blocks.append(block)
        node = children[-1][1] if children else None
    lines = []
    for block, equal in itertools.groupby(blocks):
        n = len(list(equal))
        lines += block if n == 1 else [f"{n} times:", *(f"  {line}" for line in block)]
    return lines


def _sizes(root: Node | None) -> dict[int, int]:
    """The number of nodes in each node's subtree, by its id."""
    order = [root] if root is not None else []
    for node in order:
        order += node.children.values()
    sizes: dict[int, int] = {}
    for node in reversed(order):
        sizes[id(node)] = 1 + sum(sizes[id(child)] for child in node.children.values())
    return sizes


def _segment(tree: Tree, node: Node, environment: Environment) -> list[str]:
    """A node's operations, and how it ends."""
    lines = []
    if node.flushes and node.rows:
        lines.append(f"segment: {_program(tree, node)}")
    if node.closing is not None:
        ending = node.closing.ending
        lines += [*_effects(ending, len(ending.updates), len(ending.grads), environment), "the call ends"]
    if node.left:
        lines.append("from here on it runs eagerly")
    return lines


def _program(tree: Tree, node: Node) -> str:
    if node.function is None:
        return f"{_count(len(node.rows), 'operation')}, not compiled yet"
    executable = node.function.executable
    kernels = _count(len(executable.program.steps), "kernel")
    return f"program {tree.functions.index(node.function)}, {_count(len(node.rows), 'operation')} in {kernels}"


def _seen(tree: Tree, node: Node, seen: Any) -> str:
    """The value that Python read, as text."""
    event = node.span.event
    if isinstance(event, Gradient):
        return "no gradient" if seen is None else "a gradient"
    if seen is None:
        return ""
    if isinstance(event, Decision):
        return str(seen[-1])
    if not isinstance(event, Look) or event.truth:
        return str(seen)
    t = tree.type(node, event.value)
    if t.nbytes != len(seen):  # only a hash of the elements is stored
        return f"{t.numel} elements"
    return np.array2string(np.frombuffer(seen, t.dtype.numpy).reshape(t.shape), threshold=8, separator=", ").replace("\n", "")


def _shortened(lines: list[str]) -> list[str]:
    return lines if len(lines) <= _LINES else [*lines[:_LINES], f"... and {len(lines) - _LINES} more lines"]
