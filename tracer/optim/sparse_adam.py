"""Adam for sparse gradients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..core.tensor import Tensor
from .adam import AdamLike
from .optimizer import ParamGroup


class SparseAdam(AdamLike):
    """``Adam`` (Kingma, Ba 2015) for the rows that have a gradient.

    All gradients are dense here, so a step with gradients raises RuntimeError.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        maximize: bool = False,
    ):
        super().__init__(params, "", {}, lr=lr, betas=betas, eps=eps, maximize=maximize)
        if any(p.is_complex() for group in self.param_groups for p in group["params"]):
            raise ValueError("SparseAdam does not support complex parameters")

    def _tracer_update_group(self, group: ParamGroup, params: list[Tensor]) -> None:
        if params:
            raise RuntimeError("SparseAdam does not support dense gradients, please consider Adam instead")
