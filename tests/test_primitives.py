"""Every primitive, on every sample: three executors agree, and gradients to order 2 agree with finite differences."""

import marshal
import warnings

import numpy as np
import pytest
from checks import cast_args, check_gradients, check_three_ways, graph_of
from samples import NOT_SAMPLED, SAMPLES, cases

from tracer.ir import pipeline
from tracer.ir.interp import evaluate
from tracer.ir.parse import parse_graph
from tracer.ir.primitive import PRIMITIVES, Rule
from tracer.ir.verify import verify
from tracer.runtime.programs.layout import lay_out
from tracer.runtime.programs.plan import from_bytes, to_bytes
from tracer.runtime.programs.program import Program

CASES = list(cases())
IDS = [c[0] for c in CASES]


def test_every_primitive_has_samples():
    assert set(SAMPLES) | NOT_SAMPLED == set(PRIMITIVES)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
@pytest.mark.parametrize("name, primitive, sample", CASES, ids=IDS)
def test_eager_interpreter_and_compiled_code_agree(name, primitive, sample, dtype):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        check_three_ways(primitive, cast_args(sample.args, dtype), sample.attrs)


@pytest.mark.parametrize("name, primitive, sample", CASES, ids=IDS)
def test_gradients_agree_with_finite_differences(name, primitive, sample):
    floating = any(isinstance(a, np.ndarray) and a.dtype.kind == "f" for a in sample.args)
    if not (sample.smooth and floating and primitive.differentiable):
        return
    check_gradients(primitive, cast_args(sample.args, "float64"), sample.attrs, symmetric=sample.symmetric)


@pytest.mark.parametrize("name, primitive, sample", CASES, ids=IDS)
def test_text_round_trips(name, primitive, sample):
    graph = graph_of(primitive, cast_args(sample.args, "float32"), sample.attrs)
    verify(graph)
    assert parse_graph(str(graph)) == graph


@pytest.mark.parametrize("name, primitive, sample", CASES, ids=IDS)
def test_plans_round_trip(name, primitive, sample):
    graph = graph_of(primitive, cast_args(sample.args, "float32"), sample.attrs)
    for op in graph.ops:  # a plan's key contains attributes: plain numbers, strings and tuples
        assert marshal.loads(marshal.dumps(op.attrs)) == op.attrs
        assert {type(x).__module__ for x in op.attrs.values()} <= {"builtins"}
    plan = lay_out(pipeline.run(graph, pipeline.COMPILE))
    assert from_bytes(to_bytes(plan)) == plan


def test_a_wrong_rule_is_caught():
    tanh, (sample, *_) = PRIMITIVES["tanh"], SAMPLES["tanh"]
    right = Rule(lambda g, y: g * (1 - y * y), ("x",))
    wrong = Rule(lambda g, y: g * (1 - y), ("x",))
    check_gradients(tanh, sample.args, {}, rules=[right])
    with pytest.raises(AssertionError, match="operand 0"):
        check_gradients(tanh, sample.args, {}, rules=[wrong])


def test_a_missing_cotangent_is_caught():
    mul, (sample, *_) = PRIMITIVES["mul"], SAMPLES["mul"]
    with pytest.raises(AssertionError, match="operand 1"):
        check_gradients(mul, sample.args, {}, rules=[mul.vjp[0], None])


def test_a_rule_wrong_only_in_the_second_order_is_caught(monkeypatch):
    """A rule that is correct in value but hides its dependence: cos(x) as a constant."""
    sin, (sample, *_) = PRIMITIVES["sin"], SAMPLES["sin"]

    def frozen(g, x):
        from tracer.ir.ops import cos, full, mul

        if hasattr(x, "op"):  # building a graph: the dependence on x is lost
            return mul(g, full(value=1.0, shape=x.shape, dtype="f64"))
        return mul(g, cos(x))

    monkeypatch.setitem(sin.__dict__, "vjp", (Rule(frozen, ("x",)),))
    with pytest.raises(AssertionError):
        check_gradients(sin, sample.args, {})


