"""How nodes of primitives are made: for each primitive by a function that is written out as source. No other code of eager
mode runs as often.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..context import context
from ..ir.primitive import Kind, Primitive, Rule
from ..ir.types import array_type
from ..tensor import Tensor
from .node import Node, edges_to, new_sequence

_Make = Callable[[Sequence[Any], Mapping[str, Any], Tensor], Node]
_functions: dict[Primitive, _Make] = {}


def remember(primitive: Primitive, args: Sequence[Any], attrs: Mapping[str, Any], out: Tensor) -> Node:
    """The node of ``out``, which the primitive made of ``args``."""
    return (_functions.get(primitive) or _function(primitive))(args, attrs, out)


def _function(primitive: Primitive) -> _Make:
    known: dict[str, Any] = {
        "new": object.__new__,
        "sequence": new_sequence,
        "nothing": {},
        "primitive": primitive,
        "Node": Node,
        "Tensor": Tensor,
        "context": context,
        "array_type": array_type,
        "float32": np.float32,
        "edges_to": edges_to,
    }
    exec(_source(primitive), known)
    _functions[primitive] = known["make"]
    return known["make"]


def _source(primitive: Primitive) -> str:
    lines = [
        "def make(args, attrs, out):",
        "    node = new(Node)",
        "    node.primitive, node.attrs = primitive, attrs or nothing",
        "    node.sequence, node.extras, node.result = sequence(), None, None",
    ]
    if primitive.vjp is None:  # the number of operands varies, and rules read nothing but types
        lines.append("    node.edges, node.saved = edges_to(args), ()")
    else:
        lines.append("    " + "".join(f"a{i}, " for i in range(len(primitive.vjp))) + "= args")
        lines += _edges(primitive, primitive.vjp)
        lines += _saved(primitive.vjp)
    return "\n".join([*lines, "    if context.watches_nodes: node.made()", "    return node"])


def _edges(primitive: Primitive, rules: Sequence[Rule | None]) -> list[str]:
    """The edges. Elementwise operations take numbers, and broadcast; rules of others give cotangents of operands' shapes."""
    elementwise = primitive.kind is Kind.ELEMENTWISE
    read = {i for rule in rules if rule is not None for i in rule.reads_types}
    lines = ["    shape = out._data.shape"] if elementwise else []
    for i in range(len(rules)):
        lines.append(f"    target{i} = type{i} = None; output{i} = 0")
        lines.append(f"    if isinstance(a{i}, Tensor):" if elementwise else "    if True:")
        if i in read:
            lines.append(f"        array = a{i}._data; type{i} = array_type(array.dtype, array.shape)")
        elif elementwise:
            lines.append(f"        array = a{i}._data")
            lines.append(f"        if array.shape != shape: type{i} = array_type(array.dtype, array.shape)")
        lines.append(f"        if a{i}._requires_grad: target{i} = a{i}._grad_fn or a{i}; output{i} = a{i}._output")
    return [*lines, "    node.edges = (" + "".join(f"target{i}, output{i}, type{i}, " for i in range(len(rules))) + ")"]


def _saved(rules: Sequence[Rule | None]) -> list[str]:
    """What the rules of the operands that are followed will read."""

    def followed(reads: Callable[[Rule], bool]) -> str:
        return " or ".join([f"target{j} is not None" for j, rule in enumerate(rules) if rule is not None and reads(rule)])

    lines = []
    entries = []
    for i in range(len(rules)):
        condition = followed(lambda rule, i=i: i in rule.saves_operands)  # type: ignore[misc]
        if not condition:
            entries.append("None, 0, ")
            continue
        entries.append(f"saved{i}, version{i}, ")
        lines.append(f"    saved{i} = None; version{i} = 0")
        lines.append(f"    if {condition}:")
        lines.append(f"        if isinstance(a{i}, Tensor): saved{i} = a{i}; version{i} = a{i}._counter[0]")
        # A number takes the dtype that rules compute in now: its weakness would be lost.
        lines.append("        else:")
        lines.append("            dtype = out._data.dtype")
        lines.append(f"            saved{i} = (dtype.type if dtype.itemsize != 2 else float32)(a{i})")
    some = followed(lambda rule: bool(rule.saves_operands))
    lines.append(f"    node.saved = ({''.join(entries)}) if {some} else ()" if some else "    node.saved = ()")
    if result := followed(lambda rule: rule.saves_result):
        lines.append(f"    if {result}:")
        lines.append("        node.result = out._data; node.counter = out._changes(); node.version = node.counter[0]")
    return lines
