"""Compiled functions that wait for their backward pass, and changes of the memory that they have read.

Eager autograd keeps what was computed, and reads operands where they are. A compiled function computes again from its
inputs; so it has to know before their memory changes. Whoever writes to the memory of a tensor says so, if ``WAITING`` is not
empty.
"""

from __future__ import annotations

import weakref
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.lib.array_utils import byte_bounds

if TYPE_CHECKING:
    from .tensor import Tensor


class Waits(Protocol):
    """What waits. Memory is from ``low`` to ``high``."""

    def before_change(self, low: int, high: int, counter: Any) -> None:
        """It is about to change; ``counter`` will count that, if it is not None."""
        ...

    def before_exposure(self, low: int, high: int) -> None:
        """It may change unseen from now on."""
        ...

    def before_pass(self) -> None:
        """A backward pass begins."""
        ...

    def before_assignment(self, t: Tensor) -> None:
        """A tensor is about to get other memory."""
        ...


WAITING: set[weakref.ref[Any]] = set()


def wait(node: Waits) -> None:
    WAITING.add(weakref.ref(node, WAITING.discard))


def rest(node: Waits) -> None:
    """The node waits no longer."""
    WAITING.discard(weakref.ref(node))


def _waiting() -> list[Waits]:
    return [node for node in [ref() for ref in list(WAITING)] if node is not None]


def _memory(t: Tensor) -> np.ndarray:
    """An array in the memory that a change of ``t`` is written to."""
    return t._data if "_data" in vars(t) else t._root()._data


def will_change(t: Tensor, counted: bool = True, but: Collection[Any] = ()) -> None:
    """The elements of ``t`` are about to change; whether that is ``counted`` among the changes of its memory. All ``but`` some
    nodes learn of it.
    """
    counter = t._changes() if counted else None
    low, high = byte_bounds(_memory(t))
    for node in _waiting():
        if node not in but:
            node.before_change(low, high, counter)


def will_be_exposed(t: Tensor) -> None:
    """Somebody gets hold of the memory of ``t`` who need not say when it changes."""
    low, high = byte_bounds(_memory(t))
    for node in _waiting():
        node.before_exposure(low, high)


def will_be_assigned(t: Tensor) -> None:
    """``t`` is about to get other memory, and no counter will tell."""
    for node in _waiting():
        node.before_assignment(t)


def pass_begins() -> None:
    """Before a backward pass looks at the graph."""
    for node in _waiting():
        node.before_pass()
