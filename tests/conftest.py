"""The kernel cache of the tests, and the list of programs that tracing does not get right yet."""

import os
import tempfile
from pathlib import Path

import pytest

# Kernels compiled by tests go to a cache of their own, shared by the processes of one run and of the next.
os.environ.setdefault("TRACER_CACHE_DIR", str(Path(tempfile.gettempdir()) / f"tracer-tests-{os.getuid()}"))

HOLES = set((Path(__file__).parent / "trace_holes.txt").read_text().splitlines())


def pytest_collection_modifyitems(items):
    """Programs whose replay is known to differ from the eager run: a line goes when its hole is closed, none is added."""
    for item in items:
        if f"{item.path.name}::{item.nodeid.split('::', 1)[-1]}" in HOLES:
            item.add_marker(pytest.mark.xfail(reason="a known hole of tracing, see trace_holes.txt", strict=False))
