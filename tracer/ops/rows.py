"""Functions whose results are in row-major order, whatever the order in memory of their operands' axes.

Element by element, NumPy and PyTorch keep the order of an operand. PyTorch's other functions write rows, and programs count
on that: they call ``view`` on a result, or write through ``flatten``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.context import context
from ..core.tensor import Tensor

_NAMES = """
    cat concat concatenate stack hstack vstack dstack column_stack row_stack roll one_hot einsum tensordot cross
    sum mean prod std var var_mean std_mean norm vector_norm logsumexp amax amin max min argmax argmin all any nansum nanmean
    median nanmedian quantile nanquantile mode count_nonzero aminmax
    cumsum cumprod cummax cummin logcumsumexp
    softmax softmin log_softmax gumbel_softmax masked_fill layer_norm rms_norm group_norm batch_norm instance_norm
    conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d grid_sample affine_grid
    max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d
    adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d
"""
ROW_MAJOR = frozenset(_NAMES.split())


def write_rows(result: Any) -> None:
    """Puts new tensors, alone or in a tuple, into row-major order. Views stay as they are."""
    if isinstance(result, tuple):
        for x in result:
            write_rows(x)
    elif type(result) is Tensor and result._view is None and result._data.__class__ is np.ndarray:
        _write_rows(result)


def _write_rows(t: Tensor) -> None:
    if t._data.flags.c_contiguous:
        return
    if context.recorder is None:
        t._data = np.ascontiguousarray(t._data)
        return
    value = context.recorder.value(t)
    t._data = np.ascontiguousarray(t._data)
    context.recorder.set(t, value)
