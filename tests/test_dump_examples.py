"""The programs of all examples: each textual stage is dumped, read back, run, and agrees with the others."""

import ast
from pathlib import Path

import numpy as np
import pytest

from tracer.cli import capture, stages
from tracer.ir.interp import evaluate
from tracer.ir.parse import parse_graph
from tracer.runtime.programs.planned import planned
from tracer.runtime.programs.program import Program

FOLDER = Path(__file__).parent.parent / "examples"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "common")


def random_inputs(graph):
    """Inputs of a graph: indices are 0, everything else is small and positive."""
    rng = np.random.default_rng(0)
    found = []
    for v in graph.inputs:
        values = rng.uniform(0.1, 0.3, v.shape) if v.dtype.is_floating_point else np.zeros(v.shape)
        found.append(np.asarray(values).astype(v.dtype.numpy))
    return found


def close(found, expected):
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        if a.dtype.kind != "f":
            np.testing.assert_array_equal(a, b)
            continue
        finite = np.abs(b[np.isfinite(b)])
        scale = finite.max(initial=1e-6)
        tolerance = 2e-3 if a.dtype == np.float32 else 1e-9
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * scale)


def check(program, backward):
    options = stages.Options(backward)
    compiled = stages.compiled(program, options)
    given = random_inputs(compiled)
    expected = evaluate(compiled, *(a.copy() for a in given))
    for stage in ("graph", "optimized", "fused"):
        text = stages.section(program, stage, options).text
        graph = parse_graph(text)
        assert str(graph) == text
        if stage != "graph":
            close(evaluate(graph, *(a.copy() for a in given)), expected)
    own = [np.array(a, order="C") for a in given]
    results = iter(Program(planned(compiled)).run([a.ctypes.data for a in own]))
    updates = compiled.updates
    close([own[updates[k]] if k in updates else next(results) for k in range(len(expected))], expected)
    ast.parse(stages.section(program, "source", options).text)
    assert stages.section(program, "plan", options).data["steps"]


SLOW = {"denoising", "lstm_text", "neural_ode"}  # half a minute each


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in NAMES])
def test_every_textual_stage_parses_back_runs_and_agrees(name, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(FOLDER.parent)
    monkeypatch.syspath_prepend(FOLDER)
    programs = capture.from_script(f"examples/{name}.py", ["--steps", "4", "--out", str(tmp_path)])
    assert programs
    for program in programs:
        check(program, backward=False)
        unnamed = [v for v in program.code.recorded.inputs if not v.name and v.shape]
        assert not unnamed or program.part, unnamed  # numbers that Python computes have no name
        assert "examples/" in stages.section(program, "graph", stages.Options()).text
        try:
            adjoint = stages.section(program, "adjoint", stages.Options()).text
        except stages.Absent as e:
            assert "gradients" in str(e)
            continue
        assert str(parse_graph(adjoint)) == adjoint
        check(program, backward=True)
