"""A profile as text, and as a table for notebooks."""

from __future__ import annotations

import html as markup
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .kernels import Kernel

if TYPE_CHECKING:
    from .session import Profile

_SORTS = {
    "time": lambda k: -k.nanoseconds,
    "calls": lambda k: -k.calls,
    "bytes": lambda k: -k.nbytes * k.calls,
    "flops": lambda k: -k.flops * k.calls,
    "roof": lambda k: k.share,
}
_HEADINGS = ("kernel", "phase", "calls", "total", "share", "mean", "bytes", "GB/s", "flops", "GFLOP/s", "roof", "source")


def ordered(kernels: Sequence[Kernel], sort_by: str) -> list[Kernel]:
    """Kernels in an order of ``Profile.table``. Raises ValueError for an unknown one."""
    if sort_by not in _SORTS:
        raise ValueError(f"sort_by must be one of {', '.join(_SORTS)}, got {sort_by!r}")
    return sorted(kernels, key=_SORTS[sort_by])


def table(profile: Profile, sort_by: str, limit: int) -> str:
    """See ``Profile.table``."""
    rows = ordered(profile.kernels, sort_by)
    lines = [_summary(profile), "", *_phases(profile)]
    if rows:
        whole: float = sum(k.nanoseconds for k in rows) or 1
        lines += ["", *_aligned([_HEADINGS, *(_row(k, whole) for k in rows[:limit])], left=(0, 1, 11))]
        if len(rows) > limit:
            rest = sum(k.nanoseconds for k in rows[limit:])
            lines.append(f"and {len(rows) - limit} more kernels, {duration(rest)} in all")
    eager = sorted(profile.eager.items(), key=lambda item: -item[1][1])
    if eager:
        spent = sum(seconds for _, (_, seconds) in eager) * 1e9 or 1.0
        cells = [("eager operation", "phase", "calls", "total", "share", "mean")]
        for (name, phase), (calls, seconds) in eager[:limit]:
            took = seconds * 1e9
            cells.append((name, phase, f"{calls}", duration(took), f"{took / spent:.1%}", duration(took / calls)))
        lines += ["", *_aligned(cells, left=(0, 1))]
    return "\n".join(lines) + "\n"


def html(profile: Profile) -> str:
    """The summary and the slowest kernels as HTML."""
    rows = ordered(profile.kernels, "time")
    whole = sum(k.nanoseconds for k in rows) or 1
    head = "".join(f"<th>{name}</th>" for name in _HEADINGS)
    body = "".join("<tr>" + "".join(f"<td>{markup.escape(cell)}</td>" for cell in _row(k, whole)) + "</tr>" for k in rows[:20])
    said = markup.escape("\n".join([_summary(profile), *_phases(profile)]))
    return f"<pre>{said}</pre><table><tr>{head}</tr>{body}</table>"


def _summary(profile: Profile) -> str:
    peak = max((used for _, used in profile.memory), default=0)
    memory = f", at most {size(peak)} of memory" if peak else ""
    calls = sum(k.calls for k in profile.kernels)
    return f"{duration(profile.seconds * 1e9)}, {calls} kernel calls{memory}"


def _phases(profile: Profile) -> list[str]:
    whole = sum(profile.phases.values()) or 1
    rows = [(name, duration(s * 1e9), f"{s / whole:.1%}") for name, s in profile.phases.items()]
    return _aligned([("phase", "time", "share"), *rows], left=(0,))


def _row(k: Kernel, whole: float) -> tuple[str, ...]:
    per = k.mean or 1.0
    gflops = f"{k.flops / per:.1f}" if k.flops else ""
    rates = (size(k.nbytes), f"{k.nbytes / per:.1f}", count(k.flops), gflops)
    lines = ", ".join(map(short, k.lines[:2])) + (", ..." if len(k.lines) > 2 else "")
    times = (f"{k.calls}", duration(k.nanoseconds), f"{k.nanoseconds / whole:.1%}", duration(k.mean))
    return (named(k), k.phase, *times, *rates, f"{k.share:.0%}" if k.nbytes else "", lines)


def named(k: Kernel) -> str:
    """A kernel's name, with what it computes if the name does not tell."""
    computed = ", ".join(k.operations[:3]) + (", ..." if len(k.operations) > 3 else "")
    return k.name if not computed or computed == k.name else f"{k.name}: {computed}"


def short(line: str) -> str:
    """``file:line`` with a path relative to the current folder, if the file is in it."""
    return line.removeprefix(os.getcwd() + os.sep)


def _aligned(rows: Sequence[Sequence[str]], left: Sequence[int]) -> list[str]:
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [cell.ljust(w) if k in left else cell.rjust(w) for k, (cell, w) in enumerate(zip(row, widths, strict=True))]
        lines.append("  ".join(cells).rstrip())
    return lines


def duration(nanoseconds: float) -> str:
    """Three significant digits and a unit."""
    for unit, factor in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if nanoseconds >= factor:
            return f"{_three(nanoseconds / factor)} {unit}"
    return f"{nanoseconds:.0f} ns"


def size(nbytes: float) -> str:
    """Bytes with a unit."""
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if nbytes >= factor:
            return f"{_three(nbytes / factor)} {unit}"
    return f"{nbytes:.0f} B"


def count(n: float) -> str:
    """A number of operations with a unit; empty for none."""
    for unit, factor in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if n >= factor:
            return f"{_three(n / factor)} {unit}"
    return f"{n:.0f}" if n else ""


def _three(x: float) -> str:
    return f"{x:.2f}" if x < 10 else f"{x:.1f}" if x < 100 else f"{x:.0f}"
