"""Names of operations in the graph: PyTorch's, also for operations composed of several primitives here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from ..core.tensor import Tensor
from ..core.views import LazyView

# `softmax` is shown as SoftmaxBackward0, and so on.
_PLAIN = """
    addbmm addcdiv addcmul addmm addmv addr adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool2d
    adaptive_max_pool3d amax amin aminmax as_strided avg_pool2d avg_pool3d baddbmm binary_cross_entropy
    binary_cross_entropy_with_logits block_diag bmm cdist celu channel_shuffle cholesky_inverse cholesky_solve clamp ctc_loss
    cummax cummin cumprod cumsum deg2rad diag_embed diagonal diagonal_scatter dist dot elu embedding embedding_bag fmax fmin
    frac gather gelu glu hardshrink hardsigmoid hardswish hardtanh huber_loss index_add index_copy index_reduce index_select
    kthvalue ldexp leaky_relu lerp log_softmax logcumsumexp logit logsumexp masked_scatter masked_select max_unpool2d
    max_unpool3d mish mode mse_loss multi_margin_loss multilabel_margin_loss mv mvlgamma nan_to_num nansum pdist pixel_shuffle
    pixel_unshuffle put quantile rad2deg renorm repeat roll rot90 rsub scatter scatter_add scatter_reduce select select_scatter
    silu slice_scatter smooth_l1_loss soft_margin_loss softmax softplus softshrink sort split split_with_sizes stack std
    std_mean take threshold topk transpose tril triu unbind unfold unsqueeze var var_mean vdot xlogy
"""
_OTHER = {
    "batch_norm": "NativeBatchNorm",
    "chunk": "Split",
    "cross": "LinalgCross",
    "cross_entropy": "NllLoss",
    "group_norm": "NativeGroupNorm",
    "l1_loss": "Mean",
    "layer_norm": "NativeLayerNorm",
    "logsigmoid": "LogSigmoid",
    "matrix_trace": "Trace",
    "max_pool2d": "MaxPool2DWithIndices",
    "max_pool3d": "MaxPool3DWithIndices",
    "nll_loss": "NllLoss",
    "norm": "LinalgVectorNorm",
    "prelu": "PreluKernel",
    "relu6": "Hardtanh",
    "selu": "Elu",
    "softmin": "Softmax",
    "swapaxes": "Transpose",
    "swapdims": "Transpose",
    "t": "T",
    "tile": "Repeat",
    "vector_norm": "LinalgVectorNorm",
}
_NAMES = {name: name.title().replace("_", "") for name in _PLAIN.split()} | _OTHER
# Operations with a second variant when axes are given; for max, min and median the full reduction is the second variant.
_BY_AXES = {"mean": (0, 1), "sum": (0, 1), "prod": (0, 1), "max": (1, 0), "min": (1, 0), "median": (0, 1), "squeeze": (0, 1)}


def _variant(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    given = len(args) > 1 or "dim" in kwargs
    return f"{name.title()}Backward{_BY_AXES[name][given]}"


def _separate(out: Tensor, args: Iterable[Any]) -> None:
    """If a result is a view of a tensor internal to the function, not of an argument, it becomes an ordinary tensor."""
    root = out._root()
    for a in args:
        for t in a if isinstance(a, (list, tuple)) else (a,):
            if (isinstance(t, Tensor) and t._root() is root) or isinstance(t, np.ndarray):  # a tensor of a trace that it views
                return
    if not isinstance(out, LazyView):  # whose elements exist only in its base
        out._view = out._made = None


def separate(result: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Makes the results of a function views of its arguments, or ordinary tensors."""
    if isinstance(result, Tensor):
        if result._view is not None and not (args and result._view[0] is args[0]):
            _separate(result, (*args, *kwargs.values()))
    elif isinstance(result, tuple):
        for out in result:
            separate(out, args, kwargs)


def label(name: str) -> Callable[[Any, tuple[Any, ...], Mapping[str, Any]], None] | None:
    """A function that gives a function's nodes PyTorch's name, called with the result and the arguments. None if the last
    primitive has that name.
    """
    if name == "sum":
        return _label_sum
    fixed = f"{_NAMES[name]}Backward0" if name in _NAMES else None
    if fixed is None and name not in _BY_AXES:
        return None

    def put(result: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        separate(result, args, kwargs)
        for out in (result,) if isinstance(result, Tensor) else result if isinstance(result, tuple) else ():
            if isinstance(out, Tensor) and out._grad_fn is not None and not (args and out is args[0]):
                out._grad_fn.label = fixed or _variant(name, args, kwargs)

    return put


def _label_sum(out: Tensor, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """The most common case: without axes the primitive's own name is right."""
    if len(args) > 1 or kwargs:
        separate(out, args, kwargs)
        if out._grad_fn is not None:
            out._grad_fn.label = _variant("sum", args, kwargs)
