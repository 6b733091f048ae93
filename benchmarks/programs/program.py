"""What a row of the table is: a training step, or another repeated computation, of a public program."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import itertools
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn


@dataclass
class Program:
    """``step(*batch)`` gives the loss, or other numbers that are compared. The engines exchange the states of the modules.

    The whole step is traced, unless ``compile_parts`` puts compiled functions where the step calls them; it takes
    ``torch.compile``. So does ``compile_loss``, for PyTorch's compiler.
    """

    step: Callable[..., Any]
    batches: Sequence[tuple[Any, ...]]
    modules: Sequence[nn.Module] = ()
    compile_loss: Callable[[Any], Any] | None = None
    compile_parts: Callable[[Any], Any] | None = None

    def compile_step(self, compiler: Any) -> Any:
        return self.compile_parts(compiler) if self.compile_parts else compiler(self.step)

    def data(self) -> Iterator[tuple[Any, ...]]:
        return itertools.cycle(self.batches)


@dataclass
class Row:
    name: str
    make: Callable[[], Program]
    group: str
    note: str = ""
    clone: str = ""  # the repository whose clone it needs


ROWS: dict[str, Row] = {}
clones = Path()


def row(name: str, note: str = "", clone: str = "") -> Callable[[Callable[[], Program]], Callable[[], Program]]:
    """Enters a function that makes a program. Its group is its module."""

    def enter(make: Callable[[], Program]) -> Callable[[], Program]:
        ROWS[name] = Row(name, make, make.__module__.rpartition(".")[2], note, clone)
        return make

    return enter


def training(
    module: nn.Module,
    loss: Callable[..., Any],
    batches: Sequence[tuple[Any, ...]],
    optimizer: Any = None,
    clip: float | None = None,
) -> Program:
    """Training steps with ``loss(module, *batch)``; Adam unless there is another optimizer. Random layers are switched off."""
    without_chance(module)
    optimizer = optimizer or torch.optim.Adam([p for p in module.parameters() if p.requires_grad], lr=1e-3)
    used = forward = lambda *batch: loss(module, *batch)

    def step(*batch: Any) -> Any:
        optimizer.zero_grad()
        found = forward(*batch)
        found.backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(module.parameters(), clip)
        optimizer.step()
        return found.detach()

    def compile_loss(compiler: Any) -> None:
        nonlocal forward
        forward = compiler(used)

    return Program(step, batches, [module], compile_loss)


def without_chance(module: nn.Module) -> None:
    """Sets all probabilities of dropping something to zero: those of dropout modules, and numbers called so in others."""
    for part in module.modules():
        if hasattr(part, "p") and type(part).__name__ in ("StochasticDepth", *DROPOUTS):
            part.p = 0.0
        for name, value in vars(part).items():
            if isinstance(value, float) and ("drop" in name or name == "layerdrop"):
                setattr(part, name, 0.0)


DROPOUTS = ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout")


def numbers(*shape: int, seed: int = 0, dtype: Any = torch.float32) -> Any:
    return torch.from_numpy(np.random.RandomState(seed).randn(*shape)).to(dtype)


def integers(below: int, *shape: int, seed: int = 0) -> Any:
    return torch.from_numpy(np.random.RandomState(seed).randint(0, below, shape))


def images(count: int, channels: int, size: int, classes: int = 10, dtype: Any = torch.float32, batches: int = 2) -> list[Any]:
    """Batches of images and classes."""
    draw = lambda i: (numbers(count, channels, size, size, seed=i, dtype=dtype), integers(classes, count, seed=i))
    return [draw(i) for i in range(batches)]


def clone(repository: str, *path: str) -> Path:
    """A file of a clone; its folder's name ends in the repository's."""
    folder = next(iter(sorted(clones.glob(f"*{repository}"))), None)
    if folder is None:
        raise FileNotFoundError(f"no clone of {repository} in {clones}")
    return folder.joinpath(*path)


def imported(path: Path) -> Any:
    """A file as a module, with its folder on the path."""
    sys.path.insert(0, str(path.parent))
    spec: Any = importlib.util.spec_from_file_location(f"program_{path.stem}", path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def definitions(path: Path, **given: Any) -> Any:
    """The imports, classes and functions of a script that does its work when it is imported, and the given globals.

    Imports that fail are left out, such as those of packages that draw.
    """
    module = types.ModuleType(f"program_{path.parent.name}_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    tree = ast.parse(path.read_text())
    for statement in tree.body:
        is_import = isinstance(statement, ast.Import | ast.ImportFrom)
        if is_import or isinstance(statement, ast.ClassDef | ast.FunctionDef):
            with contextlib.suppress(ImportError):
                exec(compile(ast.Module([statement], []), str(path), "exec"), vars(module))
            vars(module).update(given)
    return module


def flat(found: Any) -> Iterable[float]:
    """The numbers of a step's result."""
    return [float(x) for x in torch.as_tensor(found).detach().reshape(-1).tolist()]
