"""``tracer opt``, ``tracer bisect`` and ``tracer reduce``: text files of graphs, transformed, run and compared."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from ..ir import pipeline
from ..ir.graph import Graph
from ..ir.ops import fusion
from .app import app
from .dump import Device, Stage, device_of
from .errors import CommandError
from .inputs import load_function
from .program_text import Program, Run, TextError, arguments, read_programs, wrong, wrong_text

if TYPE_CHECKING:
    from ..ir.validate import Failure, Reference

Passes = tuple[Callable[[Graph], Graph], ...]

_File = Annotated[str, typer.Argument(metavar="FILE", help="A text file of graphs, such as 'tracer dump' prints; - for stdin.")]
_Names = Annotated[
    str | None,
    typer.Option(
        "--passes",
        metavar="LIST",
        help="Names of passes, with commas; 'simplify', 'compile' and 'grids' are lists of them; FILE.py:FUNCTION is your own.",
    ),
]


def _wrong(message: str) -> NoReturn:
    """Reports results that differ, and exits with code 1."""
    typer.echo(f"tracer: {' '.join(message.split())}", err=True)
    raise typer.Exit(1)


def _programs(file: str) -> list[Program]:
    try:
        return read_programs(file)
    except TextError as e:
        if e.excerpt and sys.stderr.isatty():
            typer.echo(e.excerpt, err=True)
        raise CommandError(str(e)) from None


def passes_named(names: str) -> Passes:
    """The passes of a list of names. Raises CommandError if there is no such pass."""
    found: list[Any] = []
    for name in filter(None, (name.strip() for name in names.split(","))):
        try:
            found += [load_function(name)[0]] if ":" in name else pipeline.named(name)
        except ValueError as e:
            raise CommandError(str(e)) from None
    return tuple(found)


def passes_for(graph: Graph, names: str | None) -> Passes:
    """The passes of the list, then those that compiling needs: all, or none if the graph is fused."""
    passes = passes_named(names) if names else ()
    is_fused = pipeline.fuse in passes or any(op.primitive is fusion for op in graph.ops)
    return passes if is_fused else (*passes, *pipeline.COMPILE)


@app.command()
def opt(
    file: _File,
    passes: _Names = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Verify after each pass, and that the text can be read back.")
    ] = False,
    run: Annotated[
        bool, typer.Option("--run", help="Run on the interpreter, transformed, and compiled; compare; check '# expect:' lines.")
    ] = False,
    emit: Annotated[Stage, typer.Option(help="What to print.")] = Stage.graph,
    device: Annotated[Device | None, typer.Option(help="The kernels' target device. No GPU is needed.")] = None,
    arch: Annotated[str, typer.Option(help="The GPU architecture, for sass.")] = "sm_80",
) -> None:
    """Reads graphs from a text file, applies passes, and prints them, at any stage of compilation.

    Without --passes, graphs are printed as they are, and code is that of the whole pipeline. With --run, arguments are those
    of '# run:' lines, and random ones. Exit code 1: results differ, or a pass fails.
    """
    target = device_of(emit, device)
    for program in _programs(file):
        graph = program.graph
        after = _transformed(graph, passes_named(passes or ""), verify)
        typer.echo(_text(after, emit.value, target, arch, passes is not None).rstrip("\n"))
        if run:
            typer.echo(f"# @{graph.name}: {_run(file, program, passes_for(graph, passes))}")


def _text(graph: Graph, stage: str, device: str, architecture: str, transformed: bool) -> str:
    """A graph at a stage. The passes are applied on the way if it is neither transformed nor fused."""
    from ..tracing.graph_function import GraphFunction
    from . import capture, stages

    if stage == "graph":
        return str(graph)
    code = GraphFunction(graph, (), ())
    program = capture.Program(f"@{graph.name}", 0, None, (), 0, code)
    done = transformed or any(op.primitive is fusion for op in graph.ops)
    options = stages.Options(False, device, architecture, () if done else None)
    try:
        return stages.section(program, stage, options).text
    except stages.Absent as e:
        raise CommandError(str(e)) from None


def _transformed(graph: Graph, passes: Passes, thorough: bool) -> Graph:
    from ..ir.parse import parse_graph

    for p in passes:
        try:
            ((_, after),) = pipeline.steps(graph, (p,))
            if thorough and str(parse_graph(str(after))) != str(after):
                raise ValueError("its text is read back as another graph")
        except Exception as e:
            _wrong(f"pass {p.__name__} fails: {type(e).__name__}: {e}".split("\n")[0])
        graph = after
    return graph


@dataclass
class _Case:
    """What is compared: a graph, the passes, and results of the interpreter."""

    graph: Graph
    passes: Passes
    known: list[Reference]

    def failure(self) -> Failure | None:
        from ..runtime.programs.validate import failure_of

        try:
            return failure_of(self.graph, self.passes, self.known)
        except ImportError as e:  # an unsupported version of Numba
            raise CommandError(str(e)) from None

    @property
    def agreed(self) -> str:
        passes = f"{len(self.passes)} pass{'es' * (len(self.passes) != 1)}"
        return f"the interpreter, {passes} and the compiled program agree for {len(self.known)} sets of arguments"


def _case(file: str, program: Program, passes: Passes) -> _Case:
    from ..ir.validate import CannotRun, Reference, references

    graph = program.graph
    try:
        known = [Reference(graph, arguments(run, graph)) for run in program.runs if _succeeds(run)]
    except TextError as e:
        raise CommandError(f"{file}:{e}") from None
    except Exception as e:
        _wrong(f"{file}: @{graph.name} cannot be run: {type(e).__name__}: {e}".split("\n")[0])
    try:
        known += references(graph)
    except CannotRun as e:
        if not known:
            raise CommandError(f"{file}: {e}") from None
    return _Case(graph, passes, known)


def _succeeds(run: Run) -> bool:
    return run.passes is None and not any(said.startswith("error") for _, said in run.expected)


def _run(file: str, program: Program, passes: Passes) -> str:
    """Checks a program's runs, and compares for more arguments; returns what agrees."""
    from ..ir.interp import evaluate
    from ..runtime.programs.layout import lay_out
    from ..runtime.programs.program import Program as Compiled

    graph = program.graph
    case = _case(file, program, passes)
    if failure := case.failure():
        _wrong(f"{file}: {failure}")
    after = pipeline.run(graph, passes)
    for run in program.runs:
        if run.passes is not None:
            said = wrong_text(run, str(_transformed(graph, passes_named(run.passes), False)))
            if said:
                _wrong(f"{file}: {said}")
            continue
        for executor, execute in (
            ("the interpreter", lambda g, args: evaluate(g, *args)),
            ("the compiled program", lambda g, args: Compiled(lay_out(after))(*args)),
        ):
            try:
                said = wrong(run, graph, execute)
            except TextError as e:
                raise CommandError(f"{file}:{e}") from None
            if said:
                _wrong(f"{file}: {said} ({executor})")
    expected = f"; {len(program.runs)} runs as expected" if program.runs else ""
    return case.agreed + expected


