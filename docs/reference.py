"""The generated pages of the documentation: the reference of the API from its docstrings, that of the IR from its records,
and copies of files elsewhere in the repository.

``make docs`` writes them anew in each build, so they cannot differ from the code.
"""

from __future__ import annotations

import importlib
import inspect
import io
import os
import pkgutil
import re
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import tracer
from tracer.ir import ops, pipeline, types
from tracer.ir.primitive import PRIMITIVES, Kind, Primitive

# Public modules, in the order of the reference.
_MODULES = """
    tracer tracer.linalg tracer.fft tracer.special tracer.signal.windows tracer.random tracer.autograd tracer.func
    tracer.nn tracer.nn.functional tracer.nn.init tracer.nn.utils tracer.optim tracer.optim.lr_scheduler tracer.distributions
    tracer.utils.data tracer.utils.checkpoint tracer.cuda
"""
MODULES = _MODULES.split()

_ROOT = Path(__file__).resolve().parent.parent
# Files that are pages of the site, and the pages' names in the folder ``copied``.
COPIED = {
    "ARCHITECTURE.md": "architecture",
    "CHANGELOG.md": "changelog",
    "CONTRIBUTING.md": "contributing",
    "DECISIONS.md": "decisions",
    "benchmarks/KERNELS-CUDA.md": "kernels-cuda",
    "benchmarks/RESULTS.md": "results",
    "benchmarks/WHOLE_PROGRAMS.md": "whole-programs",
    "examples/README.md": "examples",
}

_FIRST = ("", "Classes", "Other functions")  # headings of the reference that come before the others
_KINDS = {
    Kind.ELEMENTWISE: "Elementwise: each element of the result depends on the operands' elements at the same position.",
    Kind.REDUCTION: "Reductions over the attribute `axes`.",
    Kind.MOVEMENT: "Movements: each element of the result is an element of an operand at a computed position, or a constant.",
    Kind.SOURCE: "Sources: the elements depend on their position only, or are random bits.",
    Kind.CONTRACTION: "Matrix products.",
    Kind.INDEXING: "Indexing: positions are data.",
    Kind.SCAN: "Scans and sorts, along an axis.",
    Kind.FUSION: "Fusions: a body of other operations that becomes one kernel.",
    Kind.HOST: "Host operations: a program calls the NumPy implementation; there is no kernel.",
}


def public(module: ModuleType) -> list[tuple[str, Any]]:
    """The public functions and classes of a module, by name: those of this library that its names refer to."""
    names = getattr(module, "__all__", None) or [name for name in vars(module) if name[0] != "_"]
    return [(name, thing) for name in sorted(names) if _is_documented(thing := getattr(module, name), module)]


def _is_documented(thing: Any, module: ModuleType) -> bool:
    if not (inspect.isroutine(thing) or inspect.isclass(thing)) or not getattr(thing, "__module__", "").startswith("tracer"):
        return False
    if hasattr(module, "__all__") or module is tracer:
        return True
    if module is tracer.random and not hasattr(tracer, thing.__name__):
        return False
    return _origin(thing).startswith(module.__name__)  # not what the module imports for its own use


def _origin(thing: Any) -> str:
    return inspect.unwrap(thing).__module__


def everything() -> Iterator[tuple[str, Any]]:
    """The public functions and classes, by full name; each object once."""
    seen = set()
    for name in MODULES:
        module = importlib.import_module(name)
        for short, thing in public(module):
            if id(thing) not in seen:
                seen.add(id(thing))
                yield f"{name}.{short}", thing


# The API.


def api_pages() -> dict[str, str]:
    """The pages of the API reference, by file name."""
    pages = {f"{name}.rst": _module_page(name) for name in MODULES}
    pages["tracer.Tensor.rst"] = _tensor_page()
    listed = "\n".join(
        f"   {name.removesuffix('.rst')}" for name in ["tracer.rst", "tracer.Tensor.rst", *pages] if name in pages
    )
    lines = list(dict.fromkeys(listed.splitlines()))
    pages["index.rst"] = _title("API reference") + _CONVENTIONS + ".. toctree::\n\n" + "\n".join(lines) + "\n"
    return pages


_CONVENTIONS = """
These rules hold for all functions. Docstrings say what differs.

- Operands of elementwise functions broadcast as in NumPy. Mixed dtypes are promoted as in PyTorch: numbers take the tensor's
  dtype unless they are of a higher kind (bool, integer, floating, complex).
- ``dim`` (or ``axis``) counts from the end if negative. An axis out of range raises ``IndexError``.
- Shapes that do not fit raise ``RuntimeError``, arguments of a wrong type ``TypeError``, and dtypes that an operation does not
  support ``NotImplementedError`` or ``RuntimeError``, as in PyTorch.
- Functions that return tensors take ``out``.

"""


