"""Large scores are computed by parts, however attention is spelled."""

import importlib
import math

import numpy as np
import pytest

import tracer
from tracer.ir import pipeline
from tracer.ir.autodiff import vjp
from tracer.ir.interp import evaluate
from tracer.ir.parse import parse_graph
from tracer.ir.primitive import Kind
from tracer.nn import functional as F
from tracer.runtime.programs.layout import lay_out
from tracer.runtime.programs.program import Program
from tracer.tracing.split import split

module = importlib.import_module("tracer.ir.passes.divide")
N = 48  # keys: scores have at least this many columns


@pytest.fixture(params=["rows", "matrix", "matrices"], autouse=True)
def parts(request, monkeypatch):
    """Makes a part a third of a matrix, a matrix, or up to four matrices, if there are more."""
    monkeypatch.setattr(module, "LARGE", 1 << 8)
    monkeypatch.setattr(module, "_MOST_PARTS", 1 << 10)

    def choose(graph):
        leads, matrix = max(((v.shape[:-2], math.prod(v.shape[-2:])) for v in scores(graph)), default=((), 1))
        count = {"rows": 1 / 3, "matrix": 1, "matrices": 4}[request.param]
        monkeypatch.setattr(module, "PART", int(matrix * min(count, 1 if math.prod(leads) > 1 else 1 / 3)))

    global _choose_parts
    _choose_parts = choose


def scores(graph):
    return [op.result for op in graph.ops if module.is_thin(op)]


def stored(graph, numel):
    """The number of large values that are computed."""
    computed = [op for op in graph.ops if op.primitive.kind is not Kind.MOVEMENT and op.primitive.name != "full"]
    return sum(v.type.numel >= numel for op in computed for v in op.results)


def before_division(graph):
    return pipeline.run(graph, pipeline.COMPILE[: pipeline.COMPILE.index(pipeline.divide)])


def recorded(function, *tensors):
    tracer.manual_seed(0)
    traced = tracer.trace(function)
    traced(*tensors)
    (graph,) = traced.graphs()
    return graph


def agree(graph, *, divided=True):
    """The pass keeps the results of the graph, and of its program. Returns the graph after it."""
    rng = np.random.default_rng(0)
    integers = lambda v: rng.integers(0, 2, v.shape)
    args = [
        (rng.standard_normal(v.shape) if v.dtype.is_floating_point else integers(v)).astype(v.dtype.numpy) for v in graph.inputs
    ]
    expected = evaluate(graph, *args)
    before = before_division(graph)
    _choose_parts(before)
    after = module.divide(before)
    assert parse_graph(str(after)) == after
    for got in (evaluate(after, *args), Program(lay_out(pipeline.run(graph, pipeline.COMPILE)))(*args)):
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * max(1, np.abs(b[np.isfinite(b)]).max(initial=0)))
    if divided:
        numel = max(v.type.numel for v in scores(before))
        assert stored(after, numel) < stored(before, numel) / 2
    else:
        assert after == before
    return after


def masked(q, k, v, mask):
    scores = (q @ k.transpose(-2, -1)) * (1 / math.sqrt(k.size(-1)))
    return F.softmax(scores.masked_fill(mask == 0, float("-inf")), dim=-1) @ v


def by_einsum(q, k, v, mask):
    return tracer.einsum("bhij,bhjd->bhid", (tracer.einsum("bhid,bhjd->bhij", q, k) + mask).softmax(-1), v)


def by_bmm(q, k, v, mask):
    b, h, n, d = q.shape
    q, k, v = (x.reshape(b * h, -1, d) for x in (q, k, v))
    scores = tracer.bmm(q, k.transpose(1, 2)).view(b, h, n, -1) + mask
    return tracer.bmm(F.softmax(scores.view(b * h, n, -1), dim=-1), v)


def written_out(q, k, v, mask):
    scores = q.matmul(k.mT) / 3 + mask
    e = tracer.exp(scores - scores.amax(-1, keepdim=True))
    return (e / e.sum(-1, keepdim=True)).matmul(v)


def normalised_last(q, k, v, mask):
    e = (q @ k.mT + mask).clamp(-4, 4).exp()
    return (e @ v) / e.sum(-1, keepdim=True)


def capped(q, k, v, mask):
    return (30 * tracer.tanh(q @ k.mT / 30) + mask).softmax(-1) @ v


def without_softmax(q, k, v, mask):
    return F.relu(q @ k.mT + mask).square() @ v


def of_distances(q, k, v, mask):
    squares = (q * q).sum(-1, keepdim=True) + (k * k).sum(-1).unsqueeze(-2) - 2 * (q @ k.mT)
    return tracer.exp(-squares / 9 + mask) @ v


SPELLINGS = [masked, by_einsum, by_bmm, written_out, normalised_last, capped, without_softmax, of_distances]


def tensors(rows=N, heads=3, lead=(2,), mask=None):
    generator = tracer.Generator().manual_seed(1)
    draw = lambda *shape: tracer.randn(*shape, generator=generator)
    q, k, v = draw(*lead, heads, rows, 6), draw(*lead, heads, N, 6), draw(*lead, heads, N, 6)
    return q.requires_grad_(), k.requires_grad_(), v.requires_grad_(), draw(*(mask or (rows, N))).abs() + 0.1


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_results(spelling):
    agree(recorded(lambda *t: spelling(*(x.detach() for x in t)), *tensors()))


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_gradients(spelling):
    def step(q, k, v, mask):
        loss = spelling(q, k, v, mask).sin().sum()
        return loss, *tracer.autograd.grad(loss, (q, k, v))

    agree(recorded(step, *tensors()))


