"""The IR as text: printing, parsing, verification, at every stage."""

import numpy as np
import pytest

from tracer.ir import ops, pipeline
from tracer.ir.attributes import holds
from tracer.ir.autodiff import vjp
from tracer.ir.graph import Builder, Graph, Op, Value
from tracer.ir.interp import evaluate
from tracer.ir.lexer import IRSyntaxError
from tracer.ir.location import Location, origin_of
from tracer.ir.parse import parse_graph, parse_graphs
from tracer.ir.passes.cse import cse
from tracer.ir.passes.dce import dce
from tracer.ir.primitive import PRIMITIVES
from tracer.ir.types import TensorType, float32, float64, int64
from tracer.ir.verify import VerifyError, verify

LAYER = """\
func @layer(%x: f32[4,8], %w: f32[8,3], %b: f32[3]) -> f32[] {
  %h: f32[4,3] = matmul %x, %w  # m.py:3
  %bias: f32[4,3] = broadcast %b {shape=(4,3), axes=(1)}
  %z: f32[4,3] = add %h, %bias  # (linear)
  %r: f32[4,3] = relu %z  # m.py:4 (relu)
  %s: f32[] = sum %r {axes=(0,1)}  #
  return %s
}
"""


def random_inputs(graph, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(v.shape).astype(v.type.dtype.numpy) for v in graph.inputs]


def test_text_is_kept_to_the_letter():
    assert str(parse_graph(LAYER)) == LAYER


def test_locations_are_written_once_per_line_and_relative_to_the_folder(tmp_path, monkeypatch):
    """An operation without a comment is at the place of the one above; an empty comment means that the place is unknown."""
    monkeypatch.chdir(tmp_path)
    ops_of = parse_graph(LAYER).ops
    assert [op.loc for op in ops_of] == ["m.py:3", "m.py:3", "m.py:3", "m.py:4", ""]
    assert [origin_of(op.loc) for op in ops_of] == ["", "", "linear", "relu", ""]
    builder = Builder("f")
    x = builder.input(TensorType(float32, (4,)))
    places = [f"{tmp_path}/deep/m.py:1", f"{tmp_path}/deep/m.py:1", f"{tmp_path}x/m.py:1", "", f"{tmp_path}/deep/m.py:1"]
    for place in places:
        builder.loc = Location(place, "step")
        (x,) = builder.append(ops.neg, [x], {})
    text = str(builder.finish([x]))
    comments = [line.partition("#")[2].strip() for line in text.splitlines() if "neg" in line]
    assert comments == ["deep/m.py:1 (step)", "", f"{tmp_path}x/m.py:1 (step)", "", "deep/m.py:1 (step)"]
    assert str(parse_graph(text)) == text and [origin_of(op.loc) for op in parse_graph(text).ops].count("step") == 4


def test_long_lists_are_broken_and_read_back():
    builder = Builder("f")
    inputs = [builder.input(TensorType(float32, (128, 256)), f"layers.{i}.weight") for i in range(40)]
    text = str(builder.finish(inputs, {i: i for i in range(40)}))
    assert max(map(len, text.splitlines())) <= 120
    assert str(parse_graph(text)) == text


