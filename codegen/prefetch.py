"""Prefetching: while one row is computed, part of the next one is loaded.

Hardware prefetching follows a row, but stops at the end of its page. Kernels that traverse each row several times, such as
a softmax, wait for the beginning of every row, and then compute from the cache while memory is idle. So each of a row's
loops is preceded by a prefetch of a part of the next row, for arrays that are only read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from .nest import Accumulate, Array, Do, Kernel, Let, Loop, Statement, Store, walk

_LONG = 1024  # bytes: shorter rows are not prefetched


def with_requests(kernel: Kernel) -> list[Statement]:
    """The kernel's body with prefetches of the next row before loops over long rows, if several loops read them."""
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
    """The arrays that the loops read along a row: the row's offset and extent."""
    read: dict[str, tuple[str, str]] = {}
    for loop in loops:
        along = re.compile(rf"load\((p\d+), ((?:.+ \+ )?{rows.variable} \* (n\d+)) \+ {loop.variable}\)")
        for s in loop.body:
            match = along.fullmatch(s.expression) if isinstance(s, Let) else None
            if match:
                read[match[1]] = match[2], match[3]
    return read


def _between(body: list[Statement], requests: list[tuple[str, str, str]], parts: int) -> list[Statement]:
    """The body with a part of the prefetches before each of its loops."""
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
