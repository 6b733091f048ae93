"""Statements as kernel source, in a subset of Python."""

from __future__ import annotations

from collections.abc import Sequence

from .nest import Accumulate, Do, If, Join, Let, Loop, Reduce, Statement, Store


def lines(statements: Sequence[Statement], depth: int) -> list[str]:
    """The statements as lines of text."""
    pad = "    " * depth
    result: list[str] = []
    for s in statements:
        if isinstance(s, Let):
            result.append(f"{pad}{s.name} = {s.expression}")
        elif isinstance(s, Store):
            result.append(f"{pad}store{_lanes(s.lanes)}({s.array}, {s.offset}, {s.value})")
        elif isinstance(s, (Reduce, Accumulate)):
            result += lines(s.lines(), depth)
        elif isinstance(s, Do):
            result.append(f"{pad}{s.expression}")
        elif isinstance(s, Join):
            names = ", ".join(s.names)
            result.append(f"{pad}{names} = {s.unit}_{s.combine}({names})")
        elif isinstance(s, Loop):
            result += [
                f"{pad}for {s.variable} in {'masked' if s.masked else s.who}{_lanes(s.lanes)}({s.start}, {s.stop}):",
                *(lines(s.body, depth + 1) or [f"{pad}    pass"]),
            ]
        elif isinstance(s, If):
            result += [f"{pad}if {s.condition}:", *(lines(s.then, depth + 1) or [f"{pad}    pass"])]
            if s.otherwise:
                result += [f"{pad}else:", *lines(s.otherwise, depth + 1)]
    return result


def _lanes(lanes: int) -> str:
    return str(lanes) if lanes > 1 else ""
