"""The base of all optimizers: parameter groups and state."""

from __future__ import annotations

import functools
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

from ..autograd.hooks import RemovableHandle
from ..autograd.modes import enable_grad, no_grad, set_grad_enabled
from ..core.context import structure_changed
from ..core.device import beside, near
from ..core.tensor import Tensor
from ..nn.module import zero_grads
from ..ops import create
from ..ops.complex import view_as_complex, view_as_real
from ..ops.opmath import narrowed, widened
from ..tracing.announce import Announcing, AnnouncingDict, AnnouncingList
from ..tracing.scalars import runtime_float
from .compiled import update


class ParamGroup(AnnouncingDict):
    """The parameters and settings of a group. ``runtime_keys`` may change between steps without a new trace."""

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

    def setdefault(self, key: str, default: Any = None) -> Any:
        return self[key] if key in self else super().setdefault(key, default)

    def pop(self, key: str, *default: Any) -> Any:
        value = self.get(key)
        found = super().pop(key, *default)
        return found if value is None else value

    def __or__(self, other: Any) -> Any:
        return self.copy() | other if isinstance(other, dict) else NotImplemented

    def __ror__(self, other: Any) -> Any:
        return other | self.copy() if isinstance(other, dict) else NotImplemented

    def __eq__(self, other: object) -> bool:
        return self.copy() == (other.copy() if isinstance(other, ParamGroup) else other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self.copy())

    def __iter__(self) -> Any:
        # An unshared dict: copies then go through ``__getitem__``.
        return dict.__iter__(self)

    def copy(self) -> dict[str, Any]:
        return dict(self.items())

    def items(self) -> Any:
        return {key: self[key] for key in self}.items()

    def values(self) -> Any:
        return [self[key] for key in self]


class States(AnnouncingDict):
    """The states of parameters; a parameter without one gets an empty one when it is looked up, as subclasses expect."""

    __slots__ = ()

    def __missing__(self, p: Tensor) -> AnnouncingDict:
        state = self[p] = AnnouncingDict()
        return state


