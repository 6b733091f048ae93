"""Programs for another CPU, run by an emulator: kernels and products as object code, linked with a small C program.

The C program reads an image of a program's memory, runs its steps, and writes the memory to a file. The image contains all
of a plan (``tracer.runtime.programs.plan``), with addresses relative to the start of the memory.
"""

import re
import shutil
import subprocess

import numpy as np

from tracer.ir.types import dtype_named
from tracer.runtime.compiler import compile as compiler
from tracer.runtime.compiler import machine
from tracer.runtime.programs.plan import STATUS
from tracer.runtime.support import contraction, direct, gemm

COMPILER = shutil.which("aarch64-linux-gnu-gcc")
EMULATOR = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")

_MAIN = r"""
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

typedef void kernel(int64_t *, int64_t, int64_t);
DECLARATIONS
static kernel *kernels[] = {KERNELS 0};
static void (*products[])() = {PRODUCTS};

/* head: bytes of memory, words, relocated words, products' words, steps */
int main(int count, char **names) {
    int64_t head[5], at[2], step[3];
    FILE *f = fopen(names[1], "rb");
    fread(head, 8, 5, f);
    char *memory = aligned_alloc(64, head[0]);
    int64_t *words = malloc(8 * head[1] + 8);
    fread(memory, 1, head[0], f);
    fread(words, 8, head[1], f);
    for (int64_t i = 0; i < head[2]; i++) {
        fread(at, 8, 1, f);
        words[at[0]] += (int64_t)memory;
    }
    for (int64_t i = 0; i < head[3]; i++) {
        fread(at, 8, 2, f);
        words[at[0]] = (int64_t)products[at[1]];
    }
    for (int64_t i = 0; i < head[4]; i++) {
        fread(step, 8, 3, f);
        kernels[step[0]](words + step[1], 0, step[2]);
    }
    fclose(f);
    f = fopen(names[2], "wb");
    fwrite(memory, 1, head[0], f);
    return fclose(f);
}
"""
_FUNCTIONS = {"gemm": gemm, "contract": contraction, "direct": direct}
_PRODUCTS = tuple(f"{kind}_{short}" for kind in _FUNCTIONS for short in ("f32", "f64"))


class Machine:
    """An emulated CPU of the given name, with its kernels and executables in a folder."""

    def __init__(self, cpu, folder):
        self.cpu, self.folder = cpu, folder

    def run(self, plans, arguments):
        """The outputs of each plan, given its inputs; one executable has all kernels."""
        sources = list(dict.fromkeys(kind.source for plan in plans for kind in plan.kinds))
        program = self._build(sources)
        return [self._run(program, sources, plan, args) for plan, args in zip(plans, arguments, strict=True)]

    def _build(self, sources):
        with machine.selecting(self.cpu):
            objects = [compiler.object_code(s, f"kernel_{k}") for k, s in enumerate(sources)]
            for name in _PRODUCTS:
                kind, short = name.split("_")
                objects.append(compiler.native_object(_FUNCTIONS[kind]._code(dtype_named(short)), f"product_{short}"))
        files = [self.folder / f"{k}.o" for k in range(len(objects))]
        for file, code in zip(files, objects, strict=True):
            file.write_bytes(code)
        names = [f"kernel_{k}" for k in range(len(sources))]
        products = [f"product_{short}_{kind}" for kind, short in (name.split("_") for name in _PRODUCTS)]
        declared = "".join([*(f"extern kernel {n};\n" for n in names), *(f"extern void {n}();\n" for n in products)])
        text = _MAIN.replace("DECLARATIONS", declared).replace("KERNELS", "".join(f"{n}, " for n in names))
        (self.folder / "main.c").write_text(text.replace("PRODUCTS", ", ".join(products)))
        program = self.folder / "program"
        command = [COMPILER, "-O1", "-w", "-static", "-o", program, self.folder / "main.c", *files, "-lm"]
        subprocess.run(command, check=True)
        return program

    def _run(self, program, sources, plan, arguments):
        assert not plan.updates
        memory, places = _memory(plan, arguments)
        words, relocated, products = _words(plan, places)
        steps = [
            (sources.index(plan.kinds[k].source), start, plan.kinds[k].domain)
            for k, start in zip(plan.steps, plan.starts, strict=True)
        ]
        head = [len(memory), len(words), len(relocated), len(products), len(steps)]
        numbers = [*words, *relocated, *np.ravel(products), *np.ravel(steps)]
        image, result = self.folder / "image", self.folder / "result"
        image.write_bytes(np.array(head, np.int64).tobytes() + memory + np.array(numbers, np.int64).tobytes())
        subprocess.run([EMULATOR, program, image, result], check=True)
        after = result.read_bytes()
        slots = [places["slot", len(plan.inputs) + j] for j in range(len(plan.outputs))]
        return [
            np.frombuffer(after, t.dtype.numpy, t.numel, at).reshape(t.shape) for t, at in zip(plan.outputs, slots, strict=True)
        ]


def _memory(plan, arguments):
    """The initial memory, and the position of each part."""
    memory, places = bytearray(), {}
    arrays = [np.ascontiguousarray(a) for a in arguments]
    parts = [(("slot", i), a.tobytes()) for i, a in enumerate(arrays)]
    parts += [(("slot", len(arrays) + j), bytes(t.nbytes)) for j, t in enumerate(plan.outputs)]
    parts += [("constants", plan.constants), ("arena", bytes(plan.arena)), ("status", bytes(STATUS * len(plan.steps)))]
    for name, content in parts:
        places[name] = len(memory)
        memory += content + bytes(-len(content) % 64)
    return bytes(memory), places


def _words(plan, places):
    """The argument blocks, the positions of addresses among them, and (position, which) for products."""
    words, relocated, products = list(plan.words), [], []
    for base, positions in plan.relocations.items():
        if base in _PRODUCTS:
            products += [(at, _PRODUCTS.index(base)) for at in positions]
            continue
        for at in positions:
            words[at] += places[base]
        relocated += positions
    for at, slot, further in plan.patches:
        words[at] = places["slot", slot] + further
        relocated.append(at)
    return words, relocated, products


def reordered(plan):
    """True if sums are added in an order that depends on the CPU."""
    return any(re.search("accumulate|gemm_|contract_|direct_", kind.source) for kind in plan.kinds)
