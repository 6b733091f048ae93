"""The files of ``tests/text``: each graph runs on the interpreter, the CPU and an emulated GPU, as its comments say."""

import warnings
from pathlib import Path

import numpy as np
import pytest

from tracer.cli.program_text import TextError, arguments, programs_of, read_programs, wrong, wrong_text
from tracer.ir import pipeline
from tracer.ir.interp import evaluate
from tracer.ir.parse import parse_graph
from tracer.ir.verify import verify
from tracer.runtime.programs.layout import lay_out
from tracer.runtime.programs.program import Program

FILES = sorted(Path(__file__).with_name("text").glob("*.ir"))
CASES = [
    pytest.param(program.graph, run, id=f"{file.stem}-{program.graph.name}-{run.line}")
    for file in FILES
    for program in read_programs(str(file))
    for run in program.runs
]
RUNS = [case for case in CASES if case.values[1].passes is None]


def interpreted(graph, args):
    with warnings.catch_warnings(action="ignore"):
        return evaluate(graph, *args)


def passes_for(graph, passes):
    """The passes, unless the graph is fused already."""
    return () if any("body" in op.attrs for op in graph.ops) else passes


def compiled(graph, args):
    return Program(lay_out(pipeline.run(graph, passes_for(graph, pipeline.COMPILE))))(*args)


def emulated(graph, args):
    pytest.importorskip("numba_cuda", reason="needs the extra 'cuda'")
    from emulated import Emulated

    outputs = Emulated(graph, passes=passes_for(graph, pipeline.COMPILE_FOR_GRIDS))(*args)
    if outputs is None:  # kernels report that there is an error, the CPU's program says which
        compiled(graph, args)
    return outputs


@pytest.mark.parametrize("execute", [interpreted, compiled, emulated])
@pytest.mark.parametrize("graph, run", RUNS)
def test_runs(graph, run, execute):
    assert run.expected and wrong(run, graph, execute) is None


@pytest.mark.parametrize("graph, run", [case for case in CASES if case.values[1].passes is not None])
def test_texts(graph, run):
    assert run.expected and wrong_text(run, str(pipeline.run(graph, pipeline.named(run.passes)))) is None


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_file_has_runs_and_reads_back(file):
    for program in read_programs(str(file)):
        assert program.runs
        verify(program.graph)
        assert parse_graph(str(program.graph)) == program.graph


GRAPH = "func @f(%x: f32[2], %i: i64[]) -> f32[2] {\n  %y: f32[2] = neg %x\n  return %y\n}\n"


@pytest.mark.parametrize(
    "run, message",
    [
        ("# run: [1, 2]", "2 arguments are needed, 1 are given"),
        ("# run: [1, 2, 3], 1", "argument 1 is not of type f32[2]: its shape is [3]"),
        ("# run: [1, 2], 1.5", "argument 2 is not of type i64[]: numbers of another kind"),
        ("# run: [1, [2]], 1", "argument 1 is not of type f32[2]"),
        ("# run: [1, 2, 3", "is not a list of numbers"),
        ("# run: x, 1", "is not a list of numbers"),
        ("# run: " + "[" * 100_000, "is not a list of numbers"),
        ('# run: "a", 1', "argument 1 is not of type f32[2]"),
    ],
)
def test_malformed_runs_say_where(run, message):
    (program,) = programs_of(f"\n{run}\n{GRAPH}")
    with pytest.raises(TextError) as caught:
        arguments(program.runs[0], program.graph)
    assert message in str(caught.value) and str(caught.value).startswith("2: ") and "\n" not in str(caught.value)


def test_an_expectation_needs_a_run():
    with pytest.raises(TextError, match=r"1: '# expect:' has no '# run:' above it"):
        programs_of(f"# expect: 1\n{GRAPH}")


def test_what_is_not_expected_is_told():
    text = f"# run: [1, -2], 0\n# expect: [-1, 3]\n# run: [1, nan], 0\n# expect: [-1, nan]\n# run: [0, 0], 0\n{GRAPH}"
    (program,) = programs_of(text)
    first, second, third = program.runs
    assert wrong(first, program.graph, interpreted) == "line 1: output 1 is [-1.0, 2.0], not [-1.0, 3.0]"
    assert wrong(second, program.graph, interpreted) is None and wrong(third, program.graph, interpreted) is None
    (program,) = programs_of(f"# run: --passes dce\n# expect: neg %x\n# expect: neg %x\n# expect-not: return\n{GRAPH}")
    assert wrong_text(program.runs[0], GRAPH) == "line 3: 'neg %x' is not in the text after the line before"
    del program.runs[0].expected[1]
    assert wrong_text(program.runs[0], GRAPH) == "line 4: 'return' is in the text"
    np.testing.assert_array_equal(arguments(first, program.graph)[0], np.array([1, -2], np.float32))
