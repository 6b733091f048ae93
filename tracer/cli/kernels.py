"""The kernels of a program as text: LLVM IR, assembly, or Python that plain Numba compiles."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from ..ir.graph import Graph
from ..ir.location import relative
from ..ir.primitive import Kind
from ..runtime.compiler.compile import renamed
from ..runtime.programs.layout import lay_out
from ..runtime.programs.plan import Plan, StepKind

_KERNEL = "def kernel(args, start, stop):"
Rows = list[dict[str, Any]]


@dataclass
class _Entry:
    """A kernel: its name, its text, and the steps that run it, as comments and as data."""

    name: str
    source: str
    steps: list[str] = field(default_factory=list)
    rows: Rows = field(default_factory=list)

    def data(self, text: str) -> dict[str, Any]:
        return {"kernel": self.name, "text": text, "steps": self.rows}


def native(fused: Graph, show: Callable[[str], str], mark: str) -> tuple[str, Rows]:
    """The kernels of a fused graph, each formatted by ``show``, below comments that begin with ``mark``; and as data."""
    entries, others = _entries(fused)
    shown = [renamed(show(e.source), e.name) for e in entries]
    parts = [_commented(e.steps, mark) + text for e, text in zip(entries, shown, strict=True)]
    if not entries and not others:
        others = [_NOTHING]
    rows = [e.data(text) for e, text in zip(entries, shown, strict=True)]
    return "\n".join([*parts, _commented(others, mark)]), [*rows, *({"note": note} for note in others)]


def pasteable(fused: Graph) -> tuple[str, Rows]:
    """The kernels of a fused graph as a Python module that imports their intrinsics and uses Numba; and as data."""
    entries, others = _entries(fused)
    parts = [_header(fused, {name for e in entries for name in _intrinsics(e.source)})] if entries else []
    rows: Rows = []
    for e in entries:
        text = e.source.strip().replace(_KERNEL, _KERNEL.replace("kernel", e.name), 1)
        parts.append(f'{_commented(e.steps, "#")}@numba.njit(SIGNATURE, error_model="numpy")\n{text}\n')
        rows.append(e.data(text))
    if not entries and not others:
        others = [_NOTHING]
    return "\n\n".join([*parts, _commented(others, "#")]).rstrip("\n") + "\n", [*rows, *({"note": note} for note in others)]


_NOTHING = "no kernels: the program only returns its inputs"


def for_grids(fused: Graph, stage: str, architecture: str) -> tuple[str, Rows]:
    """The kernels of a fused graph for GPUs: ``source``, ``nvvm``, ``ptx``, or ``sass``, machine code for the architecture."""
    plan = lay_out(fused, "cuda")
    names = _operations(fused)
    show, mark = _FOR_GRIDS[stage]
    parts: list[str] = []
    rows: Rows = []
    for k in dict.fromkeys(plan.steps):
        kind = plan.kinds[k]
        name = kind.name.removeprefix("@")
        what = f"{name}: {names[kind.name]}" if names.get(kind.name) else name
        if not kind.source:
            parts.append(f"{mark} {what}, left to a library\n")
            rows.append({"note": f"{what}, left to a library"})
            continue
        times = plan.steps.count(k)
        blocks, threads = kind.launch
        launch = f"{blocks} block{'s' * (blocks > 1)} of {threads} threads{f', {times} times' if times > 1 else ''}"
        text = show(kind, architecture)
        parts.append(f"{mark} {what}; {launch}\n{text}")
        rows.append({"kernel": name, "text": text, "blocks": blocks, "threads": threads, "times": times})
    return "\n".join(parts) or f"{mark} {_NOTHING}\n", rows


def _nvvm(kind: StepKind, architecture: str) -> str:
    from ..runtime.compiler.numba_cuda import nvvm_ir

    return nvvm_ir(kind.source, kind.launch[1])


def _ptx(kind: StepKind, architecture: str) -> str:
    from ..runtime.compiler.numba_cuda import ptx

    return ptx(kind.source, kind.launch[1])


def _sass(kind: StepKind, architecture: str) -> str:
    from ..runtime.compiler.cubin import cubin, disassembly

    made = cubin(_ptx(kind, architecture), architecture)
    used = f"// {made.registers} registers, {made.spilled} bytes spilled, {made.shared} bytes of shared memory\n"
    return used + disassembly(made.code)


_FOR_GRIDS: dict[str, tuple[Callable[[StepKind, str], str], str]] = {
    "source": (lambda kind, architecture: kind.source, "#"),
    "nvvm": (_nvvm, ";"),
    "ptx": (_ptx, "//"),
    "sass": (_sass, "//"),
}


def _header(fused: Graph, names: set[str]) -> str:
    imported = "".join(f"    {name},\n" for name in sorted({"SIGNATURE", "call", *names}))
    return (
        f"# The kernels of {fused.name}.\n"
        "# call(kernel, arrays, integers, start, stop) runs one for a part of its domain, which is range(0, domain).\n"
        f"import numba\n\nfrom tracer.runtime.dialect import (\n{imported})\n"
    )


def _intrinsics(source: str) -> set[str]:
    """The names that a kernel's text uses and does not define."""
    (definition,) = ast.parse(source).body
    assert isinstance(definition, ast.FunctionDef)
    nodes = [n for n in ast.walk(definition) if isinstance(n, ast.Name)]
    own = {n.id for n in nodes if isinstance(n.ctx, ast.Store)} | {a.arg for a in definition.args.args}
    return {n.id for n in nodes} - own - {"range"}


