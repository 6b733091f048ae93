"""The commands. An error in the command line gives a one-line message and exit code 2."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

app = typer.Typer(no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]})


class Stage(StrEnum):
    graph = "graph"
    adjoint = "adjoint"
    fused = "fused"
    source = "source"
    llvm = "llvm"
    asm = "asm"
    nvvm = "nvvm"
    ptx = "ptx"
    sass = "sass"


class DeviceName(StrEnum):
    cpu = "cpu"
    cuda = "cuda"


def fail(message: str) -> NoReturn:
    """Reports an error in the command line, and exits with code 2."""
    typer.echo(f"tracer: {message}", err=True)
    raise typer.Exit(2)


def _print_version(wanted: bool) -> None:
    if wanted:
        from .. import __version__

        typer.echo(f"tracer {__version__}")
        raise typer.Exit


_Version = Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")]


@app.callback()
def check_environment(version: _Version = False) -> None:
    """Tensors, traced into fused kernels."""
    from ..runtime.compiler import machine

    try:
        machine.selected()
    except ValueError as e:
        fail(str(e))


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Output folder for the picture and the page.")] = Path("demo-output"),
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training set of the dense network.")] = 40,
) -> None:
    """Trains on the UCI handwritten digits, eager and traced, and compares the results."""
    try:
        from .demo import run
    except ModuleNotFoundError as e:
        fail(f"the demo needs {e.name}: pip install 'tracer[demo]'")
    run(out, epochs)


@app.command()
def dump(
    target: Annotated[str, typer.Argument(metavar="FILE_OR_MODULE:FUNCTION", help="The function to print.")],
    input: Annotated[list[str] | None, typer.Option(help="An argument: a type such as 'f32[64,784]', or a number.")] = None,
    stage: Annotated[Stage, typer.Option(help="What to print; nvvm, ptx and sass are for cuda.")] = Stage.graph,
    backward: Annotated[bool, typer.Option("--backward", help="Print the adjoint's program (stages from 'fused' on).")] = False,
    cpu: Annotated[str | None, typer.Option(help="The kernels' target CPU: host, x86-64-v3, aarch64, ...")] = None,
    device: Annotated[DeviceName, typer.Option(help="The kernels' target device. No GPU is needed.")] = DeviceName.cpu,
    arch: Annotated[str, typer.Option(help="The GPU architecture, for sass.")] = "sm_80",
) -> None:
    """Prints a function at a stage of its compilation."""
    from .dump import DumpError, dump_stage

    try:
        text = dump_stage(target, input or [], stage.value, backward, cpu, device.value, arch)
    except DumpError as e:
        fail(str(e))
    typer.echo(text)


@app.command()
def info() -> None:
    """Versions, CPU, threads, cache, CUDA."""
    from .info import lines

    for name, value in lines():
        typer.echo(f"{name:<12} {value}")


def main() -> None:
    """The entry point of the ``tracer`` command."""
    app(prog_name="tracer")
