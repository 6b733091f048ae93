"""``functorch``: the transformations of ``torch.func`` under their old name, and modules as functions of their parameters."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

from ..core.tensor import Tensor
from ..func import *  # noqa: F403
from ..func import functional_call, stack_module_state
from ..nn.module import Module


def make_functional(model: Module, disable_autograd_tracking: bool = False) -> tuple[Callable[..., Any], tuple[Tensor, ...]]:
    """A function of the parameters and the model's arguments, and the parameters."""
    function, parameters, buffers = make_functional_with_buffers(model, disable_autograd_tracking)
    if buffers:
        raise RuntimeError(
            "make_functional(model): `model` has buffers. Please use make_functional_with_buffers(model) instead."
        )
    return lambda params, *args, **kwargs: function(params, (), *args, **kwargs), parameters


def make_functional_with_buffers(
    model: Module, disable_autograd_tracking: bool = False
) -> tuple[Callable[..., Any], tuple[Tensor, ...], tuple[Tensor, ...]]:
    """A function of the parameters, the buffers and the model's arguments; the parameters; the buffers."""
    stateless = copy.deepcopy(model)
    names, buffer_names = [n for n, _ in model.named_parameters()], [n for n, _ in model.named_buffers()]

    def function(params: Sequence[Tensor], buffers: Sequence[Tensor], *args: Any, **kwargs: Any) -> Any:
        state = dict(zip((*names, *buffer_names), (*params, *buffers), strict=True))
        return functional_call(stateless, state, args, kwargs)

    parameters = [p.detach() if disable_autograd_tracking else p for p in model.parameters()]
    return function, tuple(parameters), tuple(model.buffers())


def combine_state_for_ensemble(
    models: Sequence[Module],
) -> tuple[Callable[..., Any], tuple[Tensor, ...], tuple[Tensor, ...]]:
    """The function of the first model, with the stacked parameters and buffers of all, for ``vmap``."""
    function, _, _ = make_functional_with_buffers(models[0])
    parameters, buffers = stack_module_state(list(models))
    return function, tuple(parameters.values()), tuple(buffers.values())
