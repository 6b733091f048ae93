"""``torch.library``: operators that a program defines in Python are the functions themselves, with their gradients."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..autograd.function import Function
from .absent import as_it_is, rest_of

__getattr__ = rest_of("library")
impl = define = register_fake = register_kernel = register_vmap = register_torch_dispatch = as_it_is
operators: dict[str, Any] = {}  # by "namespace::name"


class Library:
    """A set of implementations for other devices and modes, which are not used."""

    def __init__(self, ns: str, kind: str, dispatch_key: str = ""):
        self.ns = ns

    def define(self, schema: str, *args: Any, **kwargs: Any) -> None:
        """No effect."""

    def impl(self, op_name: Any, fn: Any, *args: Any, **kwargs: Any) -> None:
        """No effect."""


class CustomOpDef:
    """An operator of a program: a function and, if it is registered, its gradient."""

    def __init__(self, name: str, function: Callable[..., Any]):
        functools.update_wrapper(self, function)
        self._name, self._function = name, function
        self._differentiable: Any = None
        operators[name] = self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._differentiable is None:
            return self._function(*args, **kwargs)
        return self._differentiable.apply(*args, *kwargs.values())

    def register_autograd(self, backward: Callable[..., Any], /, *, setup_context: Callable[..., Any] | None = None) -> None:
        """Sets the gradient, as ``backward`` and ``setup_context`` of a ``torch.autograd.Function``."""
        function = self._function

        class Differentiable(Function):
            @staticmethod
            def forward(ctx: Any, *args: Any) -> Any:
                result = function(*args)
                if setup_context is not None:
                    setup_context(ctx, args, result)
                return result

        Differentiable.backward = staticmethod(backward)  # type: ignore[assignment]
        self._differentiable = Differentiable

    def register_fake(self, fn: Any = None, /) -> Any:
        """The function itself: shapes are those of the results."""
        return as_it_is(fn)

    register_kernel = register_vmap = register_torch_dispatch = register_fake

    @property
    def default(self) -> CustomOpDef:
        """The operator itself: it has one overload."""
        return self


def custom_op(name: str, fn: Any = None, /, **kwargs: Any) -> Any:
    """The operator of a function, or a decorator that makes it."""
    return functools.partial(CustomOpDef, name) if fn is None else CustomOpDef(name, fn)


triton_op = custom_op


def register_autograd(op: Any, backward: Any, /, *, setup_context: Any = None, lib: Any = None) -> None:
    """``CustomOpDef.register_autograd``; no effect for an operator that does not exist."""
    found = operators.get(op) if isinstance(op, str) else op
    if isinstance(found, CustomOpDef):
        found.register_autograd(backward, setup_context=setup_context)
