"""The page ``docs/programs.md``, from the results."""

from __future__ import annotations

import math
import os
import platform
import re
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


def _files(results: Mapping[str, Any]) -> str:
    """Whether PyTorch loaded this package's state, and this package PyTorch's with the same next loss."""
    there = results.get("torch", {}).get("loaded")
    found, wanted = (results.get(e, {}).get("next") for e in ("again", "torch"))
    back = bool(found and wanted) and len(found) == len(wanted) and difference([found], [wanted]) < 1e-3
    return "both" if there and back else "to PyTorch only" if there else "from PyTorch only" if back else "no"


def _compiled(traced: Mapping[str, Any]) -> str:
    if "replayed" not in traced:
        return "-"
    if traced["replayed"] == 1:
        return "yes"
    return f"{traced['replayed']:.0%}: {_reason(traced['explain'])}"


def _reason(explain: str) -> str:
    found = re.search(r"(?:eager|because|reason)[^\n]*", explain)
    return (found.group() if found else explain.strip().splitlines()[-1])[:160].replace("|", "/")


def _ms(result: Mapping[str, Any]) -> str:
    return f"{result['time'] * 1e3:.3g}" if "time" in result else result.get("error", "-")[:40]


def cells(row: Any, results: Mapping[str, Any]) -> list[str]:
    get = lambda engine: results.get(engine, {})
    peers = [get(e)["time"] for e in ("torch", "inductor") if "time" in get(e)]
    ratio = f"{min(peers) / get('traced')['time']:.2f}" if peers and "time" in get("traced") else "-"
    first = lambda engine: f"{sum(get(engine)['calls'][:3]):.2f}" if "calls" in get(engine) else "-"
    memory = lambda engine: f"{get(engine)['memory']:.0f}" if "memory" in get(engine) else "-"
    return [
        row.name,
        *(_agreement(get(e), get("torch")) for e in ("eager", "traced")),
        _files(results),
        _compiled(get("traced")),
        *(_ms(get(e)) for e in ("torch", "inductor", "eager", "traced")),
        ratio,
        first("traced"),
        first("again"),
        memory("traced"),
        memory("torch"),
    ]


def write(rows: Mapping[str, Any], results: Mapping[str, Any]) -> None:
    raise NotImplementedError


def table(head: list[str], lines: Iterable[list[str]]) -> list[str]:
    return [f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(head) - 1)}", *(f"| {' | '.join(line)} |" for line in lines)]


_PAGE = Path(__file__).parent.parent.parent / "docs" / "programs.md"
_MACHINE = f"{os.cpu_count()} CPUs, Python {platform.python_version()}"
