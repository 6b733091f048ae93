"""Writes of slices in loops: in place, with the results of the functional updates."""

import numpy as np
import plans_in_python
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slice_patterns import (
    PATTERNS,
    argument,
    backwards,
    factored,
    overlapping,
    red_black,
    rows,
    stencil,
    swapped,
    two_from_one,
    versions,
    views,
)

import tracer
from tracer.ir import ops, pipeline
from tracer.ir.graph import Builder
from tracer.ir.interp import Build, evaluate, using
from tracer.ir.parse import parse_graph
from tracer.ir.passes import fuse
from tracer.ir.passes.slices import simplify_slices
from tracer.ir.regions import attributes, extents
from tracer.ir.types import TensorType, int64
from tracer.runtime.programs.layout import lay_out
from tracer.runtime.programs.program import Program

ROWS, COLUMNS = 5, 6


@st.composite
def regions(draw, shape=None):
    """A region of an array of 5 x 6; of a given shape."""
    region = []
    for axis, n in enumerate((ROWS, COLUMNS)):
        count = shape[axis] if shape else draw(st.sampled_from([1, 1, 2, n - 2, n]))
        steps = [s for s in (1, 1, 2, 3) if (count - 1) * s < n]
        step = draw(st.sampled_from(steps))
        start = draw(st.integers(0, n - 1 - (count - 1) * step))
        region.append(range(start, start + (count - 1) * step + 1, step))
    return tuple(region)


@st.composite
def slice_programs(draw):
    """A graph that reads and writes slices of a few arrays, in the order of a program with views."""
    builder = Builder("f")
    whole = TensorType(int64, (ROWS, COLUMNS))
    current = [builder.input(whole, name) for name in "abc"]
    position = builder.input(TensorType(int64, (2,)), "position")
    with using(Build(builder)):
        current.append(ops.full(value=0, shape=whole.shape, dtype="i64"))
        current.append(ops.add(current[0], current[1]))
        old = []
        shapes = [extents(draw(regions())) for _ in range(2)]  # few, so that kernels write several slices

        def read(shape):
            kinds = ["slice", "slice", "slice", "number", "sum", "old", "broadcast", "flip", "vector", "product"]
            kind = draw(st.sampled_from(kinds))
            if kind == "vector" and shape[0] == 1:
                number = ops.slice_(draw(st.sampled_from(current)), **attributes(draw(regions((1, 1)))))
                spread = ops.broadcast(ops.reshape(number, shape=()), shape=shape[1:], axes=())
                return ops.reshape(ops.add(ops.reshape(read(shape), shape=shape[1:]), spread), shape=shape)
            if kind == "product":  # by a separate kernel, which reads all of an array
                factor = ops.add(read((shape[0], ROWS)), 1)
                product = ops.matmul(factor, draw(st.sampled_from(current)), ta=False, tb=False)
                old.extend((factor, product))
                return ops.slice_(product, **attributes(draw(regions(shape)))) if shape[0] == ROWS else ops.add(read(shape), 1)
            if kind == "number":
                return ops.full(value=draw(st.integers(0, 3)), shape=shape, dtype="i64")
            if kind == "sum":
                return ops.add(read(shape), read(shape))
            if kind == "old" and (alike := [v for v in old if v.shape == shape]):
                return draw(st.sampled_from(alike))
            x = draw(st.sampled_from(current))
            if kind == "broadcast":
                row = ops.slice_(x, **attributes(draw(regions((1, shape[1])))))
                return ops.broadcast(ops.reshape(row, shape=shape[1:]), shape=shape, axes=(1,))
            part = ops.slice_(x, **attributes(draw(regions(shape))))
            return ops.flip(part, axes=(1,)) if kind == "flip" else part

        for _ in range(draw(st.integers(1, 15))):
            action = draw(st.sampled_from(["write"] * 6 + ["change"] * 3 + ["keep", "whole", "reduce", "place", "place"]))
            k = draw(st.sampled_from([0, 0, 0, 1, 2, 3, 4]))
            if action in ("write", "change"):
                region = draw(regions(draw(st.sampled_from(shapes))))
                v = read(extents(region))
                if action == "change":
                    v = ops.add(ops.slice_(current[k], **attributes(region)), v)
                current[k] = ops.slice_update(current[k], v, **attributes(region))
                if draw(st.booleans()):
                    old.append(v)
            elif action == "place":  # rows or columns at a position that is data
                axis, n = draw(st.integers(0, 1)), draw(st.integers(1, 2))
                at = ops.slice_(position, starts=(axis,), stops=(axis + 1,), steps=(1,))
                v = read((n, COLUMNS) if axis == 0 else (ROWS, n))
                current[k] = ops.set_at(current[k], v, ops.reshape(at, shape=()), axis=axis)
            elif action == "keep":
                old.append(ops.slice_(current[k], **attributes(draw(regions()))))
            elif action == "whole":
                current[k] = ops.mul(current[k], draw(st.sampled_from(current)))
            else:
                row = ops.sum_(current[k], axes=(0,))
                at = range(draw(st.integers(0, ROWS - 1)), ROWS)[:1], range(COLUMNS)
                current[k] = ops.slice_update(current[k], ops.reshape(row, shape=(1, COLUMNS)), **attributes(at))
    outputs = [current[i] for i in draw(st.lists(st.integers(0, 4), min_size=1, max_size=4))]
    updates = {}
    for i in draw(st.sets(st.integers(0, 2))):
        updates[len(outputs)] = i
        outputs.append(current[i])
    outputs += [v for v in old if draw(st.booleans())][:3]
    return builder.finish(outputs, updates)


