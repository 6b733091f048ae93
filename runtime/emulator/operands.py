"""Compiles operands to functions that read or write registers for a group of threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .grid import Group
from .parse import DTYPES, Address, Immediate, Negated, Operand, Register, Sink, Special, Symbol, Vector, constant

if TYPE_CHECKING:
    from .run import Run

Values = Any
Reader = Callable[["Run", Group], Values]
Writer = Callable[["Run", Group, Values], None]


def reader(operand: Operand, type_: str) -> Reader:
    """Compiles a source operand: reads an array with one value per thread, or one value for all threads."""
    match operand:
        case Register():
            return _register_reader(operand, type_)
        case Immediate(value):
            literal = constant(value, type_)
            return lambda run, group: literal
        case Special(name):
            return _special_reader(name, DTYPES[type_])
        case Symbol(name, offset):
            dtype = DTYPES[type_].type
            return lambda run, group: dtype(run.symbol(name) + offset)
        case Negated(inner):
            plain = reader(inner, type_)
            return lambda run, group: ~plain(run, group)
        case Vector(parts):
            return _vector_reader(parts, type_)
    raise NotImplementedError(f"{operand} as a source")


def _register_reader(register: Register, type_: str) -> Reader:
    slot, dtype = register.slot, DTYPES[type_]
    if (register.type == "pred") != (type_ == "pred") or register.size < dtype.itemsize:
        raise ValueError(f"{register.name} is no {type_}")
    if register.size == dtype.itemsize:
        return lambda run, group: run.rows[type_][slot][group.at]
    own, unsigned = f"b{8 * register.size}", f"u{dtype.itemsize}"
    return lambda run, group: run.rows[own][slot][group.at].astype(unsigned).view(dtype)


def _special_reader(name: str, dtype: np.dtype) -> Reader:
    def read(run: Run, group: Group) -> Values:
        if name not in run.grid.special:
            raise NotImplementedError(f"the special register {name}")
        return run.grid.special[name][group.at].astype(dtype)

    return read


def _vector_reader(parts: tuple[Operand, ...], type_: str) -> Reader:
    """Packs a vector operand into one number, lowest part first."""
    dtype = DTYPES[type_]
    bits = 8 * dtype.itemsize // len(parts)
    readers = [reader(p, f"b{bits}") for p in parts]
    unsigned = np.dtype(f"u{dtype.itemsize}")

    def read(run: Run, group: Group) -> Values:
        result = unsigned.type(0)
        for k, part in enumerate(readers):
            result = result | part(run, group).astype(unsigned) << unsigned.type(k * bits)
        return result.view(dtype)

    return read


def writer(operand: Operand, type_: str) -> Writer:
    """Compiles a destination operand. Registers wider than the type get sign- or zero-extended values."""
    match operand:
        case Register():
            return _register_writer(operand, type_)
        case Sink():
            return lambda run, group, values: None
        case Vector(parts):
            return _vector_writer(parts, type_)
    raise NotImplementedError(f"{operand} as a destination")


def _register_writer(register: Register, type_: str) -> Writer:
    slot, dtype = register.slot, DTYPES[type_]
    if (register.type == "pred") != (type_ == "pred") or register.size < dtype.itemsize:
        raise ValueError(f"{register.name} is no {type_}")
    if register.size == dtype.itemsize:

        def write(run: Run, group: Group, values: Values) -> None:
            run.rows[type_][slot][group.at] = values

        return write
    own = f"{'s' if dtype.kind == 'i' else 'b'}{8 * register.size}"
    bits = np.dtype(f"u{dtype.itemsize}") if dtype.kind not in "iu" else dtype

    def extend(run: Run, group: Group, values: Values) -> None:
        run.rows[own][slot][group.at] = values.view(bits)

    return extend


def _vector_writer(parts: tuple[Operand, ...], type_: str) -> Writer:
    """Unpacks a number into a vector operand, lowest part first."""
    dtype = DTYPES[type_]
    bits = 8 * dtype.itemsize // len(parts)
    writers = [writer(p, f"b{bits}") for p in parts]
    unsigned, part = np.dtype(f"u{dtype.itemsize}"), np.dtype(f"u{bits // 8}")

    def write(run: Run, group: Group, values: Values) -> None:
        whole = values.view(unsigned)
        pieces = [(whole >> unsigned.type(k * bits)).astype(part) for k in range(len(writers))]
        for put, piece in zip(writers, pieces, strict=True):
            put(run, group, piece)

    return write


def addresses(operand: Operand) -> Reader:
    """Compiles an address operand: reads 64-bit addresses, one per thread."""
    if not isinstance(operand, Address):
        raise ValueError(f"{operand} is no address")
    wide = isinstance(operand.base, Register) and operand.base.size == 4
    base = reader(operand.base, "u32" if wide else "u64")
    offset = np.uint64(operand.offset & (2**64 - 1))

    def read(run: Run, group: Group) -> Values:
        where = base(run, group)
        if wide:
            where = where.astype(np.uint64)
        if offset:
            where = where + offset
        return where if where.ndim else np.full(group.count, where)

    return read


def spread(values: Values, group: Group) -> np.ndarray:
    """Expands a scalar to one value per thread."""
    return values if values.ndim else np.full(group.count, values)
