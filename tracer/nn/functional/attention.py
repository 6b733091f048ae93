"""Attention and linear maps."""

from __future__ import annotations

import math
from typing import Any

from ...core.autocasting import casting
from ...core.fused import fused
from ...core.tensor import Tensor
from ...ir import ops as P
from ...ir.interp import joint_shape
from ...ops import matmul, reshape, softmax, transpose
from ...ops import pointwise as F
from ...ops import shape as S
from ...ops.diagonals import tril
from ...ops.opmath import opmath
from ...ops.products import einsum
from .masking import dropout

__all__ = ["bilinear", "linear", "multi_head_attention_forward", "scaled_dot_product_attention"]


@fused(any_strides=True, by_numpy=True)
def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input @ weight.T + bias; the weight is (out, in), or a vector."""
    if input.dtype is not weight.dtype:
        raise RuntimeError(f"mat1 and mat2 must have the same dtype, but got {input.dtype.ctype} and {weight.dtype.ctype}")
    if bias is not None and weight.ndim != 2:
        raise RuntimeError(f"mat2 must be a matrix, got {weight.ndim}-D tensor")
    out = matmul(input, transpose(weight, 0, 1) if weight.ndim == 2 else weight)
    return out if bias is None else F.add(out, bias)


def _projected(input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return linear(*casting("linear", input, weight, bias))


@opmath
def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x1 @ weight[k] @ x2 for each k; the weight is (out, in1, in2)."""
    if input1._data.shape[:-1] != input2._data.shape[:-1]:
        raise RuntimeError("bilinear(): input batch dimensions do not match")
    lead = input1._data.shape[:-1]
    a, b = (reshape(x, (math.prod(lead), x._data.shape[-1])) for x in (input1, input2))
    out = einsum("ni,oij,nj->no", a, weight, b)
    out = reshape(out, (*lead, weight._data.shape[0]))
    return out if bias is None else F.add(out, bias)


