"""Writes of slices in loops: in place, with the results of the functional updates."""

import numpy as np
import plans_in_python
from hypothesis import given, settings
from hypothesis import strategies as st

from tracer.ir import ops, pipeline
from tracer.ir.graph import Builder
from tracer.ir.interp import Build, evaluate, using
from tracer.ir.parse import parse_graph
from tracer.ir.passes.slices import simplify_slices
from tracer.ir.regions import attributes, extents
from tracer.ir.types import TensorType, int64
from tracer.runtime.programs.layout import lay_out

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
    given_arrays = list(current)
    with using(Build(builder)):
        current.append(ops.full(value=0, shape=whole.shape, dtype="i64"))
        current.append(ops.add(current[0], current[1]))
        old = []
        shapes = [extents(draw(regions())) for _ in range(2)]  # few, so that kernels write several slices

        def read(shape):
            kinds = ["slice", "slice", "slice", "number", "sum", "old", "broadcast", "flip"]
            kind = draw(st.sampled_from(kinds))
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
            action = draw(st.sampled_from(["write"] * 6 + ["change"] * 3 + ["keep", "whole", "reduce"]))
            k = draw(st.sampled_from([0, 0, 0, 1, 2, 3, 4]))
            if action in ("write", "change"):
                region = draw(regions(draw(st.sampled_from(shapes))))
                v = read(extents(region))
                if action == "change":
                    v = ops.add(ops.slice_(current[k], **attributes(region)), v)
                current[k] = ops.slice_update(current[k], v, **attributes(region))
                if draw(st.booleans()):
                    old.append(v)
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
    assert all(v in builder.inputs for v in given_arrays)
    return builder.finish(outputs, updates)


def inputs_of(graph):
    rng = np.random.default_rng(0)
    return [rng.integers(-9, 10, v.shape) for v in graph.inputs]


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
