"""Transposes by tiles: a loop whose loads step over rows runs for one cache line of the result at a time.

In a transpose, each iteration of the inner loop reads another row of the operand, and the next element of these rows only in
the next iteration of the loop around it. By then the cache has lost the lines if there are many rows, or if their distance is a
power of two. With the inner loop cut into short parts, outside the other, a part's lines stay in the cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .affine import affine, loads
from .nest import Kernel, Let, Loop, Statement, Store

_LINE = 64  # bytes
_MANY = 512  # iterations of the inner loop: fewer lines stay in the cache anyway
_FEW, _PERIOD = 64, 1024  # unless their distance is a multiple of so many bytes: then they have few places there
_MOST = 16  # statements per element: in longer bodies arithmetic hides the loads


def tiled(kernel: Kernel, statements: Sequence[Statement]) -> list[Statement]:
    """A kernel's statements, with tiles in nests that compute elements and read some of them across rows."""
    result: list[Statement] = []
    for s in statements:
        result += _tiles(kernel, s) if isinstance(s, Loop) else [s]
    return result


def _tiles(kernel: Kernel, outermost: Loop) -> list[Statement]:
    chain, extents = [outermost], dict(zip(kernel.params, kernel.values, strict=True))
    defined: dict[str, str] = {}
    while chain[-1].body and isinstance(chain[-1].body[-1], Loop):
        *before, last = chain[-1].body
        if not all(isinstance(s, Let) and "load(" not in s.expression for s in before):
            return [outermost]
        defined |= {s.name: s.expression for s in before}
        chain.append(last)
    *outer, inner = chain
    stores = [s for s in inner.body if isinstance(s, Store)]
    lets = {s.name: s.expression for s in inner.body if isinstance(s, Let)}
    plain = inner.start == "0" and len(lets) + len(stores) == len(inner.body) <= _MOST and bool(stores)
    extent = extents.get(inner.stop, 0)
    if not outer or not plain or extent < _FEW or any("check_" in e for e in lets.values()):
        return [outermost]
    crossed = False  # whether some load is contiguous along the loop around the inner one, whose own loads are far apart
    kinds = {a.name: a.dtype for a in kernel.arrays}
    for array, offset in loads(" ".join(lets.values())):
        steps = affine(offset, extents, defined | lets)
        terms = {} if steps is None else steps.terms
        distance = abs(terms.get(inner.variable, 0)) * kinds[array].itemsize
        if distance >= _LINE and (extent >= _MANY or distance % _PERIOD == 0):
            crossed = crossed or terms.get(outer[-1].variable) == 1
    contiguous = all((a := affine(s.offset, extents, defined | lets)) and a.terms.get(inner.variable) == 1 for s in stores)
    if not (crossed and contiguous):
        return [outermost]
    size = _LINE // min(kinds[s.array].itemsize for s in stores)
    tile = f"b{inner.variable[1:]}"
    part = replace(inner, start=f"{tile} * {size}", stop=f"{tile} * {size} + {size}")
    rest = replace(inner, start=f"{inner.stop} // {size} * {size}")
    nests: list[Statement] = [
        Loop(tile, "0", f"{inner.stop} // {size}", [_around(outer[-1:], part)]),
        _around(outer[-1:], rest),
    ]
    return [_around(outer[:-1], *nests)] if len(outer) > 1 else nests


def _around(loops: Sequence[Loop], *inner: Statement) -> Loop:
    """The nest of these loops, with another innermost part."""
    body: Sequence[Statement] = inner
    for loop in reversed(loops):
        nest = replace(loop, body=[*loop.body[:-1], *body])
        body = [nest]
    return nest
