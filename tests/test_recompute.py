"""Large values that kernels recompute instead of storing them."""

import numpy as np
import pytest
from programs import RandomGraph, arguments
from test_fuzz import agree

import tracer
from tracer.ir import pipeline
from tracer.ir.interp import evaluate
from tracer.ir.ops import fusion
from tracer.ir.parse import parse_graph
from tracer.ir.passes import recompute as module
from tracer.nn import functional as F
from tracer.runtime.programs.layout import lay_out
from tracer.runtime.programs.program import Program

# A row kernel, and one that reads its exponentials and sums later: the product is between them.
SOFTMAX = """\
func @f(%x: f32[256,256], %w: f32[1,256]) -> (f32[256,256], f32[256]) {
  %m: f32[256] = max %x {axes=(1)}
  %mb: f32[256,256] = broadcast %m {shape=(256,256), axes=(0)}
  %d: f32[256,256] = sub %x, %mb
  %e: f32[256,256] = exp %d
  %s: f32[256] = sum %e {axes=(1)}
  %c: f32[256,1] = reshape %s {shape=(256,1)}
  %p: f32[256,256] = matmul %c, %w
  %y: f32[256,256] = mul %p, %e
  return %y, %s
}
"""


@pytest.fixture
def always(monkeypatch):
    monkeypatch.setattr(module, "_SMALLEST", 0)


def kernels(graph):
    return [op for op in pipeline.run(graph, pipeline.COMPILE).ops if op.primitive is fusion]


def test_exponentials_are_computed_again_from_the_row_maximum(always):
    graph = parse_graph(SOFTMAX)
    rows, last = kernels(graph)
    assert sorted(v.shape for v in rows.results) == [(256,), (256,)]  # the sum, and now the maximum
    assert [o.primitive.name for o in last.attrs["body"].ops].count("exp") == 1


def test_small_values_are_stored():
    rows, _ = kernels(parse_graph(SOFTMAX))
    assert (256, 256) in [v.shape for v in rows.results]


def test_results_of_the_graph_are_stored(always):
    text = SOFTMAX.replace("(f32[256,256], f32[256]) {", "(f32[256,256], f32[256], f32[256,256]) {").replace(
        "return %y, %s", "return %y, %s, %e"
    )
    rows, last = kernels(parse_graph(text))
    assert (256, 256) in [v.shape for v in rows.results]
    assert "exp" not in [o.primitive.name for o in last.attrs["body"].ops]


def test_values_agree(always):
    graph = parse_graph(SOFTMAX)
    rng = np.random.default_rng(0)
    args = [rng.standard_normal(shape).astype(np.float32) for shape in ((256, 256), (1, 256))]
    for a, b in zip(Program(lay_out(pipeline.run(graph, pipeline.COMPILE)))(*args), evaluate(graph, *args), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("block", range(4))
def test_random_programs(always, block):
    for seed in range(7000 + 40 * block, 7040 + 40 * block):
        graph = RandomGraph(seed, 6 + seed % 20).finish()
        args = arguments(graph, seed)
        after = pipeline.run(graph, pipeline.COMPILE)
        assert parse_graph(str(after)) == after
        agree(evaluate(after, *args), evaluate(graph, *args), after)


def test_a_large_cross_entropy():
    """Above the threshold: the pieces of its gradient are not stored."""
    rng = np.random.default_rng(0)
    data, target = rng.standard_normal((1100, 1024)).astype(np.float32), rng.integers(0, 1024, 1100)

    def run(x, t):
        loss = F.cross_entropy(x, t)
        loss.backward()
        return loss

    losses, grads = [], []
    for f in (run, tracer.trace(run)):
        x, t = tracer.from_numpy(data.copy()).requires_grad_(), tracer.from_numpy(target)
        losses.append(f(x, t).item())
        grads.append(x.grad.numpy())
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    np.testing.assert_allclose(grads[0], grads[1], rtol=1e-4, atol=1e-9)
