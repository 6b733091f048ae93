"""Compiled functions waiting for their backward pass, and changes of the memory that they have read.

Eager autograd saves results, and reads operands in place. A compiled function recomputes from its inputs, so it must be
notified before their memory changes. Every write to a tensor's memory sends a notification if ``WAITING`` is not empty.
"""

from __future__ import annotations

import weakref
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..runtime.devices import bounds

if TYPE_CHECKING:
    from .tensor import Tensor


class Waits(Protocol):
    """The interface of waiting nodes. Memory ranges from ``low`` to ``high``."""

    def before_change(self, low: int, high: int, counter: Any) -> None:
        """The memory is about to change; ``counter``, if not None, will count the change."""
        ...

    def before_exposure(self, low: int, high: int) -> None:
        """The memory may change undetected from now on."""
        ...

    def before_pass(self) -> None:
        """A backward pass begins."""
        ...

    def before_assignment(self, t: Tensor) -> None:
        """A tensor is about to get other memory."""
        ...


WAITING: set[weakref.ref[Any]] = set()


def wait(node: Waits) -> weakref.ref[Any]:
    """Starts notifications of the node, until its reference is discarded from ``WAITING``."""
    found = weakref.ref(node, WAITING.discard)
    WAITING.add(found)
    return found


def _waiting() -> list[Waits]:
    return [node for node in [ref() for ref in list(WAITING)] if node is not None]


def _memory(t: Tensor) -> np.ndarray:
    """An array on the memory that a change of ``t`` writes to."""
    return t._data if "_data" in vars(t) else t._root()._data


def will_change(t: Tensor, counted: bool = True, but: Collection[Any] = ()) -> None:
    """Notifies nodes, except ``but``, that the elements of ``t`` are about to change; ``counted``: a change counter will count
    it.
    """
    counter = t._changes() if counted else None
    low, high = bounds(_memory(t))
    for node in _waiting():
        if node not in but:
            node.before_change(low, high, counter)


def will_be_exposed(t: Tensor) -> None:
    """Notifies nodes that the memory of ``t`` is being exposed to code that may change it undetected."""
    low, high = bounds(_memory(t))
    for node in _waiting():
        node.before_exposure(low, high)


def will_be_assigned(t: Tensor) -> None:
    """Notifies nodes that ``t`` is about to get other memory, without a change counter."""
    for node in _waiting():
        node.before_assignment(t)


def pass_begins() -> None:
    """Notifies nodes before a backward pass reads the graph."""
    for node in _waiting():
        node.before_pass()
