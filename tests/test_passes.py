"""Passes: their rewrites, as text before and after."""

import gc

import numpy as np
import pytest

import tracer
from tracer.ir import pipeline
from tracer.ir.graph import Op
from tracer.ir.interp import evaluate
from tracer.ir.ops import fusion
from tracer.ir.parse import parse_graph
from tracer.ir.passes.canonicalize import canonicalize
from tracer.ir.passes.cse import cse
from tracer.ir.passes.cut import cut_long_rows
from tracer.ir.passes.dce import dce
from tracer.ir.passes.fold import fold
from tracer.ir.passes.permutes import hoist_permutes
from tracer.ir.passes.stages import two_stages
from tracer.ir.passes.transpose import transpose_products
from tracer.ir.primitive import PRIMITIVES
from tracer.runtime.programs.layout import lay_out
from tracer.runtime.programs.program import Program


def body(text, inputs="%x: f32[2,3]", result="f32[2,3]"):
    lines = "\n".join(f"  {line.strip()}" for line in text.strip().splitlines())
    return parse_graph(f"func @f({inputs}) -> {result} {{\n{lines}\n}}\n")


def names(graph):
    return [op.primitive.name for op in graph.ops]


@pytest.mark.parametrize(
    "text, left",
    [
        ("%a: f32[2,3] = neg %x\n%b: f32[2,3] = neg %a\nreturn %b", []),
        ("%a: f32[2,3] = copy %x\nreturn %a", []),
        ("%a: f32[2,3] = cast %x {dtype=\"f32\"}\nreturn %a", []),
        ("%o: f32[2,3] = full {value=1, shape=(2,3), dtype=\"f32\"}\n%a: f32[2,3] = mul %o, %x\nreturn %a", []),
        ("%a: f32[6] = reshape %x {shape=(6)}\n%b: f32[2,3] = reshape %a {shape=(2,3)}\nreturn %b", []),
        ("%a: f32[3,2] = permute %x {axes=(1,0)}\n%b: f32[2,3] = permute %a {axes=(1,0)}\nreturn %b", []),
        ("%a: f32[2,3] = slice %x {starts=(0,0), stops=(2,3), steps=(1,1)}\nreturn %a", []),
    ],
)  # fmt: skip
def test_canonicalize_simplifies(text, left):
    assert names(dce(canonicalize(body(text)))) == left


@pytest.mark.parametrize("value, operation", [("0.0", "add"), ("0.0", "mul"), ("-0.0", "sub")])
def test_canonicalize_leaves_what_would_change_a_result(value, operation):
    """x + 0 is not x for -0.0, x * 0 is not 0 for NaN, x - (-0.0) is not x for -0.0."""
    graph = body(
        f'%z: f32[2,3] = full {{value={value}, shape=(2,3), dtype="f32"}}\n%a: f32[2,3] = {operation} %x, %z\nreturn %a'
    )
    assert names(canonicalize(graph)) == ["full", operation]


def test_transposes_become_flags():
    graph = body("%t: f32[3,2] = permute %x {axes=(1,0)}\n%p: f32[3,3] = matmul %t, %x\nreturn %p", result="f32[3,3]")
    (product,) = dce(canonicalize(graph)).ops
    assert product.attrs["ta"] and not product.attrs["tb"]


def test_a_transposed_product_exchanges_its_operands():
    text = "%p: f32[2,2] = matmul %x, %x {tb=True}\n%t: f32[2,2] = permute %p {axes=(1,0)}\nreturn %t"
    graph = body(text, result="f32[2,2]")
    (product,) = dce(transpose_products(graph)).ops
    assert product.attrs["tb"] and not product.attrs["ta"]
    x = np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32)
    np.testing.assert_allclose(evaluate(graph, x)[0], evaluate(transpose_products(graph), x)[0], rtol=1e-6)


def test_keepdim_reshapes_cancel():
    graph = body(
        """%s: f32[2] = sum %x {axes=(1)}
        %k: f32[2,1] = reshape %s {shape=(2,1)}
        %l: f32[2,1] = log %k
        %r: f32[2] = reshape %l {shape=(2)}
        %b: f32[2,3] = broadcast %r {shape=(2,3), axes=(0)}
        return %b"""
    )
    assert names(pipeline.run(graph, pipeline.SIMPLIFY)) == ["sum", "log", "broadcast"]