def _first_failure(file: str, names: str | None) -> tuple[_Case, Failure] | None:
    """The first graph of a file that fails; prints a line for each that does not."""
    for program in _programs(file):
        case = _case(file, program, passes_for(program.graph, names))
        if failure := case.failure():
            return case, failure
        typer.echo(f"# @{program.graph.name}: {case.agreed}")
    return None


@app.command()
def bisect(file: _File, passes: _Names = None) -> None:
    """Names the pass, or the kernel, that changes the results of a graph, and prints what it changes.

    Exit code 1: there is one.
    """
    found = _first_failure(file, passes)
    if found is None:
        return
    case, failure = found
    typer.echo(str(failure))
    guilty = next((k for k, p in enumerate(case.passes) if failure.where == f"pass {p.__name__}"), -1)
    if guilty < 0:
        typer.echo(str(failure.graph).rstrip())
        raise typer.Exit(1)
    typer.echo(f"{failure.where} is number {guilty + 1} of {len(case.passes)}; before and after it:")
    for line in _changes(failure.graph, case.passes[guilty]):
        typer.echo(line)
    raise typer.Exit(1)


def _changes(graph: Graph, p: Callable[[Graph], Graph]) -> list[str]:
    try:
        after = str(p(graph))
    except Exception:  # the pass fails
        return []
    lines = difflib.unified_diff(str(graph).splitlines(), after.splitlines(), "before", "after", lineterm="", n=1)
    return list(lines)


@app.command()
def reduce(
    file: _File,
    passes: _Names = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the graph to a file.")] = None,
    seconds: Annotated[float, typer.Option(min=1, help="The time that the search may take.")] = 60.0,
) -> None:
    """Reduces a graph whose results a pass or a kernel changes to a small one that shows it, and prints that.

    Exit code 1: nothing changes results.
    """
    from ..ir.reduce import size

    found = _first_failure(file, passes)
    if found is None:
        _wrong(f"{file}: there is nothing to reduce")
    case, failure = found
    small = _reduced(case, failure, seconds)
    before, after = size(case.graph), size(small)
    text = f"# {failure.where}; reduced from {before} operation{'s' * (before != 1)} to {after}\n{small}"
    if out is None:
        typer.echo(text.rstrip())
    else:
        try:
            out.write_text(text)
        except OSError as e:
            raise CommandError(f"{str(out)!r} cannot be written: {e.strerror}") from None
        typer.echo(f"{out}: {after} operation{'s' * (after != 1)}; {failure.where}")


def _reduced(case: _Case, failure: Failure, seconds: float) -> Graph:
    from ..ir.reduce import reduced
    from ..ir.validate import references, wrong_pass
    from ..runtime.programs.validate import failure_of

    in_pass = _is_pass(failure, case.passes)

    def fails_alike(graph: Graph) -> bool:
        if in_pass:  # without compiling
            found, _ = wrong_pass(graph, case.passes, references(graph))
            return found is not None and found.where == failure.where
        found = failure_of(graph, case.passes, references(graph))
        return found is not None and not _is_pass(found, case.passes)

    try:
        known = fails_alike(case.graph)
    except ValueError:
        known = False
    if not known:
        _wrong(f"{failure}; but only for the arguments of the file, so it cannot be reduced")
    return reduced(case.graph, fails_alike, seconds)


def _is_pass(failure: Failure, passes: Sequence[Callable[[Graph], Graph]]) -> bool:
    """True if a pass failed, not the compiler, whose kernels have other names in other graphs."""
    return any(failure.where == f"pass {p.__name__}" for p in passes)
