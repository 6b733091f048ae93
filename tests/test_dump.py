"""``tracer dump``: all stages, inputs, scripts, passes and formats, and what it says about mistakes."""

import ast
import json
import re
import sys
import textwrap
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from typer.testing import CliRunner

from tracer.cli.app import app
from tracer.cli.dump import Stage
from tracer.ir.interp import evaluate
from tracer.ir.parse import parse_graph, parse_graphs
from tracer.ir.types import DTYPES

MODEL = """
import numpy as np
import tracer
from tracer import nn, optim
from tracer.nn import functional as F

model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
optimizer = optim.Adam(model.parameters(), lr=1e-3)


@tracer.trace
def step(images, labels):
    optimizer.zero_grad()
    loss = F.cross_entropy(model(images), labels)
    loss.backward()
    optimizer.step()
    return loss


@tracer.trace
def score(x, scale=1.0):
    return (model(x) * scale).softmax(-1)


def plain(x, w):
    return tracer.tanh(x @ w).sum()


def choose(x):
    return x * 2 if x.sum() > 0 else -x


def same(x):
    return x


def add(x, y):
    return x + y


def count(x):
    return x + 1


def one(x):
    return x * 1


def broken(x):
    raise ValueError("two\\nlines")


def leaves(x):
    raise SystemExit(3)


class Holder:
    @tracer.trace
    def method(self, x):
        return x.exp()


holder = Holder()
example_inputs = {
    "plain": (tracer.ones(4, 8), tracer.ones(8, 3)),
    "count": lambda: [tracer.ones(2)],
    "add": {"x": 1.0, "y": tracer.ones(2)},
}

if __name__ == "__main__":
    import sys

    print("running", *sys.argv[1:])
    for i in range(5):
        step(tracer.randn(4, 6), tracer.randint(0, 3, (4,)))
        score(tracer.randn(2, 6))
    score(tracer.randn(7, 6))
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    (tmp_path / "model.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(tmp_path.parent)):  # of an earlier test
            del sys.modules[name]

    def invoke(*args, **env):
        return CliRunner().invoke(app, list(map(str, args)), env=env)

    return invoke


def good(result):
    assert result.exit_code == 0, result.output
    return result.stdout


def failure(result):
    """The message of a mistake in the command: one line."""
    assert result.exit_code == 2 and not result.stdout, result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("tracer: ")]
    assert len(lines) == 1 and result.stderr.strip().endswith(lines[0])
    return lines[0].removeprefix("tracer: ")


STEP = ("model.py:step", "--input", "f32[4,6]", "--input", "i64[4]")
PLAIN = ("model.py:plain", "--input", "f32[4,8]", "--input", "f32[8,3]")
CPU_STAGES = [s.value for s in Stage if s.value not in ("nvvm", "ptx", "sass")]


# Stages.


@pytest.mark.parametrize("backward", [[], ["--backward"]])
@pytest.mark.parametrize("stage", CPU_STAGES)
def test_every_stage_of_the_forward_and_the_backward_program(run, stage, backward):
    text = good(run("dump", *PLAIN, "--stage", stage, *backward))
    expected = {
        "plan": r"^ +0  \S+ .*domain \d+",
        "source": r"^@numba.njit",
        "llvm": r"^define void @\w+_0\(ptr",
        "asm": r"^\w+_0:",
    }
    assert re.search(expected.get(stage, "^func @plain"), text, re.M), text
    if stage in ("graph", "adjoint", "optimized", "fused"):
        (graph,) = parse_graphs(text)
        assert str(graph) == text
        given = len(graph.inputs), len(graph.outputs)
        assert given == {"adjoint": (3, 2 if backward else 3)}.get(stage, (4, 2) if backward else (2, 1))
    if stage == "source":
        ast.parse(text)


def test_all_graph_stages_compute_the_same(run):
    rng = np.random.default_rng(0)
    x, w, ct = (rng.standard_normal(shape).astype(np.float32) for shape in ((4, 8), (8, 3), ()))
    value = np.tanh(x @ w).sum()
    slope = (1 - np.tanh(x @ w) ** 2) * ct
    for stage in ("graph", "optimized", "fused"):
        graph = parse_graph(good(run("dump", *PLAIN, "--stage", stage)))
        np.testing.assert_allclose(evaluate(graph, x, w)[0], value, rtol=1e-5)
    adjoint = parse_graph(good(run("dump", *PLAIN, "--stage", "adjoint")))
    for found, expected in zip(evaluate(adjoint, x, w, ct), (value, slope @ w.T, x.T @ slope), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    alone = parse_graph(good(run("dump", *PLAIN, "--stage", "adjoint", "--backward")))
    np.testing.assert_allclose(evaluate(alone, x, w, ct)[1], x.T @ slope, rtol=1e-5, atol=1e-6)


def test_a_training_step_has_names_lines_and_no_further_backward_program(run):
    text = good(run("dump", *STEP))
    for name in ("images", "labels", "lr", "model.0.weight", "model.2.bias.exp_avg_sq"):
        assert f"%{name}:" in text
    assert len(re.findall(r"# model.py:\d+", text)) == len(set(re.findall(r"# model.py:\d+", text)))
    fused = good(run("dump", *STEP, "--stage", "fused"))
    for kernel in ("linear_relu_0", "cross_entropy", "relu_backward", "adam_0"):
        assert f"fusion @{kernel}" in fused
    for options in (["--backward"], ["--stage", "adjoint"]):
        assert "step computes its gradients itself" in failure(run("dump", *STEP, *options))


def test_gradients_of_a_module_are_those_of_its_parameters_too(run):
    text = good(run("dump", "model.py:score", "--input", "f32[2,6]", "--stage", "adjoint"))
    assert text.startswith("func @score.vjp(") and "%model.0.weight" in text
    assert len(parse_graph(text).outputs) == 1 + 4


def test_a_function_without_gradients_says_so(run):
    assert "count has no gradients" in failure(run("dump", "model.py:count", "--input", "i64[4]", "--backward"))


def test_a_program_without_kernels_says_so(run):
    for stage in ("source", "llvm", "asm"):
        assert "no kernels" in good(run("dump", "model.py:same", "--input", "f32[4]", "--stage", stage))
    assert "0 steps" in good(run("dump", "model.py:same", "--input", "f32[4]", "--stage", "plan"))


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda t: t.short)
def test_every_stage_of_every_dtype_says_something(run, dtype):
    for stage in ("graph", "optimized", "fused", "plan", "source", "llvm"):
        text = good(run("dump", "model.py:one", "--input", f"{dtype.short}[5,3]", "--stage", stage))
        if stage in ("graph", "optimized", "fused"):
            assert f"%x: {dtype.short}[5,3]" in text and str(parse_graph(text)) == text
        else:
            assert re.search(r"kernel|NumPy|one|mul|input", text), text


def test_the_plan_has_steps_buffers_lifetimes_and_bytes(run):
    data = json.loads(good(run("dump", *PLAIN, "--stage", "plan", "--format", "json")))[0]
    assert [s["kernel"] for s in data["steps"]] == ["matmul", "tanh_sum_0"]
    rows = {b["value"]: b for b in data["buffers"]}
    assert rows["%x"] == {"value": "%x", "type": "f32[4,8]", "memory": "input %x", "bytes": 128, "steps": "0"}
    assert rows["%0"]["memory"] == "arena + 0" and rows["%0"]["steps"] == "0-1" and data["arena"] >= rows["%0"]["bytes"]
    assert rows["%1"]["memory"] == "result 0"


def test_a_stage_for_gpus_needs_no_device_option(run):
    pytest.importorskip("numba_cuda", reason="needs the extra 'cuda'")
    assert ".target" in good(run("dump", *PLAIN, "--stage", "ptx"))
    assert "left to a library" in good(run("dump", *PLAIN, "--stage", "source", "--device", "cuda"))


# Inputs.


def test_inputs_are_types_numbers_files_and_keywords(run, tmp_path):
    values = np.linspace(-1, 1, 12, dtype=np.float64).reshape(2, 6)
    np.save(tmp_path / "x.npy", values.astype(np.float32))
    np.save(tmp_path / "scalar.npy", np.float32(3))
    assert "%x: f32[2,6]" in good(run("dump", "model.py:score", "--input", "x.npy", "--input", "2.5"))
    assert "%x: f32[2,6]" in good(run("dump", "model.py:score", "-i", "scale=2.5", "-i", "x=x.npy"))
    text = good(run("dump", "model.py:add", "-i", "y=scalar.npy", "-i", "x=f32[3]"))
    assert "%x: f32[3]" in text and "%y: f32[]" in text
    assert "%x: f32[2,3]" in good(run("dump", "model.py:count", "-i", "  f32[ 2 , 3 ] "))
    assert "%x: bf16[]" in good(run("dump", "model.py:count", "-i", "bfloat16[]"))


def test_example_inputs_of_the_module_are_used_without_inputs(run):
    assert "%x: f32[4,8], %w: f32[8,3]" in good(run("dump", "model.py:plain"))
    assert "%x: f32[2]" in good(run("dump", "model.py:count"))
    assert "%y: f32[2]" in good(run("dump", "model.py:add"))


@pytest.mark.parametrize(
    "text, message",
    [
        ("f32[4,,8]", "an extent is a number such as 64, not ''"),
        ("f32[4,]", "an extent is a number"),
        ("f32[-1]", "an extent is a number such as 64, not '-1'"),
        ("f32[4.0]", "an extent is a number such as 64, not '4.0'"),
        ("f32[x]", "an extent is a number"),
        ("f32[4", "is none of: a type such as 'f32[64,784]', a number, True, False, None, or a file"),
        ("f32[4]]", "is none of"),
        ("f32", "is none of"),
        ("[4]", "is none of"),
        ("q32[4]", "there is no dtype 'q32'; the dtypes are bool, u8"),
        ("f32[99999999999999]", "does not fit in memory"),
        ("1e", "is none of"),
        ("", "is none of"),
        ("nowhere.npy", "there is no file 'nowhere.npy'"),
        ("text.npy", "'text.npy' is not an array that can be read"),
        ("objects.npy", "'objects.npy' is not an array that can be read"),
        (".npy", "there is no file '.npy'"),
    ],
)
def test_wrong_inputs_are_one_line(run, tmp_path, text, message):
    (tmp_path / "text.npy").write_text("no array")
    np.save(tmp_path / "objects.npy", np.array([None]), allow_pickle=True)
    assert message in failure(run("dump", "model.py:count", "--input", text))


def test_a_keyword_is_given_once(run):
    assert "x is given twice" in failure(run("dump", "model.py:count", "-i", "x=1", "-i", "x=2"))


# Functions.


def test_functions_of_modules_packages_and_objects(run, tmp_path):
    (tmp_path / "pack" / "inner").mkdir(parents=True)
    (tmp_path / "pack" / "__init__.py").write_text("")
    (tmp_path / "pack" / "inner" / "__init__.py").write_text("")
    (tmp_path / "pack" / "scale.py").write_text("SCALE = 3.0\n")
    (tmp_path / "pack" / "inner" / "part.py").write_text("from ..scale import SCALE\ndef f(x): return x * SCALE\n")
    for target in ("pack/inner/part.py:f", "pack.inner.part:f"):
        assert "func @f(%x: f32[2])" in good(run("dump", target, "--input", "f32[2]"))
    assert "exp" in good(run("dump", "model:holder.method", "--input", "f32[2]"))
    assert "%input: f32[2,6]" in good(run("dump", "model.py:model", "--input", "f32[2,6]"))


def test_only_what_is_asked_for_runs(run, tmp_path):
    (tmp_path / "guarded.py").write_text(
        "def f(x): return x + 1\n\nif __name__ == '__main__':\n    raise ValueError('it ran')\n"
    )
    assert "func @f" in good(run("dump", "guarded.py:f", "--input", "f32[2]"))


@pytest.mark.parametrize(
    "args, message",
    [
        ((), "no function is given: write FILE_OR_MODULE:FUNCTION, or --run SCRIPT"),
        (("model.py",), "is not of the form FILE_OR_MODULE:FUNCTION"),
        ((":f",), "is not of the form"),
        (("model.py:",), "is not of the form"),
        (("nowhere.py:f",), "there is no file 'nowhere.py'"),
        (("nowhere:f",), "there is no module 'nowhere'"),
        ((".py:f",), "there is no file '.py'"),
        (("folder.py:f",), "'folder.py' is not a file"),
        (("fails.py:f",), "importing 'fails.py' failed: SyntaxError"),
        (("imports.py:f",), "there is no module 'nowhere', which 'imports.py' imports"),
        (("quits.py:f",), "importing 'quits.py' failed: SystemExit"),
        (("model.py:missing",), "has no function 'missing'; it has Holder"),
        (("model.py:np",), "'np' of 'model.py' is not a function"),
        (("model.py:broken", "-i", "1"), "calling 'model.py:broken' failed: ValueError: two"),
        (("model.py:leaves", "-i", "1"), "calling 'model.py:leaves' failed: SystemExit: 3"),
        (("model.py:one",), "missing 1 required positional argument"),
        ((*PLAIN, "extra"), "'extra' is one argument too many"),
        ((*PLAIN, "--bogus"), "there is no option --bogus"),
        ((*PLAIN, "--stage", "bogus"), "'bogus' is not one of"),
        ((*PLAIN, "--stage"), "requires an argument"),
        ((*PLAIN, "--format", "pdf"), "'pdf' is not one of"),
        ((*PLAIN, "--cpu", "z80"), "there is no CPU 'z80'"),
        ((*PLAIN, "--device", "tpu"), "'tpu' is not one of"),
        ((*PLAIN, "--stage", "ptx", "--device", "cpu"), "the stage 'ptx' is for cuda"),
        ((*PLAIN, "--after", "nopass"), "there is no pass 'nopass'; the passes are start, undetach"),
        ((*PLAIN, "--diff", "dce", "nopass"), "there is no pass 'nopass'"),
        ((*PLAIN, "--after", "dce", "--print-after-all"), "exclude each other"),
        ((*PLAIN, "--stage", "asm", "--format", "dot"), "the format 'dot' draws graphs"),
        ((*PLAIN, "--trace", "5"), "there is no trace 5; there are 0"),
        ((*PLAIN, "--trace", "-1"), "Invalid value for '--trace'"),
        ((*PLAIN, "--output", "nowhere/x"), "'nowhere/x' cannot be written: No such file or directory"),
        (("--run", "nowhere.py"), "there is no file or module 'nowhere.py'"),
        (("--run", "plain.py"), "'plain.py' has no traced function"),
        (("--run", "raises.py"), "'raises.py' failed: ValueError: not good (raises.py:2)"),
        (("--run", "exits.py"), "'exits.py' ended with exit code 3"),
        (("--run", "unused.py"), "'unused.py' has no compiled function"),
        (("--run", "model.py", "--function", "missing"), "no function 'missing' was traced; there are step, score"),
        (("--run", "model.py", "--input", "f32[2]"), "--input is for a function"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(run, tmp_path, args, message):
    (tmp_path / "folder.py").mkdir()
    files = {
        "fails": "def f(:\n",
        "imports": "import nowhere\n",
        "quits": "raise SystemExit(1)\n",
        "plain": "x = 1\n",
        "raises": "x = 1\nraise ValueError('not good')\n",
        "exits": "raise SystemExit(3)\n",
        "unused": "import tracer\n\n@tracer.trace\ndef f(x): return x\n",
    }
    for name, text in files.items():
        (tmp_path / f"{name}.py").write_text(text)
    assert message in failure(run("dump", *args))


@pytest.mark.parametrize(
    "name, value", [("TRACER_NUM_THREADS", "many"), ("TRACER_NUM_THREADS", "0"), ("TRACER_CACHE_DIR", "model.py")]
)
def test_wrong_environment_variables_are_one_line(run, name, value):
    for command in (("info",), ("dump", *PLAIN)):
        assert name in failure(run(*command, **{name: value}))


def test_tracing_that_is_turned_off_is_said(run, monkeypatch):
    monkeypatch.setattr("tracer.tracing.switches._DISABLED", True)
    assert "TRACER_DISABLE" in failure(run("dump", *PLAIN))


# Scripts.


def test_a_script_in_steady_state(run):
    """Optimizers have their state; recordings that were replaced on the way are not printed."""
    result = run("dump", "--run", "model.py", "--epochs", "3", "--stage", "fused")
    text = good(result)
    assert "running --epochs 3" in result.stderr
    steps = [part for part in parse_graphs(text) if part.name == "step"]
    assert len(steps) == 1 and "%model.0.weight.exp_avg:" in text
    assert "# step, trace 0, fused\n# images: float32[4, 6]\n# labels: int64[4]\n" in text
    assert sys.argv[0] != "model.py"


def test_programs_of_a_script_are_listed_and_chosen_by_name_and_trace(run):
    lines = good(run("dump", "--run", "model.py", "--list")).splitlines()
    assert [line.partition(":")[0] for line in lines] == ["step, trace 0", "score, trace 0"]
    assert re.search(r"\d+ operations, \d+ inputs, \d+ replays; x: float32\[2, 6\]", lines[1])
    (graph,) = parse_graphs(good(run("dump", "--run", "model.py", "--function", "score", "--trace", "0")))
    assert graph.name == "score"


def test_everything_after_two_dashes_is_for_the_script(run):
    assert "running --stage x" in run("dump", "--run", "model.py", "--list", "--", "--stage", "x").stderr


def test_gradients_of_a_script_leave_out_what_has_none(run):
    text = good(run("dump", "--run", "model.py", "--backward"))
    assert "# step computes its gradients itself" in text and "func @score.backward" in text


def test_an_interrupted_script_is_printed_as_far_as_it_came(run, tmp_path):
    (tmp_path / "long.py").write_text(MODEL.replace("    score(tracer.randn(7, 6))\n", "    raise KeyboardInterrupt\n"))
    assert len(parse_graphs(good(run("dump", "--run", "long.py")))) == 2


def test_a_script_is_found_where_python_finds_it(run, tmp_path):
    """Its folder and the current one are on the path; a module runs like ``python -m``."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "near.py").write_text("")
    text = "import near, model\nfor _ in range(3): model.score(model.tracer.ones(2, 6))\n"
    (tmp_path / "deep" / "main.py").write_text(text)
    assert "func @score" in good(run("dump", "--run", "deep/main.py"))
    assert "func @step" in good(run("dump", "--run", "model"))


