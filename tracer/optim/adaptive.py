"""Optimizers whose step sizes depend on the squares of past gradients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..core.tensor import Tensor
from ..ir.types import float64
from ..ops import create
from .optimizer import Optimizer, ParamGroup, number_for, options, regularized, require, zeros_for


class Adagrad(Optimizer):
    """p -= lr / (1 + (t - 1) * ``lr_decay``) * g / (sqrt(s) + eps), where s sums the squares of the gradients (Duchi, Hazan,
    Singer 2011), and is initially ``initial_accumulator_value``.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
        **more: Any,
    ):
        require("learning rate", lr, lr >= 0)
        require("lr_decay value", lr_decay, lr_decay >= 0)
        require("weight_decay value", weight_decay, weight_decay >= 0)
        require("initial_accumulator_value value", initial_accumulator_value, initial_accumulator_value >= 0)
        require("epsilon value", eps, eps >= 0)
        settings = {"lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay}
        settings |= {"initial_accumulator_value": initial_accumulator_value, "maximize": maximize}
        super().__init__(params, settings | options("foreach differentiable fused", more))
        for group in self.param_groups:
            for p in group["params"]:
                self._tracer_state(p, **self._initial(p, group))

    @staticmethod
    def _initial(p: Tensor, group: ParamGroup) -> dict[str, Any]:
        first = group["initial_accumulator_value"]
        first = complex(first, first) if p.is_complex() else first
        return {"step": number_for(p), "sum": lambda: create.full_like(p, first)}

    def _tracer_update_group(self, group: ParamGroup, params: list[Tensor]) -> None:
        for p in params:
            g = regularized(p, group)
            state = self._tracer_state(p, **self._initial(p, group))
            step, total = state["step"], state["sum"]
            step.add_(1)
            rate = (group["lr"] / (1 + (step.to(float64) - 1) * group["lr_decay"])).to(p.dtype)
            total.add_(g * g)
            p.sub_(g / (total.sqrt() + group["eps"]) * rate)


class Adadelta(Optimizer):
    """p -= lr * sqrt(d + eps) / sqrt(s + eps) * g, where s and d are running means of the squares of gradients and steps
    (Zeiler 2012). ``rho``: the weight of the past in them, from 0 to 1.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        *,
        maximize: bool = False,
        **more: Any,
    ):
        require("learning rate", lr, lr >= 0)
        require("rho value", rho, 0 <= rho <= 1)
        require("epsilon value", eps, eps >= 0)
        require("weight_decay value", weight_decay, weight_decay >= 0)
        settings = {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, settings | options("foreach capturable differentiable", more))

    def _tracer_update_group(self, group: ParamGroup, params: list[Tensor]) -> None:
        rho, eps = group["rho"], group["eps"]
        for p in params:
            g = regularized(p, group)
            state = self._tracer_state(
                p,
                step=number_for(p),
                square_avg=zeros_for(p),
                acc_delta=zeros_for(p),
            )
            square, moved = state["square_avg"], state["acc_delta"]
            state["step"].add_(1)
            square.copy_(square * rho + g * g * (1 - rho))
            delta = (moved + eps).sqrt() / (square + eps).sqrt() * g
            moved.copy_(moved * rho + delta * delta * (1 - rho))
            p.sub_(delta * group["lr"])


class RMSprop(Optimizer):
    """p -= lr * g / (sqrt(s) + eps), where s is a running mean of g^2 (Hinton 2012). ``alpha``: the weight of the past in it.
    ``centered`` subtracts the square of the mean gradient (Graves 2013). ``momentum`` accumulates the steps.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        *,
        maximize: bool = False,
        **more: Any,
    ):
        require("learning rate", lr, lr >= 0)
        require("epsilon value", eps, eps >= 0)
        require("momentum value", momentum, momentum >= 0)
        require("weight_decay value", weight_decay, weight_decay >= 0)
        require("alpha value", alpha, alpha >= 0)
        settings = {"lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps, "centered": centered}
        settings |= {"weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, settings | options("capturable foreach differentiable", more))

    def _tracer_update_group(self, group: ParamGroup, params: list[Tensor]) -> None:
        lr, alpha, momentum = group["lr"], group["alpha"], group["momentum"]
        for p in params:
            g = regularized(p, group)
            zeros = zeros_for(p)
            more = {"momentum_buffer": zeros} if momentum > 0 else {}
            more |= {"grad_avg": zeros} if group["centered"] else {}
            state = self._tracer_state(p, step=number_for(p), square_avg=zeros, **more)
            square = state["square_avg"]
            state["step"].add_(1)
            square.copy_(square * alpha + g * g * (1 - alpha))
            size = square
            if group["centered"]:
                mean = state["grad_avg"]
                mean.copy_(mean + (g - mean) * (1 - alpha))
                size = square - mean * mean
            scaled = g / (size.sqrt() + group["eps"])
            if momentum > 0:
                scaled = state["momentum_buffer"].copy_(state["momentum_buffer"] * momentum + scaled)
            p.sub_(scaled * lr)
