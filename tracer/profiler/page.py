"""A profile as one HTML file: graph, stages side by side, kernels, phases, memory.

The page contains its data as JSON, its script, and the layout library dagre (https://github.com/dagrejs/dagre, MIT license),
so it needs no network.
"""

from __future__ import annotations

import base64
import json
import linecache
import zlib
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from ..ir.graph import Graph, Value
from ..ir.ops import reshape
from ..runtime.programs.layout import steps_of
from .kernels import PHASES, Kernel, executables
from .table import count, duration, named, short, size

if TYPE_CHECKING:
    from .session import Profile

_MACHINE_TEXTS = 64  # kernels whose LLVM IR and assembly are in the page: those that took the most time
_AROUND = 3  # source lines shown before and after those that were recorded


def page(profile: Profile) -> str:
    """The HTML text."""
    folder = files(__package__)
    text = folder.joinpath("page.html").read_text(encoding="utf-8")
    data = json.dumps(_data(profile), separators=(",", ":")).replace("</", "<\\/")
    names = {"page.css": "page.css", "page.js": "page.js", "LAYOUT": "dagre.min.js"}
    parts = {mark: folder.joinpath(name).read_text(encoding="utf-8") for mark, name in names.items()}
    for name, content in {**parts, "DATA": data}.items():  # the data last: they may contain any text
        text = text.replace(f"/*{name}*/", content, 1)
    return text


def _data(profile: Profile) -> dict[str, Any]:
    kernels = profile.kernels
    codes: dict[str, int] = {}
    whole = sum(k.nanoseconds for k in kernels) or 1
    described = [_kernel(k, whole, codes.setdefault(k.source, len(codes))) for k in kernels]
    by_plan = executables()
    programs = []
    for number, plan in enumerate(profile.plans):
        its = [i for i, k in enumerate(kernels) if k.program == number]
        if its:
            known = by_plan.get(id(plan))
            graph, fused = (known.graph, known.fused) if known else (None, None)
            programs.append(_program(number, graph, fused, kernels, its, described))
    peak = max((used for _, used in profile.memory), default=0)
    return {
        "summary": f"{duration(profile.seconds * 1e9)}, {len(programs)} native programs"
        + (f", at most {size(peak)} of memory" if peak else ""),
        "phases": [{"name": name, "seconds": s, "time": duration(s * 1e9)} for name, s in profile.phases.items()],
        "memory": _thinned(profile.memory),
        "kernels": described,
        "codes": list(codes),
        "machine": _machine_texts(kernels, codes),
        "machineLimit": _MACHINE_TEXTS,
        "programs": programs,
        "files": _sources({line for k in kernels for line in k.lines} | _lines_of(programs)),
        "eager": [
            {"name": name, "phase": phase, "calls": calls, "time": duration(s * 1e9)}
            for (name, phase), (calls, s) in sorted(profile.eager.items(), key=lambda item: -item[1][1])[:50]
        ],
    }


def _kernel(k: Kernel, whole: float, code: int) -> dict[str, Any]:
    per = k.mean or 1.0
    return {
        "name": named(k),
        "short": k.name,
        "program": k.program,
        "step": k.step,
        "phase": k.phase,
        "group": [k.phase.split("+")[0] or PHASES[0], *_common([m.split("/") for m in k.modules])],
        "operations": k.operations,
        "lines": [short(line) for line in k.lines],
        "calls": k.calls,
        "nanoseconds": k.nanoseconds,
        "time": duration(k.nanoseconds),
        "mean": duration(k.mean),
        "part": k.nanoseconds / whole,
        "bytes": size(k.nbytes),
        "bandwidth": f"{k.nbytes / per:.1f} GB/s",
        "flops": count(k.flops),
        "rate": f"{k.flops / per:.1f} GFLOP/s" if k.flops else "",
        "roof": k.share if k.nbytes else 0,
        "code": code,
        "result": k.result,
    }


def _machine_texts(kernels: list[Kernel], codes: dict[str, int]) -> dict[int, list[str]]:
    """LLVM IR and assembly by the number of the kernel's text, compressed (deflate, base64): the page decompresses what it
    shows. Steps that NumPy computes have none, nor have the fastest of many kernels.
    """
    from ..runtime.compiler.compile import machine_texts

    spent: dict[str, int] = {}
    names: dict[str, str] = {}
    for k in kernels:
        if "def kernel(" in k.source:
            spent[k.source] = spent.get(k.source, 0) + k.nanoseconds
            names.setdefault(k.source, k.name)
    if not spent:
        return {}
    slowest = sorted(spent, key=lambda source: -spent[source])[:_MACHINE_TEXTS]
    try:
        texts = machine_texts({source: names[source] for source in slowest})
    except (ImportError, RuntimeError):  # no compiler: the kernels came from the disk cache
        return {}
    return {codes[source]: [_compressed(text) for text in pair] for source, pair in texts.items()}


