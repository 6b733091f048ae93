"""The commands. An error in the command line gives a one-line message and exit code 2."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NoReturn

import typer

from .dump import dump
from .groups import Commands

app = typer.Typer(cls=Commands, no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]})


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
    from .environment import check

    check()


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


app.command(context_settings={"ignore_unknown_options": True})(dump)


@app.command()
def info() -> None:
    """Versions, CPU, threads, cache, CUDA."""
    from .info import lines

    for name, value in lines():
        typer.echo(f"{name:<12} {value}")


def main() -> None:
    """The entry point of the ``tracer`` command."""
    app(prog_name="tracer")
