"""The invariants of every graph, at every stage:

1. Every value is defined once: as an input, or as a result of one operation of the graph.
2. Every operand and output is defined before it is used.
3. Every operation's result types are those that its record infers from the operands and attributes.
4. An update stores an output in an input of the same type; an input is updated at most once.
5. The body of a fusion is itself such a graph. It takes the operands' types, returns the results' types, and has only
   elementwise operations, reductions, movements, sources and indexed reads.
"""

from __future__ import annotations

from .graph import Graph, Op, Value
from .primitive import Kind


class VerifyError(ValueError):
    """A graph that breaks an invariant; the message names the graph, the value and the rule."""


def verify(graph: Graph) -> None:
    """Raises VerifyError unless all the invariants above hold."""
    defined: set[Value] = set()

    def named(v: Value) -> str:
        return f"%{graph.names().get(v, v.name)}"

    def what(op: Op) -> str:
        return f"@{graph.name}: {op.primitive.name} of {named(op.results[0])}"

    def define(v: Value) -> None:
        if v in defined:
            raise VerifyError(f"@{graph.name}: {named(v)} is defined twice")
        defined.add(v)

    for v in graph.inputs:
        define(v)
    for op in graph.ops:
        for v in op.operands:
            if v not in defined:
                raise VerifyError(f"{what(op)} reads {named(v)} before it is defined")
        try:
            types = op.primitive.infer_types([v.type for v in op.operands], op.attrs)
        except Exception as e:  # any exception of the record is an error of the graph
            raise VerifyError(f"{what(op)}: {e}") from e
        if types != tuple(v.type for v in op.results):
            given = ", ".join(str(v.type) for v in op.results)
            raise VerifyError(f"{what(op)} has type {given}, inferred {', '.join(map(str, types))}")
        if op.primitive.kind is Kind.FUSION:
            body = op.attrs["body"]
            verify(body)
            for inner in body.ops:
                if inner.primitive.kind in (Kind.CONTRACTION, Kind.FUSION):
                    raise VerifyError(f"{what(op)}: {inner.primitive.name} cannot be in a fusion")
        for v in op.results:
            define(v)
    for v in graph.outputs:
        if v not in defined:
            raise VerifyError(f"@{graph.name} returns {named(v)}, which is not defined")
    if len(set(graph.updates.values())) < len(graph.updates):
        raise VerifyError(f"@{graph.name} updates an input twice")
    for k, i in graph.updates.items():
        if graph.outputs[k].type != graph.inputs[i].type:
            raise VerifyError(f"@{graph.name} stores {graph.outputs[k]!r} in {graph.inputs[i]!r}")
