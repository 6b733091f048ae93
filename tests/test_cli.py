"""The command line, as users type it."""

import re
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from typer.testing import CliRunner

from tracer.cli.app import app
from tracer.ir.interp import evaluate
from tracer.ir.parse import parse_graph


@pytest.fixture
def run(tmp_path, monkeypatch):
    (tmp_path / "model.py").write_text(
        textwrap.dedent("""
            import tracer

            @tracer.trace
            def layer(x, w):
                return tracer.tanh(x @ w).sum()

            def looks(x):
                return x * 2 if x.sum() > 0 else -x

            def prints(x):
                print("printed")
                return x * 2

            weight = tracer.ones(8, requires_grad=True)
            optimizer = tracer.optim.Adam([weight])

            def step(x):
                optimizer.zero_grad()
                loss = (x @ weight).square().mean()
                loss.backward()
                optimizer.step()
                return loss

            number = 3
        """)
    )
    monkeypatch.chdir(tmp_path)

    def invoke(*args):
        return CliRunner().invoke(app, list(args))

    return invoke


INPUTS = ("--input", "f32[4,8]", "--input", "f32[8,3]")


@pytest.mark.parametrize(
    "stage, expected",
    [
        ("graph", r"func @layer\(.*\n.*matmul.*# .*model\.py:6"),
        ("adjoint", r"func @layer\.vjp\("),
        ("fused", r"= fusion @tanh_sum_0 "),
        ("source", r"# tanh_sum_0 computes tanh_sum_0: tanh, sum .*\n@numba.njit\(.*\ndef tanh_sum_0\(args, start, stop\):"),
        ("llvm", r"define void @tanh_sum_0\(ptr"),
        ("asm", r"\n\tret"),
    ],
)
def test_dump_at_every_stage(run, stage, expected):
    result = run("dump", "model.py:layer", *INPUTS, "--stage", stage)
    assert result.exit_code == 0, result.output
    assert re.search(expected, result.output)


def test_what_dump_prints_can_be_parsed_and_run(run):
    outputs = []
    for stage in ("graph", "fused"):
        graph = parse_graph(run("dump", "model.py:layer", *INPUTS, "--stage", stage).output)
        outputs.append(evaluate(graph, np.ones((4, 8), np.float32), np.full((8, 3), 0.1, np.float32))[0])
    np.testing.assert_allclose(*outputs, rtol=1e-6)


@pytest.mark.parametrize(
    "cpu, llvm, asm",
    [
        ("x86-64-v2", "x86_64-", r"%xmm0"),
        ("x86-64-v4", "x86_64-", r"%zmm\d"),  # whether or not this machine has such registers
        ("aarch64", "aarch64-unknown-linux-gnu", r"v0\.4s"),
    ],
)
def test_dump_for_a_cpu(run, cpu, llvm, asm):
    inputs = ("--input", "f32[64,256]", "--input", "f32[256,128]", "--cpu", cpu)
    assert f'target triple = "{llvm}' in run("dump", "model.py:layer", *inputs, "--stage", "llvm").output
    assert re.search(asm, run("dump", "model.py:layer", *inputs, "--stage", "asm").output)


def test_a_cpu_that_is_not_known_is_one_clear_line_and_exit_code_2(run, monkeypatch):
    from tracer.runtime.compiler import machine

    results = [run("dump", "model.py:layer", *INPUTS, "--cpu", "z80")]
    monkeypatch.setenv("TRACER_CPU", "z80")
    monkeypatch.setattr(machine, "_selected", [])
    results += [run("info"), run("dump", "model.py:layer", *INPUTS)]
    for result in results:
        assert result.exit_code == 2 and not result.stdout
        assert "there is no CPU 'z80'; known are host, x86-64" in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1


