"""Results of runs, stored in a file: one line per run; the last line of a run counts.

A complete run takes an hour or more. It can be stopped and resumed, or split, and fixed operations can be run again alone.
The report is written from all stored results.
"""

from __future__ import annotations

import collections
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .run import Job

FILE = Path("build/conformance.jsonl")


def keep(job: Job, result: dict[str, Any]) -> None:
    """Appends a result."""
    FILE.parent.mkdir(exist_ok=True)
    with FILE.open("a") as file:
        file.write(json.dumps([job, result]) + "\n")


def of(jobs: Iterable[Job]) -> tuple[list[dict[str, Any]], list[Job]]:
    """The stored results of these jobs, and the jobs without one."""
    found: dict[Job, dict[str, Any]] = {}
    for line in FILE.read_text().splitlines() if FILE.exists() else []:
        job, result = json.loads(line)
        found[Job(*job)] = {**result, "counts": collections.Counter(result["counts"])}
    asked = list(jobs)
    return [found[job] for job in asked if job in found], [job for job in asked if job not in found]
