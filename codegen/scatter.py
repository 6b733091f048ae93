"""Indexed sums on GPUs, by sorting, so that the order of addition is that of the operands.

A term's key is its target position times the number of terms, plus its own number. A bitonic network sorts the keys (K. E.
Batcher, "Sorting networks and their applications", 1968), with one kernel per column of the network. Then every element of
the result finds its keys by bisection, and adds their terms. Without atomic additions, results are deterministic, and
bitwise equal to those of the CPU, which adds in the same order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..ir.graph import Graph, Op, Value
from ..ir.ops import index_add
from ..ir.types import TensorType, int64
from .library import checked
from .loops import Index, Lowering, literal
from .mapping import Mapped, grid_of
from .nest import Combine, If, Kernel, Let, Loop, Reduce, Statement, Store, Who


@dataclass
class Stage:
    """One of the kernels of an operation: its name, and the values of its arrays."""

    name: str
    mapped: Mapped
    arrays: list[Value]


def stages(op: Op) -> list[Stage]:
    """The kernels of an ``index_add`` or ``scatter_add``."""
    terms = op.operands[1].type.numel
    count = 1 << max(terms - 1, 0).bit_length()  # a power of two
    keys = Value(TensorType(int64, (count,), op.result.type.device))
    sort = [Stage("sort", _exchange(count, size, distance), [keys]) for size, distance in _columns(count)]
    return [
        Stage("keys", _keys(op, keys), [op.operands[1], keys]),
        *sort,
        Stage(op.primitive.name, _sums(op, keys), [op.operands[0], keys, op.result]),
    ]


def _columns(count: int) -> list[tuple[int, int]]:
    """The columns of a bitonic network: the size of the merged sequences, and the distance of compared keys."""
    logs = range(1, count.bit_length())
    return [(1 << size, 1 << distance) for size in logs for distance in reversed(range(size))]


def _lowering(*values: Value) -> Lowering:
    return Lowering(Graph("scatter", list(values), [], []))


def _kernel(low: Lowering, name: str, total: int) -> Mapped:
    """The kernel of the statements in the innermost scope, for ``total`` iterations of ``name``."""
    body: list[Statement] = low.scopes[-1].body
    loop = Loop(name, "0", low.param(total), body, who=Who.GRID)
    kernel = Kernel(low.arrays, low.params, low.values, [loop], total, low.checks)
    return Mapped(kernel, grid_of(total))


def _digits(low: Lowering, flat: str, shape: tuple[int, ...]) -> Index:
    """The index of element number ``flat``, in row-major order."""
    index: list[str] = []
    for n in reversed(shape[1:]):
        extent = low.param(n)
        index.append(_let(low, f"remainder64({flat}, {extent})"))
        flat = _let(low, f"quotient64({flat}, {extent})")
    return (flat, *reversed(index)) if shape else ()


def _let(low: Lowering, expression: str) -> str:
    name = low.fresh("j")
    low.scopes[-1].body.append(Let(name, expression))
    return name


def _keys(op: Op, keys: Value) -> Mapped:
    """Each term's key; padding to a power of two comes last."""
    _, where = op.operands
    low = _lowering(where, keys)
    count, terms = low.param(keys.type.numel), where.type.numel
    key = low.fresh("a")
    outer, inner = low.scopes[-1].body, list[Statement]()
    with low.scope(inner, guard=True):
        position = _let(low, "load(p0, i0)")
        extent = op.attrs["extent"] if op.primitive is index_add else op.result.shape[op.attrs["axis"]]
        place = checked(low, position, extent, op.attrs["axis"])
        if op.primitive is not index_add:
            index, axis = list(_digits(low, "i0", where.shape)), op.attrs["axis"]
            index[axis] = f"i64({place})"
            place = low.offset(Value(op.result.type), tuple(index))
        inner.append(Let(key, f"i64({place}) * {count} + i0"))
    outer += [
        Let(key, literal(2**63 - 1, int64)),
        If(f"i0 < {low.param(terms)}", inner, []),
        Store("p1", "i0", key),
    ]
    return _kernel(low, "i0", keys.type.numel)


def _exchange(count: int, size: int, distance: int) -> Mapped:
    """A column of the network: orders keys at this distance, in alternating direction in sequences of ``size``."""
    low = _lowering(Value(TensorType(int64, (count,))))
    apart, merged = (low.fixed_param(n) for n in (distance, size))
    low.scopes[-1].body += [
        Let("j1", f"quotient64(i0, {apart}) * {apart} * 2 + remainder64(i0, {apart})"),
        Let("j2", f"j1 + {apart}"),
        Let("t1", "load(p0, j1)"),
        Let("t2", "load(p0, j2)"),
        Let("t3", "minimum(t1, t2)"),
        Let("t4", "maximum(t1, t2)"),
        Let("t5", f"(j1 & {merged}) == 0"),
        Store("p0", "j1", "select(t5, t3, t4)"),
        Store("p0", "j2", "select(t5, t4, t3)"),
    ]
    return _kernel(low, "i0", count // 2)


def _sums(op: Op, keys: Value) -> Mapped:
    """Each element of the result: the sum of its terms, in their order."""
    x, y = op.operands[0], op.result
    low = _lowering(x, keys, y)
    body, count = low.scopes[-1].body, low.param(keys.type.numel)
    index, axis = _digits(low, "i0", y.shape), op.attrs["axis"]
    place = index[axis] if op.primitive is index_add else "i0"
    first, last = (_bisected(low, keys, f"({place}{more}) * {count}") for more in ("", " + 1"))
    total, k, dtype = low.fresh("a"), low.fresh("r"), y.type.dtype
    inner = Loop(k, first, last, sequential=True)
    with low.scope(inner.body, k):
        term = _let(low, f"remainder64(load(p1, {k}), {count})")
        if op.primitive is index_add:
            where = op.operands[1].shape
            source = (*index[:axis], *_digits(low, term, where), *index[axis + 1 :])
            element = f"load(p0, {low.offset(Value(x.type), source)})"
        else:
            element = f"load(p0, {term})"
        if x.dtype is not dtype:
            element = f"{dtype.short}({element})"
        inner.body.append(Reduce(Combine.SUM, (total,), (element,), dtype))
    body += [Let(total, literal(0, dtype)), inner, Store("p2", "i0", total)]
    return _kernel(low, "i0", y.type.numel)


def _bisected(low: Lowering, keys: Value, bound: str) -> str:
    """The number of keys less than a bound."""
    found, step, r = low.fresh("a"), low.fresh("a"), low.fresh("r")
    count = keys.type.numel
    below, key = low.fresh("t"), low.fresh("t")
    limit = _let(low, bound)
    loop = Loop(r, "0", str(int(math.log2(count)) + 1), sequential=True)
    loop.body += [
        Let(key, f"load(p1, minimum({found} + {step}, {low.param(count)}) - 1)"),
        Let(below, f"({found} + {step} <= {low.param(count)}) & ({key} < {limit})"),
        Let(found, f"select({below}, {found} + {step}, {found})"),
        Let(step, f"quotient64({step}, 2)"),
    ]
    low.scopes[-1].body += [Let(found, "0"), Let(step, low.param(count)), loop]
    return found