def _title(text: str, under: str = "=") -> str:
    return f"{text}\n{under * len(text)}\n\n"


def _module_page(name: str) -> str:
    module = importlib.import_module(name)
    sections: dict[str, list[str]] = {}
    for short, thing in public(module):
        sections.setdefault(_section(thing) if module is tracer else "", []).append(_entry(name, short, thing))
    about = inspect.cleandoc(module.__doc__ or "")
    out = _title(name) + f".. module:: {name}\n\n" + "\n".join(marked(about.splitlines())) + "\n\n"
    for title, entries in sorted(sections.items(), key=lambda section: (section[0] not in _FIRST, section[0])):
        out += (_title(title, "-") if title else "") + "\n".join(entries) + "\n"
    return out


def _section(thing: Any) -> str:
    """A heading: the first sentence of the docstring of the module that defines the function."""
    if inspect.isclass(thing):
        return "Classes"
    about = importlib.import_module(_origin(thing)).__doc__ or ""
    title = re.split(r"[.:;]", about.replace("\n", " "), maxsplit=1)[0].replace("``", "")
    return "Other functions" if _origin(thing) == "tracer" or "tracer" in title else title


def _entry(module: str, name: str, thing: Any) -> str:
    if inspect.isclass(thing):
        if thing is tracer.Tensor:
            return ".. class:: Tensor\n   :no-index:\n\n   See :doc:`tracer.Tensor`.\n"
        return f".. autoclass:: {module}.{name}\n   :no-index:\n"
    return f".. autofunction:: {module}.{name}\n   :no-index:\n"


def _tensor_page() -> str:
    out = _title("tracer.Tensor") + "\n".join(marked(inspect.cleandoc(tracer.Tensor.__doc__ or "").splitlines())) + "\n\n"
    for name in sorted(n for n in dir(tracer.Tensor) if n[0] != "_"):
        thing = inspect.getattr_static(tracer.Tensor, name)
        kind = "autoattribute" if isinstance(thing, property) or not callable(thing) else "automethod"
        out += f".. {kind}:: tracer.Tensor.{name}\n   :no-index:\n"
    return out


def marked(lines: list[str]) -> list[str]:
    """A docstring as reStructuredText. Docstrings are plain text with double backquotes around code; indented paragraphs that
    are no lists are code or tables.
    """
    out: list[str] = []
    for block in re.split(r"\n\s*\n", "\n".join(lines).strip("\n")):
        first = block.lstrip("\n")
        if first.startswith((" ", "\t")) and not re.match(r"\s*- ", first):
            out += ["::", "", *("   " + line for line in first.splitlines()), ""]
            continue
        text, nested = _escaped(block).splitlines(), False
        for i, line in enumerate(text):
            starts = line.startswith(" ") and not text[0].lstrip().startswith("- ")
            if starts and not nested and i:  # code directly below its introduction
                out += ["", "::", ""]
                nested = True
            out.append("   " + block.splitlines()[i] if nested else line)
        out.append("")
    return out


def _escaped(text: str) -> str:
    parts = re.split(r"(``.+?``)", text, flags=re.DOTALL)
    return "".join(p if i % 2 else re.sub(r"([*|\\`]|_(?=\W|$))", r"\\\1", p) for i, p in enumerate(parts))


# The IR.


def ir_page() -> str:
    """The reference of the IR: types, operations by kind, passes with the reasons for their order."""
    out = _IR
    rows = [f"| `{d.short}` | `tracer.{d.name}` | {d.itemsize} |" for d in _dtypes()]
    out += "\n## Element types\n\n| in the IR | in Python | bytes |\n| --- | --- | ---: |\n" + "\n".join(rows) + "\n"
    out += f"\n## Operations\n\nThere are {len(PRIMITIVES)} operations of {len(Kind)} kinds. {_COLUMNS}\n"
    for kind, about in _KINDS.items():
        records = sorted((p for p in PRIMITIVES.values() if p.kind is kind), key=lambda p: p.name)
        out += f"\n### {kind.value}\n\n{about}\n\n"
        out += "| operation | one element | gradient | in `ir/ops` |\n| --- | --- | --- | --- |\n"
        out += "".join(_row(p) for p in records)
    reasons = _reasons()
    for title, passes, known in (
        ("Passes", pipeline.COMPILE, ()),
        ("Passes for GPUs, besides these", pipeline.COMPILE_FOR_GRIDS, pipeline.COMPILE),
    ):
        out += f"\n## {title}\n\n| pass | what it does | the reason for its place |\n| --- | --- | --- |\n"
        out += "".join(f"| `{p.__name__}` | {_first(p)} | {_cell(reasons[p.__name__])} |\n" for p in passes if p not in known)
    return out


