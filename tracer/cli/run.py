"""``tracer run``: a program that imports PyTorch, on this package."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from .app import app
from .profile import OWN_ARGUMENTS, Arguments, Script, exit_code


class Tracing(StrEnum):
    off = "off"
    auto = "auto"


@app.command(context_settings=OWN_ARGUMENTS)
def run(
    script: Script,
    arguments: Arguments = None,
    trace: Annotated[Tracing, typer.Option(help="Trace modules and optimizers that are called repeatedly.")] = Tracing.off,
) -> None:
    """Runs a script that imports PyTorch, with this package in its place. Options come before the script."""
    from .. import as_torch

    as_torch.enter()
    if trace is Tracing.auto:
        from ..as_torch import auto

        auto.enter()
    raise typer.Exit(exit_code(script, arguments))