# Passes.


def test_the_graph_after_passes(run):
    assert parse_graph(good(run("dump", *STEP, "--after", "start"))).name == "step"
    fused = good(run("dump", *STEP, "--after", "fuse"))
    assert "fusion @k0" in fused and "fusion @" not in good(run("dump", *STEP, "--after", "wide_sums"))
    assert parse_graph(fused).ops
    assert good(run("dump", *PLAIN, "--after", "fuse", "--backward")).startswith("func @plain.backward(")


def test_all_passes_are_printed_and_only_changes_in_full(run):
    text = good(run("dump", *STEP, "--print-after-all"))
    titles = re.findall(r"^# step, trace 0, (.*)$", text, re.M)
    assert titles[0] == "before the first pass" and "after canonicalize:2" in titles and titles[-1] == "after name_kernels"
    assert "# unchanged" in text
    assert 5 < len(parse_graphs(text)) < len(titles)


def test_the_difference_of_two_passes_keeps_names(run):
    text = good(run("dump", *STEP, "--diff", "dce", "canonicalize"))
    assert text.startswith("--- after dce\n+++ after canonicalize\n")
    removed = {line[1:].strip() for line in text.splitlines() if line.startswith("-")}
    added = {line[1:].strip() for line in text.splitlines() if line.startswith("+")}
    assert not removed & added and len(removed) > len(added)
    assert "no difference" in good(run("dump", *PLAIN, "--diff", "start", "start"))


