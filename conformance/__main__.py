"""python -m conformance [--op NAME] [--tier 1|2|all] [--dtype float32] [--mode eager|traced] [--write]

Runs PyTorch's samples (``torch.testing._internal``, op_db) of every operation that tracer has under the same name.
"""

from __future__ import annotations

import argparse
import fnmatch
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import modules, optimizers
from .run import name_of, run_op
from .tiers import FIRST, SECOND

SKIPPED = ("_", "torch.", "masked.", "sparse", "to_sparse", "jiterator", "ops.", "signal.")


def _suite(suite: str, tier: str) -> tuple[Callable[[Any], dict[str, Any]], list[str]]:
    """What runs a sample set, and the names of what there is in it."""
    if suite == "modules":
        return modules.run_module, modules.names()
    if suite == "optimizers":
        return optimizers.run_optimizer, optimizers.names()
    from torch.testing._internal.common_methods_invocations import op_db

    names = [n for n in map(name_of, op_db) if not n.startswith(SKIPPED) or n.startswith(("__r", "__g"))]
    chosen = {"1": set(FIRST), "2": set(SECOND), "all": None}[tier]
    return run_op, names if chosen is None else [n for n in names if n in chosen]


def main() -> None:
    parser = argparse.ArgumentParser(prog="conformance", description=__doc__)
    parser.add_argument("--suite", default="ops", choices=["ops", "modules", "optimizers"])
    parser.add_argument("--op", action="append", default=[])
    parser.add_argument("--tier", default="all", choices=["1", "2", "all"])
    parser.add_argument("--dtype", action="append", default=[])
    parser.add_argument("--mode", action="append", default=[], choices=["eager", "traced"])
    parser.add_argument("--limit", type=int, default=10_000)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--halves", action="store_true", help="samples rounded to multiples of a half")
    parser.add_argument("--failures", action="store_true")
    parser.add_argument("--write", action="store_true", help="keep the table in docs/conformance.md")
    options = parser.parse_args()
    run, names = _suite(options.suite, options.tier)
    if options.op:
        names = [n for n in names if any(fnmatch.fnmatch(n, p) for p in options.op)]
    dtypes, modes = options.dtype or ["float32", "float64"], options.mode or ["eager", "traced"]
    jobs = [(n, d, m, options.limit, options.halves) for n in dict.fromkeys(names) for m in modes for d in dtypes]
    start = time.time()
    if options.jobs == 1:
        results = list(map(run, jobs))
    else:
        with multiprocessing.get_context("spawn").Pool(options.jobs, maxtasksperchild=400) as pool:
            results = list(pool.imap(run, jobs, chunksize=4))
    from .report import summary, write

    print(summary(results, options.failures))
    print(f"{len(jobs)} runs in {time.time() - start:.0f} s")
    if options.write:
        write(results, Path("docs/conformance.md"))
    sys.exit(any(r["counts"]["wrong"] for r in results))


if __name__ == "__main__":
    main()
