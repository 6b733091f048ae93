"""The report on the runs: counts and tables."""

from __future__ import annotations

import collections
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .run import Job
from .tiers import FIRST, SECOND

ERRORS = ("errors agree", "errors of another type", "errors not raised", "errors not comparable")
TIERS = {"first tier": set(FIRST), "second tier": set(SECOND)}
BAD = ("wrong", "crash", "missing", "absent")  # last words of the names of failure counts
Runs = list[dict[str, Any]]


def _count(runs: Iterable[dict[str, Any]], *verdicts: str) -> int:
    """The number of samples with one of the verdicts, as functions, methods and in place."""
    return sum(n for r in runs for key, n in r["counts"].items() if key.split()[-1] in verdicts)


def _passes(runs: Runs) -> bool:
    """True if there are samples and all pass."""
    return not _count(runs, *BAD) and _count(runs, "ok") > 0


def _by(results: Runs, *fields: str) -> dict[Any, Runs]:
    groups: dict[Any, Runs] = collections.defaultdict(list)
    for r in results:
        groups[tuple(r[f] for f in fields)].append(r)
    return groups


def _names(runs: Runs, *verdicts: str) -> list[str]:
    return sorted({r["op"] for r in runs if _count([r], *verdicts)})


def summary(results: Runs, failures: bool) -> str:
    """Counts by mode and dtype, and, if asked for, every failure."""
    lines = []
    if failures:
        for (op, mode), runs in _by(results, "op", "mode").items():
            if not _count(runs, "wrong", "crash", "missing"):
                continue
            total: collections.Counter[str] = sum((r["counts"] for r in runs), collections.Counter())
            lines.append(f"{op} [{mode}] {dict(total)}")
            lines += [f"    {r['dtype']} {reason}" for r in runs for reason in r["reasons"][:3]]
    absent = _names(results, "absent")
    present = [r for r in results if not r["counts"]["absent"]]
    lines.append(f"{len({r['op'] for r in results})} names, {len(absent)} of them absent")
    for (mode,), runs in _by(present, "mode").items():
        by_op = _by(runs, "op")
        tested = {op for (op,), of_op in by_op.items() if _count(of_op, "ok", *BAD)}
        good = {op for op in tested if _passes(by_op[op,])}
        tiers = [f"{len(good & tier)} of {len(tested & tier)} of the {name}" for name, tier in TIERS.items() if tested & tier]
        lines.append(f"{mode}: {len(good)} of {len(tested)} pass" + (f" ({', '.join(tiers)})" if tiers else ""))
        lines.append(
            "               names    pass    samples   wrong crashes  raises" + ("  replayed" if mode == "traced" else "")
        )
        for (dtype,), of_dtype in _by(runs, "dtype").items():
            with_samples = [r for r in of_dtype if _count([r], "ok", *BAD)]
            passing = sum(_passes([r]) for r in with_samples)
            counts = [_count(of_dtype, v) for v in ("wrong", "crash", "missing")]
            numbers = [len(with_samples), passing, _count(of_dtype, "ok", *BAD), *counts]
            line = f"  {dtype:10}" + "".join(f"{n:8}" if k != 2 else f"{n:11}" for k, n in enumerate(numbers))
            lines.append(line + (f"{_count(of_dtype, 'replayed'):10}" if mode == "traced" else ""))
        errors = {key: sum(r["counts"][key] for r in runs) for key in ERRORS}
        if any(errors.values()):
            lines.append("  bad input: " + ", ".join(f"{n} {key}" for key, n in errors.items()))
        for verdict, word in (("wrong", "differ"), ("crash", "fail only when traced"), ("missing", "raise")):
            if names := _names(runs, verdict):
                lines.append(f"  {word}: {' '.join(names)}")
    return "\n".join(lines)


TITLES = {
    "ops": "Operations (`op_db`)",
    "halves": "Operations on inputs rounded to multiples of 0.5",
    "modules": "Modules (`module_db`)",
    "optimizers": "Optimizers and schedules (`optim_db`)",
}


def write(found: dict[str, tuple[Runs, list[Job]]], path: Path) -> None:
    """Writes the report: a summary and a table for each suite in ``found``, which has its runs and its missing jobs."""
    import torch

    lines = [
        "# Conformance",
        "",
        f"The samples of PyTorch {torch.__version__.split('+')[0]}'s test databases, run by PyTorch and by tracer, eager and",
        "traced. Compared are values, dtypes, shapes, first and second derivatives (float64), methods and in-place methods.",
        "Operations run in float32, float64, bfloat16, float16, complex64, complex128, int64, int32, uint8 and bool, wherever",
        "PyTorch has samples of the dtype. Samples of inexact dtypes run again, rounded to multiples of 0.5, for ties and",
        "exact zeros. A sample is *wrong* if a result differs, and a *crash* if only the traced run fails or cannot be",
        "compiled. Made by `make conformance`.",
    ]
    for suite, (results, lacking) in found.items():
        if not results:
            continue
        days = sorted({r["when"] for r in results})
        when = f"on {days[0]}" if len(days) == 1 else f"from {days[0]} to {days[-1]}"
        how = f"Run {when}, in {sum(r['seconds'] for r in results) / 60:.0f} minutes of processor time."
        if lacking:
            where = ", ".join(dict.fromkeys(f"{job.dtype} {job.mode}" for job in lacking))
            how += f" Not run: {len(lacking)} of {len(results) + len(lacking)} ({where})."
        lines += ["", f"## {TITLES[suite]}", "", how, "", "```", summary(results, False), "```", "", *_table(results)]
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def _table(results: Runs) -> list[str]:
    """A row per name and a column per dtype: ``all``, or the number of passing samples; empty if PyTorch has none."""
    dtypes = list(dict.fromkeys(r["dtype"] for r in results))
    lines = [f"| name | {' | '.join(dtypes)} | what differs |", f"| --- |{' --- |' * len(dtypes)} --- |"]
    for (op,), of_op in sorted(_by(results, "op").items()):
        by_dtype = _by(of_op, "dtype")
        cells = []
        for dtype in dtypes:
            runs = by_dtype[dtype,]
            good, tried = _count(runs, "ok"), _count(runs, "ok", *BAD)
            absent = any(r["counts"]["absent"] for r in runs)
            cells.append("absent" if absent else "" if not tried else "all" if _passes(runs) else f"{good} of {tried}")
        reason = next((x for r in of_op for x in r["reasons"] if not x.startswith("error")), "")
        lines.append(f"| `{op}` | {' | '.join(cells)} | {' '.join(reason.replace('|', '/').split())[:140]} |")
    return lines
