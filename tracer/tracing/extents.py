"""Which extents of a recorded value depend on how many elements masks select, and reads that only ask whether there are any."""

from __future__ import annotations

import bisect
import dis
import functools
import types
from collections.abc import Collection

from ..ir import ops as P
from ..ir.graph import Op, Value
from ..ir.ops.reduce import kept_axes
from ..ir.primitive import Kind

# By axis: whether the extent is the number of selected elements, or else is computed from it.
Axes = dict[int, bool]


class Extents:
    """The axes of values whose extents depend on counts. Extents of new tensors do if they are equal to one."""

    def __init__(self) -> None:
        self._known: dict[Value, Axes] = {}

    def of(self, v: Value, counts: Collection[int]) -> Axes:
        """The axes of a value, in a run that has read these counts."""
        work = [v]
        while work:
            u = work[-1]
            below = [x for x in u.op.operands if x not in self._known] if u.op is not None else []
            if u in self._known or not below:
                work.pop()
                if u not in self._known:
                    self._known[u] = {} if u.op is None else self._result(u.op, u, counts)
            else:
                work += below
        return self._known[v]

    def _result(self, op: Op, v: Value, counts: Collection[int]) -> Axes:
        primitive, attrs = op.primitive, op.attrs
        given = [self._known[x] for x in op.operands]
        if primitive is P.flat_nonzero:
            return {0: True}
        if primitive.kind is Kind.SOURCE:
            return {a: True for a, n in enumerate(v.shape) if n in counts}
        if not any(given) or not v.shape:
            return {}
        if primitive.kind is Kind.ELEMENTWISE:
            return {a: all(g.get(a, True) for g in given) for g in given for a in g}
        first = given[0]
        if primitive is P.broadcast:
            return {attrs["axes"][a]: exact for a, exact in first.items()}
        if primitive is P.permute:
            return {k: first[a] for k, a in enumerate(attrs["axes"]) if a in first}
        if primitive is P.reshape:
            return _reshaped(op.operands[0].shape, v.shape, first)
        if primitive.kind is Kind.REDUCTION:
            kept = kept_axes(len(op.operands[0].shape), attrs["axes"])
            return {k: first[a] for k, a in enumerate(kept) if a in first}
        if primitive is P.index_select:
            axis, rank = attrs["axis"], len(op.operands[1].shape)
            moved = {a if a < axis else a + rank - 1: exact for a, exact in first.items() if a != axis}
            return moved | {axis + k: exact for k, exact in given[1].items()}
        if primitive is P.index_add:
            axis, rank = attrs["axis"], len(op.operands[1].shape)
            return {a if a < axis else a - rank + 1: exact for a, exact in first.items() if not axis <= a < axis + rank}
        if primitive is P.gather:
            return given[1]
        if primitive in (P.scatter_reduce, P.set_at, P.slice_update):
            return first
        if primitive is P.matmul:
            return _product(op, given)
        if primitive in (P.slice_, P.pad, P.flip, P.cumsum, P.detach, P.copy) or primitive.kind is Kind.SCAN:
            return {a: exact and v.shape[a] == op.operands[0].shape[a] for a, exact in first.items()}
        if primitive is P.concatenate:
            return {a: a != attrs["axis"] and all(g.get(a, True) for g in given) for g in given for a in g}
        return dict.fromkeys(range(len(v.shape)), False)


def _product(op: Op, given: list[Axes]) -> Axes:
    rank = len(op.result.shape)
    found: Axes = {}
    for i, (x, axes, flag) in enumerate(zip(op.operands, given, ("ta", "tb"), strict=True)):
        size = len(x.shape)
        own = size - (1 if bool(op.attrs[flag]) is (i == 0) else 2)  # that of the result's rows, or columns
        for a, exact in axes.items():
            if a == own:
                found[rank - 2 + i] = exact
            elif a < size - 2:
                found[a + rank - size] = exact
    return found


def _reshaped(old: tuple[int, ...], new: tuple[int, ...], axes: Axes) -> Axes:
    """The axes of a reshape: of the smallest runs of axes with equal products, all if one depends on a count."""
    if 0 in old:
        return dict.fromkeys(range(len(new)), False)
    found: Axes = {}
    i = j = 0
    while i < len(old) and j < len(new):
        first, start, m, n = i, j, old[i], new[j]
        i, j = i + 1, j + 1
        while m != n:
            if m < n:
                m, i = m * old[i], i + 1
            else:
                n, j = n * new[j], j + 1
        among = [a for a in range(first, i) if a in axes]
        for b in range(start, j):
            if among:
                found[b] = new[b] == old[among[0]] and len(among) == 1 and axes[among[0]]
    return found


_TESTS = ("TO_BOOL", "UNARY_NOT", "POP_JUMP")
_CONSTANTS = ("LOAD_CONST", "LOAD_SMALL_INT")


def asked_whether_any(frame: types.FrameType) -> int | None:
    """What code asks with ``x.shape[k]``, ``x.size(k)``, ``x.numel()`` or ``len(x)`` in this frame, if it only compares the
    number with 0, or tests its truth: k for ``x.shape[k]``, else 0. None if it may do something else with it.
    """
    instructions, offsets = _instructions(frame.f_code)
    at = bisect.bisect_right(offsets, frame.f_lasti) - 1  # a call's caches belong to it
    rest = [(i.opname, i.argval) for i in instructions[at : at + 5]]
    axis, rest = 0, rest[1:] if rest[0][0] != "LOAD_ATTR" else rest
    if rest[0][0] == "LOAD_ATTR":
        if rest[0][1] != "shape" or rest[1][0] not in _CONSTANTS or type(rest[1][1]) is not int:
            return None
        if rest[2][0] != "BINARY_SUBSCR" and rest[2] != ("BINARY_OP", 26):
            return None
        axis, rest = rest[1][1], rest[3:]
    if rest and rest[0][0].startswith(_TESTS):
        return axis
    is_compared = len(rest) > 1 and rest[0][0] in _CONSTANTS and rest[0][1] == 0 and rest[1][0] == "COMPARE_OP"
    return axis if is_compared else None


@functools.lru_cache(256)
def _instructions(code: types.CodeType) -> tuple[list[dis.Instruction], list[int]]:
    found = [i for i in dis.get_instructions(code) if i.opname not in ("NOP", "EXTENDED_ARG")]
    return found, [i.offset for i in found]
