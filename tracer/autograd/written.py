"""Nodes of primitives: a class for each primitive, and a generated function that creates its nodes.

This is eager mode's most frequently executed code. A node has a slot for each varying value, and no container.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..core.context import context
from ..core.tensor import Tensor
from ..ir.primitive import Kind, Primitive, Rule
from ..ir.types import array_type
from .forms import own
from .node import Node, Packed, edges_to, new_sequence
from .unbroadcast import unbroadcast

_Make = Callable[[Sequence[Any], Mapping[str, Any], Tensor], Node]
_functions: dict[Primitive, _Make] = {}


def remember(primitive: Primitive, args: Sequence[Any], attrs: Mapping[str, Any], out: Tensor) -> Node:
    """The node of ``out``, the primitive's result for ``args``."""
    return (_functions.get(primitive) or _function(primitive))(args, attrs, out)


def maker(primitive: Primitive) -> _Make:
    """The function that creates the primitive's nodes."""
    return _functions.get(primitive) or _function(primitive)


def _function(primitive: Primitive) -> _Make:
    written = _Fixed(primitive.kind, primitive.vjp) if primitive.vjp is not None else _Variadic()
    lines = [
        "def make(args, attrs, out):",
        "    node = new(Class)",
        "    node.attrs, node.sequence, node.extras = attrs or nothing, sequence(), None",
        *[f"    {line}" for line in written.lines],
        "    if context.watches_nodes: node.made()",
        "    return node",
    ]
    members: dict[str, Any] = {name: property(eval(f"lambda node: {source}")) for name, source in written.properties.items()}
    if written.dropped:
        scope: dict[str, Any] = {"__name__": __name__}
        exec(f"def drop(node): {' = '.join(f'node.{slot}' for slot in written.dropped)} = None", scope)
        members["drop"] = scope["drop"]
    if isinstance(written, _Fixed) and primitive.vjp is not None:
        members["pull"] = _pull(primitive, primitive.vjp, written)
    known: dict[str, Any] = {
        "__name__": __name__,
        "new": object.__new__,
        "Class": type(primitive.torch_name, (Node,), {"__slots__": written.slots, "primitive": primitive, **members}),
        "nothing": {},
        "sequence": new_sequence,
        "Tensor": Tensor,
        "context": context,
        "array_type": array_type,
        "float32": np.float32,
        "edges_to": edges_to,
    }
    exec("\n".join(lines), known)
    _functions[primitive] = known["make"]
    return known["make"]


def _pull(primitive: Primitive, rules: Sequence[Rule | None], written: _Fixed) -> Callable[..., bool]:
    """``Node.pull``, as straight-line source: small backward passes consist mostly of these."""
    lines = [
        "def pull(node, g, engine):",
        "    dtype = g.dtype",
        "    if g.__class__ is not ndarray or dtype.itemsize == 2 or dtype.kind == 'c': return False",
    ]
    if written.dropped:
        lines.append("    if node.keeps is None: return False")
    for i in written.saved:
        lines.append(f"    x{i} = node.saved{i}")
        lines.append(f"    if isinstance(x{i}, Tensor):")
        lines.append(f"        if x{i}._counter[0] != node.version{i}: return False")
        lines.append(
            f"        if node.target{i} is not None and node.target{i} is not x{i} and not x{i}._requires_grad: return False"
        )
        lines.append(f"        x{i} = x{i}._data")
        lines.append(f"    elif isinstance(x{i}, Packed): return False")
    if written.saves_result:
        lines.append("    y = node.result")
        lines.append("    if y is not None and (isinstance(y, Packed) or node.counter[0] != node.version): return False")
    names: dict[str, Any] = {
        "__name__": __name__,
        "Tensor": Tensor,
        "Packed": Packed,
        "unbroadcast": unbroadcast,
        "own": own,
        "ndarray": np.ndarray,
    }
    words = {"operand": "x{}", "type": "node.type{}", "attr": "attrs[{!r}]", "g": "g", "y": "y"}
    if any(what == "attr" for rule in rules if rule is not None for what, _ in rule.reads):
        lines.append("    attrs = node.attrs")
    for i, rule in enumerate(rules):
        if rule is None:
            continue
        names[f"f{i}"] = rule.function
        lines.append(f"    target = node.target{i}")
        lines.append("    if target is not None:")
        lines.append(f"        ct = f{i}({', '.join(words[what].format(key) for what, key in rule.reads)})")
        if written.broadcasts:
            lines.append(f"        type_ = node.type{i}")
            lines.append("        if type_ is not None and ct.shape != type_.shape: ct = unbroadcast(ct, type_.shape)")
        lines.append("        if isinstance(target, Tensor): engine.add_to_leaf(target, own(ct, g))")
        lines.append(f"        else: engine.send(target, node.output{i}, ct)")
    lines.append("    return True")
    exec(compile("\n".join(lines), f"<backward of {primitive.name}>", "exec"), names)
    found: Callable[..., bool] = names["pull"]
    return found