def test_cse_tells_numbers_apart():
    graph = body(
        """%a: f32[2,3] = full {value=0.0, shape=(2,3), dtype="f32"}
        %b: f32[2,3] = full {value=-0.0, shape=(2,3), dtype="f32"}
        %c: f32[2,3] = full {value=0.0, shape=(2,3), dtype="f32"}
        %d: f32[2,3] = mul %a, %b
        %e: f32[2,3] = mul %d, %c
        return %e"""
    )
    assert names(dce(cse(graph))) == ["full", "full", "mul", "mul"]


def test_fold_and_dce():
    graph = body(
        """%a: f32[2,3] = full {value=2.0, shape=(2,3), dtype="f32"}
        %b: f32[2,3] = mul %a, %a
        %unused: f32[2,3] = exp %x
        %c: f32[2,3] = mul %x, %b
        return %c"""
    )
    assert names(pipeline.run(graph, pipeline.SIMPLIFY)) == ["full", "mul"]
    assert pipeline.run(graph, pipeline.SIMPLIFY).ops[0].attrs["value"] == 4.0
    assert names(fold(graph)).count("full") == 2


def test_a_check_is_not_dead():
    graph = body('%c: i64[2] = check_index %x {extent=3, message="bad {}"}\nreturn %x', "%x: i64[2]", "i64[2]")
    assert names(dce(graph)) == ["check_index"]


SOFTMAX = """%m: f32[2] = max %x {axes=(1)}
%mb: f32[2,3] = broadcast %m {shape=(2,3), axes=(0)}
%z: f32[2,3] = sub %x, %mb
%e: f32[2,3] = exp %z
%s: f32[2] = sum %e {axes=(1)}
%sb: f32[2,3] = broadcast %s {shape=(2,3), axes=(0)}
%y: f32[2,3] = div %e, %sb
return %y"""


def test_a_softmax_row_is_one_kernel():
    fused = pipeline.run(body(SOFTMAX), pipeline.COMPILE)
    assert names(fused) == ["fusion"]
    assert [v.shape for v in fused.ops[0].results] == [(2, 3)]


def test_rows_and_columns_of_one_value_are_two_kernels():
    text = """%e: f32[2,3] = exp %x
    %r: f32[2] = sum %e {axes=(1)}
    %c: f32[3] = sum %e {axes=(0)}
    return %r, %c"""
    fused = pipeline.run(body(text, result="(f32[2], f32[3])"), pipeline.COMPILE)
    assert names(fused) == ["fusion", "fusion"]


def test_a_value_read_transposed_is_stored():
    text = """%e: f32[3,3] = exp %x
    %t: f32[3,3] = permute %e {axes=(1,0)}
    %y: f32[3,3] = add %e, %t
    return %y"""
    fused = pipeline.run(body(text, "%x: f32[3,3]", "f32[3,3]"), pipeline.COMPILE)
    assert names(fused) == ["fusion", "fusion"]


def test_a_result_that_is_an_input_gets_memory_of_its_own():
    fused = pipeline.run(body("return %x, %x", result="(f32[2,3], f32[2,3])"), pipeline.COMPILE)
    assert names(fused) == ["fusion", "fusion"]


@pytest.mark.parametrize("rows", [1, 2, 5])
@pytest.mark.parametrize("columns", [1, 3, 40])
def test_kernels_do_not_depend_on_shapes(rows, columns):
    text = SOFTMAX.replace("2,3", f"{rows},{columns}").replace("[2]", f"[{rows}]")
    shape = f"f32[{rows},{columns}]"
    graph = body(text, f"%x: {shape}", shape)
    program = Program(lay_out(pipeline.run(graph, pipeline.COMPILE)))
    x = np.random.default_rng(0).standard_normal((rows, columns)).astype(np.float32)
    np.testing.assert_allclose(program(x)[0], evaluate(graph, x)[0], rtol=1e-6)
    if rows > 1 and columns > 8:  # fewer are unrolled
        other = body(SOFTMAX.replace("2,3", "3,23").replace("[2]", "[3]"), "%x: f32[3,23]", "f32[3,23]")  # masked too
        assert [s.source for s in program.steps] == [
            s.source for s in Program(lay_out(pipeline.run(other, pipeline.COMPILE))).steps
        ]


