"""The tensors whose memory views show, as far as the recorded function knows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.tensor import Tensor

if TYPE_CHECKING:
    from .calls import Call


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