_IR = """# The IR

This page is generated from the operation records in `ir/ops` and the pass list in `ir/pipeline.py` by each build of the
documentation.
[How to read a dump](reading-dumps.md) explains the notation on an example.

A graph is in SSA form: each value has one definition and one type, an element type with a shape such as `f32[64,784]`.

    func @name(%x: f32[64,784], %w: f32[784,10]) -> f32[10] {
      %y: f32[64,10] = matmul %x, %w  # file.py:3
      %s: f32[10] = sum %y {axes=(0)}  # file.py:4
      return %s
    }

Attributes are in braces. `return %new -> %x` says that the input `%x` is changed in place. `# ...` is a comment; printed graphs
have the source line there. Text of this form can be parsed back: `tracer.ir.parse.parse_graph`.
"""

_COLUMNS = (
    "*One element* is the scalar source that kernels contain. *Gradient* says for which operands there is a differentiation "
    "rule; operands whose names begin with `*` are of any number."
)


def _dtypes() -> list[Any]:
    found = {id(d): d for d in vars(types).values() if isinstance(d, types.DType)}
    return sorted(found.values(), key=lambda d: (d.is_complex, d.is_floating_point, d.short[0], d.itemsize))


def _row(p: Primitive) -> str:
    scalar = f"`{_cell(p.scalar)}`" if isinstance(p.scalar, str) else "by dtype" if p.scalar else ""
    return f"| `{p.name}({', '.join(p.operands)})` | {scalar} | {_gradient(p)} | {_module_of(p)} |\n"


def _gradient(p: Primitive) -> str:
    if p.vjp_all is not None:
        return "all"
    if p.vjp is None:
        return ""
    names = [name for name, rule in zip(p.operands, p.vjp, strict=False) if rule is not None]
    return "all" if len(names) == len(p.operands) else ", ".join(f"`{n}`" for n in names)


def _module_of(p: Primitive) -> str:
    modules = [importlib.import_module(f"{ops.__name__}.{m.name}") for m in pkgutil.iter_modules(ops.__path__)]
    homes = [m for m in modules if any(value is p for value in vars(m).values()) and f'"{p.name}"' in inspect.getsource(m)]
    return f"`{homes[0].__name__.rpartition('.')[2]}.py`" if homes else ""


def _first(function: Callable[..., Any]) -> str:
    about = inspect.getdoc(function) or inspect.getdoc(inspect.getmodule(function)) or ""
    return _cell(re.split(r"(?<=\.)\s", about.replace("\n", " "), maxsplit=1)[0])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("``", "`")


def _reasons() -> dict[str, str]:
    """The comments in the pass lists, by pass: the first one of each."""
    found: dict[str, str] = {}
    name = ""
    for token in tokenize.generate_tokens(io.StringIO(inspect.getsource(pipeline)).readline):
        if token.type == tokenize.NAME:
            name = token.string
        elif token.type == tokenize.COMMENT:
            found.setdefault(name, token.string.removeprefix("# "))
    return found


# Copies.


def linked(text: str, source: str, page: str) -> str:
    """The text with its relative links made those of a page of the site. ``source`` is the file's path in the repository,
    ``page`` the page's. Figures that the text links to are shown.
    """

    def link(match: re.Match) -> str:
        words, target, anchor = match.groups()
        path = os.path.normpath(os.path.join(os.path.dirname(source), target))
        to = f"docs/copied/{COPIED[path]}.md" if path in COPIED else path
        if not (_ROOT / path).exists() or (to.endswith((".md", "/")) and not to.startswith("docs/")):
            return match[0]
        shown = "!" if words == "[figure]" else ""
        return f"{shown}{words}({os.path.relpath(to, os.path.dirname(page))}{anchor or ''})"

    return re.sub(r"(\[[^\]\n]*\])\((?!\w+:)([^)#\s]+)(#[^)\s]*)?\)", link, text)


def write(folder: Path) -> None:
    """Writes all generated pages."""
    for name, text in api_pages().items():
        _update(folder / "api" / name, text)
    _update(folder / "ir.md", ir_page())
    for source, name in COPIED.items():
        page = f"docs/copied/{name}.md"
        _update(_ROOT / page, linked((_ROOT / source).read_text(), source, page))


def _update(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text() != text:  # an unchanged page is not built again
        path.write_text(text)
