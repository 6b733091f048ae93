"""Modules defined by their settings."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar, dataclass_transform

from ...ops.arguments import Taken, of_constructor, taken
from ..module import Module

_REQUIRED = object()


@dataclass_transform(eq_default=False)
class Declared(Module):
    """A module whose annotated class attributes are the arguments of ``__init__``, in order, with a ``function`` of them.

    ``forward(*inputs)`` is ``function(*inputs, **settings)``. Attributes annotated ``ClassVar`` are not settings. ``repr``
    shows all settings; ``inplace`` only if it is true. Like dataclasses, but without compiling a function for each class.
    """

    function: ClassVar[Callable[..., Any]]
    __signature__: ClassVar[inspect.Signature]
    _defaults: ClassVar[dict[str, Any]] = {}
    _taken: ClassVar[dict[str, Taken]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = {name: kind for name, kind in inspect.get_annotations(cls).items() if not kind.startswith("ClassVar")}
        cls._defaults = {name: getattr(cls, name, cls._defaults.get(name, _REQUIRED)) for name in (*cls._defaults, *own)}
        cls._taken = dict(cls._taken)
        for name, kind in own.items():
            cls._taken[name] = taken(cls.__name__, name, of_constructor(kind), cls._defaults[name] is None)
        cls.__signature__ = cls.signature()

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__()
        defaults, name = self._defaults, type(self).__name__
        if len(args) > len(defaults):
            raise TypeError(f"{name}.__init__() takes at most {len(defaults)} arguments, got {len(args)}")
        given = dict(zip(defaults, args, strict=False))
        for key, value in kwargs.items():
            if key in given:
                raise TypeError(f"{name}.__init__() got multiple values for argument '{key}'")
            if key not in defaults:
                raise TypeError(f"{name}.__init__() got an unexpected keyword argument '{key}'")
            given[key] = value
        for place, (key, default) in enumerate(defaults.items()):
            value = given.get(key, default)
            if key in given:
                value, _ = self._taken[key].read(value, name, place if place < len(args) else None)
            elif value is _REQUIRED:
                raise TypeError(f"{name}.__init__() missing 1 required positional argument: '{key}'")
            setattr(self, key, value)
        self.check()

    @classmethod
    def signature(cls) -> inspect.Signature:
        """The settings as a signature."""
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        empty = inspect.Parameter.empty
        defaults = {name: empty if value is _REQUIRED else value for name, value in cls._defaults.items()}
        return inspect.Signature([inspect.Parameter(name, kind, default=value) for name, value in defaults.items()])

    def check(self) -> None:
        """Validates and normalises the settings."""

    def settings(self) -> dict[str, Any]:
        own = self.__dict__
        return {name: own[name] for name in self._defaults}

    def forward(self, *inputs: Any) -> Any:
        return type(self).function(*inputs, **self.settings())

    def extra_repr(self) -> str:
        shown = {k: v for k, v in self.settings().items() if k != "inplace" or v}
        return ", ".join(f"{name}={value}" for name, value in shown.items())