def _commented(lines: Iterable[str], mark: str) -> str:
    return "".join(f"{mark} {line}\n" for line in lines)


def _entries(fused: Graph) -> tuple[list[_Entry], list[str]]:
    """The kernels in the order of the first steps that run them, and comments on steps that NumPy computes."""
    plan = lay_out(fused)
    names = _operations(fused)
    entries: dict[str, _Entry] = {}
    others: list[str] = []
    for i, kind in enumerate(map(plan.kinds.__getitem__, plan.steps)):
        base = kind.name.removeprefix("@")
        what = f"{base}: {names[kind.name]}" if names.get(kind.name) else base
        if not kind.source:
            others.append(f"{what}, computed by NumPy")
            continue
        if kind.source not in entries:
            taken = {e.name for e in entries.values()}
            name = base if kind.name != base else next(n for k in count() if (n := f"{base}_{k}") not in taken)
            entries[kind.source] = _Entry(name, kind.source)
        entry = entries[kind.source]
        integers = _integers(plan, i)
        line = f"{entry.name} computes {what}; integers {integers}, domain {kind.domain}"
        if line not in entry.steps:
            entry.steps.append(line)
            entry.rows.append({"computes": what, "integers": integers, "domain": kind.domain})
    return list(entries.values()), list(dict.fromkeys(others))


def _integers(plan: Plan, step: int) -> list[int]:
    """The integers in a step's argument block: between the addresses of its arrays and the runtime's last two words."""
    source = plan.kinds[plan.steps[step]].source
    found = re.search(r"buffer_\w+\(args, \d+, (\d+)\)", source)
    begin = plan.starts[step] + (int(found[1]) if found else 0)
    end = plan.starts[step + 1] if step + 1 < len(plan.starts) else len(plan.words)
    return plan.words[begin : end - 2]


def _operations(fused: Graph) -> dict[str, str]:
    """By each fusion's name, its primitives and their line in the program."""
    return {f"@{op.attrs['body'].name}": _said(op.attrs["body"], op.loc) for op in fused.ops if "body" in op.attrs}


def _said(body: Graph, loc: str) -> str:
    computed = [op.primitive.name for op in body.ops if op.primitive.kind not in (Kind.MOVEMENT, Kind.SOURCE)]
    names = dict.fromkeys(computed or [op.primitive.name for op in body.ops])
    return ", ".join(names) + (f" ({relative(loc)})" if loc else "")