FRESH = """
import numpy as np
import printed
from tracer.runtime.dialect import call

x, w, out = np.load("x.npy"), np.load("w.npy"), np.zeros((), np.float32)
product = np.zeros((4, 3), np.float32)
call(printed.matmul_0, [x, w, product], INTEGERS_matmul_0, 0, DOMAIN_matmul_0)
call(printed.tanh_sum_0, [product, out], INTEGERS_tanh_sum_0, 0, DOMAIN_tanh_sum_0)
np.save("out.npy", out)
"""


def test_printed_kernels_can_be_pasted_and_called(run, tmp_path):
    """The text is a module: a separate process imports it, and calls the kernels as the comments say."""
    printed = run("dump", "model.py:layer", *INPUTS, "--stage", "source").output
    (tmp_path / "printed.py").write_text(printed)
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in ((4, 8), (8, 3))]
    for name, a in zip("xw", arrays, strict=True):
        np.save(tmp_path / f"{name}.npy", a)
    text = FRESH
    for name, integers, domain in re.findall(r"# (\w+) computes .*; integers (\[.*\]), domain (\d+)", printed):
        text = text.replace(f"INTEGERS_{name}", integers).replace(f"DOMAIN_{name}", domain)
    subprocess.run([sys.executable, "-c", text], check=True, cwd=tmp_path)
    graph = parse_graph(run("dump", "model.py:layer", *INPUTS).output)
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), evaluate(graph, *arrays)[0], rtol=1e-5)


def test_a_version_of_numba_that_is_not_supported_is_one_clear_line(run, monkeypatch):
    from tracer.runtime.compiler import compile as compiler
    from tracer.runtime.compiler import numba_version

    monkeypatch.setattr(numba_version, "version", lambda package: "0.70.1")
    monkeypatch.setattr(compiler, "_compiler", compiler._compiler.__wrapped__)
    result = run("dump", "model.py:layer", *INPUTS, "--stage", "asm")
    assert result.exit_code == 2 and not result.stdout
    assert result.stderr.startswith("tracer: Numba 0.70.1 is not supported, 0.65 to 0.68 are")


def test_steps_that_numpy_computes_are_named(run, tmp_path):
    (tmp_path / "inverse.py").write_text("import tracer\n\ndef inverse(x):\n    return tracer.linalg.inv(x)\n")
    for stage in ("source", "llvm"):
        result = run("dump", "inverse.py:inverse", "--input", "f32[3,3]", "--stage", stage)
        assert result.exit_code == 0 and ", computed by NumPy" in result.output


def test_dump_of_a_training_step_has_its_backward_pass_and_its_updates(run):
    text = run("dump", "model.py:step", "--input", "f32[4,8]").stdout
    graph = parse_graph(text)
    assert text.count(" sqrt ") == 2 and 1 in graph.updates.values()  # one root is from the bias correction


def test_dump_of_a_function_that_looks_at_values_has_each_of_its_parts(run):
    text = run("dump", "model.py:looks", "--input", "f32[4]").stdout
    look, rest = map(parse_graph, text.strip().split("\n\n"))
    assert str(look.outputs[0].type) == "bool[]" and str(rest.outputs[0].type) == "f32[4]"


def test_what_a_function_prints_is_no_part_of_its_dump(run):
    result = run("dump", "model.py:prints", "--input", "f32[4]")
    parse_graph(result.stdout)
    assert "printed" in result.stderr


def test_dump_of_the_backward_program(run):
    forward = run("dump", "model.py:layer", *INPUTS, "--stage", "fused").output
    backward = run("dump", "model.py:layer", *INPUTS, "--stage", "fused", "--backward").output
    assert forward.count("= matmul") == 1 and backward.count("= matmul") == 2


@pytest.mark.parametrize(
    "args, message",
    [
        (("nowhere.py:f",), "there is no file 'nowhere.py'"),
        (("nowhere:f",), "there is no module 'nowhere'"),
        (("model.py",), "is not of the form FILE_OR_MODULE:FUNCTION"),
        (("model.py:missing",), "has no function 'missing'"),
        (("model.py:number",), "is not a function"),
        (("model.py:layer",), "missing 2 required positional arguments"),
        (("model.py:layer", "--input", "f32[4,8]", "--input", "f32[7,3]"), "cannot be multiplied (4x8 and 7x3)"),
        (("model.py:layer", "--input", "q32[4,8]"), "there is no dtype 'q32'"),
        (("model.py:layer", "--input", "four"), "is none of: a type such as"),
    ],
)
def test_mistakes_are_one_clear_line_and_exit_code_2(run, args, message):
    result = run("dump", *args)
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1 and not result.stdout