# Formats.


def test_text_has_colours_only_where_they_are_wanted(run):
    assert "\x1b[" not in good(run("dump", *PLAIN))
    coloured = good(run("dump", *PLAIN, "--color", "always"))
    assert "\x1b[" in coloured and re.sub(r"\x1b\[[\d;]*m", "", coloured) == good(run("dump", *PLAIN))
    for stage in CPU_STAGES:
        plain = re.sub(r"\x1b\[[\d;]*m", "", good(run("dump", *PLAIN, "--stage", stage, "--color", "always")))
        assert plain == good(run("dump", *PLAIN, "--stage", stage))


@pytest.mark.parametrize("stage", CPU_STAGES)
def test_json_and_pages_of_every_stage(run, stage):
    (row,) = json.loads(good(run("dump", *PLAIN, "--stage", stage, "--format", "json")))
    assert row["title"] == f"plain, trace 0, {stage}" and row["arguments"] == ["x: float32[4, 8]", "w: float32[8, 3]"]
    assert row.keys() & {"operations", "steps", "kernels"}
    page = good(run("dump", *PLAIN, "--stage", stage, "--format", "html"))
    assert page.startswith("<!doctype html>") and f"<h2>plain, trace 0, {stage}</h2>" in page
    assert not re.search(r"(src|href)=\"https?:", page)


