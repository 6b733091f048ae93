"""Less memory for more time: parts of a model that are run again in the backward pass instead of saving what they computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import autograd
from ..random import default_generator
from ..tensor import Tensor

__all__ = ["checkpoint", "checkpoint_sequential"]


class _Checkpoint(autograd.Function):
    @staticmethod
    def forward(ctx: Any, function: Callable[..., Any], preserve: bool, dummy: Any, *args: Any) -> Any:
        ctx.function, ctx.args, ctx.preserve = function, args, preserve
        ctx.state = default_generator.state.clone() if preserve else None
        return function(*args)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        args = [a.detach().requires_grad_(a.requires_grad) if isinstance(a, Tensor) else a for a in ctx.args]
        now = default_generator.state.clone() if ctx.preserve else None
        with autograd.enable_grad():
            if ctx.preserve:
                with autograd.no_grad():
                    default_generator.state.copy_(ctx.state)
            outputs = ctx.function(*args)
            if ctx.preserve:
                with autograd.no_grad():
                    default_generator.state.copy_(now)
            outputs = outputs if isinstance(outputs, tuple) else (outputs,)
            pairs = [(o, g) for o, g in zip(outputs, grads, strict=True) if isinstance(o, Tensor) and o.requires_grad]
            if not pairs:
                raise RuntimeError("none of output has requires_grad=True, this checkpoint() is not necessary")
            autograd.backward([o for o, _ in pairs], [g for _, g in pairs])
        return (None, None, None, *(a.grad if isinstance(a, Tensor) else None for a in args))


def checkpoint(
    function: Callable[..., Any], *args: Any, use_reentrant: bool | None = None, preserve_rng_state: bool = True, **kwargs: Any
) -> Any:
    """``function(*args)``; what it computes is not saved but computed again in the backward pass.

    Random numbers are the same both times unless ``preserve_rng_state`` is False.
    """
    from ..ops import zeros

    call = (lambda *xs: function(*xs, **kwargs)) if kwargs else function
    return _Checkpoint.apply(call, preserve_rng_state, zeros(1, requires_grad=True), *args)


def checkpoint_sequential(functions: Any, segments: int, input: Any, use_reentrant: bool | None = None, **kwargs: Any) -> Any:
    """A sequence of modules, run in ``segments`` checkpoints; the last one is run as it is."""
    modules = list(functions.children()) if hasattr(functions, "children") else list(functions)
    size = len(modules) // segments

    def run(start: int, end: int) -> Callable[[Any], Any]:
        def forward(x: Any) -> Any:
            for module in modules[start:end]:
                x = module(x)
            return x

        return forward

    end = 0
    for start in range(0, size * (segments - 1), size):
        end = start + size
        input = checkpoint(run(start, end), input, **kwargs)
    return run(end, len(modules))(input)
