"""The IR: values in SSA form, operations, graphs, and the builder that makes them.

A graph is a list of operations in an order in which every operand is defined before it is used. Graphs are immutable once
built; a pass builds a new graph, which shares unchanged operations.

``Graph.updates`` maps an output's position to an input's: a caller that owns the input's memory stores the output there
after the graph has run. This represents in-place operations in SSA form; within the graph all values are immutable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .types import DType, TensorType

if TYPE_CHECKING:
    from .primitive import Primitive


class Value:
    """A typed SSA value: an input of a graph (``op is None``) or a result of an operation.

    ``name`` is a suggestion; ``Graph.names`` makes the names within a graph unique.
    """

    __slots__ = ("name", "op", "type")

    def __init__(self, type: TensorType, op: Op | None = None, name: str = ""):
        self.type = type
        self.op = op
        self.name = name

    @property
    def shape(self) -> tuple[int, ...]:
        return self.type.shape

    @property
    def dtype(self) -> DType:
        return self.type.dtype

    def __repr__(self) -> str:
        return f"%{self.name or '_'}: {self.type}"


class Op:
    """One application of a primitive. ``loc`` is ``file:line`` of the user's source, or empty."""

    __slots__ = ("attrs", "loc", "operands", "primitive", "results")

    def __init__(
        self,
        primitive: Primitive,
        operands: Sequence[Value],
        attrs: Mapping[str, Any],
        types: Sequence[TensorType],
        loc: str = "",
    ):
        self.primitive = primitive
        self.operands = tuple(operands)
        self.attrs = attrs  # shared with operations made from this one: nothing changes it
        self.results = (Value(types[0], self),) if len(types) == 1 else tuple([Value(t, self) for t in types])
        self.loc = loc

    @property
    def result(self) -> Value:
        (only,) = self.results
        return only


class Graph:
    """``func @name(inputs) -> outputs { ops }``."""

    def __init__(
        self,
        name: str,
        inputs: Sequence[Value],
        ops: Sequence[Op],
        outputs: Sequence[Value],
        updates: Mapping[int, int] | None = None,
    ):
        self.name = name
        self.inputs = tuple(inputs)
        self.ops = tuple(ops)
        self.outputs = tuple(outputs)
        self.updates = dict(updates or {})

    def __eq__(self, other: object) -> bool:
        """Equality of structure, names and locations: printing says everything about a graph."""
        return isinstance(other, Graph) and str(self) == str(other)

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        from .print import print_graph

        return print_graph(self)

    def _repr_html_(self) -> str:
        from .markup import of_graph

        return of_graph(str(self))

    def names(self) -> dict[Value, str]:
        """The unique name of each value in text: its own name if no other value has it, else a number."""
        names: dict[Value, str] = {}
        taken: set[str] = set()
        fresh = 0
        for v in (*self.inputs, *(r for op in self.ops for r in op.results)):
            name = v.name
            if not name or name.isdigit() or name in taken:
                name = str(fresh)
                fresh += 1
            taken.add(name)
            names[v] = name
        return names

    def structure(self, described: Callable[[Op], Any] = lambda op: repr(op.attrs)) -> tuple[Any, ...]:
        """The structure of the graph without names and locations, for comparison. ``described``: an operation's attributes in
        a form that can be compared. repr distinguishes 1, 1.0 and True, and -0.0 from 0.0; equality does not.
        """
        number: dict[Value, int] = {v: i for i, v in enumerate(self.inputs)}
        rows = []
        for op in self.ops:
            rows.append((op.primitive.name, tuple([number[v] for v in op.operands]), described(op)))
            for v in op.results:
                number[v] = len(number)
        return tuple([v.type for v in self.inputs]), tuple(rows), tuple([number[v] for v in self.outputs])

    def users(self) -> dict[Value, list[Op]]:
        """The operations that read each value."""
        users: dict[Value, list[Op]] = {}
        for op in self.ops:
            for v in dict.fromkeys(op.operands):
                users.setdefault(v, []).append(op)
        return users


def free(graph: Graph, *kept: Graph) -> None:
    """Frees the operations of a graph that nothing needs any more, apart from those of other graphs. An operation and its
    results refer to each other: otherwise they would wait for the cyclic garbage collector, which takes longer.
    """
    for op in set(graph.ops).difference(*[g.ops for g in kept]):
        op.operands = op.results = ()


class Builder:
    """Appends operations to a graph under construction.

    ``append`` infers the result types, so a graph is well typed by construction; ``add`` takes known ones. The front end
    does broadcasting and promotion (see ``interp.Build``).
    """

    def __init__(self, name: str):
        self.name = name
        self.inputs: list[Value] = []
        self.ops: list[Op] = []
        self.loc = ""

    def input(self, type: TensorType, name: str = "") -> Value:
        v = Value(type, None, name)
        self.inputs.append(v)
        return v

    def append(
        self, primitive: Primitive, operands: Sequence[Value], attrs: Mapping[str, Any], loc: str | None = None
    ) -> tuple[Value, ...]:
        return self.add(primitive, operands, attrs, primitive.infer_types([v.type for v in operands], attrs), loc)

    def add(
        self,
        primitive: Primitive,
        operands: Sequence[Value],
        attrs: Mapping[str, Any],
        types: Sequence[TensorType],
        loc: str | None = None,
    ) -> tuple[Value, ...]:
        """Appends an operation whose result types are known."""
        op = Op(primitive, operands, attrs, types, self.loc if loc is None else loc)
        self.ops.append(op)
        return op.results

    def finish(self, outputs: Iterable[Value], updates: Mapping[int, int] | None = None) -> Graph:
        return Graph(self.name, self.inputs, self.ops, list(outputs), updates)


class Rewriter:
    """Rebuilds a graph value by value; the base of every pass.

    ``map`` takes values of the old graph to values of the new one. A pass calls ``copy`` for operations that it keeps, or
    sets ``map[old] = new`` for values that it replaces. An operation whose operands are unchanged is reused.
    """

    def __init__(self, graph: Graph, name: str | None = None):
        self.graph = graph
        self.builder = Builder(name or graph.name)
        self.builder.inputs = list(graph.inputs)
        self.map: dict[Value, Value] = {v: v for v in graph.inputs}

    def copy(self, op: Op) -> tuple[Value, ...]:
        map = self.map
        for v in op.operands:
            if map[v] is not v:
                break
        else:
            self.builder.ops.append(op)
            for v in op.results:
                map[v] = v
            return op.results
        operands = [map[v] for v in op.operands]
        if [v.type for v in operands] == [v.type for v in op.operands]:
            # Types that are known are not inferred again.
            results = self.builder.add(op.primitive, operands, op.attrs, [v.type for v in op.results], op.loc)
        else:
            results = self.builder.append(op.primitive, operands, op.attrs, op.loc)
        for old, new in zip(op.results, results, strict=True):
            new.name = old.name
            map[old] = new
        return results

    def replaced(self, replace: Callable[[Op], Any]) -> Graph:
        """The graph with the values that ``replace`` gives for results of operations; None keeps an operation."""
        for op in self.graph.ops:
            self.builder.loc = op.loc
            new = replace(op)
            if new is None:
                self.copy(op)
            else:
                self.map[op.result] = new
        return self.finish()

    def finish(self) -> Graph:
        return self.builder.finish([self.map[v] for v in self.graph.outputs], self.graph.updates)
