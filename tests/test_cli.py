"""The command line, as a user types it."""

import re
import textwrap

import pytest
from typer.testing import CliRunner

from tracer.cli.app import app


@pytest.fixture
def run(tmp_path, monkeypatch):
    (tmp_path / "model.py").write_text(
        textwrap.dedent("""
            import tracer

            @tracer.trace
            def layer(x, w):
                return tracer.tanh(x @ w).sum()

            def looks(x):
                return x if x.sum() > 0 else -x

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
        ("fused", r"= fusion @k0 "),
        ("source", r"def kernel\(args, start, stop\):"),
        ("llvm", r"define void @kernel\(ptr"),
        ("asm", r"\n\tret"),
    ],
)
def test_dump_at_every_stage(run, stage, expected):
    result = run("dump", "model.py:layer", *INPUTS, "--stage", stage)
    assert result.exit_code == 0, result.output
    assert re.search(expected, result.output)


def test_what_dump_prints_can_be_parsed_and_run(run):
    import numpy as np

    from tracer.ir.interp import evaluate
    from tracer.ir.parse import parse_graph

    outputs = []
    for stage in ("graph", "fused"):
        graph = parse_graph(run("dump", "model.py:layer", *INPUTS, "--stage", stage).output)
        outputs.append(evaluate(graph, np.ones((4, 8), np.float32), np.full((8, 3), 0.1, np.float32))[0])
    np.testing.assert_allclose(*outputs, rtol=1e-6)


def test_dump_of_the_backward_program(run):
    forward = run("dump", "model.py:layer", *INPUTS, "--stage", "fused").output
    backward = run("dump", "model.py:layer", *INPUTS, "--stage", "fused", "--backward").output
    assert forward.count("matmul") == 1 and backward.count("matmul") == 3


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
        (("model.py:layer", "--input", "four"), "neither a type such as"),
        (("model.py:looks", "--input", "f32[4]"), "bool() looks at a value"),
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
    for name in ("tracer", "python", "numpy", "llvmlite", "cpu", "threads", "layer", "cache", "cuda"):
        assert re.search(rf"^{name} ", output, re.M), name


def test_demo_trains_and_writes_its_page(run, tmp_path):
    pytest.importorskip("sklearn")
    result = run("demo", "--epochs", "2", "--out", str(tmp_path / "out"))
    assert result.exit_code == 0, result.output
    assert "traced" in result.output and "kernel" in result.output
    page = (tmp_path / "out" / "digits.html").read_text()
    assert "<svg" in page and "data:image/png;base64," in page and "fusion @k" in page
    assert (tmp_path / "out" / "digits.png").read_bytes().startswith(b"\x89PNG")
