"""Moving a tensor to another device, with its cotangent back."""

from __future__ import annotations

from typing import Any

from ..core.context import context
from ..core.device import array_on
from ..core.tensor import Tensor, wrap
from .function import Function


class Move(Function):
    """A copy on another device; None is the CPU. Without ``wait`` it is only started."""

    @staticmethod
    def forward(ctx: Any, t: Tensor, target: Any, wait: bool = True) -> Tensor:
        if context.recorder is not None:
            context.recorder.give_up("moves a tensor to another device")
        source = t._data.device
        ctx.source = None if source == "cpu" else source
        return wrap(array_on(t._data, target, wait))

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return wrap(array_on(g._data, ctx.source)), None, None
