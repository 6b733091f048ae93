"""What a function gets on its way from the module that defines it into the public API."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import FunctionType
from typing import Any

from .arguments import checked
from .names import named
from .spelling import spelled

_offered: set[Callable[..., Any]] = set()


def offer(namespace: dict[str, Any], names: Iterable[str]) -> None:
    """Lets the named functions of a namespace take both spellings of arguments and ``out``, refuse what PyTorch refuses, and
    name the nodes they make as PyTorch does. Those that came from another public namespace have all that already.
    """
    for name in names:
        function = namespace[name]
        if isinstance(function, FunctionType) and function not in _offered:
            namespace[name] = function = named(spelled(checked(function, name)), name)
            _offered.add(function)
