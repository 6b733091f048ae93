"""The page ``docs/programs.md``, from the results."""

from __future__ import annotations

import importlib.metadata
import math
import os
import platform
import re
import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

HEAD = [
    *("program", "eager", "traced", "files", "compiled"),
    *("PyTorch, ms", "torch.compile, ms", "eager, ms", "traced, ms", "best of PyTorch / traced"),
    *("first 3 calls cold, s", "warm, s", "memory, MB", "PyTorch's, MB"),
]


def difference(found: Any, wanted: Any) -> float:
    """The largest difference of numbers of all steps, relative to the largest number."""
    pairs = [(x, y) for xs, ys in zip(found, wanted, strict=True) for x, y in zip(xs, ys, strict=True)]
    largest = max(abs(y) for _, y in pairs)
    worst = max(0.0 if x == y else abs(x - y) if math.isfinite(x) and math.isfinite(y) else math.inf for x, y in pairs)
    return worst / (largest or 1.0)


def _agreement(result: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    if "losses" not in result:
        return result.get("error", "-")
    if "losses" not in wanted:
        return "-"
    try:
        return f"{difference(result['losses'], wanted['losses']):.0e}"
    except ValueError:
        return "other shapes"


def _severity(agreement: str) -> float:
    try:
        return float(agreement)
    except ValueError:
        return -1.0 if agreement == "-" else math.inf


def _files(results: Mapping[str, Any]) -> str:
    """Whether PyTorch loaded this package's state, and this package PyTorch's, with the same tensors."""
    get = lambda engine, time: results.get(engine, {}).get(time)
    there, back = (_same(get(w, time), get(r, time)) for w, r, time in (("eager", "torch", "start"), ("torch", "again", "end")))
    return "both" if there and back else "to PyTorch only" if there else "from PyTorch only" if back else "no"


def _same(written: Any, read: Any) -> bool:
    if not (written and read) or len(written) != len(read):
        return False
    return all(
        x[:3] == y[:3] and math.isclose(x[3], y[3], rel_tol=1e-6, abs_tol=1e-6) for x, y in zip(written, read, strict=True)
    )


def worst(results: Mapping[str, Any]) -> Mapping[str, Any]:
    """The traced process with fewer replays: without files, or with those of the first."""
    found = [results[e] for e in ("traced", "again") if "replayed" in results.get(e, {})]
    return min(found, key=lambda r: r["replayed"], default={})


def _compiled(traced: Mapping[str, Any]) -> str:
    if not traced:
        return "-"
    if traced["replayed"] == 1:
        return "yes"
    why = "; ".join(dict.fromkeys(traced["reasons"])) or f"{traced['recordings']} recordings"
    why = re.sub(r"/\S*/", "", why)  # folders of this machine
    return f"{traced['replayed']:.0%}: {why[:200].replace('|', '/')}"


def _ms(result: Mapping[str, Any]) -> str:
    return f"{result['time'] * 1e3:.3g}" if "time" in result else result.get("error", "-")[:40]


def cells(row: Any, results: Mapping[str, Any]) -> list[str]:
    get = lambda engine: results.get(engine, {})
    faster = ratio(results)
    first = lambda engine: f"{sum(get(engine)['calls'][:3]):.2f}" if "calls" in get(engine) else "-"
    memory = lambda engine: f"{get(engine)['memory']:.0f}" if "memory" in get(engine) else "-"
    return [
        row.name,
        _agreement(get("eager"), get("torch")),
        max((_agreement(get(e), get("torch")) for e in ("traced", "again")), key=_severity),
        _files(results),
        _compiled(worst(results)),
        *(_ms(get(e)) for e in ("torch", "inductor", "eager", "traced")),
        "-" if faster is None else f"{faster:.2f}",
        first("traced"),
        first("again"),
        memory("traced"),
        memory("torch"),
    ]


def write(rows: Mapping[str, Any], results: Mapping[str, Any]) -> None:
    """Writes the page, with the rows that have results."""
    found = {name: results[name] for name in rows if name in results}
    lines = [cells(rows[name], found[name]) for name in found]
    notes = [f"{rows[name].name}: {rows[name].note}." for name in found if rows[name].note]
    peers = {r["torch"] for each in found.values() for e, r in each.items() if e in ("torch", "inductor") and "torch" in r}
    _PAGE.write_text(
        _TEXT.format(
            cpus=os.cpu_count(),
            load=os.getloadavg()[2],
            python=platform.python_version(),
            versions=", ".join([f"PyTorch {' '.join(sorted(peers))}", *filter(None, map(_version, _PACKAGES))]),
            summary=_summary(found),
            table="\n".join(_table(HEAD, lines)),
            notes="\n".join(f"- {note}" for note in notes),
        )
    )


def _summary(results: Mapping[str, Any]) -> str:
    traced = [r.get("traced", {}) for r in results.values()]
    replayed = sum(worst(r).get("replayed") == 1 for r in results.values())
    ratios = [x for x in map(ratio, results.values()) if x is not None]
    middle = f" The median of the last ratio is {statistics.median(ratios):.1f}." if ratios else ""
    failed = sum("losses" not in t for t in traced)
    return f"{len(traced)} programs: {replayed} run compiled in every call, {failed} have no result.{middle}"


def ratio(results: Mapping[str, Any]) -> float | None:
    """The time of a step of the faster of PyTorch and ``torch.compile``, over the traced step's."""
    times = [results[e]["time"] for e in ("torch", "inductor") if "time" in results.get(e, {})]
    ours = results.get("traced", {}).get("time")
    return min(times) / ours if times and ours else None


def _version(package: str) -> str:
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return ""


def _table(head: list[str], lines: Iterable[list[str]]) -> list[str]:
    return [f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(head) - 1)}", *(f"| {' | '.join(line)} |" for line in lines)]


_PACKAGES = ("torchvision", "timm", "transformers", "torchdiffeq", "vit-pytorch")
_PAGE = Path(__file__).parent.parent.parent / "docs" / "programs.md"
_TEXT = """\
# Public programs

Written by `make programs` on {cpus} CPUs, with a load average of {load:.1f} (1 is this run alone), Python {python}: {versions}.

{summary}

Each program runs [unmodified](pytorch-programs.md), in its own process for each engine, on one thread. Models and functions
are those of installed packages and of clones; data are random, and configurations small. The engines start from the same
weights, which they read from a file, and take the same 20 steps. A step is the whole training step (gradients to zero,
forward, backward, optimizer), or one generation.

| column | meaning |
| --- | --- |
| eager, traced | the largest difference of the 20 losses (or tokens) from PyTorch's, relative to the largest |
| files | read by PyTorch from tracer's and by tracer from PyTorch's: same names, dtypes, shapes and sums of the state dict |
| compiled | whether all of the last calls of the traced step were replayed, or the share that was, and why not more |
| times of a step | medians in steady state. The step is one traced function; `torch.compile` gets forward and loss |
| best of PyTorch / traced | the faster of PyTorch and `torch.compile`, over traced: above 1, tracer is faster |
| first 3 calls | they record and compile; cold with an empty cache folder, warm in a new process |
| memory | the largest resident memory of the process |

Random layers are off (dropout, stochastic depth). Networks with batch norms amplify rounding on small images: in float32 two
correct implementations differ more with every step. They run in float64 with small steps, where differences show meaning, not
rounding.

{table}

{notes}
"""
