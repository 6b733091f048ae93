"""Compiles kernels twice, by the project's Numba target and by plain ``numba.njit`` with the dialect; compares their results.

    python tests/second_compiler.py samples float32 0/4 --first
    python tests/second_compiler.py programs 1000 1010
    python tests/second_compiler.py gradients 3000 3005
    python tests/second_compiler.py workloads 0/4

Runs as a separate process, because Numba reads its settings, which affect the order of sums, when it is imported. Prints
one line of JSON: the number of kernels, and the differences. Results must be bitwise equal; NaN equals NaN. With Numba
0.65, whose LLVM unrolls a few sums differently, programs with sums need only be close.
"""

import argparse
import json
import os
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np

from tracer.runtime.compiler import machine

os.environ["NUMBA_OPT"] = "max"  # vectorise in the first run of the optimiser, whose input is that of the project's only run
os.environ["NUMBA_CPU_NAME"] = machine.selected().name
os.environ["NUMBA_CPU_FEATURES"] = machine.selected().features
sys.path.insert(0, str(Path(__file__).parent.parent))

from checks import cast_args, graph_of
from programs import RandomGraph, arguments
from samples import cases

import tracer
from benchmarks.workloads import WORKLOADS, Library
from tracer.ir import pipeline
from tracer.ir.autodiff import vjp
from tracer.runtime import dialect
from tracer.runtime.compiler import compile as compiler
from tracer.runtime.programs.layout import lay_out
from tracer.runtime.programs.program import Program

SUMS_DIFFER = version("numba").startswith("0.65.")


class SecondCompiler:
    """Runs plans with the kernels of both compilers."""

    def __init__(self):
        self.kernels = {}  # by text; they keep the code alive
        self.differences = []

    def addresses(self, sources, watched=iter):
        """Replaces ``compile.load``."""
        return [_address(self._kernel(s)) for s in sources]

    def _kernel(self, source):
        if source not in self.kernels:
            self.kernels[source] = dialect.compiled(source)
        return self.kernels[source]

    def compare(self, plan, arrays, what):
        """Runs a plan with each compiler's kernels; records differences."""
        if not any(kind.source for kind in plan.kinds):
            return
        expected = _outcome(plan, arrays)
        load, compiler.load = compiler.load, self.addresses
        try:
            actual = _outcome(plan, arrays)
        finally:
            compiler.load = load
        sums = any("accumulate" in kind.source for kind in plan.kinds)
        if not (_same(expected, actual) or (SUMS_DIFFER and sums and _close(expected, actual))):
            self.differences.append(f"{what}: {[k.name for k in plan.kinds]}")


def _address(kernel):
    """The address of the C function that Numba creates for a compiled function."""
    (compiled,) = kernel.overloads.values()
    return compiled.library.get_pointer_to_function(compiled.fndesc.llvm_cfunc_wrapper_name)


def _outcome(plan, arrays):
    """The outputs, or the exception of a failed check in a kernel."""
    try:
        return Program(plan)(*arrays)
    except (IndexError, RuntimeError, ZeroDivisionError) as e:
        return repr(e)


def _same(a, b):
    if isinstance(a, str) or isinstance(b, str):
        return a == b
    return all(x.dtype == y.dtype and np.array_equal(x, y, equal_nan=x.dtype.kind in "fc") for x, y in zip(a, b, strict=True))


def _close(a, b):
    """Equal up to rounding of sums, some of which nearly cancel."""
    return not isinstance(a, str) and all(
        np.allclose(x, y, rtol=1e-4, atol=1e-4 * np.nanmax(np.abs(x), initial=1), equal_nan=True)
        for x, y in zip(a, b, strict=True)
    )


def _plan(graph):
    return lay_out(pipeline.run(graph, pipeline.COMPILE))


def samples(second, dtype, share, first, primitive=None):
    """A share of the table of samples, or those of one primitive; ``first``: only the first sample of each primitive."""
    seen = set()
    chosen = [(n, p, s) for n, p, s in cases() if not (first and (p.name in seen or seen.add(p.name)))]
    chosen = [case for case in chosen if primitive in (None, case[1].name)]
    for name, p, sample in _share(chosen, share):
        args = cast_args(sample.args, dtype)
        second.compare(_plan(graph_of(p, args, sample.attrs)), args, name)


def programs(second, start, stop):
    for seed in range(start, stop):
        graph = RandomGraph(seed, 4 + seed % 20).finish()
        second.compare(_plan(graph), arguments(graph, seed), f"program {seed}")


def gradients(second, start, stop):
    for seed in range(start, stop):
        graph = vjp(RandomGraph(seed, 8, smooth=True).finish())
        second.compare(_plan(graph), arguments(graph, seed), f"gradient of program {seed}")


def workloads(second, share, first):
    """The benchmarks' programs, at their sizes, on numbers in the domains of logarithms and roots.

    Steps are traced whole, and then with their backward passes outside. ``first``: only whole, and without the neural ODE,
    which has many hundred operations.
    """
    libraries = [Library(tracer, whole=tracer.trace), Library(tracer, part=tracer.trace)]
    chosen = [w for w in WORKLOADS if not (first and w.name.startswith("neural ODE"))]
    for workload in _share(chosen, share):
        rng = np.random.default_rng(0)
        for k, plan in enumerate(_plans(workload, libraries[:1] if first else libraries)):
            arrays = [_numbers(rng, t) for t in plan.inputs]
            second.compare(plan, arrays, f"{workload.name}, program {k}")


def _plans(workload, libraries):
    """The plans that are linked while a workload runs."""
    found = []
    link = Program.__init__

    def noted(self, plan):
        found.append(plan)
        link(self, plan)

    Program.__init__ = noted
    try:
        for library in libraries:
            step = workload.build(library)
            step()
            step()
    finally:
        Program.__init__ = link
    return found


def _numbers(rng, t):
    numbers = rng.uniform(0.05, 1.0, t.shape) if t.dtype.is_floating_point else rng.integers(0, 2, t.shape)
    return np.asarray(numbers).astype(t.dtype.numpy)


def _share(items, share):
    k, n = map(int, share.split("/"))
    return list(items)[k::n]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("part", choices=["samples", "programs", "gradients", "workloads"])
    parser.add_argument("arguments", nargs="+")
    parser.add_argument("--first", action="store_true", help="a part that is quick")
    parser.add_argument("--primitive", help="of the samples only those of this one")
    parser.add_argument("--swap", help="NAME=OTHER: the dialect takes one intrinsic for another, to see that it is noticed")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.swap:
        name, other = options.swap.split("=")
        dialect.NAMES[name] = dialect.NAMES[other]
    second = SecondCompiler()
    if options.part == "samples":
        samples(second, *options.arguments, options.first, options.primitive)
    elif options.part == "workloads":
        workloads(second, *options.arguments, options.first)
    else:
        {"programs": programs, "gradients": gradients}[options.part](second, *map(int, options.arguments))
    print(json.dumps({"kernels": len(second.kernels), "differences": second.differences}))


if __name__ == "__main__":
    main()
