"""Instructions that compute on the registers of each thread, independently of other threads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from . import numbers
from .convert import conversion
from .grid import Group
from .operands import Reader, reader, writer
from .parse import DTYPES, Immediate, Instruction, Negated, Pair

if TYPE_CHECKING:
    from .run import Run

Execute = Callable[["Run", Group], None]
Signature = tuple[list[str], str, Callable[..., Any]]  # the types of the operands, that of the result, and the function
Build = Callable[[Instruction], Signature]


@dataclass(frozen=True)
class Rule:
    """How an instruction is computed, and the modifiers that this covers."""

    modifiers: frozenset[str]
    build: Build


def compiled(instruction: Instruction) -> Execute | None:
    """Compiles an instruction; None if it is not an elementwise one."""
    if instruction.name in _SPECIAL:
        modifiers, build = _SPECIAL[instruction.name]
        _check(instruction, modifiers)
        return build(instruction)
    if instruction.name not in RULES:
        return None
    rule = RULES[instruction.name]
    _check(instruction, rule.modifiers)
    sources, result, function = rule.build(instruction)
    destination, *operands = instruction.operands
    if len(operands) != len(sources):
        raise NotImplementedError(instruction.text)
    readers = [reader(o, t) for o, t in zip(operands, sources, strict=True)]
    return _applied(_finished(function, instruction), readers, writer(destination, result))


def _check(instruction: Instruction, known: frozenset[str]) -> None:
    if not {m for m in instruction.modifiers if m not in DTYPES} <= known:
        raise NotImplementedError(instruction.text)


def _applied(function: Callable[..., Any], readers: list[Reader], write: Callable[..., None]) -> Execute:
    """Special cases for one and two operands: this is the emulator's innermost code."""
    if len(readers) == 1:
        (a,) = readers
        return lambda run, group: write(run, group, function(a(run, group)))
    if len(readers) == 2:
        a, b = readers
        return lambda run, group: write(run, group, function(a(run, group), b(run, group)))
    return lambda run, group: write(run, group, function(*[r(run, group) for r in readers]))


def _finished(function: Callable[..., Any], instruction: Instruction) -> Callable[..., Any]:
    """Adds the effects of ``.ftz`` and ``.sat`` to a function."""
    if instruction.name == "cvt" or not instruction.types:
        return function
    sat = "sat" in instruction.modifiers
    if sat and DTYPES[instruction.type].kind in "iu":
        raise NotImplementedError(instruction.text)
    if "ftz" not in instruction.modifiers:
        return (lambda *v: numbers.saturate(function(*v))) if sat else function

    def flushed(*values: Any) -> Any:
        result = function(*[numbers.flush(v) if v.dtype == np.float32 else v for v in values])
        if result.dtype == np.float32:
            result = numbers.flush(result)
        return numbers.saturate(result) if sat else result

    return flushed


def _is_float(type_: str) -> bool:
    return DTYPES[type_].kind not in "iub"


def _uniform(count: int, function: Callable[..., Any]) -> Build:
    """All operands and the result have the type of the instruction."""
    return lambda i: ([i.type] * count, i.type, function)


def _float_only(count: int, function: Callable[..., Any]) -> Build:
    def build(i: Instruction) -> Signature:
        if i.type not in ("f32", "f64"):
            raise NotImplementedError(i.text)
        return [i.type] * count, i.type, function

    return build


def _mul(i: Instruction) -> Signature:
    t = i.type
    if "wide" in i.modifiers:
        return [t, t], _wider(t), numbers.wide_product
    if "hi" in i.modifiers:
        return [t, t], t, numbers.high_product
    return [t, t], t, np.multiply


def _mad(i: Instruction) -> Signature:
    t = i.type
    if _is_float(t):
        return _float_only(3, numbers.fma)(i)
    if "wide" in i.modifiers:
        return [t, t, _wider(t)], _wider(t), lambda a, b, c: numbers.wide_product(a, b) + c
    if "hi" in i.modifiers:
        return [t] * 3, t, lambda a, b, c: numbers.high_product(a, b) + c
    return [t] * 3, t, lambda a, b, c: a * b + c


def _wider(type_: str) -> str:
    return f"{type_[0]}{2 * int(type_[1:])}"


def _div(i: Instruction) -> Signature:
    if not _is_float(i.type):
        return [i.type] * 2, i.type, numbers.quotient
    _needs(i, "rn")
    return _float_only(2, np.divide)(i)


def _needs(i: Instruction, modifier: str) -> None:
    if modifier not in i.modifiers:
        raise NotImplementedError(i.text)


def _rounded(count: int, function: Callable[..., Any]) -> Build:
    """Requires ``.rn``; the approximate variants have no exactly defined result."""

    def build(i: Instruction) -> Signature:
        _needs(i, "rn")
        return _float_only(count, function)(i)

    return build


