"""A graph as one line of JSON that is read fast, for files that no person reads; ``print`` has the form for people.

Types, locations, attributes and bodies are tables, and operations rows of numbers: what fifty unrolled steps have in common
is written, and read, once. Names, locations and everything else that text says are kept.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from typing import Any

from .graph import Graph, Op, Value
from .primitive import PRIMITIVES
from .types import TensorType, dtype_named


def pack(graph: Graph) -> bytes:
    """The graph as bytes that ``unpack`` reads."""
    packer = _Packer()
    packer.graph(graph)
    content = {"tables": packer.tables, "graphs": packer.graphs}
    return json.dumps(content, separators=(",", ":"), default=_parts).encode()


def unpack(data: bytes) -> Graph:
    """The graph that was packed. Equal bodies of its fusions are one object. Raises ValueError for what is no packed graph."""
    try:
        content = json.loads(data)
        return _Unpacker(content["tables"]).graphs(content["graphs"])[-1]
    except (KeyError, IndexError, TypeError, AttributeError) as e:
        raise ValueError(f"not a packed graph: {e!r}") from e


class _Packer:
    def __init__(self) -> None:
        self.tables: dict[str, list[Any]] = {name: [] for name in ("types", "attrs", "locs", "primitives")}
        self._numbers: dict[str, dict[Hashable, int]] = {name: {} for name in self.tables}
        self.graphs: list[Any] = []
        self._bodies: dict[str, int] = {}

    def number(self, table: str, key: Hashable, entry: Any) -> int:
        """The number of an entry in a table; equal keys have one."""
        numbers = self._numbers[table]
        if key not in numbers:
            numbers[key] = len(numbers)
            self.tables[table].append(entry)
        return numbers[key]

    def type(self, t: TensorType) -> int:
        return self.number("types", t, [t.dtype.short, t.shape, t.device])

    def graph(self, graph: Graph) -> int:
        """The number of a graph among ``graphs``; bodies come before what they are in."""
        at = {v: i for i, v in enumerate(graph.inputs)}
        names = {i: v.name for i, v in enumerate(graph.inputs) if v.name}
        ops = []
        for op in graph.ops:
            body = op.attrs.get("body")
            plain = {k: v for k, v in op.attrs.items() if k != "body"}
            ops.append(
                [
                    self.number("primitives", op.primitive.name, op.primitive.name),
                    [at[v] for v in op.operands],
                    self.number("attrs", repr(plain), plain),
                    -1 if body is None else self.graph(body),
                    [self.type(v.type) for v in op.results],
                    self.number("locs", op.loc, op.loc),
                ]
            )
            for v in op.results:
                if v.name:
                    names[len(at)] = v.name
                at[v] = len(at)
        inputs = [self.type(v.type) for v in graph.inputs]
        row = [graph.name, inputs, ops, [at[v] for v in graph.outputs], list(graph.updates.items()), list(names.items())]
        text = json.dumps(row)
        if text not in self._bodies:
            self._bodies[text] = len(self.graphs)
            self.graphs.append(row)
        return self._bodies[text]


class _Unpacker:
    def __init__(self, tables: Mapping[str, list[Any]]):
        self.types = [TensorType(dtype_named(short), tuple(shape), device) for short, shape, device in tables["types"]]
        self.attrs = [{k: _whole(v) for k, v in attrs.items()} for attrs in tables["attrs"]]
        self.locs = tables["locs"]
        self.primitives = [PRIMITIVES[name] for name in tables["primitives"]]

    def graphs(self, rows: list[Any]) -> list[Graph]:
        done: list[Graph] = []
        types, attrs, locs, primitives = self.types, self.attrs, self.locs, self.primitives
        for name, inputs, ops, outputs, updates, names in rows:
            values = [Value(types[t]) for t in inputs]
            count, made = len(values), []
            for primitive, operands, attributes, body, results, loc in ops:
                given = attrs[attributes] if body < 0 else {**attrs[attributes], "body": done[body]}
                op = Op(primitives[primitive], [values[i] for i in operands], given, [types[t] for t in results], locs[loc])
                values += op.results
                made.append(op)
            for i, text in names:
                values[i].name = text
            done.append(Graph(name, values[:count], made, [values[i] for i in outputs], dict(updates)))
        return done


def _parts(x: Any) -> dict[str, float]:
    """JSON has no complex numbers."""
    if isinstance(x, complex):
        return {"real": x.real, "imag": x.imag}
    raise TypeError(f"an attribute is a number, a string or a tuple of them, not {x!r}")


def _whole(x: Any) -> Any:
    """JSON has lists where attributes have tuples."""
    if isinstance(x, dict):
        return complex(**x)
    return tuple(map(_whole, x)) if isinstance(x, list) else x
