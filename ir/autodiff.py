"""Reverse mode on graphs: from a graph to the joint graph of the function and its cotangents.

    @f(x...) -> (y...)    becomes    @f.vjp(x..., ct...) -> (y..., cotangents of x...)

The rules are those of the records, run under the interpreter that appends to a graph. So the result is an ordinary graph,
which can be differentiated again for the next order.
"""

from __future__ import annotations

from collections.abc import Sequence

from .graph import Graph, Rewriter, Value
from .interp import Build, using
from .location import backward_of
from .ops import add, full
from .primitive import Kind


def vjp(graph: Graph, wrt: Sequence[int] | None = None, cotangents: Sequence[int] | None = None) -> Graph:
    """The joint graph of ``graph`` and of its cotangents.

    wrt         positions of the inputs to differentiate by; default: all floating ones
    cotangents  positions of the outputs that receive a cotangent; default: all floating ones

    Inputs of the result: those of ``graph``, then one cotangent for each of ``cotangents``. Outputs: those of ``graph``,
    then the cotangents of ``wrt`` (zeros where no gradient flows). No gradient flows through operations without a rule
    (``detach``, comparisons). Raises TypeError when ``wrt`` or ``cotangents`` names a value that is not floating, or the
    graph is fused.
    """
    wrt = _floating(graph.inputs, wrt)
    cotangents = _floating(graph.outputs, cotangents)
    rewriter = Rewriter(graph, f"{graph.name}.vjp")
    for op in graph.ops:
        rewriter.copy(op)
    seeds = [rewriter.builder.input(graph.outputs[k].type, "ct" if len(cotangents) == 1 else f"ct{k}") for k in cotangents]
    build = Build(rewriter.builder)
    with using(build):
        adjoint = _reverse(graph, rewriter, [graph.inputs[i] for i in wrt], [graph.outputs[k] for k in cotangents], seeds)
        rewriter.builder.loc = ""
        results = [
            adjoint.get(graph.inputs[i]) or full(value=0, shape=graph.inputs[i].shape, dtype=graph.inputs[i].type.dtype.short)
            for i in wrt
        ]
    return rewriter.builder.finish([*(rewriter.map[v] for v in graph.outputs), *results], graph.updates)


def _inexact(v: Value) -> bool:
    return v.dtype.is_floating_point or v.dtype.is_complex


def _floating(values: Sequence[Value], chosen: Sequence[int] | None) -> list[int]:
    if chosen is None:
        return [i for i, v in enumerate(values) if _inexact(v)]
    for i in chosen:
        if not _inexact(values[i]):
            raise TypeError(f"only floating values have cotangents, {values[i]!r} has none")
    return list(chosen)


def _reverse(
    graph: Graph, rewriter: Rewriter, wrt: list[Value], outputs: list[Value], seeds: list[Value]
) -> dict[Value, Value]:
    """Cotangents of old values, as new ones: walks the operations backwards, applying each record's rules."""
    active = set(wrt)
    for op in graph.ops:
        if op.primitive.kind is Kind.FUSION:
            raise TypeError(f"@{graph.name} is fused: differentiate it before fusion")
        if op.primitive.differentiable and any(v in active for v in op.operands):
            active.update(r for r in op.results if _inexact(r))

    adjoint: dict[Value, Value] = {}

    def accumulate(v: Value, ct: Value) -> None:
        adjoint[v] = add(adjoint[v], ct) if v in adjoint else ct

    for v, seed in zip(outputs, seeds, strict=True):
        accumulate(v, seed)
    for op in reversed(graph.ops):
        if op.result not in adjoint or op.result not in active:
            continue
        record, types = op.primitive, [v.type for v in op.operands]
        rewriter.builder.loc = backward_of(op.loc)
        g = adjoint[op.result]
        if record.vjp_all is not None:
            for v, ct in zip(op.operands, record.vjp_all(g, types, **op.attrs), strict=True):
                if v in active:
                    accumulate(v, ct)
            continue
        operands = [rewriter.map[v] for v in op.operands]
        y = rewriter.map[op.result]
        for v, rule in zip(op.operands, record.vjp or (), strict=True):
            if v in active and rule is not None:
                accumulate(v, rule(g, y, operands, types, op.attrs))
    return adjoint
