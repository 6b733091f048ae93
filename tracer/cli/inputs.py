"""The function that a command names, and the arguments to call it with."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ..core.tensor import Tensor, wrap
from ..ir.types import DTYPES, DType
from ..tracing.kinds import Wrapper
from .errors import CommandError, summary

_TYPE = re.compile(r"(?P<dtype>\w+)\[(?P<shape>[^\]]*)\]")
_NAMED = re.compile(r"(?P<name>[A-Za-z_]\w*)=(?P<value>.*)", re.DOTALL)
_DTYPES: dict[str, DType] = {name: t for t in DTYPES for name in (t.short, t.name)}
_WORDS = {"True": True, "False": False, "None": None}
_FORMS = "a type such as 'f32[64,784]', a number, True, False, None, or a file such as 'x.npy'"


def load_function(target: str) -> tuple[Any, Any]:
    """The function that FILE_OR_MODULE:FUNCTION names, and the module or class that it is in."""
    place, colon, name = target.rpartition(":")
    if not colon or not place or not name:
        raise CommandError(f"{target!r} is not of the form FILE_OR_MODULE:FUNCTION")
    function: Any = load_module(place)
    owner = function
    for part in name.split("."):
        if not hasattr(function, part):
            known = sorted(n for n, x in vars(owner).items() if callable(x) and getattr(x, "__module__", "") == owner.__name__)
            has = f"; it has {', '.join(known[:12])}" if known and function is owner else ""
            raise CommandError(f"{place!r} has no function {name!r}{has}")
        function = getattr(function, part)
    if not callable(function):
        raise CommandError(f"{name!r} of {place!r} is not a function")
    return function.__wrapped__ if isinstance(function, Wrapper) else function, owner


def load_module(place: str) -> ModuleType:
    """The module of a file or name. The current folder is on the path; ``if __name__ == "__main__":`` is false."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    importlib.invalidate_caches()
    try:
        return _load_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except ModuleNotFoundError as e:
        raise CommandError(
            f"there is no module {e.name!r}" + (f", which {place!r} imports" if e.name != place else "")
        ) from None
    except (Exception, SystemExit) as e:
        raise CommandError(f"importing {place!r} failed: {summary(e)}") from None


def _load_file(path: Path) -> ModuleType:
    """A file as a module; a file of a package as a module of that package, so that its relative imports work."""
    if not path.is_file():
        raise CommandError(f"there is no file {str(path)!r}" if not path.exists() else f"{str(path)!r} is not a file")
    folder, names = path.resolve().parent, [path.stem]
    while (folder / "__init__.py").is_file():
        names.insert(0, folder.name)
        folder = folder.parent
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    if len(names) > 1:
        return importlib.import_module(".".join(names))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise CommandError(f"{str(path)!r} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def arguments(texts: Sequence[str], function: Any, owner: Any) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of ``--input``; without it, the ``example_inputs`` of the function or its module, if there are any."""
    if not texts:
        return _examples(function, owner)
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for seed, text in enumerate(texts):
        match = _NAMED.fullmatch(text.strip())
        if match is None:
            args.append(make_input(text, seed))
        elif match["name"] in kwargs:
            raise CommandError(f"input {text!r}: {match['name']} is given twice")
        else:
            kwargs[match["name"]] = make_input(match["value"], seed)
    return args, kwargs


def make_input(text: str, seed: int) -> Any:
    """An argument: a tensor of a type with random contents, the contents of a file, or a Python number, bool or None."""
    text = text.strip()
    match = _TYPE.fullmatch(text)
    if match is not None:
        return _random(_dtype(match["dtype"], text), _shape(match["shape"], text), seed)
    if text in _WORDS:
        return _WORDS[text]
    if text.endswith(".npy"):
        return _from_file(text)
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            pass
    raise CommandError(f"input {text!r} is none of: {_FORMS}")


def _dtype(name: str, text: str) -> DType:
    if name not in _DTYPES:
        known = ", ".join(t.short for t in DTYPES)
        raise CommandError(f"input {text!r}: there is no dtype {name!r}; the dtypes are {known}")
    return _DTYPES[name]


def _shape(extents: str, text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in extents.split(",")] if extents.strip() else []
    for part in parts:
        if not re.fullmatch(r"[0-9]{1,18}", part):
            raise CommandError(f"input {text!r}: an extent is a number such as 64, not {part!r}")
    return tuple(map(int, parts))


def _random(dtype: DType, shape: tuple[int, ...], seed: int) -> Tensor:
    rng = np.random.default_rng(seed)
    try:
        if dtype.is_complex:
            values: Any = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
        else:
            values = rng.standard_normal(shape) if dtype.is_floating_point else rng.integers(0, 2, shape)
        return wrap(np.asarray(values).astype(dtype.numpy))
    except (MemoryError, ValueError):
        raise CommandError(f"input {dtype.short}{list(shape)} does not fit in memory") from None


def _from_file(name: str) -> Tensor:
    try:
        array = np.load(name, allow_pickle=False)
        return wrap(np.ascontiguousarray(array) if array.ndim else array)
    except FileNotFoundError:
        raise CommandError(f"there is no file {name!r}") from None
    except (OSError, ValueError, EOFError, KeyError, TypeError) as e:
        raise CommandError(f"{name!r} is not an array that can be read: {summary(e)}") from None


def _examples(function: Any, owner: Any) -> tuple[list[Any], dict[str, Any]]:
    """``example_inputs`` of the function, or of its module: a tuple or list, a dictionary of keywords, a function that returns
    one of them, or a dictionary of these by the function's name.
    """
    found = getattr(function, "example_inputs", None)
    if found is None:
        found = getattr(owner, "example_inputs", None)
    if isinstance(found, dict) and found and all(callable(getattr(owner, str(name), None)) for name in found):
        found = found.get(getattr(function, "__name__", ""))
    if inspect.isroutine(found):
        try:
            found = found()
        except Exception as e:
            raise CommandError(f"example_inputs() failed: {summary(e)}") from None
    if found is None:
        return [], {}
    if isinstance(found, dict):
        return [], dict(found)
    return list(found) if isinstance(found, (tuple, list)) else [found], {}
