"""Rows fetched ahead: while one row is computed, the next one comes from memory.

A processor sees by itself that a row is read on and on, but not beyond the page the row is in. Kernels that go over each row
several times, as a softmax does, wait for the beginning of every row and then compute from the cache while the memory idles. So
before each of a row's loops a part of the next row is asked for, of the arrays that are only read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from .nest import Accumulate, Array, Do, Kernel, Let, Loop, Statement, Store, walk

_LONG = 1024  # bytes of a row that is worth asking for


def with_requests(kernel: Kernel) -> list[Statement]:
    """The kernel's body, in which loops over long rows that several loops read request the row after."""
    written = {s.array for s in walk(kernel.body) if isinstance(s, (Store, Accumulate))}
    only_read = {a.name: a for a in kernel.arrays if a.name not in written}
    return _add(only_read, dict(zip(kernel.params, kernel.values, strict=True)), kernel.body)


def _add(arrays: Mapping[str, Array], extents: Mapping[str, int], body: list[Statement]) -> list[Statement]:
    return [_in_rows(arrays, extents, s) if isinstance(s, Loop) else s for s in body]


def _in_rows(arrays: Mapping[str, Array], extents: Mapping[str, int], rows: Loop) -> Loop:
    body = _add(arrays, extents, rows.body)
    loops = [s for s in body if isinstance(s, Loop)]
    requests = []
    for name, (start, extent) in _read(rows, loops).items() if len(loops) > 1 else ():
        if name in arrays and extents[extent] * arrays[name].dtype.itemsize >= _LONG:
            following = start.replace(f"{rows.variable} * {extent}", f"({rows.variable} + 1) * {extent}")
            requests.append((name, following, extent))
    return replace(rows, body=_between(body, requests, len(loops)))


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


def _between(body: list[Statement], requests: list[tuple[str, str, str]], parts: int) -> list[Statement]:
    """The body, with a part of the requests before each of its loops."""
    new: list[Statement] = []
    part = 0
    for s in body:
        if isinstance(s, Loop):
            for array, start, extent in requests:
                first, last = (f"{start} + {extent} * {k} // {parts}" for k in (part, part + 1))
                new.append(Do(f"prefetch({array}, {first}, {last})"))
            part += 1
        new.append(s)
    return new
