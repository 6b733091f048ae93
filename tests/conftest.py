"""Kernels compiled by tests go to a cache of their own, shared by the processes of one run and of the next."""

import os
import tempfile
from pathlib import Path

os.environ.setdefault("TRACER_CACHE_DIR", str(Path(tempfile.gettempdir()) / f"tracer-tests-{os.getuid()}"))
