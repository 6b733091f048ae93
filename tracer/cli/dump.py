"""``tracer dump``: prints programs at the stages of their compilation."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .errors import CommandError

if TYPE_CHECKING:
    from .capture import Program
    from .stages import Options, Section


class Stage(StrEnum):
    graph = "graph"
    adjoint = "adjoint"
    optimized = "optimized"
    fused = "fused"
    plan = "plan"
    source = "source"
    llvm = "llvm"
    asm = "asm"
    nvvm = "nvvm"
    ptx = "ptx"
    sass = "sass"


class Format(StrEnum):
    text = "text"
    dot = "dot"
    svg = "svg"
    html = "html"
    json = "json"


class Device(StrEnum):
    cpu = "cpu"
    cuda = "cuda"


class Colour(StrEnum):
    auto = "auto"
    always = "always"
    never = "never"


def dump(
    targets: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILE_OR_MODULE:FUNCTION", help="The function; with --run, the script's arguments."),
    ] = None,
    input: Annotated[
        list[str] | None,
        typer.Option("--input", "-i", help="An argument: a type ('f32[64,784]'), a number, a file ('x.npy'); or NAME=VALUE."),
    ] = None,
    run: Annotated[str | None, typer.Option(metavar="SCRIPT", help="Run a script, and print all its traced functions.")] = None,
    function: Annotated[str | None, typer.Option(metavar="NAME", help="With --run: only this function.")] = None,
    trace: Annotated[int | None, typer.Option(min=0, help="Only the trace with this number.")] = None,
    names: Annotated[bool, typer.Option("--list", help="Only list the programs: function, trace, arguments.")] = False,
    stage: Annotated[
        Stage, typer.Option("--stage", "-s", help="What to print; nvvm, ptx and sass are for GPUs.")
    ] = Stage.graph,
    backward: Annotated[bool, typer.Option("--backward", help="The program that computes the gradients.")] = False,
    after: Annotated[str | None, typer.Option(metavar="PASS", help="Print the graph after this pass.")] = None,
    after_all: Annotated[bool, typer.Option("--print-after-all", help="Print the graph after each pass.")] = False,
    diff: Annotated[
        tuple[str, str] | None, typer.Option(metavar="PASS PASS", help="Print the changes between two passes.")
    ] = None,
    format: Annotated[Format, typer.Option("--format", "-f", help="dot and svg draw graphs.")] = Format.text,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file.")] = None,
    color: Annotated[Colour, typer.Option(help="Whether text is coloured; auto: on a terminal.")] = Colour.auto,
    cpu: Annotated[str | None, typer.Option(help="The kernels' target CPU: host, x86-64-v3, aarch64, ...")] = None,
    device: Annotated[Device | None, typer.Option(help="The kernels' target device. No GPU is needed.")] = None,
    arch: Annotated[str, typer.Option(help="The GPU architecture, for sass.")] = "sm_80",
) -> None:
    """Prints the program of a function at a stage of its compilation.

    tracer dump model.py:step --input 'f32[64,784]' --input 'i64[64]' --stage fused

    tracer dump --run train.py --stage source -- --epochs 1

    Options that are not known here, and everything after --, are the script's arguments.
    """
    if sum([after is not None, after_all, diff is not None]) > 1:
        raise CommandError("--after, --print-after-all and --diff exclude each other")
    from ..runtime.compiler import machine
    from . import capture, formats, stages

    options = stages.Options(backward, device_of(stage, device), arch)
    chosen, make = _cpu(cpu), _maker(stage, after, after_all, diff, options)
    with machine.selecting("host"):  # the recording runs on this machine
        programs = _captured(targets or [], input or [], run)
    programs = capture.select(programs, function, trace)
    if names:
        _write("".join(f"{line}\n" for line in capture.listing(programs)), output)
        return
    with machine.selecting(chosen):
        found = stages.sections(programs, make)
        if format is Format.text:
            text = formats.text(found, _is_coloured(color, output))
        else:
            show = {Format.dot: formats.dot, Format.svg: formats.svg, Format.html: formats.page, Format.json: formats.as_json}
            text = show[format](found)
    _write(text, output)


def _captured(targets: list[str], inputs: list[str], run: str | None) -> list[Program]:
    from ..tracing import switches
    from . import capture

    if switches.is_eager():
        raise CommandError("the environment variable TRACER_DISABLE turns tracing off")
    if run is not None:
        if inputs:
            raise CommandError("--input is for a function; the arguments of a script follow its name")
        return capture.from_script(run, targets)
    unknown = [text for text in targets if text.startswith("-")]
    if unknown:
        raise CommandError(f"there is no option {unknown[0]}")
    if len(targets) != 1:
        what = "no function is given" if not targets else f"{targets[1]!r} is one argument too many"
        raise CommandError(f"{what}: write FILE_OR_MODULE:FUNCTION, or --run SCRIPT")
    return capture.from_function(targets[0], inputs)


def _maker(
    stage: Stage, after: str | None, after_all: bool, diff: tuple[str, str] | None, options: Options
) -> Callable[[Program], list[Section]]:
    """What to print of each program."""
    from . import history, stages

    for name in (*([after] if after is not None else ()), *(diff or ())):
        history.check_pass(name, options)
    if after is not None:
        return lambda program: [history.after(program, after, options)]
    if diff is not None:
        return lambda program: [history.difference(program, *diff, options)]
    if after_all:
        return lambda program: history.after_all(program, options)
    return lambda program: [stages.section(program, stage.value, options)]


def device_of(stage: Stage, device: Device | None) -> str:
    """The device: the given one, or else that of the stage."""
    from .stages import CPU_KERNELS, GPU_KERNELS

    needed = "cpu" if stage in CPU_KERNELS else "cuda" if stage in GPU_KERNELS else None
    if device is not None and needed is not None and device.value != needed:
        others = ", ".join(GPU_KERNELS if needed == "cpu" else CPU_KERNELS)
        raise CommandError(f"the stage {stage.value!r} is for {needed}; for {device.value} the stages are source, {others}")
    return device.value if device is not None else needed or "cpu"


def _cpu(name: str | None) -> Any:
    from ..runtime.compiler import machine

    try:
        return machine.cpu_named(name) if name else machine.selected()
    except ValueError as e:
        raise CommandError(str(e)) from None


def _is_coloured(colour: Colour, output: Path | None) -> bool:
    if colour is not Colour.auto:
        return colour is Colour.always
    return output is None and sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _write(text: str, output: Path | None) -> None:
    if output is None:
        typer.echo(text, nl=False, color=True)  # colours are decided by now
        return
    try:
        output.write_text(text)
    except OSError as e:
        raise CommandError(f"{str(output)!r} cannot be written: {e.strerror}") from None
