"""The demo's picture and page: loss curves, and the fused graph of each step."""

from __future__ import annotations

import base64
import io
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from ..ir.graph import Graph, Op, Value

if TYPE_CHECKING:
    from .demo import Run


def write_report(out: Path, results: dict[str, tuple[Run, Run]]) -> Path:
    """Writes ``digits.png`` and ``digits.html``; returns the page's path."""
    out.mkdir(parents=True, exist_ok=True)
    curves = _curves(results)
    _poster(results).savefig(out / "digits.png", dpi=110)
    networks = [
        {"name": name, "eager": eager, "traced": traced, "svg": _svg(traced.fused), "text": str(traced.fused)}
        for name, (eager, traced) in results.items()
        if traced.fused is not None
    ]
    template = jinja2.Template(files(__package__).joinpath("report.html").read_text(), autoescape=True)
    page = out / "digits.html"
    page.write_text(template.render(curves=_png(curves), networks=networks))
    plt.close("all")
    return page


def _png(figure: Any) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return base64.b64encode(buffer.getvalue()).decode()


def _curves(results: dict[str, tuple[Run, Run]]) -> Any:
    figure, axes = plt.subplots(1, len(results), figsize=(5.5 * len(results), 3.6), layout="constrained")
    _draw_curves(axes, results)
    return figure


def _poster(results: dict[str, tuple[Run, Run]]) -> Any:
    """The curves, and below them the fused step of the first network."""
    graph = next(iter(results.values()))[1].fused
    assert graph is not None
    width, height = _size(graph)
    figure: Any = plt.figure(figsize=(max(11.0, width), 3.6 + height), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=[3.6, height])
    _draw_curves(above.subplots(1, len(results)), results)
    below.suptitle(f"The fused training step: {next(iter(results))}")
    _draw_graph(below.subplots(), graph)
    return figure


def _draw_curves(axes: Any, results: dict[str, tuple[Run, Run]]) -> None:
    for ax, (name, (eager, traced)) in zip(axes, results.items(), strict=True):
        ax.plot(eager.losses, linewidth=3, alpha=0.35, label=f"eager, {eager.microseconds:.0f} us a step")
        ax.plot(traced.losses, linewidth=0.9, label=f"traced, {traced.microseconds:.0f} us a step")
        ax.set(title=name, xlabel="step", ylabel="cross entropy", yscale="log")
        ax.legend()


def _label(op: Op) -> str:
    body = op.attrs.get("body")
    if body is None:
        return f"{op.primitive.name}\n{op.results[0].type}"
    names = [o.primitive.name for o in body.ops]
    shown = ", ".join(names[:4]) + (f", +{len(names) - 4}" if len(names) > 4 else "")
    return f"@{body.name}: {shown}\n{op.results[0].type}"


def _layers(graph: Graph) -> dict[Op, int]:
    """The number of kernels that must run before each operation."""
    level: dict[Value, int] = {}
    layers: dict[Op, int] = {}
    for op in graph.ops:
        layers[op] = max((level.get(v, 0) for v in op.operands), default=0)
        for v in op.results:
            level[v] = layers[op] + 1
    return layers


def _rows(graph: Graph) -> dict[int, list[Op]]:
    rows: dict[int, list[Op]] = {}
    for op, layer in _layers(graph).items():
        rows.setdefault(layer, []).append(op)
    return rows


def _size(graph: Graph) -> tuple[float, float]:
    """The size of a graph's picture, in inches."""
    rows = _rows(graph)
    return 3.1 * max(map(len, rows.values())), 0.95 * len(rows)


def _draw_graph(ax: Any, graph: Graph) -> None:
    """Draws the kernels of a graph from top to bottom, and the values between them."""
    rows = _rows(graph)
    width = max(map(len, rows.values()))
    place: dict[Op, tuple[float, float]] = {}
    for layer, ops in rows.items():
        for i, op in enumerate(ops):
            place[op] = ((i + 0.5) * width / len(ops), -layer)
    ax.set(xlim=(0, width), ylim=(-len(rows) + 0.3, 0.7))
    ax.axis("off")
    boxes: dict[Op, Any] = {}
    for op, (x, y) in place.items():
        face = "#dce9f7" if "body" in op.attrs else "#f7e3d0"
        box = {"boxstyle": "round", "fc": face, "ec": "0.5"}
        boxes[op] = ax.text(x, y, _label(op), ha="center", va="center", fontsize=7, bbox=box).get_bbox_patch()
    ax.figure.canvas.figure.draw_without_rendering()  # sizes the boxes, at whose edges the arrows end
    for op in graph.ops:
        for v in op.operands:
            if v.op is not None:
                arrow = {"arrowstyle": "->", "color": "0.6", "lw": 0.8, "shrinkA": 0, "shrinkB": 0}
                ends = {"patchA": boxes[v.op], "patchB": boxes[op]}
                ax.annotate("", place[op], place[v.op], arrowprops={**arrow, **ends}, zorder=1)


def _svg(graph: Graph | None) -> str:
    assert graph is not None
    figure, ax = plt.subplots(figsize=_size(graph))
    _draw_graph(ax, graph)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight")
    text = buffer.getvalue()
    return text[text.index("<svg") :]
