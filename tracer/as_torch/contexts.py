"""``torch.utils._contextlib``: contexts that are decorators, too."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Self


class _DecoratorContextManager:
    """Base of contexts; as a decorator, each call runs in a ``clone`` of the context."""

    def __enter__(self) -> Any:
        raise NotImplementedError

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> Any:
        raise NotImplementedError

    def clone(self) -> Self:
        """A new context of this class, made without arguments. Subclasses with others override it."""
        return type(self)()

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def decorated(*args: Any, **kwargs: Any) -> Any:
            with self.clone():
                return function(*args, **kwargs)

        return decorated


class _NoParamDecoratorContextManager(_DecoratorContextManager):
    """A context that is also a decorator without parentheses."""

    def __new__(cls, orig_func: Callable[..., Any] | None = None) -> Any:
        made = object.__new__(cls)
        return made if orig_func is None else made(orig_func)
