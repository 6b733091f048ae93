"""Whether operations are recorded for autograd: context managers that are decorators too."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from ..context import context

F = TypeVar("F", bound=Callable[..., Any])


class _Mode:
    """Recording on or off: a context manager, and a decorator. One object may be entered again before it is left."""

    def __init__(self, mode: bool):
        self.mode = bool(mode)
        self.before: list[bool] = []

    def __enter__(self) -> None:
        self.before.append(context.grad_enabled)
        context.grad_enabled = self.mode

    def __exit__(self, *exception: object) -> None:
        context.grad_enabled = self.before.pop()

    def __call__(self, function: F) -> F:
        mode = self.mode

        @functools.wraps(function)
        def inner(*args: Any, **kwargs: Any) -> Any:
            with _Mode(mode):
                return function(*args, **kwargs)

        return inner  # type: ignore[return-value]


class set_grad_enabled(_Mode):
    """Sets the mode at once; as a context manager or decorator, for the block or function only."""

    def __init__(self, mode: bool):
        super().__init__(mode)
        self.outer = context.grad_enabled
        context.grad_enabled = self.mode

    def __enter__(self) -> None:
        self.before.append(self.outer)
        context.grad_enabled = self.mode

    def __call__(self, function: F) -> F:
        context.grad_enabled = self.outer
        return super().__call__(function)


class no_grad(_Mode):
    """In this block nothing is recorded for autograd: results do not require gradients."""

    def __new__(cls, function: Any = None) -> Any:
        made = object.__new__(cls)
        if callable(function):
            cls.__init__(made)
            return made(function)
        return made

    def __init__(self, function: Any = None) -> None:
        super().__init__(False)


class enable_grad(no_grad):
    """The opposite of ``no_grad``."""

    def __init__(self, function: Any = None) -> None:
        _Mode.__init__(self, True)


class inference_mode(_Mode):
    """``no_grad``, of which PyTorch also demands that its results are not used with gradients. ``mode`` False: the opposite."""

    def __new__(cls, mode: Any = True) -> Any:
        made = object.__new__(cls)
        if callable(mode):
            cls.__init__(made)
            return made(mode)
        return made

    def __init__(self, mode: Any = True) -> None:
        super().__init__(not mode)
        self.inference = bool(mode)
        self.outer: list[bool] = []

    def __enter__(self) -> None:
        super().__enter__()
        self.outer.append(context.inference)
        context.inference = self.inference

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        context.inference = self.outer.pop()


def is_inference_mode_enabled() -> bool:
    return context.inference


def is_grad_enabled() -> bool:
    return context.grad_enabled
