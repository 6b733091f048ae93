"""What editors and type checkers see: every name with its signature, result type and docstring."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import editors
import pytest
import stubs

import tracer
from tracer import Tensor

ROOT = Path(__file__).parent.parent
STUBS = stubs.stubs()


@pytest.mark.parametrize("path", STUBS)
def test_stubs_are_those_of_the_source(path: str) -> None:
    assert (ROOT / path).read_text() == STUBS[path], "run: python tests/stubs.py"


def declared(path: str, cls: str | None = None) -> set[str]:
    """The names that a stub declares or exports, in a class if one is given."""
    body: list[Any] = ast.parse((ROOT / path).read_text()).body
    if cls is not None:
        body = next(node.body for node in body if isinstance(node, ast.ClassDef) and node.name == cls)
    names: set[str] = set()
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.AnnAssign):
            names.add(ast.unparse(node.target))
        elif isinstance(node, ast.ImportFrom):
            names |= {a.asname for a in node.names if a.asname == a.asname and a.asname is not None}
    return names


@pytest.mark.parametrize(
    ("path", "module"),
    [
        ("tracer/__init__.pyi", tracer),
        ("tracer/nn/functional/__init__.pyi", tracer.nn.functional),
        ("tracer/special.pyi", tracer.special),
    ],
)
def test_namespaces_are_complete(path: str, module: ModuleType) -> None:
    public = {
        name
        for name, value in vars(module).items()
        if name[0] != "_" and not isinstance(value, ModuleType) and getattr(value, "__module__", "tracer").startswith("tracer")
    }
    assert public <= declared(path)


def test_methods_are_complete() -> None:
    seen = declared("tracer/core/tensor_methods.pyi", "TensorMethods") | declared("tracer/core/tensor.py", "Tensor")
    assert {name for name in vars(Tensor) if not name.startswith("__")} <= seen


def test_methods_of_tensors_have_docstrings_and_results() -> None:
    missing = [
        name
        for name, value in vars(Tensor).items()
        if name[0] != "_" and isinstance(value, (FunctionType, property)) and not inspect.getdoc(value)
    ]
    assert not missing
    tree = ast.parse((ROOT / "tracer/core/tensor_methods.pyi").read_text())
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    assert len(functions) > 500
    for function in functions:
        assert function.returns is not None, function.name
        for arg in function.args.args[1:]:
            assert arg.annotation is not None, (function.name, arg.arg)


def test_texts_name_this_library() -> None:
    """Messages and representations say ``tracer``. What other programs read or search for is PyTorch's: its web addresses, the
    names of nodes, and the old names of dtypes and devices. ``as_torch`` and ``torch_files`` are about PyTorch.
    """
    kept = re.compile(r"github\.com/pytorch|torch/optim/optimizer\.py|struct torch::|^torch\.cuda$|``torch\.")
    for part in ("ir", "codegen", "runtime", "tracer"):
        for path in (ROOT / part).rglob("*.py"):
            if "as_torch" in path.parts or path.name in ("torch_files.py", "pickled.py"):
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.search(r"\btorch[.: ]", node.value):
                    assert kept.search(node.value), (path, node.lineno, node.value)


def test_sizes_are_tuples_that_name_this_library() -> None:
    shape = tracer.zeros(2, 3).shape
    assert repr(shape) == "tracer.Size([2, 3])" and shape == (2, 3) and isinstance(shape, tuple)
    assert tracer.Size([2, 3]) == shape and tracer.Size([2, 3]).numel() == 6 and isinstance(shape, tracer.Size)


def test_pyright_knows_every_name() -> None:
    assert not editors.differences(editors.pyright(Path(sys.executable)))


def test_jedi_completes_names_with_signatures_and_docstrings() -> None:
    assert not editors.jedi(Path(sys.executable))


def test_ipython_completes_names_of_objects() -> None:
    assert not editors.ipython()
