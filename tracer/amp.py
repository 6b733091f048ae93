"""Mixed precision, in PyTorch's form: products in 16 bits, sensitive operations in 32, and scaled gradients.

The lists of operations are PyTorch's (``aten/src/ATen/autocast_mode``).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from .autograd.function import FunctionCtx
from .core.autocasting import AUTOCAST, OFF, cast_to
from .core.context import SPECIAL, context
from .core.device import beside, device
from .core.tensor import Tensor
from .ir.types import DType, as_dtype, bfloat16, float16, float32
from .ops import create
from .ops.shape import stack

_KINDS = {"cpu": bfloat16, "cuda": float16}  # and the dtype of each if none is given
_ACCEPTED = {"cpu": (bfloat16, float16), "cuda": (bfloat16, float16)}


class autocast:
    """In this context, or in the function that it decorates, operations on float32 and 16-bit tensors of a kind of device cast
    their operands: products and convolutions to ``dtype`` (bfloat16 on the CPU, float16 on CUDA if None), losses and other
    sensitive operations to float32, concatenations to the widest. Their cotangents are cast back. float64 stays.

    ``enabled=False`` switches it off inside another context. ``cache_enabled`` has no effect: repeated casts are cheap, and
    compiled code merges them. Raises RuntimeError for other kinds of devices and dtypes.
    """

    def __init__(self, device_type: str, dtype: DType | None = None, enabled: bool = True, cache_enabled: bool | None = None):
        kind = device(device_type).type
        if kind not in _KINDS:
            raise RuntimeError(f"User specified an unsupported autocast device_type '{kind}'")
        self.device_type, self.enabled = kind, bool(enabled)
        self.dtype = _KINDS[kind] if dtype is None else as_dtype(dtype)
        if self.enabled and self.dtype not in _ACCEPTED[kind]:
            names = " and ".join(d.name for d in _ACCEPTED[kind])
            raise RuntimeError(f"autocast on {kind} supports {names}, not {self.dtype.name}")
        self._before: list[Any] = []

    def __enter__(self) -> autocast:
        self._before.append(context.autocast)
        others = [pair for pair in context.autocast if pair[0] != self.device_type]
        context.autocast = tuple(sorted([*others, (self.device_type, self.dtype if self.enabled else OFF)], key=lambda p: p[0]))
        AUTOCAST.append(self)
        SPECIAL.append(self)
        return self

    def __exit__(self, *error: object) -> None:
        SPECIAL.remove(self)
        AUTOCAST.remove(self)
        context.autocast = self._before.pop()

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            with autocast(self.device_type, self.dtype, self.enabled):
                return function(*args, **kwargs)

        return called


def is_autocast_available(device_type: str) -> bool:
    """Whether ``autocast`` accepts this kind of device."""
    return device_type in _KINDS


def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """Whether operations of this kind of device are cast."""
    return dict(context.autocast).get(device_type, OFF) is not OFF


def get_autocast_dtype(device_type: str) -> DType:
    """The dtype of products on this kind of device in the current context, or by default."""
    found = dict(context.autocast).get(device_type, OFF)
    return _KINDS[device_type] if found is OFF else found


def custom_fwd(fwd: Any = None, *, device_type: str = "cuda", cast_inputs: DType | None = None) -> Any:
    """Decorates ``forward`` of a custom function, for ``custom_bwd`` on its ``backward``.

    With ``cast_inputs``, and in ``autocast``, the arguments that autocast would cast get this dtype, and ``forward`` runs
    without autocast.
    """
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @functools.wraps(fwd)
    def forward(*args: Any, **kwargs: Any) -> Any:
        enabled = is_autocast_enabled(device_type)
        if args and isinstance(args[0], FunctionCtx):
            args[0]._autocast = enabled and cast_inputs is None, get_autocast_dtype(device_type)
        if cast_inputs is None or not enabled:
            return fwd(*args, **kwargs)
        args, kwargs = cast_to(cast_inputs, device_type, args, kwargs)
        with autocast(device_type, enabled=False):
            return fwd(*args, **kwargs)

    return forward


def custom_bwd(bwd: Any = None, *, device_type: str = "cuda") -> Any:
    """Decorates ``backward`` of a custom function whose ``forward`` has ``custom_fwd``: its operations are cast as those of
    ``forward`` were, wherever the backward pass runs.
    """
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)

    @functools.wraps(bwd)
    def backward(ctx: FunctionCtx, *cotangents: Any) -> Any:
        if not hasattr(ctx, "_autocast"):
            raise RuntimeError("custom_bwd on backward needs custom_fwd on forward, with the argument ctx")
        enabled, dtype = ctx._autocast
        with autocast(device_type, dtype, enabled):
            return bwd(ctx, *cotangents)

    return backward


class GradScaler:
    """Multiplies the loss by a scale so that small float16 gradients do not vanish, and divides the gradients by it again.

    A step with gradients that are infinite or NaN is left out, and the scale is multiplied by ``backoff_factor``; after
    ``growth_interval`` steps without, by ``growth_factor``. Nothing of this happens unless ``enabled``.
    """

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 65536.0,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ):
        if enabled and not growth_factor > 1.0:
            raise AssertionError("The growth factor must be > 1.0.")
        if enabled and not backoff_factor < 1.0:
            raise AssertionError("The backoff factor must be < 1.0.")
        self._enabled, self._scale = bool(enabled), float(init_scale)
        self._growth_factor, self._backoff_factor, self._growth_interval = growth_factor, backoff_factor, growth_interval
        self._growth_tracker = 0
        self._found: dict[int, bool] = {}  # by the id of an optimizer whose gradients are unscaled: whether one was not finite
        self._stepped: set[int] = set()

    def scale(self, outputs: Any) -> Any:
        """A tensor, or tensors in lists and tuples, times the scale."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            return outputs * create.tensor(self._scale, dtype=float32, device=beside(outputs))
        if isinstance(outputs, (list, tuple)):
            return type(outputs)(map(self.scale, outputs))
        raise ValueError("outputs must be a Tensor or an iterable of Tensors")

    def unscale_(self, optimizer: Any) -> None:
        """Divides the gradients of an optimizer's parameters by the scale, once before a step. Raises RuntimeError the second
        time, and ValueError for float16 gradients.
        """
        if not self._enabled:
            return
        if id(optimizer) in self._found:
            raise RuntimeError("unscale_() has already been called on this optimizer since the last update().")
        if id(optimizer) in self._stepped:
            raise RuntimeError("unscale_() is being called after step().")
        self._unscale(optimizer)

    def _unscale(self, optimizer: Any) -> None:
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if any(g.dtype is float16 for g in gradients):
            raise ValueError("Attempting to unscale FP16 gradients.")
        for g in gradients:
            g.mul_(1.0 / self._scale)
        finite = [g.isfinite().all() for g in gradients]
        self._found[id(optimizer)] = bool(finite) and not bool(stack(finite).all())

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """``optimizer.step()``, with unscaled gradients, unless one of them is not finite."""
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise RuntimeError("Closure use is not currently supported if GradScaler is enabled.")
        if id(optimizer) in self._stepped:
            raise RuntimeError("step() has already been called since the last update().")
        if id(optimizer) not in self._found:
            self._unscale(optimizer)
        self._stepped.add(id(optimizer))
        return None if self._found[id(optimizer)] else optimizer.step(*args, **kwargs)

    def update(self, new_scale: Any = None) -> None:
        """Adapts the scale after the steps of an iteration, or sets it. Raises AssertionError if there was no step."""
        if not self._enabled:
            return
        if new_scale is not None:
            self._scale = float(new_scale)
        else:
            if not self._found:
                raise AssertionError("No inf checks were recorded prior to update.")
            if any(self._found.values()):
                self._scale, self._growth_tracker = self._scale * self._backoff_factor, 0
            elif self._growth_tracker + 1 == self._growth_interval:
                self._scale, self._growth_tracker = self._scale * self._growth_factor, 0
            else:
                self._growth_tracker += 1
        self._found.clear()
        self._stepped.clear()

    def get_scale(self) -> float:
        """The scale; 1 if it is not enabled."""
        return self._scale if self._enabled else 1.0

    def get_growth_factor(self) -> float:
        return self._growth_factor

    def get_backoff_factor(self) -> float:
        return self._backoff_factor

    def get_growth_interval(self) -> int:
        return self._growth_interval

    def is_enabled(self) -> bool:
        return self._enabled

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers; empty if it is not enabled."""
        if not self._enabled:
            return {}
        names = ("scale", "growth_factor", "backoff_factor", "growth_interval", "_growth_tracker")
        return {name: getattr(self, f"_{name.lstrip('_')}") for name in names}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over a state. Raises RuntimeError for an empty one."""
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError("The source state dict is empty, possibly because it was saved from a disabled GradScaler.")
        for name, value in state_dict.items():
            setattr(self, f"_{name.lstrip('_')}", value)


__all__ = [
    "GradScaler",
    "autocast",
    "custom_bwd",
    "custom_fwd",
    "get_autocast_dtype",
    "is_autocast_available",
    "is_autocast_enabled",
]
