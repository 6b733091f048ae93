"""Imports of ``torch`` and its modules, and the version that tools ask the installed packages for."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.metadata
import importlib.util
import multiprocessing.spawn
import sys
import types
from collections.abc import Iterable, Sequence
from typing import Any

from ..ir.types import shown
from . import absent

VERSION = "2.13.0"
_OURS, _ADDED = __name__.partition(".")[0], __name__.rpartition(".")[0]
# Modules of PyTorch whose names are in a module with another name.
_ALIASES = {
    "": "namespace",
    "_C._nn": "_C",
    "_VF": "namespace",
    "__config__": "config",
    "_dynamo": "compiler",
    "_tensor": "core.tensor",
    "amp.autocast_mode": "amp",
    "amp.grad_scaler": "amp",
    "autograd.anomaly_mode": "autograd.anomaly",
    "autograd.profiler": "profiler",
    "autograd.variable": "autograd",
    "functional": "namespace",
    "jit.annotations": "annotations",
    "mps": "cuda",
    "cuda.amp.autocast_mode": "amp",
    "cuda.amp.common": "amp",
    "cuda.amp.grad_scaler": "amp",
    "nn._reduction": "reduction",
    "nn.attention.flex_attention": "nn.flex_attention",
    "nn.common_types": "common_types",
    "nn.parallel.distributed": "nn.parallel",
    "profiler.profiler": "profiler",
    "signal.windows.windows": "signal.windows",
    "testing._comparison": "testing",
    "torch_version": "version",
    "utils._contextlib": "contexts",
    "utils._foreach_utils": "foreach",
    "utils.data._utils": "utils.data.dataloader",
    "utils.data._utils.collate": "utils.data.dataloader",
    "utils.data.distributed": "utils.data.sampler",
    "utils.dlpack": "dlpack",
    "utils.hooks": "hooks",
    "utils.model_zoo": "hub",
    "xpu": "cuda",
}
_BELOW: dict[str, set[str]] = {}  # the last parts of such names, and of packages of stand-ins, by what is before
for _path in (*_ALIASES, *absent.PACKAGES):
    _parent, _, _last = _path.rpartition(".")
    if _parent:
        _BELOW.setdefault(_parent, set()).add(_last)
# Packages here whose names are not those of PyTorch's packages.
DIFFERENT = frozenset({"array_api", "as_torch", "cli", "codegen", "core", "interop", "ir", "runtime", "tracing"})


def enter() -> None:
    """Registers the finder. No effect the second time. Raises ImportError if PyTorch has been imported."""
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    if "torch" in sys.modules:
        raise ImportError("import tracer.as_torch before torch: PyTorch itself has been imported")
    sys.meta_path.insert(0, _Finder())
    shown.package = "torch"
    _enter_in_started_processes()


class _Import:
    """Pickled, it imports a module where it is unpickled."""

    def __init__(self, module: str):
        self.module = module

    def __reduce__(self) -> Any:
        return importlib.import_module, (self.module,)


def _enter_in_started_processes() -> None:
    """Processes that ``multiprocessing`` starts with a new interpreter find ``torch`` here too, before they import anything."""
    made = multiprocessing.spawn.get_preparation_data

    def get_preparation_data(name: str) -> dict[str, Any]:
        return {_ADDED: _Import(_ADDED), **made(name)}

    multiprocessing.spawn.get_preparation_data = get_preparation_data


class _Finder(importlib.metadata.DistributionFinder):
    """Finds ``torch.a.b`` as ``tracer.as_torch.a.b``, or else as ``tracer.a.b``, or else as a module of stand-ins."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None) -> Any:
        if name == "functorch":
            return importlib.machinery.ModuleSpec(name, _Loader("", f"{_ADDED}.functorch"), is_package=True)
        root, _, rest = name.partition(".")
        if root != "torch":
            return None
        own: Any = _own_name(rest)
        if own is None and not _is_absent(rest):
            parent, _, last = name.rpartition(".")
            own = getattr(sys.modules[parent], last, None)  # such as ``torch.backends.cudnn``, an object
            if own is None:
                return None
        return importlib.machinery.ModuleSpec(name, _Loader(rest, own), is_package=True)

    def find_distributions(self, context: Any = None) -> Iterable[importlib.metadata.Distribution]:
        return [_Distribution()] if getattr(context, "name", None) in (None, "torch") else []


class _Loader(importlib.abc.Loader):
    """Puts a module of this package, by name, or an object in the place of a module of PyTorch; without one, stand-ins."""

    def __init__(self, path: str, own: Any):
        self.path, self.own = path, own

    def exec_module(self, module: types.ModuleType) -> None:
        if self.own is None:
            absent.fill(module, self.path)
            return
        own: Any = importlib.import_module(self.own) if isinstance(self.own, str) else self.own
        if isinstance(own, types.ModuleType) and not hasattr(own, "__path__"):
            own.__path__ = []  # PyTorch's module may be a package
        sys.modules[module.__name__] = own
        _offer_modules(own, self.path)


def _offer_modules(own: Any, path: str) -> None:
    """Makes modules with other names, and of stand-ins, attributes of the module that stands for ``torch.<path>``."""
    names = _BELOW.get(path, ())
    if not names or not isinstance(own, types.ModuleType) or hasattr(own, "__getattr__"):
        return

    def find(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {own.__name__!r} has no attribute {name!r}")
        found = importlib.import_module(f"torch.{path}.{name}")
        setattr(own, name, found)
        return found

    own.__getattr__ = find  # type: ignore[method-assign]


def offer_modules() -> None:
    """The same for all modules that are imported."""
    for path in _BELOW:
        name = _own_name(path)
        if name in sys.modules:
            _offer_modules(sys.modules[name], path)


class _Distribution(importlib.metadata.Distribution):
    """The installed package ``torch``, for tools that compare its version."""

    def read_text(self, filename: str) -> str | None:
        texts = {"METADATA": f"Metadata-Version: 2.1\nName: torch\nVersion: {VERSION}\n", "top_level.txt": "torch\n"}
        return texts.get(filename)

    def locate_file(self, path: Any) -> Any:
        raise FileNotFoundError(path)


def _own_name(rest: str) -> str | None:
    """The module that has the names of ``torch.<rest>``; None if there is none."""
    rest = _ALIASES.get(rest, rest)
    for package in (_ADDED, _OURS):
        if package == _OURS and rest.partition(".")[0] in DIFFERENT and rest not in _ALIASES.values():
            continue
        name = f"{package}.{rest}"
        if name in sys.modules:
            return name
        try:
            if importlib.util.find_spec(name) is not None:
                return name
        except ModuleNotFoundError:  # of the parent
            continue
    return None


def _is_absent(rest: str) -> bool:
    """True for a package of stand-ins, and for what is below one."""
    parts = rest.split(".")
    return any(".".join(parts[: i + 1]) in absent.PACKAGES for i in range(len(parts)))
