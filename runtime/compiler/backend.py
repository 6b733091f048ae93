"""LLVM's part of compilation: instructions as text in, code out. Run as a script, this file is a worker process (``workers``).

It needs llvmlite only, and imports nothing of this package: a worker starts in the time of that import.
"""

from __future__ import annotations

import marshal
import select
import sys
from typing import Any

import llvmlite.binding as llvm

CPU = tuple[str, str, str]  # name, features, target triple
GREETING = "ready"
_PATIENCE = 60  # seconds without work, after which a worker ends


def target_machine(cpu: CPU, jit: bool = False) -> llvm.TargetMachine:
    """LLVM's code generator for a CPU."""
    name, features, triple = cpu
    if triple.split("-")[0] == llvm.get_process_triple().split("-")[0]:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
    else:
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
    return llvm.Target.from_triple(triple).create_target_machine(
        cpu=name,
        features=features,
        opt=3,
        # 64-bit absolute addresses: in a large process, code and its constants may be too far apart for 32 bits.
        reloc="static",
        codemodel="large",
        jit=jit,
    )


def produce(text: str, cpu: CPU, form: str) -> tuple[bytes, list[str]]:
    """Optimised code as an ``object`` file, assembly (``asm``), LLVM's instructions (``ir``), or both of these (``ir+asm``),
    with a null character between them; and the external functions that it needs.

    Raises RuntimeError for text that is not LLVM IR.
    """
    machine = target_machine(cpu)
    module = llvm.parse_assembly(text)
    _optimise(module, machine)
    names = [f.name for f in module.functions if f.is_declaration and not f.name.startswith("llvm.")]
    if form == "object":
        return machine.emit_object(module), names
    made = {"ir": lambda: str(module), "asm": lambda: machine.emit_assembly(module)}
    return "\0".join(made[text]() for text in form.split("+")).encode(), names


def _optimise(module: llvm.ModuleRef, machine: llvm.TargetMachine) -> None:
    """LLVM's passes at their highest level, once."""
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = options.slp_vectorization = options.loop_unrolling = True
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    if not any(b"alwaysinline" in a for f in module.functions for a in f.attributes):
        return
    passes = llvm.create_new_module_pass_manager()  # functions that vectorised loops call (``vector``)
    passes.add_always_inliner_pass()
    passes.add_instruction_combine_pass()
    passes.run(module, builder)


def _serve() -> None:
    """Answers requests (text, CPU, form) until the input ends, or for too long there is none."""
    # Kernels have many pointers with the same index, for which this pass takes 60% of code generation, and gains nothing. The
    # option applies to all of a process, which here has no other code.
    llvm.set_option("worker", "-disable-lsr")
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    marshal.dump(GREETING, answers)
    answers.flush()
    while sys.platform == "win32" or select.select([requests], [], [], _PATIENCE)[0]:  # Windows cannot wait for pipes
        try:
            request: Any = marshal.load(requests)
        except EOFError:
            return
        try:
            answer: Any = produce(*request)
        except Exception as e:
            answer = str(e) or type(e).__name__
        marshal.dump(answer, answers)
        answers.flush()


if __name__ == "__main__":
    _serve()
