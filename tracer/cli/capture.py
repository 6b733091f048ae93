"""The programs of traced functions: of one function that is called here, or of all functions of a script that runs."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..tracing import switches
from ..tracing.decorator import trace
from ..tracing.function import TracedFunction
from ..tracing.graph_function import GraphFunction
from .errors import CommandError, summary
from .inputs import arguments, load_function
from .script import NoScript, run_script

_CALLS = 4  # the first calls reveal what a function changes, for example an optimizer's state


@dataclass(frozen=True)
class Program:
    """A program of a traced function: that of a trace, or of one ``part`` of a tree of paths.

    ``called_with`` are the arguments of the recorded call, as text; ``replays`` the number of calls of the trace.
    """

    function: str
    trace: int
    part: int | None
    called_with: tuple[str, ...]
    replays: int
    code: GraphFunction

    @property
    def title(self) -> str:
        part = "" if self.part is None else f", part {self.part}"
        return f"{self.function}, trace {self.trace}{part}"


def programs_of(function: TracedFunction, used: bool = False) -> list[Program]:
    """The programs of a traced function; if ``used``, of the traces that were replayed, provided that there are any."""
    found: list[Program] = []
    recordings = function._all_traces()
    replayed = used and any(recorded.replays for recorded in recordings)
    for n, recorded in enumerate(recordings):
        if replayed and not recorded.replays:
            continue
        codes = recorded.recorded_functions()
        for k, code in enumerate(codes):
            part = k if len(codes) > 1 else None
            found.append(Program(function._name, n, part, tuple(recorded.called_with), recorded.replays, code))
    return found


def select(programs: list[Program], function: str | None, trace: int | None) -> list[Program]:
    """The programs of one function, or with one number. Raises CommandError if there is none."""
    names = list(dict.fromkeys(p.function for p in programs))
    if function is not None and function not in names:
        raise CommandError(f"no function {function!r} was traced; there are {', '.join(names)}")
    chosen = [p for p in programs if function in (None, p.function)]
    found = [p for p in chosen if trace in (None, p.trace)]
    if not found:
        numbers = sorted({p.trace for p in chosen})
        raise CommandError(f"there is no trace {trace}; there are {', '.join(map(str, numbers))}")
    return found


def listing(programs: list[Program]) -> list[str]:
    """A line for each program."""
    lines = []
    for p in programs:
        graph = p.code.recorded
        size = f"{len(graph.ops)} operations, {len(graph.inputs)} inputs"
        lines.append(f"{p.title}: {size}, {p.replays} replays; {'; '.join(p.called_with)}".rstrip("; "))
    return lines


def from_function(target: str, inputs: Sequence[str]) -> list[Program]:
    """The programs of FILE_OR_MODULE:FUNCTION for the given arguments."""
    with _quietly():
        function, owner = load_function(target)
        args, kwargs = arguments(inputs, function, owner)
        try:
            traced: Any = trace(function)
            traced = getattr(traced, "_tracer_function", traced)  # of a module
            for _ in range(_CALLS):
                traced(*args, **kwargs)
                if programs_of(traced) or traced.eager_reasons:
                    break
        except (Exception, SystemExit) as e:
            raise CommandError(f"calling {target!r} failed: {summary(e)}") from None
    if programs := programs_of(traced):
        return programs
    reason = next(iter(traced.eager_reasons.values()), f"{_CALLS} calls recorded nothing that can be replayed")
    raise CommandError(f"{target!r} cannot be traced: {reason}")


def from_script(script: str, args: Sequence[str]) -> list[Program]:
    """The programs of all traced functions at the end of a run of a script. An interrupt (Ctrl-C) ends the run."""
    functions: list[TracedFunction] = []
    with _quietly(), switches.observing(functions.append):
        if os.getcwd() not in sys.path:
            sys.path.insert(0, os.getcwd())
        try:
            code = run_script(script, args)
        except NoScript as e:
            raise CommandError(str(e)) from None
        except KeyboardInterrupt:
            code = 0
        except Exception as e:
            raise CommandError(f"{script!r} failed: {summary(e)}{_line(e, script)}") from None
    if code:
        raise CommandError(f"{script!r} ended with exit code {code}")
    if not functions:
        raise CommandError(f"{script!r} has no traced function")
    programs = [program for function in functions for program in programs_of(function, used=True)]
    if not programs:
        reasons = [f"{f._name}: {reason}" for f in functions for reason in f.eager_reasons.values()]
        raise CommandError(f"{script!r} has no compiled function; {reasons[0] if reasons else 'none was called often enough'}")
    return programs


def _line(error: BaseException, script: str) -> str:
    """The line of the script where an exception was raised."""
    at, line = error.__traceback__, ""
    while at is not None:
        if os.path.realpath(at.tb_frame.f_code.co_filename) == os.path.realpath(script):
            line = f" ({script}:{at.tb_lineno})"
        at = at.tb_next
    return line


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Only the dump is written to the standard output."""
    with warnings.catch_warnings(action="ignore"), contextlib.redirect_stdout(sys.stderr):
        yield