@opmath
def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(query @ key.T * scale + mask) @ value (Vaswani et al. 2017). A fully masked row gives zeros.

    If the scores are large and there is no dropout, they are computed by parts and never stored whole, in the backward pass
    too.
    """
    if min(query.ndim, key.ndim, value.ndim) < 2:
        raise RuntimeError(
            "Expected query, key, and value to all be at least 2 dimensional, but got query.dim: "
            f"{query.ndim}, key.dim: {key.ndim} and value.dim: {value.ndim} instead."
        )
    if is_causal and attn_mask is not None:
        raise RuntimeError("_scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True")
    if enable_gqa:
        from ...ops.moving import repeat_interleave

        times = query._data.shape[-3] // key._data.shape[-3]
        key, value = repeat_interleave(key, times, query.ndim - 3), repeat_interleave(value, times, query.ndim - 3)
    factor = 1 / math.sqrt(query._data.shape[-1] or 1) if scale is None else scale
    if not key._data.shape[-2]:  # no keys: zeros with or without a mask
        attn_mask, is_causal = None, False
    if dropout_p == 0 and query.dtype.is_native and _size_of_scores(query, key, value) >= _LARGE:
        return _attend_by_parts(query, key, value, attn_mask, factor, is_causal)
    if dropout_p == 0:
        return _attend(query, key, value, attn_mask, factor, is_causal)
    weights = _attention_weights(query, key, attn_mask, factor, is_causal)
    return matmul(dropout(weights, dropout_p, True), value)


@fused(any_strides=True)
def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float, causal: bool) -> Tensor:
    return matmul(_attention_weights(query, key, mask, scale, causal), value)


def _attention_weights(query: Tensor, key: Tensor, mask: Tensor | None, scale: float, causal: bool) -> Tensor:
    """softmax(query @ key.T * scale + mask); zeros where nothing is allowed."""
    scores = F.mul(matmul(query, transpose(key, -2, -1)), scale)
    if causal:
        m, n = scores._data.shape[-2:]
        mask = tril(P.full(value=True, shape=(m, n), dtype="bool"))
    if mask is None:
        return softmax(scores, -1)
    scores = F.where(mask, scores, -math.inf) if mask.dtype.name == "bool" else F.add(scores, mask)
    nothing = P.eq(P.max_(scores.detach(), axes=(scores.ndim - 1,)), -math.inf)
    nothing = S.unsqueeze(nothing, -1)
    return F.where(nothing, 0.0, softmax(F.where(nothing, 0.0, scores), -1))


_LARGE = 1 << 26  # bytes: smaller scores are computed whole
_PARTS = 256  # approximate maximum number of parts: each is several operations of a graph


def _lead(*tensors: Tensor) -> tuple[int, ...]:
    return joint_shape(*(t._data.shape[:-2] for t in tensors))


def _size_of_scores(query: Tensor, key: Tensor, value: Tensor) -> int:
    matrix = query._data.shape[-2] * key._data.shape[-2]
    return math.prod(_lead(query, key, value)) * matrix * query._data.itemsize


def _attend_by_parts(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float, causal: bool) -> Tensor:
    lead = _lead(query, key, value)
    operands = [S.expand(t, (*lead, *t._data.shape[-2:])) for t in (query, key, value)]
    if not lead:
        operands = [S.unsqueeze(t, 0) for t in operands]
    part = max(P.PART, _size_of_scores(query, key, value) // query._data.itemsize // _PARTS)
    attrs = {"scale": float(scale), "causal": causal, "part": part}
    if mask is None:
        result = P.attention(*operands, **attrs)
    else:
        columns = key._data.shape[-2]
        bias = _float_mask(F.logical_not(mask), query) if mask.dtype.name == "bool" else mask
        assert bias is not None
        shape = (1,) * (len(lead) + 2 - bias.ndim) + tuple(bias._data.shape)
        own = shape[:-2]
        # One for the whole batch, or for all of its last axes; otherwise one per batch element.
        after = next((i for i in range(len(lead) + 1) if own == lead[:i] + (1,) * (len(lead) - i)), None)
        kept = lead if after is None else own
        bias = S.expand(reshape(bias, shape), (*kept, shape[-2], columns))
        result = P.biased_attention(*operands, reshape(bias, (-1, shape[-2], columns)), **attrs)
    return result if lead else S.squeeze(result, 0)


def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Multi-head attention (Vaswani et al. 2017) of (L, N, E) or (L, E), with input and output projections.

    The weights are returned if ``need_weights``.
    """
    single = query.ndim == 2
    if single:
        query, key, value = (S.unsqueeze(t, 1) for t in (query, key, value))
        key_padding_mask = None if key_padding_mask is None else S.unsqueeze(key_padding_mask, 0)
    length, n, e = query._data.shape
    if e != embed_dim_to_check:
        raise AssertionError(f"was expecting embedding dimension of {embed_dim_to_check}, but got {e}")
    head = e // num_heads
    if head * num_heads != e:
        raise AssertionError(f"embed_dim {e} not divisible by num_heads {num_heads}")
    biases: Any = (None, None, None) if in_proj_bias is None else S.chunk(in_proj_bias, 3)
    if use_separate_proj_weight:
        weights: Any = (q_proj_weight, k_proj_weight, v_proj_weight)
    else:
        assert in_proj_weight is not None
        weights = S.chunk(in_proj_weight, 3)
    q, k, v = (_projected(x, w, b) for x, w, b in zip((query, key, value), weights, biases, strict=True))
    mask = _float_mask(attn_mask, q)
    padding = _float_mask(key_padding_mask, q)

    def longer(m: Tensor | None) -> Tensor | None:
        return None if m is None else S.pad(m, (0, 1))

    if bias_k is not None and bias_v is not None:
        k = S.cat([k, S.expand(bias_k, (1, n, bias_k._data.shape[-1]))])
        v = S.cat([v, S.expand(bias_v, (1, n, bias_v._data.shape[-1]))])
        mask, padding = longer(mask), longer(padding)

    def heads(x: Tensor) -> Tensor:
        return S.permute(reshape(x, (x._data.shape[0], n, num_heads, head)), (1, 2, 0, 3))

    qh = heads(q)
    kh = heads(k) if static_k is None else reshape(static_k, (n, num_heads, -1, head))
    vh = heads(v) if static_v is None else reshape(static_v, (n, num_heads, -1, head))
    if add_zero_attn:
        zero = P.full(value=0, shape=(n, num_heads, 1, head), dtype=q.dtype.short)
        kh, vh = S.cat([kh, zero], 2), S.cat([vh, zero], 2)
        mask, padding = longer(mask), longer(padding)
    if mask is not None and mask.ndim == 3:
        mask = reshape(mask, (n, num_heads, *mask._data.shape[1:]))
    if padding is not None:
        padding = S.unsqueeze(S.unsqueeze(padding, 1), 2)
        mask = padding if mask is None else F.add(mask, padding)
    attention = None
    if need_weights:
        scores = matmul(F.mul(qh, 1 / math.sqrt(head)), transpose(kh, -2, -1))
        scores = scores if mask is None else F.add(scores, mask)
        attention = dropout(softmax(scores, -1), dropout_p, training)
        seen = matmul(attention, vh)
    else:
        seen = scaled_dot_product_attention(qh, kh, vh, mask, dropout_p if training else 0.0)
    joined = reshape(S.permute(seen, (2, 0, 1, 3)), (length, n, e))
    out = _projected(joined, out_proj_weight, out_proj_bias)
    if single:
        out = S.squeeze(out, 1)
    if attention is None:
        return out, None
    shown = attention.mean(1) if average_attn_weights else attention
    return out, S.squeeze(shown, 0) if single else shown


def _float_mask(mask: Tensor | None, like: Tensor) -> Tensor | None:
    """A mask as numbers to add: masked positions of a bool mask become -inf."""
    if mask is None or mask.dtype.name != "bool":
        return mask
    zero = P.full(value=0, shape=(), dtype=like.dtype.short)
    return F.where(mask, -math.inf, zero)
