"""A joint graph as two: the forward graph also returns the values that the backward graph reads.

The cost decides which values are saved: products, reductions and indexed reads are. Elementwise operations, movements, and
large products of thin matrices are recomputed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..ir.graph import Builder, Graph, Op, Rewriter, Value
from ..ir.interp import Build, using
from ..ir.ops import broadcast, check_index, full, reshape, slice_, slice_update
from ..ir.passes.divide import is_thin
from ..ir.primitive import Kind
from ..ir.types import TensorType

_DEAR = (Kind.CONTRACTION, Kind.REDUCTION, Kind.INDEXING)


def split(joint: Graph, graph: Graph, unsaved: Sequence[int] = (), recompute: bool = True) -> tuple[Graph, Graph, list[int]]:
    """Splits a joint graph: a forward graph that also returns the saved values, and a backward graph, which recomputes cheap
    values if ``recompute``.

    Returns both, and the positions of the inputs that the backward graph reads. Its inputs are those, the saved values, and
    the cotangents. Inputs in ``unsaved`` may have changed by then, because eager autograd reads none of them.
    """
    n, m = len(graph.inputs), len(graph.outputs)
    cotangents = joint.inputs[n:]
    after: set[Value] = set(cotangents)
    for op in joint.ops:
        if any(v in after for v in op.operands):
            after.update(op.results)
    results = joint.outputs[m:]
    # An input that the forward run overwrites no longer exists: its old value is saved like a computed one.
    overwritten = {joint.inputs[i] for i in (*graph.updates.values(), *unsaved)}
    needed = _needed(joint, results, after)
    inputs = set(joint.inputs) - overwritten
    if recompute:
        kept = _kept(needed, joint, overwritten)
    else:
        kept = list(dict.fromkeys(v for v in map(_before_views, needed) if v not in inputs and not _is_constant(v)))

    forward = Rewriter(joint, graph.name)
    forward.builder.inputs = forward.builder.inputs[:n]
    checks = [op.results[0] for op in joint.ops if op.primitive is check_index and op.results[0] not in after]
    wanted = _ancestors(joint, [*joint.outputs[:m], *kept, *checks])
    for op in joint.ops:
        if op in wanted:
            forward.copy(op)
    packs = _packs(kept) if recompute else []
    packed = {v for pack in packs for v in pack}
    single = [v for v in kept if v not in packed]
    outs = [forward.map[v] for v in (*joint.outputs[:m], *single)]
    with using(Build(forward.builder)):
        outs += [_pack([forward.map[v] for v in pack]) for pack in packs]
    fore = forward.builder.finish(outs, graph.updates)

    backward = Builder(f"{graph.name}.backward")
    wanted = _ancestors(joint, results, stop=set(kept))
    reads = [i for i, v in enumerate(joint.inputs[:n]) if v not in kept and any(v in op.operands for op in wanted)]
    reads += [i for i, v in enumerate(joint.inputs[:n]) if v in results and i not in reads and v not in kept]
    env: dict[Value, Value] = {}
    for v in (*(joint.inputs[i] for i in reads), *single):
        env[v] = backward.input(v.type, v.name)
    arrays = [backward.input(pack[0].type.with_shape((len(pack), *pack[0].shape))) for pack in packs]
    for v in cotangents:
        env[v] = backward.input(v.type, v.name)
    with using(Build(backward)):
        for pack, array in zip(packs, arrays, strict=True):
            env.update((v, _unpacked(array, i)) for i, v in enumerate(pack))
    for op in joint.ops:
        if op in wanted:
            made = backward.append(op.primitive, [env[v] for v in op.operands], op.attrs, op.loc)
            env.update(zip(op.results, made, strict=True))
    return fore, backward.finish([env[v] for v in results]), reads


_MANY = 8  # small saved values of one type are saved as one array
_SMALL = 1 << 13  # bytes


def _packs(kept: Sequence[Value]) -> list[list[Value]]:
    """The values that are saved as one array: each array that a program returns takes some tenths of a microsecond."""
    alike: dict[TensorType, list[Value]] = {}
    for v in kept:
        if 0 < v.type.nbytes <= _SMALL:
            alike.setdefault(v.type, []).append(v)
    return [values for values in alike.values() if len(values) >= _MANY]


def _pack(values: Sequence[Value]) -> Value:
    """One array of values of one type."""
    (t, *_) = [v.type for v in values]
    whole = full(value=0, shape=(len(values), *t.shape), dtype=t.dtype.short)
    for i, v in enumerate(values):
        part = {"starts": (i, *(0 for _ in t.shape)), "stops": (i + 1, *t.shape), "steps": (1,) * (1 + len(t.shape))}
        whole = slice_update(whole, reshape(v, shape=(1, *t.shape)), **part)
    return whole


def _unpacked(whole: Value, i: int) -> Value:
    """Value ``i`` of such an array."""
    shape = whole.shape[1:]
    part = slice_(whole, starts=(i, *(0 for _ in shape)), stops=(i + 1, *shape), steps=(1,) * (1 + len(shape)))
    return reshape(part, shape=shape)


def _needed(joint: Graph, results: Sequence[Value], after: set[Value]) -> list[Value]:
    """The values known before the cotangents that later operations read, in order."""
    useful = _ancestors(joint, results)
    found = [v for op in joint.ops if op in useful and op.results[0] in after for v in op.operands if v not in after]
    return list(dict.fromkeys([*found, *(v for v in results if v not in after)]))


def _before_views(v: Value) -> Value:
    """The value that a broadcast or a reshape shows."""
    while v.op is not None and v.op.primitive in (broadcast, reshape):
        v = v.op.operands[0]
    return v


def _is_constant(v: Value) -> bool:
    return v.op is not None and v.op.primitive is full


def _kept(needed: Sequence[Value], joint: Graph, overwritten: set[Value]) -> list[Value]:
    """The values that the forward run saves: what is needed, or its expensive sources if they are smaller."""
    kept: dict[Value, None] = {}
    free: set[Value] = set(joint.inputs) - overwritten  # available at no cost
    order = {v: i for i, v in enumerate(v for op in joint.ops for v in op.results)}
    for v in sorted(needed, key=lambda v: order.get(v, -1)):
        if v in free or v in kept:
            continue
        sources = _sources(v, free, kept)
        if sources is None or sum(u.type.nbytes for u in sources) >= v.type.nbytes > 0:
            sources = [v]
        kept.update(dict.fromkeys(sources))
    return list(kept)


def _sources(v: Value, free: set[Value], kept: Mapping[Value, None]) -> list[Value] | None:
    """The expensive values that must be kept so that ``v`` can be recomputed cheaply; None if it cannot."""
    sources: list[Value] = []
    work, seen = [v], set()
    while work:
        u = work.pop()
        if u in free or u in seen or u in kept:
            continue
        seen.add(u)
        if u.op is None or len(seen) > 64:
            return None
        if u.op.primitive.kind in _DEAR and not is_thin(u.op):
            sources.append(u)
        else:
            work += u.op.operands
    return sources


def _ancestors(graph: Graph, values: Sequence[Value], stop: set[Value] | None = None) -> set[Op]:
    found: set[Op] = set()
    live = set(values)
    for op in reversed(graph.ops):
        if any(v in live and not (stop and v in stop) for v in op.results):
            found.add(op)
            live.update(op.operands)
    return found