def test_a_wrong_kernel_is_caught(monkeypatch):
    exp, (sample, *_) = PRIMITIVES["exp"], SAMPLES["exp"]
    monkeypatch.setitem(exp.__dict__, "scalar", "exp({x}) + {T}(1e-3)")
    with pytest.raises(AssertionError, match="compiled"):
        check_three_ways(exp, cast_args(sample.args, "float32"), {})


@pytest.mark.parametrize("name", ["index_select", "gather", "index_add", "scatter_add", "check_index"])
def test_positions_out_of_range_raise_everywhere(name):
    primitive, sample = PRIMITIVES[name], SAMPLES[name][0]
    args = cast_args(sample.args, "float32")
    for bad in (-1, 100):
        index = args[-1].copy()
        index.flat[-1] = bad
        wrong = (*args[:-1], index)
        graph = graph_of(primitive, args, sample.attrs)
        with pytest.raises(IndexError, match=str(bad)):
            evaluate(graph, *wrong)
        program = Program(lay_out(pipeline.run(graph, pipeline.COMPILE)))
        with pytest.raises(IndexError, match=str(bad)):
            program(*wrong)
        program(*args)  # and it works again afterwards


@pytest.mark.parametrize("name", ["floor_divide", "remainder", "fmod"])
def test_integers_divided_by_zero_raise_everywhere(name):
    for dtype in (np.int64, np.int32, np.uint8):
        args = (np.array([7, 8], dtype), np.array([2, 0], dtype))
        graph = graph_of(PRIMITIVES[name], args, {})
        with pytest.raises(RuntimeError, match="ZeroDivisionError"):
            evaluate(graph, *args)
        with pytest.raises(RuntimeError, match="ZeroDivisionError"):
            Program(lay_out(pipeline.run(graph, pipeline.COMPILE)))(*args)


EMPTY_AXES = {
    "index_select": ("%0: f64[0,30], %1: i64[1]", "f64[1,30]", "{axis=0}"),
    "index_add": ("%0: f64[2,30], %1: i64[2]", "f64[0,30]", "{axis=0, extent=0}"),
    "gather": ("%0: f64[0,3], %1: i64[2,3]", "f64[2,3]", "{axis=0}"),
    "scatter_add": ("%0: f64[2,3], %1: i64[2,3]", "f64[0,3]", "{axis=0, shape=(0,3)}"),
}


@pytest.mark.parametrize("name", EMPTY_AXES)
def test_every_position_on_an_empty_axis_is_out_of_range(name):
    """And nothing is read or written: memory beyond the array is not the array's."""
    inputs, result, attrs = EMPTY_AXES[name]
    graph = parse_graph(f"func @f({inputs}) -> {result} {{\n  %2: {result} = {name} %0, %1 {attrs}\n  return %2\n}}")
    args = [np.zeros(v.shape, v.type.dtype.numpy) for v in graph.inputs]
    program = Program(lay_out(pipeline.run(graph, pipeline.COMPILE)))
    assert all("load(p0" not in s.source and "load(p2" not in s.source for s in program.steps)
    for run in (lambda: evaluate(graph, *args), lambda: program(*args)):
        with pytest.raises(IndexError, match="out of bounds for dimension 0 with size 0"):
            run()


def test_integers_to_negative_powers_are_cut_everywhere():
    args = (np.array([2, 1, -1, -1, 0, -3, 5]), np.array([-1, -5, -3, -4, -1, 3, 0]))
    graph = graph_of(PRIMITIVES["pow"], args, {})
    for run in (lambda: evaluate(graph, *args), lambda: Program(lay_out(pipeline.run(graph, pipeline.COMPILE)))(*args)):
        assert run()[0].tolist() == [0, 1, -1, 1, 0, -27, 1]


def test_source_that_is_no_kernel_is_an_exception(monkeypatch):
    monkeypatch.setitem(PRIMITIVES["pow"].__dict__, "scalar", "power({a}, {b})")
    graph = graph_of(PRIMITIVES["pow"], (np.array([2]), np.array([3])), {})
    with pytest.raises(NameError, match="a kernel calls 'power'"):
        Program(lay_out(pipeline.run(graph, pipeline.COMPILE)))
