"""Loop fusion: loops over the same range that read the same data become one, so that common values are computed once.

A row's sum and a row's results are separate loops. If the second needs nothing of the first (the value of an option and its
derivatives, a loss and its gradient), its body moves into the first, and existing expressions are not repeated.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from .nest import Accumulate, Compensated, Do, If, Join, Let, Loop, Reduce, Statement, Store, renamed, walk

_NAME = re.compile(r"[a-z]\d+\b")
_LOAD = re.compile(r"load\((p\d+), ([^()]*)(\)?)")
_SINGLE = "tj"  # letters of names that are assigned once


def jam(statements: Sequence[Statement]) -> list[Statement]:
    """The same statements with loops merged, also inside loops and branches."""
    result: list[Statement] = []
    for s in statements:
        if isinstance(s, Loop):
            s = replace(s, body=jam(s.body))
            if _join(result, s):
                continue
        elif isinstance(s, If):
            s = If(s.condition, jam(s.then), jam(s.otherwise))
        result.append(s)
    return result


def _join(before: list[Statement], loop: Loop) -> bool:
    """Moves a loop's body into an earlier loop, if that is valid and they have something in common."""
    for at in reversed(range(len(before))):
        first = before[at]
        if isinstance(first, Loop) and _range(first) == _range(loop):
            body = [renamed(s, {loop.variable: first.variable}) for s in loop.body]
            if not _have_in_common(first.body, body):
                continue
            lets = _needed(body, before[at + 1 :], _defined([first]) - {first.variable})
            if lets is not None and _may_pass(first, before[at + 1 :], body):
                before[at + 1 :] = [s for s in before[at + 1 :] if s not in lets]
                before[at] = replace(first, body=_appended(first.body, body))
                before[at:at] = lets
                return True
    return False


def _range(loop: Loop) -> tuple[str, str, bool]:
    return loop.start, loop.stop, loop.sequential


def _texts(s: Statement) -> tuple[str, ...]:
    """The expressions of a statement itself."""
    if isinstance(s, Let):
        return (s.expression,)
    if isinstance(s, Store):
        return s.offset, s.value
    if isinstance(s, Accumulate):
        return f"load({s.array}, {s.offset})", s.value
    if isinstance(s, Reduce):
        return *s.names, *s.values
    if isinstance(s, Loop):
        return s.start, s.stop
    if isinstance(s, Join):
        return s.names
    return (s.condition,) if isinstance(s, If) else (s.expression,)


def _begun(statements: Sequence[Statement]) -> set[str]:
    """The names that statements initialise."""
    return {s.name if isinstance(s, Let) else s.variable for s in walk(statements) if isinstance(s, (Let, Loop))}


def _defined(statements: Sequence[Statement]) -> set[str]:
    """The names that statements assign, including sums."""
    return _begun(statements).union(*(s.names for s in walk(statements) if isinstance(s, Reduce)))


def _is_carried(s: Statement) -> bool:
    """True if a statement updates an existing name."""
    return isinstance(s, Reduce) or (isinstance(s, Let) and s.name[0] not in _SINGLE)


def _used(statements: Sequence[Statement]) -> set[str]:
    return {name for s in walk(statements) for text in _texts(s) for name in _NAME.findall(text)}


def _needed(body: Sequence[Statement], between: Sequence[Statement], made: set[str]) -> list[Statement] | None:
    """The definitions between two loops that the second needs, in order; None if they cannot precede the first."""
    lets = {s.name: s for s in between if isinstance(s, Let)}
    inside = made | _defined([s for s in between if not isinstance(s, Let)])  # including sums, begun by a Let
    wanted: set[str] = set()
    work = list(_used(body) - _begun([s for s in body if not _is_carried(s)]))
    while work:
        name = work.pop()
        if name in inside:
            return None
        if name in lets and name not in wanted:
            if "load(" in lets[name].expression or "check" in lets[name].expression:
                return None
            wanted.add(name)
            work += _NAME.findall(lets[name].expression)
    return [s for s in between if isinstance(s, Let) and s.name in wanted]


def _loads(statements: Sequence[Statement]) -> dict[str, set[str]]:
    """The arrays that are read, and their offsets."""
    found: dict[str, set[str]] = {}
    for s in walk(statements):
        for text in _texts(s):
            for array, offset, end in _LOAD.findall(text):
                found.setdefault(array, set()).add(offset if end else text)  # an offset with parentheses: equal to no other
    return found


def _stores(statements: Sequence[Statement]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for s in walk(statements):
        if isinstance(s, (Store, Accumulate)):
            found.setdefault(s.array, set()).add(s.offset)
        if isinstance(s, Compensated):
            found.setdefault(s.lost, set()).add(s.offset)
    return found


def _may_pass(first: Loop, between: Sequence[Statement], body: Sequence[Statement]) -> bool:
    """True if moving the body leaves memory unchanged: if both bodies access an array, the first reads only where the second
    writes, in the same iteration.
    """
    if any(isinstance(s, Do) for s in walk([first, *between, *body])):
        return False
    reads, writes = _loads(body), _stores(body)
    earlier = _stores([first, *between])
    if any(array in earlier for array in (*reads, *writes)) or any(array in _loads(between) for array in writes):
        return False
    seen = _loads([first])
    return all(array not in seen or (seen[array] == where and len(where) == 1) for array, where in writes.items())


def _have_in_common(first: Sequence[Statement], body: Sequence[Statement]) -> bool:
    loads = {s.expression for s in first if isinstance(s, Let) and "load(" in s.expression}
    return any(isinstance(s, Let) and s.expression in loads for s in body)


def _appended(first: Sequence[Statement], body: Sequence[Statement]) -> list[Statement]:
    """One body after the other; values that the first has computed are reused."""
    known = {s.expression: s.name for s in first if isinstance(s, Let) and s.name[0] in _SINGLE}
    names: dict[str, str] = {}
    result = list(first)
    for s in body:
        s = renamed(s, names)
        if isinstance(s, Let) and s.name[0] in _SINGLE:
            if s.expression in known:
                names[s.name] = known[s.expression]
                continue
            known[s.expression] = s.name
        result.append(s)
    return result
