"""Records PyTorch's signatures: ``python -m conformance.signatures`` writes tests/signatures.json, which the tests check
against.

A signature is a list of parameters, "name" or "name=default"; "*" precedes keyword-only ones, "*name" is variadic.
Functions written in C++ have one signature per overload, from their schemas.
"""

from __future__ import annotations

import importlib
import inspect
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch

NAMESPACES = (
    "", "linalg", "fft", "special", "nn.functional", "nn.init", "nn.utils", "nn.utils.rnn", "nn.utils.parametrize",
    "nn.utils.parametrizations", "nn", "optim", "optim.lr_scheduler", "optim.swa_utils", "autograd", "autograd.functional",
    "autograd.graph", "distributions", "utils.data", "utils.checkpoint",
)  # fmt: skip
CLASSES = ("Tensor", "Generator", "nn.Module", "optim.Optimizer", "optim.lr_scheduler.LRScheduler")
_PLAIN = (int, float, str, bool, type(None), tuple)
TARGET = Path(__file__).parent.parent / "tests" / "signatures.json"


def schemas() -> dict[str, list[Any]]:
    """The schemas of PyTorch's operators that Python can call, by name."""
    found = defaultdict(list)
    for schema in torch._C._jit_get_all_schemas():
        space, name = schema.name.split("::")
        full = schema.name + (schema.overload_name and "." + schema.overload_name)
        if space == "aten" and torch._C._dispatch_has_kernel(full) and "Dimname" not in str(schema):
            found[name].append(schema)
    return found


SCHEMAS = schemas()


def overloads(name: str, method: bool) -> list[list[str]]:
    """The parameters of each overload of an operator, as a function or as a method."""
    found: list[list[str]] = []
    for schema in SCHEMAS[name]:
        arguments = list(schema.arguments)
        if any(a.is_out for a in arguments) or (method and not any(a.name == "self" for a in arguments)):
            continue
        names: list[str] = []
        for a in arguments:
            if a.kwarg_only and "*" not in names:
                names.append("*")
            if a.name != "self" or not method:
                shown = "input" if a.name == "self" else a.name
                names.append(f"{shown}={a.default_value!r}" if a.has_default_value() else shown)
        if names not in found:
            found.append(names)
    return found


def written(thing: Any, method: bool) -> list[list[str]]:
    """The parameters of a Python function or class."""
    try:
        parameters = list(inspect.signature(thing).parameters.values())
    except (TypeError, ValueError):
        return []
    names: list[str] = []
    for p in parameters[1:] if method else parameters:
        if p.kind is p.KEYWORD_ONLY and "*" not in names and not any(n.startswith("*") for n in names):
            names.append("*")
        mark = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
        shown = (
            ""
            if p.default is p.empty or not isinstance(p.default, (int, float, str, bool, type(None), tuple))
            else f"={p.default!r}"
        )
        names.append(mark + p.name + shown)
    return [names]


def signatures(space: str, owner: Any, is_class: bool) -> dict[str, list[list[str]]]:
    found = {}
    for name in sorted(dir(owner)):
        if name.startswith("_"):
            continue
        thing = inspect.getattr_static(owner, name) if is_class else getattr(owner, name)
        if not callable(thing) or inspect.ismodule(thing):
            continue
        if inspect.isclass(thing):
            rows = written(thing, False)
        elif inspect.isfunction(thing):
            rows = written(thing, is_class)
        else:
            rows = overloads({"fft": "fft_", "linalg": "linalg_", "special": "special_"}.get(space, "") + name, is_class)
        if rows:
            found[f"{space}.{name}".lstrip(".")] = rows
    return found


def main() -> None:
    table: dict[str, list[str]] = {}
    for space in (*NAMESPACES, *CLASSES):
        owner: Any = torch
        for part in filter(None, space.split(".")):
            owner = getattr(owner, part, None) or importlib.import_module(f"{owner.__name__}.{part}")
        for name, rows in signatures(space, owner, space in CLASSES).items():
            table[name] = sorted(", ".join(row) for row in rows)
    lines = (f"{json.dumps(name)}: {json.dumps(rows)}" for name, rows in table.items())
    TARGET.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{TARGET}: {len(table)} names")


if __name__ == "__main__":
    main()
