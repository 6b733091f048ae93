"""python -m conformance [--suite ops] [--op NAME] [--tier 1|2|all] [--dtype float32] [--mode eager|traced] [--write]

Runs PyTorch's samples (``torch.testing._internal``: ``op_db``, ``module_db``, ``optim_db``) of everything that tracer has
under the same name. The suites: ``ops``; ``halves``, the first tier's samples rounded to multiples of a half (ties and exact
zeros, which PyTorch's lack); ``modules``; ``optimizers``.
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
    chosen = {"1": set(FIRST), "2": set(SECOND), "all": set(FIRST) if suite == "halves" else None}[tier]
    return run_op, names if chosen is None else [n for n in names if n in chosen]


def main() -> None:
    parser = argparse.ArgumentParser(prog="conformance", description=__doc__)
    parser.add_argument("--suite", action="append", default=[], choices=["ops", "halves", "modules", "optimizers"])
    parser.add_argument("--op", action="append", default=[])
    parser.add_argument("--tier", default="all", choices=["1", "2", "all"])
    parser.add_argument("--dtype", action="append", default=[])
    parser.add_argument("--mode", action="append", default=[], choices=["eager", "traced"])
    parser.add_argument("--limit", type=int, default=10_000)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--failures", action="store_true")
    parser.add_argument("--write", action="store_true", help="keep the tables in docs/conformance.md")
    options = parser.parse_args()
    dtypes, modes = options.dtype or ["float32", "float64"], options.mode or ["eager", "traced"]
    found: dict[str, list[dict[str, Any]]] = {}
    for suite in options.suite or ["ops", "halves", "modules", "optimizers"]:
        run, names = _suite(suite, options.tier)
        if options.op:
            names = [n for n in names if any(fnmatch.fnmatch(n, p) for p in options.op)]
        jobs = [(n, d, m, options.limit, suite == "halves") for n in dict.fromkeys(names) for m in modes for d in dtypes]
        start = time.time()
        if options.jobs == 1:
            found[suite] = list(map(run, jobs))
        else:
            with multiprocessing.get_context("spawn").Pool(options.jobs, maxtasksperchild=400) as pool:
                found[suite] = list(pool.imap(run, jobs, chunksize=4))
        print(f"{suite}: {len(jobs)} runs in {time.time() - start:.0f} s")
        print(summary(found[suite], options.failures), flush=True)
    if options.write:
        write(found, Path("docs/conformance.md"))
    sys.exit(any(r["counts"]["wrong"] for results in found.values() for r in results))


if __name__ == "__main__":
    main()
