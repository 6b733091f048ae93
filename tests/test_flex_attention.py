"""Attention with functions of scores and positions, against the composition in NumPy."""

import numpy as np
import pytest

import tracer
from tracer.nn.flex_attention import (
    AuxRequest,
    and_masks,
    create_block_mask,
    create_mask,
    flex_attention,
    noop_mask,
    or_masks,
)

B, H, Q, K, E = 2, 4, 6, 6, 8


def operands(heads=H, dtype=tracer.float64):
    shapes = (B, H, Q, E), (B, heads, K, E), (B, heads, K, E)
    return [tracer.randn(s, dtype=dtype, requires_grad=True) for s in shapes]


def composed(q, k, v, change=lambda s, b, h, i, j: s, allowed=lambda b, h, i, j: True, scale=E**-0.5):
    """Element by element."""
    q, k, v = (x.detach().numpy() for x in (q, k, v))
    out = np.zeros((B, H, Q, E))
    for b in range(B):
        for h in range(H):
            for i in range(Q):
                at = [j for j in range(K) if allowed(b, h, i, j)]
                if at:
                    s = np.array([change(q[b, h, i] @ k[b, h, j] * scale, b, h, i, j) for j in at])
                    w = np.exp(s - s.max())
                    out[b, h, i] = w / w.sum() @ v[b, h, at]
    return out


@pytest.mark.parametrize("traced", [False, True])
def test_scores_and_masks(traced):
    slopes = tracer.randn(H, dtype=tracer.float64)
    document = tracer.randint(0, 2, (B, Q))
    run = tracer.trace(flex_attention) if traced else flex_attention
    causal = lambda b, h, q, k: q >= k
    same = lambda b, h, q, k: document[b, q] == document[b, k]
    mask = create_block_mask(and_masks(causal, same), B, None, Q, K, BLOCK_SIZE=2)
    for _ in range(3):
        x = operands()
        found = run(*x, score_mod=lambda s, b, h, q, k: s + slopes[h] * (q - k), block_mask=mask)
        expected = composed(
            *x,
            lambda s, b, h, i, j: s + slopes[h].item() * (i - j),
            lambda b, h, i, j: i >= j and document[b, i] == document[b, j],
        )
        np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-10, atol=1e-12)


def test_rows_without_keys_are_zero_and_have_gradients():
    x = operands()
    out = flex_attention(*x, block_mask=create_block_mask(lambda b, h, q, k: (q >= k) & (q > 1), None, None, Q, K))
    assert (out[:, :, :2] == 0).all() and (out[:, :, 2:] != 0).all()
    out.sum().backward()
    assert all(t.grad.isfinite().all() for t in x)


def test_grouped_heads_scale_and_sums():
    q, k, v = operands(heads=2)
    wide = [x.repeat_interleave(2, 1) for x in (k, v)]
    found, aux = flex_attention(q, k, v, scale=0.3, enable_gqa=True, return_aux=AuxRequest(lse=True))
    np.testing.assert_allclose(found.detach().numpy(), composed(q, *wide, scale=0.3), rtol=1e-10)
    assert tracer.allclose(aux.lse, tracer.logsumexp(q @ wide[0].transpose(-1, -2) * 0.3, -1))
    assert tracer.equal(flex_attention(q, *wide, return_lse=True)[1], tracer.logsumexp(q @ wide[0].mT * E**-0.5, -1))


def test_masks():
    assert create_mask(lambda b, h, q, k: q >= k, None, None, 3, 3)[0, 0].tolist() == [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
    assert create_mask(lambda s, b, h, q, k: s + q - k, 2, 1, 2, 2)[1, 0].tolist() == [[0, -1], [1, 0]]
    mask = create_block_mask(or_masks(lambda b, h, q, k: q >= k, lambda b, h, q, k: k == 0), None, None, 256, 256)
    assert mask.shape == (1, 1, 256, 256) and mask.sparsity() == 25 and mask.to_dense().tolist() == [[[[1, 0], [1, 1]]]]
    assert create_mask(noop_mask, None, None, 2, 3).all()
    assert "sparsity=25.00%" in repr(mask)


def test_errors():
    q, k, v = operands(heads=2)
    with pytest.raises(ValueError, match="enable_gqa=True"):
        flex_attention(q, k, v)
    with pytest.raises(NotImplementedError, match="4D"):
        flex_attention(q[0], k[0], v[0])
    with pytest.raises(ValueError, match="block_mask was created for"):
        flex_attention(q, k, v, enable_gqa=True, block_mask=create_block_mask(noop_mask, None, None, 3, 3))
