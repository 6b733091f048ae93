"""Worker processes that run LLVM (``backend``): several kernels are compiled at once, while this process lowers others.

llvmlite runs one LLVM function at a time in a process, so threads would not help. A worker is a Python process that imports
only llvmlite; it ends with this process, or after a minute without work. If no process can be started, LLVM runs here.
"""

from __future__ import annotations

import atexit
import contextlib
import marshal
import os
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import llvmlite

from . import backend

_MAX_WORKERS = 8
Answer = tuple[bytes, list[str]]
_idle: list[subprocess.Popen[bytes]] = []


class Batch:
    """Requests that are answered at the same time. Use it in a ``with`` block, whose end drops those that have not begun."""

    def __init__(self, size: int):
        self.width = min(size, _processors(), _MAX_WORKERS)  # requests at a time
        self._threads = ThreadPoolExecutor(self.width, "tracer-compile")

    def __enter__(self) -> Batch:
        for _ in range(self.width - len(_idle)):  # they start while the first kernel is lowered
            self._threads.submit(_start)
        return self

    def __exit__(self, *error: object) -> None:
        self._threads.shutdown(cancel_futures=True)

    def produce(self, text: str, cpu: backend.CPU, form: str) -> Future[Answer]:
        """``backend.produce``, later."""
        return self._threads.submit(produce, text, cpu, form)


def produce(text: str, cpu: backend.CPU, form: str) -> Answer:
    """``backend.produce`` in a worker. Raises RuntimeError if LLVM fails, or ends the worker."""
    while True:
        try:
            worker, is_new = _idle.pop(), False
        except IndexError:
            try:
                worker, is_new = _started(), True
            except OSError:
                return backend.produce(text, cpu, form)
        try:
            marshal.dump((text, cpu, form), worker.stdin)  # type: ignore[arg-type]
            worker.stdin.flush()  # type: ignore[union-attr]
            answer: Any = marshal.load(worker.stdout)  # type: ignore[arg-type]
        except (OSError, EOFError, ValueError):
            _end(worker)
            if is_new:
                raise RuntimeError("LLVM ended its process while compiling a kernel") from None
            continue  # it may have ended before, because it had waited for too long
        _idle.append(worker)
        if isinstance(answer, str):
            raise RuntimeError(answer)
        found: Answer = answer
        return found


def _start() -> None:
    with contextlib.suppress(OSError):
        _idle.append(_started())


def _started() -> subprocess.Popen[bytes]:
    """A new worker, after its greeting. Raises OSError if there is none, now and from then on."""
    global _possible
    if not _possible:
        raise OSError("workers cannot be started")
    folder = str(Path(llvmlite.__file__).parent.parent)
    start = f"import runpy, sys; sys.path.append({folder!r}); runpy.run_path({backend.__file__!r}, run_name='__main__')"
    worker = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", start],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is not for it
    )
    try:
        if marshal.load(worker.stdout) == backend.GREETING:  # type: ignore[arg-type]
            return worker
    except (OSError, EOFError, ValueError, TypeError):
        pass
    _possible = False  # this interpreter does not find llvmlite in another process
    _end(worker)
    raise OSError("workers cannot be started")


def _is_interpreter(file: str) -> bool:
    """False if Python is embedded in another program: that would be started instead."""
    return Path(file).name.lower().startswith("python") and not getattr(sys, "frozen", False)


_possible = _is_interpreter(sys.executable or "")


def _end(worker: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        worker.stdin.close()  # type: ignore[union-attr]
    worker.stdout.close()  # type: ignore[union-attr]
    worker.kill()
    worker.wait()


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@atexit.register
def _end_all() -> None:
    while _idle:
        _end(_idle.pop())


def _forget() -> None:
    """In a forked process: the workers answer to the other one."""
    for worker in _idle:
        worker.returncode = 0  # it is not this process's child
    _idle.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
