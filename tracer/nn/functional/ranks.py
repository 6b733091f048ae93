"""One definition for signals, images and volumes."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_WORDS = (
    {"inputs": "signals", "axes": "L", "kernel": "k"},
    {"inputs": "images", "axes": "H, W", "kernel": "kH, kW"},
    {"inputs": "volumes", "axes": "D, H, W", "kernel": "kD, kH, kW"},
)


def by_rank(function: Callable[Concatenate[int, P], R]) -> tuple[Callable[P, R], Callable[P, R], Callable[P, R]]:
    """The public functions for one, two and three axes, whose number is the first argument of ``function``.

    ``conv_nd`` gives ``conv1d``, ``conv2d`` and ``conv3d``. In the docstring, "{n}", "{inputs}", "{axes}" and "{kernel}" are
    replaced.
    """
    one, two, three = (_of(function, n, words) for n, words in enumerate(_WORDS, 1))
    return one, two, three


def _of(function: Callable[Concatenate[int, P], R], n: int, words: dict[str, str]) -> Callable[P, R]:
    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return function(n, *args, **kwargs)

    del call.__wrapped__  # type: ignore[attr-defined]
    signature = inspect.signature(function)
    call.__signature__ = signature.replace(parameters=[*signature.parameters.values()][1:])  # type: ignore[attr-defined]
    call.__name__ = call.__qualname__ = function.__name__.replace("_nd", f"{n}d")
    call.__doc__ = (function.__doc__ or "").format(n=n, **words)
    return call
