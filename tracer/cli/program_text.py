"""Text files of graphs, with the runs that comments describe.

    # run: [1, 2], 3               arguments: numbers and nested lists; one number fills an array
    # expect: [4, 5]               the outputs
    # expect: error IndexError: index 5 is out of bounds
    # run: --passes fold,dce       prints the graph after these passes
    # expect: %y: f32[2] = neg %x  lines of it, in this order
    # expect-not: mul              what it must not contain

They belong to the next graph; after the last graph, to that one. Complex numbers are lists of two.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..ir.graph import Graph
from ..ir.lexer import IRSyntaxError
from ..ir.parse import parse_graphs
from ..ir.types import TensorType

_DIRECTIVE = re.compile(r"\s*#\s*(run|expect|expect-not):(.*)")
_NUMBER = {"nan": "NaN", "inf": "Infinity", "True": "true", "False": "false"}
Execute = Callable[[Graph, list[np.ndarray]], Sequence[np.ndarray]]


class TextError(ValueError):
    """A file that cannot be read; the message is one line. ``excerpt`` shows the place, with a caret, if it is known."""

    excerpt = ""


@dataclass
class Run:
    """A run: its line and text, and what is expected, with the lines."""

    line: int
    text: str
    expected: list[tuple[int, str]] = field(default_factory=list)
    excluded: list[tuple[int, str]] = field(default_factory=list)

    @property
    def passes(self) -> str | None:
        """The names of passes, for a run that prints."""
        match = re.fullmatch(r"--passes[ =]*(\S*)", self.text)
        return match[1] if match else None


@dataclass
class Program:
    """A graph of a file, and its runs."""

    graph: Graph
    runs: list[Run]


def read_programs(path: str) -> list[Program]:
    """The graphs of a file, ``-`` for the standard input. Raises TextError."""
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text("utf-8-sig")
    except FileNotFoundError:
        raise TextError(f"there is no file {path!r}") from None
    except (OSError, UnicodeDecodeError) as e:
        raise TextError(f"{path!r} cannot be read: {e}") from None
    try:
        return programs_of(text)
    except IRSyntaxError as e:
        error = TextError(f"{path}:{e.line}:{e.column}: {e.message}")
        error.excerpt = str(e).partition("\n")[2]
        raise error from None
    except TextError as e:
        raise TextError(f"{path}:{e}") from None


def programs_of(text: str) -> list[Program]:
    """The graphs of a text. Raises IRSyntaxError or TextError."""
    programs = [Program(graph, []) for graph in parse_graphs(text)]
    at, run = -1, None
    for number, line in enumerate(text.split("\n"), 1):
        if re.match(r"\s*func\b", line):
            at, run = at + 1, None
        if (match := _DIRECTIVE.match(line)) is None:
            continue
        kind, said = match[1], match[2].strip()
        if kind == "run":
            run = Run(number, said)
            programs[min(at + 1, len(programs) - 1)].runs.append(run)
        elif run is None:
            raise TextError(f"{number}: '# {kind}:' has no '# run:' above it")
        else:
            (run.expected if kind == "expect" else run.excluded).append((number, said))
    return programs


def arguments(run: Run, graph: Graph) -> list[np.ndarray]:
    """The arguments of a run. Raises TextError."""
    return _arrays(run.text, [v.type for v in graph.inputs], run.line, "argument")


def _arrays(text: str, types: Sequence[TensorType], line: int, what: str) -> list[np.ndarray]:
    said = re.sub(r"\b(nan|inf|True|False)\b", lambda m: _NUMBER[m[1]], text)
    try:
        values = json.loads(f"[{said}]")
    except (ValueError, RecursionError):
        raise TextError(f"{line}: {text!r} is not a list of numbers and lists of numbers") from None
    if len(values) != len(types):
        raise TextError(f"{line}: {len(types)} {what}s are needed, {len(values)} are given")
    return [_array(v, t, f"{line}: {what} {k + 1}") for k, (v, t) in enumerate(zip(values, types, strict=True))]


def _array(value: Any, t: TensorType, what: str) -> np.ndarray:
    try:
        x = np.array(value, np.float64 if t.dtype.kind in "fc" else None)
        if t.dtype.is_complex:
            x = x[..., 0] + 1j * x[..., 1] if x.ndim and x.shape[-1] == 2 else x
        if x.size == 0 and t.numel == 0:
            x = x.reshape(t.shape).astype(t.dtype.numpy)
        if x.dtype.kind not in "biufc" or (t.dtype.kind in "iu" and x.dtype.kind == "f"):
            raise ValueError("numbers of another kind")
        x = x.astype(t.dtype.numpy)
        return np.array(np.broadcast_to(x, t.shape) if x.ndim == 0 else x.reshape(t.shape) if x.shape == t.shape else _no(x))
    except (ValueError, TypeError, OverflowError) as e:
        raise TextError(f"{what} is not of type {t}: {str(e).splitlines()[0]}") from None


def _no(x: np.ndarray) -> np.ndarray:
    raise ValueError(f"its shape is {list(x.shape)}")


def wrong(run: Run, graph: Graph, execute: Execute) -> str | None:
    """What a run computes that is not expected, in one line; None if all is. Raises TextError."""
    args = arguments(run, graph)
    text = ", ".join(said for _, said in run.expected)
    error = re.fullmatch(r"error (\w+)(?:: (.*))?", text)
    try:
        outputs = execute(graph, args)
    except Exception as e:
        said = f"{type(e).__name__}: {e}".split("\n")[0]
        return None if error and type(e).__name__ == error[1] and (error[2] or "") in str(e) else f"line {run.line}: {said}"
    if error:
        return f"line {run.line}: there is no error"
    if not run.expected:
        return None
    expected = _arrays(text, [v.type for v in graph.outputs], run.expected[0][0], "output")
    for k, (found, wanted) in enumerate(zip(outputs, expected, strict=True)):
        if not _agree(np.asarray(found), wanted):
            return f"line {run.line}: output {k + 1} is {_shown(found)}, not {_shown(wanted)}"
    return None


def _agree(found: np.ndarray, wanted: np.ndarray) -> bool:
    if wanted.dtype.kind in "biu":
        return np.array_equal(found, wanted)
    if wanted.itemsize == 2:
        found, wanted = found.astype(np.float64), wanted.astype(np.float64)
        return np.allclose(found, wanted, rtol=2e-2, atol=1e-3, equal_nan=True)
    return np.allclose(found, wanted, rtol=1e-4, atol=1e-6, equal_nan=True)


def _shown(x: Any) -> str:
    text = json.dumps(np.asarray(x).tolist(), default=str)
    return text if len(text) <= 200 else f"{text[:200]}..."


def wrong_text(run: Run, text: str) -> str | None:
    """What is missing or too much in a printed text; None if nothing is."""
    lines, at = [" ".join(line.split()) for line in text.split("\n")], 0
    for number, said in run.expected:
        wanted = " ".join(said.split())
        found = next((k for k in range(at, len(lines)) if wanted in lines[k]), None)
        if found is None:
            return f"line {number}: {said!r} is not in the text{' after the line before' if at else ''}"
        at = found + 1
    for number, said in run.excluded:
        if any(" ".join(said.split()) in line for line in lines):
            return f"line {number}: {said!r} is in the text"
    return None
