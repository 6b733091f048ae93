"""The einops backend. einops finds frameworks through the subclasses of its base class, so it is registered when einops is
imported.
"""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

from .. import ops
from ..core.tensor import Tensor
from ..nn.parameter import Parameter

_MODULE = "einops._backends"


def register() -> None:
    """Registers the backend: at once if einops has been imported, else when it is."""
    if _MODULE in sys.modules:
        _define(sys.modules[_MODULE])
    else:
        sys.meta_path.insert(0, _WhenImported())


class _WhenImported:
    """Finds one module through the other finders, and defines the backend in it after it has run."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != _MODULE:
            return None
        sys.meta_path.remove(self)  # type: ignore[arg-type]
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def exec_module(module: Any) -> None:
                run(module)
                _define(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _define(module: Any) -> None:
    class TracerBackend(module.AbstractBackend):
        framework_name = "tracer"

        def is_appropriate_type(self, tensor: Any) -> bool:
            return isinstance(tensor, Tensor)

        def from_numpy(self, x: Any) -> Tensor:
            return ops.from_numpy(x)

        def to_numpy(self, x: Tensor) -> Any:
            return x.detach().numpy()

        def arange(self, start: int, stop: int) -> Tensor:
            return ops.arange(start, stop)

        def reshape(self, x: Tensor, shape: Any) -> Tensor:
            return ops.reshape(x, tuple(shape))

        def transpose(self, x: Tensor, axes: Any) -> Tensor:
            return ops.permute(x, tuple(axes))

        def reduce(self, x: Tensor, operation: str, axes: Any) -> Tensor:
            named = {"min": ops.amin, "max": ops.amax, "sum": ops.sum, "mean": ops.mean, "any": ops.any, "all": ops.all}
            if operation == "prod":
                for axis in sorted(axes, reverse=True):
                    x = ops.prod(x, axis)
                return x
            return named[operation](x, tuple(axes))

        def stack_on_zeroth_dimension(self, tensors: list[Tensor]) -> Tensor:
            return ops.stack(tensors)

        def add_axis(self, x: Tensor, new_position: int) -> Tensor:
            return ops.unsqueeze(x, new_position)

        def tile(self, x: Tensor, repeats: Any) -> Tensor:
            return ops.repeat(x, *repeats)

        def concat(self, tensors: list[Tensor], axis: int) -> Tensor:
            return ops.cat(tensors, axis)

        def is_float_type(self, x: Tensor) -> bool:
            return x.is_floating_point()

        def einsum(self, pattern: str, *x: Tensor) -> Tensor:
            return ops.einsum(pattern, *x)

    backend = module._loaded_backends["tracer"] = TracerBackend()
    module._type2backend.update({Tensor: backend, Parameter: backend})  # so that a first call does not search
