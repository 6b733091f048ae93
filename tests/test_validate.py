"""Planted miscompiles are found, named and reduced; rounding differences are none."""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from checks import cast_args, graph_of
from programs import RandomGraph
from samples import cases

import tracer
from tracer.ir import ops, pipeline, validate
from tracer.ir.autodiff import vjp
from tracer.ir.graph import Graph, Rewriter
from tracer.ir.parse import parse_graph
from tracer.ir.primitive import Kind
from tracer.ir.reduce import reduced, size
from tracer.ir.types import type_of
from tracer.ir.validate import CannotRun, Miscompiled, Reference, references, wrong_pass
from tracer.runtime.programs import validate as programs
from tracer.runtime.programs.validate import failure_of

BEFORE_FUSION = pipeline.COMPILE.index(pipeline.fuse)


def planted(change, count=1):
    """A pass that changes the first ``count`` operations that ``change`` gives another result."""

    def wrong(graph):
        rewriter, left = Rewriter(graph), count
        for op in graph.ops:
            operands = [rewriter.map[v] for v in op.operands]
            new = change(rewriter.builder, op, operands) if left else None
            if new is None:
                rewriter.copy(op)
            else:
                left -= 1
                rewriter.map[op.result] = new
        return rewriter.finish()

    return wrong


def swap(builder, op, operands):
    if op.primitive is ops.sub:
        return builder.append(ops.sub, operands[::-1], {}, op.loc)[0]
    return None


def lose_sign(builder, op, operands):
    return operands[0] if op.primitive is ops.neg else None


def add_instead(builder, op, operands):
    return builder.append(ops.add, operands, {}, op.loc)[0] if op.primitive is ops.mul else None


def extreme(builder, op, operands):
    return (
        builder.append(ops.max_, operands, op.attrs, op.loc)[0]
        if op.primitive is ops.sum_ and op.operands[0].type.numel
        else None
    )


def strict(builder, op, operands):
    """A wrong rewrite rule of two operations: tanh(-x) is not tanh(x)."""
    if op.primitive is ops.tanh and operands[0].op is not None and operands[0].op.primitive is ops.neg:
        return builder.append(ops.tanh, operands[0].op.operands, {}, op.loc)[0]
    return None


def nearly(builder, op, operands):
    """A wrong constant: a thousandth is much more than rounding."""
    if op.primitive is not ops.mul:
        return None
    (factor,) = builder.append(ops.full, (), {"value": 1.001, "shape": op.result.shape, "dtype": op.result.type.dtype.short})
    (y,) = builder.append(ops.mul, operands, {}, op.loc)
    return builder.append(ops.mul, (y, factor), {}, op.loc)[0]


ATTENTION = """\
func @attention(%x: f32[16,64], %wq: f32[64,64], %wk: f32[64,64], %mean: f32[16], %scale: f32[64])
    -> (f32[16,16], f32[], f32[16,64]) {
  %m: f32[16,64] = broadcast %mean {shape=(16,64), axes=(0)}
  %c: f32[16,64] = sub %x, %m
  %n: f32[16,64] = neg %c
  %t: f32[16,64] = tanh %n
  %s: f32[16,64] = broadcast %scale {shape=(16,64), axes=(1)}
  %h: f32[16,64] = mul %t, %s
  %q: f32[16,64] = matmul %h, %wq
  %k: f32[16,64] = matmul %h, %wk
  %a: f32[16,16] = matmul %q, %k {tb=True}
  %top: f32[16] = max %a {axes=(1)}
  %tb: f32[16,16] = broadcast %top {shape=(16,16), axes=(0)}
  %d: f32[16,16] = sub %a, %tb
  %e: f32[16,16] = exp %d
  %sum: f32[16] = sum %e {axes=(1)}
  %sb: f32[16,16] = broadcast %sum {shape=(16,16), axes=(0)}
  %y: f32[16,16] = div %e, %sb
  %square: f32[16,16] = mul %y, %y
  %loss: f32[] = sum %square {axes=(0,1)}
  return %y, %loss, %h
}
"""


