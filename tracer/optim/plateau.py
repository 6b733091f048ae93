"""The learning rate scheduler that follows a metric; it is in ``lr_scheduler``, as the others."""

from __future__ import annotations

import math
from typing import Any

from ..autograd import no_grad
from ..core.tensor import Tensor
from ..tracing.callsites import as_float
from .optimizer import Optimizer


def per_group(given: Any, optimizer: Optimizer, name: str) -> list[Any]:
    """One value for each group. Raises ValueError for a list of another length."""
    n = len(optimizer.param_groups)
    if not isinstance(given, (list, tuple)):
        return [given] * n
    if len(given) != n:
        raise ValueError(f"Expected {n} {name}, but got {len(given)}")
    return list(given)


def put_rate(group: Any, lr: Any) -> None:
    """Sets a group's learning rate. A rate that is a tensor is filled: programs may hold it."""
    now = dict.__getitem__(group, "lr")
    if isinstance(now, Tensor):
        with no_grad():
            now.fill_(lr)
    else:
        group["lr"] = lr


def copied(lr: Any) -> Any:
    """A rate as it is now."""
    return lr.detach().clone() if isinstance(lr, Tensor) else lr


class ReduceLROnPlateau:
    """Multiplies the rate by ``factor``, to max(lr * factor, min_lr), when a metric, the argument of ``step``, has not improved
    for ``patience`` epochs. ``mode``: "min" for a metric that should fall, "max" for one that should rise. To improve it must
    change by more than ``threshold``: as a fraction of the best value if ``threshold_mode`` is "rel", else "abs". ``cooldown``:
    epochs after a change that do not count. ``min_lr``: the least rate, one number or one per group. Changes of at most ``eps``
    are not made. Raises ValueError for a factor of 1 or more, and for unknown modes.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | list[float] = 0,
        eps: float = 1e-8,
    ):
        if factor >= 1.0:
            raise ValueError("Factor should be < 1.0.")
        if mode not in ("min", "max"):
            raise ValueError(f"mode {mode} is unknown!")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(f"threshold mode {threshold_mode} is unknown!")
        self.optimizer, self.mode, self.factor, self.patience = optimizer, mode, factor, patience
        self.threshold, self.threshold_mode, self.cooldown, self.eps = threshold, threshold_mode, cooldown, eps
        self.min_lrs = per_group(min_lr, optimizer, "min_lrs")
        self.last_epoch, self.cooldown_counter, self.num_bad_epochs = 0, 0, 0
        self.best = math.inf if mode == "min" else -math.inf
        self._last_lr = [copied(dict.__getitem__(g, "lr")) for g in optimizer.param_groups]

    def _better(self, a: float) -> bool:
        sign = 1 if self.mode == "min" else -1
        if self.threshold_mode == "rel":
            return sign * a < sign * self.best * (1 - sign * self.threshold) if math.isfinite(self.best) else True
        return sign * a < sign * self.best - self.threshold

    def step(self, metrics: Any, epoch: int | None = None) -> None:
        """Counts an epoch with the given metric."""
        current = as_float(metrics)
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        if self._better(current):
            self.best, self.num_bad_epochs = current, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            for group, least in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
                before = as_float(dict.__getitem__(group, "lr"))
                lr = max(before * self.factor, least)
                if before - lr > self.eps:
                    put_rate(group, lr)
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._last_lr = [copied(dict.__getitem__(g, "lr")) for g in self.optimizer.param_groups]

    def get_last_lr(self) -> list[float]:
        return self._last_lr

    def state_dict(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.__dict__.update(state_dict)
