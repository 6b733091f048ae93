"""Backward passes without the engine: from one result of a compiled function, of one element, to leaves.

The engine defines a backward pass. For the most common one this module generates the same as straight-line source, with one
native call. If a condition does not hold, the generated function returns None and has changed nothing: then the engine runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..autograd.hooks import OF_LEAVES
from ..autograd.node import Gradients
from ..core.tensor import Tensor

if TYPE_CHECKING:
    from .compiled_node import CompiledNode
    from .graph_function import GraphFunction

Direct = Callable[["CompiledNode", bool], Gradients | None]


def never(node: CompiledNode, retain_graph: bool) -> Gradients | None:
    """For what only the engine handles."""
    return None


def direct(function: GraphFunction, number: int) -> Direct:
    """The backward pass from a result of a function, by its number among ``outputs``, with the cotangent 1.

    It is called with a node to which nothing has happened since the call.
    """
    result = function.graph.outputs[function.outputs[number]].type
    if math.prod(result.shape) != 1 or result.dtype.is_complex:
        return never
    call = getattr(function.backward, "called", None)  # None if it was not compiled
    given = frozenset([number])
    leaves = [(j, i) for i, j in enumerate(function.places(given)) if j is not None]
    types = [(function.graph.inputs[i].type, function.parts[1].outputs[j].type) for j, i in leaves]
    if call is None or any(leaf != g for leaf, g in types):
        return never
    cotangents = [np.zeros(t.shape, t.dtype.numpy) for t in (function.graph.outputs[k].type for k in function.outputs)]
    cotangents[number][...] = 1
    names: dict[str, Any] = {
        "__name__": __name__,
        "Tensor": Tensor,
        "call": call,
        "cotangents": cotangents,
        "given": given,
        "unhooked": OF_LEAVES.isdisjoint,
        "isnan": np.isnan,
    }
    kept = len(function.parts[1].inputs) - len(function.reads) - len(cotangents)
    words = [f"id(i{i}._data)" for i in function.reads] + [f"id(k{i})" for i in range(kept)]
    words += [str(id(g)) for g in cotangents]
    inputs = range(len(function.graph.inputs))
    lines = [
        "def direct(node, retain_graph):",
        f"    {_all('i', inputs)} = node.inputs",
        f"    if node.versions != ({''.join(f'i{i}._counter[0], ' for i in inputs)}): return None",
        "    edges = node.edges",
    ]
    if function.saved_results:
        lines.append("    for x in node.results.values():")
        lines.append("        if x.counter[0] != x.version: return None")
    for j, i in leaves:
        lines.append(f"    t{j} = edges[{3 * i}]")
        lines.append(f"    if not (isinstance(t{j}, Tensor) and t{j}._requires_grad and unhooked(t{j}.__dict__)): return None")
    if len(leaves) > 1:
        lines.append(f"    if len({{{''.join(f'id(t{j}), ' for j, _ in leaves)}}}) != {len(leaves)}: return None")
    if kept:
        lines.append(f"    {_all('k', range(kept))} = node.kept")
    lines.append(f"    found = call({', '.join(words)})")
    lines.append("    if found is None: return None")
    lines.append(f"    {_all('g', range(len(function.active)))} = found")
    if function.may_multiply_zero(given):
        lines += [f"    if isnan(g{j}).any(): return None" for j, _ in leaves]
    lines.append(f"    if not retain_graph: node.{'free()' if function.frees(given) else 'release_from(given)'}")
    lines.append(f"    return ({''.join(f'(t{j}, g{j}), ' for j, _ in leaves)})")
    exec(compile("\n".join(lines), f"<backward of {function.graph.name}>", "exec"), names)
    found: Direct = names["direct"]
    return found


def _all(letter: str, numbers: range) -> str:
    return "".join(f"{letter}{i}, " for i in numbers)
