"""A profile in Chrome's trace event format, which Perfetto reads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .spans import Nested

if TYPE_CHECKING:
    from .session import Profile


def events(profile: Profile) -> Iterator[dict[str, Any]]:
    """The trace events: one complete event for each span, counters of memory, and names of threads."""
    process = os.getpid()
    kernels = {(k.program, k.step): k for k in profile.kernels}
    functions = {k.program: k.function for k in profile.kernels}
    threads: dict[int, int] = {}

    def walk(x: Nested) -> Iterator[dict[str, Any]]:
        span = x.span
        name = span.name
        args: dict[str, Any] = {}
        if span.kind == "program":
            name = f"{functions.get(span.owner, 'program')} (native program {span.owner})"
        elif span.kind == "kernel":
            k = kernels.get((span.owner, span.step))
            if k is not None:
                name = k.name
                args = {"computes": ", ".join(k.operations), "phase": k.phase, "lines": list(k.lines)}
                args |= {"bytes": k.nbytes, "flops": k.flops, "modules": list(k.modules)}
        elif span.kind in ("record", "compile"):
            name = f"{span.kind} {span.name}"
        yield {
            "name": name,
            "cat": span.kind,
            "ph": "X",
            "ts": (span.start - profile.began) / 1e3,
            "dur": (span.stop - span.start) / 1e3,
            "pid": process,
            "tid": threads.setdefault(span.thread, len(threads)),
            "args": args,
        }
        for inner in x.inner:
            yield from walk(inner)

    for x in profile.nested:
        yield from walk(x)
    for seconds, used in profile.memory:
        yield {"name": "memory", "ph": "C", "ts": seconds * 1e6, "pid": process, "args": {"bytes": used}}
    for number in threads.values():
        named = "main thread" if number == 0 else f"thread {number}"
        yield {"name": "thread_name", "ph": "M", "pid": process, "tid": number, "args": {"name": named}}
