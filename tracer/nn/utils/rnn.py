"""Sequences of different lengths: packing and padding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ...core.tensor import Tensor
from ...ir import ops as P
from ...ir.types import int64
from ...ops import pointwise as F
from ...ops import shape as S
from ...ops.create import tensor
from ..packed import PackedSequence, inverse_permutation

__all__ = [
    "PackedSequence",
    "invert_permutation",
    "pack_padded_sequence",
    "pack_sequence",
    "pad_packed_sequence",
    "pad_sequence",
    "unpack_sequence",
    "unpad_sequence",
]

invert_permutation = inverse_permutation


def _numbers(lengths: Any) -> list[int]:
    if isinstance(lengths, Tensor):
        return [int(n) for n in lengths._observed("lengths").reshape(-1).tolist()]
    return [int(n) for n in lengths]


def pack_padded_sequence(
    input: Tensor, lengths: Tensor | Sequence[int], batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """The first ``lengths`` steps of sequences (T, N, ...), or (N, T, ...) if ``batch_first``, packed.

    If ``enforce_sorted``, the sequences must be in order of decreasing length. Raises RuntimeError if they are not, if a
    length is not positive, or for a wrong number of lengths.
    """
    x = S.transpose(input, 0, 1) if batch_first else input
    steps, n = x._data.shape[:2]
    given = _numbers(lengths)
    if len(given) != n:
        raise RuntimeError(f"Expected `len(lengths)` to be equal to batch_size, but got {len(given)} (batch_size={n})")
    if any(k <= 0 for k in given):
        raise RuntimeError("Length of all samples has to be greater than 0, but found an element in 'lengths' that is <= 0")
    order = sorted(range(n), key=lambda i: -given[i])
    ordered = [given[i] for i in order]
    if enforce_sorted and ordered != given:
        raise RuntimeError(
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You can pass "
            "`enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to sidestep this requirement if you do not "
            "need ONNX exportability."
        )
    if ordered[0] > steps:
        raise RuntimeError(f"Expected lengths of at most {steps}, the number of steps of the input, got {ordered[0]}")
    sizes = [sum(k > t for k in ordered) for t in range(ordered[0])]
    places = [t * n + order[i] for t, size in enumerate(sizes) for i in range(size)]
    rows = S.reshape(x, (steps * n, *x._data.shape[2:]))
    data = P.index_select(rows, tensor(places, dtype=int64), axis=0)
    if enforce_sorted:
        return PackedSequence(data, tensor(sizes, dtype=int64))
    back = sorted(range(n), key=lambda i: order[i])
    return PackedSequence(data, tensor(sizes, dtype=int64), tensor(order, dtype=int64), tensor(back, dtype=int64))


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Tensor, Tensor]:
    """The sequences (T, N, ...), or (N, T, ...) if ``batch_first``, in their original order, padded; and their lengths.

    T is the maximum length, or ``total_length``. Raises ValueError if that is less.
    """
    sizes = sequence.sizes()
    steps, n = len(sizes), sizes[0]
    total = steps if total_length is None else total_length
    if total < steps:
        raise ValueError(
            "Expected total_length to be at least the length of the longest sequence in input, but got "
            f"total_length={total_length} and max sequence length being {steps}"
        )
    back = range(n) if sequence.unsorted_indices is None else _numbers(sequence.unsorted_indices)
    lengths = [sum(size > k for size in sizes) for k in back]
    starts = [sum(sizes[:t]) for t in range(steps)]
    inside = [[t < length for length in lengths] for t in range(total)]
    places = [[starts[t] + k if inside[t][j] else 0 for j, k in enumerate(back)] for t in range(total)]
    out = P.index_select(sequence.data, tensor(places, dtype=int64), axis=0)
    mask = S.reshape(tensor(inside), (total, n, *(1,) * (sequence.data.ndim - 1)))
    out = F.where(mask, out, P.full(value=padding_value, shape=(), dtype=out.dtype.short))
    return S.transpose(out, 0, 1) if batch_first else out, tensor(lengths, dtype=int64)


def pad_sequence(
    sequences: Tensor | Iterable[Tensor],
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:
    """Sequences (L, ...) of different lengths as one tensor (T, N, ...), or (N, T, ...) if ``batch_first``, padded at one
    side.

    Raises RuntimeError if ``padding_side`` is not "left" or "right", or for shapes that do not fit.
    """
    if padding_side not in ("left", "right"):
        raise RuntimeError(f"Expected padding_side to be one of left or right, but got {padding_side}.")
    given = list(sequences.unbind(0)) if isinstance(sequences, Tensor) else list(sequences)
    if not given:
        raise RuntimeError("Expected sequences to be a non-empty list of tensors")
    for x in given:
        if not isinstance(x, Tensor):
            raise RuntimeError(f"pad_sequence: expected a list of Tensors, got an element of type {type(x).__name__}")
    longest = max(x._data.shape[0] for x in given)
    padded = []
    for x in given:
        missing = longest - x._data.shape[0]
        amounts = (missing, 0) if padding_side == "left" else (0, missing)
        padded.append(S.pad(x, (*(0,) * (2 * (x.ndim - 1)), *amounts), padding_value) if missing else x)
    return S.stack(padded, 0 if batch_first else 1)


def unpad_sequence(padded_sequences: Tensor, lengths: Tensor | Sequence[int], batch_first: bool = False) -> list[Tensor]:
    """The inverse of ``pad_sequence`` with padding at the ends."""
    rows = padded_sequences if batch_first else S.transpose(padded_sequences, 0, 1)
    return [S.narrow(row, 0, 0, n) for row, n in zip(rows.unbind(0), _numbers(lengths), strict=True)]


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Packs sequences (L, ...) of different lengths. See ``pack_padded_sequence``."""
    return pack_padded_sequence(pad_sequence(sequences), [x._data.shape[0] for x in sequences], False, enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The individual sequences."""
    return unpad_sequence(*pad_packed_sequence(packed_sequences, batch_first=True), batch_first=True)
