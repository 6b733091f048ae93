"""Checks of a primitive on a sample; each raises AssertionError. ``test_primitives`` runs them, and also tests that
they fail.
"""

import numpy as np

import tracer
from tracer.ir import pipeline
from tracer.ir.autodiff import vjp
from tracer.ir.graph import Builder
from tracer.ir.interp import Evaluate, evaluate, using
from tracer.ir.types import HALVES, type_of
from tracer.runtime.programs.layout import lay_out
from tracer.runtime.programs.program import Program


def cast_args(args, dtype):
    """The arguments with floating arrays cast to the dtype."""
    wanted = getattr(tracer, dtype).numpy
    return tuple(a.astype(wanted) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else np.asarray(a) for a in args)


def graph_of(primitive, args, attrs):
    """A graph that applies the primitive once."""
    builder = Builder("f")
    inputs = [builder.input(type_of(a)) for a in args]
    return builder.finish(builder.append(primitive, inputs, {**primitive.defaults, **attrs}))


def close(actual, expected, what, ulps=8):
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.dtype == expected.dtype and actual.shape == expected.shape, f"{what}: {actual.dtype}{actual.shape}"
    if expected.dtype in HALVES:  # all compute in float32 and round
        room = 2 * float(tracer.finfo(type_of(expected).dtype).eps)
        actual, expected = actual.astype(np.float32), expected.astype(np.float32)
        np.testing.assert_allclose(actual, expected, rtol=room, atol=room, err_msg=what, equal_nan=True)
        return
    if expected.dtype.kind not in "fc":
        np.testing.assert_array_equal(actual, expected, what)
        return
    eps = np.finfo(expected.dtype).eps
    np.testing.assert_allclose(actual, expected, rtol=ulps * eps, atol=ulps * eps, err_msg=what, equal_nan=True)


def check_three_ways(primitive, args, attrs):
    """Checks that eager mode, the interpreter and compiled code agree in value, dtype and shape."""
    graph = graph_of(primitive, args, attrs)
    (expected,) = evaluate(graph, *args)
    eager = primitive(*(tracer.from_numpy(np.array(a)) for a in args), **attrs)
    close(eager.numpy(), expected, "eager")
    (compiled,) = Program(lay_out(pipeline.run(graph, pipeline.COMPILE)))(*args)
    close(compiled, expected, "compiled", ulps=32)


def check_gradients(primitive, args, attrs, rules=None, order=2, symmetric=False):
    """Checks the rules against finite differences, and the rules of the resulting graph, up to ``order``.

    ``rules`` replaces the record's rules, so that tests of this checker can plant wrong ones. ``symmetric``: operand 0 is a
    symmetric matrix, and stays one when it is varied.
    """
    floating = [i for i, a in enumerate(args) if a.dtype.kind == "f"]
    graph = graph_of(primitive, args, attrs)
    if rules is None:
        _check_graph(graph, args, floating, order, primitive.name, symmetric)
        return
    (y,) = evaluate(graph, *args)
    g = np.random.default_rng(9).standard_normal(y.shape)
    with using(Evaluate()):
        cotangents = [r and r(g, y, args, [type_of(a) for a in args], {**primitive.defaults, **attrs}) for r in rules]
    for i in floating:
        _compare(lambda *xs: evaluate(graph, *xs), [g], args, i, cotangents[i], primitive.name)


def _check_graph(graph, args, wrt, order, what, symmetric=False):
    rng = np.random.default_rng(9)
    joint = pipeline.run(vjp(graph, wrt), pipeline.SIMPLIFY)
    m = len(graph.outputs)
    seeds = [rng.standard_normal(v.shape) for v in joint.inputs[len(graph.inputs) :]]
    outputs = evaluate(joint, *args, *seeds)
    for i, ct in zip(wrt, outputs[m:], strict=True):
        _compare(lambda *xs: evaluate(graph, *xs), seeds, args, i, ct, f"{what}, order {3 - order}", symmetric and i == 0)
    if order > 1:
        _check_graph(joint, [*args, *seeds], [*wrt, *range(len(args), len(args) + len(seeds))], order - 1, what, symmetric)


def _compare(function, seeds, args, i, cotangent, what, symmetric=False, h=1e-6):
    """Compares the cotangent of argument ``i`` along a random direction with a central difference."""
    direction = np.random.default_rng(5).standard_normal(args[i].shape)
    if symmetric:
        direction = direction + np.swapaxes(direction, -1, -2)

    def total(step):
        moved = [a + step * direction if k == i else a for k, a in enumerate(args)]
        outputs = [y for y in function(*moved) if y.dtype.kind == "f"]
        return sum(float(np.sum(y * g)) for y, g in zip(outputs, seeds, strict=True))

    expected = (total(h) - total(-h)) / (2 * h)
    actual = 0.0 if cotangent is None else float(np.sum(cotangent * direction))
    scale = max(1.0, abs(expected))
    assert abs(actual - expected) < 2e-5 * scale, f"{what}: operand {i} has derivative {expected}, the rule says {actual}"
