"""Texts of PTX kernels, and launching them in the emulator."""

import numpy as np
import pytest

from tracer.runtime import emulator as ptx

HEADER = ".version 8.5\n.target sm_80\n.address_size 64\n"
REGISTERS = """
    .reg .pred %p<10>;
    .reg .b16 %rs<10>;
    .reg .b32 %r<30>;
    .reg .b64 %rd<30>;
    .reg .f32 %f<30>;
    .reg .f64 %fd<10>;
"""


def program(body, pointers=1, integers=0, module="", name="kernel"):
    """A kernel with pointers in %rd1, %rd2... and 64-bit integers in %rd11...

    The thread's number is in %r1, four times that in %rd20, and the thread's words of the arrays are at %rd21, %rd22...
    """
    parameters = [f"p{k}" for k in range(pointers)] + [f"n{k}" for k in range(integers)]
    declared = ", ".join(f".param .u64 {p}" for p in parameters)
    loads = [f"ld.param.u64 %rd{k + 1}, [p{k}];" for k in range(pointers)]
    loads += [f"ld.param.u64 %rd{k + 11}, [n{k}];" for k in range(integers)]
    start = "mov.u32 %r1, %tid.x; mul.wide.u32 %rd20, %r1, 4;"
    start += " ".join(f"add.s64 %rd{k + 21}, %rd{k + 1}, %rd20;" for k in range(pointers))
    return f"{HEADER}{module}\n.visible .entry {name}({declared})\n{{{REGISTERS}{' '.join(loads)}\n{start}\n{body}\nret;\n}}\n"


def launched(body, arguments, blocks=1, threads=32, module="", **options):
    pointers = sum(isinstance(a, np.ndarray | ptx.Array) for a in arguments)
    text = program(body, pointers, len(arguments) - pointers, module)
    return ptx.launch(ptx.Kernel(text), arguments, blocks, threads, **options)


def fault(kind, body, arguments, blocks=1, threads=32, module="", **options):
    with pytest.raises(ptx.Fault) as caught:
        launched(body, arguments, blocks, threads, module, **options)
    assert caught.value.kind == kind, str(caught.value)
    return caught.value


def words(n, dtype=np.float32):
    return np.arange(n).astype(dtype)
