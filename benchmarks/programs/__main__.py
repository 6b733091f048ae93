"""Runs the rows on the engines, keeps the results, and writes the page."""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parent.parent.parent
ENGINES = ("eager", "torch", "traced", "again", "inductor")  # in this order: see child.py
RESULTS = _ROOT / "build" / "programs.jsonl"


def run(engine: str, name: str, folder: Path, clones: str, seconds: float) -> dict[str, Any]:
    """The result of one process; ``error`` says why there is none."""
    out = folder / f"{engine}.json"
    out.unlink(missing_ok=True)
    command = [sys.executable, "-m", "benchmarks.programs.child", engine, name, str(folder), str(out), clones]
    caches = {"TRACER_CACHE_DIR": str(folder / "cache"), "TORCHINDUCTOR_CACHE_DIR": str(RESULTS.parent / "inductor")}
    environment = {**os.environ, **caches, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=_ROOT,
        start_new_session=True,
    )
    begin = time.perf_counter()
    try:
        _, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.wait()
        return {"error": f"over {seconds:g} s"}
    if not out.exists():
        return {"error": (errors.strip().splitlines() or [f"exit status {process.returncode}"])[-1][:300]}
    return {**json.loads(out.read_text()), "seconds": time.perf_counter() - begin}


def kept() -> dict[str, dict[str, Any]]:
    """The last results of each row."""
    lines = RESULTS.read_text().splitlines() if RESULTS.exists() else []
    found: dict[str, dict[str, Any]] = {}
    for entry in map(json.loads, lines):
        found.setdefault(entry["name"], {})[entry["engine"]] = entry
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.programs", description=__doc__)
    parser.add_argument("--only", action="append", default=[], help="names of rows, with * and ?")
    parser.add_argument("--engines", default=",".join(ENGINES), help="some of " + ", ".join(ENGINES))
    parser.add_argument("--clones", default=str(_ROOT / "build" / "clones"), help="the folder of the clones")
    parser.add_argument("--limit", type=float, default=120, help="seconds for a process")
    parser.add_argument("--inductor-limit", type=float, default=60, help="seconds for a process with torch.compile")
    parser.add_argument("--resume", action="store_true", help="run only what has no result")
    parser.add_argument("--write", action="store_true", help="write docs/programs.md")
    options = parser.parse_args()
    import tracer.as_torch  # noqa: F401

    from . import child, page, program

    child.import_rows()
    engines = [e for e in ENGINES if e in options.engines.split(",")]
    if "inductor" in engines and not (shutil.which("g++") or shutil.which("clang++")):
        print("torch.compile is left out: there is no C++ compiler")
        engines.remove("inductor")
    RESULTS.parent.mkdir(exist_ok=True)
    chosen = [n for n in program.ROWS if not options.only or any(fnmatch.fnmatch(n, p) for p in options.only)]
    for name in chosen:
        done = kept().get(name, {}) if options.resume else {}
        missing = [e for e in engines if e not in done]
        if not missing:
            continue
        with tempfile.TemporaryDirectory() as folder:
            for engine in engines:  # all, because they use each other's files
                limit = options.inductor_limit if engine == "inductor" else options.limit
                result = run(engine, name, Path(folder), options.clones, limit)
                with RESULTS.open("a") as file:
                    file.write(json.dumps({"name": name, "engine": engine, **result}) + "\n")
        print(" | ".join(page.cells(program.ROWS[name], kept()[name])), flush=True)
    if options.write:
        page.write(program.ROWS, kept())


if __name__ == "__main__":
    main()
