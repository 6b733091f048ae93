"""Offsets as sums of products: the elements of an array that adjacent iterations of a loop access."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from .nest import Let, Loop, Reduce, Statement, Store

_LOAD = re.compile(r"\bload\((p\d+), ")


@dataclass
class Affine:
    """``constant + sum(coefficient * name)``, with known coefficients and names of unknown integers."""

    constant: int = 0
    terms: dict[str, int] = field(default_factory=dict)

    def plus(self, other: Affine, sign: int = 1) -> Affine:
        terms = dict(self.terms)
        for name, k in other.terms.items():
            terms[name] = terms.get(name, 0) + sign * k
        return Affine(self.constant + sign * other.constant, {n: k for n, k in terms.items() if k})

    def times(self, k: int) -> Affine:
        return Affine(self.constant * k, {n: c * k for n, c in self.terms.items() if c * k})


def affine(text: str, known: Mapping[str, int], defined: Mapping[str, str]) -> Affine | None:
    """An expression as an ``Affine``; None if it is not of that form.

    ``known`` maps names to known integers. A name in ``defined`` stands for that expression, if it has the form.
    """
    return _of(ast.parse(text, mode="eval").body, known, defined)


def _of(e: ast.expr, known: Mapping[str, int], defined: Mapping[str, str]) -> Affine | None:
    if isinstance(e, ast.Constant) and type(e.value) is int:
        return Affine(e.value)
    if isinstance(e, ast.Name):
        if e.id in known:
            return Affine(known[e.id])
        inner = affine(defined[e.id], known, defined) if e.id in defined else None
        return inner or Affine(0, {e.id: 1})
    if isinstance(e, ast.UnaryOp) and isinstance(e.op, ast.USub):
        inner = _of(e.operand, known, defined)
        return None if inner is None else inner.times(-1)
    if not isinstance(e, ast.BinOp):
        return None
    a, b = _of(e.left, known, defined), _of(e.right, known, defined)
    if a is None or b is None:
        return None
    if isinstance(e.op, (ast.Add, ast.Sub)):
        return a.plus(b, 1 if isinstance(e.op, ast.Add) else -1)
    if isinstance(e.op, ast.Mult) and not (a.terms and b.terms):
        return b.times(a.constant) if not a.terms else a.times(b.constant)
    return None


def accesses(body: Sequence[Statement]) -> Iterator[tuple[str, str]]:
    """The arrays and offsets of loads and stores, except those in branches."""
    for s in body:
        if isinstance(s, Loop):
            yield from accesses(s.body)
        if isinstance(s, Let):
            yield from loads(s.expression)
        elif isinstance(s, Reduce):
            yield from itertools.chain(*map(loads, s.values))
        elif isinstance(s, Store):
            yield from loads(s.value)
            yield s.array, s.offset


def loads(text: str) -> Iterator[tuple[str, str]]:
    """The arrays and offsets of the loads in an expression."""
    for match in _LOAD.finditer(text):
        depth, end = 1, match.end()
        while depth:
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            end += 1
        yield match[1], text[match.end() : end - 1]
