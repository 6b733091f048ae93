"""``tracer cache``: the compiled code on disk."""

from __future__ import annotations

import datetime
from typing import Annotated

import typer

from ..runtime.compiler import cache as store
from .app import app

cache = typer.Typer(no_args_is_help=True, help="The compiled code on disk: list, size, clear, verify.")
app.add_typer(cache, name="cache")
_KINDS = {"k": "kernel", "n": "native function", "p": "plan", "g": "graph of a failure"}


@cache.command("list")
def list_() -> None:
    """Prints each file: kind, size, time of last use, name; the latest first."""
    for entry in sorted(store.files(), key=lambda e: -e.used):
        used = datetime.datetime.fromtimestamp(entry.used).isoformat(" ", "seconds")
        typer.echo(f"{_KINDS[entry.name[0]]:<18} {entry.nbytes:>9} {used} {entry.name}")


@cache.command()
def size() -> None:
    """Prints the number of files and bytes of each kind, and the limit."""
    found = list(store.files())
    typer.echo(f"{'directory':<18} {store.directory()}")
    for letter, kind in _KINDS.items():
        its = [e for e in found if e.name[0] == letter]
        typer.echo(f"{kind + 's' * (letter != 'g'):<18} {len(its):>6} {sum(e.nbytes for e in its):>12} bytes")
    total = sum(e.nbytes for e in found)
    typer.echo(f"{'total':<18} {len(found):>6} {total:>12} bytes, at most {store.LIMIT}")


@cache.command()
def clear(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Removes all compiled code. Running programs are not affected; later ones compile again."""
    found = list(store.files())
    if found and not yes:
        typer.confirm(f"Remove {len(found)} files from {store.directory()}?", abort=True)
    removed = sum(store.remove(e.name) for e in found)
    typer.echo(f"{removed} files removed")
    if removed < len(found):
        typer.echo(f"tracer: {len(found) - removed} files cannot be removed", err=True)
        raise typer.Exit(1)


@cache.command()
def verify(
    remove: Annotated[bool, typer.Option("--remove", help="Remove the files that are not valid.")] = False,
) -> None:
    """Checks the digest of every file. Exit code 1 if some are not valid; programs ignore these."""
    bad = [e for e in store.files() if not store.is_valid(e.name)]
    for entry in bad:
        gone = remove and store.remove(entry.name)
        typer.echo(f"not valid{', removed' if gone else ''}: {entry.name}")
    typer.echo(f"{len(list(store.files()))} files, {len(bad)} not valid")
    raise typer.Exit(1 if bad else 0)
