"""Elementary functions that branch or use tables, as separate functions on scalars and on vectors.

LLVM vectorises a loop that calls such a function if it knows its vector variant ("vector-function-abi-variant"). So a
rarely taken branch costs one test per vector. Functions with table lookups, which LLVM does not vectorise, are written for
vectors here, and inlined into the loop.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

from llvmlite import ir

from .arithmetic import LLVMArithmetic, Number
from .machine import selected

_PREFIX = "elementary_"
_MASKED = "masked"
_CALL = re.compile(rf'(call (?:float|double) @"?({_PREFIX}\w+?)"?\(.*\))$', re.MULTILINE)


def _lanes(bits: int) -> tuple[int, ...]:
    """For numbers of this width: the lanes of the widest vectors, and half as many, beside numbers twice as wide."""
    width = selected().vector_bits
    return (width // bits, width // 64) if bits == 32 else (width // 64,)


def call(builder: ir.IRBuilder, name: str, function: Callable[..., Number], operands: list[ir.Value], inline: bool) -> ir.Value:
    """A call on scalars, which a vectorised loop turns into one on vectors; ``inline``: the vector variant is inlined."""
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


def mask(branch: ir.Instruction) -> None:
    """Marks a loop, by its last branch: a vector with masks computes its last iterations, if vectors are wide."""
    if selected().vector_bits == 512:
        branch.set_metadata(_MASKED, branch.module.add_metadata([ir.IntType(1)(1)]))


def _with_masks(text: str) -> str:
    """The text with LLVM's form of marks: nodes that refer to themselves, which llvmlite cannot write."""
    numbers = itertools.count(1_000_000)
    nodes: list[str] = []

    def node(_: re.Match[str]) -> str:
        n = next(numbers)
        nodes.append(f'!{n} = distinct !{{!{n}, !{{!"llvm.loop.vectorize.predicate.enable", i1 true}}}}\n')
        return f"!llvm.loop !{n}"

    text = re.sub(rf"!{_MASKED} !\d+", node, text)
    return text + "".join(nodes)


def annotated(module: ir.Module) -> str:
    """The module's text, with the vector variants of its calls, and the marks of loops."""
    text = _with_masks(str(module))
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
