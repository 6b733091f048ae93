"""The GPU resources of the workloads' kernels, from their machine code: ``make kernels-cuda``. No GPU is needed.

    python -m benchmarks.kernels_cuda [--only NAME] [--write]

For each kernel, forward and backward: registers per thread and spilled bytes, for each architecture; the widest loads and
stores of global memory, in bytes; milliseconds from text to PTX, and from PTX to the first architecture's machine code.
"""

from __future__ import annotations

import argparse
import fnmatch
import re
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import tracer
from tracer.ir import pipeline
from tracer.ir.graph import Graph
from tracer.runtime.compiler.cubin import ARCHITECTURES, Cubin, cubin
from tracer.runtime.compiler.numba_cuda import ptx
from tracer.runtime.programs.layout import lay_out
from tracer.runtime.programs.plan import StepKind
from tracer.tracing.graph_function import Executable

from .workloads import WORKLOADS, Library, Workload

_ACCESS = re.compile(r"\b(ld|st)\.global(?:\.nc)?(?:\.v(\d))?\.[a-z]+(\d+)")


@dataclass
class Row:
    """A kernel: its workload and its resources."""

    workload: str
    kernel: str
    code: list[Cubin]
    loads: int
    stores: int
    to_ptx: float
    to_code: float

    def cells(self) -> list[str]:
        registers = " / ".join(str(c.registers) for c in self.code)
        spilled = " / ".join(str(c.spilled) for c in self.code)
        accesses = f"{self.loads or '-'} / {self.stores or '-'}"
        return [self.workload, self.kernel, registers, spilled, accesses, f"{self.to_ptx:.0f} + {self.to_code:.0f}"]


def graphs(workload: Workload) -> list[Graph]:
    """The graphs of a workload's programs, traced whole, and with the backward pass outside."""
    found: list[Graph] = []
    init = Executable.__init__

    def noted(self: Executable, graph: Graph) -> None:
        found.append(graph)
        init(self, graph)

    Executable.__init__ = noted  # type: ignore[method-assign]
    try:
        for library in (Library(tracer, whole=tracer.trace), Library(tracer, part=tracer.trace)):
            step = workload.build(library)
            for _ in range(4):
                step()
    finally:
        Executable.__init__ = init  # type: ignore[method-assign]
    return list({graph.structure(): graph for graph in found}.values())


def rows(workload: Workload) -> Iterator[Row]:
    """The distinct kernels of a workload."""
    seen: set[str] = set()
    for graph in graphs(workload):
        plan = lay_out(pipeline.run(graph, pipeline.COMPILE_FOR_GRIDS, thorough=False), "cuda")
        for kind in plan.kinds:
            if kind.source and kind.source not in seen:
                seen.add(kind.source)
                yield row(workload.name, kind)


def row(workload: str, kind: StepKind) -> Row:
    begin = time.process_time()
    text = ptx(kind.source, kind.launch[1])
    middle = time.process_time()
    first = cubin(text, ARCHITECTURES[0])
    end = time.process_time()
    widest = {"ld": 0, "st": 0}
    for access, lanes, bits in _ACCESS.findall(text):
        widest[access] = max(widest[access], int(lanes or 1) * int(bits) // 8)
    code = [first, *(cubin(text, a) for a in ARCHITECTURES[1:])]
    return Row(workload, kind.name, code, widest["ld"], widest["st"], (middle - begin) * 1e3, (end - middle) * 1e3)


def table(found: list[Row]) -> str:
    """The rows as a Markdown table, with totals."""
    architectures = ", ".join(ARCHITECTURES)
    head = ["workload", "kernel", "registers", "bytes spilled", "widest load / store, bytes", "compile ms: PTX + code"]
    lines = [
        "# Kernels for GPUs",
        "",
        "Made by `make kernels-cuda`, without a GPU: the resources of the workloads' kernels, from their machine code",
        f"for {architectures} (numba-cuda {version('numba-cuda')}, nvJitLink {version('nvidia-nvjitlink')}).",
        "Compile times are CPU milliseconds, in one process.",
        "",
        f"{len(found)} kernels; maximum registers {max(c.registers for r in found for c in r.code)}; "
        f"spilling {sum(any(c.spilled for c in r.code) for r in found)}; "
        f"with 16-byte accesses {sum(max(r.loads, r.stores) == 16 for r in found)}; "
        f"compiled in {sum(r.to_ptx + r.to_code for r in found) / 1e3:.1f} s.",
        "",
        f"| {' | '.join(head)} |",
        f"|{' --- |' * len(head)}",
        *(f"| {' | '.join(r.cells())} |" for r in found),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="*", help="workloads whose name matches")
    parser.add_argument("--write", action="store_true", help="to benchmarks/KERNELS-CUDA.md")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    found = [r for w in WORKLOADS if fnmatch.fnmatch(w.name, options.only) for r in rows(w)]
    text = table(found)
    print(text)
    if options.write:
        Path(__file__).with_name("KERNELS-CUDA.md").write_text(text)


if __name__ == "__main__":
    main()
