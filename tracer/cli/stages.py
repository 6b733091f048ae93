"""The stages of a program's compilation. Each gives a ``Section``: a text, and what it describes as data.

    graph       as recorded
    adjoint     the graph and its gradients (with --backward only the gradients)
    optimized   after the passes before fusion
    fused       after all passes: each fusion is a kernel
    plan        the steps, and the memory of all values
    source, llvm, asm          kernels for a CPU
    source, nvvm, ptx, sass    kernels for a GPU

With ``backward`` they are those of the program that computes the gradients.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..ir import pipeline
from ..ir.graph import Graph, Op, Value
from ..ir.location import origin_of
from ..ir.passes.fuse import fuse
from ..ir.print import print_graph
from ..tracing.graph_function import GraphFunction
from .capture import Program
from .errors import CommandError
from .info import version_of

GRAPHS = ("graph", "adjoint", "optimized", "fused")
CPU_KERNELS, GPU_KERNELS = ("llvm", "asm"), ("nvvm", "ptx", "sass")


@dataclass
class Section:
    """A part of a dump: of one program at one stage."""

    title: str
    language: str  # ir, diff, python, llvm, asm, ptx or text
    text: str
    data: dict[str, Any]
    graph: Graph | None = None
    called_with: tuple[str, ...] = field(default=())


class Absent(Exception):
    """A program has no such stage; the message says what there is instead."""


@dataclass(frozen=True)
class Options:
    """``given`` are the passes, if they are not those of the device."""

    backward: bool = False
    device: str = "cpu"
    architecture: str = "sm_80"
    given: tuple[pipeline.Pass, ...] | None = None

    @property
    def passes(self) -> tuple[pipeline.Pass, ...]:
        if self.given is not None:
            return self.given
        return pipeline.COMPILE if self.device == "cpu" else pipeline.COMPILE_FOR_GRIDS

    @property
    def before_fusion(self) -> tuple[pipeline.Pass, ...]:
        return self.passes[: self.passes.index(fuse)] if fuse in self.passes else self.passes


def section(program: Program, stage: str, options: Options) -> Section:
    """A program at a stage. Raises Absent, and CommandError if the stage cannot be made here."""
    title = f"{program.title}, {'backward ' if options.backward else ''}{stage}"
    if stage in GRAPHS:
        made = of_graph(title, _graph(program, stage, options))
    elif stage == "plan":
        from .plans import plan_of

        text, data = plan_of(fused(program, options), options.device)
        made = Section(title, "text", text, data)
    else:
        made = _kernels(title, program, stage, options)
    made.called_with = program.called_with
    return made


def of_graph(title: str, graph: Graph) -> Section:
    return Section(title, "ir", print_graph(graph), graph_data(graph), graph)


def compiled(program: Program, options: Options) -> Graph:
    """The graph to which the passes are applied. Raises Absent."""
    if options.backward:
        return _differentiated(program).parts[1]
    return program.code.parts[0] if program.code.active else program.code.recorded


@functools.lru_cache(16)
def fused(program: Program, options: Options) -> Graph:
    """The graph after all passes."""
    return pipeline.run(compiled(program, options), options.passes)


def _graph(program: Program, stage: str, options: Options) -> Graph:
    if stage == "graph":
        return compiled(program, options) if options.backward else program.code.recorded
    if stage == "adjoint":
        function = _differentiated(program)
        return function.adjoint.graph if options.backward else function.joint
    if stage == "optimized":
        return pipeline.run(compiled(program, options), options.before_fusion)
    return fused(program, options)


def _differentiated(program: Program) -> GraphFunction:
    """The program as a function that is differentiated from outside: by the tensors that require gradients, or else by all
    floating arguments. Raises Absent.
    """
    code = program.code
    if code.active:
        return code
    graph = code.recorded
    if any(origin_of(op.loc).endswith("backward") for op in graph.ops):
        raise Absent(f"{program.function} computes its gradients itself: they are in its graph")
    active = [i for i, v in enumerate(graph.inputs) if _is_inexact(v)]
    outputs = [k for k, v in enumerate(graph.outputs) if _is_inexact(v) and k not in graph.updates]
    if not active or not outputs:
        which = "takes" if not active else "returns"
        raise Absent(f"{program.function} has no gradients: it {which} no floating-point or complex tensor")
    try:
        function = GraphFunction(graph, active, outputs)
        _ = function.joint
    except TypeError as e:
        raise Absent(f"{program.function} cannot be differentiated: {e}") from None
    return function


def _is_inexact(v: Value) -> bool:
    return v.dtype.is_floating_point or v.dtype.is_complex


def _kernels(title: str, program: Program, stage: str, options: Options) -> Section:
    from . import kernels

    graph, on_gpu = fused(program, options), options.device == "cuda"
    try:
        text, rows = (
            kernels.for_grids(graph, stage, options.architecture) if options.device == "cuda" else _for_cpu(graph, stage)
        )
    except (FileNotFoundError, RuntimeError, ImportError, ValueError) as e:
        # Numba has a package numba.cuda too, without the modules imported here.
        absent = on_gpu and version_of("numba-cuda") == "not installed" and isinstance(e, ImportError)
        missing = "numba-cuda" if absent else e.name if isinstance(e, ModuleNotFoundError) else None
        if missing:
            raise CommandError(f"the stage {stage!r} needs {missing}: pip install 'tracer[cuda]'") from None
        raise CommandError(str(e).split("\n")[0]) from None
    language = {"source": "python", "asm": "asm", "ptx": "ptx", "sass": "ptx"}.get(stage, "llvm")
    return Section(title, language, text, {"kernels": rows})


def _for_cpu(graph: Graph, stage: str) -> tuple[str, list[dict[str, Any]]]:
    from ..runtime.compiler import compile as compiler
    from . import kernels

    if stage == "source":
        return kernels.pasteable(graph)
    show, mark = (compiler.llvm_ir, ";") if stage == "llvm" else (compiler.assembly, "#")
    return kernels.native(graph, show, mark)


def graph_data(graph: Graph) -> dict[str, Any]:
    """A graph as data for JSON."""
    names = graph.names()

    def typed(v: Value) -> dict[str, Any]:
        return {"name": names[v], "dtype": v.dtype.short, "shape": list(v.shape)}

    def operation(op: Op) -> dict[str, Any]:
        row: dict[str, Any] = {
            "operation": op.primitive.name,
            "operands": [names[v] for v in op.operands],
            "results": [typed(v) for v in op.results],
            "attributes": {
                k: v if not isinstance(v, complex) else [v.real, v.imag] for k, v in op.attrs.items() if k != "body"
            },
            "location": str(op.loc),
            "origin": origin_of(op.loc),
        }
        return row | ({"body": graph_data(op.attrs["body"])} if "body" in op.attrs else {})

    updates = [{"output": k, "input": names[graph.inputs[i]]} for k, i in graph.updates.items()]
    return {
        "name": graph.name,
        "inputs": [typed(v) for v in graph.inputs],
        "operations": [operation(op) for op in graph.ops],
        "outputs": [names[v] for v in graph.outputs],
        "updates": updates,
    }


def sections(programs: list[Program], make: Callable[[Program], list[Section]]) -> list[Section]:
    """The sections of all programs; a program without the stage is a comment. Raises CommandError if none has it."""
    made: list[Section] = []
    absent: list[str] = []
    for program in programs:
        try:
            made += make(program)
        except Absent as e:
            absent.append(str(e))
            made.append(Section(program.title, "text", f"# {e}\n", {"absent": str(e)}))
        except RecursionError:
            raise CommandError(f"{program.title}: the graph is nested too deeply") from None
    if len(absent) == len(programs):
        raise CommandError(absent[0])
    return made
