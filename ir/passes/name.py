"""Names fusions after what they compute: the functions that the program called, or else their operations."""

from __future__ import annotations

from collections import Counter

from ..graph import Graph, Op, Rewriter
from ..location import origin_of
from ..primitive import Kind

_LONG = 48  # characters


def name_kernels(graph: Graph) -> Graph:
    rewriter = Rewriter(graph)
    counts: Counter[str] = Counter()
    bodies: dict[int, Graph] = {}  # equal iterations share them
    for op in graph.ops:
        if op.primitive.kind is not Kind.FUSION:
            rewriter.copy(op)
            continue
        body = op.attrs["body"]
        if id(body) not in bodies:
            name = described(body.ops)
            bodies[id(body)] = Graph(f"{name}_{counts[name]}", body.inputs, body.ops, body.outputs, body.updates)
            counts[name] += 1
        builder = rewriter.builder
        results = builder.add(
            op.primitive,
            [rewriter.map[v] for v in op.operands],
            {**op.attrs, "body": bodies[id(body)]},
            [v.type for v in op.results],
            op.loc,
        )
        for old, new in zip(op.results, results, strict=True):
            new.name = old.name
            rewriter.map[old] = new
    return rewriter.finish()


def described(ops: tuple[Op, ...]) -> str:
    """What the operations of a body compute, as a name: ``linear_relu``, or ``mul_sum`` if nothing says more."""
    computed = [op for op in ops if op.primitive.kind not in (Kind.MOVEMENT, Kind.SOURCE)] or list(ops)
    names = dict.fromkeys(origin_of(op.loc) or op.primitive.name for op in computed)
    chosen: list[str] = []
    for name in names or ("copy",):
        if chosen and len("_".join([*chosen, name])) > _LONG:
            break
        chosen.append(name)
    return "_".join(chosen)
