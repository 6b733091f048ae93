"""Text with dynamic numbers that is only printed or logged: a replay formats its own numbers.

Once a number is in a string, the string cannot be tracked. But the source shows where it goes: an f-string, or
``"...".format(...)``, that is itself an argument of a call whose result is discarded is used nowhere else. If that call
prints or logs, the string was a template. In all other cases the text of the number becomes part of the path.
"""

from __future__ import annotations

import ast
import functools
import itertools
import linecache
import re
import string
import types
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..core.printing import text_of
from ..ir.types import DType

if TYPE_CHECKING:
    from .scalars import FloatProgram

_PACKAGE = __name__.split(".")[0] + "."
_MAX_CHOICES = 100  # ways to assign pieces of a string to dynamic numbers


class Number(NamedTuple):
    """A dynamic number, by its index."""

    place: int


class Text(str):
    """Text that is printed unchanged, also in containers. ``place``: its index among the dynamic numbers, if it has one.
    ``number``: that of a tensor of one element, for formats such as ``%.2f``.
    """

    place: int
    number: Any

    def __new__(cls, text: str, place: int = -1, number: Any = None) -> Text:
        self = super().__new__(cls, text)
        self.place, self.number = place, number
        return self

    def __float__(self) -> float:
        return float(str(self) if self.number is None else self.number)

    def __int__(self) -> int:
        return int(str(self) if self.number is None else self.number)

    def __format__(self, spec: str) -> str:
        return format(str(self) if self.number is None or not spec else self.number, spec)

    def __repr__(self) -> str:
        return str(self)


class Shown(NamedTuple):
    """Formats the text of a tensor from its elements."""

    dtype: DType
    history: str

    def __call__(self, data: np.ndarray) -> Text:
        return Text(text_of(data, self.dtype, self.history), number=data.item() if data.size == 1 else None)


class Template(NamedTuple):
    """A string: text, and dynamic numbers that are text already."""

    pieces: tuple[str | Number, ...]


class _Pending(NamedTuple):
    """Text with a formatted number: its index, the frame, the expression."""

    place: int
    text: str
    frame: types.FrameType
    made_by: ast.expr


class Formats:
    """Text with formatted numbers that has not been printed yet."""

    def __init__(self, program: FloatProgram):
        self._program = program
        self._pending: list[_Pending] = []

    def made(self, index: int, text: str, frame: types.FrameType | None) -> None:
        """Number ``index`` was formatted as ``text``, for an expression of ``frame``, or of its caller outside this package."""
        while frame is not None and frame.f_globals.get("__name__", "").startswith(_PACKAGE):
            frame = frame.f_back
        made_by = None if frame is None else _argument(frame)
        if made_by is None or frame is None:
            self._program.decides(index, text)
        else:
            self._pending.append(_Pending(index, text, frame, made_by))

    def printed(self, caller: types.FrameType | None, args: Sequence[Any]) -> list[Any]:
        """The arguments of a printing function, with templates for strings that the caller has just formatted."""
        mine = [p for p in self._pending if p.frame is caller]
        found: list[Any] = []
        for x in args:
            expressions = list(dict.fromkeys(p.made_by for p in mine))
            templates = []
            if type(x) is str:
                templates = [(e, t) for e in expressions if (t := _template(x, e, [p for p in mine if p.made_by is e]))]
            if len(templates) == 1:
                ((made_by, template),) = templates
                mine = [p for p in mine if p.made_by is not made_by]
                self._pending = [p for p in self._pending if p.frame is not caller or p.made_by is not made_by]
                found.append(template)
            else:
                found.append(x)
        self.settle()
        return found

    def settle(self) -> None:
        """Text that has not been printed may have been inspected."""
        pending, self._pending = self._pending, []
        for p in pending if self._program.recording else ():
            self._program.decides(p.place, p.text)


def _template(text: str, made_by: ast.expr, numbers: Sequence[_Pending]) -> Template | None:
    """The pieces of a string; None if they are ambiguous."""
    constants = _constants(made_by)
    count = len(constants) - 1
    if count < len(numbers):
        return None
    choices = list(itertools.islice(itertools.combinations(range(count), len(numbers)), _MAX_CHOICES + 1))
    if len(choices) > _MAX_CHOICES:
        return None
    found: set[Template] = set()
    for choice in choices:
        for wildcard in ("(.*?)", "(.*)"):
            known = dict(zip(choice, numbers, strict=True))
            pieces = [f"({re.escape(known[i].text)})" if i in known else wildcard for i in range(count)]
            pattern = "".join(itertools.chain(*zip(map(re.escape, constants), [*pieces, ""], strict=True)))
            match = re.fullmatch(pattern, text, re.DOTALL)
            if match is not None:
                found.add(_cut(text, [(match.span(i + 1), p.place) for i, p in known.items()]))
    return found.pop() if len(found) == 1 else None


def _cut(text: str, spans: Sequence[tuple[tuple[int, int], int]]) -> Template:
    """A string with numbers in place of their text."""
    pieces: list[str | Number] = []
    at = 0
    for (start, stop), index in sorted(spans):
        pieces += [text[at:start], Number(index)]
        at = stop
    return Template((*pieces, text[at:]))


def _constants(made_by: ast.expr) -> list[str]:
    """The text between the formatted pieces of a string, including the ends."""
    constants = [""]
    if isinstance(made_by, ast.JoinedStr):
        for value in made_by.values:
            if isinstance(value, ast.Constant):
                constants[-1] += str(value.value)
            else:
                constants.append("")
        return constants
    assert isinstance(made_by, ast.Call) and isinstance(made_by.func, ast.Attribute)
    assert isinstance(made_by.func.value, ast.Constant)
    for literal, field, _, _ in string.Formatter().parse(str(made_by.func.value.value)):
        constants[-1] += literal
        if field is not None:
            constants.append("")
    return constants


def _argument(frame: types.FrameType) -> ast.expr | None:
    """The formatted string that a frame is evaluating, if it is an argument of a call statement."""
    code = frame.f_code
    where = next(itertools.islice(code.co_positions(), frame.f_lasti // 2, None), None)
    return None if where is None or None in where else _argument_at(code.co_filename, *where)  # type: ignore[arg-type]


@functools.lru_cache(1024)
def _argument_at(filename: str, line: int, last_line: int, column: int, last_column: int) -> ast.expr | None:
    for call in _statements(filename):
        if call.lineno <= line and last_line <= (call.end_lineno or 0):
            for x in call.args:
                begins = (x.lineno, x.col_offset) <= (line, column)
                if begins and (last_line, last_column) <= (x.end_lineno or 0, x.end_col_offset or 0) and _is_formatted(x):
                    return x
    return None


def _is_formatted(x: ast.expr) -> bool:
    if isinstance(x, ast.JoinedStr):
        return True
    if not (isinstance(x, ast.Call) and isinstance(x.func, ast.Attribute) and x.func.attr == "format"):
        return False
    return isinstance(x.func.value, ast.Constant) and isinstance(x.func.value.value, str)


@functools.lru_cache(64)
def _statements(filename: str) -> list[ast.Call]:
    """The call statements in a file."""
    try:
        tree = ast.parse("".join(linecache.getlines(filename)))
    except (SyntaxError, ValueError):
        return []
    return [s.value for s in ast.walk(tree) if isinstance(s, ast.Expr) and isinstance(s.value, ast.Call)]
