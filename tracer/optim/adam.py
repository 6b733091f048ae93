"""Adam and related optimizers. The step count is a tensor, so that a traced step can advance it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..core.tensor import Tensor
from ..ir.types import float64
from ..ops import pointwise
from ..ops.pointwise import where
from .optimizer import Optimizer, ParamGroup, number_for, options, regularized, require, zeros_for


class AdamLike(Optimizer):
    """Optimizers with running means of the gradients, and of their squares or sizes."""

    def __init__(self, params: Iterable[Any], accepted: str, more: dict[str, Any], **settings: Any):
        """``accepted`` names the options without effect that ``more`` may have. Raises ValueError for invalid settings."""
        lr, betas = settings["lr"], settings["betas"]
        require("learning rate", lr, lr >= 0)
        require("epsilon value", settings["eps"], settings["eps"] >= 0)
        if isinstance(betas[0], Tensor) != isinstance(betas[1], Tensor):
            raise ValueError("betas must be either both floats or both Tensors")
        for i, beta in enumerate(betas):
            require(f"beta parameter at index {i}", beta, 0 <= beta < 1)
        decay = settings.get("weight_decay", 0)
        require("weight_decay value", decay, decay >= 0)
        super().__init__(params, settings | options(accepted, more))

    def _gradient(self, p: Tensor, group: ParamGroup) -> Tensor:
        """The gradient with the weight decay; a decoupled one is applied to the parameter (Loshchilov, Hutter 2019)."""
        decoupled = group.get("decoupled_weight_decay", False)
        g = regularized(p, group, decay=not decoupled)
        if decoupled and group["weight_decay"]:
            p.mul_(1 - group["lr"] * group["weight_decay"])
        return g

    def _moments(
        self, p: Tensor, g: Tensor, group: ParamGroup, **more: Any
    ) -> tuple[dict[str, Tensor], Tensor, Tensor, Tensor]:
        """The state, the two updated means, and the number of this step in float64."""
        beta1, beta2 = group["betas"]
        state = self._tracer_state(
            p,
            step=number_for(p),
            exp_avg=zeros_for(p),
            exp_avg_sq=zeros_for(p),
            **more,
        )
        step, mean, square = state["step"], state["exp_avg"], state["exp_avg_sq"]
        step.add_(1)
        mean.copy_(mean + (g - mean) * (1 - beta1))
        square.copy_(square * beta2 + g * g * (1 - beta2))
        # In float64: 1 - beta2 ** step loses most of its digits in float32.
        return state, mean, square, step.to(float64)


class Adam(AdamLike):
    """p -= lr * m / (sqrt(v) + eps), where m and v are the running means of g and g^2, divided by 1 - beta^t (Kingma, Ba 2015),
    with L2 weight decay. ``amsgrad`` uses the greatest v so far (Reddi et al. 2018). ``decoupled_weight_decay``: as in
    ``AdamW``.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
        **more: Any,
    ):
        settings = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad}
        settings |= {"maximize": maximize, "decoupled_weight_decay": decoupled_weight_decay}
        super().__init__(params, "foreach capturable differentiable fused", more, **settings)

    def _tracer_update_group(self, group: ParamGroup, params: list[Tensor]) -> None:
        lr, (beta1, beta2) = group["lr"], group["betas"]
        for p in params:
            g = self._gradient(p, group)
            largest = {"max_exp_avg_sq": zeros_for(p)} if group["amsgrad"] else {}
            state, mean, square, t = self._moments(p, g, group, **largest)
            if group["amsgrad"]:
                state["max_exp_avg_sq"].copy_(pointwise.maximum(state["max_exp_avg_sq"], square))
                square = state["max_exp_avg_sq"]
            size = (lr / (1 - beta1**t)).to(p.dtype)
            root = ((1 - beta2**t) ** 0.5).to(p.dtype)
            p.sub_(mean / (square.sqrt() / root + group["eps"]) * size)


