"""Positions in the graph as users refer to them: a tensor, or a ``GradientEdge``."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..core.tensor import Tensor
from ..ir.types import TensorType
from .engine import Edge
from .node import AccumulateGrad, BackwardNode


class _Edge(NamedTuple):
    node: BackwardNode
    output_nr: int
    ownership_token: BackwardNode | None = None


class GradientEdge(_Edge):
    """An output of a node, usable like the tensor that it represents: for its gradients, or gradients with respect to it."""

    type_: TensorType | None = None  # of that tensor


def get_gradient_edge(tensor: Tensor) -> GradientEdge:
    """A tensor's position in the graph, without its memory. Raises RuntimeError if it requires no gradient."""
    if not tensor.requires_grad:
        raise RuntimeError("It is not possible to get the gradient edge for a Tensor that does not require gradients")
    edge = GradientEdge(tensor._node() or AccumulateGrad.of(tensor), tensor._output)
    edge.type_ = tensor.type_
    return edge


def type_of(x: Tensor | GradientEdge) -> TensorType | None:
    """The type at that position, None if unknown."""
    if isinstance(x, Tensor):
        return x.type_
    if isinstance(x.node, AccumulateGrad):
        return x.node.variable.type_
    return x.type_


def find(x: Any) -> Edge:
    """The position of a tensor that requires a gradient, or of an edge."""
    if isinstance(x, GradientEdge):
        if isinstance(x.node, AccumulateGrad):
            return Edge(x.node.variable, 0, x.node.variable)
        return Edge(x.node, x.output_nr)
    node = x._node()
    return Edge(x, 0, x) if node is None else Edge(node, x._output, x)
