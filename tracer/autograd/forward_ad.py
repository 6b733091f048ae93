"""Dual tensors: values with tangents, as ``torch.autograd.forward_ad``.

Tangents are pushed forward by differentiating the products with the Jacobian, v -> vjp(v). So the operations between
``make_dual`` and ``unpack_dual`` must be followed by autograd: in a ``no_grad`` block nothing is.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from ..core.context import context
from ..core.tensor import Tensor

__all__ = ["UnpackedDualTensor", "dual_level", "enter_dual_level", "exit_dual_level", "make_dual", "unpack_dual"]


class UnpackedDualTensor(NamedTuple):
    """A value, and its tangent: None if it depends on no dual tensor."""

    primal: Tensor
    tangent: Tensor | None


class _Levels(threading.local):
    """The dual tensors of each level in this thread: the innermost level last."""

    def __init__(self) -> None:
        self.open: list[list[tuple[Tensor, Tensor]]] = []


_levels = _Levels()


def enter_dual_level() -> int:
    """Begins a level; returns its number, from 0 on. Raises RuntimeError if there is one."""
    if _levels.open:
        raise RuntimeError("Nested forward mode AD is not supported at the moment")
    _levels.open.append([])
    return len(_levels.open) - 1


def exit_dual_level(*, level: int | None = None) -> None:
    """Ends the level. Raises RuntimeError if there is none, or another one."""
    if not _levels.open or (level is not None and level != len(_levels.open) - 1):
        raise RuntimeError("Trying to exit a forward AD level that was not the last one that was created.")
    _levels.open.pop()


@contextmanager
def dual_level() -> Iterator[int]:
    """A level for this block."""
    level = enter_dual_level()
    try:
        yield level
    finally:
        exit_dual_level(level=level)


def make_dual(tensor: Tensor, tangent: Tensor, *, level: int | None = None) -> Tensor:
    """A dual tensor with this value and tangent, of the same shape and dtype.

    Raises RuntimeError outside a level, in a ``no_grad`` block, and for other shapes; ValueError for integers.
    """
    if not _levels.open:
        raise RuntimeError(
            "Trying to create a dual Tensor for forward AD but no level exists, make sure to enter_dual_level() first."
        )
    if not tensor.is_floating_point() and not tensor.is_complex():
        raise ValueError(f"Expected primal to be floating point or complex, but got: {tensor.dtype}")
    if tensor.shape != tangent.shape:
        raise RuntimeError(
            "Trying to set a forward gradient that has a different size than that of the original Tensor, this is not "
            "supported."
        )
    if not context.grad_enabled:
        raise RuntimeError(
            "make_dual in a no_grad block: dual tensors are followed by autograd, which is off. Use enable_grad()."
        )
    dual = tensor * 1 if tensor.requires_grad else tensor.detach().requires_grad_()
    _levels.open[-1].append((dual, tangent))
    return dual


def unpack_dual(tensor: Tensor, *, level: int | None = None) -> UnpackedDualTensor:
    """The value and the tangent of a tensor; outside a level there is no tangent."""
    from . import grad

    if not _levels.open or not tensor.requires_grad:
        return UnpackedDualTensor(tensor, None)
    duals = _levels.open[-1]
    for dual, tangent in duals:
        if dual is tensor:
            return UnpackedDualTensor(tensor.detach(), tangent)
    weights = tensor.detach().clone().requires_grad_()
    back = grad(tensor, [dual for dual, _ in duals], weights, create_graph=True, allow_unused=True)
    pairs = [(b, t) for b, (_, t) in zip(back, duals, strict=True) if b is not None]
    if not pairs:
        return UnpackedDualTensor(tensor, None)
    if not any(b.requires_grad for b, _ in pairs):  # derivatives are zero
        return UnpackedDualTensor(tensor.detach(), tensor.detach() * 0)
    followed = [(b, t) for b, t in pairs if b.requires_grad]
    pushed = grad([b for b, _ in followed], weights, [t for _, t in followed], allow_unused=True)[0]
    return UnpackedDualTensor(tensor.detach(), tensor.detach() * 0 if pushed is None else pushed)