def chain(n):
    """A chain of elementwise operations."""
    lines = ["%v0: f32[2,3] = exp %x"]
    lines += [f"%v{i + 1}: f32[2,3] = {'sin' if i % 7 else 'tanh'} %v{i}" for i in range(n)]
    return body("\n".join([*lines, f"return %v{n}"]))


def recurrence(n):
    """A cell applied repeatedly, and a sum of products over all of its steps."""
    lines = ["%h0: f32[2,2] = exp %x", "%s0: f32[2,2] = exp %w"]
    for i in range(n // 5):
        lines += [
            f"%p{i}: f32[2,2] = matmul %h{i}, %w",
            f"%q{i}: f32[2,2] = add %p{i}, %x",
            f"%h{i + 1}: f32[2,2] = tanh %q{i}",
            f"%g{i}: f32[2,2] = matmul %h{i}, %q{i} {{ta=True}}",
            f"%s{i + 1}: f32[2,2] = add %s{i}, %g{i}",
        ]
    return body("\n".join([*lines, f"return %s{n // 5}"]), "%x: f32[2,2], %w: f32[2,2]", "f32[2,2]")


@pytest.mark.parametrize("make", [chain, recurrence])
def test_passes_are_near_linear(make):
    """Four times the operations take about four times as long, not sixteen, in each pass."""
    import time

    seconds = {}
    for n in (1000, 4000, 16000):
        for _ in range(2):
            graph = make(n)
            for p in pipeline.COMPILE:
                begin = time.process_time()  # excludes other processes
                with pipeline.collector_paused():
                    graph = p(graph)
                key = p.__name__, n
                seconds[key] = min(seconds.get(key, 1e9), time.process_time() - begin)
    for p in pipeline.COMPILE:
        for n in (1000, 4000):
            assert seconds[p.__name__, 4 * n] < 8 * seconds[p.__name__, n] + 0.05, (p.__name__, seconds)


@pytest.mark.parametrize("value", ["inf", "-1.0"])
def test_the_sum_of_no_constants_is_zero(value):
    graph = parse_graph(
        "func @f() -> f64[2] {\n"
        f'  %0: f64[2,0] = full {{value={value}, shape=(2,0), dtype="f64"}}\n'
        "  %1: f64[2] = sum %0 {axes=(1)}\n  return %1\n}"
    )
    (result,) = evaluate(pipeline.run(graph, pipeline.SIMPLIFY))
    assert result.tolist() == [0, 0] and not np.signbit(result).any()


def test_a_flipped_constant_keeps_its_shape():
    text = """%0: f32[2,3] = full {value=1.0, shape=(2,3), dtype="f32"}
    %1: f32[2,3] = flip %0 {axes=(1,0)}
    %2: f32[3,2] = permute %1 {axes=(1,0)}
    return %2"""
    assert evaluate(pipeline.run(body(text, result="f32[3,2]"), pipeline.COMPILE), np.zeros((2, 3), np.float32))[0].shape == (
        3,
        2,
    )


def test_the_driver_notices_a_pass_that_changes_types():
    from tracer.ir.verify import VerifyError

    with pytest.raises(VerifyError, match="changes the type"):
        pipeline.run(body("return %x"), [lambda g: body("return %x", "%x: f32[3]", "f32[3]")])


PERMUTED = """\
func @f(%x: f32[3,4], %y: f32[3]) -> f32[4,3] {
  %b: f32[3,4] = broadcast %y {shape=(3,4), axes=(0)}
  %e: f32[3,4] = exp %x
  %m: f32[3,4] = mul %e, %b
  %p: f32[4,3] = permute %m {axes=(1,0)}
  return %p
}
"""


def test_a_permutation_of_what_is_elementwise_goes_to_the_operands():
    assert (
        str(hoist_permutes(parse_graph(PERMUTED)))
        == """\
func @f(%x: f32[3,4], %y: f32[3]) -> f32[4,3] {
  %0: f32[4,3] = broadcast %y {shape=(4,3), axes=(1)}
  %1: f32[4,3] = permute %x {axes=(1,0)}
  %2: f32[4,3] = exp %1
  %3: f32[4,3] = mul %2, %0
  return %3
}
"""
    )


def test_a_permutation_stays_where_its_operand_has_other_readers():
    text = PERMUTED.replace("f32[4,3] {", "(f32[4,3], f32[3,4]) {").replace("return %p", "return %p, %m")
    assert "permute %m" in str(hoist_permutes(parse_graph(text)))


def test_a_long_chain_is_permuted():
    chain = "".join(f"  %a{k}: f32[2,3] = exp %a{k - 1}\n" for k in range(1, 3000))
    text = f"func @f(%a0: f32[2,3]) -> f32[3,2] {{\n{chain}  %p: f32[3,2] = permute %a2999 {{axes=(1,0)}}\n  return %p\n}}\n"
    assert hoist_permutes(parse_graph(text)).ops[0].primitive is PRIMITIVES["permute"]


# Passes for devices with many threads.

NORMALISED = """\
func @f(%x: f32[{m},{n}]) -> f32[{m},{n}] {{
  %y: f32[{m},{n}] = fusion @k0 %x {{
    (%x: f32[{m},{n}]):
    %s: f32[{m}] = sum %x {{axes=(1)}}
    %b: f32[{m},{n}] = broadcast %s {{shape=({m},{n}), axes=(0)}}
    %d: f32[{m},{n}] = div %x, %b
    yield %d
  }}
  return %y
}}
"""


def test_few_long_rows_are_cut_at_their_reduction():
    after = cut_long_rows(parse_graph(NORMALISED.format(m=2, n=40_000)))
    sums, quotients = after.ops
    assert [op.primitive.name for op in sums.attrs["body"].ops] == ["sum"]
    assert [op.primitive.name for op in quotients.attrs["body"].ops] == ["broadcast", "div"]
    assert list(quotients.operands) == [after.inputs[0], sums.result]


@pytest.mark.parametrize("m, n", [(200, 40_000), (2, 1000)], ids=["many rows", "short rows"])
def test_other_kernels_of_rows_stay_whole(m, n):
    graph = parse_graph(NORMALISED.format(m=m, n=n))
    assert cut_long_rows(graph) == graph
    assert two_stages(graph) == graph


def test_a_reduction_of_few_columns_has_two_stages():
    text = """\
func @f(%x: f32[3000,6], %c: f32[3000]) -> f32[6] {
  %y: f32[6] = fusion @k0 %x, %c {
    (%x: f32[3000,6], %c: f32[3000]):
    %b: f32[3000,6] = broadcast %c {shape=(3000,6), axes=(0)}
    %d: f32[3000,6] = mul %x, %b
    %s: f32[6] = sum %d {axes=(0)}
    %r: f32[6] = sqrt %s
    yield %r
  }
  return %y
}
"""
    graph = parse_graph(text)
    after = two_stages(graph)
    first, second = (op for op in after.ops if op.primitive.name == "fusion")
    assert first.result.shape == (50, 6) and first.attrs["body"].ops[-1].attrs["axes"] == (1,)
    assert [op.primitive.name for op in second.attrs["body"].ops] == ["sum", "sqrt"]
    x, c = np.ones((3000, 6), np.float32), np.full(3000, 2, np.float32)
    np.testing.assert_allclose(evaluate(after, x, c)[0], evaluate(graph, x, c)[0], rtol=1e-6)


def test_operations_of_passes_are_freed_at_once():
    """Without the cyclic garbage collector: an operation and its results refer to each other."""

    def f(x):
        for k in range(40):
            x = tracer.cat([x[1:] * 2.0, x[:1] + k]).sin() + 0.0
        return x

    def operations():
        return sum(type(x) is Op for x in gc.get_objects())

    traced = tracer.trace(f)
    traced(tracer.ones(8))
    (graph,) = traced.graphs()
    pipeline.run(graph, pipeline.COMPILE)  # fills caches
    gc.collect()
    gc.disable()
    try:
        before = operations()
        after = pipeline.run(graph, pipeline.COMPILE, thorough=False)
        kept = len(after.ops) + sum(len(op.attrs["body"].ops) for op in after.ops if op.primitive is fusion)
        assert operations() - before - kept < len(graph.ops) / 2
    finally:
        gc.enable()
