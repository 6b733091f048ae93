"""Losses over many classes with the weights of their last layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from ... import ops
from ...core.tensor import Tensor
from ...ir.types import DType
from .. import functional as F
from ..module import Module
from .container import ModuleList, Sequential
from .linear import Linear


@dataclass
class LinearCrossEntropyOptions:
    """PyTorch's options for its implementations of ``linear_cross_entropy``: ``allow_retain_graph``, ``batch_chunk_size``,
    ``chunking_method``, ``acc_policy``, ``acc_dtype``. They are ignored, also where not None: results are the same. Other names
    raise TypeError.
    """

    allow_retain_graph: bool = False
    batch_chunk_size: int | None = None
    chunking_method: str | None = "auto"
    acc_policy: str = "auto"
    acc_dtype: DType | None = None


class LinearCrossEntropyLoss(Module):
    """``cross_entropy`` of a linear layer's result, (N, ``in_features``) -> (N, ``num_classes``, *``out_features``).
    ``weight``: a factor for each class; None is 1. Targets ``ignore_index`` do not count; None is -100. ``label_smoothing``:
    the part of the target that is spread over all classes. ``options`` has no effect, also if not None.
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        out_features: Sequence[int] = (),
        bias: bool = False,
        device: Any = None,
        dtype: DType | None = None,
        reduction: str = "mean",
        weight: Tensor | None = None,
        ignore_index: int | None = None,
        label_smoothing: float = 0.0,
        options: Any = None,
    ):
        super().__init__()
        self.in_features, self.num_classes, self.out_features = in_features, num_classes, tuple(out_features)
        self._sizes = (num_classes, *self.out_features)
        rows = num_classes
        for n in self.out_features:
            rows *= n
        self.linear = Linear(in_features, rows, bias=bias, device=device, dtype=dtype)
        self.register_buffer("weight", weight)
        self.reduction, self.ignore_index, self.label_smoothing = reduction, ignore_index, label_smoothing
        self.options = options

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        layer = self.linear
        return F.linear_cross_entropy(
            input,
            ops.reshape(layer.weight, (*self._sizes, self.in_features)),
            target,
            linear_bias=None if layer.bias is None else ops.reshape(layer.bias, self._sizes),
            weight=self.weight,
            reduction=self.reduction,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
            options=self.options,
        )

    def extra_repr(self) -> str:
        names = ("reduction", "ignore_index", "label_smoothing", "options")
        sizes = f"in_features={self.in_features}, num_classes={self.num_classes}, out_features={self.out_features}"
        return f"{sizes}, bias={self.linear.bias is not None}, " + ", ".join(f"{n}={getattr(self, n)}" for n in names)


class AdaptiveResult(NamedTuple):
    """Log probabilities of the targets (N), and their negative mean."""

    output: Tensor
    loss: Tensor


class AdaptiveLogSoftmaxWithLoss(Module):
    """A two-stage softmax (Grave et al. 2017): over frequent classes and clusters, and over the classes of each cluster. The
    ``n_classes`` classes are ordered by frequency. Cluster i has the classes from ``cutoffs[i]`` on, and ``in_features //
    div_value ** (i + 1)`` features; see ``cutoffs``, ``in_features`` and ``div_value``. ``head_bias`` adds a bias to the first
    stage. Raises ValueError for cutoffs that are not increasing, or not between 0 and ``n_classes``.

    Input (N, in_features) and class numbers (N), int64, give the pair of log probabilities (N) and their negative mean, of the
    input's floating dtype; N may be missing. Other shapes and classes raise RuntimeError.
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        device: Any = None,
        dtype: DType | None = None,
    ):
        super().__init__()
        cutoffs = list(cutoffs)
        if not cutoffs:
            raise ValueError("cutoffs should be a sequence of length larger than 0")
        if any(a >= b for a, b in pairwise([0, *cutoffs, n_classes])):
            raise ValueError(
                "cutoffs should be a sequence of unique, positive integers sorted in an increasing order, where each value is "
                "between 1 and n_classes-1"
            )
        self.in_features, self.n_classes, self.cutoffs = in_features, n_classes, [*cutoffs, n_classes]
        self.div_value, self.head_bias = div_value, head_bias
        self.shortlist_size, self.n_clusters = cutoffs[0], len(cutoffs)
        self.head_size = self.shortlist_size + self.n_clusters
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        self.head = Linear(in_features, self.head_size, bias=head_bias, **made)
        self.tail = ModuleList()
        for i, (start, stop) in enumerate(pairwise(self.cutoffs)):
            features = int(in_features // div_value ** (i + 1))
            narrow = Linear(in_features, features, bias=False, **made)
            self.tail.append(Sequential(narrow, Linear(features, stop - start, bias=False, **made)))

    def reset_parameters(self) -> None:
        for layer in (self.head, *(part for cluster in self.tail for part in cluster)):
            layer.reset_parameters()

    def forward(self, input: Tensor, target: Tensor) -> AdaptiveResult:
        """(N, in_features) and class numbers (N), or both without N. Raises RuntimeError for other shapes and classes."""
        if target.ndim > 1:
            raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
        if input.ndim != target.ndim + 1:
            raise RuntimeError(
                f"{target.ndim}D target tensor expects {target.ndim + 1}D input tensors, but found inputs with size "
                f"{input.shape}"
            )
        rows, classes = (input, target) if input.ndim == 2 else (ops.unsqueeze(input, 0), ops.unsqueeze(target, 0))
        if len(rows) != len(classes):
            raise RuntimeError("Input and target should have the same size in the batch dimension.")
        outside = ops.logical_or(classes < 0, classes >= self.n_classes)
        if bool(outside.any()):
            raise RuntimeError(
                f"Target values should be in [0, {self.n_classes - 1}], but values in range [{int(classes.min())}, "
                f"{int(classes.max())}] were found. "
            )
        head = F.log_softmax(self.head(rows), 1)
        column, found = classes, ops.zeros_like(head[:, 0])
        for i, (start, stop) in enumerate(pairwise(self.cutoffs)):
            mine = ops.logical_and(classes >= start, classes < stop)
            column = ops.where(mine, self.shortlist_size + i, column)
            places = ops.reshape(ops.nonzero(mine), (-1,))
            if len(places):
                inside = F.log_softmax(self.tail[i](ops.index_select(rows, 0, places)), 1)
                wanted = ops.unsqueeze(ops.index_select(classes, 0, places) - start, 1)
                found = ops.index_add(found, 0, places, ops.squeeze(ops.gather(inside, 1, wanted), 1))
        output = found + ops.squeeze(ops.gather(head, 1, ops.unsqueeze(column, 1)), 1)
        loss = -ops.mean(output)
        return AdaptiveResult(output if input.ndim == 2 else ops.squeeze(output, 0), loss)

    def log_prob(self, input: Tensor) -> Tensor:
        """Log probabilities of all classes, (N, n_classes)."""
        head = F.log_softmax(self.head(input), 1)
        parts = [head[:, : self.shortlist_size]]
        for i, cluster in enumerate(self.tail):
            parts.append(F.log_softmax(cluster(input), 1) + head[:, self.shortlist_size + i].unsqueeze(1))
        return ops.cat(parts, 1)

    def predict(self, input: Tensor) -> Tensor:
        """The most probable class of each row."""
        return ops.argmax(self.log_prob(input), 1)
