"""Row kernels: sums that select one element, values kept between loops, kernels merged with later ones."""

import numpy as np
import pytest

import tracer
from tracer.ir import pipeline
from tracer.ir.interp import evaluate
from tracer.ir.ops import fusion
from tracer.ir.parse import parse_graph
from tracer.nn import functional as F
from tracer.runtime.programs.layout import lay_out
from tracer.runtime.programs.program import Program


def compiled(graph):
    return Program(lay_out(pipeline.run(graph, pipeline.COMPILE)))


def agree(graph, *args):
    for a, b in zip(compiled(graph)(*args), evaluate(graph, *args), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


PICK = """\
func @f(%x: {t}[5,40], %i: {p}[5]) -> {t}[5] {{
  %ib: {p}[5,40] = broadcast %i {{shape=(5,40), axes=(0)}}
  %n: {p}[5,40] = iota {{shape=(5,40), axis=1, dtype="{p}"}}
  %c: bool[5,40] = eq {order}
  %z: {t}[5,40] = full {{value={zero}, shape=(5,40), dtype="{t}"}}
  %y: {t}[5,40] = where %c, %x, %z
  %m: {t}[5,40] = neg %y
  %s: {t}[5] = sum %m {{axes=(1)}}
  return %s
}}
"""


@pytest.mark.parametrize("order", ["%ib, %n", "%n, %ib"])
@pytest.mark.parametrize(("t", "p"), [("f32", "i64"), ("f64", "i32"), ("i64", "i64"), ("i32", "u8")])
def test_a_sum_that_picks_one_element_reads_it(t, p, order):
    graph = parse_graph(PICK.format(t=t, p=p, order=order, zero=0.0 if t[0] == "f" else 0))
    (step,) = compiled(graph).steps
    assert step.source.count("for ") == 1  # over the rows
    kind, positions = (np.dtype({"f": "float", "i": "int", "u": "uint"}[n[0]] + n[1:].replace("8", "8")) for n in (t, p))
    x = np.random.default_rng(0).integers(-9, 9, (5, 40)).astype(kind)
    if t[0] == "f":
        x[0, 3], x[1, 0] = np.nan, np.inf  # not selected
    agree(graph, x, np.array([39, 7, 0, 40, 200], positions))
    if p[0] == "i":
        agree(graph, x, np.array([-1, -40, 5, 2**31 - 1, -(2**31)], positions))


def test_another_number_than_zero_elsewhere_is_summed():
    text = PICK.format(t="f32", p="i64", order="%ib, %n", zero=0.0).replace("value=0.0", "value=1.0")
    agree(parse_graph(text), np.ones((5, 40), np.float32), np.arange(5))


SOFTMAX = """\
func @f(%x: f32[64,{n}]) -> (f32[64,{n}], f32[64]) {{
  %m: f32[64] = max %x {{axes=(1)}}
  %mb: f32[64,{n}] = broadcast %m {{shape=(64,{n}), axes=(0)}}
  %d: f32[64,{n}] = sub %x, %mb
  %e: f32[64,{n}] = exp %d
  %s: f32[64] = sum %e {{axes=(1)}}
  %sb: f32[64,{n}] = broadcast %s {{shape=(64,{n}), axes=(0)}}
  %y: f32[64,{n}] = div %e, %sb
  return %y, %s
}}
"""


@pytest.mark.parametrize("n", [1, 3, 9, 10, 33, 1000, 40_000])
def test_exponentials_of_a_row_are_kept(n):
    graph = parse_graph(SOFTMAX.format(n=n))
    if n > 9:
        (step,) = compiled(graph).steps
        assert step.source.count(" exp(") == (2 if n in (10, 40_000) else 1)  # 10 numbers are shorter than a vector
    agree(graph, np.random.default_rng(0).standard_normal((64, n)).astype(np.float32))


@pytest.mark.parametrize("n", [16, 40, 1000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_row_without_another_result_keeps_its_exponentials(n, dtype):
    """No result needs the sum before the last loop, which divides the values that the loop before it has stored."""
    x = np.random.default_rng(0).standard_normal((3, 64, n)).astype(dtype)
    for function in (lambda x: (x * 2).softmax(-1), lambda x: x.sigmoid().softmax(-1)):
        traced = tracer.trace(function)
        got = traced(tracer.tensor(x))
        (trace,) = next(iter(traced.traces.values()))
        (source,) = [step.source for step in trace.executable.program.steps]
        last = source[source.rindex("for ") :]
        assert "exp(" not in last and last.count("load(") == 1 and last.count(" = ") == 2
        np.testing.assert_allclose(got.numpy(), function(tracer.tensor(x)).numpy(), rtol=1e-6)


@pytest.mark.parametrize("n", [9, 40, 255, 256, 1000])
def test_long_rows_are_asked_for_while_the_one_before_is_computed(n):
    graph = parse_graph(SOFTMAX.format(n=n))
    (step,) = compiled(graph).steps
    asked = [line.strip() for line in step.source.split("\n") if "prefetch(" in line]
    loops = step.source.count("for r") + step.source.count("for c")
    assert len(asked) == (loops if n >= 256 else 0)  # a part before each loop over the row
    assert all(line.startswith("prefetch(p0, (i0 + 1) * n") for line in asked)  # of the next row, for arrays that are only read
    agree(graph, np.random.default_rng(0).standard_normal((64, n)).astype(np.float32))


def test_each_element_of_a_row_is_requested_once():
    """The parts before the loops are a partition of the row, for every extent."""
    graph = parse_graph(SOFTMAX.format(n=1000))
    (step,) = compiled(graph).steps
    parts = [line.strip() for line in step.source.split("\n") if "prefetch(" in line]
    for extent in (256, 1000, 1024, 4097):
        names = {**dict.fromkeys(("n0", "n1", "n2", "n3"), extent), "i0": 2, "p0": None}
        ranges = [eval(part, {**names, "prefetch": lambda _, first, last: range(first, last)}) for part in parts]
        assert [k for r in ranges for k in r] == list(range(3 * extent, 4 * extent))


def test_nothing_is_kept_where_a_result_replaces_an_operand():
    x = tracer.randn(8, 40, generator=tracer.Generator().manual_seed(0))

    @tracer.trace
    def run(x):
        x.copy_(F.softmax(x, 1) + x)

    y = x.clone()
    for _ in range(3):
        run(x)
        y.copy_(F.softmax(y, 1) + y)
    np.testing.assert_allclose(x.numpy(), y.numpy(), rtol=1e-5)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_loss_and_its_gradient_are_one_kernel_of_rows(reduction, smoothing):
    x = tracer.randn(64, 100, generator=tracer.Generator().manual_seed(0)).requires_grad_()
    y = tracer.tensor([-100, *range(63)])

    def run(x, y):
        x.grad = None
        loss = F.cross_entropy(x, y, reduction=reduction, label_smoothing=smoothing)
        loss.backward()
        return loss

    expected, gradient = run(x, y).item(), x.grad.numpy().copy()
    traced = tracer.trace(run)
    for _ in range(3):
        assert traced(x, y).item() == pytest.approx(expected, rel=1e-5)
        np.testing.assert_allclose(x.grad.numpy(), gradient, rtol=1e-4, atol=1e-7)
    (trace,) = next(iter(traced.traces.values()))
    ops = zip(trace.executable.fused.ops, trace.executable.program.steps, strict=True)
    rows = [step for op, step in ops if (64, 100) in [v.shape for v in (*op.operands, *op.results)]]
    assert len(rows) == 1
    assert rows[0].source.count(" exp(") == 1


EXTREMA = """\
func @f(%x: {t}[9,{n}]) -> ({t}[9], {t}[9]) {{
  %m: {t}[9] = max %x {{axes=(1)}}
  %l: {t}[9] = min %x {{axes=(1)}}
  return %m, %l
}}
"""


@pytest.mark.parametrize("t", ["f32", "f64", "i32"])
@pytest.mark.parametrize("n", [1, 3, 9, 10, 17, 64, 1000])
def test_a_number_that_is_none_is_the_extremum_wherever_it_is(t, n):
    graph = parse_graph(EXTREMA.format(t=t, n=n))
    x = (np.random.default_rng(0).standard_normal((9, n)) * 100).astype({"f": "float", "i": "int"}[t[0]] + t[1:])
    if t[0] == "f":
        x[0, 0] = x[1, n // 2] = x[2, n - 1] = x[3] = np.nan
        x[4], x[5, 0], x[6, n - 1] = -np.inf, np.inf, np.nan
    for got, expected in zip(compiled(graph)(x), evaluate(graph, x), strict=True):
        np.testing.assert_array_equal(got, expected)


BETWEEN = """\
func @f(%x: f32[8,8], %w: f32[8,8]) -> f32[8,8] {
  %e: f32[8,8] = exp %x
  %s: f32[8] = sum %e {axes=(1)}
  %c: f32[8,1] = reshape %s {shape=(8,1)}
  %r: f32[1,8] = sum %w {axes=(0)}
  %p: f32[8,8] = matmul %c, %r
  %y: f32[8,8] = mul %p, %e
  return %y
}
"""


def test_kernels_with_another_between_them_stay_apart():
    text = BETWEEN.replace(
        "%r: f32[1,8] = sum %w {axes=(0)}", "%t: f32[8] = sum %w {axes=(0)}\n  %r: f32[1,8] = reshape %t {shape=(1,8)}"
    )
    graph = parse_graph(text)
    fused = pipeline.run(graph, pipeline.COMPILE)
    assert sum(op.primitive is fusion for op in fused.ops) == 3
    rng = np.random.default_rng(0)
    agree(graph, *(rng.standard_normal((8, 8)).astype(np.float32) for _ in range(2)))


def test_kernels_with_nothing_between_them_are_united():
    text = BETWEEN.replace(
        "%c: f32[8,1] = reshape %s {shape=(8,1)}", "%c: f32[8,1] = slice %w {starts=(0,0), stops=(8,1), steps=(1,1)}"
    )
    text = text.replace("%r: f32[1,8] = sum %w {axes=(0)}", "%r: f32[1,8] = slice %w {starts=(0,0), stops=(1,8), steps=(1,1)}")
    text = text.replace("-> f32[8,8] {", "-> (f32[8,8], f32[8]) {").replace("return %y", "return %y, %s")
    graph = parse_graph(text)
    fused = pipeline.run(graph, pipeline.COMPILE)
    whole = [op for op in fused.ops if op.primitive is fusion and "exp" in str(op.attrs["body"])]
    assert len(whole) == 1 and len(whole[0].results) == 2
    rng = np.random.default_rng(0)
    agree(graph, *(rng.standard_normal((8, 8)).astype(np.float32) for _ in range(2)))


def test_nothing_is_kept_for_loops_that_become_one():
    text = SOFTMAX.format(n=40).replace("%y: f32[64,40] = div %e, %sb", "%y: f32[64,40] = mul %e, %mb")
    graph = parse_graph(text)
    (step,) = compiled(graph).steps
    assert step.source.count(" exp(") == 1 and step.source.count("for ") == 3  # rows, the maximum, and everything else
    agree(graph, np.random.default_rng(0).standard_normal((64, 40)).astype(np.float32))


def test_a_long_chain_on_an_input_is_stored_and_not_repeated():
    chain = "".join(f"  %a{k}: f32[8,40] = add %a{k - 1}, %a{k - 1}\n" for k in range(1, 30))
    text = f"func @f(%a0: f32[8,40]) -> (f32[8], f32[40]) {{\n{chain}  %r: f32[8] = sum %a29 {{axes=(1)}}\n"
    graph = parse_graph(text + "  %c: f32[40] = max %a29 {axes=(0)}\n  return %r, %c\n}\n")
    bodies = [op.attrs["body"] for op in pipeline.run(graph, pipeline.COMPILE).ops if op.primitive is fusion]
    assert sum(len(b.ops) for b in bodies) < 40
    agree(graph, np.ones((8, 40), np.float32))