def _compressed(text: str) -> str:
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def _common(paths: list[list[str]]) -> list[str]:
    if not paths:
        return []
    shared = []
    for parts in zip(*paths, strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return shared


def _program(
    number: int,
    graph: Graph | None,
    fused: Graph | None,
    kernels: list[Kernel],
    its: list[int],
    described: list[dict[str, Any]],
) -> dict[str, Any]:
    """A program: its kernels by their indexes, the edges between them, its graph and its fused graph as rows of text."""
    k = kernels[its[0]]
    title = k.function if k.phase != "backward" or graph is None or "backward" not in graph.name else f"{k.function}, backward"
    found: dict[str, Any] = {"number": number, "title": title, "kernels": its, "edges": [], "graph": [], "fused": []}
    if graph is None or fused is None:
        return found
    steps = steps_of(fused)
    if len(steps) != len(its):
        return found
    of_op = {id(op): i for i, (op, _) in zip(its, steps, strict=True)}
    made = {v: i for i, (op, _) in zip(its, steps, strict=True) for v in op.results}
    edges: dict[tuple[int, int], str] = {}
    for i, (op, _) in zip(its, steps, strict=True):
        for v in op.operands:
            source = made.get(_root(v))
            if source is not None and source != i:
                edges.setdefault((source, i), str(v.type))
    found["edges"] = [[a, b, label] for (a, b), label in edges.items()]
    _order_phases(its, edges, described)
    found["graph"] = _rows(graph, {})
    found["fused"] = _rows(fused, of_op)
    return found


def _order_phases(its: list[int], edges: Iterable[tuple[int, int]], described: list[dict[str, Any]]) -> None:
    """Groups a kernel with operations of several phases under the first that is not before the phase of a kernel whose result
    it reads, so that no edge leads back to an earlier phase.
    """
    sources: dict[int, list[int]] = {}
    for a, b in edges:
        sources.setdefault(b, []).append(a)
    for i in its:
        phases = [described[k]["group"][0] for k in (i, *sources.get(i, ()))]
        described[i]["group"][0] = max(phases, key=PHASES.index)


def _root(v: Value) -> Value:
    while v.op is not None and v.op.primitive is reshape:
        v = v.op.operands[0]
    return v


def _rows(graph: Graph, kernels: Mapping[int, int]) -> list[list[Any]]:
    """The lines of a graph's text: each with the source line and the kernel of the operation that it belongs to."""
    rows: list[list[Any]] = []
    ops = iter(graph.ops)
    line, kernel = "", -1
    for text in str(graph).splitlines():
        if text.startswith("  %"):
            op = next(ops)
            line, kernel = short(str(op.loc)), kernels.get(id(op), -1)
        elif not text.startswith("   ") and text != "  }":
            line, kernel = "", -1
        rows.append([text, line, kernel])
    return rows


def _lines_of(programs: list[dict[str, Any]]) -> set[str]:
    return {row[1] for p in programs for row in p["graph"] if row[1]}


def _sources(lines: set[str]) -> dict[str, list[list[Any]]]:
    """The recorded parts of the user's files: numbers and texts of lines, by path."""
    wanted: dict[str, set[int]] = {}
    for line in lines:
        path, _, number = line.rpartition(":")
        if number.isdigit():
            wanted.setdefault(path, set()).add(int(number))
    found: dict[str, list[list[Any]]] = {}
    for path, numbers in sorted(wanted.items()):
        shown = {n + d for n in numbers for d in range(-_AROUND, _AROUND + 1)}
        texts = [[n, linecache.getline(path, n).rstrip("\n")] for n in sorted(shown)]
        found.setdefault(short(path), []).extend(row for row in texts if row[1] and row not in found.get(short(path), []))
    return {path: sorted(rows) for path, rows in found.items()}


def _thinned(memory: list[tuple[float, int]], most: int = 600) -> list[tuple[float, int]]:
    return memory[:: max(len(memory) // most, 1)]
