"""Adam."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..ir.types import float64
from ..ops import create
from ..tensor import Tensor
from .optimizer import Optimizer, ParamGroup, require


class Adam(Optimizer):
    """Kingma, Ba 2015, with L2 weight decay. The number of steps is a tensor: a traced step advances it."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        maximize: bool = False,
    ):
        require(lr >= 0, "lr", lr)
        require(eps >= 0, "epsilon", eps)
        require(weight_decay >= 0, "weight_decay", weight_decay)
        for i, beta in enumerate(betas):
            if not 0 <= beta < 1:
                raise ValueError(f"Invalid beta parameter at index {i}: {beta}")
        settings = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, settings)

    def _update_group(self, group: ParamGroup, params: list[Tensor]) -> None:
        lr, (beta1, beta2) = group["lr"], group["betas"]
        for p in params:
            g = p.grad
            assert g is not None
            if group["maximize"]:
                g = -g
            if group["weight_decay"]:
                g = g + p * group["weight_decay"]
            state = self._state(
                p,
                step=lambda: create.zeros(),
                exp_avg=lambda p=p: create.zeros_like(p),
                exp_avg_sq=lambda p=p: create.zeros_like(p),
            )
            step, mean, square = state["step"], state["exp_avg"], state["exp_avg_sq"]
            step.add_(1)
            mean.copy_(mean + (g - mean) * (1 - beta1))
            square.copy_(square * beta2 + g * g * (1 - beta2))
            # In float64: 1 - beta2 ** step loses most of its digits in float32.
            t = step.to(float64)
            size = (lr / (1 - beta1**t)).to(p.dtype)
            root = ((1 - beta2**t) ** 0.5).to(p.dtype)
            p.sub_(mean / (square.sqrt() / root + group["eps"]) * size)
