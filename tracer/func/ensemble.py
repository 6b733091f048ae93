"""Several models of one structure as one."""

from __future__ import annotations

from typing import Any

from .. import ops
from ..core.tensor import Tensor
from ..nn.module import Module


def stack_module_state(models: Any) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The parameters, and the buffers, of modules of one structure, stacked by name; for ``functional_call`` under ``vmap``.

    The tensors get a first axis of the number of modules, and keep their dtypes. Raises RuntimeError for no
    modules, and for modules of different types or modes.
    """
    given: list[Module] = list(models)
    if not given:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    if any(type(m) is not type(given[0]) for m in given):
        raise RuntimeError("stack_module_state: Expected all models to be of the same class.")
    if any(m.training != given[0].training for m in given):
        raise RuntimeError("stack_module_state: Expected all models to have the same training/eval mode.")

    def stacked(tables: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        found = {}
        for name, first in tables[0].items():
            whole = ops.stack([t[name].detach() for t in tables])
            found[name] = whole.requires_grad_() if first.requires_grad else whole
        return found

    return stacked([dict(m.named_parameters()) for m in given]), stacked([dict(m.named_buffers()) for m in given])