def inputs_of(graph):
    rng = np.random.default_rng(0)
    return [rng.integers(0, ROWS - 1, 2) if v.name == "position" else rng.integers(-9, 10, v.shape) for v in graph.inputs]


@settings(max_examples=300, deadline=None)
@given(slice_programs(), st.integers(0, 99))
def test_random_programs_give_what_updates_give(graph, seed):
    args = inputs_of(graph)
    expected = evaluate(graph, *args)
    for after in (simplify_slices(graph), pipeline.run(graph, pipeline.COMPILE)):
        for a, b in zip(evaluate(after, *args), expected, strict=True):
            np.testing.assert_array_equal(a, b)
    assert parse_graph(str(after)) == after
    plan = lay_out(after)
    for order in (None, seed):
        for a, b in zip(plans_in_python.run(plan, args, order), expected, strict=True):
            np.testing.assert_array_equal(a, b)


# Programs.


def arrays(dtype, seed=0):
    rng = np.random.default_rng(seed)
    numbers = [rng.integers(0, 2 if dtype is tracer.bool else 4, (4, 6)) for _ in range(2)]
    return [tracer.tensor(x).to(dtype) for x in numbers]


def listed(result):
    return [] if result is None else [*result] if isinstance(result, tuple) else [result]


def same(a, b):
    wide = tracer.complex128 if a.dtype.is_complex else tracer.float64
    np.testing.assert_array_equal(a.detach().to(wide).numpy(), b.detach().to(wide).numpy())


DTYPES = (tracer.float64, tracer.float32, tracer.float16, tracer.bfloat16, tracer.int64, tracer.uint8, tracer.complex128)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda f: f.__name__)
def test_patterns(pattern, dtype):
    traced = tracer.trace(pattern)
    for seed in range(3):
        given_eagerly, given_compiled = arrays(dtype, seed), arrays(dtype, seed)
        expected, found = listed(pattern(*given_eagerly)), listed(traced(*given_compiled))
        for a, b in zip([*expected, *given_eagerly], [*found, *given_compiled], strict=True):
            same(a, b)
        for x in expected:  # what shares memory
            x[..., 0] += 1
        for x in found:
            x[..., 0] += 1
        for a, b in zip([*expected, *given_eagerly], [*found, *given_compiled], strict=True):
            same(a, b)
    assert len(traced.graphs()) == 1


@pytest.mark.parametrize("pattern", [p for p in PATTERNS if p is not views], ids=lambda f: f.__name__)
def test_gradients_to_the_second_order(pattern):
    def f(a, b):
        a, b = a * 1.5, b * b
        results = listed(pattern(a, b))
        return sum((x * x * 0.25).sum() for x in (*results, a, b))

    def derivatives(function, seed):
        a, b = arrays(tracer.float64, seed)
        a.requires_grad_(), b.requires_grad_()
        y = function(a, b)
        first = tracer.autograd.grad(y, (a, b), create_graph=True, allow_unused=True)
        first = [g for g in first if g is not None]
        mixed = sum((g * g).sum() for g in first)
        return [y, *first, *(g for g in tracer.autograd.grad(mixed, (a, b), allow_unused=True) if g is not None)]

    traced = tracer.trace(f)
    for seed in range(3):
        for a, b in zip(derivatives(traced, seed), derivatives(f, seed), strict=True):
            np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-12)


