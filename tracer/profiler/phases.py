"""The time of a profile by what it was spent on."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from .kernels import PHASES
from .spans import Nested

if TYPE_CHECKING:
    from .session import Profile

ORDER = (
    *("recording", "compiling", "guards", *PHASES, "results"),
    *("eager forward", "eager backward", "eager optimizer", "Python"),
)


def phases(profile: Profile) -> dict[str, float]:
    """See ``Profile.phases``."""
    of_kernel = {(k.program, k.step): k.phase.split("+") for k in profile.kernels}
    sums: dict[str, float] = defaultdict(float)

    def visit(x: Nested, around: str) -> None:
        span = x.span
        for inner in x.inner:
            visit(inner, _around(span.kind, around))
        if span.kind == "kernel":
            names = [p for p in of_kernel.get((span.owner, span.step), ()) if p] or ["forward"]
            for name in names:
                sums[name] += x.own / len(names)
        elif span.kind == "program":
            sums["results"] += x.own
        elif span.kind == "record":
            sums["recording"] += x.own
        elif span.kind == "compile":
            sums["compiling"] += x.own
        elif span.kind == "eager":
            phase = "backward" if around == "backward" and span.owner == "forward" else span.owner
            sums["recording" if around == "record" else f"eager {phase}"] += x.own
        elif span.kind in ("backward", "node"):
            sums["recording" if around == "record" else "eager backward"] += x.own
        elif span.kind == "call":
            _call(x, around, sums)
        else:
            sums["recording" if around == "record" else "Python"] += x.own

    threads = {x.span.thread for x in profile.nested}
    outside = (profile.ended - profile.began) * max(len(threads), 1)
    for x in profile.nested:
        visit(x, "")
        outside -= x.nanoseconds
    sums["Python"] += max(outside, 0)
    return {name: sums[name] / 1e9 for name in ORDER if sums[name]}


def _around(kind: str, before: str) -> str:
    """The kind of the innermost span that decides what inner spans count as."""
    if before == "record" or kind == "record":
        return "record"
    return "backward" if kind == "backward" else before


def _call(x: Nested, around: str, sums: dict[str, float]) -> None:
    """The time of a call outside inner spans: before the first program it compares, after the last it makes results."""
    if around == "record":
        sums["recording"] += x.own
        return
    programs = [y.span for y in x.inner if y.span.kind == "program"]
    if not programs:
        recorded = any(y.span.kind in ("record", "compile") for y in x.inner)
        sums["guards" if recorded else "Python"] += x.own
        return
    at = programs[0].start
    before = at - x.span.start - sum(y.nanoseconds for y in x.inner if y.span.stop <= at)
    sums["guards"] += before
    sums["results"] += x.own - before
