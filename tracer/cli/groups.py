"""How errors of commands are reported: in one line, with exit code 2."""

from __future__ import annotations

import sys
from typing import Any

import typer
from typer.core import TyperGroup

from .errors import CommandError

_Usage: Any = typer.BadParameter.__mro__[1]  # of the version of Click that Typer uses


class Commands(TyperGroup):
    """A group of commands in which errors in the command line, and CommandError, are one line."""

    def main(self, *args: Any, **extra: Any) -> Any:
        if not extra.get("standalone_mode", True):
            return super().main(*args, **extra)
        try:
            code = super().main(*args, **{**extra, "standalone_mode": False})
        except CommandError as e:
            _fail(str(e))
        except typer.Abort:  # an unanswered question, or Ctrl-C
            typer.echo("tracer: stopped", err=True)
            sys.exit(1)
        except _Usage as e:
            if type(e).__name__ == "NoArgsIsHelpError":
                typer.echo(e.format_message())
                sys.exit(2)
            _fail(" ".join(e.format_message().split()))
        sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str) -> None:
    typer.echo(f"tracer: {message}", err=True)
    sys.exit(2)
