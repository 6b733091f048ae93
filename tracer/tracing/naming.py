"""Names for the inputs of a recorded graph: those that the user's code has for them.

An argument has its parameter's name, with a path into containers: ``batch.0``. A tensor of a module has its name within the
module, ``fc1.weight``, below the module's name where that is ambiguous. An optimizer's state is named after its parameter:
``fc1.weight.exp_avg``.
"""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ..core.tensor import Tensor
from ..nn.module import Module
from .kinds import contents, is_plain
from .scalars import Argument, Item, Whole

if TYPE_CHECKING:
    from .calls import Call
    from .guards import Environment
    from .recorder import Recorder

_DEPTH = 4  # levels of containers and objects
_MANY = 10_000  # visited objects


def name_inputs(recorder: Recorder, call: Call, function: Callable[..., Any], args: tuple, kwargs: dict) -> None:
    """Names the inputs of a recording."""
    names = _Names()
    names.add(_parameters(function, args, kwargs))
    if any(source.kind != "argument" for source in recorder.sources):
        from ..random import default_generator  # imports this package

        for environment in call.environments:
            names.add(_surroundings(environment))
        names.add([("default_generator", default_generator)])
    named = names.chosen()
    roots = dict(recorder.floats.roots)
    for source, v, t in zip(recorder.sources, recorder.builder.inputs, recorder.inputs, strict=True):
        if source.is_number:
            name = _number(roots.get(source.index), call, named)
        else:
            owner = t if source.kind != "grad" else source.holder if source.is_held else call.tensors[source.index]
            name = named.get(id(owner), "")
            name += ".grad" if name and source.kind == "grad" else ""
        source.name = v.name = name


def _number(root: Any, call: Call, named: dict[int, str]) -> str:
    if isinstance(root, Item):
        return str(root.key) if str(root.key).isidentifier() else ""
    if isinstance(root, (Argument, Whole)):
        held = call.floats if isinstance(root, Argument) else call.ints
        return named.get(id(held[root.index]), "")
    return ""


def _parameters(function: Callable[..., Any], args: tuple, kwargs: dict) -> Iterator[tuple[str, Any]]:
    """The arguments of a call, by name."""
    try:
        signature = inspect.signature(function.forward if isinstance(function, Module) else function)
        bound = signature.bind(*args, **kwargs).arguments
    except (TypeError, ValueError):
        yield from [*((f"arg{i}", a) for i, a in enumerate(args)), *kwargs.items()]
        return
    for name, x in bound.items():
        if signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
            yield from x.items()
        else:
            yield name, x


def _surroundings(environment: Environment) -> Iterator[tuple[str, Any]]:
    """The variables that a function uses, by name."""
    subject = environment.subject
    if not inspect.isroutine(subject):
        yield "", subject
    elif hasattr(subject, "__self__"):
        yield "", subject.__self__
    code, closure = getattr(subject, "__code__", None), getattr(subject, "__closure__", None)
    if code is not None and closure:
        yield from ((name, contents(cell)) for name, cell in zip(code.co_freevars, closure, strict=True))
    yield from environment.variables()


class _Names:
    """Names found so far: short and full ones, by the object's id."""

    def __init__(self) -> None:
        self.found: dict[int, tuple[str, str]] = {}
        self.states: list[tuple[Any, dict[str, Any]]] = []
        self.kept: list[Any] = []  # visited: ids stay valid
        self.seen: set[int] = set()

    def add(self, named: Iterable[tuple[str, Any]]) -> None:
        """Visits objects level by level: nearer names are better."""
        level = [("", name, x) for name, x in named]
        for _ in range(_DEPTH):
            level = [row for owner, name, x in level for row in self._visit(owner, name, x)]

    def _visit(self, owner: str, name: str, x: Any) -> list[tuple[str, str, Any]]:
        """Names an object, and returns its contents: the name of the variable, the path from there, the object."""
        if isinstance(x, (Tensor, float, int)) and not isinstance(x, bool):
            self.found.setdefault(id(x), (name, f"{owner}.{name}" if owner else name))
            self.kept.append(x)
            return []
        if id(x) in self.seen or len(self.seen) > _MANY or isinstance(x, types.ModuleType):
            return []
        self.seen.add(id(x))
        self.kept.append(x)
        if isinstance(x, Module):
            where = ".".join(filter(None, (owner, name)))
            tensors = [*x.named_parameters(), *x.named_buffers()]
            return [(where, path, t) for path, t in tensors]
        if isinstance(x, (list, tuple)):
            names = getattr(x, "_fields", None) or range(len(x))
            return [(owner, f"{name}.{k}" if name else str(k), item) for k, item in zip(names, x, strict=True)]
        state = x if isinstance(x, dict) else vars(x).get("state") if is_plain(x) else None
        if isinstance(state, dict) and any(isinstance(key, Tensor) for key in state):
            self.states += [(key, value) for key, value in state.items() if isinstance(value, dict)]
        items = x if isinstance(x, dict) else vars(x) if is_plain(x) else {}
        return [(owner, f"{name}.{k}" if name else k, item) for k, item in list(items.items()) if isinstance(k, str)]

    def chosen(self) -> dict[int, str]:
        """The name of each object: the short one if no other object has it."""
        short: dict[str, int] = {}
        for name, _ in self.found.values():
            short[name] = short.get(name, 0) + 1
        names = {
            at: _clean(name if short[name] == 1 and not name[:1].isdigit() else full) for at, (name, full) in self.found.items()
        }
        for key, values in self.states:
            if id(key) in names:
                names |= {id(t): f"{names[id(key)]}.{_clean(k)}" for k, t in values.items() if isinstance(t, Tensor)}
        return names


def _clean(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.]", "_", name)
