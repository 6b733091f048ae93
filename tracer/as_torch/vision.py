"""The operators of torchvision's compiled extension that detection models use: ``nms`` and ``roi_align``."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops
from ..core.tensor import Tensor
from ..ir.types import int64
from .library import CustomOpDef


class _Operator(CustomOpDef):
    """An operator whose gradient is that of what it computes."""

    def register_autograd(self, backward: Any, /, *, setup_context: Any = None) -> None:
        """No effect."""


def nms(dets: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """The positions of the boxes (x1, y1, x2, y2) that overlap no box with a higher score by more than a ratio, best first."""
    boxes, order = dets.detach().numpy(), np.argsort(-scores.detach().numpy(), kind="stable")
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept = []
    while order.size:
        best, order = order[0], order[1:]
        kept.append(best)
        low = np.maximum(boxes[best, :2], boxes[order, :2])
        high = np.minimum(boxes[best, 2:], boxes[order, 2:])
        common = np.prod(np.maximum(high - low, 0), axis=1)
        with np.errstate(invalid="ignore"):
            order = order[~(common / (areas[best] + areas[order] - common) > iou_threshold)]
    return ops.tensor(kept, dtype=int64)


def roi_align(
    input: Tensor,
    rois: Tensor,
    spatial_scale: float,
    pooled_height: int,
    pooled_width: int,
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    """Means of interpolated samples over the cells of boxes (image, x1, y1, x2, y2): (boxes, channels, height, width)."""
    image = rois[:, 0].long()
    x1, y1, x2, y2 = (rois[:, i] * spatial_scale - (0.5 if aligned else 0.0) for i in range(1, 5))
    width, height = x2 - x1, y2 - y1
    if not aligned:
        width, height = width.clamp(min=1.0), height.clamp(min=1.0)
    rows = _samples(y1, height, pooled_height, sampling_ratio, input.shape[2])
    columns = _samples(x1, width, pooled_width, sampling_ratio, input.shape[3])
    last = input.permute(0, 2, 3, 1)
    places = image[:, None, None, None, None]
    out: Any = 0
    for y, row_weight in rows:
        for x, column_weight in columns:
            values = last[places, y[:, :, :, None, None], x[:, None, None, :, :]]
            out = out + values * (row_weight[:, :, :, None, None] * column_weight[:, None, None, :, :])[..., None]
    return out.sum((2, 4)).permute(0, 3, 1, 2)


def _samples(start: Tensor, extent: Tensor, cells: int, ratio: int, size: int) -> list[tuple[Tensor, Tensor]]:
    """The two neighbours of each sample along one axis, with their weights in the mean, each (boxes, cells, samples)."""
    counts = ops.full_like(extent, ratio) if ratio > 0 else (extent / cells).ceil()
    most = ratio if ratio > 0 else max(int(counts.max()), 1) if len(counts) else 1
    number = ops.arange(most, dtype=extent.dtype)
    share = (number + 0.5) / counts.clamp(min=1.0)[:, None]
    position = start[:, None, None] + (ops.arange(cells, dtype=extent.dtype)[:, None] + share[:, None, :]) * (
        extent[:, None, None] / cells
    )
    inside = (position >= -1.0) & (position <= size) & (number < counts[:, None])[:, None, :]
    weight = inside.to(extent.dtype) / counts.clamp(min=1.0)[:, None, None]
    position = position.clamp(0.0, size - 1.0)
    low = position.floor().clamp(max=size - 1.0)
    part = position - low
    first = low.long()
    return [(first, (1.0 - part) * weight), ((first + 1).clamp(max=size - 1), part * weight)]


for _function in (nms, roi_align):
    _Operator(f"torchvision::{_function.__name__}", _function)
_Operator("torchvision::_cuda_version", lambda: -1)
