"""Reads the textual form of a graph.

    graph   := "func" "@"name "(" typed,* ")" "->" types "{" op* "return" output,* "}"
    op      := typed,* "=" name operand,* attrs?
             | typed,* "=" name "@"name operand,* "{" "(" typed,* ")" ":" op* "yield" output,* "}"
    typed   := "%"name ":" type             type := f32[4,8]
    output  := "%"name ("->" "%"name)?      attrs := "{" name "=" literal,* "}"

A comment at the end of an operation's first line is its source location.
"""

from __future__ import annotations

import re
from typing import Any

from .graph import Graph, Op, Value
from .primitive import PRIMITIVES
from .types import TensorType, dtype_named


class IRSyntaxError(ValueError):
    """Malformed IR text; the message gives line and column, both counted from 1."""

    def __init__(self, message: str, line: int, column: int):
        super().__init__(f"line {line}, column {column}: {message}")
        self.line = line
        self.column = column


_TOKEN = re.compile(
    r"(?P<space>[ \t]+)|(?P<newline>\n)|(?P<comment>\#[^\n]*)|(?P<arrow>->)"
    r"|(?P<value>%[A-Za-z0-9_.]+)|(?P<symbol>@[A-Za-z0-9_.<>]+)|(?P<string>\"(?:[^\"\\\n]|\\.)*\")"
    r"|(?P<number>-?(?:inf|nan)\b|-?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)|(?P<name>[A-Za-z_][A-Za-z0-9_.]*)|(?P<punct>[(){}\[\],:=@])"
)


class _Token:
    __slots__ = ("column", "kind", "line", "text")

    def __init__(self, kind: str, text: str, line: int, column: int):
        self.kind, self.text, self.line, self.column = kind, text, line, column


def _tokenize(text: str) -> list[_Token]:
    tokens, line, start, at = [], 1, 0, 0
    while at < len(text):
        m = _TOKEN.match(text, at)
        if m is None:
            raise IRSyntaxError(f"unexpected character {text[at]!r}", line, at - start + 1)
        kind = str(m.lastgroup)
        if kind == "newline":
            line, start = line + 1, m.end()
        elif kind != "space":
            tokens.append(_Token(kind, m.group(), line, at - start + 1))
        at = m.end()
    tokens.append(_Token("end", "", line, at - start + 1))
    return tokens


