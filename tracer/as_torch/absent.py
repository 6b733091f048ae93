"""Names that programs import but do not use with one process on one CPU. Using one raises NotImplementedError."""

from __future__ import annotations

import sys
import types
from typing import Any


class _Absent(type):
    """A class that cannot be used: it is only there for ``import``, ``isinstance`` and base classes."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if cls.__module__ == __name__:
            raise NotImplementedError(f"torch.{cls.__qualname__} is not supported by tracer")
        return super().__call__(*args, **kwargs)


def absent(path: str) -> Any:
    """The stand-in for ``torch.<path>``."""
    return _Absent(path.rpartition(".")[2], (), {"__module__": __name__, "__qualname__": path})


def fill(module: str, names: str, **values: Any) -> types.ModuleType:
    """Adds stand-ins to a module of this package, and creates modules that do not exist.

    ``module`` is a path below ``torch``; ``values`` are names that have a meaning.
    """
    package = __name__.rpartition(".")[0]
    full = f"{package}.{module}"
    if full not in sys.modules:
        created = sys.modules[full] = types.ModuleType(full)
        created.__path__ = []
        parent, _, last = module.rpartition(".")
        if parent:
            setattr(sys.modules.get(f"{package}.{parent}") or fill(parent, ""), last, created)
    space = vars(sys.modules[full])
    space.update({name: absent(f"{module}.{name}") for name in names.split() if name not in space})
    space.update(values)
    return sys.modules[full]
