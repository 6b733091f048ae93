"""Common parts of the examples: command-line arguments, figures, and a data set of generated digits."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def arguments(
    description: str | None, argv: Sequence[str] | None, steps: int, unit: str = "training steps"
) -> argparse.Namespace:
    """``--steps`` and ``--out`` from the command line; ``argv`` replaces the process's arguments."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=steps, help=f"number of {unit} (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("examples-output"), help="folder for the figure (%(default)s)")
    return parser.parse_args(argv)


def save_figure(
    path: Path, draw: Callable[..., Any], rows: int = 1, columns: int = 1, height: float = 3.2, width: float = 4.2
) -> None:
    """Calls ``draw`` with the axes of a grid, row by row, and writes the figure. Without matplotlib it prints a message
    instead.

    ``height`` and ``width`` are of one panel, in inches.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        print(f"no figure {path.name}: it needs matplotlib (pip install 'tracer[examples]')")
        return
    figure: Any = Figure(figsize=(width * columns, height * rows), layout="constrained")
    draw(*figure.subplots(rows, columns, squeeze=False).flat)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=65)
    print(f"figure: {path}")


# The segments of a seven-segment display, between corners of a grid of three rows and two columns:
#   0 - 1
#   2 - 3
#   4 - 5
_SEGMENTS = np.array([(0, 1), (0, 2), (1, 3), (2, 3), (2, 4), (3, 5), (4, 5)])
_LIT = ["1110111", "0010010", "1011101", "1011011", "0111010", "1101011", "1101111", "1010010", "1111111", "1111011"]


def digits(n: int, seed: int = 0, size: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Images resembling handwritten digits, float32 of shape (n, 1, size, size) in [0, 1], and int64 labels of shape (n,).

    The strokes are those of a seven-segment display with randomly displaced, sheared and rotated corners.
    """
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, n)
    corners = np.array([(x, y) for y in (-1.0, 0.0, 1.0) for x in (-0.6, 0.6)]) + rng.normal(0, 0.08, (n, 6, 2))
    angle, slant, scale = rng.normal(0, 0.12, n), rng.normal(0.15, 0.15, n), rng.uniform(0.55, 0.8, n)
    turn = np.array([[np.cos(angle), -np.sin(angle) - slant], [np.sin(angle), np.cos(angle)]]) * scale
    corners = np.einsum("ijn,ncj->nci", turn, corners) + rng.normal(0, 0.06, (n, 1, 2))

    # The distance of each pixel to each stroke: to the nearest point of the line segment.
    axis = np.linspace(-1.2, 1.2, size)
    pixels = np.stack(np.meshgrid(axis, axis), -1).reshape(1, 1, -1, 2)
    start, end = corners[:, _SEGMENTS[:, 0], None], corners[:, _SEGMENTS[:, 1], None]
    along = ((pixels - start) * (end - start)).sum(-1) / ((end - start) ** 2).sum(-1)
    distance = np.linalg.norm(pixels - start - np.clip(along, 0, 1)[..., None] * (end - start), axis=-1)
    lit = np.array([[c == "1" for c in row] for row in _LIT])[labels]
    distance = np.where(lit[..., None], distance, np.inf).min(1)
    ink = np.clip(1.5 - distance / rng.uniform(0.09, 0.15, (n, 1)), 0, 1)
    return ink.reshape(n, 1, size, size).astype(np.float32), labels
