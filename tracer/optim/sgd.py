"""Gradient descent, averaged gradient descent, and Rprop."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..core.tensor import Tensor
from ..ir.types import float64
from ..ops import create, pointwise
from ..ops.pointwise import where
from .optimizer import Optimizer, ParamGroup, number_for, options, regularized, require, zeros_for


class SGD(Optimizer):
    """p -= lr * v, with v = g + momentum * v: gradient descent with momentum (Polyak 1964), Nesterov momentum (Sutskever et al.
    2013), and L2 weight decay. ``momentum`` 0 is plain descent. ``dampening`` multiplies the gradient by 1 - dampening, after
    the first step. ``nesterov`` uses g + momentum * v, and needs a momentum without dampening, else ValueError.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        **more: Any,
    ):
        require("learning rate", lr, lr >= 0)
        require("momentum value", momentum, momentum >= 0)
        require("weight_decay value", weight_decay, weight_decay >= 0)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        settings = {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay}
        settings |= {"nesterov": nesterov, "maximize": maximize}
        super().__init__(params, settings | options("foreach differentiable fused", more))

    def _tracer_update_group(self, group: ParamGroup, params: list[Tensor]) -> None:
        lr, momentum = group["lr"], group["momentum"]
        for p in params:
            g = regularized(p, group)
            if momentum:
                if p not in self.state or self.state[p].get("momentum_buffer") is None:
                    buffer = self._tracer_state(p, momentum_buffer=g.clone)["momentum_buffer"]
                else:
                    buffer = self.state[p]["momentum_buffer"]
                    buffer.copy_(buffer * momentum + g * (1 - group["dampening"]))
                g = g + buffer * momentum if group["nesterov"] else buffer
            p.sub_(g * lr)


class ASGD(Optimizer):
    """Averaged gradient descent (Polyak, Juditsky 1992): the average is the state ``ax``. Steps have the size lr / (1 +
    ``lambd`` * lr * t)^``alpha``, and ``lambd`` also decays the parameters; averaging begins at step ``t0``.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        *,
        maximize: bool = False,
        **more: Any,
    ):
        require("learning rate", lr, lr >= 0)
        require("weight_decay value", weight_decay, weight_decay >= 0)
        settings = {"lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, settings | options("foreach differentiable capturable", more))

    def _tracer_update_group(self, group: ParamGroup, params: list[Tensor]) -> None:
        lr = group["lr"]
        for p in params:
            g = regularized(p, group)
            state = self._tracer_state(
                p,
                step=number_for(p),
                eta=lambda: number_for(p, 1.0)() * lr,
                mu=number_for(p, 1.0),
                ax=zeros_for(p),
            )
            step, eta, mu, average = state["step"], state["eta"], state["mu"], state["ax"]
            step.add_(1)
            rate = eta.to(p.dtype)
            p.copy_(p * (1 - rate * group["lambd"]) - g * rate)
            average.copy_(where(pointwise.eq(mu, 1), p, average + (p - average) * mu.to(p.dtype)))
            t = step.to(float64)
            eta.copy_(lr / (1 + t * (group["lambd"] * lr)) ** group["alpha"])
            mu.copy_(1 / pointwise.clamp(t - group["t0"], min=1))


class Rprop(Optimizer):
    """Resilient backpropagation (Riedmiller, Braun 1993): a step size per element, adapted to changes of the gradient's sign.
    ``etas``: the factors after a change and otherwise; they must be below and above 1, else ValueError. ``step_sizes``: the
    least and the greatest size. ``lr`` is the initial size.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        maximize: bool = False,
        **more: Any,
    ):
        require("learning rate", lr, lr >= 0)
        if not 0 < etas[0] < 1 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")
        settings = {"lr": lr, "etas": etas, "step_sizes": step_sizes, "maximize": maximize}
        super().__init__(params, settings | options("foreach differentiable capturable", more))

    def _tracer_update_group(self, group: ParamGroup, params: list[Tensor]) -> None:
        (smaller, larger), (least, most), lr = group["etas"], group["step_sizes"], group["lr"]
        for p in params:
            g = regularized(p, group)

            def first(p: Tensor = p) -> Tensor:
                return create.zeros_like(p) + lr

            state = self._tracer_state(p, step=number_for(p), prev=zeros_for(p), step_size=first)
            state["step"].add_(1)
            turn = g * state["prev"]
            before = state["step_size"]
            size = where(turn > 0, before * larger, where(turn < 0, before * smaller, before))
            size = before.copy_(pointwise.clamp(size, least, most))
            g = where(turn < 0, 0.0, g)
            p.sub_(pointwise.sign(g) * size)
            state["prev"].copy_(g)
