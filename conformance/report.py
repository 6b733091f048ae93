"""What the runs add up to."""

from __future__ import annotations

import collections
from pathlib import Path
from typing import Any

from .tiers import FIRST, SECOND

ERRORS = ("errors agree", "errors of another type", "errors not raised", "errors not comparable")
TIERS = {"first tier": set(FIRST), "second tier": set(SECOND)}


def _passes(runs: list[dict[str, Any]]) -> bool:
    """Whether every sample of an operation passes, and there are some."""
    bad = sum(n for r in runs for key, n in r["counts"].items() if key.split()[-1] in ("wrong", "missing", "absent"))
    return not bad and any(r["counts"]["ok"] for r in runs)


def _by(results: list[dict[str, Any]]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    groups: dict[tuple[str, str], list[dict[str, Any]]] = collections.defaultdict(list)
    for r in results:
        groups[r["op"], r["mode"]].append(r)
    return groups


def summary(results: list[dict[str, Any]], failures: bool) -> str:
    """Counts by tier and mode, and, if asked for, every failure."""
    lines = []
    groups = _by(results)
    if failures:
        for (op, mode), runs in groups.items():
            if _passes(runs):
                continue
            total: collections.Counter[str] = sum((r["counts"] for r in runs), collections.Counter())
            lines.append(f"{op} [{mode}] {dict(total)}")
            lines += [f"    {r['dtype']} {reason}" for r in runs for reason in r["reasons"][:3]]
    for mode in dict.fromkeys(m for _, m in groups):
        ops = {op for op, m in groups if m == mode}
        good = {op for op in ops if _passes(groups[op, mode])}
        wrong = {op for op in ops if any("wrong" in key and n for r in groups[op, mode] for key, n in r["counts"].items())}
        absent = {op for op in ops if any(r["counts"]["absent"] for r in groups[op, mode])}
        replayed = {op for op in good if any(r["counts"]["replayed"] for r in groups[op, mode])}
        parts = [f"{len(good & tier)} of {len(ops & tier)} of the {name}" for name, tier in TIERS.items() if ops & tier]
        tiers = f" ({', '.join(parts)})" if parts else ""
        lines.append(
            f"{mode}: {len(good)} of {len(ops)} pass{tiers}; {len(wrong)} differ somewhere, "
            f"{len(absent)} absent" + (f"; {len(replayed)} replayed" if mode == "traced" else "")
        )
        errors = {key: sum(r["counts"][key] for op in ops for r in groups[op, mode]) for key in ERRORS}
        if any(errors.values()):
            lines.append("  bad input: " + ", ".join(f"{n} {key}" for key, n in errors.items()))
        if wrong:
            lines.append(f"  differ: {' '.join(sorted(wrong))}")
    return "\n".join(lines)


TITLES = {
    "ops": "Operations (`op_db`)",
    "halves": "Operations of the first tier on inputs rounded to multiples of a half",
    "modules": "Modules (`module_db`)",
    "optimizers": "Optimizers and schedules (`optim_db`)",
}


def write(found: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """The tables, operation by operation. Of suites that were not run, what the file said stays."""
    import torch

    before = path.read_text().split("\n## ")[1:] if path.exists() else []
    sections = {text.split("\n", 1)[0]: text.split("\n", 1)[1].strip("\n") for text in before}
    for suite, results in found.items():
        sections[TITLES[suite]] = "\n".join(["", "```", summary(results, False), "```", "", *_table(results)])

    lines = [
        "# Conformance",
        "",
        f"Every sample of PyTorch {torch.__version__.split('+')[0]}'s own databases, run by PyTorch and by tracer,",
        "in float32 and float64 (integers where there are no floats): values, dtypes, shapes, first derivatives,",
        "second derivatives (float64), methods and in-place methods. Made by `make conformance`.",
    ]
    for title in TITLES.values():
        if title in sections:
            lines += ["", f"## {title}", "", sections[title].strip("\n")]
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def _table(results: list[dict[str, Any]]) -> list[str]:
    groups = _by(results)
    modes = list(dict.fromkeys(m for _, m in groups))
    lines = [f"| name | {' | '.join(modes)} | what differs |", f"| --- | {' | '.join('---' for _ in modes)} | --- |"]
    for op in sorted({op for op, _ in groups}):
        cells, reason = [], ""
        for mode in modes:
            runs = groups[op, mode]
            total: collections.Counter[str] = sum((r["counts"] for r in runs), collections.Counter())
            if total["absent"]:
                cells.append("absent")
            else:
                cells.append("all" if _passes(runs) else f"{total['ok']} of {total['ok'] + total['wrong'] + total['missing']}")
            reason = reason or next((x for r in runs for x in r["reasons"] if not x.startswith("error")), "")
        lines.append(f"| `{op}` | {' | '.join(cells)} | {' '.join(reason.replace('|', '/').split())[:140]} |")
    return lines
