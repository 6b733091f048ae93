"""Parses PTX text: the variables of the module, and the parameters, registers, labels and instructions of one kernel."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import ml_dtypes
import numpy as np

DTYPES: dict[str, np.dtype] = {
    "pred": np.dtype(np.bool_), "f16": np.dtype(np.float16), "bf16": np.dtype(ml_dtypes.bfloat16),
    "f32": np.dtype(np.float32), "f64": np.dtype(np.float64),
    **{f"{kind}{bits}": np.dtype(f"{'i' if kind == 's' else 'u'}{bits // 8}") for kind in "bus" for bits in (8, 16, 32, 64)},
}  # fmt: skip

Number = int | np.float32 | np.float64


@dataclass(frozen=True)
class Register:
    """``slot``: index among the registers of its size. ``key``: unique in the kernel, because scopes may reuse names."""

    name: str
    type: str
    slot: int
    key: int

    @property
    def size(self) -> int:
        return DTYPES[self.type].itemsize


@dataclass(frozen=True)
class Immediate:
    value: Number


@dataclass(frozen=True)
class Special:
    name: str


@dataclass(frozen=True)
class Symbol:
    """The address of a variable, or the name of a label."""

    name: str
    offset: int = 0


@dataclass(frozen=True)
class Address:
    base: Operand
    offset: int


@dataclass(frozen=True)
class Vector:
    parts: tuple[Operand, ...]


@dataclass(frozen=True)
class Negated:
    operand: Operand


@dataclass(frozen=True)
class Pair:
    """Two destinations, ``d|p``."""

    first: Operand
    second: Operand


@dataclass(frozen=True)
class Sink:
    """A discarded destination, ``_``."""


Operand = Register | Immediate | Special | Symbol | Address | Vector | Negated | Pair | Sink

NO_EFFECT = ("membar", "fence", "prefetch", "prefetchu", "nanosleep", "discard", "applypriority")
_STORES_NOTHING = frozenset(("st", "red", "bra", "brx", "bar", "barrier", "ret", "exit", "trap", *NO_EFFECT))


@dataclass(frozen=True)
class Instruction:
    text: str
    guard: Register | None
    negated: bool
    name: str
    modifiers: tuple[str, ...]
    operands: tuple[Operand, ...]

    @property
    def types(self) -> list[str]:
        return [m for m in self.modifiers if m in DTYPES]

    @property
    def type(self) -> str:
        if not self.types:
            raise NotImplementedError(self.text)
        return self.types[-1]

    def writes(self) -> list[Register]:
        if self.name in _STORES_NOTHING or not self.operands:
            return []
        return list(_registers(self.operands[0]))

    def reads(self) -> list[Register]:
        sources = self.operands if self.name in _STORES_NOTHING else self.operands[1:]
        guard = [self.guard] if self.guard else []
        return guard + [r for operand in sources for r in _registers(operand)]


def _registers(operand: Operand) -> Iterator[Register]:
    match operand:
        case Register():
            yield operand
        case Address(base=inner) | Negated(operand=inner):
            yield from _registers(inner)
        case Vector(parts=parts):
            for part in parts:
                yield from _registers(part)
        case Pair(first=first, second=second):
            yield from _registers(first)
            yield from _registers(second)


@dataclass(frozen=True)
class Variable:
    name: str
    space: str
    align: int
    size: int
    external: bool
    data: np.ndarray | None


@dataclass(frozen=True)
class Parameter:
    name: str
    type: str
    count: int  # of elements; 0 for a scalar

    @property
    def size(self) -> int:
        return DTYPES[self.type].itemsize * max(self.count, 1)


@dataclass
class Function:
    """One kernel as written."""

    name: str
    parameters: list[Parameter]
    limit: int | None  # threads per block
    variables: list[Variable]
    code: list[Instruction] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    tables: dict[str, list[str]] = field(default_factory=dict)
    registers: dict[int, int] = field(default_factory=dict)  # count by size in bytes; 0 stands for predicates


_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.S)
_LINE_DIRECTIVE = re.compile(r"^[ \t]*\.(?:loc|file|version|target|address_size)\b[^\n]*$", re.M)
_NAME = r"[\w$%.]+"
_VARIABLE = re.compile(
    rf"(?P<external>\.extern\s+)?\.(?P<space>global|const|shared|local)\s+(?:\.align\s+(?P<align>\d+)\s+)?"
    rf"(?:\.v(?P<lanes>[24])\s+)?\.(?P<type>\w+)\s+(?P<name>{_NAME})\s*(?P<extents>(?:\[\s*\d*\s*\]\s*)*)"
    rf"(?:=\s*(?P<data>[^;]*))?;"
)
_FUNCTION = re.compile(
    rf"\.(?P<sort>entry|func)\s+(?:\([^)]*\)\s*)?(?P<name>{_NAME})\s*(?P<parameters>\([^)]*\))?(?P<head>[^{{;]*)"
)
_PARAMETER = re.compile(
    rf"\.param\s+(?:\.align\s+\d+\s+)?\.(\w+)\s+(?:\.ptr\s+[\s\w.]*?)?({_NAME})\s*(?:\[\s*(\d+)\s*\])?\s*[,)]"
)
_REGISTERS = re.compile(r"\.reg\s+\.(\w+)\s+(.*)", re.S)
_LABEL = re.compile(r"\s*([\w$]+)\s*:(?!:)")
_INSTRUCTION = re.compile(r"(?:@(?P<not>!?)\s*(?P<guard>[%\w$]+)\s+)?(?P<name>[a-z][\w.:]*)\s*(?P<operands>.*)", re.S)
_OPERAND = re.compile(r"\{[^}]*\}|\[[^\]]*\]|[^,\s][^,]*")
_ADDRESS = re.compile(r"\[\s*([^\s+\]]+?)\s*(?:(\+|(?<=\w)-)\s*(-?\w+)\s*)?\]")
_SYMBOL = re.compile(r"([\w$.]+)\s*(?:\+\s*(-?\w+))?$")


def number(text: str) -> Number | None:
    """The value of a literal; None if the text is not a literal."""
    if re.fullmatch(r"0[fF][0-9a-fA-F]{8}", text):
        return np.array(int(text[2:], 16), np.uint32).view(np.float32)[()]
    if re.fullmatch(r"0[dD][0-9a-fA-F]{16}", text):
        return np.array(int(text[2:], 16), np.uint64).view(np.float64)[()]
    if re.fullmatch(r"[-+]?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][-+]?\d+)?", text):
        return np.float64(text)
    if text == "WARP_SZ":
        return 32
    m = re.fullmatch(r"([-+]?)(0[xX][0-9a-fA-F]+|0[bB][01]+|\d+)U?", text)
    if m is None:
        return None
    octal = re.fullmatch(r"0\d+", m[2])
    value = int(m[2], 8 if octal else 0)
    return -value if m[1] == "-" else value


def constant(value: Number, type_: str) -> np.generic:
    """Converts a literal to a PTX type: integers wrap, and integer types take the bits of floating-point literals."""
    dtype = DTYPES[type_]
    if type_ == "pred":
        return np.bool_(value != 0)
    if dtype.kind not in "iu":
        return np.asarray(value).astype(dtype)[()]
    if isinstance(value, int):
        bits = 8 * dtype.itemsize
        return np.array(value & ((1 << bits) - 1), f"u{dtype.itemsize}").view(dtype)[()]
    real = np.float32(value) if dtype.itemsize == 4 else np.float64(value)
    return np.asarray(real).view(dtype)[()]


def parse(text: str, name: str | None = None) -> Function:
    """Parses the kernel with that name, or the only one."""
    text = _LINE_DIRECTIVE.sub("", _COMMENT.sub(" ", text))
    module, kernels = _functions(text)
    if name is None and len(kernels) != 1:
        raise ValueError(f"name one of these kernels: {', '.join(kernels)}")
    if name is not None and name not in kernels:
        raise ValueError(f"no kernel {name}; there are: {', '.join(kernels)}")
    name = name or next(iter(kernels))
    head, body = kernels[name]
    limit = re.search(r"\.(?:max|req)ntid\s+([\d\s,]+)", head["head"])
    function = Function(
        name,
        [Parameter(p, t, int(count or 0)) for t, p, count in _PARAMETER.findall(head["parameters"] or "")],
        math.prod(int(n) for n in limit[1].split(",")) if limit else None,
        [_variable(m) for m in _VARIABLE.finditer(module)],
    )
    _Body(function).read(body)
    return function


def _functions(text: str) -> tuple[str, dict[str, tuple[re.Match[str], str]]]:
    """Splits a module into the text outside of functions, and the header and body of each kernel."""
    outside, kernels, position = [], {}, 0
    for m in _FUNCTION.finditer(text):
        if m.start() < position:
            continue
        outside.append(text[position : m.start()])
        position = m.end()
        if not text.startswith("{", position):
            continue  # a declaration
        end = _closing(text, position)
        if m["sort"] == "entry":
            kernels[m["name"]] = (m, text[position + 1 : end])
        position = end + 1
    return "".join([*outside, text[position:]]), kernels


def _closing(text: str, start: int) -> int:
    depth = 0
    for m in re.compile(r"[{}]").finditer(text, start):
        depth += 1 if m[0] == "{" else -1
        if depth == 0:
            return m.start()
    raise ValueError("a brace is not closed")


def _variable(m: re.Match[str]) -> Variable:
    dtype = DTYPES[m["type"]]
    extents = re.findall(r"\[\s*(\d*)\s*\]", m["extents"])
    data = None
    if m["data"]:
        data = np.array([constant(_literal(x, m[0]), m["type"]) for x in re.findall(r"[^\s{},]+", m["data"])], dtype)
    open_ended = "" in extents
    first = [len(data)] if open_ended and data is not None else []
    count = math.prod(first + [int(x) for x in extents if x]) * int(m["lanes"] or 1)
    external = bool(m["external"]) and open_ended
    size = 0 if open_ended and data is None else count * dtype.itemsize
    align = int(m["align"] or dtype.itemsize * int(m["lanes"] or 1))
    return Variable(m["name"], m["space"], align, size, external, data)


def _literal(text: str, declaration: str) -> Number:
    value = number(text)
    if value is None:
        raise NotImplementedError(f"{text!r} among the initial values of {declaration!r}")
    return value


class _Body:
    """Parses the body of a kernel."""

    def __init__(self, function: Function) -> None:
        self.function = function
        self.scopes: list[dict[str, str | Register]] = []  # the type, until the register is first used
        self.keys = 0

    def read(self, text: str) -> None:
        self.scopes.append({})
        position = 0
        while m := re.compile(r"\s*([{}]|[^{};][^;]*;)").match(text, position):
            if label := _LABEL.match(text, position):
                self._label(label[1])
                position = label.end()
                continue
            self._statement(m[1].rstrip(";").strip())
            position = m.end()
        if text[position:].strip():
            raise ValueError(f"no statement: {text[position:].strip()[:80]!r}")

    def _label(self, name: str) -> None:
        self.function.labels[name] = len(self.function.code)
        self.label = name

    def _statement(self, text: str) -> None:
        if text == "{":
            self.scopes.append({})
        elif text == "}":
            self.scopes.pop()
        elif m := _REGISTERS.match(text):
            self._declare(m[1], m[2])
        elif m := _VARIABLE.match(text + ";"):
            self.function.variables.append(_variable(m))
        elif text.startswith(".branchtargets"):
            self.function.tables[self.label] = re.findall(r"[\w$]+", text.removeprefix(".branchtargets"))
        elif text and not text.startswith("."):
            self.function.code.append(self._instruction(text))

    def _declare(self, type_: str, names: str) -> None:
        for name, count in re.findall(r"([\w$%]+)\s*(?:<\s*(\d+)\s*>)?", names):
            for full in [f"{name}{k}" for k in range(int(count))] if count else [name]:
                self.scopes[-1][full] = type_

    def _register(self, name: str) -> Register | None:
        scope = next((s for s in reversed(self.scopes) if name in s), None)
        if scope is None:
            return None
        found = scope[name]
        if isinstance(found, Register):
            return found
        if found not in DTYPES:
            raise NotImplementedError(f"registers of type {found}")
        size = 0 if found == "pred" else DTYPES[found].itemsize
        slot = self.function.registers.get(size, 0)
        self.function.registers[size] = slot + 1
        register = Register(name, found, slot, self.keys)
        self.keys += 1
        scope[name] = register
        return register

    def _instruction(self, text: str) -> Instruction:
        m = _INSTRUCTION.fullmatch(text)
        if m is None:
            raise ValueError(f"no instruction: {text!r}")
        name, *modifiers = m["name"].replace("::", ":").split(".")
        guard = self._register(m["guard"]) if m["guard"] else None
        operands = tuple(self._operand(x.strip()) for x in _OPERAND.findall(m["operands"]))
        return Instruction(" ".join(text.split()), guard, m["not"] == "!", name, tuple(modifiers), operands)

    def _operand(self, text: str) -> Operand:
        if text.startswith("{"):
            return Vector(tuple(self._operand(x.strip()) for x in text.strip("{}").split(",")))
        if m := _ADDRESS.fullmatch(text):
            offset = int(m[3] or "0", 0)
            return Address(self._operand(m[1]), -offset if m[2] == "-" else offset)
        if text == "_":
            return Sink()
        if text.startswith("!"):
            return Negated(self._operand(text[1:].strip()))
        if "|" in text:
            first, second = text.split("|")
            return Pair(self._operand(first.strip()), self._operand(second.strip()))
        if register := self._register(text):
            return register
        if text.startswith("%"):
            return Special(text)
        value = number(text)
        if value is not None:
            return Immediate(value)
        m = _SYMBOL.match(text)
        return Symbol(m[1], int(m[2] or "0", 0)) if m else Symbol(text)
