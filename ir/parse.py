"""Reads the textual form of graphs. What is read is verified, so a graph that was read can be run.

    text    := graph*
    graph   := "func" "@"name "(" typed,* ")" "->" types "{" op* "return" output,* "}"
    op      := typed,* "=" name operand,* attrs?
             | typed,* "=" "fusion" "@"name operand,* "{" "(" typed,* ")" ":" op* "yield" output,* "}"
    typed   := "%"name ":" type             type := dtype "[" extent,* "]" ("@" device)?
    types   := type | "(" type,* ")"        output  := "%"name ("->" "%"name)?
    attrs   := "{" name "=" literal,* "}"

Lists have no comma at their end. A comment, from ``#`` to the end of the line, stands wherever a space may stand; at the
end of an operation's first line it is the operation's source location (``location.comment``). Without one, the location is
that of the operation above.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, NoReturn

from .attributes import check_attribute, check_attributes, check_number
from .graph import Graph, Op, Value
from .lexer import IRSyntaxError, Token, tokenize
from .location import read_comment
from .ops import fusion
from .ops.movement import pad
from .primitive import PRIMITIVES, Kind, Primitive
from .types import TensorType, dtype_named

_EXTENT, _BYTES, _RANK = 2**31, 2**62, 64  # of tensors; NumPy has at most 64 axes
_DIGITS = 400  # of numbers; a float has at most 309 before the point
_DEPTH = 8  # of tuples in tuples
_OUTSIDE = (Kind.CONTRACTION, Kind.FUSION)  # what a fusion cannot contain
_INTEGER = re.compile(r"-?[0-9]+")


class _Parser:
    def __init__(self, text: str):
        self.text = text
        self.tokens = tokenize(text)
        self.at = 0
        self.loc = ""  # of the last operation

    def after(self, at: int) -> int:
        """The position of the first token from ``at`` on that is not a comment."""
        while self.tokens[at].kind == "comment":
            at += 1
        return at

    def peek(self) -> Token:
        return self.tokens[self.after(self.at)]

    def next(self) -> Token:
        at = self.after(self.at)
        token = self.tokens[at]
        self.at = at + (token.kind != "end")
        return token

    def fail(self, message: str, token: Token | None = None) -> NoReturn:
        token = token or self.peek()
        raise IRSyntaxError(message, self.text, token.line, token.column)

    def expect(self, text: str) -> Token:
        token = self.next()
        if token.text != text:
            self.fail(f"expected {text!r}, found {token.shown}", token)
        return token

    def expect_kind(self, kind: str, what: str) -> Token:
        token = self.next()
        if token.kind != kind:
            self.fail(f"expected {what}, found {token.shown}", token)
        return token

    def accept(self, text: str) -> bool:
        if self.peek().text == text:
            self.next()
            return True
        return False

    def listed(self, close: str, item: Callable[[], Any]) -> list[Any]:
        """Items with commas between them, and the closing text."""
        found: list[Any] = []
        if not self.accept(close):
            found.append(item())
            while not self.accept(close):
                self.expect(",")
                found.append(item())
        return found

    def located(self, line: int) -> str:
        """The location of the operation whose first line is the given one."""
        token = self.tokens[self.at]
        if token.kind == "comment" and token.line == line:
            self.loc = read_comment(token.text[1:].strip(), self.loc)
        return self.loc

    def extent(self) -> int:
        token = self.expect_kind("number", "an extent")
        if not re.fullmatch("0|[1-9][0-9]*", token.text):
            self.fail(f"an extent must be an integer, 0 or more, not {token.shown}", token)
        if len(token.text) > 10 or int(token.text) >= _EXTENT:
            self.fail(f"an extent must be less than 2**31, not {token.shown}", token)
        return int(token.text)

    def type(self) -> TensorType:
        token = self.expect_kind("name", "a type")
        try:
            dtype = dtype_named(token.text)
        except KeyError:
            self.fail(f"unknown dtype {token.shown}", token)
        self.expect("[")
        shape = tuple(self.listed("]", self.extent))
        device = "cpu"
        if self.peek().kind == "symbol":
            place = self.next()
            device = place.text[1:]
            if device not in ("cpu", "cuda"):
                self.fail(f"unknown device {device!r}; known are cpu and cuda", place)
            if self.accept(":"):
                device += f":{self.extent()}"
        t = TensorType(dtype, shape, device)
        if len(shape) > _RANK:
            self.fail(f"a tensor has at most {_RANK} dimensions, not {len(shape)}", token)
        if t.nbytes > _BYTES:
            self.fail(f"{t} is too large", token)
        return t

    def typed(self) -> tuple[str, TensorType, Token]:
        token = self.expect_kind("value", "a value")
        self.expect(":")
        return token.text[1:], self.type(), token

    def number(self, token: Token) -> int | float:
        if len(token.text) > _DIGITS:
            self.fail(f"a number has at most {_DIGITS} digits", token)
        return int(token.text) if _INTEGER.fullmatch(token.text) else float(token.text)

    def literal(self, depth: int = 0) -> Any:
        token = self.next()
        if token.kind == "string":
            try:
                return json.loads(token.text)
            except ValueError:
                self.fail("a string is written as in JSON", token)
        if token.kind == "number":
            return self.number(token)
        if token.text in ("True", "False"):
            return token.text == "True"
        if token.text == "complex":
            self.expect("(")
            parts = self.listed(")", lambda: self.number(self.expect_kind("number", "a number")))
            if len(parts) != 2 or not all(abs(part) < 2**1023 for part in parts if isinstance(part, int)):
                self.fail("a complex number is written complex(real,imaginary)", token)
            return complex(*parts)
        if token.text == "(":
            if depth == _DEPTH:
                self.fail(f"tuples are nested at most {_DEPTH} deep", token)
            return tuple(self.listed(")", lambda: self.literal(depth + 1)))
        self.fail(f"expected a literal, found {token.shown}", token)

    def symbol(self) -> str:
        return self.expect_kind("symbol", "a name beginning with @").text[1:]

    def graph(self) -> Graph:
        self.expect("func")
        self.loc = ""
        name = self.symbol()
        scope: dict[str, Value] = {}
        inputs = self.params(scope)
        self.expect("->")
        start = self.peek()
        declared = self.listed(")", self.type) if self.accept("(") else [self.type()]
        self.expect("{")
        graph = self.body(name, inputs, scope, "return")
        if [v.type for v in graph.outputs] != declared:
            returned = ", ".join(str(v.type) for v in graph.outputs)
            self.fail(f"the graph returns ({returned}), which is not what it declares", start)
        self.expect("}")
        return graph

    def params(self, scope: dict[str, Value]) -> list[Value]:
        self.expect("(")

        def param() -> Value:
            name, t, token = self.typed()
            return self.define(scope, name, Value(t, None, name), token)

        return self.listed(")", param)

    def define(self, scope: dict[str, Value], name: str, v: Value, token: Token) -> Value:
        if name in scope:
            self.fail(f"{token.shown} is defined twice", token)
        v.name = name
        scope[name] = v
        return v

    def use(self, scope: dict[str, Value]) -> Value:
        token = self.expect_kind("value", "a value")
        if token.text[1:] not in scope:
            self.fail(f"{token.shown} is not defined here", token)
        return scope[token.text[1:]]

    def body(self, name: str, inputs: list[Value], scope: dict[str, Value], last: str) -> Graph:
        ops: list[Op] = []
        while self.peek().text != last:
            ops.append(self.op(scope, in_fusion=last == "yield"))
        self.expect(last)
        outputs: list[Value] = []
        updates: dict[int, int] = {}
        number = {v: i for i, v in enumerate(inputs)}
        more = self.peek().kind == "value"
        while more:
            outputs.append(self.use(scope))
            if self.peek().text == "->":
                arrow = self.next()
                if last == "yield":
                    self.fail("a fusion does not update its inputs", arrow)
                token = self.peek()
                target = self.use(scope)
                if target not in number:
                    self.fail(f"{token.shown} is not an input, it cannot be updated", token)
                if number[target] in updates.values():
                    self.fail(f"{token.shown} is updated twice", token)
                if target.type != outputs[-1].type:
                    self.fail(f"{token.shown} is {target.type}, it cannot be updated by {outputs[-1].type}", token)
                updates[len(outputs) - 1] = number[target]
            more = self.accept(",")
        return Graph(name, inputs, ops, outputs, updates)

    def op(self, scope: dict[str, Value], in_fusion: bool) -> Op:
        results = [self.typed()]
        while self.accept(","):
            results.append(self.typed())
        self.expect("=")
        head = self.expect_kind("name", "an operation")
        primitive = PRIMITIVES.get(head.text)
        if primitive is None:
            self.fail(f"unknown operation {head.shown}", head)
        if in_fusion and primitive.kind in _OUTSIDE:
            self.fail(f"{head.text} cannot be in a fusion", head)
        if primitive is not fusion and self.peek().kind == "symbol":
            self.fail(f"only a fusion has a body, {head.text} has none")
        name = self.symbol() if primitive is fusion else ""
        operands: list[Value] = []
        if self.peek().kind == "value" and not self.starts_definition():
            operands.append(self.use(scope))
            while self.accept(","):
                operands.append(self.use(scope))
        attrs: dict[str, Any] = {}
        loc = self.fused(name, attrs) if primitive is fusion else self.attributes(primitive, attrs)
        attrs |= {key: value for key, value in primitive.defaults.items() if key not in attrs}  # printed in the text's order
        try:
            check_attributes(primitive, attrs)
            _check_count(primitive, len(operands))
            inferred = primitive.infer_types([v.type for v in operands], attrs)
            if primitive is pad:
                check_number(attrs["value"], operands[0].type.dtype.short)
        except Exception as e:  # any exception of the record is an error of the text
            self.fail(f"{head.text}: {e}".split("\n")[0], head)
        if list(inferred) != [t for _, t, _ in results]:
            self.fail(f"{head.text} here gives {', '.join(map(str, inferred))}", results[0][2])
        op = Op(primitive, operands, attrs, inferred, loc)
        for (name, _, token), v in zip(results, op.results, strict=True):
            self.define(scope, name, v, token)
        return op

    def fused(self, name: str, attrs: dict[str, Any]) -> str:
        """Reads a fusion's body; returns the location of the fusion."""
        loc = self.located(self.expect("{").line)
        inner: dict[str, Value] = {}
        params = self.params(inner)
        self.expect(":")
        attrs["body"] = self.body(name, params, inner, "yield")
        self.expect("}")
        return loc

    def attributes(self, primitive: Primitive, attrs: dict[str, Any]) -> str:
        """Reads an operation's attributes, if it has some; returns its location."""
        given: set[str] = set()

        def attribute() -> None:
            token = self.expect_kind("name", "an attribute's name")
            if token.text in given:
                self.fail(f"the attribute {token.shown} is given twice", token)
            given.add(token.text)
            self.expect("=")
            attrs[token.text] = self.literal()
            try:
                check_attribute(primitive, token.text, attrs[token.text])
            except ValueError as e:
                self.fail(str(e), token)

        if self.accept("{"):
            self.listed("}", attribute)
        return self.located(self.tokens[self.at - 1].line)

    def starts_definition(self) -> bool:
        """True if the next value is followed by a colon; then it belongs to the next operation."""
        return self.tokens[self.after(self.after(self.at) + 1)].text == ":"

    def end(self) -> None:
        token = self.peek()
        if token.kind != "end":
            self.fail(f"expected the end, found {token.shown}", token)


def _check_count(primitive: Primitive, count: int) -> None:
    names = primitive.operands
    if names and names[0].startswith("*"):
        return
    if count != len(names):
        raise ValueError(f"takes {len(names)} operand{'s' * (len(names) != 1)} ({', '.join(names)}), got {count}")


def parse_graph(text: str) -> Graph:
    """The graph that ``text`` describes. Raises IRSyntaxError with line, column and a caret below the line."""
    parser = _Parser(text)
    graph = parser.graph()
    parser.end()
    return graph


def parse_graphs(text: str) -> list[Graph]:
    """The graphs that ``text`` describes, one after the other. Raises IRSyntaxError, also if there is none."""
    parser = _Parser(text)
    graphs = [parser.graph()]
    while parser.peek().kind != "end":
        graphs.append(parser.graph())
    return graphs
