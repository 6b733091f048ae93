"""The kernel cache of the tests."""

import os
import tempfile
from pathlib import Path

# Kernels compiled by tests go to a cache of their own, shared by the processes of one run and of the next.
os.environ.setdefault("TRACER_CACHE_DIR", str(Path(tempfile.gettempdir()) / f"tracer-tests-{os.getuid()}"))
