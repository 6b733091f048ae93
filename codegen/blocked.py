"""Long sums by blocks: each block in the terms' format, the blocks in a wider one, so that the error does not grow with the
number of terms.

A vector loop adds a float32 sum in some dozens of lanes, each of them sequentially. A block is so short that each lane has
few terms; it costs one horizontal addition. Loops that cannot be vectorised, because loads are not contiguous, add each
term to the wide sum: the conversion costs nothing compared with such a load.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeGuard

from ..ir.types import DType, float32, float64
from . import binary, circular, error, inverse, math, powers, special
from .nest import Combine, If, Let, Loop, Reduce, Statement, renamed, walk

ACCUMULATORS = {float32: float64}  # accumulator types for long sums
_FEW = 64  # terms that are added sequentially
_BLOCK, _SHORT_BLOCK = 1024, 256  # terms: vector loops with large bodies have fewer lanes
_LIGHT = 10  # statements of a small loop body

# Functions of dozens of statements: on vectors as long as those of their operands, and half as long.
_LONG, _WIDE = (
    re.compile(rf"\b({'|'.join(name for table in tables for name in table)})\(")
    for tables in (
        (error.FUNCTIONS, math.FUNCTIONS),
        (
            circular.FUNCTIONS,
            circular.BINARY,
            powers.FUNCTIONS,
            powers.BINARY,
            binary.BINARY,
            special.FUNCTIONS,
            inverse.FUNCTIONS,
        ),
    )
)
_NAMES = re.compile(r"[a-z]\d+\b")
_LOAD = re.compile(r"load\(p\d+, ([^()]*)\)")


def blocked(statements: Sequence[Statement], extents: Mapping[str, int]) -> list[Statement]:
    """The statements, without sums that accumulate many terms in their own format."""
    result: list[Statement] = []
    for s in statements:
        if isinstance(s, If):
            s = If(s.condition, blocked(s.then, extents), blocked(s.otherwise, extents))
        if not isinstance(s, Loop):
            result.append(s)
            continue
        s = replace(s, body=blocked(s.body, extents))
        begun = {x.name: i for i, x in enumerate(result) if isinstance(x, Let)}
        sums = {r.names[0]: r.dtype for r in walk([s]) if _is_sum(r) and r.names[0] in begun}
        wide = {name: kind for name, kind in sums.items() if _is_long(s, name, extents)}
        result += _widened(s, wide, extents) if wide else [s]
        for name, kind in wide.items():
            result[begun[name]] = Let(_wide(name), f"{ACCUMULATORS[kind].short}(0.0)")
            result.append(Let(name, f"{kind.short}({_wide(name)})"))
    return result


def _wide(name: str) -> str:
    return f"w{name[1:]}"


def _is_sum(s: Statement) -> TypeGuard[Reduce]:
    return isinstance(s, Reduce) and s.combine is Combine.SUM and s.dtype in ACCUMULATORS


def _extent(loop: Loop, extents: Mapping[str, int]) -> int:
    """A loop's iteration count; a large number if it is unknown."""
    stop = int(loop.stop) if loop.stop.isdigit() else extents.get(loop.stop, _BLOCK + 1)
    return stop if loop.start == "0" else _BLOCK + 1


def _block(loop: Loop) -> int:
    """The number of terms that may be added before they go into the wide sum."""
    if not _reads_neighbours(loop):
        return _FEW
    texts = [s.expression for s in loop.body if isinstance(s, Let)]
    if any(map(_WIDE.search, texts)):
        return _SHORT_BLOCK // 2
    return _BLOCK if len(loop.body) <= _LIGHT and not any(map(_LONG.search, texts)) else _SHORT_BLOCK


def _adds(loop: Loop, names: Sequence[str]) -> bool:
    """True if the body itself, not an inner loop, adds to one of the sums."""
    return any(_is_sum(s) and s.names[0] in names for s in loop.body)


def _is_long(loop: Loop, name: str, extents: Mapping[str, int]) -> bool:
    """True if a sum has more terms than may be added in its own format."""
    count = 1
    while not _adds(loop, [name]):
        count *= _extent(loop, extents)
        inside = [s for s in loop.body if isinstance(s, Loop) and any(_is_sum(r) and r.names[0] == name for r in walk([s]))]
        if len(inside) != 1:  # in a branch, or in several loops
            return False
        (loop,) = inside
    return count * _extent(loop, extents) > _block(loop)


def _widened(loop: Loop, sums: Mapping[str, DType], extents: Mapping[str, int]) -> list[Statement]:
    """The loop, with wide accumulators."""
    if not _adds(loop, list(sums)):
        body: list[Statement] = []
        for s in loop.body:
            body += _widened(s, sums, extents) if isinstance(s, Loop) else [s]
        return [replace(loop, body=body)]
    own = {s.names[0]: sums[s.names[0]] for s in loop.body if _is_sum(s) and s.names[0] in sums}
    if not _reads_neighbours(loop):
        return [replace(loop, body=[_added_wide(s) if _is_sum(s) and s.names[0] in own else s for s in loop.body])]
    parts = {name: f"v{name[1:]}" for name in own}
    block = replace(loop, body=[renamed(s, parts) if _is_sum(s) else s for s in loop.body])
    before = [Let(parts[name], f"{kind.short}(0.0)") for name, kind in own.items()]
    after = [Reduce(Combine.SUM, (_wide(name),), (_to(kind, parts[name]),), ACCUMULATORS[kind]) for name, kind in own.items()]
    size = _block(loop)
    if _extent(loop, extents) <= size:
        return [*before, block, *after]
    number = f"q{loop.variable[1:]}"
    first = f"{number} * {size}"
    block = replace(block, start=first, stop=f"minimum({first} + {size}, {loop.stop})")
    return [Loop(number, "0", f"({loop.stop} + {size - 1}) // {size}", [*before, block, *after])]


def _to(kind: DType, value: str) -> str:
    return f"{ACCUMULATORS[kind].short}({value})"


def _added_wide(s: Reduce) -> Reduce:
    return Reduce(s.combine, (_wide(s.names[0]),), (_to(s.dtype, s.values[0]),), ACCUMULATORS[s.dtype])


def _reads_neighbours(loop: Loop) -> bool:
    """True if all loads are contiguous or loop-invariant, so that the loop can be vectorised."""
    own = {loop.variable}  # the names that depend on the iteration
    for s in loop.body:
        if not isinstance(s, (Let, Reduce)) and not hasattr(s, "offset"):
            return False
        texts = [s.expression] if isinstance(s, Let) else [*s.values] if isinstance(s, Reduce) else [s.value]
        for text in texts:
            offsets = _LOAD.findall(text)
            if len(offsets) != text.count("load(") or "check_" in text:
                return False
            for offset in offsets:
                names = _NAMES.findall(offset)
                if own.intersection(names[:-1]) or (names and names[-1] in own and not _ends_in(offset, loop.variable)):
                    return False
        if isinstance(s, Let) and own.intersection(_NAMES.findall(s.expression)):
            own.add(s.name)
    return True


def _ends_in(offset: str, variable: str) -> bool:
    return offset.rpartition(" + ")[2] == variable
