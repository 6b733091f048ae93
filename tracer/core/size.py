"""The type of shapes."""

from __future__ import annotations


class Size(tuple[int, ...]):
    """The shape of a tensor: a tuple of ints, from an ``iterable``; without one, that of a scalar. Raises TypeError for
    anything else.
    """

    __slots__ = ()

    def numel(self) -> int:
        """The number of elements: the product of the extents."""
        n = 1
        for extent in self:
            n *= extent
        return n

    def __repr__(self) -> str:
        return f"tracer.Size({list(self)})"
