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
    """d^2 / (2 beta) where d = abs(input - target) is below ``beta``, else d - beta / 2 (Girshick 2015). A negative ``beta``
    raises RuntimeError in a call.
    """

    beta: float = 1.0
    function = F.smooth_l1_loss


class HuberLoss(Declared):
    """d^2 / 2 where d = abs(input - target) is below ``delta``, else delta * (d - delta / 2) (Huber 1964). A ``delta`` that is
    not positive raises RuntimeError in a call.
    """

    reduction: str = "mean"
    delta: float = 1.0
    function = F.huber_loss

    def extra_repr(self) -> str:
        return ""


class KLDivLoss(_Loss):
    """target * (log(target) - input), where the input is logarithms (Kullback, Leibler 1951). ``log_target``: the target is
    logarithms too. The mean is over all elements; "batchmean" divides the sum by the batch's size instead.
    """

    log_target: bool = False
    function = F.kl_div


class SoftMarginLoss(_Loss):
    """log(1 + exp(-target * input))."""

    function = F.soft_margin_loss


class MultiLabelMarginLoss(_Loss):
    """The margin max(0, 1 - (x[label] - x[other])) between target classes, listed up to a -1, and the other classes."""

    function = F.multilabel_margin_loss


class PoissonNLLLoss(Declared):
    """exp(input) - target * input; or, unless ``log_input``, input - target * log(input + eps). ``full`` adds Stirling's
    approximation of log(target!).
    """

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
    """The negative log likelihood of the target under a normal distribution: (log(var) + (x - t)**2 / var) / 2, the variance
    being at least ``eps`` (Nix, Weigend 1994). ``full`` adds log(2 pi) / 2. Called with input, target and variances; negative
    ones raise ValueError.
    """

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
    """The input where the target is 1, max(0, ``margin`` - input) where it is -1."""

    margin: float = 1.0
    function = F.hinge_embedding_loss


class MarginRankingLoss(_MarginLoss):
    """max(0, -target * (input1 - input2) + ``margin``); the target is 1 or -1."""

    function = F.margin_ranking_loss


class CosineEmbeddingLoss(_MarginLoss):
    """1 - cos(x1, x2) where the target is 1, max(0, cos(x1, x2) - ``margin``) where it is -1."""

    function = F.cosine_embedding_loss


class TripletMarginLoss(Declared):
    """max(0, d(anchor, positive) - d(anchor, negative) + ``margin``), d being the ``p``-norm of the difference plus ``eps``
    (Balntas et al. 2016). ``swap`` takes the smaller one of the negative's distances to anchor and positive. A ``margin`` that
    is not positive raises ValueError in a call.
    """

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
    """max(0, d(anchor, positive) - d(anchor, negative) + ``margin``) with a custom distance: ``distance_function`` takes two
    tensors and returns a number per row; None is ``pairwise_distance``. ``swap`` takes the smaller one of the negative's
    distances to anchor and positive. A ``margin`` that is not positive raises ValueError in a call.
    """

    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None
    margin: float = 1.0
    swap: bool = False
    reduction: str = "mean"
    function = F.triplet_margin_with_distance_loss

    def extra_repr(self) -> str:
        return ""


class CTCLoss(Declared):
    """Connectionist temporal classification (Graves et al. 2006): minus the logarithm of the probability of the target, over
    all its alignments. Called with log probabilities, targets, and the lengths of both. ``blank`` is the class of no label.
    ``zero_infinity`` replaces infinite losses, and their gradients, by 0. The mean divides each loss by its target's length.
    """

    blank: int = 0
    reduction: str = "mean"
    zero_infinity: bool = False
    function = F.ctc_loss

    def extra_repr(self) -> str:
        return ""


class _WeightedLoss(Module):
    """``weight`` is stored as a buffer; None is 1."""

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


class BCELoss(_WeightedLoss):
    """Binary cross entropy of probabilities: -(t log(p) + (1 - t) log(1 - p)), the logarithms being at least -100. ``weight``
    multiplies the elements. Probabilities outside [0, 1] raise RuntimeError.
    """

    function = F.binary_cross_entropy


class MultiLabelSoftMarginLoss(_WeightedLoss):
    """Binary cross entropy of logits, averaged over the classes: see ``nn.functional.multilabel_soft_margin_loss``. ``weight``
    multiplies the classes.
    """

    function = F.multilabel_soft_margin_loss


class BCEWithLogitsLoss(_WeightedLoss):
    """Binary cross entropy of logits: ``BCELoss`` of sigmoid(x). ``weight`` multiplies the elements, ``pos_weight`` the terms
    of positive targets; None is 1.
    """

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


class MultiMarginLoss(_WeightedLoss):
    """max(0, ``margin`` - input[target] + input[i])^``p``, summed over the other classes and divided by the number of classes.
    ``weight``: a factor for each target class. Raises ValueError for a ``p`` other than 1 and 2, AssertionError for a weight
    that is no vector.
    """

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


class NLLLoss(_WeightedLoss):
    """The negative log likelihood of the target class, from log probabilities: see ``nn.functional.nll_loss``. ``weight``: a
    factor for each class; the mean divides by the sum of the targets' factors. Targets ``ignore_index`` do not count.
    """

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


class CrossEntropyLoss(_WeightedLoss):
    """``NLLLoss`` of the log softmax of logits; the target is class numbers or class probabilities. ``weight``: a factor for
    each class; for class numbers, the mean divides by the sum of the targets' factors. Targets ``ignore_index`` do not count.
    ``label_smoothing``: the part of the target that is spread over all classes (Szegedy et al. 2016); outside [0, 1] it raises
    RuntimeError in a call.
    """

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
    """The cosine of the angle between vectors along ``dim``: x . y / (max(|x|, ``eps``) max(|y|, ``eps``))."""

    dim: int = 1
    eps: float = 1e-8
    function = F.cosine_similarity

    def extra_repr(self) -> str:
        return ""


class PairwiseDistance(Declared):
    """The ``p``-norm of the difference of vectors, the last axis: |x - y + ``eps``|. ``keepdim`` keeps that axis, with extent
    1.
    """

    p: float = 2.0
    eps: float = 1e-6
    keepdim: bool = False

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return F.pairwise_distance(x1, x2, self.p, self.eps, self.keepdim)

    def extra_repr(self) -> str:
        return ""