@pytest.mark.parametrize("pattern", [swapped, overlapping, two_from_one], ids=lambda f: f.__name__)
def test_booleans(pattern):
    def f(a, b):
        return [x * 1 for x in listed(pattern(a > 1, b > 1))]

    traced = tracer.trace(f)
    for seed in range(3):
        for a, b in zip(f(*arrays(tracer.float64, seed)), traced(*arrays(tracer.float64, seed)), strict=True):
            same(a, b)


def compare_calls(f, *calls):
    """Calls of a traced function, each on its own arguments, give what eager calls give, and change the same."""
    traced = tracer.trace(f)
    for make in calls:
        expected, found = make(), make()
        outcomes = []
        for function, args in ((f, expected), (traced, found)):
            try:
                outcomes.append(listed(function(*args)))
            except IndexError as e:
                outcomes.append(type(e))
        if isinstance(outcomes[0], list):
            for a, b in zip(*outcomes, strict=True):
                same(a, b)
        else:
            assert outcomes[0] is outcomes[1]
        for a, b in zip(expected, found, strict=True):
            same(a, b)
    return traced


def test_a_failing_call_changes_what_an_eager_call_changes():
    def f(a, b, at):
        a[0] = b[1]
        a[1] = a[0] * 2
        a[2] = b.index_select(0, at)[0]
        a[3] = a[2] + a[1]

    def call(position):
        return lambda: [*arrays(tracer.float64), tracer.tensor([position])]

    traced = compare_calls(f, call(1), call(2), call(9), call(0), call(-9), call(3))
    assert traced.graphs()


def test_segments():
    def f(a, b):
        while a[0].sum() < 200:
            a[0] += a[1] + b[0] + 1
            a[1:3] = a[0:2] * 1
        return a * 1, b

    compare_calls(f, *(lambda seed=seed: arrays(tracer.float64, seed) for seed in range(6)))


def test_captured_arrays_and_views_of_arguments():
    def make():
        state = tracer.zeros(4, 6, dtype=tracer.float64)

        def f(a, b):
            state[0] += a[0]
            state[1:] = state[:-1] * 2
            a[0] = state[1]
            part = a[1:]
            part[1] = part[0] + b[0]
            return state.sum()

        return f, state

    (eager, state), (compiled, other) = make(), make()
    traced = tracer.trace(compiled)
    for seed in range(4):
        given_eagerly, given_compiled = arrays(tracer.float64, seed), arrays(tracer.float64, seed)
        same(eager(*given_eagerly), traced(*given_compiled))
        for a, b in zip([state, *given_eagerly], [other, *given_compiled], strict=True):
            same(a, b)


def test_arguments_that_are_one_array():
    def f(a, b):
        a[1:] += b[:-1] * 2
        b[0] = a[1]
        return a * 1

    def alike(seed):
        (a, _) = arrays(tracer.float64, seed)
        return [a, a]

    def overlapping_views(seed):
        (a, _) = arrays(tracer.float64, seed)
        return [a[:-1], a[1:]]

    calls = [lambda make=make, seed=seed: make(seed) for seed in range(2) for make in (alike, overlapping_views)]
    compare_calls(f, *calls)


def test_threads():
    def f(a, b):
        for k in range(3):
            b[1:-1, 1:-1] = a[1:-1, :-2] + a[1:-1, 2:] * 0.5 - a[2:, 1:-1]
            a[k + 1 : -1 - k] = b[k : -2 - k].exp() * 0.125
        return a * 1

    found = []
    before = tracer.get_num_threads()
    try:
        for threads in (1, 2, 3):
            tracer.set_num_threads(threads)
            traced = tracer.trace(f)
            for _ in range(2):
                a, b = (tracer.tensor(np.random.default_rng(k).normal(size=(600, 600))) for k in range(2))
                result = traced(a, b)
            found.append([result, a, b])
    finally:
        tracer.set_num_threads(before)
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            same(a, b)


class Buffer:
    def __init__(self, dtype=tracer.float64):
        self.rows, self.cube, self.marks = (
            tracer.zeros(7, 3, dtype=dtype),
            tracer.zeros(2, 7, 3),
            tracer.zeros(7, dtype=tracer.bool),
        )
        self.next = 0

    def state(self):
        return [self.rows, self.cube, self.marks]


def fill(buffer, x):
    n = buffer.next
    buffer.rows[n] = x
    buffer.cube[1, n] = buffer.rows[n] * 2
    buffer.cube[:, n, 1:] = x[1:]
    buffer.marks[n] = True
    buffer.next = (n + 1) % 7


def fill_backwards(buffer, x):
    buffer.next -= 1
    buffer.rows[buffer.next] = buffer.rows[buffer.next + 1] + x
    buffer.cube[:, buffer.next] = 1.5


