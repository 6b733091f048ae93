"""Loops divided where a condition on their variable changes.

A shifted, padded or concatenated value has a condition for each element. In ranges of the loop in which it is decided, the
elements are loads without a branch, which LLVM vectorizes.
"""

from __future__ import annotations

import ast
import collections
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from .affine import affine
from .nest import Accumulate, If, Kernel, Let, Loop, Reduce, Statement, walk

_MOST = 4  # places where a loop is divided
_SHORT = 16  # iterations of a loop that is not worth it
_LARGE = 200  # statements: more code is not written again


def divided(kernel: Kernel) -> Kernel:
    """The kernel with its innermost loops divided; it gets the places as further integers."""
    if not any(isinstance(s, If) for s in walk(kernel.body)):
        return kernel
    return _Ranges(kernel).run()


class _Ranges:
    def __init__(self, kernel: Kernel):
        self.kernel = replace(kernel, params=list(kernel.params), values=list(kernel.values))
        # The starts of slices differ between the fusions that share the kernel.
        rows = enumerate(zip(kernel.params, kernel.values, strict=True))
        self.known = {name: value for k, (name, value) in rows if k not in kernel.places}
        lets = [s for s in walk(kernel.body) if isinstance(s, Let)]
        count = collections.Counter(s.name for s in lets)
        self.defined = {s.name: s.expression for s in lets if count[s.name] == 1}

    def run(self) -> Kernel:
        self.kernel.body = self._statements(self.kernel.body)
        return self.kernel

    def _statements(self, body: Sequence[Statement]) -> list[Statement]:
        result: list[Statement] = []
        for s in body:
            if isinstance(s, If):
                result.append(If(s.condition, self._statements(s.then), self._statements(s.otherwise)))
            elif isinstance(s, Loop):
                inner = any(isinstance(x, Loop) for x in walk(s.body))
                result += [replace(s, body=self._statements(s.body))] if inner else self._loop(s)
            else:
                result.append(s)
        return result

    def _loop(self, loop: Loop) -> list[Statement]:
        inside = list(walk(loop.body))
        conditions = [_Condition(text, loop.variable, self) for s in inside if isinstance(s, If) for text in s.terms]
        decided = {c.text: c for c in conditions if c.is_known}
        end = self.kernel.domain if loop.stop == "stop" else self.known.get(loop.stop, 0)
        simple = loop.start in ("0", "start") and not any(isinstance(s, (Reduce, Accumulate)) for s in inside)
        if not decided or not simple or loop.sequential or end < _SHORT or len(inside) > _LARGE:
            return [loop]
        places = sorted({c.place for c in decided.values() if 0 < c.place < end})
        if len(places) > _MOST:
            return [loop]
        result: list[Statement] = []
        bounds = [loop.start, *(self._bound(loop, place, result) for place in places), loop.stop]
        for (start, stop), at in zip(pairwise(bounds), [0, *places], strict=True):
            result.append(replace(loop, start=start, stop=stop, body=list(_decided(loop.body, decided, at))))
        return result

    def _bound(self, loop: Loop, place: int, before: list[Statement]) -> str:
        """A place as an integer of the kernel; in the range that is divided among callers, the part of a call that it ends."""
        name = f"n{len(self.kernel.params)}"
        self.kernel.params.append(name)
        self.kernel.values.append(place)
        if loop.stop != "stop":
            return name
        bound = f"z{name[1:]}"
        before.append(Let(bound, f"select(stop < {name}, stop, select(start < {name}, {name}, start))"))
        return bound


class _Condition:
    """A comparison. If it depends on the loop's variable alone, it changes at ``place``."""

    def __init__(self, text: str, variable: str, ranges: _Ranges):
        self.text, self.is_known, self.place = text, False, 0
        e = ast.parse(text, mode="eval").body
        if not (isinstance(e, ast.Compare) and len(e.ops) == 1 and isinstance(e.ops[0], (ast.Lt, ast.GtE))):
            return
        left, right = (affine(ast.unparse(x), ranges.known, ranges.defined) for x in (e.left, e.comparators[0]))
        if left is None or right is None:
            return
        difference = left.plus(right, -1)
        self._less, self._constant = isinstance(e.ops[0], ast.Lt), difference.constant
        self._step = difference.terms.pop(variable, 0)
        self.is_known = not difference.terms
        if self.is_known and self._step:
            root = -self._constant / self._step
            self.place = math.ceil(root) if self._step > 0 else math.floor(root) + 1

    def holds(self, at: int) -> bool:
        return (self._step * at + self._constant < 0) is self._less


def _decided(body: Sequence[Statement], conditions: Mapping[str, _Condition], at: int) -> Iterator[Statement]:
    """The statements in a range of the loop that begins at ``at``."""
    for s in body:
        if not isinstance(s, If):
            yield s
            continue
        left = [text for text in s.terms if text not in conditions]
        if any(not conditions[text].holds(at) for text in s.terms if text in conditions):
            yield from _decided(s.otherwise, conditions, at)
        elif not left:
            yield from _decided(s.then, conditions, at)
        else:
            then, otherwise = (list(_decided(part, conditions, at)) for part in (s.then, s.otherwise))
            yield If(" and ".join(left), then, otherwise)