def test_an_unknown_stage_is_exit_code_2(run):
    result = run("dump", "model.py:layer", *INPUTS, "--stage", "bogus")
    assert result.exit_code == 2 and "bogus" in result.stderr


def test_info(run):
    output = run("info").output
    for name in ("tracer", "python", "numpy", "scipy", "numba", "llvmlite", "cpu", "threads", "layer", "cache", "cuda"):
        assert re.search(rf"^{name} ", output, re.M), name


def test_info_does_not_import_numba():
    code = "import sys; from tracer.cli.info import lines; lines(); assert 'numba' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_demo_trains_and_writes_its_page(run, tmp_path):
    pytest.importorskip("sklearn")
    result = run("demo", "--epochs", "2", "--out", str(tmp_path / "out"))
    assert result.exit_code == 0, result.output
    assert "traced" in result.output and "kernel" in result.output
    page = (tmp_path / "out" / "digits.html").read_text()
    assert "<svg" in page and "data:image/png;base64," in page and "fusion @linear_backward" in page
    assert "fusion @cross_entropy" in page and "demo.py:" in page and "none_type" not in page  # its code is the user's
    assert (tmp_path / "out" / "digits.png").read_bytes().startswith(b"\x89PNG")


# Kernels for GPUs.


@pytest.mark.parametrize(
    "stage, expected", [("source", "load4("), ("nvvm", "addrspace(1)"), ("ptx", ".target sm_80"), ("sass", "EXIT")]
)
@pytest.mark.parametrize("backward", [[], ["--backward"]])
def test_dump_for_gpus(run, stage, expected, backward):
    if stage != "source":
        pytest.importorskip("numba_cuda", reason="needs the extra 'cuda'")
    inputs = ["--input", "f32[64,100]", "--input", "f32[100,32]"]
    result = run("dump", "model.py:layer", *inputs, "--stage", stage, "--device", "cuda", *backward)
    assert result.exit_code == 0 and expected in result.output
    assert "matmul, left to a library" in result.output and re.search(r"\d blocks? of \d+ threads", result.output)


def test_dump_for_gpus_without_their_compiler_names_the_extra(run, monkeypatch):
    """Without the compiler, Numba's own package numba.cuda lacks the modules imported here."""
    monkeypatch.setitem(sys.modules, "tracer.runtime.compiler.numba_cuda", None)
    monkeypatch.setattr("tracer.cli.stages.version_of", lambda package: "not installed")
    inputs = ["--input", "f32[4,8]", "--input", "f32[8,2]"]
    result = run("dump", "model.py:layer", *inputs, "--stage", "ptx", "--device", "cuda")
    assert result.exit_code == 2
    assert "the stage 'ptx' needs numba-cuda: pip install 'tracer[cuda]'" in result.output


@pytest.mark.parametrize(
    "options",
    [
        ["--stage", "ptx", "--device", "cpu"],
        ["--stage", "asm", "--device", "cuda"],
        ["--stage", "sass", "--device", "cuda", "--arch", "sm_1"],
    ],
)
def test_dump_for_gpus_says_what_is_wrong(run, options):
    result = run("dump", "model.py:layer", "--input", "f32[4,8]", "--input", "f32[8,2]", *options)
    assert result.exit_code == 2 and len(result.output.strip().splitlines()) == 1


def test_the_package_is_run_as_the_command():
    found = subprocess.run([sys.executable, "-m", "tracer", "info"], capture_output=True, text=True, check=True)
    assert "numba" in found.stdout.lower()
