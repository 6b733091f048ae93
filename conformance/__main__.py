"""python -m conformance [--suite ops] [--op NAME] [--dtype int64] [--mode eager|traced] [--limit N] [--rest] [--write] ...

Runs PyTorch's samples (``torch.testing._internal``: ``op_db``, ``module_db``, ``optim_db``) for everything that tracer has
under the same name, in the dtypes for which PyTorch has samples. The suites: ``ops``; ``halves``, the samples of inexact
dtypes rounded to multiples of 0.5 (ties and exact zeros, which PyTorch's lack); ``modules``; ``optimizers``. ``--limit``
bounds the number of samples per operation, dtype and mode, evenly spread: by default 16 eager and 6 traced ones; 0 runs
all.

Every result is stored (``records``), so a complete run can be split: ``--rest`` runs only jobs without a stored result.
``--write`` writes the report, docs/conformance.md, from all stored results, after this call's runs.
"""

from __future__ import annotations

import argparse
import fnmatch
import functools
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from . import modules, optimizers, records
from .report import summary, write
from .run import Job, name_of, run_op, timed
from .tiers import FIRST, SECOND

DTYPES = {
    "halves": ["float32", "float64", "bfloat16", "float16", "complex64", "complex128"],
    "modules": ["float32", "float64", "bfloat16", "float16"],
    "optimizers": ["float32", "float64"],
}
DTYPES["ops"] = [*DTYPES["halves"], "int64", "int32", "uint8", "bool"]
SUITES = ("ops", "halves", "modules", "optimizers")
LIMIT = {"eager": 16, "traced": 6}  # traced samples are compiled
SKIPPED = ("_", "torch.", "masked.", "sparse", "to_sparse", "jiterator", "ops.", "signal.")


def _suite(suite: str, tier: str) -> tuple[Callable[[Job], dict[str, Any]], list[str]]:
    """The function that runs a sample, and the names in the suite."""
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
    parser.add_argument("--suite", action="append", default=[], choices=SUITES)
    parser.add_argument("--op", action="append", default=[])
    parser.add_argument("--tier", default="all", choices=["1", "2", "all"])
    parser.add_argument("--dtype", action="append", default=[])
    parser.add_argument("--mode", action="append", default=[], choices=["eager", "traced"])
    parser.add_argument("--limit", type=int)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--failures", action="store_true")
    parser.add_argument("--write", action="store_true", help="write the tables to docs/conformance.md")
    parser.add_argument("--rest", action="store_true", help="only jobs without a stored result")
    options = parser.parse_args()
    results: list[dict[str, Any]] = []
    for suite in options.suite or SUITES:
        run, names = _suite(suite, options.tier)
        if options.op:
            names = [n for n in names if any(fnmatch.fnmatch(n, p) for p in options.op)]
        jobs = _jobs(suite, names, options.mode, options.dtype, options.limit)
        start, asked = time.time(), records.of(jobs)[1] if options.rest else jobs
        for job, result in zip(asked, _run(run, asked, options.jobs), strict=True):
            records.keep(job, result)
        print(f"{suite}: {len(asked)} runs in {(time.time() - start) / 60:.1f} minutes")
        made, _ = records.of(jobs)
        print(summary(made, options.failures), flush=True)
        results += made
    if options.write:
        write({suite: records.of(_jobs(suite, _suite(suite, "all")[1])) for suite in SUITES}, Path("docs/conformance.md"))
    sys.exit(any(r["counts"]["wrong"] or r["counts"]["crash"] for r in results))


def _jobs(
    suite: str, names: list[str], modes: Sequence[str] = (), dtypes: Sequence[str] = (), limit: int | None = None
) -> list[Job]:
    """The jobs of a suite for these names; all modes and dtypes if none are given."""
    return [
        Job(suite, n, d, m, LIMIT[m] if limit is None else limit)
        for m in modes or LIMIT
        for d in DTYPES[suite]
        if not dtypes or d in dtypes
        for n in dict.fromkeys(names)
    ]


def _run(run: Callable[[Job], dict[str, Any]], jobs: list[Job], processes: int) -> Iterator[dict[str, Any]]:
    """The jobs' results, in order."""
    asked = functools.partial(timed, run)
    if processes == 1:
        yield from map(asked, jobs)
    elif jobs:
        with multiprocessing.get_context("spawn").Pool(processes, maxtasksperchild=400) as pool:
            yield from pool.imap(asked, jobs, chunksize=4)


if __name__ == "__main__":
    main()
