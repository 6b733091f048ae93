"""Rows fetched ahead: while one row is computed, the next one comes from memory.

A processor sees by itself that a row is read on and on, but not beyond the page the row is in. Kernels that go over each row
several times, as a softmax does, wait for the beginning of every row and then compute from the cache while the memory idles. So
before each of a row's loops a part of the next row is asked for, of the arrays that are only read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from .nest import Array, Do, If, Kernel, Let, Loop, Statement, Store

_LINE = 64  # bytes that are fetched together
_LONG = 1024  # bytes of a row that is worth asking for


def fetch_next_rows(kernel: Kernel) -> None:
    """Adds the requests to loops over long rows, each of which several loops read."""
    written = _written(kernel.body)
    only_read = {a.name: a for a in kernel.arrays if a.name not in written}
    _add(only_read, dict(zip(kernel.params, kernel.values, strict=True)), kernel.body)


def _add(arrays: Mapping[str, Array], extents: Mapping[str, int], body: list[Statement]) -> None:
    for rows in body:
        if not isinstance(rows, Loop):
            continue
        _add(arrays, extents, rows.body)
        loops = [s for s in rows.body if isinstance(s, Loop)]
        if len(loops) < 2:
            continue
        requests = []
        for name, (start, extent) in _read(rows, loops).items():
            if name in arrays and extents[extent] * arrays[name].dtype.itemsize >= _LONG:
                requests.append(_request(rows.variable, arrays[name], start, extent))
        rows.body = _between(rows.body, requests, len(loops))


def _read(rows: Loop, loops: list[Loop]) -> dict[str, tuple[str, str]]:
    """The arrays that the loops read along a row: the offset where that begins, and its extent."""
    read: dict[str, tuple[str, str]] = {}
    for loop in loops:
        along = re.compile(rf"load\((p\d+), ((?:.+ \+ )?{rows.variable} \* (n\d+)) \+ {loop.variable}\)")
        for s in loop.body:
            match = along.fullmatch(s.expression) if isinstance(s, Let) else None
            if match:
                read[match[1]] = match[2], match[3]
    return read


def _written(body: list[Statement]) -> set[str]:
    written: set[str] = set()
    for s in body:
        if isinstance(s, Store):
            written.add(s.array)
        elif isinstance(s, Loop):
            written |= _written(s.body)
        elif isinstance(s, If):
            written |= _written([*s.then, *s.otherwise])
    return written


def _request(row: str, array: Array, start: str, extent: str) -> tuple[str, int, Do]:
    """The extent of a row, how many of its elements come at once, and the request for them in the next row."""
    step = _LINE // array.dtype.itemsize
    following = start.replace(f"{row} * {extent}", f"({row} + 1) * {extent}")
    return extent, step, Do(f"prefetch({array.name}, {following} + line * {step})")


def _between(body: list[Statement], requests: list[tuple[str, int, Do]], parts: int) -> list[Statement]:
    """The body, with a part of the requests before each of its loops."""
    new: list[Statement] = []
    part = 0
    for s in body:
        if isinstance(s, Loop):
            for extent, step, request in requests:
                first, last = (f"{extent} * {k} // {parts * step}" for k in (part, part + 1))
                new.append(Loop("line", first, last, [request]))
            part += 1
        new.append(s)
    return new
