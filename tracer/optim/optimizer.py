"""The base of all optimizers: parameter groups and state."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ..autograd.modes import enable_grad, no_grad
from ..context import structure_changed
from ..nn.module import zero_grads
from ..tensor import Tensor
from ..tracing.guards import Announcing


class ParamGroup(dict):
    """The parameters and settings of a group. ``runtime_keys`` may change from step to step without a new trace."""

    runtime_keys = ("lr",)

    def __setitem__(self, key: str, value: Any) -> None:
        if key not in self.runtime_keys or type(value) is not type(self.get(key)):
            structure_changed()
        super().__setitem__(key, value)

    def __delitem__(self, key: str) -> None:
        structure_changed()
        super().__delitem__(key)

    def update(self, *args: Any, **kwargs: Any) -> None:
        for key, value in dict(*args, **kwargs).items():
            self[key] = value

    def setdefault(self, key: str, default: Any = None) -> Any:
        if key not in self:
            self[key] = default
        return self[key]


class Optimizer(Announcing):
    """Updates parameters from their gradients. Subclasses define ``_update(group, param, grad, state)``."""

    _announced = frozenset({"param_groups", "state", "defaults"})

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]):
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, but got torch.FloatTensor"
            )
        given = list(params)
        if not given:
            raise ValueError("optimizer got an empty parameter list")
        self.defaults = defaults
        self.state: dict[Tensor, dict[str, Tensor]] = {}
        self.param_groups: list[ParamGroup] = []
        for group in given if isinstance(given[0], dict) else [{"params": given}]:
            self.add_param_group(group)

    def __setattr__(self, name: str, value: Any) -> None:
        structure_changed()
        object.__setattr__(self, name, value)

    def add_param_group(self, group: dict[str, Any]) -> None:
        """Another group of parameters. Raises TypeError or ValueError for what cannot be optimized."""
        params = group["params"]
        params = [params] if isinstance(params, Tensor) else list(params)
        known = {id(p) for g in self.param_groups for p in g["params"]}
        for p in params:
            if not isinstance(p, Tensor):
                raise TypeError(f"optimizer can only optimize Tensors, but one of the params is {type(p).__name__}")
            if not p.is_leaf:
                raise ValueError("can't optimize a non-leaf Tensor")
            if id(p) in known:
                raise ValueError("some parameters appear in more than one parameter group")
        structure_changed()
        self.param_groups.append(ParamGroup({**self.defaults, **group, "params": params}))

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets the gradients, or sets them to zero."""
        zero_grads((p for g in self.param_groups for p in g["params"]), set_to_none)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of every parameter that has a gradient. A closure is called first, and its loss returned."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        with no_grad():
            for group in self.param_groups:
                self._update_group(group, [p for p in group["params"] if p.grad is not None])
        return loss

    def _update_group(self, group: ParamGroup, params: list[Tensor]) -> None:
        raise NotImplementedError

    def _state(self, p: Tensor, **make: Any) -> dict[str, Tensor]:
        """The parameter's state, made at its first step: names and functions that make the tensors."""
        if p not in self.state:
            structure_changed()
            self.state[p] = {name: f() for name, f in make.items()}
        return self.state[p]

    def state_dict(self) -> dict[str, Any]:
        """Settings and state, with parameters numbered in order."""
        number = {id(p): i for i, p in enumerate(p for g in self.param_groups for p in g["params"])}
        groups = [
            {**{k: v for k, v in g.items() if k != "params"}, "params": [number[id(p)] for p in g["params"]]}
            for g in self.param_groups
        ]
        return {"state": {number[id(p)]: dict(s) for p, s in self.state.items()}, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes settings and state from ``state_dict()`` of the same optimizer. Raises ValueError if the groups differ."""
        groups = state_dict["param_groups"]
        if len(groups) != len(self.param_groups):
            raise ValueError("loaded state dict has a different number of parameter groups")
        for mine, theirs in zip(self.param_groups, groups, strict=True):
            if len(mine["params"]) != len(theirs["params"]):
                raise ValueError(
                    "loaded state dict contains a parameter group that doesn't match the size of optimizer's group"
                )
        structure_changed()
        params = {
            n: p for m, t in zip(self.param_groups, groups, strict=True) for n, p in zip(t["params"], m["params"], strict=True)
        }
        self.state = {params[n]: {k: v.clone() for k, v in s.items()} for n, s in state_dict["state"].items()}
        for mine, theirs in zip(self.param_groups, groups, strict=True):
            mine.update({k: v for k, v in theirs.items() if k != "params"})


def require(condition: bool, name: str, value: Any) -> None:
    """Raises PyTorch's ValueError for a setting out of range."""
    if not condition:
        raise ValueError(f"Invalid {name} value: {value}" if name != "lr" else f"Invalid learning rate: {value}")
