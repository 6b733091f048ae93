"""Elementary functions that branch or have tables, as functions of their own: on one number, and on vectors.

LLVM makes vector code of a loop that calls such a function if it is told which function does the same on vectors
("vector-function-abi-variant"). So a branch that is hardly ever taken costs a test for each vector. What looks
numbers up in a table, of which LLVM makes no vector code, is written for vectors here, and becomes part of the loop.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from llvmlite import ir

from .arithmetic import LLVMArithmetic, Number
from .machine import selected

_PREFIX = "elementary_"
_CALL = re.compile(rf'(call (?:float|double) @"?({_PREFIX}\w+?)"?\(.*\))$', re.MULTILINE)


def _lanes(bits: int) -> tuple[int, ...]:
    """Of numbers with so many bits: those of the widest vectors, and of half of them, beside numbers twice as long."""
    width = selected().vector_bits
    return (width // bits, width // 64) if bits == 32 else (width // 64,)


def call(builder: ir.IRBuilder, name: str, function: Callable[..., Number], operands: list[ir.Value], inline: bool) -> ir.Value:
    """A call of the function on numbers, which a loop may turn into one on vectors; ``inline``: which becomes part of it."""
    module, number = builder.module, operands[0].type
    bits = 32 if isinstance(number, ir.FloatType) else 64
    name = f"{_PREFIX}{name}_f{bits}"
    if name not in module.globals:
        _define(module, name, number, len(operands), function, inline=False)
        for lanes in _lanes(bits):
            _define(module, f"{name}_x{lanes}", ir.VectorType(number, lanes), len(operands), function, inline)
    return builder.call(module.globals[name], operands)


def _define(module: ir.Module, name: str, type_: Any, count: int, function: Callable[..., Number], inline: bool) -> None:
    f = ir.Function(module, ir.FunctionType(type_, [type_] * count), name)
    f.linkage = "internal"
    f.attributes.add("alwaysinline" if inline else "noinline")
    builder = ir.IRBuilder(f.append_basic_block("entry"))
    m = LLVMArithmetic(builder, type_)
    builder.ret(function(m, *[Number(m, x) for x in f.args]).value)


def annotated(module: ir.Module) -> str:
    """The module's text, in which calls say what they may be turned into."""
    text = str(module)
    vectors: dict[str, list[str]] = {}
    for name in module.globals:
        scalar, x, lanes = name.rpartition("_x")
        if name.startswith(_PREFIX) and x and lanes.isdigit():
            count = len(module.globals[name].args)
            vectors.setdefault(scalar, []).append(f"_ZGV_LLVM_N{lanes}{'v' * count}_{scalar}({name})")
    if not vectors:
        return text
    groups = {name: f"#{100 + k}" for k, name in enumerate(vectors)}
    text = _CALL.sub(lambda call: f"{call[1]} {groups[call[2]]}", text)
    kept = [name for variants in vectors.values() for name in (re.search(r"\((.*)\)", v)[1] for v in variants)]  # type: ignore[index]
    pointers = ", ".join(f'ptr @"{name}"' for name in kept)
    text += f'@llvm.compiler.used = appending global [{len(kept)} x ptr] [{pointers}], section "llvm.metadata"\n'
    for name, variants in vectors.items():
        known = f'"vector-function-abi-variant"="{",".join(variants)}"'
        text += f"attributes {groups[name]} = {{ nounwind willreturn memory(none) {known} }}\n"
    return text
