"""Optimizers with states smaller than the parameters, or with matrix-valued steps."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable
from typing import Any, cast

from .. import ops
from ..core.device import beside
from ..core.tensor import Tensor
from ..ir.types import bfloat16, float64
from ..ops import create
from .optimizer import Optimizer, ParamGroup, number_for, require, zeros_for


class _Real(Optimizer):
    def _tracer_update_pairs(self, group: ParamGroup, p: Tensor) -> None:
        raise RuntimeError(f"{type(self).__name__} does not support complex parameters")


class Adafactor(_Real):
    """Shazeer, Stern 2018: second moments of matrices by rows and columns, steps relative to the parameter's size. ``lr``
    limits the relative step 1 / sqrt(t). ``beta2_decay``: the weight of step t in the moments is t^beta2_decay. ``eps``: the
    least second moment, as a root, where None is the dtype's machine epsilon; and the least size of a parameter. ``d``: the
    limit of an update's root mean square, at least 1. ``weight_decay`` is decoupled. Complex parameters raise RuntimeError in a
    step.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ):
        require("learning rate", lr, lr >= 0)
        if not beta2_decay <= 0:
            raise ValueError(f"beta2_decay should be <= 0 but is: {beta2_decay}")
        if eps[0] is not None and not eps[0] >= 0:
            raise ValueError(f"epsilon1 should be >= 0 but is: {eps[0]}")
        if not eps[1] >= 0:
            raise ValueError(f"epsilon2 should be >= 0 but is: {eps[1]}")
        if not d >= 1:
            raise ValueError(f"Clipping threshold d should be >= 1 but is: {d}")
        require("weight_decay", weight_decay, weight_decay >= 0)
        settings = {"lr": lr, "beta2_decay": beta2_decay, "eps": eps, "d": d, "weight_decay": weight_decay}
        super().__init__(params, settings | {"foreach": foreach, "maximize": maximize})

    def _tracer_update_group(self, group: ParamGroup, params: list[Tensor]) -> None:
        lr = group["lr"]
        for p in params:
            g = p.grad
            assert g is not None
            g = -g if group["maximize"] else g
            eps1 = ops.finfo(p.dtype).eps if group["eps"][0] is None else group["eps"][0]
            matrix = p.ndim > 1
            zeros = {"row_var": _rows(p), "col_var": _columns(p)} if matrix else {"variance": zeros_for(p)}
            state = self._tracer_state(p, step=number_for(p), **zeros)
            state["step"].add_(1)
            step = state["step"].to(float64)
            fresh = ops.pow(step, group["beta2_decay"]).to(p.dtype)  # 1 - beta2
            size = ops.sqrt(ops.sum(ops.square(p))) / p.numel() ** 0.5
            rate = ops.clamp(size, min=group["eps"][1]) * ops.minimum(
                ops.rsqrt(step).to(p.dtype), ops.full((), 1.0, dtype=p.dtype, device=beside(p)) * lr
            )
            if group["weight_decay"]:
                p.mul_(1 - lr * group["weight_decay"])
            if matrix:
                rows, columns = state["row_var"], state["col_var"]
                rows.copy_(rows + (ops.mean(ops.square(g), -1, keepdim=True) - rows) * fresh)
                columns.copy_(columns + (ops.mean(ops.square(g), -2, keepdim=True) - columns) * fresh)
                variance = rows @ columns / ops.clamp(ops.mean(rows, -2, keepdim=True), min=eps1)
            else:
                variance = state["variance"]
                variance.copy_(variance + (ops.square(g) - variance) * fresh)
            update = g * ops.rsqrt(ops.clamp(variance, min=eps1 * eps1))
            clipped = ops.clamp(ops.sqrt(ops.sum(ops.square(update))) / (p.numel() ** 0.5 * group["d"]), min=1.0)
            p.sub_(update * (rate / clipped))

    def _tracer_update_wide(self, group: ParamGroup, p: Tensor) -> None:
        if group["eps"][0] is None:  # by default that of the parameter's dtype
            group = cast(ParamGroup, ChainMap({"eps": (ops.finfo(p.dtype).eps, group["eps"][1])}, group))
        super()._tracer_update_wide(group, p)


def _rows(p: Tensor) -> Any:
    return lambda: create.zeros((*p.shape[:-1], 1), dtype=p.dtype, device=beside(p))


def _columns(p: Tensor) -> Any:
    return lambda: create.zeros((*p.shape[:-2], 1, p.shape[-1]), dtype=p.dtype, device=beside(p))


class Muon(_Real):
    """Jordan et al. 2024: the momentum of a matrix, approximately orthogonalized by Newton-Schulz iteration in bfloat16.
    ``momentum``: the weight of the past; ``nesterov`` adds the gradient once more. ``ns_coefficients``, ``ns_steps``: the
    iteration's polynomial a x + b x^3 + c x^5, and the number of steps. ``adjust_lr_fn``: "original", or None, multiplies the
    rate by sqrt(max(1, rows / columns)), "match_rms_adamw" by 0.2 sqrt(max(rows, columns)). ``weight_decay`` is decoupled.

    Raises ValueError for parameters that are not matrices. Complex parameters raise RuntimeError in a step.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ):
        require("learning rate", lr, lr >= 0)
        require("momentum value", momentum, momentum >= 0)
        require("weight_decay value", weight_decay, weight_decay >= 0)
        if adjust_lr_fn not in (None, "original", "match_rms_adamw"):
            raise ValueError(f"Adjust learning rate function {adjust_lr_fn} is not supported")
        if ns_steps >= 100:
            raise ValueError("Number of steps must be less than 100 for computational efficiency")
        settings: dict[str, Any] = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "nesterov": nesterov}
        settings |= {"ns_coefficients": ns_coefficients, "eps": eps, "ns_steps": ns_steps, "adjust_lr_fn": adjust_lr_fn}
        super().__init__(params, settings)
        for group in self.param_groups:
            for p in group["params"]:
                if p.ndim != 2:
                    raise ValueError(f"Muon only supports 2D parameters whereas we found a parameter with size: {p.size()}")

    def _tracer_update_group(self, group: ParamGroup, params: list[Tensor]) -> None:
        lr, momentum = group["lr"], group["momentum"]
        for p in params:
            g = p.grad
            assert g is not None
            held = self._tracer_state(p, momentum_buffer=zeros_for(p))["momentum_buffer"]
            held.copy_(held + (g - held) * (1 - momentum))
            update = g + (held - g) * momentum if group["nesterov"] else held
            update = _orthogonalized(update, group["ns_coefficients"], group["ns_steps"], group["eps"])
            m, n = p.shape
            if group["adjust_lr_fn"] == "match_rms_adamw":
                ratio = 0.2 * max(m, n) ** 0.5
            else:
                ratio = max(1.0, m / n) ** 0.5
            p.mul_(1 - lr * group["weight_decay"])
            p.sub_(update.to(p.dtype) * (lr * ratio))


def _orthogonalized(g: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float) -> Tensor:
    """Brings the matrix's singular values near 1, by an odd polynomial of degree five, in bfloat16."""
    a, b, c = coefficients
    x = g.to(bfloat16)
    wide = g.shape[0] <= g.shape[1]
    x = x if wide else x.T
    x = x / ops.clamp(ops.sqrt(ops.sum(ops.square(x))), min=eps)
    for _ in range(steps):
        square = x @ x.T
        x = x * a + (square * b + square @ square * c) @ x
    return x if wide else x.T
