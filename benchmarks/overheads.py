"""What a call costs beside its arithmetic, and what a process costs before it: in microseconds and seconds.

python -m benchmarks.overheads
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

_FIRST = """
import time
begin = time.perf_counter()
import tracer
imported = time.perf_counter()
from benchmarks.workloads import WORKLOADS, Library
step = next(w for w in WORKLOADS if w.name == {name!r}).build(Library(tracer, whole=tracer.trace))
begin_calls = time.perf_counter()
for _ in range(4):
    step()
seconds = time.perf_counter() - begin_calls
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(imported - begin, seconds, int(status["VmHWM"].split()[0]) / 1024)
"""


def least(function: Callable[[], Any], calls: int = 500, rounds: int = 30) -> float:
    """Microseconds of a call."""
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


def processes(names: tuple[str, ...] = ("MLP 784-128-10 b64", "LSTM 50 steps", "transformer block")) -> dict[str, float]:
    """Import, the first calls up to a replay with an empty and with a filled cache of kernels, and the memory it takes."""
    found: dict[str, float] = {}
    for name in names:
        with tempfile.TemporaryDirectory() as cache:
            env = {**os.environ, "TRACER_CACHE_DIR": cache}
            for state in ("cold", "warm"):
                command = [sys.executable, "-c", _FIRST.format(name=name)]
                output = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.split()
                found["import tracer, s"] = min(found.get("import tracer, s", 1e9), float(output[0]))
                found[f"{name}, first calls in a {state} process, s"] = float(output[1])
            found[f"{name}, peak memory of the process, MiB"] = float(output[2])
    return found


def main() -> None:
    for what, value in {**calls(), **processes()}.items():
        print(f"{what}: {value:.2f}")


if __name__ == "__main__":
    main()
