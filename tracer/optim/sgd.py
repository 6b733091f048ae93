"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..tensor import Tensor
from .optimizer import Optimizer, ParamGroup, require


class SGD(Optimizer):
    """Gradient descent with momentum (Polyak 1964), Nesterov's if asked (Sutskever et al. 2013), and L2 weight decay."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        maximize: bool = False,
    ):
        require(lr >= 0, "lr", lr)
        require(momentum >= 0, "momentum", momentum)
        require(weight_decay >= 0, "weight_decay", weight_decay)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        settings = {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay}
        settings |= {"nesterov": nesterov, "maximize": maximize}
        super().__init__(params, settings)

    def _update_group(self, group: ParamGroup, params: list[Tensor]) -> None:
        lr, momentum = group["lr"], group["momentum"]
        for p in params:
            g = p.grad
            assert g is not None
            if group["maximize"]:
                g = -g
            if group["weight_decay"]:
                g = g + p * group["weight_decay"]
            if momentum:
                if p not in self.state:
                    buffer = self._state(p, momentum_buffer=g.clone)["momentum_buffer"]
                else:
                    buffer = self.state[p]["momentum_buffer"]
                    buffer.copy_(buffer * momentum + g * (1 - group["dampening"]))
                g = g + buffer * momentum if group["nesterov"] else buffer
            p.sub_(g * lr)
