"""Attention with a function of scores and positions, as ``torch.nn.attention.flex_attention``.

Functions get tensors of positions that broadcast against the scores, so they are called once. All scores are computed.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ..core.tensor import Tensor
from ..ir.types import float32, int32
from ..ops import arange, expand, matmul, ones, softmax, where
from ..ops.reduce import logsumexp

__all__ = [
    "AuxOutput",
    "AuxRequest",
    "BlockMask",
    "and_masks",
    "create_block_mask",
    "create_mask",
    "flex_attention",
    "noop_mask",
    "or_masks",
]

Mod = Callable[..., Tensor]
_DEFAULT_SPARSE_BLOCK_SIZE = 128  # packages import this name


class AuxRequest(NamedTuple):
    """What else ``flex_attention`` returns: the logarithms of the sums of exponentials, and the largest scores."""

    lse: bool = False
    max_scores: bool = False


class AuxOutput(NamedTuple):
    lse: Tensor | None = None
    max_scores: Tensor | None = None


def noop_mask(batch: Tensor, head: Tensor, token_q: Tensor, token_kv: Tensor) -> Tensor:
    """True everywhere."""
    return ones(token_q.shape, dtype=bool, device=token_q.device)


def and_masks(*mask_mods: Mod) -> Mod:
    """The function that is true where all of them are."""
    return lambda *at: functools.reduce(operator.and_, (mod(*at) for mod in mask_mods))


def or_masks(*mask_mods: Mod) -> Mod:
    """The function that is true where one of them is."""
    return lambda *at: functools.reduce(operator.or_, (mod(*at) for mod in mask_mods))


def _positions(shape: Sequence[int], device: Any) -> list[Tensor]:
    """The positions along each axis, which broadcast to the shape."""
    sizes = [[-1 if k == axis else 1 for k in range(4)] for axis in range(4)]
    return [arange(n, dtype=int32, device=device).view(size) for n, size in zip(shape, sizes, strict=True)]


class BlockMask:
    """Which pairs of queries and keys count: ``mask_mod(b, h, q, k)``, computed once for these extents."""

    def __init__(self, mask_mod: Mod, mask: Tensor, block_size: tuple[int, int]):
        self.mask_mod, self.mask, self.BLOCK_SIZE = mask_mod, mask, block_size

    @property
    def shape(self) -> tuple[int, ...]:
        """Batch, heads, queries and keys."""
        return tuple(self.mask.shape)

    @property
    def seq_lengths(self) -> tuple[int, int]:
        """The numbers of queries and keys."""
        return self.mask.shape[2], self.mask.shape[3]

    def numel(self) -> int:
        """The number of pairs."""
        return self.mask.numel()

    def to(self, device: Any) -> BlockMask:
        """The mask on a device."""
        return BlockMask(self.mask_mod, self.mask.to(device), self.BLOCK_SIZE)

    def to_dense(self) -> Tensor:
        """For each block of the mask 1 if a pair of it counts, else 0."""
        from .functional import pad

        (q, k), (rows, columns) = self.seq_lengths, self.BLOCK_SIZE
        blocks = pad(self.mask, (0, -k % columns, 0, -q % rows))
        b, h, q, k = blocks.shape
        return blocks.view(b, h, q // rows, rows, k // columns, columns).any(5).any(3).to(int32)

    def sparsity(self) -> float:
        """The share of the pairs, in percent, that is in blocks of which no pair counts."""
        return 100 * (1 - int(self.to_dense().sum()) * self.BLOCK_SIZE[0] * self.BLOCK_SIZE[1] / self.numel())

    def __getitem__(self, index: Any) -> BlockMask:
        return BlockMask(self.mask_mod, self.mask[index], self.BLOCK_SIZE)

    def __repr__(self) -> str:
        return f"BlockMask(shape={self.shape}, BLOCK_SIZE={self.BLOCK_SIZE}, sparsity={self.sparsity():.2f}%)"


def create_mask(mod_fn: Mod, B: int | None, H: int | None, Q_LEN: int, KV_LEN: int, device: Any = None) -> Tensor:
    """The mask that a function of positions gives; or, of a function of scores and positions, what it adds to zeros."""
    shape = (B or 1, H or 1, Q_LEN, KV_LEN)
    at = _positions(shape, device)
    try:
        found = mod_fn(*at)
    except TypeError:
        found = mod_fn(ones(shape, device=device) * 0.0, *at)
    return expand(found, shape)


def create_block_mask(
    mask_mod: Mod,
    B: int | None,
    H: int | None,
    Q_LEN: int,
    KV_LEN: int,
    device: Any = None,
    BLOCK_SIZE: int | tuple[int, int] = _DEFAULT_SPARSE_BLOCK_SIZE,
    _compile: bool = False,
    **ignored: Any,
) -> BlockMask:
    """The mask of ``mask_mod(b, h, q, k)`` for ``flex_attention``. ``B`` or ``H`` is None for a mask that is the same for all
    batches, or heads. ``BLOCK_SIZE`` has an effect on ``to_dense`` and ``sparsity`` only.
    """
    size = (BLOCK_SIZE, BLOCK_SIZE) if isinstance(BLOCK_SIZE, int) else BLOCK_SIZE
    return BlockMask(mask_mod, create_mask(mask_mod, B, H, Q_LEN, KV_LEN, device), size)


def flex_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    score_mod: Mod | None = None,
    block_mask: BlockMask | None = None,
    scale: float | None = None,
    enable_gqa: bool = False,
    return_lse: bool = False,
    kernel_options: Any = None,
    *,
    return_aux: AuxRequest | None = None,
) -> Any:
    """softmax(score_mod(scale q k', b, h, q, k)) v over the pairs that the mask allows; rows without any are zero.

    Operands are [batch, heads, length, width]. With ``enable_gqa`` there may be fewer heads of keys and values than of queries.
    Returns also the logarithms of the sums of exponentials with ``return_lse``, or an ``AuxOutput`` with ``return_aux``. Raises
    NotImplementedError for operands that are not 4-dimensional, ValueError for extents that do not fit.
    """
    if any(x.ndim != 4 for x in (query, key, value)):
        raise NotImplementedError("NYI: query, key, and value must be 4D tensors")
    heads, own = query.shape[1], key.shape[1]
    if heads != own:
        if not enable_gqa:
            raise ValueError(
                "Expect query and key/value to have the same number of heads "
                f"but got Hq={heads} and Hkv={own}. Try setting enable_gqa=True for GQA."
            )
        if heads % own:
            raise ValueError(
                f"Expect number of query heads to be a multiple of kv heads for GQA but got Hq={heads} and Hkv={own}."
            )
        key, value = (x.repeat_interleave(heads // own, 1) for x in (key, value))
    wide = query.dtype if not query.dtype.is_half else float32
    scores = matmul(query.to(wide), key.to(wide).transpose(-2, -1)) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if score_mod is not None:
        scores = score_mod(scores, *_positions(tuple(scores.shape), scores.device))
    if block_mask is not None:
        if block_mask.seq_lengths != (query.shape[2], key.shape[2]):
            raise ValueError(
                f"block_mask was created for block_mask.shape={block_mask.shape} but got q_len={query.shape[2]} and "
                f"kv_len={key.shape[2]}."
            )
        scores = where(block_mask.mask, scores, float("-inf"))
    found = scores > float("-inf")
    weights = where(found, softmax(where(found.any(-1, keepdim=True), scores, 0.0), -1), 0.0)
    out = matmul(weights, value.to(wide)).to(query.dtype)
    if return_aux is not None:
        lse = logsumexp(scores, -1) if return_aux.lse else None
        return out, AuxOutput(lse, scores.amax(-1) if return_aux.max_scores else None)
    return (out, logsumexp(scores, -1)) if return_lse else out
