"""``trace``: what may be decorated, and the result."""

from __future__ import annotations

import abc
import copy
import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast, overload

from ..nn.module import Module
from .function import TracedFunction
from .kinds import Wrapper

P = ParamSpec("P")
R = TypeVar("R")
M = TypeVar("M", bound=Module)
S = TypeVar("S", bound=staticmethod | classmethod)


@overload
def trace(function: M, /, *, check: bool = False, wait: bool = True) -> M: ...  # type: ignore[overload-overlap]
@overload
def trace(function: S, /, *, check: bool = False, wait: bool = True) -> S: ...  # type: ignore[overload-overlap]
@overload
def trace(function: Callable[P, R], /, *, check: bool = False, wait: bool = True) -> TracedFunction[P, R]: ...
@overload
def trace(*, check: bool = False, wait: bool = True) -> Callable[[Callable[P, R]], TracedFunction[P, R]]: ...
def trace(function: Any = None, /, *, check: bool = False, wait: bool = True) -> Any:
    """Decorator: the same function, recorded once for each signature and then replayed as compiled code, forward and backward.

    Without it, the program has the same results. ``TracedFunction.explain`` reports what was compiled.

    ``function`` may be a function, a method (in a class or of an object), a ``staticmethod`` or ``classmethod``, or any
    callable object. For a module it returns a module of the same class that shares its parameters, buffers, children, hooks
    and attributes, also later ones: an assignment to one is an assignment to both. Called without a function, as in
    ``@trace()``, it returns the decorator.

    With ``check`` every replay is compared with the function; a difference raises TraceError, which names the operation and
    its line. Such calls are slow. The environment variable ``TRACER_CHECK=1`` does so for all traced functions.

    The second call of a signature compiles, which takes from a tenth of a second to seconds. With ``wait=False`` a thread
    compiles, and calls run eagerly until it is done. Compiled code rounds differently, so results then depend on how fast the
    machine compiles; ``wait_until_compiled`` sets the call from which they do not.

    Generators and coroutines run eagerly: trace the functions that they call.

    Raises TypeError for objects that are not callable, and for classes.
    """
    if function is None:
        return functools.partial(trace, check=check, wait=wait)
    if isinstance(function, Wrapper):
        return function
    if isinstance(function, (staticmethod, classmethod)):
        return type(function)(trace(function.__func__, check=check, wait=wait))
    if isinstance(function, type):
        raise TypeError(
            f"trace() takes a function or an object, got the class {function.__name__}: trace its methods or an instance"
        )
    if isinstance(function, (property, functools.cached_property)):
        raise TypeError(
            f"trace() takes a function, got a {type(function).__name__}: put @trace below @{type(function).__name__}"
        )
    if not callable(function):
        raise TypeError(f"trace() takes a function, got {type(function).__name__}")
    if isinstance(function, Module):
        return _traced_module(function, check, wait)
    return TracedFunction(function, check, wait)


# Attributes of the traced function that a traced module has too, unless the module has such a name.
_OFFERED = {"cache_info", "cfunc", "clear", "explain", "fused_graphs", "graphs", "numba", "numba_value_and_grad"}
_OFFERED |= {"wait_until_compiled"}


class TracedModule(Wrapper):
    """The additions of a traced module's class to the module's class: a call is that of a traced function.

    The module and the traced module share their dictionary, so they cannot get out of sync.
    """

    __slots__ = ()
    _tracer_class: type  # of the module
    _tracer_function: Any  # the traced function; in a slot, because it is not shared

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """No effect: the module's class may keep a list of its subclasses, which should not include this one."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return cls._tracer_class(*args, **kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._tracer_function(*args, **kwargs)

    @property
    def __wrapped__(self) -> Any:  # type: ignore[override]
        return self._tracer_function.function

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)  # type: ignore[misc]
        except AttributeError:
            if name not in _OFFERED:
                raise
        return getattr(self._tracer_function, name)

    @property
    def _tracer_options(self) -> tuple[bool, bool]:
        return self._tracer_function._check, self._tracer_function._wait

    def __copy__(self) -> Any:
        return _traced_module(copy.copy(self.__wrapped__), *self._tracer_options)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return _traced_module(copy.deepcopy(self.__wrapped__, memo), *self._tracer_options)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _traced_module, (self.__wrapped__, *self._tracer_options)


@functools.lru_cache(1024)
def _traced_class(cls: Any) -> Any:
    """The class of traced modules for a class. It is created without calling its metaclass or ``__init_subclass__``."""
    names = {"__slots__": ("_tracer_function",), "_tracer_class": cls}
    names |= {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
    make = abc.ABCMeta.__new__ if isinstance(cls, abc.ABCMeta) else type.__new__
    return make(type(cls), cls.__name__, (TracedModule, cls), names)  # type: ignore[call-overload, arg-type]


def _traced_module(module: M, check: bool, wait: bool) -> M:
    cls: Any = type(module)
    traced = object.__new__(_traced_class(cls))
    object.__setattr__(traced, "__dict__", vars(module))
    object.__setattr__(traced, "_tracer_function", TracedFunction(module, check, wait))
    return cast(M, traced)
