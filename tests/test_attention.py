"""Attention computed by parts."""

import numpy as np
import pytest

import tracer
from tracer.autograd import gradcheck, gradgradcheck
from tracer.nn import functional as F
from tracer.nn.functional import attention as module

P = module.P


@pytest.fixture
def divided(monkeypatch):
    """Makes a part a few scores."""
    monkeypatch.setattr(module, "_LARGE", 0)
    monkeypatch.setattr(P, "PART", 40)


def tensors(*shapes):
    generator = tracer.Generator().manual_seed(0)
    return [tracer.randn(*s, generator=generator, dtype=tracer.float64).requires_grad_() for s in shapes]


def masks():
    rng = np.random.default_rng(0)
    for shape in ((7, 5), (1, 5), (2, 1, 1, 5), (2, 1, 7, 5), (2, 3, 7, 5), (3, 1, 5), (1, 3, 7, 1)):
        yield tracer.tensor(rng.standard_normal(shape)).requires_grad_()
        yield tracer.tensor(rng.random(shape) < 0.7)
    yield tracer.tensor(np.arange(35).reshape(7, 5) % 5 > 5)  # everything is masked


def both(monkeypatch, run):
    """The results of ``run``, with gradients, with all scores at once and by parts."""
    results = []
    for large in (1 << 60, 0):
        monkeypatch.setattr(module, "_LARGE", large)
        results.append(run())
    return results


def agree(results):
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize("mask", [None, *masks()])
def test_parts_are_the_whole(monkeypatch, divided, mask, traced):
    q, k, v = tensors((2, 3, 7, 4), (2, 3, 5, 4), (2, 3, 5, 6))
    inputs = [t for t in (q, k, v, mask) if t is not None and t.requires_grad]

    def run():
        def attend(q, k, v, mask):
            y = F.scaled_dot_product_attention(q, k, v, mask)
            return y, *tracer.autograd.grad(y.sin().sum(), inputs)

        attend = tracer.trace(attend) if traced else attend
        for _ in range(2):
            result = attend(q, k, v, mask)
        return result

    agree(both(monkeypatch, run))


@pytest.mark.parametrize("rows", [3, 5, 9])
def test_causal_parts(monkeypatch, divided, rows):
    q, k, v = tensors((3, rows, 4), (3, 5, 4), (3, 5, 6))

    def run():
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.3)
        return y, *tracer.autograd.grad(y.sin().sum(), (q, k, v))

    agree(both(monkeypatch, run))


def test_heads_that_share_keys(monkeypatch, divided):
    q, k, v = tensors((2, 4, 7, 4), (1, 2, 5, 4), (1, 2, 5, 3))

    def run():
        y = F.scaled_dot_product_attention(q, k, v, enable_gqa=True)
        return y, *tracer.autograd.grad(y.sin().sum(), (q, k, v))

    agree(both(monkeypatch, run))


def test_derivatives_of_parts(divided):
    q, k, v = tensors((2, 5, 2), (2, 4, 2), (2, 4, 3))
    attend = lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True)
    assert gradcheck(attend, (q, k, v))
    assert gradgradcheck(attend, (q, k, v))


def test_a_compiled_function_of_parts_is_differentiated_from_outside(monkeypatch, divided):
    q, k, v = tensors((2, 5, 2), (2, 4, 2), (2, 4, 3))

    def run():
        attend = tracer.trace(lambda q, k, v: F.scaled_dot_product_attention(q, k, v))
        for _ in range(2):
            first = tracer.autograd.grad(attend(q, k, v).sin().sum(), (q, k, v), create_graph=True)
        return *first, *tracer.autograd.grad(sum(g.square().sum() for g in first), (q, k, v))

    agree(both(monkeypatch, run))


def test_the_whole_is_never_in_memory():
    q, k, v = (tracer.randn(4, 2048, 16).requires_grad_() for _ in range(3))  # 64 MiB of scores

    @tracer.trace
    def step(q, k, v):
        y = F.scaled_dot_product_attention(q, k, v)
        return y.detach(), *tracer.autograd.grad(y.square().sum(), (q, k, v))

    eager = step(q, k, v)
    for a, b in zip(step(q, k, v), eager, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-3, atol=1e-4)
    (trace,) = next(iter(step.traces.values()))
    assert trace.executable.program.frames[0].arena.nbytes < 48 << 20


def test_multi_head_attention_without_weights(monkeypatch, divided):
    layer = tracer.nn.MultiheadAttention(8, 2, batch_first=True, dtype=tracer.float64)
    (x,) = tensors((3, 5, 8))
    padding = tracer.tensor([[False] * 5, [False, False, True, True, True], [False] * 4 + [True]])
    seen = layer(x, x, x, key_padding_mask=padding)[0]
    agree([[seen], [layer(x, x, x, key_padding_mask=padding, need_weights=False)[0]]])
