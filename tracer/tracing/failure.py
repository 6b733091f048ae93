"""Messages and files for a failed compilation: the uncompiled code runs eagerly.

The message names the operation that the compiler was processing, and a file with the graph for reproducing the failure.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import tempfile
import threading
import traceback
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..ir.graph import Builder, Graph, Op, Value
from ..ir.ops import fusion
from ..ir.primitive import Primitive
from ..ir.validate import Miscompiled
from ..runtime.compiler import cache
from ..runtime.programs.plan import StepKind


class TraceWarning(UserWarning):
    """A traced function runs eagerly, for the given reason."""


class TraceError(RuntimeError):
    """A replay differs from the function: raised where replays are checked, by ``TRACER_CHECK=1`` or ``trace(check=True)``."""


def with_room(work: Callable[[], Any]) -> Any:
    """The result of ``work``; on a new stack if the caller's is too deep."""
    try:
        return work()
    except RecursionError:
        pass
    outcome: list[Any] = []

    def attempt() -> None:
        try:
            outcome.extend((work(), None))
        except BaseException as e:
            outcome.extend((None, e))

    thread = threading.Thread(target=attempt, name="tracer-compile")
    thread.start()
    thread.join()
    result, error = outcome
    if error is not None:
        raise error
    return result


def describe(error: BaseException, graph: Graph | Builder) -> str:
    """The reason why ``graph`` runs eagerly, with the operation, its place in the user's code, and the file of the graph."""
    from ..runtime.compiler.machine import NotHere  # imports llvmlite: only when something is compiled

    if isinstance(error, (ImportError, NotHere)):  # an error of the installation or the settings, not of the graph
        return str(error)
    if isinstance(error, Miscompiled):
        path = _keep(error, error.graph)
        return f"{error}; please report it{f' with the graph that shows it, in {path}' if path else ''}"
    found = _culprit(error, graph)
    what = f"{type(error).__name__}: {error}".rstrip(": ")
    where = "a graph of no operations"
    if found is not None:
        name, loc = found
        where = f"operation {name}" + (f" at {loc}" if loc else "")
    said = f"compiling {where} failed ({what.splitlines()[0][:300]})"
    path = _keep(error, graph)
    return f"{said}; please report it with the graph, which is in {path}" if path else said


def _culprit(error: BaseException, graph: Graph | Builder) -> tuple[str, str] | None:
    """The name of the operation that was being compiled, and its place, from the innermost frame that has one."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    for frame in reversed(frames):
        for x in _looked_at(frame):
            if isinstance(x, StepKind):
                return _of_kernel(x, graph) or (x.name, "")
            return _named(x)
    if isinstance(graph, Builder):  # the current operation has not been added yet
        for x in (x for frame in reversed(frames) for x in frame.f_locals.values()):
            if isinstance(x, Primitive):
                return x.name, graph.loc
    if not graph.ops:
        return None
    name, loc = _named(graph.ops[-1])
    return (name if len(graph.ops) == 1 else f"{name} or one of the {len(graph.ops) - 1} before it"), loc


def _looked_at(frame: types.FrameType) -> Iterator[Op | StepKind]:
    """The operations among a frame's local variables; ``op`` is the one that a loop is processing."""
    local = frame.f_locals
    for x in (local.get("op"), *local.values()):
        if isinstance(x, Value):
            x = x.op
        if isinstance(x, (Op, StepKind)):
            yield x


def _named(op: Op) -> tuple[str, str]:
    if op.primitive is fusion:
        inside = op.attrs["body"].ops
        names = dict.fromkeys(o.primitive.name for o in inside)
        return ", ".join(list(names)[:8]) or op.primitive.name, op.loc or next((o.loc for o in inside if o.loc), "")
    return op.primitive.name, op.loc


def _of_kernel(kind: StepKind, graph: Graph | Builder) -> tuple[str, str] | None:
    """The operations of a kernel, found in its graph."""
    from ..ir import pipeline

    if isinstance(graph, Graph):
        with contextlib.suppress(Exception):
            for op in pipeline.compiled(graph, pipeline.COMPILE).ops:
                if op.primitive is fusion and kind.name == f"@{op.attrs['body'].name}":
                    return _named(op)
    return next((_named(op) for op in graph.ops if op.primitive.name == kind.name), None)


def _keep(error: BaseException, graph: Graph | Builder) -> str:
    """Writes the graph, with the error as comments, to a file in the cache directory; returns its path, empty if there is
    none.
    """
    with contextlib.suppress(Exception):
        from .. import __version__

        told = "".join(traceback.format_exception(error))
        system = f"tracer {__version__}, Python {platform.python_version()}, NumPy {np.__version__}, {platform.platform()}"
        comments = "".join(f"# {line}\n" for line in [system, *told.splitlines()])
        if isinstance(graph, Builder):
            graph = Graph(graph.name, graph.inputs, graph.ops, [])
        text = f"{graph}\n{comments}"
        name = f"g_{hashlib.sha256(text.encode()).hexdigest()[:20]}.txt"
        for place in (cache.directory(), Path(tempfile.gettempdir())):
            with contextlib.suppress(OSError):
                place.mkdir(mode=0o700, parents=True, exist_ok=True)
                handle, temporary = cache.new_file(place)
                with os.fdopen(handle, "w") as f:
                    f.write(text)
                os.replace(temporary, place / name)
                return str(place / name)
    return ""
