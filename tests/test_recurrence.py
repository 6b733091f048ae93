"""Products of an unrolled recurrence become one, and their operands are computed in place."""

import numpy as np
import pytest

import tracer
from tracer.ir import pipeline
from tracer.ir.interp import evaluate
from tracer.ir.parse import parse_graph
from tracer.ir.passes.recurrence import batch_products
from tracer.runtime.programs.layout import lay_out
from tracer.runtime.programs.program import Program


def operations(graph):
    return [op.primitive.name for op in graph.ops]


def agree(graph, seed=0):
    """The graph after the pass, and the whole program, agree with the graph."""
    rng = np.random.default_rng(seed)
    args = [rng.standard_normal(v.shape).astype(v.dtype.numpy) for v in graph.inputs]
    expected = evaluate(graph, *args)
    after = batch_products(graph)
    assert parse_graph(str(after)) == after
    for got in (evaluate(after, *args), Program(lay_out(pipeline.run(graph, pipeline.COMPILE)))(*args)):
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
    return after


def sum_of_products(n, extra=""):
    """x1'y1 + ... + xn'yn of computed operands."""
    lines, total = [], None
    for i in range(n):
        lines.append(f"  %a{i}: f32[3,5] = exp %x{i}")
        lines.append(f"  %b{i}: f32[3,4] = neg %y{i}")
        lines.append(f"  %p{i}: f32[5,4] = matmul %a{i}, %b{i} {{ta=True}}")
        if total is not None:
            lines.append(f"  %s{i}: f32[5,4] = add {total}, %p{i}")
        total = f"%p{i}" if total is None else f"%s{i}"
    inputs = ", ".join([*(f"%x{i}: f32[3,5]" for i in range(n)), *(f"%y{i}: f32[3,4]" for i in range(n))])
    more = "".join(f", {v}" for v in extra.split())
    results = "f32[5,4]" + "".join(", f32[5,4]" if v[1] in "ps" else ", f32[3,5]" for v in extra.split())
    text = "\n".join([f"func @f({inputs}) -> ({results}) {{", *lines, f"  return {total}{more}", "}"])
    return parse_graph(text + "\n")


def test_a_sum_of_products_is_one_product():
    after = agree(sum_of_products(6))
    assert operations(after).count("matmul") == 1
    assert operations(after).count("add") == 0
    assert operations(after).count("adjoin") == 2


def test_a_few_products_stay_as_they_are():
    assert operations(batch_products(sum_of_products(3))).count("matmul") == 3


@pytest.mark.parametrize("extra", ["%p2", "%s3", "%a1", "%p0 %s4 %a5"])
def test_what_is_read_elsewhere_too(extra):
    after = agree(sum_of_products(6, extra))
    if extra == "%a1":  # operands may have other readers
        assert operations(after).count("matmul") == 1


def test_operands_that_cannot_be_computed_in_place_are_copied():
    """Inputs, constants, and values that two sums read with different other operands."""
    n = 5
    lines = [f"  %a{i}: f32[2,2] = exp %x{i}" for i in range(n)]
    lines += [f"  %p{i}: f32[2,2] = matmul %x{i}, %a{i} {{ta=True}}" for i in range(n)]
    lines += [f"  %q{i}: f32[2,2] = matmul %a{i}, %a{(i + 1) % n} {{ta=True}}" for i in range(n)]
    for letter, sums in (("p", "s"), ("q", "t")):
        lines.append(f"  %{sums}1: f32[2,2] = add %{letter}0, %{letter}1")
        lines += [f"  %{sums}{i}: f32[2,2] = add %{sums}{i - 1}, %{letter}{i}" for i in range(2, n)]
    inputs = ", ".join(f"%x{i}: f32[2,2]" for i in range(n))
    text = "\n".join([f"func @f({inputs}) -> (f32[2,2], f32[2,2]) {{", *lines, f"  return %s{n - 1}, %t{n - 1}", "}"])
    assert operations(agree(parse_graph(text + "\n"))).count("matmul") == 2


def test_column_sums_are_joined():
    n = 5
    lines = [f"  %a{i}: f32[3,4] = exp %x{i}" for i in range(n)]
    lines += [f"  %r{i}: f32[4] = sum %a{i} {{axes=(0)}}" for i in range(n)]
    lines.append("  %s1: f32[4] = add %r0, %r1")
    lines += [f"  %s{i}: f32[4] = add %s{i - 1}, %r{i}" for i in range(2, n)]
    inputs = ", ".join(f"%x{i}: f32[3,4]" for i in range(n))
    text = "\n".join([f"func @f({inputs}) -> f32[4] {{", *lines, f"  return %s{n - 1}", "}"])
    assert operations(agree(parse_graph(text + "\n"))).count("sum") == 1


def unrolled(x, w, u, b):
    h = tracer.zeros(4, 8)
    for t in range(x.shape[0]):
        h = tracer.tanh(x[t] @ w.T + h @ u.T + b)
    loss = (h * h).sum()
    loss.backward()
    return loss


def test_a_recurrence_and_its_gradient():
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s).astype(np.float32) / 3 for s in ((10, 4, 6), (8, 6), (8, 8), (8,))]
    traced = tracer.trace(unrolled)
    found = []
    for f in (unrolled, traced, traced):
        x, *weights = (tracer.from_numpy(a.copy()) for a in arrays)
        for w in weights:
            w.requires_grad_()
        found.append([f(x, *weights).item(), *(w.grad.numpy() for w in weights)])
    for got in found[1:]:
        for a, b in zip(got, found[0], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    (trace,) = (t for ts in traced.traces.values() for t in ts)
    names = [s.name for s in trace.executable.program.steps]
    # One for all inputs; each step but the first, forward and backward; one for each weight's gradient.
    assert names.count("matmul") <= 1 + 10 + 10 + 2