def _extreme(integer: Any, plain: Any, nan: Any) -> Build:
    def build(i: Instruction) -> Signature:
        if not _is_float(i.type):
            return [i.type] * 2, i.type, integer
        return [i.type] * 2, i.type, nan if "NaN" in i.modifiers else plain

    return build


def _shift(function: Callable[..., Any]) -> Build:
    return lambda i: ([i.type, "u32"], i.type, function)


def _funnel(i: Instruction) -> Signature:
    left, wrap = "l" in i.modifiers, "wrap" in i.modifiers
    return ["u32"] * 3, "u32", lambda a, b, c: numbers.funnel(a, b, c, left, wrap)


def _counted(function: Callable[..., Any]) -> Build:
    return lambda i: ([i.type], "u32", function)


def _logic3(i: Instruction) -> Signature:
    *_, table = i.operands
    if not isinstance(table, Immediate):
        raise NotImplementedError(i.text)
    bits = int(table.value)
    return ["b32"] * 4, "b32", lambda a, b, c, _: numbers.logic3(a, b, c, bits)


def _slct(i: Instruction) -> Signature:
    t, by = i.types
    return [t, t, by], t, lambda a, b, c: np.where(c >= 0, a, b)


def _testp(i: Instruction) -> Signature:
    tiny = np.finfo(DTYPES[i.type]).tiny
    tests = {
        "finite": np.isfinite,
        "infinite": np.isinf,
        "number": lambda v: ~np.isnan(v),
        "notanumber": np.isnan,
        "normal": lambda v: np.isfinite(v) & (np.abs(v) >= tiny),
        "subnormal": lambda v: (v != 0) & (np.abs(v) < tiny),
    }
    return [i.type], "pred", tests[i.modifiers[0]]


def _cvt(i: Instruction) -> Signature:
    modifiers = frozenset(i.modifiers)
    packed = next((m for m in i.modifiers if m in ("f16x2", "bf16x2")), None)
    if packed is None:
        to, source = i.types
        return [source], to, conversion(to, source, modifiers)
    one = conversion(packed.removesuffix("x2"), i.type, modifiers)

    def both(high: Any, low: Any) -> Any:
        return one(high).view(np.uint16).astype(np.uint32) << np.uint32(16) | one(low).view(np.uint16)

    return [i.type] * 2, "b32", both


def _set(i: Instruction) -> Signature:
    to, source = i.types
    compare = _comparison(i, source)
    yes, no = (np.float32(1), np.float32(0)) if to == "f32" else (~DTYPES[to].type(0), DTYPES[to].type(0))
    return [source] * 2, to, lambda a, b: np.where(compare(a, b), yes, no)


def _comparison(i: Instruction, type_: str) -> Callable[[Any, Any], Any]:
    table = numbers.FLOAT_COMPARISONS if _is_float(type_) else numbers.INTEGER_COMPARISONS
    if i.modifiers[0] not in table:
        raise NotImplementedError(i.text)
    return table[i.modifiers[0]]


_COMBINE: dict[str, Callable[[Any, Any], Any]] = {"and": np.logical_and, "or": np.logical_or, "xor": np.logical_xor}


def _setp(i: Instruction) -> Execute:
    """``setp.cmp{.bool}.type p{|q}, a, b{, c}``: p is the comparison combined with c, q its negation combined with c."""
    t = i.type
    target, left, right, *third = i.operands
    function = _finished(_comparison(i, t), i)
    a, b = reader(left, t), reader(right, t)
    combine = next((f for m, f in _COMBINE.items() if m in i.modifiers), None)
    if (combine is None) != (not third):
        raise NotImplementedError(i.text)
    c = reader(third[0], "pred") if third else None
    both = isinstance(target, Pair)
    first = writer(target.first if both else target, "pred")
    second = writer(target.second, "pred") if both else None

    def execute(run: Run, group: Group) -> None:
        result = function(a(run, group), b(run, group))
        opposite = ~result if second else None
        if c is not None and combine is not None:
            other = c(run, group)
            result = combine(result, other)
            opposite = combine(opposite, other) if second else None
        first(run, group, result)
        if second:
            second(run, group, opposite)

    return execute


def _selp(i: Instruction) -> Execute:
    destination, left, right, by = i.operands
    a, b, p, write = reader(left, i.type), reader(right, i.type), reader(by, "pred"), writer(destination, i.type)
    return lambda run, group: write(run, group, np.where(p(run, group), a(run, group), b(run, group)))


