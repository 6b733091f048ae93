"""What pyright, mypy, jedi and IPython find out about a program that uses the library.

    python tests/editors.py

checks this environment, in which the library is installed editable, and one in which it is installed from a wheel.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent

PROGRAM = """
import tracer
import tracer.distributions
from tracer import Tensor, nn
from tracer.ir.graph import Graph
from tracer.codegen import cpu
from tracer.runtime.compiler import cache
from tracer.nn import functional as F

x = tracer.randn(3, 4, device="cpu")

@tracer.trace
def scaled(x: Tensor, factor: int = 2) -> Tensor:
    return x * factor

@tracer.no_grad()
def quiet(x: Tensor, factor: int) -> Tensor:
    return x * factor

class Model(nn.Module):
    @tracer.trace
    def forward(self, x: Tensor) -> tuple[Tensor, int]:
        return x.relu(), 1

model = Model()
"""
# Expressions, and their types; None for an error.
EXPRESSIONS: dict[str, str | None] = {
    "x.sum()": "Tensor",
    "x.sum(axis=0, keepdims=True)": "Tensor",
    "x.add_(1.5)": "Tensor",
    "2 * x - x @ x.T": "Tensor",
    "x == x": "Tensor",
    "x.max()": "Tensor",
    "x.max(0).indices": "Tensor",
    "x.sort().values": "Tensor",
    "x.shape": "Size",
    "x.size(0)": "int",
    "x.stride()": "tuple[int, ...]",
    "x.view(2, -1)": "Tensor",
    "x.view((2, -1))": "Tensor",
    "x.to(tracer.float64)": "Tensor",
    "x.long()": "Tensor",
    "x.grad": "Tensor | None",
    "x.T": "Tensor",
    "x.dtype": "DType",
    "x.nonzero()": "Tensor",
    "x.nonzero(as_tuple=True)": "tuple[Tensor, ...]",
    "x.split(2)": "tuple[Tensor, ...]",
    "tracer.zeros((2, 3), dtype=tracer.int64)": "Tensor",
    "tracer.zeros(2, 3)": "Tensor",
    "tracer.where(x > 0, x, 0.0)": "Tensor",
    "tracer.exp(x)": "Tensor",
    "tracer.relu_(x)": "Tensor",
    "tracer.special.erfinv(x)": "Tensor",
    "F.softmax(x, 1)": "Tensor",
    "tracer.autograd.grad(x.sum(), x)": "tuple[Tensor, ...]",
    "tracer.linalg.svd(x).S": "Tensor",
    "tracer.linalg.norm(x)": "Tensor",
    "F.max_pool2d(x, 2)": "Tensor",
    "F.max_pool2d(x, 2, return_indices=True)": "tuple[Tensor, Tensor]",
    "quiet(x, 2)": "Tensor",
    "tracer.vmap(quiet)(x, 2)": "Tensor",
    "[row for row in x]": "list[Tensor]",
    "scaled(x, factor=3)": "Tensor",
    "scaled.explain()": "Explanation",
    "model.forward(x)": "tuple[Tensor, int]",
    "tracer.trace(model)": "Model",
    "tracer.Size([2]).numel()": "int",
    "x.summ()": None,
    "x.exp(1, 2)": None,
    "x.reshape('a')": None,
    "x.sum(dims=0)": None,
    "tracer.sofmax(x, 1)": None,
    "F.rellu(x)": None,
    "scaled(x, 'a')": None,
    "scaled(x, facto=1)": None,
    "quiet(x, 'a')": None,
    "tracer.vmap(quiet)(x)": None,
    "scaled.explan()": None,
    "model.forward(x, 2)": None,
    "x + 'a'": None,
}


SCRIPTS = Path(sysconfig.get_path("scripts"))


def program() -> str:
    """The program, with a ``reveal_type`` for each expression that has a type."""
    return PROGRAM + "".join(f"reveal_type({e})\n" if kind else f"{e}\n" for e, kind in EXPRESSIONS.items())


def differences(found: dict[int, str]) -> list[str]:
    """The expressions whose types, by line, are not the expected ones; and the errors in other lines."""
    first = PROGRAM.count("\n") + 1
    wrong = [f"line {line}: {kind}" for line, kind in found.items() if line < first]
    for line, (expression, kind) in enumerate(EXPRESSIONS.items(), first):
        got = re.sub(
            r"\b(?:builtins|program|tracer\.core\.(?:tensor|size)|tracer\.ir\.types|tracer\.tracing\.explain)\.",
            "",
            found.get(line, "nothing"),
        )
        if got != (kind or "error"):
            wrong.append(f"{expression}: {got}")
    return wrong


def pyright(python: Path) -> dict[int, str]:
    """What pyright says about the program, by line: the revealed type, or ``error``. ``python`` has the library installed."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "program.py").write_text(program())
        Path(folder, "pyrightconfig.json").write_text(json.dumps({"typeCheckingMode": "strict", **_UNUSED}))
        command = [sys.executable, "-m", "basedpyright", "--outputjson", "-p", folder, "--pythonpath", str(python)]
        said = json.loads(subprocess.run(command, capture_output=True, text=True, cwd=folder).stdout)
    found: dict[int, str] = {}
    for one in said["generalDiagnostics"]:
        line = one["range"]["start"]["line"] + 1
        revealed = re.search(r' is "(.*)"$', one["message"])
        if one["severity"] == "error" and "rule" in one:
            found[line] = "error" if EXPRESSIONS_BY_LINE.get(line, "") is None else one["message"]
        elif one["severity"] == "information" and revealed is not None:
            found.setdefault(line, revealed[1])
    return found