def find(graph, passes):
    """The failure, and the reduced graph."""
    failure, _ = wrong_pass(graph, passes, references(graph))
    assert failure is not None

    def fails_alike(g):
        found, _ = wrong_pass(g, passes, references(g))
        return found is not None and found.where == failure.where

    return failure, reduced(graph, fails_alike)


@pytest.mark.parametrize("position", [0, 4, BEFORE_FUSION])
@pytest.mark.parametrize("change, most", [(swap, 1), (lose_sign, 1), (add_instead, 1), (extreme, 1), (strict, 2), (nearly, 1)])
@pytest.mark.parametrize("joint", [False, True])
def test_a_planted_miscompile_is_named_and_reduced(change, most, position, joint):
    graph = parse_graph(ATTENTION)
    wrong = planted(change)
    passes = (*pipeline.COMPILE[:position], wrong, *pipeline.COMPILE[position:])
    failure, small = find(vjp(graph) if joint else graph, passes)
    assert failure.where == "pass wrong" and "changes the result of @attention" in failure.said
    assert size(small) <= most, str(small)
    assert max(v.type.numel for v in small.inputs) <= 4
    assert parse_graph(str(small)) == small and wrong_pass(small, passes, references(small))[0] is not None


@pytest.mark.parametrize("third", [2, 3])
def test_one_subtraction_of_several(third):
    """The pass swaps the operands of one subtraction, the second or third in the graph."""

    def wrong(graph):
        seen = []

        def change(builder, op, operands):
            seen.extend([op] * (op.primitive is ops.sub))
            return swap(builder, op, operands) if op.primitive is ops.sub and len(seen) == third else None

        return planted(change)(graph)

    text = ATTENTION.replace("%square:", "%v: f32[16,16] = sub %y, %sb\n  %square:").replace("mul %y, %y", "mul %v, %y")
    failure, small = find(parse_graph(text), (*pipeline.COMPILE[:BEFORE_FUSION], wrong, *pipeline.COMPILE[BEFORE_FUSION:]))
    assert failure.where == "pass wrong" and size(small) <= 5


def test_a_miscompile_in_a_fusion_is_reduced_there():
    def wrong(graph):
        """Swaps the operands of subtractions in bodies."""
        rewriter = Rewriter(graph)
        for op in graph.ops:
            if op.primitive is ops.fusion:
                body = planted(swap, 99)(op.attrs["body"])
                new = rewriter.builder.append(op.primitive, [rewriter.map[v] for v in op.operands], {"body": body}, op.loc)
                rewriter.map.update(zip(op.results, new, strict=True))
            else:
                rewriter.copy(op)
        return rewriter.finish()

    before = pipeline.run(parse_graph(ATTENTION), pipeline.COMPILE)
    failure, small = find(before, (wrong,))
    assert failure.where == "pass wrong" and size(small) == 1 and small.ops[0].primitive is ops.fusion


@pytest.mark.parametrize("seed", range(8))
def test_miscompiles_of_random_programs(seed):
    graph = next(
        g
        for g in (RandomGraph(100 * seed + k, 30).finish() for k in range(100))
        if wrong_pass(g, (planted(swap),), references(g))[0] is not None
    )
    failure, small = find(graph, (*pipeline.SIMPLIFY[:1], planted(swap), *pipeline.SIMPLIFY[1:]))
    assert failure.where == "pass wrong" and size(small) <= 5, str(small)


def test_failing_and_invalid_passes_are_named_and_reduced():
    def fails(graph):
        assert not any(op.primitive is ops.exp for op in graph.ops), "there is\nan exponential"
        return graph

    def invalid(graph):
        return Graph(graph.name, graph.inputs, [op for op in graph.ops if op.primitive is not ops.tanh], graph.outputs)

    for wrong, said in (
        (fails, "fails: AssertionError: there is"),
        (invalid, "fails: VerifyError: @attention: mul of %h reads %t"),
    ):
        failure, small = find(parse_graph(ATTENTION), (*pipeline.SIMPLIFY, wrong, *pipeline.COMPILE))
        assert failure.where == f"pass {wrong.__name__}" and failure.said.startswith(said)
        assert size(small) <= 2


