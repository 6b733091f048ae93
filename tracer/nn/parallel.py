"""Modules on several devices: there is one, so ``DataParallel`` calls its module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .module import Module


class DataParallel(Module):
    """A module that calls ``module``: the batch is not divided, because there is one device. Shapes, dtypes and what it
    raises are the module's.

    ``device_ids``, ``output_device`` (None by default) and ``dim`` have no effect.
    """

    def __init__(self, module: Module, device_ids: Sequence[Any] | None = None, output_device: Any = None, dim: int = 0):
        super().__init__()
        self.module = module
        self.dim = dim

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        return self.module(*inputs, **kwargs)


def data_parallel(
    module: Module,
    inputs: Any,
    device_ids: Sequence[Any] | None = None,
    output_device: Any = None,
    dim: int = 0,
    module_kwargs: dict[str, Any] | None = None,
) -> Any:
    """Calls a module with an input, or a tuple of them; the other arguments, but for ``module_kwargs``, have no effect."""
    return module(*(inputs if isinstance(inputs, tuple) else (inputs,)), **(module_kwargs or {}))