# The program's lines are not used further.
_UNUSED = dict.fromkeys(("reportUnusedExpression", "reportUnusedImport", "reportUnusedCallResult", "reportUnusedClass"), False)
EXPRESSIONS_BY_LINE = dict(enumerate(EXPRESSIONS.values(), PROGRAM.count("\n") + 1))


def mypy(python: Path) -> dict[int, str]:
    """The same of mypy, in its strict mode."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "program.py").write_text(program())
        command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--python-executable", str(python)]
        command += ["--cache-dir", str(ROOT / ".mypy_cache" / "program"), "program.py"]
        said = subprocess.run(command, capture_output=True, text=True, cwd=folder).stdout
    found: dict[int, str] = {}
    for line, kind, text in re.findall(r"^program\.py:(\d+): (error|note): (.*)$", said, re.MULTILINE):
        revealed = re.match(r'Revealed type is "(.*)"', text)
        if kind == "error":
            found[int(line)] = "error" if EXPRESSIONS_BY_LINE.get(int(line), "") is None else text
        elif revealed is not None:
            found.setdefault(int(line), revealed[1])
    return found


def jedi(python: Path) -> list[str]:
    """Names whose completion, signature or docstring jedi does not find."""
    import jedi

    environment = jedi.create_environment(str(python), safe=False)
    wrong = []
    for text, name, parameter, words in COMPLETIONS:
        script = jedi.Script(PROGRAM + text, environment=environment)
        found = {one.name: one for one in script.complete()}
        if name not in found:
            wrong.append(f"{text}: no {name}")
            continue
        one = found[name]
        parameters = [p.name for s in one.get_signatures() for p in s.params]
        if parameter not in parameters or words not in one.docstring(raw=True):
            wrong.append(f"{text}: {parameters}, {one.docstring(raw=True)!r}")
    return wrong


# Unfinished text, a completion, one of its parameters, and a part of its docstring.
COMPLETIONS = [
    ("x.cums", "cumsum", "dim", "Running sums"),
    ("x.T.soft", "softmax", "dim", "exp(x) / sum(exp(x))"),
    ("x.backw", "backward", "gradient", ".grad"),
    ("tracer.rand", "randn", "size", "normal"),
    ("F.soft", "softmax", "dim", "exp(x)"),
]


def ipython() -> list[str]:
    """Names of objects that IPython does not complete, or of which it shows no signature or docstring."""
    code = f"import editors; print(*editors.unknown_to(get_ipython(), {PROGRAM!r}), sep=chr(10))"
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "IPython", "--ipython-dir", folder, "--HistoryManager.enabled=False", "-c", code]
        run = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent)
    return [run.stderr] if run.returncode else [line for line in run.stdout.splitlines() if line]


def unknown_to(shell: Any, text: str) -> list[str]:
    """For ``ipython``, inside it."""
    from IPython.core.completer import provisionalcompleter

    shell.run_cell(text)
    wrong = []
    for unfinished, name, parameter, words in COMPLETIONS:
        with provisionalcompleter():
            found = {c.text.rpartition(".")[2] for c in shell.Completer.completions(unfinished, len(unfinished))}
        shown = shell.object_inspect(f"{unfinished.rpartition('.')[0]}.{name}")
        if name not in found or parameter not in (shown["definition"] or "") or words not in (shown["docstring"] or ""):
            wrong.append(f"{unfinished}: {sorted(found)}, {shown['definition']}, {shown['docstring']!r}")
    return wrong


def from_a_wheel(folder: Path) -> Path:
    """An interpreter in whose environment the library is installed from a wheel; its other packages are those of this one."""
    venv.create(folder, with_pip=False)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(ROOT)]
    subprocess.run(command, check=True)
    (site / "others.pth").write_text("\n".join(path for path in sys.path if Path(path).name == "site-packages"))
    return folder / "bin" / "python"


def main() -> int:
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        for how, python in (("editable", Path(sys.executable)), ("wheel", from_a_wheel(Path(folder)))):
            wrong += [f"pyright, {how}: {text}" for text in differences(pyright(python))]
            wrong += [f"mypy, {how}: {text}" for text in differences(mypy(python))]
            wrong += [f"jedi, {how}: {text}" for text in jedi(python)]
    print("\n".join(wrong) or "pyright, mypy and jedi know every name")
    return bool(wrong)


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