@pytest.mark.parametrize(
    "mask", [(N,), (1, N), (7, N), (2, 1, 1, N), (2, 1, 7, N), (3, 7, N), (3, 1, 1), (2, 3, 7, N), (2, 3, 7, 1), (2, 1, 7, 1)]
)
def test_masks(mask):
    def step(q, k, v, mask):
        loss = written_out(q, k, v, mask).sin().sum()
        return loss, *tracer.autograd.grad(loss, (q, k, v))

    agree(recorded(step, *tensors(7, mask=mask)))


@pytest.mark.parametrize(("heads", "lead"), [(1, (1,)), (5, ()), (1, (4,)), (4, (1,)), (2, (3, 1)), (2, (1, 3))])
def test_leading_axes(heads, lead):
    agree(recorded(lambda q, k, v, mask: masked(q.detach(), k.detach(), v.detach(), mask), *tensors(13, heads, lead)))


def test_two_matrices():
    q, k, v, _ = (x.detach() for x in tensors())
    agree(recorded(lambda q, k, v: F.softmax(q @ k.T, -1) @ v, q[0, 0], k[0, 0], v[0, 0]))


def test_dropout_draws_the_same_numbers():
    def step(q, k, v, mask):
        loss = (F.dropout(F.softmax(q @ k.mT + mask, -1), 0.3) @ v).sin().sum()
        return loss, *tracer.autograd.grad(loss, (q, k, v))

    agree(recorded(step, *tensors()))


@pytest.mark.parametrize("rows", [7, N])
def test_transposed_results(rows):
    """The product that sums over rows is itself one of thin matrices, of another shape."""

    def step(q, k, v, mask):
        p = (q @ k.mT).softmax(-1)
        return q.mT @ p, v.mT @ p.mT if rows == N else p @ v

    agree(recorded(step, *(x.detach() for x in tensors(rows))), divided=rows != N)


def test_two_layers():
    def step(q, k, v, mask):
        x = masked(masked(q, k, v, mask), k, v, mask)
        loss = x.sin().sum()
        return loss, *tracer.autograd.grad(loss, (q, k, v))

    agree(recorded(step, *tensors()))


def test_weights_that_two_layers_share():
    def step(q, k, v, mask):
        p = (q @ k.mT + mask).softmax(-1)
        loss = (p @ (p @ v).tanh()).sin().sum()
        return loss, *tracer.autograd.grad(loss, (q, k, v))

    agree(recorded(step, *tensors()))


@pytest.mark.parametrize("axes", [None, (0, 1), (2,), (0, 1, 2), (0, 1, 3), (2, 3), (0,), (1, 3)])
def test_sums_over_pairs(axes):
    def step(q, k, v, mask):
        weights = tracer.exp(q @ k.mT / 9)
        return (weights.sum(axes) if axes else weights.sum()), weights @ v

    agree(recorded(step, *(x.detach() for x in tensors())), divided=axes not in ((0,), (1, 3)))


def test_second_derivatives():
    def step(q, k, v, mask):
        (g,) = tracer.autograd.grad(masked(q, k, v, mask).sin().sum(), q, create_graph=True)
        return tracer.autograd.grad(g.square().sum(), (q, k, v))

    agree(recorded(step, *tensors()))


def test_numbers_of_rows_that_are_read_elsewhere():
    def step(q, k, v, mask):
        scores = q @ k.mT + mask
        return scores.softmax(-1) @ v, tracer.logsumexp(scores, -1), scores.amax(-1, keepdim=True)

    agree(recorded(step, *(x.detach() for x in tensors())))


def test_weights_that_are_returned_stay_whole():
    def step(q, k, v, mask):
        p = (q @ k.mT + mask).softmax(-1)
        return p @ v, p

    agree(recorded(step, *(x.detach() for x in tensors())), divided=False)


def test_products_of_wide_matrices_stay_whole():
    x, w = tracer.randn(N, 40), tracer.randn(N, 40)
    agree(recorded(lambda x, w: (x @ w.T).softmax(-1) @ w, x, w), divided=False)


def test_a_product_that_nothing_makes_small_stays_whole():
    agree(recorded(lambda q, k, v, mask: (q @ k.mT + mask).exp(), *(x.detach() for x in tensors())), divided=False)


def test_scores_are_not_saved_for_a_backward_pass_outside():
    weights = tracer.randn(3, 6, 6)

    def attend(q, k, v, mask, weights):
        return masked(*(x.detach() @ w for x, w in zip((q, k, v), weights, strict=True)), mask)

    graph = pipeline.run(recorded(attend, *tensors(), weights), pipeline.SIMPLIFY)
    joint = pipeline.run(vjp(graph, [4], [0]), pipeline.SIMPLIFY)
    forward, backward, _ = split(joint, graph)
    (scores_,) = scores(graph)
    assert all(v.type.numel < scores_.type.numel for v in forward.outputs)
    agree(forward)
    agree(backward)