def test_every_stage_round_trips_and_computes_the_same():
    graph = parse_graph(LAYER)
    adjoint = vjp(graph)
    args = random_inputs(adjoint)
    expected = evaluate(adjoint, *args)
    for stage in (adjoint, pipeline.run(adjoint, pipeline.SIMPLIFY), pipeline.run(adjoint, pipeline.COMPILE)):
        again = parse_graph(str(stage))
        assert again == stage
        for a, b in zip(evaluate(again, *args), expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_updates_attributes_and_odd_numbers_round_trip():
    text = """\
func @f(%p: f64[2], %i: i64[]) -> (f64[2], f64[]) {
  %inf: f64[2] = full {value=-inf, shape=(2), dtype="f64"}
  %nan: f64[] = full {value=nan, shape=(), dtype="f64"}
  %m: f64[2] = maximum %p, %inf
  %z: c128[] = full {value=complex(-0.0,inf), shape=(), dtype="c128"}
  %k: i64[] = check_index %i {extent=3, message="a \\"quoted\\" {}"}
  return %m -> %p, %nan
}
"""
    graph = parse_graph(text)
    assert graph.updates == {0: 0}
    assert str(graph) == text


@pytest.mark.parametrize(
    "text, line, column, message",
    [
        ("func @f(%x: f32[2]) -> f32[2] {\n  %y: f32[2] = tahn %x\n  return %y\n}", 2, 16, "unknown operation 'tahn'"),
        ("func @f(%x: f32[2]) -> f32[2] {\n  %y: f32[2] = tanh %z\n  return %y\n}", 2, 21, "%z is not defined here"),
        ("func @f(%x: f32[2]) -> f32[2] {\n  %y: f32[3] = tanh %x\n  return %y\n}", 2, 3, "tanh here gives f32[2]"),
        ("func @f(%x: f32[2]) -> f32[2] {\n  %x: f32[2] = tanh %x\n  return %x\n}", 2, 3, "%x is defined twice"),
        ("func @f(%x: q32[2]) -> f32[2] {", 1, 13, "unknown dtype 'q32'"),
        ("func @f(%x: f32[-2]) -> f32[2] {", 1, 17, "an extent must be an integer"),
        ("func @f(%x: f32[2]) -> f32[3] {\n  return %x\n}", 1, 24, "not what it declares"),
        ("func @f(%x: f32[2]) -> f32[2] {\n  return %x\n", 3, 1, "expected '}', found 'the end'"),
        ("func @f(%x: f32[2]) -> f32[2] {\n  return %x\n} ?", 3, 3, "unexpected character '?'"),
        ("func @f(%x: f32[2]) -> f32[2] {\n  %y: f32[2] = sum %x {axes=(5)}\n  return %y\n}", 2, 16, "axes (5,) do not fit"),
        ("func @f(%x: i64[2]) -> i64[2] {\n  %y: i64[2] = exp %x\n  return %y\n}", 2, 16, "needs a floating dtype"),
        ("func @f(%x: f32[2]) -> f32[2] {\n  %y: f32[2] = sum %x {axes}\n  return %y\n}", 2, 28, "expected '='"),
        ("func @f(%x: f32[2]) -> f32[2] {\n  %y: f32[2] = tanh %x\n  return %y -> %y\n}", 3, 16, "%y is not an input"),
        ("func @f() -> c64[] {\n  %y: c64[] = full {value=complex(1)}\n  return %y\n}", 2, 27, "a complex number is written"),
    ],
)
def test_malformed_text_says_where(text, line, column, message):
    with pytest.raises(IRSyntaxError) as caught:
        parse_graph(text)
    assert (caught.value.line, caught.value.column) == (line, column), str(caught.value)
    assert message in str(caught.value) and f"line {line}, column {column}" in str(caught.value)


def test_parsing_does_not_execute():
    with pytest.raises(IRSyntaxError):
        parse_graph(
            "func @f() -> f32[] {\n  %x: f32[] = full {value=__import__('os'), shape=(), dtype=\"f32\"}\n  return %x\n}"
        )


def value(shape=(2,), dtype=float32):
    return Value(TensorType(dtype, shape))


def test_verifier_knows_its_invariants():
    x = value()
    good = Op(ops.tanh, [x], {}, [x.type])
    cases = {
        "before it is defined": Graph("f", [], [good], good.results),
        "defined twice": Graph("f", [x], [good, good], good.results),
        "has type": Graph("f", [x], [bad := Op(ops.tanh, [x], {}, [TensorType(float64, (2,))])], bad.results),
        "not defined": Graph("f", [x], [], [value()]),
        "stores": Graph("f", [x, (n := value((3,)))], [good], good.results, {0: 1}),
        "needs a floating dtype": Graph("f", [i := value(dtype=int64)], [o := Op(ops.exp, [i], {}, [i.type])], o.results),
    }
    del n
    for message, graph in cases.items():
        with pytest.raises(VerifyError, match=message):
            verify(graph)
    twice = Graph("f", [x], [good], [good.result, good.result], {0: 0, 1: 0})
    with pytest.raises(VerifyError, match="updates an input twice"):
        verify(twice)


def test_the_driver_verifies_between_passes():
    def breaks(graph):
        return Graph("f", graph.inputs, [], [value()])

    with pytest.raises(VerifyError):
        pipeline.run(parse_graph(LAYER), [breaks])


def test_second_derivatives_of_a_graph():
    builder = Builder("f")
    x = builder.input(TensorType(float64, (3,)), "x")
    (y,) = builder.append(ops.sin, [x], {})
    (s,) = builder.append(ops.sum_, [y], {"axes": (0,)})
    first = vjp(builder.finish([s]))  # (x, ct) -> (s, cos(x) ct)
    second = vjp(first, wrt=[0], cotangents=[1])
    at, v = np.array([0.1, 0.2, 0.3]), np.array([1.0, 2.0, 3.0])
    *_, result = evaluate(second, at, np.float64(1), v)
    np.testing.assert_allclose(result, -np.sin(at) * v)


def test_differentiation_refuses_what_it_cannot_do():
    graph = parse_graph("func @f(%i: i64[2]) -> i64[2] {\n  %j: i64[2] = neg %i\n  return %j\n}")
    with pytest.raises(TypeError, match="only floating values have cotangents"):
        vjp(graph, wrt=[0])
    with pytest.raises(TypeError, match="differentiate it before fusion"):
        vjp(pipeline.run(parse_graph(LAYER), pipeline.COMPILE))


def test_interpreter_refuses_arrays_that_do_not_fit():
    graph = parse_graph(LAYER)
    with pytest.raises(TypeError, match="takes 3 inputs"):
        evaluate(graph, np.zeros(2))
    with pytest.raises(TypeError, match=r"input %x of @layer is f32\[4,8\]"):
        evaluate(graph, np.zeros((4, 8)), np.zeros((8, 3), np.float32), np.zeros(3, np.float32))


BODY = "func @f(%x: f32[2]) -> f32[2] {{\n  {}\n  return %y\n}}"


@pytest.mark.parametrize(
    "line, message",
    [
        ("%y: f32[2] = tanh %x, %x", "tanh: takes 1 operand (x), got 2"),
        ("%y: f32[2] = neg %x {out=1}", "neg has no attribute 'out'; it has none"),
        ("%y: f32[2] = flip %x {axis=0}", "flip has no attribute 'axis'; it has axes"),
        ("%y: f32[2] = flip %x", "flip: needs the attribute 'axes': integers such as (2,3)"),
        ("%y: f32[2] = flip %x {axes=0}", "the attribute 'axes' of flip must be integers such as (2,3)"),
        ("%y: f32[2] = flip %x {axes=(0), axes=(0)}", "the attribute 'axes' is given twice"),
        ('%y: f32[2] = cast %x {dtype="float32"}', "the attribute 'dtype' of cast must be a dtype such as \"f32\""),
        ('%y: f32[2] = full {value="1", shape=(2), dtype="f32"}', "the attribute 'value' of full must be a number"),
        ('%i: u8[2] = full {value=256, shape=(2), dtype="u8"}', "256 is not a number of dtype u8"),
        ('%i: i64[2] = full {value=nan, shape=(2), dtype="i64"}', "nan is not a number of dtype i64"),
        ("%y: f32[2] = fusion %x {body=3}", "expected a name beginning with @"),
        ("%y: f32[2] = tanh @k %x { (%x: f32[2]): yield %x }", "only a fusion has a body"),
        ("%y: f32[2] = fusion @k %x { (%x: f32[2]): %y: f32[2] = fusion @l %x", "fusion cannot be in a fusion"),
        ("%y: f32[2] = fusion @k %x { (%x: f32[2]): yield %x -> %x }", "a fusion does not update its inputs"),
        ("%y: f32[2] = fusion @k %x { (%x: f32[3]): yield %x }", "@k takes (f32[3]), got (f32[2])"),
        ("return %x -> %x, %x -> %x }", "%x is updated twice"),
        ("return %x, }", "expected a value"),
        ("%y: f32[2] = full {value=((((((((((1)))))))))), shape=(2), dtype=\"f32\"}", "nested at most 8 deep"),
        ('%y: f32[2] = check_index %x {extent=3, message="\\q"}', "a string is written as in JSON"),
        ('%y: f32[2] = check_index %x {extent=3, message="', "a string without an end"),
    ],
)  # fmt: skip
def test_attributes_and_bodies_are_checked(line, message):
    with pytest.raises(IRSyntaxError) as caught:
        parse_graph(BODY.format(line))
    assert message in caught.value.message and caught.value.line == 2


def test_errors_show_the_line_with_a_caret():
    with pytest.raises(IRSyntaxError) as caught:
        parse_graph(BODY.format("\t%y: f32[2] = tahn %x"))
    assert (
        str(caught.value) == "line 2, column 17: unknown operation 'tahn'\n      \t%y: f32[2] = tahn %x\n      \t             ^"
    )
    with pytest.raises(IRSyntaxError) as caught:
        parse_graph(BODY.format(f'%y: f32[2] = full {{value=1, shape=({"1," * 500}1 1), dtype="f32"}}'))
    assert str(caught.value).split("\n")[1][len(str(caught.value).split("\n")[2]) - 1] == "1"  # the caret is below it


def test_names_may_be_of_any_script():
    text = (
        "func @größe(%α: f32[2], %fc1.weight: f32[2]) -> f32[2] {\n  %结果: f32[2] = add %α, %fc1.weight\n  return %结果\n}\n"
    )
    assert str(parse_graph(text)) == text


def test_a_text_has_several_graphs():
    first, second = parse_graphs(f"# two\n{LAYER}\n\n{LAYER.replace('layer', 'other')}# the end")
    assert first == parse_graph(LAYER) and second.name == "other"
    with pytest.raises(IRSyntaxError):
        parse_graphs("")


def test_every_attribute_has_a_meaning():
    for primitive in PRIMITIVES.values():
        for name in primitive.attributes:
            assert holds(name)


def test_passes_are_named():
    assert pipeline.named("compile") == pipeline.COMPILE and pipeline.named(" dce , cse") == (dce, cse)
    with pytest.raises(ValueError, match="there is no pass 'dead'; known are undetach, complex_as_pairs, widen"):
        pipeline.named("dce,dead")
