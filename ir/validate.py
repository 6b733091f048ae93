"""Checks passes: a graph before and after a pass must give the same results on the interpreter.

Passes may change rounding errors: they reorder sums and leave out intermediate roundings. How large a difference may be is
measured: the graph before is run again with every inexact result moved at random by a few units in the last place (Monte
Carlo arithmetic: D. S. Parker, UCLA CSD-970002, 1997). Differences of a few times the largest change that this makes are
rounding errors.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .graph import Graph, Op, Value
from .interp import EVALUATE, evaluate
from .ops import check_index, gather, index_add, index_select, scatter_add, scatter_reduce, sum_, sum_lost
from .primitive import Kind
from .verify import VerifyError

ENABLED = os.environ.get("TRACER_VALIDATE", "0") not in ("", "0")
_RUNS, _MORE = 4, 28  # with moved results; and how many more before a difference is reported
_UNITS, _UNITS_OF_HALVES = (4, 16), (1, 4)  # by how much results are moved; by less than that, moves may cancel
_ALLOWED = 4  # how many times as large a difference may be


@dataclass(frozen=True)
class Failure:
    """What changes a result: ``where`` is for example "pass cse", ``said`` what it does, ``graph`` the graph before."""

    where: str
    said: str
    graph: Graph

    def __str__(self) -> str:
        return f"{self.where} {self.said}"


class Miscompiled(VerifyError):
    """A compiled graph would give other results than the recorded one. ``graph`` is a small graph that shows it."""

    def __init__(self, failure: Failure, graph: Graph):
        super().__init__(str(failure))
        self.failure, self.graph = failure, graph


class CannotRun(ValueError):
    """No arguments were found for which a graph runs."""


class Reference:
    """The results of a graph for some arguments, and how much they change by rounding."""

    def __init__(self, graph: Graph, args: Sequence[np.ndarray]):
        self.graph, self.args = graph, list(args)
        with warnings.catch_warnings(action="ignore"):
            self.outputs = [np.asarray(y) for y in evaluate(graph, *args)]
            self._rng = np.random.default_rng(1)
            self._moved = [_evaluate_moved(graph, args, self._rng) for _ in range(_RUNS)]

    def difference(self, outputs: Sequence[np.ndarray]) -> str | None:
        """The first element of other results that differs by more than rounding, in words; None if there is none."""
        said = self._difference(outputs)
        if said is not None and len(self._moved) == _RUNS:  # of many elements, a few runs may move one too little
            with warnings.catch_warnings(action="ignore"):
                self._moved += [_evaluate_moved(self.graph, self.args, self._rng) for _ in range(_MORE)]
            said = self._difference(outputs)
        return said

    def _difference(self, outputs: Sequence[np.ndarray]) -> str | None:
        for k, (before, after) in enumerate(zip(self.outputs, outputs, strict=True)):
            after = np.asarray(after)
            wrong = _differs(before, after, [moved[k] for moved in self._moved])
            if wrong.any():
                at = tuple(int(i) for i in np.argwhere(wrong)[0])
                place = f"output {k}" + (f" at {list(at)}" if at else "")
                return f"{place} is {after[at]}, not {before[at]} ({int(wrong.sum())} of {wrong.size} elements differ)"
        return None


def _differs(before: np.ndarray, after: np.ndarray, moved: Sequence[np.ndarray]) -> np.ndarray:
    """Which elements differ by more than rounding."""
    if before.dtype.kind in "biu":
        stable = np.all([m == before for m in moved], axis=0)
        return stable & (before != after)
    if before.dtype.kind == "c":
        parts = [_differs(part(before), part(after), [part(m) for m in moved]) for part in (np.real, np.imag)]
        return parts[0] | parts[1]
    eps = _eps(before.dtype)
    tiny = float(np.finfo(before.dtype).tiny) if before.dtype.kind == "f" else 0.0
    x, y, others = before.astype(np.float64), after.astype(np.float64), [m.astype(np.float64) for m in moved]
    with np.errstate(all="ignore"):
        noise = np.max([np.abs(o - x) for o in others], axis=0)
        far = np.abs(y - x) > _ALLOWED * (noise + 4 * eps * np.abs(x)) + tiny
        regular = np.isfinite(x) & np.all(np.isfinite(others), axis=0)
        same = [np.isnan(o) & np.isnan(x) | (o == x) for o in others]
        special = ~np.isfinite(x) & np.all(same, axis=0)
        equal = np.isnan(x) & np.isnan(y) | (x == y)
    return np.where(regular, far | ~np.isfinite(y), special & ~equal)


def _eps(dtype: np.dtype) -> float:
    import ml_dtypes

    return float(ml_dtypes.finfo(dtype).eps)


def _evaluate_moved(graph: Graph, args: Sequence[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    """The outputs of a graph with every inexact result moved."""
    env: dict[Value, np.ndarray] = dict(zip(graph.inputs, args, strict=True))
    for op in graph.ops:
        operands = [env[v] for v in op.operands]
        if op.primitive.kind is Kind.FUSION:
            outs: Sequence[np.ndarray] = _evaluate_moved(op.attrs["body"], operands, rng)
        else:
            sums = _sums(op)
            found = EVALUATE.bind(op.primitive, [_moved(x, (), rng) for x in operands] if sums else operands, op.attrs)
            outs = [np.asarray(y) for y in (found if isinstance(found, tuple) else (found,))]
            if sums or (op.primitive.is_elementwise and not op.primitive.in_format):
                outs = [_moved(y, operands, rng) for y in outs]
        env.update(zip(op.results, outs, strict=True))
    return [env[v] for v in graph.outputs]


def _sums(op: Op) -> bool:
    """True if a result depends on the order in which elements are added."""
    p = op.primitive
    if p in (index_select, gather) or p.in_format:
        return False
    return p in (sum_, sum_lost) or p.kind in (Kind.CONTRACTION, Kind.INDEXING, Kind.HOST)


def _moved(y: np.ndarray, operands: Sequence[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """An array with its elements moved by a few units in the last place; those that are exact are left.

    Elements are taken for exact if they are integers, or equal an operand's up to the sign.
    """
    if y.dtype.kind == "c":
        moved = np.empty_like(y)
        moved.real, moved.imag = _moved(y.real, (), rng), _moved(y.imag, (), rng)
        return moved
    if y.dtype.kind in "biu":
        return y
    eps = _eps(y.dtype)
    with np.errstate(all="ignore"):
        wide = y.astype(np.float64)
        exact = (wide == np.rint(wide)) & (np.abs(wide) < 0.25 / eps)
        for x in operands:
            if x.shape == y.shape and x.dtype == y.dtype:
                exact |= (x == y) | (x == -y)
        units = rng.uniform(*(_UNITS_OF_HALVES if y.itemsize == 2 else _UNITS), y.shape)
        by = rng.choice((-eps, eps), y.shape) * units
        return np.where(exact, y, (wide * (1 + by)).astype(y.dtype)).astype(y.dtype, copy=False)


def arguments(graph: Graph, positive: bool) -> list[np.ndarray]:
    """Random arguments: of floating types from the normal distribution, or between 0.5 and 1.5; indices that fit."""
    rng = np.random.default_rng(0)
    below = min([4, *_extents(graph)])
    args = []
    for v in graph.inputs:
        kind, shape = v.dtype.kind, v.shape
        x: Any
        if kind == "b":
            x = rng.integers(0, 2, shape)
        elif kind in "iu":
            x = rng.integers(0, max(below, 1), shape)
        elif kind == "c":
            x = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
        else:
            x = rng.uniform(0.5, 1.5, shape) if positive else rng.standard_normal(shape)
        args.append(np.asarray(x).astype(v.dtype.numpy))
    return args


def _extents(graph: Graph) -> Iterator[int]:
    """The extents that indices must fit."""
    for op in graph.ops:
        if op.primitive is check_index:
            yield op.attrs["extent"]
        elif op.primitive in (index_select, gather):
            yield op.operands[0].shape[op.attrs["axis"]]
        elif op.primitive in (index_add, scatter_add, scatter_reduce):
            yield op.result.shape[op.attrs["axis"]]
        elif op.primitive.kind is Kind.FUSION:
            yield from _extents(op.attrs["body"])


def references(graph: Graph) -> list[Reference]:
    """The results of a graph for random arguments. Raises CannotRun if it raises for all of them."""
    found, error = [], None
    for positive in (False, True):
        try:
            found.append(Reference(graph, arguments(graph, positive)))
        except Exception as e:  # of the data: indices, divisors, singular matrices, memory
            error = e
    if not found:
        raise CannotRun(f"@{graph.name} cannot be run: {type(error).__name__}: {error}".split("\n")[0])
    return found


def wrong_pass(
    graph: Graph, passes: Sequence[Callable[[Graph], Graph]], known: Sequence[Reference]
) -> tuple[Failure | None, Graph]:
    """The first pass that fails or changes results, None if there is none; and the graph after the passes that do not."""
    from .pipeline import steps

    for p in passes:
        where = f"pass {p.__name__}"
        try:
            ((_, after),) = steps(graph, (p,))
        except Exception as e:
            return Failure(where, f"fails: {type(e).__name__}: {e}".split("\n")[0], graph), graph
        for reference in known:
            if said := _difference(reference, after):
                return Failure(where, f"changes the result of @{graph.name}: {said}", graph), graph
        graph = after
    return None, graph


def _difference(reference: Reference, graph: Graph) -> str | None:
    try:
        with warnings.catch_warnings(action="ignore"):
            return reference.difference(evaluate(graph, *reference.args))
    except Exception as e:
        return f"it raises {type(e).__name__}: {e}".split("\n")[0]


def require(graph: Graph, passes: Sequence[Callable[[Graph], Graph]]) -> None:
    """Raises Miscompiled if one of the passes changes results. Graphs that cannot be run are accepted."""
    from .reduce import reduced

    try:
        known = references(graph)
    except CannotRun:
        return
    failure, _ = wrong_pass(graph, passes, known)
    if failure is not None:
        guilty = next(p for p in passes if f"pass {p.__name__}" == failure.where)
        raise Miscompiled(failure, reduced(failure.graph, lambda g: wrong_pass(g, (guilty,), references(g))[0] is not None))
