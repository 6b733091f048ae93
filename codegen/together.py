"""Column sums over several rows at once: the value added to memory is the sum of a few terms.

A loop that adds each row to a row of sums reads and writes that row for every row. With eight rows at a time it does so
once for eight terms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .nest import Compensated, If, Let, Loop, Statement, renamed

_ROWS = 8
_MOST = 12  # statements per element: a longer body gains nothing
_LETTERS = {"t": "x", "j": "y"}  # prefixes of the names for a row's own values


def rows_together(statements: Sequence[Statement]) -> list[Statement]:
    """The statements, with long column sums computed from sums of a few rows."""
    result: list[Statement] = []
    for s in statements:
        if isinstance(s, If):
            s = If(s.condition, rows_together(s.then), rows_together(s.otherwise))
        elif isinstance(s, Loop):
            columns = _columns(s)
            if columns is not None:
                result += [_eight(s, columns), replace(s, start=f"{s.stop} // {_ROWS} * {_ROWS}")]
                continue
            s = replace(s, body=rows_together(s.body))
        result.append(s)
    return result


def _columns(rows: Loop) -> Loop | None:
    """The loop over columns, if a loop over rows only adds elements to long sums."""
    before, columns = rows.body[:-1], rows.body[-1] if rows.body else None
    if not (rows.sequential and rows.start == "0" and isinstance(columns, Loop)) or not all(isinstance(s, Let) for s in before):
        return None
    lets = {s.name: s.expression for s in columns.body if isinstance(s, Let)}
    sums = [s for s in columns.body if isinstance(s, Compensated)]
    plain = len(lets) + len(sums) == len(columns.body) <= _MOST and all(s.value in lets for s in sums)
    return columns if plain and sums and not any("check_" in e for e in lets.values()) else None


def _eight(rows: Loop, columns: Loop) -> Loop:
    outside: list[Statement] = []
    inside: list[Statement] = []
    sums = [s for s in columns.body if isinstance(s, Compensated)]
    terms: list[list[str]] = [[] for _ in sums]
    for k in range(_ROWS):
        names = _fresh([*rows.body[:-1], *columns.body], k) | {rows.variable: f"k{rows.variable[1:]}0{k}"}
        outside.append(Let(names[rows.variable], f"{rows.variable} * {_ROWS} + {k}"))
        outside += [renamed(s, names) for s in rows.body[:-1]]
        inside += [renamed(s, names) for s in columns.body if isinstance(s, Let)]
        for parts, s in zip(terms, sums, strict=True):
            parts.append(names[s.value])
    for parts, s in zip(terms, sums, strict=True):
        inside += [Let(s.value, _tree(parts)), s]
    return replace(rows, stop=f"{rows.stop} // {_ROWS}", body=[*outside, replace(columns, body=inside)])


def _fresh(statements: Sequence[Statement], k: int) -> dict[str, str]:
    """New names for the values that the statements compute for row ``k``."""
    return {s.name: f"{_LETTERS[s.name[0]]}{s.name[1:]}0{k}" for s in statements if isinstance(s, Let)}


def _tree(terms: Sequence[str]) -> str:
    if len(terms) == 1:
        return terms[0]
    half = len(terms) // 2
    return f"({_tree(terms[:half])} + {_tree(terms[half:])})"