def fill_and_read(buffer, x):
    n = buffer.next
    old = buffer.rows[n].clone()
    buffer.rows[n] = x + old
    buffer.rows[n + 1] = buffer.rows[n] - old
    buffer.rows[0] = old
    buffer.next = n + 1


def fill_columns(buffer, x):
    n = buffer.next
    buffer.rows[:, n % 3] = buffer.rows[:, 0] + x[0]
    buffer.rows[2:5, n % 3] = x
    buffer.next = n + 1


@pytest.mark.parametrize("f", [fill, fill_backwards, fill_and_read, fill_columns], ids=lambda f: f.__name__)
def test_writes_at_changing_positions(f):
    """Also out of range: then the eager call raises, after its first changes."""
    eager, compiled = Buffer(), Buffer()
    traced = tracer.trace(f)
    for k in range(20):
        x = tracer.arange(3, dtype=tracer.float64) + k
        outcomes = []
        for function, buffer in ((f, eager), (traced, compiled)):
            try:
                function(buffer, x)
                outcomes.append(None)
            except IndexError as e:
                outcomes.append(str(e))
                buffer.next = 0
        assert outcomes[0] == outcomes[1]
        for a, b in zip(eager.state(), compiled.state(), strict=True):
            same(a, b)
        assert eager.next == compiled.next
    assert any(op.primitive is ops.set_at for graph in traced.graphs() for op in graph.ops)


def test_a_row_at_a_changing_position_costs_a_row():
    buffer = Buffer()
    buffer.rows = tracer.zeros(100_000, 3, dtype=tracer.float64)

    def push(x):
        buffer.rows[buffer.next] = x
        buffer.next += 1

    traced = tracer.trace(push)
    for _ in range(4):
        traced(tracer.ones(3))
    plan = lay_out(pipeline.run(traced.graphs()[-1], pipeline.COMPILE))
    assert copies(plan) == 0 and plan.arena < 1000 and not plan.unsafe
    assert not any(plan.kinds[k].large for k in plan.steps)
    assert buffer.rows[:4].sum() == 12


# The memory plan.


def planned(f, *shapes, fill=1.0):
    traced = tracer.trace(f)
    traced(*(tracer.full(shape, fill, dtype=tracer.float64) for shape in shapes))
    (graph,) = traced.graphs()
    return lay_out(pipeline.run(graph, pipeline.COMPILE))


def copies(plan):
    return sum(plan.kinds[k].name == "@copy" for k in plan.steps)


def test_updates_of_an_argument_are_in_its_memory():
    for f in (argument, backwards, red_black, factored, stencil):
        plan = planned(lambda a, b, f=f: (f(a, b), None)[1], (8, 40), (8, 40))
        assert copies(plan) == 0
        assert plan.arena < 2 * 8 * 40 * 8  # slices that are computed before they are written


def test_updates_of_a_local_array_are_in_the_memory_of_the_result():
    plan = planned(rows, (50, 64), (50, 64))
    assert copies(plan) == 0
    assert plan.arena <= 50 * 64 * 8 // 4  # rows that pass from one kernel to the next


def test_many_updates_share_few_kernels():
    plan = planned(rows, (401, 40), (401, 40))
    assert len(plan.steps) < 60
    assert len({kind.source for kind in plan.kinds}) <= 5
    plan = planned(factored, (40, 40), (40, 40))
    assert len({kind.source for kind in plan.kinds}) <= 16


def test_reads_of_what_is_not_overwritten_move_to_the_kernel_that_uses_them():
    """Of one plane of an array of which another plane has been written."""

    def f(x, y):
        x[..., 1] = y
        a = x[1:, :, 0] - x[:-1, :, 0]
        return a * y[1:].sum(0), x.sum(2)

    traced, y = tracer.trace(f), tracer.randn(40, 50)
    for _ in range(3):
        x = tracer.randn(40, 50, 3)
        for a, b in zip(f(x.clone(), y), traced(x, y), strict=True):
            same(a, b)
    fused = pipeline.run(traced.graphs()[0], pipeline.COMPILE)
    bodies = [[o.primitive.name for o in op.attrs["body"].ops] for op in fused.ops if op.primitive.name == "fusion"]
    assert any("sub" in body and "mul" in body for body in bodies)


def test_an_argument_that_is_not_updated_is_copied_once():
    def f(a):
        a = a.clone()
        for i in range(1, 9):
            a[i] += a[i - 1]
        return a

    plan = planned(f, (9, 40))
    assert copies(plan) == 1


