"""The docstrings of public classes: facts that many classes share are stated once, in a table or a base class."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from .contracts import contracts, facts, wrapped


def describe(
    namespace: dict[str, Any], names: Iterable[str], arguments: str, shared: str = "", applied: Mapping[str, str] | None = None
) -> None:
    """Completes the docstrings of the named classes. In this order, they get: the docstrings of their private base classes; the
    meaning of the arguments that they do not mention otherwise; their ``shared`` sentences; and those of their function.

    ``arguments`` has a line ``name: meaning`` for each argument. ``shared`` is a table as in ``contracts``, of classes. The
    function is a class's ``function``, or ``applied`` names it.
    """
    meanings = dict(line.split(": ", 1) for line in arguments.strip().replace("\n    ", " ").splitlines())
    sentences = facts(shared)
    for name in names:
        cls = namespace[name]
        if not isinstance(cls, type) or not cls.__doc__:  # without docstrings: python -OO
            continue
        families = [b.__doc__ for b in cls.__mro__[1:] if b.__name__[0] == "_" and b.__module__.startswith("tracer.")]
        parts = [inspect.cleandoc(about) for about in (cls.__doc__, *families) if about]
        said = "\n".join(parts)
        unsaid = [a for a in _arguments(cls) if a in meanings and f"``{a}``" not in said]
        if unsaid:
            parts.append("\n".join(wrapped(f"- ``{a}``: {meanings[a]}", "  ") for a in unsaid))
        closing = [sentences.get(name, ""), _of_function(cls, (applied or {}).get(name))]
        parts += [wrapped(text, "") for text in closing if text]
        cls.__doc__ = "\n\n".join(parts)


def _arguments(cls: Any) -> list[str]:
    """The names of a constructor's parameters."""
    declared = getattr(cls, "_defaults", None)
    if declared is not None:
        return list(declared)
    code = getattr(inspect.unwrap(cls.__init__), "__code__", None)
    return [] if code is None else list(code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount])


def _of_function(cls: Any, applied: str | None) -> str:
    """The sentences about the function that a layer applies."""
    function = getattr(cls, "function", None)
    known = contracts()
    name = applied or str(getattr(function, "__name__", ""))
    found = known.get(f"nn.functional.{name}") or known.get(name)
    if found is None and "Shapes: " in (about := getattr(function, "__doc__", None) or ""):
        found = "Shapes: " + " ".join(about.partition("Shapes: ")[2].split())
    return found or ""