class AdamW(Adam):
    """``Adam`` with decoupled weight decay (Loshchilov, Hutter 2019): p *= 1 - lr * weight_decay. ``amsgrad`` uses the greatest
    running mean of g^2 so far (Reddi et al. 2018).
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        **more: Any,
    ):
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize, decoupled_weight_decay=True, **more)


class NAdam(AdamLike):
    """Adam with Nesterov momentum (Dozat 2016): beta1 is replaced by beta1 * (1 - 0.96^(t * ``momentum_decay``) / 2).
    ``decoupled_weight_decay``: as in ``AdamW``.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
        **more: Any,
    ):
        require("momentum_decay value", momentum_decay, momentum_decay >= 0)
        settings = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "momentum_decay": momentum_decay}
        settings |= {"decoupled_weight_decay": decoupled_weight_decay, "maximize": maximize}
        super().__init__(params, "foreach capturable differentiable", more, **settings)

    def _tracer_update_group(self, group: ParamGroup, params: list[Tensor]) -> None:
        lr, (beta1, beta2), decay = group["lr"], group["betas"], group["momentum_decay"]
        for p in params:
            g = self._gradient(p, group)
            state, mean, square, t = self._moments(p, g, group, mu_product=number_for(p, 1.0))
            mu = beta1 * (1 - 0.5 * 0.96 ** (t * decay))
            mu_next = beta1 * (1 - 0.5 * 0.96 ** ((t + 1) * decay))
            state["mu_product"].copy_(state["mu_product"] * mu)
            product = state["mu_product"].to(float64)
            root = (square / (1 - beta2**t).to(p.dtype)).sqrt() + group["eps"]
            p.sub_(g / root * (lr * (1 - mu) / (1 - product)).to(p.dtype))
            p.sub_(mean / root * (lr * mu_next / (1 - product * mu_next)).to(p.dtype))


class RAdam(AdamLike):
    """Adam with a rectified variance (Liu et al. 2020). ``decoupled_weight_decay``: as in ``AdamW``."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
        **more: Any,
    ):
        settings = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        settings |= {"decoupled_weight_decay": decoupled_weight_decay}
        super().__init__(params, "foreach capturable differentiable", more, **settings)

    def _tracer_update_group(self, group: ParamGroup, params: list[Tensor]) -> None:
        lr, (beta1, beta2) = group["lr"], group["betas"]
        limit = 2 / (1 - beta2) - 1
        for p in params:
            g = self._gradient(p, group)
            _, mean, square, t = self._moments(p, g, group)
            correction = 1 - beta2**t
            rho = limit - 2 * t * beta2**t / correction
            rectified = (((rho - 4) * (rho - 2) * limit) / ((limit - 4) * (limit - 2) * rho)).sqrt()
            adaptive = correction.sqrt().to(p.dtype) / (square.sqrt() + group["eps"])
            factor = where(rho > 5, adaptive * rectified.to(p.dtype), 1.0)
            p.sub_(mean / (1 - beta1**t).to(p.dtype) * lr * factor)


class Adamax(AdamLike):
    """p -= lr / (1 - beta1^t) * m / u, with u = max(beta2 * u, |g| + eps): Adam with the infinity norm (Kingma, Ba 2015)."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        *,
        maximize: bool = False,
        **more: Any,
    ):
        settings = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, "foreach differentiable capturable", more, **settings)

    def _tracer_update_group(self, group: ParamGroup, params: list[Tensor]) -> None:
        lr, (beta1, beta2) = group["lr"], group["betas"]
        for p in params:
            g = self._gradient(p, group)
            state = self._tracer_state(
                p,
                step=number_for(p),
                exp_avg=zeros_for(p),
                exp_inf=zeros_for(p),
            )
            step, mean, norm = state["step"], state["exp_avg"], state["exp_inf"]
            step.add_(1)
            mean.copy_(mean + (g - mean) * (1 - beta1))
            norm.copy_(pointwise.maximum(norm * beta2, pointwise.abs(g) + group["eps"]))
            p.sub_(mean / norm * (lr / (1 - beta1 ** step.to(float64))).to(p.dtype))