def test_a_value_that_is_read_later_is_copied():
    plan = planned(versions, (9, 40), (9, 40))
    assert copies(plan) == 3  # three results are three arrays


LATE = """\
func @f(%x: f64[4,8], %v: f64[1,8], %w: f64[8,4]) -> (f64[4,8], f64[8,8], f64[8]) {
  %y: f64[4,8] = slice_update %x, %v {starts=(1,0), stops=(2,8), steps=(1,1)}
  %r: f64[1,8] = slice %x {starts=(START,0), stops=(STOP,8), steps=(1,1)}
  %e: f64[1,8] = exp %r
  %c: f64[8] = reshape %e {shape=(8)}
  %p: f64[8,8] = matmul %w, %y
  return %y -> %x, %p, %c
}
"""


@pytest.mark.parametrize(("row", "expected"), [(0, 0), (1, 2), (2, 0)])
def test_later_reads_of_other_rows_are_no_reason_to_copy(row, expected):
    graph = parse_graph(LATE.replace("START", str(row)).replace("STOP", str(row + 1)))
    fused = pipeline.run(graph, pipeline.COMPILE)
    plan = lay_out(fused)
    assert copies(plan) == expected
    args = [np.random.default_rng(k).normal(size=v.shape) for k, v in enumerate(graph.inputs)]
    for a, b in zip(Program(plan)(*args), evaluate(graph, *args), strict=True):
        np.testing.assert_allclose(a, b)


REVERSED = """\
func @f(%x: f64[4,8]) -> f64[4,8] {
  %y: f64[4,8] = fusion @k %x {
    (%x: f64[4,8]):
    %s: f64[1,8] = slice %x {starts=(1,0), stops=(2,8), steps=(1,1)}
    %r: f64[1,8] = flip %s {axes=(1)}
    %w: f64[4,8] = write_slice %x, %r {starts=(1,0), stops=(2,8), steps=(1,1)}
    yield %w
  }
  return %y -> %x
}
"""


def test_a_kernel_that_reads_replaced_elements_elsewhere_writes_a_copy():
    graph = parse_graph(REVERSED)
    plan = lay_out(graph)
    assert copies(plan) == 2  # before the kernel, and into the argument
    args = [np.random.default_rng(0).normal(size=(4, 8))]
    np.testing.assert_array_equal(Program(plan)(*args)[0], evaluate(graph, *args)[0])


ORDERED = """\
func @f(%x: f64[8,8], %b: f64[1,8]) -> (f64[8,8], f64[1,8]) {
  %t: f64[1,8] = exp %b
  %p: f64[1,8] = matmul %t, %x
  %v: f64[1,8] = sin %t
  %y: f64[8,8] = slice_update %x, %v {starts=(0,0), stops=(1,8), steps=(1,1)}
  return %y -> %x, %p
}
"""


def test_a_write_follows_a_product_that_reads_the_old_elements_and_another_result_of_the_kernel():
    graph = parse_graph(ORDERED)
    plan = lay_out(pipeline.run(graph, pipeline.COMPILE))
    assert copies(plan) == 0
    args = [np.random.default_rng(k).normal(size=v.shape) for k, v in enumerate(graph.inputs)]
    for a, b in zip(Program(plan)(*args), evaluate(graph, *args), strict=True):
        np.testing.assert_allclose(a, b)


SUMMED = """\
func @f(%a: f64[3,4], %b: f64[3,4], %c: f64[3,4], %v: f64[1,4]) -> (f64[3,4], f64[3,4]) {
  %m: f64[3,4] = mul %a, %b
  %s: f64[4] = sum %c {axes=(0)}
  %r: f64[3,4] = broadcast %s {shape=(3,4), axes=(1)}
  %t: f64[3,4] = add %m, %r
  %y: f64[3,4] = slice_update %t, %v {starts=(1,0), stops=(2,4), steps=(1,1)}
  return %y, %m
}
"""


@pytest.mark.parametrize("length", [1, 2, None])
def test_a_value_that_is_only_written_follows_what_it_reads_through_movements(length, monkeypatch):
    if length is not None:
        monkeypatch.setattr(fuse, "_LENGTH", length)
    graph = parse_graph(SUMMED)
    plan = lay_out(pipeline.run(graph, pipeline.COMPILE))
    args = [np.random.default_rng(k).normal(size=v.shape) for k, v in enumerate(graph.inputs)]
    for a, b in zip(Program(plan)(*args), evaluate(graph, *args), strict=True):
        np.testing.assert_allclose(a, b)
