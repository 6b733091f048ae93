"""Modules that are their settings."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar, dataclass_transform

from ..module import Module

_REQUIRED = object()


@dataclass_transform(eq_default=False)
class Declared(Module):
    """A module whose annotated class attributes are the arguments of ``__init__``, in order, and a ``function`` of them.

    ``forward(*inputs)`` is ``function(*inputs, **settings)``. An attribute annotated ``ClassVar`` is no setting. Shown are all
    settings but ``inplace``, which is when it is true. What dataclasses do, without compiling a function for each class.
    """

    function: ClassVar[Callable[..., Any]]
    _defaults: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = [name for name, type_ in inspect.get_annotations(cls).items() if not type_.startswith("ClassVar")]
        cls._defaults = {name: getattr(cls, name, _REQUIRED) for name in (*cls._defaults, *own)}

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
        for key, default in defaults.items():
            value = given.get(key, default)
            if value is _REQUIRED:
                raise TypeError(f"{name}.__init__() missing 1 required positional argument: '{key}'")
            setattr(self, key, value)
        self.check()

    def check(self) -> None:
        """Raises what bad settings raise, and makes the others uniform."""

    def settings(self) -> dict[str, Any]:
        own = self.__dict__
        return {name: own[name] for name in self._defaults}

    def forward(self, *inputs: Any) -> Any:
        return type(self).function(*inputs, **self.settings())

    def extra_repr(self) -> str:
        shown = {k: v for k, v in self.settings().items() if k != "inplace" or v}
        return ", ".join(f"{name}={value}" for name, value in shown.items())
