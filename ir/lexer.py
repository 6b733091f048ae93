"""The words of the IR's text, and errors with their place."""

from __future__ import annotations

import re

_TOKEN = re.compile(
    r"(?P<space>[ \t\r]+)|(?P<newline>\n)|(?P<comment>\#[^\n]*)|(?P<arrow>->)"
    r"|(?P<value>%[\w.]+)|(?P<symbol>@[\w.<>]+)|(?P<string>\"(?:[^\"\\\n]|\\.)*\")"
    r"|(?P<number>-?(?:inf|nan)\b|-?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?)|(?P<name>[A-Za-z_][A-Za-z0-9_.]*)"
    r"|(?P<punct>[(){}\[\],:=])"
)
_WIDTH, _LONG = 100, 300  # characters of a line that an error shows, and of its message


class IRSyntaxError(ValueError):
    """Malformed IR text.

    ``message`` says what is wrong, ``line`` and ``column`` where, counted from 1. As text the error also has the line,
    with a caret below the column.
    """

    def __init__(self, message: str, text: str, line: int, column: int):
        message = message if len(message) <= _LONG else f"{message[: _LONG - 3]}..."
        super().__init__(f"line {line}, column {column}: {message}\n{_excerpt(text, line, column)}")
        self.message, self.line, self.column = message, line, column

    def __reduce__(self) -> tuple:
        return _again, (str(self), self.message, self.line, self.column)


def _again(said: str, message: str, line: int, column: int) -> IRSyntaxError:
    error = IRSyntaxError(message, "", line, column)
    error.args = (said,)
    return error


def _excerpt(text: str, line: int, column: int) -> str:
    """The line, or the part of it around the column, and a caret below."""
    lines = text.split("\n")
    whole = lines[line - 1].rstrip("\r") if line <= len(lines) else ""
    start = max(0, column - 1 - _WIDTH // 2) if len(whole) > _WIDTH else 0
    part = whole[start : start + _WIDTH]
    shown = "".join(c if c.isprintable() or c == "\t" else "?" for c in part)
    before = "".join("\t" if c == "\t" else " " for c in shown[: column - 1 - start])
    return f"    {shown}\n    {before}^"


class Token:
    __slots__ = ("column", "kind", "line", "text")

    def __init__(self, kind: str, text: str, line: int, column: int):
        self.kind, self.text, self.line, self.column = kind, text, line, column

    @property
    def shown(self) -> str:
        """The text for messages."""
        text = self.text or "the end"
        if self.kind == "value" and len(text) <= 60:
            return text
        return repr(text if len(text) <= 60 else text[:57] + "...")


def tokenize(text: str) -> list[Token]:
    """The words of a text, without spaces. Raises IRSyntaxError for characters that begin none."""
    tokens, line, start, at = [], 1, 0, 0
    while at < len(text):
        m = _TOKEN.match(text, at)
        if m is None:
            what = "a string without an end" if text[at] == '"' else f"unexpected character {text[at]!r}"
            raise IRSyntaxError(what, text, line, at - start + 1)
        kind = str(m.lastgroup)
        if kind == "newline":
            line, start = line + 1, m.end()
        elif kind != "space":
            tokens.append(Token(kind, m.group(), line, at - start + 1))
        at = m.end()
    tokens.append(Token("end", "", line, at - start + 1))
    return tokens
