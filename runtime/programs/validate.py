"""Checks a compiled graph against the interpreter, and names the kernel that differs."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...ir.graph import Graph, Op, Value
from ...ir.interp import evaluate
from ...ir.ops import RENAMING
from ...ir.reduce import reduced
from ...ir.validate import CannotRun, Failure, Miscompiled, Reference, references, wrong_pass
from .layout import lay_out
from .plan import Plan
from .program import Program


def failure_of(graph: Graph, passes: Sequence[Callable[[Graph], Graph]], known: Sequence[Reference]) -> Failure | None:
    """The first pass that changes results, or else the kernel that does; None if all agree."""
    failure, after = wrong_pass(graph, passes, known)
    return failure or wrong_kernel(after, known)


def wrong_kernel(graph: Graph, known: Sequence[Reference], plan: Plan | None = None) -> Failure | None:
    """What makes the program of a graph give other results than the interpreter; None if nothing does."""
    try:
        program = Program(plan or lay_out(graph))
    except ImportError:
        raise
    except Exception as e:
        return Failure("the code generator", f"fails: {type(e).__name__}: {e}".split("\n")[0], graph)
    for reference in known:
        if said := _difference(program, reference):
            return _first_wrong(graph, reference) or Failure("the program", f"computes another result: {said}", graph)
    return None


def _difference(program: Program, reference: Reference) -> str | None:
    try:
        with warnings.catch_warnings(action="ignore"):
            return reference.difference(program(*reference.args))
    except Exception as e:
        return f"it raises {type(e).__name__}: {e}".split("\n")[0]


def _first_wrong(graph: Graph, reference: Reference) -> Failure | None:
    """The first operation whose kernel alone computes another result."""
    env: dict[Value, Any] = dict(zip(graph.inputs, reference.args, strict=True))
    for op in graph.ops:
        alone = _alone(op)
        operands = [np.ascontiguousarray(env[v]) if env[v].ndim else env[v] for v in op.operands]
        # Renaming has no kernel: its result is the operand's memory, which no program returns.
        said = None if op.primitive in RENAMING else _difference(Program(lay_out(alone)), Reference(alone, operands))
        if said:
            name = f"@{op.attrs['body'].name}" if "body" in op.attrs else op.primitive.name
            return Failure(f"the kernel of {name}", f"computes another result: {said}", alone)
        with warnings.catch_warnings(action="ignore"):
            env.update(zip(op.results, evaluate(alone, *operands), strict=True))
    return None


def _alone(op: Op) -> Graph:
    inputs = [Value(v.type, None, v.name or f"x{i}") for i, v in enumerate(op.operands)]
    copy = Op(op.primitive, inputs, op.attrs, [v.type for v in op.results], op.loc)
    return Graph("alone", inputs, [copy], copy.results)


def require(graph: Graph, plan: Plan) -> None:
    """Raises Miscompiled if the program of a graph gives other results than the interpreter."""
    try:
        known = references(graph)
    except CannotRun:
        return
    failure = wrong_kernel(graph, known, plan)
    if failure is not None:
        raise Miscompiled(failure, reduced(failure.graph, lambda g: wrong_kernel(g, references(g)) is not None))
