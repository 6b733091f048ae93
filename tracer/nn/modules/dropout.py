"""Dropout, in training only."""

from __future__ import annotations

from ...core.tensor import Tensor
from .. import functional as F
from .declared import Declared


class _DropoutNd(Declared):
    """``p`` is the probability of zeros, in training; evaluation returns the input. Raises ValueError unless it is between 0
    and 1.
    """

    p: float = 0.5
    inplace: bool = False

    def check(self) -> None:
        if not 0 <= self.p <= 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {self.p}")

    def forward(self, input: Tensor) -> Tensor:
        return type(self).function(input, self.p, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_DropoutNd):
    """Sets elements to zero with probability ``p`` and scales the others by 1 / (1 - p) (Srivastava et al. 2014)."""

    function = F.dropout


class Dropout1d(_DropoutNd):
    """Drops whole channels of (N, C, L) or (C, L), as ``Dropout`` drops elements (Tompson et al. 2015)."""

    function = F.dropout1d


class Dropout2d(_DropoutNd):
    """Drops whole channels of (N, C, H, W) or (C, H, W), as ``Dropout`` drops elements (Tompson et al. 2015)."""

    function = F.dropout2d


class Dropout3d(_DropoutNd):
    """Drops whole channels of (N, C, D, H, W) or (C, D, H, W), as ``Dropout`` drops elements (Tompson et al. 2015)."""

    function = F.dropout3d


class AlphaDropout(_DropoutNd):
    """Dropout that keeps mean and variance after SELU (Klambauer et al. 2017)."""

    function = F.alpha_dropout


class FeatureAlphaDropout(_DropoutNd):
    """``AlphaDropout`` (Klambauer et al. 2017) of whole channels, axis 1."""

    function = F.feature_alpha_dropout
