"""The plan of a recorded graph: made by the passes and laid out, or read from disk."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import marshal
from pathlib import Path
from typing import Any

import numpy as np

from ...ir import pipeline, validate
from ...ir.graph import Graph, Value, free
from ...ir.location import origin_of
from ...ir.ops import fusion
from ..compiler import cache
from .plan import Plan, from_bytes, to_bytes


def planned(graph: Graph) -> Plan:
    """The plan of ``graph`` after the passes of ``pipeline.COMPILE``.

    With ``TRACER_VALIDATE=1`` it is made anew and run: raises Miscompiled if results differ from the interpreter's.
    """
    with pipeline.collector_paused():
        name = f"p_{_key(graph)}"
        data = None if validate.ENABLED else cache.read(name)
        if data is not None:
            with contextlib.suppress(ValueError):  # an unreadable plan counts as absent
                return from_bytes(data)
        from .layout import lay_out  # imports the code generator: only when something is compiled

        fused = pipeline.compiled(graph, pipeline.COMPILE)
        plan = lay_out(fused)
        if validate.ENABLED:
            from .validate import require

            require(fused, plan)
        cache.write(name, to_bytes(plan))
        for op in fused.ops:
            if op.primitive is fusion:
                free(op.attrs["body"])
        free(fused, graph)
    return plan


def _key(graph: Graph) -> str:
    """The key of a graph's plan: the graph without names, and the code that makes plans."""
    # Version 2 of the format: equal contents, equal bytes. It distinguishes 1, 1.0 and True, and -0.0 from 0.0.
    said = marshal.dumps((_compiler(), _said(graph)), 2)
    return hashlib.sha256(said).hexdigest()[:40]


def _said(graph: Graph) -> tuple:
    number: dict[Value, int] = {v: i for i, v in enumerate(graph.inputs)}
    rows: list[Any] = []
    for op in graph.ops:
        attrs = [(name, _said(x) if isinstance(x, Graph) else x) for name, x in op.attrs.items()]
        rows.append((op.primitive.name, [number[v] for v in op.operands], attrs, str(op.loc), origin_of(op.loc)))
        for v in op.results:
            number[v] = len(number)
    inputs = [(v.type.dtype.short, v.type.shape, v.type.device) for v in graph.inputs]
    return graph.name, inputs, rows, [number[v] for v in graph.outputs], list(graph.updates.items())


@functools.cache
def _compiler() -> str:
    """The code that makes plans: passes, code generator, layout; and NumPy, which folds constants."""
    here = Path(__file__).parent
    files = [f for room in ("ir", "codegen") for f in sorted((here.parent.parent / room).rglob("*.py"))]
    files += [here / f"{name}.py" for name in ("layout", "dependencies", "sharing", "plan")]
    files.append(here.parent / "support" / "memory.py")
    return f"{hashlib.sha256(b''.join(f.read_bytes() for f in files)).hexdigest()} {np.__version__}"