def _pull_part(node: Any, g: np.ndarray, engine: Any) -> bool:
    if node.target0 is not None:
        engine.send_part(node, g)
    return True


class _Variadic:
    """For any number of operands. Rules read only their types."""

    lines: Sequence[str] = ("node.edges = edges_to(args)",)
    slots: Sequence[str] = ("edges",)
    properties: Mapping[str, str] = {"types": "node.edges[2::3]"}
    dropped: Sequence[str] = ()


class _Fixed:
    """For one rule per operand: the slots, their initialisation, and the values read from them."""

    def __init__(self, kind: Kind, rules: Sequence[Rule | None]):
        self.lines = ["".join(f"a{i}, " for i in range(len(rules))) + "= args"]
        self.slots: list[str] = []
        self.dropped: list[str] = []  # slots of saved values
        self.saved: list[int] = []  # numbers of the operands that some rule reads
        self.saves_result = False
        self.properties: dict[str, str] = {}
        self._edges(kind is Kind.ELEMENTWISE, rules)
        self._saved(rules)

    def _edges(self, elementwise: bool, rules: Sequence[Rule | None]) -> None:
        """Operands of elementwise operations may be numbers or broadcast; rules of others give cotangents of the operands'
        shapes.
        """
        read = {i for rule in rules if rule is not None for i in rule.reads_types}
        self.broadcasts = broadcasts = elementwise and len(rules) > 1
        if broadcasts:
            self.lines.append("shape = out._data.shape")
        edges = ""
        for i in range(len(rules)):
            typed = i in read or broadcasts
            self.slots += [f"target{i}", f"output{i}"] + [f"type{i}"] * typed
            edges += f"node.target{i}, node.output{i}, " + (f"node.type{i}, " if typed else "None, ")
            if i in read:  # by the rule of some operand, whichever are tracked
                self.lines.append(f"node.type{i} = None")
                self.lines.append(f"if isinstance(a{i}, Tensor): node.type{i} = array_type(a{i}._data.dtype, a{i}._data.shape)")
            self.lines.append(f"if {f'isinstance(a{i}, Tensor) and ' * elementwise}a{i}._requires_grad:")
            self.lines.append(f"    node.target{i} = a{i}._grad_fn or a{i}; node.output{i} = a{i}._output")
            if typed and i not in read:
                self.lines.append(f"    array = a{i}._data")
                self.lines.append(f"    node.type{i} = None if array.shape == shape else array_type(array.dtype, array.shape)")
            self.lines.append(
                f"else: node.target{i} = {f'node.type{i} = ' * (typed and i not in read)}None; node.output{i} = 0"
            )
        self.properties["edges"] = f"({edges})"
        if read:
            self.properties["types"] = (
                "(" + "".join([f"node.type{i}, " if i in read else "None, " for i in range(len(rules))]) + ")"
            )

    def _saved(self, rules: Sequence[Rule | None]) -> None:
        """Saves what the rules of the tracked operands read."""
        read = {i for rule in rules if rule is not None for i in rule.saves_operands}
        entries = "".join([f"node.saved{i}, node.version{i}, " if i in read else "None, 0, " for i in range(len(rules))])
        result = _followed(rules, lambda rule: rule.saves_result)
        self.saved, self.saves_result = sorted(read), bool(result)
        if read or result:
            self.slots.append("keeps")
            self.dropped += ["keeps"]
            self.lines.append("node.keeps = False")
        for i in self.saved:
            self.slots += [f"saved{i}", f"version{i}"]
            self.dropped += [f"saved{i}"]
            self.lines.append(f"node.saved{i} = None; node.version{i} = 0")
            self.lines.append(f"if {_followed(rules, lambda rule, i=i: i in rule.saves_operands)}:")  # type: ignore[misc]
            self.lines.append("    node.keeps = True")
            self.lines.append(f"    if isinstance(a{i}, Tensor): node.saved{i} = a{i}; node.version{i} = a{i}._counter[0]")
            # A number takes the dtype that the rules compute in, because its weak dtype would be lost.
            self.lines.append("    else:")
            self.lines.append("        dtype = out._data.dtype")
            self.lines.append(f"        node.saved{i} = (dtype.type if dtype.itemsize != 2 else float32)(a{i})")
        if read:
            self.properties["saved"] = f"({entries})"
        if result:
            self.slots += ["result", "counter", "version"]
            self.dropped += ["result"]
            self.lines.append("node.result = None")
            self.lines.append(f"if {result}:")
            self.lines.append("    node.result = out._data; node.counter = out._changes(); node.version = node.counter[0]")
            self.lines.append("    node.keeps = True")


def _followed(rules: Sequence[Rule | None], reads: Callable[[Rule], bool]) -> str:
    """Source of the condition that an operand is tracked whose rule ``reads`` something. Empty if there is no such rule."""
    readers = [j for j, rule in enumerate(rules) if rule is not None and reads(rule)]
    return " or ".join([f"node.target{j} is not None" for j in readers])
