"""python -m conformance [--suite ops] [--op NAME] [--tier 1|2|all] [--dtype int64] [--mode eager|traced] [--limit N] [--write]

Runs PyTorch's samples (``torch.testing._internal``: ``op_db``, ``module_db``, ``optim_db``) of everything that tracer has
under the same name, in the dtypes for which PyTorch has samples. The suites: ``ops``; ``halves``, the samples of inexact
dtypes rounded to multiples of a half (ties and exact zeros, which PyTorch's lack); ``modules``; ``optimizers``. ``--limit``
bounds the samples of an operation in a dtype and mode, evenly spread: 16 eager and 6 traced ones by default; 0 runs all.
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
from .report import summary, write
from .run import Job, name_of, run_op
from .tiers import FIRST, SECOND

DTYPES = {
    "halves": ["float32", "float64", "bfloat16", "float16", "complex64", "complex128"],
    "modules": ["float32", "float64", "bfloat16", "float16"],
    "optimizers": ["float32", "float64"],
}
DTYPES["ops"] = [*DTYPES["halves"], "int64", "int32", "uint8", "bool"]
LIMIT = {"eager": 16, "traced": 6}  # what is traced is compiled
SKIPPED = ("_", "torch.", "masked.", "sparse", "to_sparse", "jiterator", "ops.", "signal.")


def _suite(suite: str, tier: str) -> tuple[Callable[[Job], dict[str, Any]], list[str]]:
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
    parser.add_argument("--suite", action="append", default=[], choices=["ops", "halves", "modules", "optimizers"])
    parser.add_argument("--op", action="append", default=[])
    parser.add_argument("--tier", default="all", choices=["1", "2", "all"])
    parser.add_argument("--dtype", action="append", default=[])
    parser.add_argument("--mode", action="append", default=[], choices=["eager", "traced"])
    parser.add_argument("--limit", type=int)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--failures", action="store_true")
    parser.add_argument("--write", action="store_true", help="keep the tables in docs/conformance.md")
    options = parser.parse_args()
    modes = options.mode or ["eager", "traced"]
    minutes: dict[str, float] = {}
    found: dict[str, list[dict[str, Any]]] = {}
    for suite in options.suite or ["ops", "halves", "modules", "optimizers"]:
        run, names = _suite(suite, options.tier)
        if options.op:
            names = [n for n in names if any(fnmatch.fnmatch(n, p) for p in options.op)]
        dtypes = [d for d in DTYPES[suite] if not options.dtype or d in options.dtype]
        jobs = [
            Job(n, d, m, LIMIT[m] if options.limit is None else options.limit, suite == "halves")
            for n in dict.fromkeys(names)
            for m in modes
            for d in dtypes
        ]
        start = time.time()
        if options.jobs == 1:
            found[suite] = list(map(run, jobs))
        else:
            with multiprocessing.get_context("spawn").Pool(options.jobs, maxtasksperchild=400) as pool:
                found[suite] = list(pool.imap(run, jobs, chunksize=4))
        minutes[suite] = (time.time() - start) / 60
        print(f"{suite}: {len(jobs)} runs in {minutes[suite]:.1f} minutes")
        print(summary(found[suite], options.failures), flush=True)
    if options.write:
        write(found, minutes, Path("docs/conformance.md"))
    sys.exit(any(r["counts"]["wrong"] or r["counts"]["crash"] for results in found.values() for r in results))


if __name__ == "__main__":
    main()