def test_json_is_the_graph(run):
    (row,) = json.loads(good(run("dump", *PLAIN, "--stage", "fused", "--format", "json")))
    assert row["inputs"] == [{"name": "x", "dtype": "f32", "shape": [4, 8]}, {"name": "w", "dtype": "f32", "shape": [8, 3]}]
    product, kernel = row["operations"]
    assert product["operation"] == "matmul" and product["operands"] == ["x", "w"]
    assert kernel["body"]["name"] == "tanh_sum_0" and [o["operation"] for o in kernel["body"]["operations"]] == ["tanh", "sum"]


def test_graphs_are_drawn(run, tmp_path):
    text = good(run("dump", *STEP, "--stage", "fused", "--format", "dot"))
    assert text.startswith("digraph {") and "%model.0.weight\\nf32[5,6]" in text and "updates %model.0.weight" in text
    edges = re.findall(r"^ +(\w+) -> (\w+)", text, re.M)
    nodes = set(re.findall(r"^ +(\w+) \[label", text, re.M))
    assert nodes >= {n for edge in edges for n in edge}
    pytest.importorskip("pygraphviz", reason="needs the extra 'graphs'")
    good(run("dump", *STEP, "--stage", "fused", "--format", "svg", "--output", "step.svg"))
    root = ET.parse(tmp_path / "step.svg").getroot()
    drawn = {title.text for title in root.iter("{http://www.w3.org/2000/svg}title")}
    assert root.tag.endswith("svg") and drawn >= nodes
    assert "<svg" in good(run("dump", *PLAIN, "--format", "html"))


def test_a_missing_layout_library_is_named(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    assert "pip install 'tracer[graphs]'" in failure(run("dump", *PLAIN, "--format", "svg"))
    assert "<svg" not in good(run("dump", *PLAIN, "--format", "html"))


def test_mentioned_options_exist(run):
    text = good(run("dump", "--help"))
    for option in ("--input", "--run", "--stage", "--backward", "--after", "--print-after-all", "--diff", "--format", "--list"):
        assert option in textwrap.dedent(text)
