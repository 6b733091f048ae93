"""``tracer profile`` and ``tracer explain``: where a program spends its time, and what was compiled."""

from __future__ import annotations

import traceback
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .app import app, fail

OWN_ARGUMENTS = {"allow_interspersed_args": False, "ignore_unknown_options": True}
Script = Annotated[str, typer.Argument(metavar="SCRIPT", help="A file, or the name of a module.")]
Arguments = Annotated[list[str] | None, typer.Argument(metavar="[ARGUMENTS]...", help="The script's own arguments.")]


def exit_code(script: str, arguments: list[str] | None) -> int:
    """Runs a script. Returns its exit code; 1 after an exception, which is printed. Exits with 2 if there is no such script."""
    from .script import NoScript, run_script

    try:
        return run_script(script, arguments or [])
    except NoScript as e:
        fail(str(e))
    except Exception:
        traceback.print_exc()
        return 1


class Sort(StrEnum):
    time = "time"
    calls = "calls"
    bytes = "bytes"
    flops = "flops"
    roof = "roof"


@app.command(context_settings=OWN_ARGUMENTS)
def profile(
    script: Script,
    arguments: Arguments = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a report: one HTML file.")] = None,
    trace: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a trace for Perfetto or chrome://tracing.")] = None,
    sort: Annotated[Sort, typer.Option(help="The order of the kernels.")] = Sort.time,
    top: Annotated[int, typer.Option(min=1, help="The number of rows.")] = 20,
) -> None:
    """Runs a script and reports where the time goes: phases, kernels, source lines, memory.

    Options come before the script. The table goes to the standard error stream, so it does not mix with the script's output.
    """
    from ..profiler import Profile

    for path in (html, trace):
        if path is not None and not path.absolute().parent.is_dir():
            fail(f"there is no folder {str(path.parent)!r}")
    p = Profile()
    with p:
        code = exit_code(script, arguments)
    typer.echo(p.table(sort.value, top), err=True, nl=False)
    try:
        if trace is not None:
            p.export_chrome_trace(trace)
            typer.echo(f"trace: {trace} (open it at https://ui.perfetto.dev)", err=True)
        if html is not None:
            p.export_html(html)
            typer.echo(f"report: {html}", err=True)
    except OSError as e:
        fail(f"cannot write {e.filename}: {e.strerror}")
    raise typer.Exit(code)


@app.command(context_settings=OWN_ARGUMENTS)
def explain(script: Script, arguments: Arguments = None) -> None:
    """Runs a script and explains each traced function: what was compiled, what it depends on, what runs eagerly and why."""
    from ..tracing import switches
    from ..tracing.function import TracedFunction

    kept: list[TracedFunction] = []  # in the order in which they were made; the script's own references end with it
    with switches.observing(kept.append):
        code = exit_code(script, arguments)
    called = [f for f in kept if any(f.cache_info()[:3])]
    for f in called:
        typer.echo(f.explain(), err=True)
    if not called:
        typer.echo("no traced function was called", err=True)
    raise typer.Exit(code)
