"""The class of tensor classes."""

from __future__ import annotations

from typing import Any


class TensorMeta(type):
    """In a subclass, ``__new__`` may make the tensor (``Tensor._make_subclass``) from other arguments: then the constructors
    of this package are not called.
    """

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if cls.__new__ is object.__new__:
            return super().__call__(*args, **kwargs)
        made: Any = cls.__new__(cls, *args, **kwargs)  # type: ignore[arg-type]
        if isinstance(made, cls) and not (hasattr(made, "_data") and _is_here(cls.__init__)):
            made.__init__(*args, **kwargs)
        return made


def _is_here(function: Any) -> bool:
    """True for a function of this package."""
    return str(function.__module__).partition(".")[0] == __name__.partition(".")[0]
