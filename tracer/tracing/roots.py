"""What a recorder knows about tensors, and through which tensors a function has their memory."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..core.tensor import Tensor

if TYPE_CHECKING:
    from ..ir.graph import Value
    from .calls import Call


class Known:
    """The recorder's data about a tensor, which it does not keep alive: a recorded run needs no additional memory.

    ``epoch``: the number of writes to its storage at that time.
    """

    __slots__ = ("epoch", "tensor", "value")

    def __init__(self, tensor: weakref.ref[Tensor], value: Value, epoch: int):
        self.tensor, self.value, self.epoch = tensor, value, epoch


class Roots:
    """Finds the tensor through which a function has the memory of a view.

    That is the tensor of which it is a view, as a rule. But an argument, or what a name refers to, may be a view of a tensor
    that the function does not reach, as in ``f(x.reshape(8, 2))``: then it is the view. What others see of that memory, they
    see in a replay too.
    """

    def __init__(self) -> None:
        self._views: set[int] = set()  # by id: views of tensors that the function does not reach

    def look_at(self, call: Call) -> None:
        reached = {id(t): t for t in call.tensors} | call.reached
        for environment in call.environments:
            reached |= environment.captured
        for t in reached.values():
            if t._view is not None and not t.requires_grad and reached.keys().isdisjoint(_chain(t)):
                self._views.add(id(t))

    def of(self, t: Tensor) -> Tensor:
        """The tensor through which the function has the memory of ``t``."""
        while t._view is not None and id(t) not in self._views:
            t = t._viewed()[0]
        return t


def _chain(t: Tensor) -> Iterator[int]:
    """The ids of the tensors of which a tensor is a view."""
    while t._view is not None:
        t = t._viewed()[0]
        yield id(t)