class Optimizer(Announcing):
    """Updates parameters, given as tensors, (name, tensor) pairs, or groups, from their gradients. ``defaults``: the settings
    that groups have if they do not set them.

    Subclasses define ``_tracer_update_group(group, params)``.
    """

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]):
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, but got tracer.FloatTensor"
            )
        given = list(params)
        if not given:
            raise ValueError("optimizer got an empty parameter list")
        self.defaults = AnnouncingDict(defaults)
        self.state: dict[Tensor, dict[str, Any]] = States()
        self.param_groups: list[ParamGroup] = AnnouncingList()
        for group in given if isinstance(given[0], dict) else [{"params": given}]:
            self.add_param_group(group)

    def __setattr__(self, name: str, value: Any) -> None:
        structure_changed()
        object.__setattr__(self, name, value)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds a group of parameters. Raises TypeError or ValueError for parameters that cannot be optimized."""
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        params = param_group["params"]
        if isinstance(params, (set, frozenset)):
            raise TypeError(
                "optimizer parameters need to be organized in ordered collections, but the ordering of tensors in sets will "
                "change between runs. Please use a list instead."
            )
        params = [params] if isinstance(params, Tensor) else list(params)
        group = dict(param_group)
        named = [isinstance(p, tuple) for p in params]
        if any(named):
            if not all(named):
                raise ValueError("all optimizer params should be with/without names. Some param names are missing")
            group["param_names"] = [name for name, _ in params]
            params = [p for _, p in params]
        if self.param_groups and ("param_names" in group) != ("param_names" in self.param_groups[0]):
            raise ValueError(
                "all optimizer param groups should be with/without names. cannot add param group with names to the optimizer"
                if "param_names" in group
                else "all optimizer param groups should be with/without names. cannot add param group without names to the "
                "optimizer"
            )
        known = {id(p) for g in self.param_groups for p in g["params"]}
        for p in params:
            if not isinstance(p, Tensor):
                raise TypeError(f"optimizer can only optimize Tensors, but one of the params is {type(p).__name__}")
            if not p.is_leaf:
                raise ValueError("can't optimize a non-leaf Tensor")
            if id(p) in known:
                raise ValueError("some parameters appear in more than one parameter group")
        if len({id(p) for p in params}) != len(params):
            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters; in future, this will cause an error; "
                "see github.com/pytorch/pytorch/issues/40967 for more information",
                stacklevel=3,
            )
        for name, value in self.defaults.items():
            if value is required and name not in group:
                raise ValueError(f"parameter group didn't specify a value of required optimization parameter {name}")
        self.param_groups.append(ParamGroup({**self.defaults, **group, "params": AnnouncingList(params)}))

    def register_step_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Calls ``hook(optimizer, args, kwargs)`` before each step."""
        return self.__add_hook("before", hook)

    def register_step_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Calls ``hook(optimizer, args, kwargs)`` after each step."""
        return self.__add_hook("after", hook)

    def register_state_dict_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Calls ``hook(optimizer)`` before each ``state_dict``; first if ``prepend``."""
        return self.__add_hook("saving", hook, prepend)

    def register_state_dict_post_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Calls ``hook(optimizer, state_dict)`` after each ``state_dict``; its result, unless None, replaces the dict."""
        return self.__add_hook("saved", hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Calls ``hook(optimizer, state_dict)`` before each ``load_state_dict``; its result, unless None, replaces the dict."""
        return self.__add_hook("loading", hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Calls ``hook(optimizer)`` after each ``load_state_dict``."""
        return self.__add_hook("loaded", hook, prepend)

    def __add_hook(self, when: str, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        structure_changed()
        table = self.__dict__.setdefault("_tracer_hooks", {}).setdefault(when, OrderedDict())
        handle = RemovableHandle(table)
        table[handle._number] = hook
        if prepend:
            table.move_to_end(handle._number, last=False)
        return handle

    def __hooks(self, when: str) -> list[Callable[..., Any]]:
        return list(self.__dict__.get("_tracer_hooks", {}).get(when, {}).values())

    def __call_hooks(self, when: str, closure: Any) -> None:
        for hook in self.__hooks(when):
            hook(self, () if closure is None else (closure,), {})

    def _patch_step_function(self) -> None:
        """No effect: hooks are called by ``step`` itself. Optimizers of programs call it where they leave out ``__init__``."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Removes the gradients, or sets them to zero."""
        zero_grads((p for g in self.param_groups for p in g["params"]), set_to_none)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of every parameter that has a gradient. A closure is called first, and its loss returned."""
        self.__call_hooks("before", closure)
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        with no_grad():
            for group in self.param_groups:
                params = [p for p in group["params"] if p.grad is not None]
                update(self, group, [p for p in params if not (p.dtype.is_half or p.dtype.is_complex)])
                for p in params:
                    if p.dtype.is_half:
                        self._tracer_update_wide(group, p)
                    elif p.dtype.is_complex:
                        self._tracer_update_pairs(group, p)
        self.__call_hooks("after", closure)
        return loss

    def _tracer_update_group(self, group: ParamGroup, params: list[Tensor]) -> None:
        raise NotImplementedError

    def _tracer_update_wide(self, group: ParamGroup, p: Tensor) -> None:
        """Updates a 16-bit parameter in float32: the parameter and its state are rounded once, at the end."""
        self._tracer_update_as(group, p, widened, lambda v: narrowed(v, p.dtype))

    def _tracer_update_pairs(self, group: ParamGroup, p: Tensor) -> None:
        """Updates a complex parameter as pairs of real numbers, as PyTorch does; its state is complex."""
        self._tracer_update_as(group, p, _pairs, lambda v: view_as_complex(v).clone())  # states are no views

    def _tracer_update_as(self, group: ParamGroup, p: Tensor, there: Callable[[Any], Any], back: Callable[[Any], Any]) -> None:
        """Updates a parameter as a tensor of another dtype, to which and from which the functions convert."""
        other = there(p)
        other.grad = there(p.grad)
        everything = self.state
        before = {name: there(v) for name, v in everything.get(p, {}).items()}
        object.__setattr__(self, "state", {other: dict(before)} if before else {})
        try:
            self._tracer_update_group(group, [other])
            after = self.state.get(other, {})
        finally:
            object.__setattr__(self, "state", everything)
        p.copy_(back(other))
        if after:
            state = self._tracer_state(p)
            for name, v in after.items():
                if name not in state:
                    state[name] = v if name in _COUNTS else back(v)
                elif state[name] is not v:
                    state[name].copy_(v if name in _COUNTS else back(v))

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def __repr__(self) -> str:
        text = f"{type(self).__name__} ("
        for i, group in enumerate(self.param_groups):
            text += f"\nParameter Group {i}\n"
            text += "".join(
                f"    {key}: {dict.__getitem__(group, key)}\n" for key in sorted(group) if key not in ("params", "param_names")
            )
        return text + ")"

    def _tracer_state(self, p: Tensor, **make: Callable[[], Tensor]) -> dict[str, Any]:
        """The parameter's state, created at its first step, from names and functions that create the tensors."""
        state = self.state.get(p)
        if state is None:
            state = self.state[p] = AnnouncingDict()
        for name, f in make.items():
            if state.get(name) is None:
                state[name] = f()
        return state

    def state_dict(self) -> dict[str, Any]:
        """Settings and state, with parameters numbered in order."""
        for hook in self.__hooks("saving"):
            hook(self)
        number = {id(p): i for i, p in enumerate(p for g in self.param_groups for p in g["params"])}
        groups = [
            {**{k: v for k, v in g.items() if k != "params"}, "params": [number[id(p)] for p in g["params"]]}
            for g in self.param_groups
        ]
        found = {"state": {number[id(p)]: dict(s) for p, s in self.state.items()}, "param_groups": groups}
        for hook in self.__hooks("saved"):
            replaced = hook(self, found)
            found = found if replaced is None else replaced
        return found

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores settings and state from ``state_dict()`` of the same optimizer. Raises ValueError if the groups differ."""
        for hook in self.__hooks("loading"):
            replaced = hook(self, state_dict)
            state_dict = state_dict if replaced is None else replaced
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
        self.state = States({params[n]: _loaded(params[n], s) for n, s in loaded})
        for mine, theirs in zip(self.param_groups, groups, strict=True):
            mine.update({k: v for k, v in theirs.items() if k != "params"})
        for hook in self.__hooks("loaded"):
            hook(self)


def _pairs(x: Any) -> Any:
    """Complex tensors as pairs of real numbers; others unchanged."""
    return view_as_real(x).clone() if isinstance(x, Tensor) and x.is_complex() else x


# The state entries that do not have the parameter's dtype.
_COUNTS = ("step", "eta", "mu", "mu_product")


def _loaded(p: Tensor, state: dict[str, Any]) -> AnnouncingDict:
    """A copy of a parameter's state; all but counts get the parameter's dtype and device."""

    def copied(name: str, value: Any) -> Any:
        if isinstance(value, Tensor):
            value = near(value.detach().clone(), p)
            return value.to(p.dtype) if name != "step" and p.is_floating_point() and value.ndim else value
        if isinstance(value, list):
            return [copied(name, v) for v in value]
        return value

    return AnnouncingDict({name: copied(name, value) for name, value in state.items()})


def require(name: str, value: Any, condition: Any) -> None:
    """Raises PyTorch's ValueError for a setting out of range."""
    if isinstance(condition, Tensor) and condition.numel() != 1:
        raise ValueError("Tensor lr must be 1-element")
    if not condition:
        raise ValueError(f"Invalid {name}: {value}")


class _Required:
    """The default of a setting that must be given."""

    def __repr__(self) -> str:
        return "<required parameter>"


required = _Required()
ParamsT = _params_t = Iterable[Any]


# What optimizers of other packages use.


def _use_grad_for_differentiable(step: Callable[..., Any]) -> Callable[..., Any]:
    """A step that autograd records only if the optimizer's ``differentiable`` is set."""

    @functools.wraps(step)
    def call(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        with set_grad_enabled(bool(self.defaults.get("differentiable"))):
            return step(self, *args, **kwargs)

    return call


def _default_to_fused_or_foreach(params: Any, differentiable: bool, use_fused: bool = False) -> tuple[bool, bool]:
    """Neither: as in PyTorch on the CPU, parameters are updated one by one."""
    return False, False


def _get_capturable_supported_devices(supports_xla: bool = True) -> list[str]:
    return []


_OPTIONS = {"foreach": None, "fused": None, "capturable": False, "differentiable": False}


def options(names: str, given: dict[str, Any]) -> dict[str, Any]:
    """Settings that select among PyTorch's implementations: kept in the groups, so that states load both ways, but ignored.

    Raises TypeError for other names.
    """
    known = names.split()
    for name in given:
        if name not in known:
            raise TypeError(f"__init__() got an unexpected keyword argument '{name}'")
    return {name: given.get(name, _OPTIONS[name]) for name in known}


def number_for(p: Tensor, start: float = 0.0) -> Callable[[], Tensor]:
    """A function that creates a number of a parameter's state, on the parameter's device."""
    return functools.partial(create.full, (), start, device=beside(p))


def zeros_for(p: Tensor) -> Callable[[], Tensor]:
    """A function that creates a parameter's state of zeros on first use."""
    return functools.partial(create.zeros_like, p)


def regularized(p: Tensor, group: ParamGroup, decay: bool = True) -> Tensor:
    """The descent gradient: negated if the group maximizes, with L2 weight decay added."""
    g = p.grad
    assert g is not None
    if group["maximize"]:
        g = -g
    weight = group.get("weight_decay", 0) if decay else 0
    return g + p * weight if weight else g
