"""The public attributes of a traced function: names, types, counts; and functions whose bodies run later."""

from __future__ import annotations

import copy
import functools
import inspect
import sys
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, Protocol, TypeVar

from ..ir.graph import Graph

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
S = TypeVar("S")

# The attributes stored on the traced function itself, besides those of its class; all others are the wrapped function's.
OWN = frozenset({*functools.WRAPPER_ASSIGNMENTS, "__wrapped__", "__dict__", "__class__"})
OF_FUNCTIONS = frozenset(
    {"__closure__", "__code__", "__defaults__", "__func__", "__globals__", "__isabstractmethod__", "__kwdefaults__", "__self__"}
)
# A call of these returns an object whose body runs later.
_DEFERRED = {
    inspect.CO_GENERATOR: (
        "it is a generator function, whose body runs when its items are asked for: trace the function that asks for them, "
        "or one that computes an item"
    ),
    inspect.CO_COROUTINE: "it is a coroutine function, whose body runs when it is awaited: trace the functions that it calls",
    inspect.CO_ASYNC_GENERATOR: "it is an asynchronous generator function, whose body runs later: trace what it calls",
}


class Attributes:
    """The attributes of a traced function that are the wrapped function's, for example a callable object's; and copies."""

    __slots__ = ()
    __name__: str
    __qualname__: str
    function: Any
    _check: bool
    _wait: bool

    if not TYPE_CHECKING:  # type checkers report misspelt methods

        def __getattr__(self, name: str) -> Any:
            if (name.startswith("__") and name not in OF_FUNCTIONS) or name == "function":
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            return getattr(self.function, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in OWN or name in type(self).__slots__:
            object.__setattr__(self, name, value)
        else:
            setattr(self.function, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self.function, name)

    def __repr__(self) -> str:
        return f"<traced {self.function!r}>"

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """Itself, like functions; for a callable object, or a method of one, the copy traced anew."""
        return self._again(copy.deepcopy(self.function, memo))

    def __copy__(self) -> Any:
        return self._again(copy.copy(self.function))

    def _again(self, function: Any) -> Any:
        return self if function is self.function else type(self)(function, self._check, self._wait)  # type: ignore[call-arg]

    def __reduce__(self) -> Any:
        """By name, like functions; compiled code is not included."""
        found: Any = sys.modules.get(getattr(self, "__module__", ""))
        for part in getattr(self, "__qualname__", "").split("."):
            found = getattr(found, part, None)
        return self.__qualname__ if found is self else (type(self), (self.function, self._check, self._wait))


class CacheInfo(NamedTuple):
    """The result of ``TracedFunction.cache_info``.

    ``replays``, ``recordings`` and ``eager`` count calls since the function was traced or last cleared: replayed, run
    eagerly and recorded, run eagerly. ``traces`` is the number of stored traces, ``bytes`` their programs' memory. Calls
    inside another traced function are counted there.
    """

    replays: int
    recordings: int
    eager: int
    traces: int
    bytes: int


class TracedMethod(Protocol[Q, R_co]):
    """A traced function bound to an object: a method, with the function's attributes."""

    __self__: Any
    __func__: Any
    __name__: str

    def __call__(self, *args: Q.args, **kwargs: Q.kwargs) -> R_co: ...
    def explain(self) -> str: ...
    def cache_info(self) -> CacheInfo: ...
    def clear(self) -> None: ...
    def wait_until_compiled(self, timeout: float | None = None) -> bool: ...
    def graphs(self) -> list[Graph]: ...
    def fused_graphs(self) -> list[Graph]: ...
    def numba(self, *example_inputs: Any) -> Any: ...
    def numba_value_and_grad(self, *example_inputs: Any, argnums: int | tuple[int, ...] = 0) -> Any: ...
    def cfunc(
        self,
        *example_inputs: Any,
        signature: str | None = None,
        gradient: bool = False,
        argnums: int | tuple[int, ...] = 0,
    ) -> Any: ...


def deferred(function: Any) -> str:
    """Why calls run eagerly, if the function's body does not run in a call; empty otherwise."""
    flags = getattr(getattr(function, "__code__", None), "co_flags", 0)
    return next((reason for flag, reason in _DEFERRED.items() if flags & flag), "")
