"""What a recorder knows about tensors, and through which tensors a function has their memory."""

from __future__ import annotations

import weakref
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

    That is the tensor of which it is a view, as a rule. But an argument may be a view of a tensor that the function does not
    reach, as in ``f(x.reshape(8, 2))``: then it is the argument. What others see of that memory, they see in a replay too.
    """

    def __init__(self) -> None:
        self._arguments: set[int] = set()  # by id: views of tensors that the function does not reach

    def look_at(self, call: Call) -> None:
        views = [t for t in call.tensors if t._view is not None and not t.requires_grad]
        if not views:
            return
        reached = {id(t) for t in call.tensors} | call.reached.keys()
        for environment in call.environments:
            reached |= environment.captured.keys()
        for t in views:
            chain, at = set(), t
            while at._view is not None:
                at = at._viewed()[0]
                chain.add(id(at))
            if chain.isdisjoint(reached):
                self._arguments.add(id(t))

    def of(self, t: Tensor) -> Tensor:
        """The tensor through which the function has the memory of ``t``."""
        while t._view is not None and id(t) not in self._arguments:
            t = t._viewed()[0]
        return t
