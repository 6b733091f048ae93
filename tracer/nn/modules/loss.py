"""Losses as modules. The formulas are those of the functions of the same name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from ...core.tensor import Tensor
from .. import functional as F
from ..functional.loss import legacy_reduction
from ..module import Module
from .declared import Declared


class _Loss(Declared):
    """``size_average`` and ``reduce`` are older forms of ``reduction``."""

    size_average: bool | None = None
    reduce: bool | None = None
    reduction: str = "mean"

    def check(self) -> None:
        self.reduction = legacy_reduction(self.size_average, self.reduce, self.reduction)
        self.size_average = self.reduce = None

    def settings(self) -> dict[str, Any]:
        return {name: v for name, v in super().settings().items() if name not in ("size_average", "reduce")}

    def extra_repr(self) -> str:
        return ""


class L1Loss(_Loss):
    """abs(input - target)."""

    function = F.l1_loss


class MSELoss(_Loss):
    """(input - target) ** 2."""

    function = F.mse_loss


class SmoothL1Loss(_Loss):
    """Squared below ``beta``, absolute above."""

    beta: float = 1.0
    function = F.smooth_l1_loss


class HuberLoss(Declared):
    """Squared below ``delta``, ``delta`` times absolute above."""

    reduction: str = "mean"
    delta: float = 1.0
    function = F.huber_loss

    def extra_repr(self) -> str:
        return ""


class KLDivLoss(_Loss):
    """target * (log(target) - input), where the input is logarithms."""

    log_target: bool = False
    function = F.kl_div


class SoftMarginLoss(_Loss):
    """log(1 + exp(-target * input))."""

    function = F.soft_margin_loss


class MultiLabelMarginLoss(_Loss):
    """The margin max(0, 1 - (x[label] - x[other])) between target classes, listed up to a -1, and the other classes."""

    function = F.multilabel_margin_loss


class PoissonNLLLoss(Declared):
    """exp(input) - target * input, or with the input as the rate itself; ``full`` adds Stirling's term."""

    log_input: bool = True
    full: bool = False
    size_average: bool | None = None
    eps: float = 1e-8
    reduce: bool | None = None
    reduction: str = "mean"
    function = F.poisson_nll_loss

    def extra_repr(self) -> str:
        return ""


class GaussianNLLLoss(Declared):
    """The negative log likelihood of the target under a normal distribution: (log(var) + (x - t)**2 / var) / 2."""

    full: bool = False
    eps: float = 1e-6
    reduction: str = "mean"
    function = F.gaussian_nll_loss

    def extra_repr(self) -> str:
        return ""


class _MarginLoss(Declared):
    margin: float = 0.0
    size_average: bool | None = None
    reduce: bool | None = None
    reduction: str = "mean"

    def extra_repr(self) -> str:
        return ""


class HingeEmbeddingLoss(_MarginLoss):
    """The input where the target is 1, max(0, margin - input) where it is -1."""

    margin: float = 1.0
    function = F.hinge_embedding_loss


class MarginRankingLoss(_MarginLoss):
    """max(0, -target * (input1 - input2) + margin)."""

    function = F.margin_ranking_loss


class CosineEmbeddingLoss(_MarginLoss):
    """1 - cos where the target is 1, max(0, cos - margin) where it is -1."""

    function = F.cosine_embedding_loss


class TripletMarginLoss(Declared):
    """max(0, d(anchor, positive) - d(anchor, negative) + margin)."""

    margin: float = 1.0
    p: float = 2.0
    eps: float = 1e-6
    swap: bool = False
    size_average: bool | None = None
    reduce: bool | None = None
    reduction: str = "mean"
    function = F.triplet_margin_loss

    def extra_repr(self) -> str:
        return ""


class TripletMarginWithDistanceLoss(Declared):
    """``TripletMarginLoss`` with a custom distance."""

    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None
    margin: float = 1.0
    swap: bool = False
    reduction: str = "mean"
    function = F.triplet_margin_with_distance_loss

    def extra_repr(self) -> str:
        return ""


class CTCLoss(Declared):
    """Connectionist temporal classification (Graves et al. 2006)."""

    blank: int = 0
    reduction: str = "mean"
    zero_infinity: bool = False
    function = F.ctc_loss

    def extra_repr(self) -> str:
        return ""


class _Weighted(Module):
    """A loss with a weight per class or element, stored as a buffer."""

    function: ClassVar[Callable[..., Tensor]]

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ):
        super().__init__()
        self.reduction = legacy_reduction(size_average, reduce, reduction)
        self.register_buffer("weight", weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return type(self).function(input, target, weight=self.weight, reduction=self.reduction)


class BCELoss(_Weighted):
    """Binary cross entropy of probabilities: -(t log(p) + (1 - t) log(1 - p))."""

    function = F.binary_cross_entropy


class MultiLabelSoftMarginLoss(_Weighted):
    """Binary cross entropy of logits, averaged over the classes: see ``nn.functional.multilabel_soft_margin_loss``."""

    function = F.multilabel_soft_margin_loss


class BCEWithLogitsLoss(_Weighted):
    """Binary cross entropy of logits: ``BCELoss`` of sigmoid(x)."""

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
    ):
        super().__init__(weight, size_average, reduce, reduction)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(
            input, target, self.weight, reduction=self.reduction, pos_weight=self.pos_weight
        )


class MultiMarginLoss(_Weighted):
    """max(0, margin - input[target] + input[i]) ** p over the other classes."""

    def __init__(
        self,
        p: int = 1,
        margin: float = 1.0,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ):
        super().__init__(weight, size_average, reduce, reduction)
        if p not in (1, 2):
            raise ValueError("only p == 1 and p == 2 supported")
        if weight is not None and weight.ndim != 1:
            raise AssertionError("weight must be None or 1-dimensional")
        self.p, self.margin = p, margin

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.multi_margin_loss(input, target, self.p, self.margin, self.weight, reduction=self.reduction)


class NLLLoss(_Weighted):
    """The negative log likelihood of the target class, from log probabilities: see ``nn.functional.nll_loss``."""

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
    ):
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.nll_loss(input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction)


class CrossEntropyLoss(_Weighted):
    """``NLLLoss`` of the log softmax of logits; the target is class numbers or class probabilities."""

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ):
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class CosineSimilarity(Declared):
    """The cosine of the angle between vectors: x . y / max(|x| |y|, eps)."""

    dim: int = 1
    eps: float = 1e-8
    function = F.cosine_similarity

    def extra_repr(self) -> str:
        return ""


class PairwiseDistance(Declared):
    """The p-norm of the difference of vectors: |x - y + eps|."""

    p: float = 2.0
    eps: float = 1e-6
    keepdim: bool = False

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return F.pairwise_distance(x1, x2, self.p, self.eps, self.keepdim)

    def extra_repr(self) -> str:
        return ""
