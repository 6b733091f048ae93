"""The stages of a function's compilation, as text."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import re
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from ..core.tensor import wrap
from ..ir import pipeline
from ..ir.autodiff import vjp
from ..ir.graph import Graph
from ..ir.types import dtype_named
from ..runtime.compiler import machine
from ..tracing.decorator import trace
from ..tracing.kinds import Wrapper
from .info import version_of

_CALLS = 4  # the first calls reveal what a function changes, for example an optimizer's state
_TYPE = re.compile(r"(\w+)\[([\d,\s]*)\]$")


class DumpError(Exception):
    """An error in the request; the message is one line."""


def load_function(target: str) -> Any:
    """The function that FILE_OR_MODULE:FUNCTION names."""
    place, colon, name = target.rpartition(":")
    if not colon or not place or not name:
        raise DumpError(f"{target!r} is not of the form FILE_OR_MODULE:FUNCTION")
    try:
        module = _load_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except ModuleNotFoundError as e:
        raise DumpError(f"there is no module {e.name!r}") from None
    except FileNotFoundError:
        raise DumpError(f"there is no file {place!r}") from None
    except Exception as e:
        raise DumpError(f"importing {place!r} failed: {type(e).__name__}: {e}") from None
    function: Any = module
    for part in name.split("."):
        if not hasattr(function, part):
            raise DumpError(f"{place!r} has no function {name!r}")
        function = getattr(function, part)
    if not callable(function):
        raise DumpError(f"{name!r} of {place!r} is not a function")
    return function.__wrapped__ if isinstance(function, Wrapper) else function


def _load_file(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(path)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    sys.path.insert(0, str(path.resolve().parent))
    spec.loader.exec_module(module)
    return module


def make_input(text: str, seed: int) -> Any:
    """An argument of the given type with random contents, or the number that ``text`` represents."""
    match = _TYPE.match(text.strip())
    if match is None:
        try:
            return int(text)
        except ValueError:
            pass
        try:
            return float(text)
        except ValueError:
            raise DumpError(f"input {text!r} is neither a type such as 'f32[64,784]' nor a number") from None
    short, extents = match.groups()
    try:
        dtype = dtype_named(short)
        shape = tuple(int(n) for n in extents.replace(" ", "").split(",") if n)
    except KeyError:
        raise DumpError(f"input {text!r}: there is no dtype {short!r}") from None
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(shape) if dtype.is_floating_point else rng.integers(0, 2, shape)
    return wrap(np.asarray(values).astype(dtype.numpy))


_CPU_STAGES, _CUDA_STAGES = ("llvm", "asm"), ("nvvm", "ptx", "sass")


def dump_stage(
    target: str,
    inputs: list[str],
    stage: str,
    backward: bool,
    cpu: str | None = None,
    device: str = "cpu",
    architecture: str = "sm_80",
) -> str:
    """The text of a stage, for the named CPU or the selected one, or for GPUs. Raises DumpError."""
    for stages, wanted in ((_CPU_STAGES, "cpu"), (_CUDA_STAGES, "cuda")):
        if stage in stages and device != wanted:
            others = ", ".join(_CUDA_STAGES if wanted == "cpu" else _CPU_STAGES)
            raise DumpError(f"the stage {stage!r} needs --device {wanted}; for {device} the stages are source, {others}")
    try:
        chosen = machine.cpu_named(cpu) if cpu else machine.selected()
    except ValueError as e:
        raise DumpError(str(e)) from None
    with machine.selecting("host"):  # the recording runs on this machine
        graphs = _recorded(target, inputs)
    if device == "cuda":
        return "\n".join(_stage_for_grids(graph, stage, backward, architecture) for graph in graphs)
    with machine.selecting(chosen):
        return "\n".join(_stage(graph, stage, backward) for graph in graphs)


def _recorded(target: str, inputs: list[str]) -> list[Graph]:
    """The recorded graphs: one, or one per segment."""
    function = load_function(target)
    args = tuple(make_input(text, seed) for seed, text in enumerate(inputs))
    traced = trace(function)
    try:
        with warnings.catch_warnings(action="ignore"), contextlib.redirect_stdout(sys.stderr):
            for _ in range(_CALLS):
                traced(*args)
                if traced.graphs() or traced.eager_reasons:
                    break
    except Exception as e:
        raise DumpError(f"calling {target!r} failed: {type(e).__name__}: {e}".split("\n")[0]) from None
    if graphs := traced.graphs():
        return list({str(graph): graph for graph in graphs}.values())
    reason = next(iter(traced.eager_reasons.values()), f"{_CALLS} calls recorded nothing that can be replayed")
    raise DumpError(f"{target!r} cannot be traced: {reason}")


def _stage(graph: Graph, stage: str, backward: bool) -> str:
    if stage == "graph":
        return str(graph)
    if stage == "adjoint":
        return str(_adjoint(graph))
    fused = pipeline.run(_adjoint(graph) if backward else graph, pipeline.COMPILE)
    if stage == "fused":
        return str(fused)
    return _code(fused, stage)


def _stage_for_grids(graph: Graph, stage: str, backward: bool, architecture: str) -> str:
    if stage in ("graph", "adjoint"):
        return _stage(graph, stage, backward)
    fused = pipeline.run(_adjoint(graph) if backward else graph, pipeline.COMPILE_FOR_GRIDS)
    if stage == "fused":
        return str(fused)
    from .kernels import for_grids

    try:
        return for_grids(fused, stage, architecture)
    except (FileNotFoundError, RuntimeError, ImportError, ValueError) as e:
        # Numba has a package numba.cuda too, without the modules imported here.
        absent = version_of("numba-cuda") == "not installed" and isinstance(e, ImportError)
        missing = "numba-cuda" if absent else e.name if isinstance(e, ModuleNotFoundError) else None
        if missing:
            raise DumpError(f"the stage {stage!r} needs {missing}: pip install 'tracer[cuda]'") from None
        raise DumpError(str(e).split("\n")[0]) from None


def _adjoint(graph: Graph) -> Graph:
    try:
        return pipeline.run(vjp(graph), pipeline.SIMPLIFY)
    except TypeError as e:
        raise DumpError(f"the graph cannot be differentiated: {e}") from None


def _code(fused: Graph, stage: str) -> str:
    from ..runtime.compiler import compile as compiler
    from .kernels import native, pasteable

    if stage == "source":
        return pasteable(fused)
    show, mark = (compiler.llvm_ir, ";") if stage == "llvm" else (compiler.assembly, "#")
    try:
        return native(fused, show, mark)
    except ImportError as e:  # an unsupported version of Numba
        raise DumpError(str(e)) from None