def test_a_wrong_kernel_is_named(monkeypatch):
    """Kernels subtract the wrong way round; the passes are right."""
    monkeypatch.setitem(ops.sub.__dict__, "scalar", "{b} - {a}")
    graph = parse_graph(
        "func @f(%x: f32[5], %y: f32[5]) -> f32[5] {\n  %d: f32[5] = sub %x, %y\n  %e: f32[5] = exp %d\n  return %e\n}"
    )
    failure = failure_of(graph, pipeline.COMPILE, references(graph))
    assert failure is not None and failure.where.startswith("the kernel of @") and "computes another result" in failure.said
    monkeypatch.undo()
    assert failure_of(graph, pipeline.COMPILE, references(graph)) is None


def test_graphs_that_cannot_run_are_told():
    graph = parse_graph(
        "func @f(%x: i64[2]) -> i64[2] {\n  %z: i64[2] = sub %x, %x\n  %y: i64[2] = floor_divide %x, %z\n  return %y\n}"
    )
    with pytest.raises(CannotRun, match="@f cannot be run: RuntimeError: ZeroDivisionError"):
        references(graph)
    validate.require(graph, pipeline.COMPILE)


# Rounding.


def test_other_orders_of_summation_are_rounding():
    rng = np.random.default_rng(0)
    for dtype in (np.float32, np.float64):
        x = rng.standard_normal(20_000).astype(dtype)
        graph = parse_graph(
            f"func @f(%x: {type_of(x)}) -> {type_of(x[0])} {{\n  %y: {type_of(x[0])} = sum %x {{axes=(0)}}\n  return %y\n}}"
        )
        reference = Reference(graph, [x])
        one_by_one = np.add.accumulate(x)[-1]
        assert reference.difference([one_by_one]) is None
        assert reference.difference([np.asarray(one_by_one * dtype(1.001))]) is not None


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
def test_no_operation_is_taken_for_miscompiled(dtype):
    """Every operation with one of its samples; a quarter of the operations for each dtype."""
    place = ["float32", "float64", "bfloat16", "float16"].index(dtype)
    seen = set()
    for _, primitive, sample in cases():
        if primitive in seen or len(seen) % 4 != place:
            seen.add(primitive)
            continue
        seen.add(primitive)
        try:
            graph = graph_of(primitive, cast_args(sample.args, dtype), sample.attrs)
            known = references(graph)
        except (TypeError, RuntimeError, ValueError):  # not for this dtype
            continue
        for passes in (pipeline.COMPILE, pipeline.COMPILE_FOR_GRIDS):
            failure, _ = wrong_pass(graph, passes, known)
            assert failure is None, f"{failure}\n{failure.graph}"


@pytest.mark.parametrize("seed", range(20))
def test_random_programs_are_compiled_correctly(seed):
    graph = RandomGraph(9000 + seed, 5 + seed).finish() if seed % 2 else vjp(RandomGraph(9000 + seed, 8, smooth=True).finish())
    failure, _ = wrong_pass(graph, pipeline.COMPILE if seed % 3 else pipeline.COMPILE_FOR_GRIDS, references(graph))
    assert failure is None, f"{failure}\n{failure.graph}"


# TRACER_VALIDATE=1.


@pytest.fixture
def validated(monkeypatch, tmp_path):
    monkeypatch.setattr(validate, "ENABLED", True)
    monkeypatch.setenv("TRACER_CACHE_DIR", str(tmp_path))


def make_step():
    @tracer.trace
    def step(x, w):
        h = tracer.tanh(x @ w)
        return ((h - x.mean(1, keepdim=True)) ** 3).sum()

    return step