class _Parser:
    def __init__(self, text: str):
        self.tokens = _tokenize(text)
        self.at = 0

    def peek(self) -> _Token:
        at = self.at
        while self.tokens[at].kind == "comment":
            at += 1
        return self.tokens[at]

    def next(self) -> _Token:
        while self.tokens[self.at].kind == "comment":
            self.at += 1
        token = self.tokens[self.at]
        self.at += token.kind != "end"
        return token

    def fail(self, message: str, token: _Token | None = None) -> IRSyntaxError:
        token = token or self.peek()
        return IRSyntaxError(message, token.line, token.column)

    def expect(self, text: str) -> _Token:
        token = self.next()
        if token.text != text:
            raise self.fail(f"expected {text!r}, found {token.text or 'the end'!r}", token)
        return token

    def expect_kind(self, kind: str, what: str) -> _Token:
        token = self.next()
        if token.kind != kind:
            raise self.fail(f"expected {what}, found {token.text or 'the end'!r}", token)
        return token

    def accept(self, text: str) -> bool:
        if self.peek().text == text:
            self.next()
            return True
        return False

    def comment_on(self, line: int) -> str:
        """The text of the comment on the given line, if there is one."""
        token = self.tokens[self.at]
        return token.text[1:].strip() if token.kind == "comment" and token.line == line else ""

    def type(self) -> TensorType:
        token = self.expect_kind("name", "a type")
        try:
            dtype = dtype_named(token.text)
        except KeyError:
            raise self.fail(f"unknown dtype {token.text!r}", token) from None
        self.expect("[")
        shape = []
        while not self.accept("]"):
            extent = self.expect_kind("number", "an extent")
            if not extent.text.isdigit():
                raise self.fail(f"an extent must be an integer, not {extent.text!r}", extent)
            shape.append(int(extent.text))
            if self.peek().text != "]":
                self.expect(",")
        device = "cpu"
        if self.peek().kind == "symbol":
            device = self.next().text[1:]
            if self.accept(":"):
                device += ":" + self.expect_kind("number", "a device number").text
        return TensorType(dtype, tuple(shape), device)

    def typed(self) -> tuple[str, TensorType, _Token]:
        token = self.expect_kind("value", "a value")
        self.expect(":")
        return token.text[1:], self.type(), token

    def literal(self) -> Any:
        token = self.next()
        if token.kind == "string":
            import json

            return json.loads(token.text)
        if token.kind == "number" or token.text in ("inf", "nan"):
            return int(token.text) if re.fullmatch(r"-?\d+", token.text) else float(token.text)
        if token.text in ("True", "False"):
            return token.text == "True"
        if token.text == "complex":
            parts = self.literal()
            if not isinstance(parts, tuple) or len(parts) != 2 or not all(isinstance(x, (int, float)) for x in parts):
                raise self.fail("a complex number is written complex(real,imaginary)", token)
            return complex(*parts)
        if token.text == "(":
            items = []
            while not self.accept(")"):
                items.append(self.literal())
                if self.peek().text != ")":
                    self.expect(",")
            return tuple(items)
        raise self.fail(f"expected a literal, found {token.text or 'the end'!r}", token)

    def symbol(self) -> str:
        return self.expect_kind("symbol", "a name beginning with @").text[1:]

    def graph(self) -> Graph:
        self.expect("func")
        name = self.symbol()
        scope: dict[str, Value] = {}
        inputs = self.params(scope)
        self.expect("->")
        start = self.peek()
        declared = self.types()
        self.expect("{")
        graph = self.body(name, inputs, scope, "return")
        if [v.type for v in graph.outputs] != declared:
            returned = ", ".join(str(v.type) for v in graph.outputs)
            raise self.fail(f"the graph returns ({returned}), which is not what it declares", start)
        self.expect("}")
        return graph

    def types(self) -> list[TensorType]:
        if not self.accept("("):
            return [self.type()]
        types = []
        while not self.accept(")"):
            types.append(self.type())
            if self.peek().text != ")":
                self.expect(",")
        return types

    def params(self, scope: dict[str, Value]) -> list[Value]:
        self.expect("(")
        inputs = []
        while not self.accept(")"):
            name, t, token = self.typed()
            inputs.append(self.define(scope, name, Value(t, None, name), token))
            if self.peek().text != ")":
                self.expect(",")
        return inputs

    def define(self, scope: dict[str, Value], name: str, v: Value, token: _Token) -> Value:
        if name in scope:
            raise self.fail(f"%{name} is defined twice", token)
        v.name = name
        scope[name] = v
        return v

    def use(self, scope: dict[str, Value]) -> Value:
        token = self.expect_kind("value", "a value")
        if token.text[1:] not in scope:
            raise self.fail(f"{token.text} is not defined here", token)
        return scope[token.text[1:]]

    def body(self, name: str, inputs: list[Value], scope: dict[str, Value], last: str) -> Graph:
        ops: list[Op] = []
        while self.peek().text != last:
            ops.append(self.op(scope))
        self.expect(last)
        outputs: list[Value] = []
        updates: dict[int, int] = {}
        while self.peek().kind == "value":
            outputs.append(self.use(scope))
            if self.accept("->"):
                token = self.peek()
                target = self.use(scope)
                if target not in inputs:
                    raise self.fail(f"%{target.name} is not an input, it cannot be updated", token)
                updates[len(outputs) - 1] = inputs.index(target)
            if not self.accept(","):
                break
        return Graph(name, inputs, ops, outputs, updates)

    def op(self, scope: dict[str, Value]) -> Op:
        results = [self.typed()]
        while self.accept(","):
            results.append(self.typed())
        self.expect("=")
        head = self.expect_kind("name", "an operation")
        primitive = PRIMITIVES.get(head.text)
        if primitive is None:
            raise self.fail(f"unknown operation {head.text!r}", head)
        body_name = self.symbol() if self.peek().kind == "symbol" else None
        operands = []
        if self.peek().kind == "value" and not self.starts_definition():
            operands.append(self.use(scope))
            while self.accept(","):
                operands.append(self.use(scope))
        loc, attrs = "", dict(primitive.defaults)
        if body_name is not None:
            brace = self.expect("{")
            loc = self.comment_on(brace.line)
            inner: dict[str, Value] = {}
            params = self.params(inner)
            self.expect(":")
            attrs["body"] = self.body(body_name, params, inner, "yield")
            self.expect("}")
        else:
            if self.accept("{"):
                while not self.accept("}"):
                    key = self.expect_kind("name", "an attribute's name").text
                    self.expect("=")
                    attrs[key] = self.literal()
                    if self.peek().text != "}":
                        self.expect(",")
            loc = self.comment_on(self.tokens[self.at - 1].line)
        try:
            inferred = primitive.infer_types([v.type for v in operands], attrs)
        except (TypeError, ValueError, RuntimeError, IndexError, KeyError) as e:
            raise self.fail(f"{head.text}: {e}", head) from e
        if list(inferred) != [t for _, t, _ in results]:
            shown = ", ".join(map(str, inferred))
            raise self.fail(f"{head.text} here gives {shown}", results[0][2])
        op = Op(primitive, operands, attrs, inferred, loc)
        for (name, _, token), v in zip(results, op.results, strict=True):
            self.define(scope, name, v, token)
        return op

    def starts_definition(self) -> bool:
        """True if the next value is followed by a colon; then it belongs to the next operation."""
        rest = [t for t in self.tokens[self.at : self.at + 4] if t.kind != "comment"]
        return len(rest) > 1 and rest[1].text == ":"


def parse_graph(text: str) -> Graph:
    """The graph that ``text`` describes. Raises IRSyntaxError with line and column."""
    parser = _Parser(text)
    graph = parser.graph()
    token = parser.peek()
    if token.kind != "end":
        raise parser.fail(f"expected the end, found {token.text!r}", token)
    return graph
