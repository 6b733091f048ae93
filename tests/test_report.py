"""The HTML report: its data, and what it shows in a browser."""

import base64
import json
import os
import re
import shutil
import subprocess
import zlib
from pathlib import Path

import pytest

import tracer
from tracer import nn, optim, profiler
from tracer.nn import functional as F
from tracer.profiler import page
from tracer.runtime.compiler import compile as compiler

BROWSER = Path(__file__).parent / "browser"


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(16)
        self.mlp = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))

    def forward(self, x):
        return x + self.mlp(self.norm(x))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([Block(), Block()])
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.head(x)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    tracer.manual_seed(0)
    model = Net()
    optimizer = optim.Adam(model.parameters())

    @tracer.trace
    def step(x, y):
        """</script> in a string: the page must not end here."""
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    with profiler.profile() as p:
        for _ in range(6):
            step(tracer.randn(8, 16), tracer.zeros(8, dtype=tracer.int64))
    p.export_html(path)
    return path


@pytest.fixture(scope="module")
def data(report):
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', report.read_text(), re.DOTALL)
    return json.loads(found[1])


def test_the_page_needs_nothing_else(report):
    text = report.read_text()
    assert not re.search(r"<link|<script[^>]* src=|<img|@import|url\((?!#)", text)
    assert "/*DATA*/" not in text and "dagre" in text


def test_every_operation_of_the_fused_graph_leads_to_its_kernel_and_line(data):
    (program,) = [p for p in data["programs"] if p["title"] == "step"]
    rows = [
        row for row in program["fused"] if row[0].startswith("  %") and "reshape" not in row[0] and "constant" not in row[0]
    ]
    assert rows and all(row[2] in program["kernels"] for row in rows)
    for text, line, kernel in rows:
        name = data["kernels"][kernel]["short"]
        assert f"= fusion @{name} " in text or f"= {name} " in text
        assert not line or line in {f"{path}:{n}" for path, its in data["files"].items() for n, _ in its}
    assert all(k["code"] < len(data["codes"]) and data["codes"][k["code"]] for k in data["kernels"])


def test_kernels_are_grouped_by_phase_and_module_and_no_edge_leads_to_an_earlier_phase(data):
    (program,) = [p for p in data["programs"] if p["title"] == "step"]
    groups = {"/".join(data["kernels"][k]["group"]) for k in program["kernels"]}
    assert {"forward/Net/blocks.0/mlp/0", "backward/Net/blocks.1/mlp/2", "forward/Net/head", "optimizer"} <= groups
    order = {"forward": 0, "backward": 1, "optimizer": 2}
    for a, b, type_ in program["edges"]:
        first, then = (order[data["kernels"][k]["group"][0]] for k in (a, b))
        assert first <= then and "[" in type_


def test_kernels_have_their_llvm_ir_and_assembly(data):
    compiled = [i for i, code in enumerate(data["codes"]) if "def kernel(" in code]
    assert compiled and set(map(int, data["machine"])) == set(compiled)
    for number, pair in data["machine"].items():
        llvm, asm = (zlib.decompress(base64.b64decode(text)).decode() for text in pair)
        name = next(k["short"] for k in data["kernels"] if k["code"] == int(number))
        assert re.search(rf"^define .*@{name}\(", llvm, re.MULTILINE) and re.search(rf"^{name}:", asm, re.MULTILINE)


def test_the_texts_are_those_that_dump_prints(data):
    source = next(code for code in data["codes"] if "def kernel(" in code)
    ((llvm, asm),) = compiler.machine_texts({source: "rows"}).values()
    assert llvm == compiler.renamed(compiler.llvm_ir(source), "rows")
    assert asm == compiler.renamed(compiler.assembly(source), "rows")


def test_of_many_kernels_the_slowest_have_texts(tmp_path, monkeypatch):
    monkeypatch.setattr(page, "_MACHINE_TEXTS", 1)

    @tracer.trace
    def f(x):
        return (x.exp() @ x).sin().sum(0)

    with profiler.profile() as p:
        for _ in range(4):
            f(tracer.ones(20, 20))
    p.export_html(tmp_path / "report.html")
    found = re.search(r'id="data">(.*?)</script>', (tmp_path / "report.html").read_text(), re.DOTALL)
    data = json.loads(found[1])
    spent = [0] * len(data["codes"])
    for k in data["kernels"]:
        spent[k["code"]] += k["nanoseconds"]
    assert len(spent) > 1 and list(data["machine"]) == [str(spent.index(max(spent)))] and data["machineLimit"] == 1


def test_a_backward_program_of_its_own(tmp_path):
    @tracer.trace
    def f(x):
        return (x.sin() * x).sum()

    x = tracer.ones(100, requires_grad=True)
    with profiler.profile() as p:
        for _ in range(4):
            f(x).backward()
    p.export_html(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert '"title":"f"' in text and '"title":"f, backward"' in text


def test_a_profile_of_eager_code_only(tmp_path):
    with profiler.profile() as p:
        tracer.ones(3).sum()
    p.export_html(tmp_path / "report.html")
    assert '"programs":[]' in (tmp_path / "report.html").read_text()


@pytest.mark.skipif(
    not shutil.which("node") or not (BROWSER / "node_modules").is_dir(),
    reason="needs Node.js, and npm install in tests/browser",
)
def test_in_a_browser(report, data):
    environment = {**os.environ, "AWS_EXECUTION_ENV": "AWS_Lambda_nodejs20.x"}  # the browser brings its libraries
    command = ["node", "report.mjs", str(report)]
    done = subprocess.run(command, cwd=BROWSER, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["errors"] == [] and shown["requests"] == [f"file://{report}"]
    assert any(p.startswith("forward: ") for p in shown["first"]["phases"])
    assert shown["first"]["kernels"] == len(data["kernels"])
    assert shown["collapsed"]["boxes"] == 3 and shown["collapsed"]["edges"] >= 2
    program = max(data["programs"], key=lambda p: len(p["kernels"]))
    assert shown["expanded"]["boxes"] == len(program["kernels"]) and shown["expanded"]["clusters"] > 10
    slowest = max(data["kernels"], key=lambda k: k["nanoseconds"])
    for state in ("kernel", "again"):
        assert shown[state]["node"] == 1 and len(shown[state]["chosen"]) >= 1
        assert shown[state]["lines"] and "def kernel(" in shown[state]["code"]
    assert slowest["name"] in shown["kernel"]["detail"] and slowest["time"] in shown["kernel"]["detail"]
    assert data["codes"][slowest["code"]].splitlines()[1] in shown["kernel"]["code"]
    llvm, asm = (zlib.decompress(base64.b64decode(text)).decode() for text in data["machine"][str(slowest["code"])])
    for state, text in (("llvm", llvm), ("asm", asm)):
        assert shown[state]["code"] == slowest["name"] + text.replace("\n", "")
    assert len(shown["line"]["lines"]) == 1 and shown["line"]["recorded"] >= 1 and shown["line"]["node"] >= 1
    assert shown["zoomed"]["scale"] != shown["again"]["scale"]