def _mov(i: Instruction) -> Execute:
    destination, source = i.operands
    if isinstance(source, Negated):
        raise NotImplementedError(i.text)
    read, write = reader(source, i.type), writer(destination, i.type)
    return lambda run, group: write(run, group, read(run, group))


def _cvta(i: Instruction) -> Execute:
    """Generic addresses of shared and local memory are offset by a window; those of global memory are unchanged."""
    space = next(m for m in i.modifiers if m in ("global", "shared", "local", "const", "param"))
    if space == "param":
        raise NotImplementedError(i.text)
    destination, source = i.operands
    read, write = reader(source, i.type), writer(destination, i.type)
    back = "to" in i.modifiers

    def execute(run: Run, group: Group) -> None:
        window = np.uint64(run.windows.get(space, 0))
        address = read(run, group)
        write(run, group, address - window if back else address + window)

    return execute


_FLOAT = frozenset(("rn", "ftz", "sat"))
_NOTHING: frozenset[str] = frozenset()
_COMPARE = frozenset({*numbers.FLOAT_COMPARISONS, *numbers.INTEGER_COMPARISONS, "ftz"})

RULES: dict[str, Rule] = {
    "add": Rule(_FLOAT, _uniform(2, np.add)),
    "sub": Rule(_FLOAT, _uniform(2, np.subtract)),
    "mul": Rule(_FLOAT | {"lo", "hi", "wide"}, _mul),
    "mad": Rule(_FLOAT | {"lo", "hi", "wide"}, _mad),
    "fma": Rule(_FLOAT, _float_only(3, numbers.fma)),
    "div": Rule(frozenset(("rn", "ftz")), _div),
    "rem": Rule(_NOTHING, _uniform(2, numbers.remainder)),
    "sqrt": Rule(frozenset(("rn", "ftz")), _rounded(1, np.sqrt)),
    "rcp": Rule(frozenset(("rn", "ftz")), _rounded(1, lambda a: a.dtype.type(1) / a)),
    "neg": Rule(frozenset(("ftz",)), _uniform(1, np.negative)),
    "abs": Rule(frozenset(("ftz",)), _uniform(1, np.abs)),
    "copysign": Rule(_NOTHING, _float_only(2, lambda a, b: np.copysign(b, a))),
    "testp": Rule(frozenset(["finite", "infinite", "number", "notanumber", "normal", "subnormal"]), _testp),
    "min": Rule(frozenset(("ftz", "NaN")), _extreme(np.minimum, numbers.minimum, numbers.minimum_nan)),
    "max": Rule(frozenset(("ftz", "NaN")), _extreme(np.maximum, numbers.maximum, numbers.maximum_nan)),
    "and": Rule(_NOTHING, _uniform(2, np.bitwise_and)),
    "or": Rule(_NOTHING, _uniform(2, np.bitwise_or)),
    "xor": Rule(_NOTHING, _uniform(2, np.bitwise_xor)),
    "not": Rule(_NOTHING, _uniform(1, np.invert)),
    "cnot": Rule(_NOTHING, _uniform(1, lambda a: (a == 0).astype(a.dtype))),
    "shl": Rule(_NOTHING, _shift(numbers.shift_left)),
    "shr": Rule(_NOTHING, _shift(numbers.shift_right)),
    "shf": Rule(frozenset(("l", "r", "wrap", "clamp")), _funnel),
    "prmt": Rule(_NOTHING, _uniform(3, numbers.permuted_bytes)),
    "bfe": Rule(_NOTHING, lambda i: ([i.type, "u32", "u32"], i.type, numbers.extract_bits)),
    "bfi": Rule(_NOTHING, lambda i: ([i.type, i.type, "u32", "u32"], i.type, numbers.insert_bits)),
    "bfind": Rule(_NOTHING, _counted(numbers.highest_bit)),
    "popc": Rule(_NOTHING, _counted(numbers.population)),
    "clz": Rule(_NOTHING, _counted(numbers.leading_zeros)),
    "brev": Rule(_NOTHING, _uniform(1, numbers.reversed_bits)),
    "lop3": Rule(_NOTHING, _logic3),
    "slct": Rule(frozenset(("ftz",)), _slct),
    "set": Rule(_COMPARE, _set),
    "cvt": Rule(frozenset(["rn", "rz", "rm", "rp", "rni", "rzi", "rmi", "rpi", "ftz", "sat", "f16x2", "bf16x2"]), _cvt),
}

_SPECIAL: dict[str, tuple[frozenset[str], Callable[[Instruction], Execute]]] = {
    "setp": (_COMPARE | frozenset(_COMBINE), _setp),
    "selp": (_NOTHING, _selp),
    "mov": (_NOTHING, _mov),
    "cvta": (frozenset(["to", "global", "shared", "local", "const", "param"]), _cvta),
}
