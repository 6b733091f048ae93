"""The base of all optimizers: parameter groups and state."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ..autograd.modes import enable_grad, no_grad
from ..context import structure_changed
from ..nn.module import zero_grads
from ..tensor import Tensor
from ..tracing.announce import Announcing, AnnouncingDict, AnnouncingList
from ..tracing.scalars import runtime_float


class ParamGroup(AnnouncingDict):
    """The parameters and settings of a group. ``runtime_keys`` may change from step to step without a new trace."""

    __slots__ = ()
    runtime_keys = ("lr",)

    def __setitem__(self, key: str, value: Any) -> None:
        if key in self.runtime_keys and type(value) is float and type(dict.get(self, key)) is float:
            dict.__setitem__(self, key, value)
        else:
            super().__setitem__(key, value)

    def __getitem__(self, key: str) -> Any:
        return runtime_float(self, key) if key in self.runtime_keys else dict.__getitem__(self, key)

    def get(self, key: str, default: Any = None) -> Any:
        value = dict.get(self, key, default)
        return runtime_float(self, key) if value is not default and key in self.runtime_keys else value

    def __iter__(self) -> Any:
        # A dict of its own: copies then go through ``__getitem__``.
        return dict.__iter__(self)

    def copy(self) -> dict[str, Any]:
        return dict(self.items())

    def items(self) -> Any:
        return {key: self[key] for key in self}.items()

    def values(self) -> Any:
        return [self[key] for key in self]


class Optimizer(Announcing):
    """Updates parameters from their gradients. Subclasses define ``_update(group, param, grad, state)``."""

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]):
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, but got torch.FloatTensor"
            )
        given = list(params)
        if not given:
            raise ValueError("optimizer got an empty parameter list")
        self.defaults = AnnouncingDict(defaults)
        self.state: dict[Tensor, dict[str, Tensor]] = AnnouncingDict()
        self.param_groups: list[ParamGroup] = AnnouncingList()
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
        self.param_groups.append(ParamGroup({**self.defaults, **group, "params": AnnouncingList(params)}))

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
            self.state[p] = AnnouncingDict({name: f() for name, f in make.items()})
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
        params = {
            n: p for m, t in zip(self.param_groups, groups, strict=True) for n, p in zip(t["params"], m["params"], strict=True)
        }
        loaded = state_dict["state"].items()
        self.state = AnnouncingDict({params[n]: AnnouncingDict({k: v.clone() for k, v in s.items()}) for n, s in loaded})
        for mine, theirs in zip(self.param_groups, groups, strict=True):
            mine.update({k: v for k, v in theirs.items() if k != "params"})


def require(condition: bool, name: str, value: Any) -> None:
    """Raises PyTorch's ValueError for a setting out of range."""
    if not condition:
        raise ValueError(f"Invalid {name} value: {value}" if name != "lr" else f"Invalid learning rate: {value}")