def test_traced_functions_are_validated(validated, monkeypatch, tmp_path):
    position = 3
    wrong = planted(swap)
    monkeypatch.setattr(pipeline, "COMPILE", (*pipeline.COMPILE[:position], wrong, *pipeline.COMPILE[position:]))
    step = make_step()
    x, w = tracer.randn(16, 8), tracer.randn(8, 4)
    with pytest.warns(tracer.TraceWarning, match="runs eagerly: pass wrong changes the result of @step: output 0") as caught:
        results = [step(x, w) for _ in range(3)]
    expected = ((tracer.tanh(x @ w) - x.mean(1, keepdim=True)) ** 3).sum()
    assert all(y.item() == expected.item() for y in results)
    (said,) = {str(w.message) for w in caught}
    small = parse_graph(Path(re.search(r"shows it, in (\S+)", said)[1]).read_text())
    assert size(small) <= 5 and any(op.primitive is ops.sub for op in small.ops)


def test_correct_functions_are_compiled(validated):
    step = make_step()
    x, w = tracer.randn(16, 8), tracer.randn(8, 4, requires_grad=True)
    with warnings.catch_warnings(action="error"):
        for _ in range(3):
            step(x, w).backward()
    assert step.graphs() and not step.eager_reasons


def test_a_program_in_the_cache_is_not_used_unseen(validated, monkeypatch):
    """A validated function is compiled anew, also if the cache has its program."""
    step = make_step()
    x, w = tracer.randn(16, 8), tracer.randn(8, 4)
    step(x, w), step(x, w)
    calls = []
    monkeypatch.setattr("tracer.runtime.programs.validate.wrong_kernel", lambda *args: calls.append(args))
    again = make_step()
    again(x, w), again(x, w)
    assert calls


def test_a_wrong_kernel_makes_a_function_eager(validated, monkeypatch):
    monkeypatch.setitem(ops.sub.__dict__, "scalar", "{b} - {a}")
    step = make_step()
    x, w = tracer.randn(16, 8), tracer.randn(8, 4)
    with pytest.warns(tracer.TraceWarning, match="runs eagerly: the kernel of @.* computes another result"):
        results = [step(x, w) for _ in range(2)]
    assert results[0].item() == results[1].item()


def test_miscompiled_says_what_happened():
    graph = parse_graph(ATTENTION)
    with pytest.raises(Miscompiled, match="pass wrong changes the result of @attention") as caught:
        validate.require(graph, (planted(swap),))
    assert size(caught.value.graph) == 1 and caught.value.graph.ops[0].primitive.kind is Kind.ELEMENTWISE


def test_rounding_of_many_elements_is_no_difference():
    """Among many elements, some are hardly moved by a few runs, but the results of any correct order of the sum may differ."""
    graph = parse_graph("func @f(%x: f32[20000,8]) -> f32[20000] {\n  %y: f32[20000] = sum %x {axes=(1)}\n  return %y\n}\n")
    rng = np.random.default_rng(5)
    half = rng.uniform(1, 2, (20000, 4)).astype(np.float32)
    args = [np.concatenate([half, -half], 1)]  # the sums cancel: only rounding errors remain
    (moved,) = validate._evaluate_moved(graph, args, rng)
    assert Reference(graph, args)._difference([moved]) is not None
    assert Reference(graph, args).difference([moved]) is None
    assert "1 of 20000 elements differ" in Reference(graph, args).difference([np.where(np.arange(20000) == 7, 1e-2, moved)])


def test_a_reshape_is_not_blamed():
    """It has no kernel; alone, it is no program."""
    graph = parse_graph(
        """func @f(%x: f32[1,4], %w: f32[1,3]) -> f32[4,3] {
  %y: f32[4,1] = reshape %x {shape=(4,1)}
  %z: f32[4,3] = matmul %y, %w
  return %z
}
"""
    )
    assert graph.ops[0].primitive is ops.reshape
    assert programs._first_wrong(graph, references(graph)[0]) is None
