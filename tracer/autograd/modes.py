"""Gradient modes: context managers that are also decorators."""

from __future__ import annotations

import contextlib
import functools
import inspect
import warnings
from collections.abc import Callable, Generator, Iterator
from typing import Any, Self, TypeVar, overload

from ..core.context import SPECIAL, context

F = TypeVar("F", bound=Callable[..., Any])


@contextlib.contextmanager
def unfollowed() -> Iterator[None]:
    """``no_grad`` for internal use: a generator restores the mode even if an interrupt precedes ``__exit__``."""
    before = context.grad_enabled
    try:
        context.grad_enabled = False
        yield
    finally:
        context.grad_enabled = before


class _Mode:
    """A mode for a block: a context manager and a decorator. An object may be entered again before it is left."""

    def __init__(self, mode: bool):
        self.mode = bool(mode)
        self.before: list[Any] = []

    def __enter__(self) -> None:
        self.before.append(context.grad_mode)
        context.grad_mode = self.mode

    def __exit__(self, *exception: object) -> None:
        context.grad_mode = self.before.pop()

    def clone(self) -> _Mode:
        """A new object of the same kind."""
        return _Mode(self.mode)

    def __call__(self, function: F) -> F:
        if inspect.isclass(function):
            warnings.warn(
                "Decorating classes is deprecated and will be disabled in future versions. You should only decorate functions "
                "or methods. To preserve the current behavior of class decoration, you can directly decorate the `__init__` "
                "method and nothing else.",
                FutureWarning,
                stacklevel=2,
            )
        return decorated(self.clone, function)


def decorated(enter: Callable[[], Any], function: F) -> F:
    """The function with a block from ``enter`` around each call; around a generator's code, not its yields."""
    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def generate(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            generator = function(*args, **kwargs)
            resume, value = generator.send, None  # how it resumes: with a value, or with an exception thrown into it
            try:
                while True:
                    try:
                        with enter():
                            result = resume(value)
                    except StopIteration as stop:
                        return stop.value
                    try:
                        value = yield result
                        resume = generator.send
                    except GeneratorExit:
                        raise
                    except BaseException as e:
                        resume, value = generator.throw, e
            finally:
                with enter():
                    generator.close()

        return generate  # type: ignore[return-value]

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with enter():
            return function(*args, **kwargs)

    return call  # type: ignore[return-value]


class set_grad_enabled(_Mode):
    """Sets at once whether operations are recorded for autograd, by ``mode``; as a context manager or decorator, for the block
    or function only. Raises TypeError for anything but a bool.
    """

    def __init__(self, mode: bool):
        if not isinstance(mode, bool):
            raise TypeError(f"set_grad_enabled(): argument 'enabled' (position 1) must be bool, not {type(mode).__name__}")
        super().__init__(mode)
        self.outer = context.grad_mode
        context.grad_mode = self.mode

    def __enter__(self) -> None:
        self.before.append(self.outer)
        context.grad_mode = self.mode

    def __call__(self, function: F) -> F:
        context.grad_mode = self.outer
        return super().__call__(function)

    def __repr__(self) -> str:
        return f"tracer.autograd.grad_mode.set_grad_enabled(mode={self.mode})"


class no_grad(_Mode):
    """In this block no operation is recorded for autograd: results do not require gradients. Also a decorator, with or without
    parentheses: ``function`` is
    the decorated function, None in a ``with`` statement.
    """

    @overload
    def __new__(cls, function: None = None) -> Self: ...
    @overload
    def __new__(cls, function: F) -> F: ...  # type: ignore[misc]
    def __new__(cls, function: Any = None) -> Any:
        made = object.__new__(cls)
        if callable(function):
            cls.__init__(made)
            return made(function)
        return made

    def __init__(self, function: Any = None) -> None:
        super().__init__(False)

    def clone(self) -> _Mode:
        return type(self)()


class enable_grad(no_grad):
    """The opposite of ``no_grad``, for a block, or as a decorator for ``function``; None in a ``with`` statement."""

    def __init__(self, function: Any = None) -> None:
        _Mode.__init__(self, True)


class inference_mode(_Mode):
    """``no_grad``, with results that cannot take part in autograd later: inference tensors. ``mode`` False: the opposite.

    Nothing is recorded in this block, even with ``enable_grad``.
    """

    @overload
    def __new__(cls, mode: bool = True) -> Self: ...
    @overload
    def __new__(cls, mode: F) -> F: ...  # type: ignore[misc]
    def __new__(cls, mode: Any = True) -> Any:
        made = object.__new__(cls)
        if callable(mode):
            cls.__init__(made)
            return made(mode)
        return made

    def __init__(self, mode: Any = True) -> None:
        super().__init__(not mode)
        self.inference = bool(mode)

    def __enter__(self) -> None:
        self.before.append((context.inference, context.grad_enabled, context.grad_mode))
        context.infer(self.inference)
        SPECIAL.append(self)

    def __exit__(self, *exception: object) -> None:
        SPECIAL.remove(self)
        context.inference, context.grad_enabled, context.grad_mode = self.before.pop()

    def clone(self) -> _Mode:
        return type(self)(self.inference)


def is_inference_mode_enabled() -> bool:
    """True if this thread is in ``inference_mode``."""
    return context.inference


def is_grad_enabled() -> bool:
    """True if gradients are enabled. In ``inference_mode`` nothing is recorded even then."""
    return context.grad_mode
