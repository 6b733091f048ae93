"""Packed sequences of different lengths, step by step, so that recurrent layers compute no padding."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..core.tensor import Tensor
from ..ir.types import DType, float16, float32, float64, int8, int16, int32, int64, uint8
from ..ops.create import tensor


class _Fields(NamedTuple):
    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None
    unsorted_indices: Tensor | None


def inverse_permutation(order: Tensor | None) -> Tensor | None:
    """The inverse of a permutation."""
    if order is None:
        return None
    places = order._observed("a permutation").tolist()
    inverse = [0] * len(places)
    for i, p in enumerate(places):
        inverse[p] = i
    return tensor(inverse, dtype=int64, device=order.device)


class PackedSequence(_Fields):
    """Sequences in one tensor: the first step of all, then the second step of those that have one, and so on.

    ``data`` (steps of all sequences, ...); ``batch_sizes`` (int64): the number of sequences at each step. The sequences are
    in order of decreasing length; ``sorted_indices`` and ``unsorted_indices`` give the permutation and its inverse. Created
    by ``pack_padded_sequence`` and ``pack_sequence``.
    """

    def __new__(
        cls,
        data: Tensor,
        batch_sizes: Tensor | None = None,
        sorted_indices: Tensor | None = None,
        unsorted_indices: Tensor | None = None,
    ) -> PackedSequence:
        if batch_sizes is None:  # the older form: a pair
            data, batch_sizes = data
        if unsorted_indices is None:
            unsorted_indices = inverse_permutation(sorted_indices)
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)  # type: ignore[type-var]

    def sizes(self) -> list[int]:
        """``batch_sizes`` as Python ints."""
        return self.batch_sizes._observed("the sizes of a packed sequence").tolist()

    def with_data(self, data: Tensor) -> PackedSequence:
        """The same lengths and order, with other data."""
        return PackedSequence(data, *self[1:])

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """With ``data`` in another dtype or on another device; the object itself if nothing changes. ``batch_sizes`` stay."""
        data = self.data.to(*args, **kwargs)
        if data is self.data:
            return self
        order = [None if t is None else t.to(data.device) for t in (self.sorted_indices, self.unsorted_indices)]
        return PackedSequence(data, self.batch_sizes, *order)

    def _cast(self, dtype: DType) -> PackedSequence:
        return self.to(dtype=dtype)

    def double(self) -> PackedSequence:
        return self._cast(float64)

    def float(self) -> PackedSequence:
        return self._cast(float32)

    def half(self) -> PackedSequence:
        return self._cast(float16)

    def long(self) -> PackedSequence:
        return self._cast(int64)

    def int(self) -> PackedSequence:
        return self._cast(int32)

    def short(self) -> PackedSequence:
        return self._cast(int16)

    def char(self) -> PackedSequence:
        return self._cast(int8)

    def byte(self) -> PackedSequence:
        return self._cast(uint8)

    def cpu(self) -> PackedSequence:
        return self.to("cpu")

    def cuda(self, device: Any = None, non_blocking: bool = False) -> PackedSequence:
        """On a CUDA device. Raises RuntimeError if there is none."""
        return self.to("cuda" if device is None else device, non_blocking=non_blocking)

    def pin_memory(self) -> PackedSequence:
        """In page-locked memory, as ``Tensor.pin_memory``."""
        data, *others = (None if t is None else t.pin_memory() for t in self)
        return PackedSequence(data, *others)  # type: ignore[arg-type]

    def is_pinned(self) -> bool:
        return self.data.is_pinned()

    @property
    def is_cuda(self) -> bool:
        return self.data.is_cuda
