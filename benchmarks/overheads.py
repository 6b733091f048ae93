"""The overhead of a call, in microseconds, and of a process before its first call, in seconds.

python -m benchmarks.overheads
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

from .workloads import WORKLOADS

_FIRST = """
import time
import tracer
from benchmarks.workloads import WORKLOADS, Library
step = next(w for w in WORKLOADS if w.name == {name!r}).build(Library(tracer, whole=tracer.trace))
begin = time.perf_counter()
for _ in range(4):
    step()
seconds = time.perf_counter() - begin
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(seconds, int(status["VmHWM"].split()[0]) / 1024)
"""


def least(function: Callable[[], Any], calls: int = 500, rounds: int = 30) -> float:
    """Minimum microseconds per call."""
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        for _ in range(calls):
            function()
        times.append((time.perf_counter() - begin) / calls)
    return min(times) * 1e6


def calls() -> dict[str, float]:
    import tracer

    @tracer.trace
    def empty() -> None:
        return None

    @tracer.trace
    def ten(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, h: Any, i: Any, j: Any) -> Any:
        return a + b + c + d + e + f + g + h + i + j

    tensors = [tracer.ones(4) for _ in range(10)]
    for _ in range(3):
        empty(), ten(*tensors)
    return {"an empty traced function, us": least(empty), "a traced function of ten tensors, us": least(lambda: ten(*tensors))}


def importing() -> float:
    """Seconds, in a process with compiled modules."""
    code = "import time; begin = time.perf_counter(); import tracer; print(time.perf_counter() - begin)"
    with _caches() as env:
        return min(float(_output(code, env)[0]) for _ in range(5))


def first_calls(name: str) -> tuple[float, float, float]:
    """Seconds of a workload's calls up to its second replay, with empty and with filled caches; the process's peak memory in
    MiB.

    Python's bytecode cache is filled before, as by an installation.
    """
    with _caches() as env:
        with tempfile.TemporaryDirectory() as other:
            _output(_FIRST.format(name=name), {**env, "TRACER_CACHE_DIR": other})
        cold, _ = _output(_FIRST.format(name=name), env)
        warm = [_output(_FIRST.format(name=name), env) for _ in range(3)]
    return float(cold), min(float(seconds) for seconds, _ in warm), float(warm[0][1])


@contextlib.contextmanager
def _caches() -> Iterator[dict[str, str]]:
    """An environment with separate caches for machine code and Python bytecode."""
    with tempfile.TemporaryDirectory() as path:
        env = {**os.environ, "TRACER_CACHE_DIR": path, "PYTHONPYCACHEPREFIX": f"{path}/python"}
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        yield env


def _output(code: str, env: dict[str, str]) -> list[str]:
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    return done.stdout.split()


def main() -> None:
    for what, value in calls().items():
        print(f"{what}: {value:.2f}")
    print(f"import, s: {importing():.2f}")
    for w in WORKLOADS:
        print(f"{w.name}: {', '.join(f'{x:.2f}' for x in first_calls(w.name))}")


if __name__ == "__main__":
    main()
