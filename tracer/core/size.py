"""The type of shapes."""

from __future__ import annotations

from typing import Any

from ..ir.types import shown


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

    # Parts and sums are shapes too.

    def __getitem__(self, index: Any) -> Any:
        part = tuple.__getitem__(self, index)
        return Size(part) if part.__class__ is tuple else part

    def __add__(self, other: Any) -> Any:
        whole = tuple.__add__(self, other)
        return Size(whole) if all(isinstance(n, int) for n in other) else whole

    def __radd__(self, other: Any) -> Any:
        return Size(other) + self if isinstance(other, tuple) else NotImplemented

    def __mul__(self, n: Any) -> Size:
        return Size(tuple.__mul__(self, n))

    __rmul__ = __mul__

    def __repr__(self) -> str:
        return f"{shown.package}.Size({list(self)})"
