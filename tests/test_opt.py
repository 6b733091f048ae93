"""``tracer opt``, ``tracer bisect`` and ``tracer reduce``, as users type them."""

import textwrap

import pytest
from typer.testing import CliRunner

from tracer.cli.app import app
from tracer.ir import pipeline
from tracer.ir.parse import parse_graph, parse_graphs
from tracer.ir.reduce import size

TEXT = """\
# run: [1, 2], [3, 5]
# expect: [-0.9640275, -0.9950548]
# run: --passes canonicalize,dce
# expect: %d: f32[2] = tanh %a
func @f(%x: f32[2], %y: f32[2]) -> f32[2] {
  %a: f32[2] = sub %x, %y
  %b: f32[2] = neg %a
  %c: f32[2] = neg %b
  %d: f32[2] = tanh %c
  return %d
}
"""
SWAP = """\
from tracer.ir.graph import Rewriter
from tracer.ir.ops import sub


def swap(graph):
    rewriter = Rewriter(graph)
    for op in graph.ops:
        if op.primitive is sub:
            a, b = (rewriter.map[v] for v in op.operands)
            (rewriter.map[op.result],) = rewriter.builder.append(sub, (b, a), {}, op.loc)
        else:
            rewriter.copy(op)
    return rewriter.finish()


def fails(graph):
    raise ValueError("two\\nlines")
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    (tmp_path / "f.ir").write_text(TEXT)
    (tmp_path / "swap.py").write_text(SWAP)
    monkeypatch.chdir(tmp_path)

    def invoke(*args, input=None):
        return CliRunner().invoke(app, list(args), input=input)

    return invoke


def test_a_graph_is_printed_as_it_is_or_after_passes(run):
    graph = parse_graph(TEXT)
    result = run("opt", "f.ir")
    assert result.exit_code == 0 and parse_graph(result.stdout) == graph
    result = run("opt", "f.ir", "--passes", "canonicalize, dce", "--verify")
    assert parse_graph(result.stdout) == pipeline.run(graph, pipeline.named("canonicalize,dce"))
    assert parse_graph(run("opt", "f.ir", "--passes", "compile").stdout) == pipeline.run(graph, pipeline.COMPILE)
    assert parse_graph(run("opt", "-", input=TEXT).stdout) == graph


@pytest.mark.parametrize("passes", [(), ("--passes", "dce"), ("--passes", "simplify"), ("--passes", "compile")])
def test_a_file_is_run_and_compared(run, passes):
    result = run("opt", "f.ir", "--run", *passes)
    assert result.exit_code == 0, result.output
    assert "and the compiled program agree for 3 sets of arguments; 2 runs as expected" in result.stdout
    parse_graph(result.stdout)  # the report is a comment


@pytest.mark.parametrize(
    "stage, expected",
    [("graph", "func @f("), ("fused", "= fusion @"), ("source", "def "), ("llvm", "define "), ("asm", "ret")],
)
@pytest.mark.parametrize("passes", [(), ("--passes", "compile")])
def test_stages(run, stage, expected, passes):
    result = run("opt", "f.ir", "--emit", stage, *passes)
    assert result.exit_code == 0 and expected in result.stdout, result.output


def test_what_is_printed_at_every_stage_is_read_back_and_run(run, tmp_path):
    for stage in ("graph", "adjoint", "fused"):
        (tmp_path / "again.ir").write_text(run("opt", "f.ir", "--emit", stage).stdout)
        result = run("opt", "again.ir", "--run", "--verify")
        assert result.exit_code == 0 and "agree" in result.stdout, result.output


def test_files_have_several_graphs(run, tmp_path):
    (tmp_path / "two.ir").write_text(TEXT + TEXT.replace("@f", "@g"))
    result = run("opt", "two.ir", "--passes", "dce,canonicalize", "--run")
    assert [g.name for g in parse_graphs(result.stdout)] == ["f", "g"] and result.stdout.count("2 runs as expected") == 2


def test_a_miscompile_is_found(run):
    result = run("opt", "f.ir", "--passes", "dce,swap.py:swap", "--run")
    assert result.exit_code == 1
    assert "pass swap changes the result of @f: output 0 at [0] is 0.96" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_bisect_names_the_pass(run):
    result = run("bisect", "f.ir")
    assert result.exit_code == 0 and "agree for 3 sets of arguments" in result.stdout
    result = run("bisect", "f.ir", "--passes", "dce,swap.py:swap,fuse")
    assert result.exit_code == 1
    assert "pass swap changes the result" in result.stdout and "pass swap is number 2 of 3" in result.stdout
    assert "-  %a: f32[2] = sub %x, %y" in result.stdout and "sub %y, %x" in result.stdout
    result = run("bisect", "f.ir", "--passes", "swap.py:fails")
    assert result.exit_code == 1 and "pass fails fails: ValueError: two\n" in result.stdout


def test_a_miscompile_planted_in_the_pipeline_is_named_and_reduced(run, monkeypatch, tmp_path):
    """The operands of one subtraction are swapped by a pass of the compiler."""
    names: dict = {}
    exec(SWAP, names)
    position = pipeline.COMPILE.index(pipeline.fuse)
    monkeypatch.setattr(pipeline, "COMPILE", (*pipeline.COMPILE[:position], names["swap"], *pipeline.COMPILE[position:]))
    result = run("bisect", "f.ir")
    assert result.exit_code == 1 and f"pass swap is number {position + 1} of" in result.stdout
    result = run("reduce", "f.ir", "--out", "small.ir")
    assert result.exit_code == 0 and "small.ir: 1 operation; pass swap" in result.stdout
    small = parse_graph((tmp_path / "small.ir").read_text())
    assert size(small) <= 5
    assert run("opt", "small.ir", "--run").exit_code == 1


def test_reduce_prints_the_graph(run):
    result = run("reduce", "f.ir", "--passes", "swap.py:swap")
    assert result.exit_code == 0
    assert result.stdout == textwrap.dedent("""\
        # pass swap; reduced from 4 operations to 1
        func @f(%x: f32[1], %y: f32[1]) -> f32[1] {
          %a: f32[1] = sub %x, %y
          return %a
        }
        """)
    result = run("reduce", "f.ir")
    assert result.exit_code == 1 and "there is nothing to reduce" in result.stderr


def test_what_is_not_expected_is_exit_code_1(run, tmp_path):
    for old, new, said in (
        ("-0.9640275", "0.5", "line 1: output 1 is [-0.96402"),
        ("tanh %a", "tanh %b", "line 4: '%d: f32[2] = tanh %b' is not in the text"),
        ("[-0.9640275, -0.9950548]", "error IndexError", "line 1: there is no error"),
    ):
        (tmp_path / "wrong.ir").write_text(TEXT.replace(old, new))
        result = run("opt", "wrong.ir", "--run")
        assert result.exit_code == 1 and said in result.stderr and len(result.stderr.strip().splitlines()) == 1, result.output


@pytest.mark.parametrize("command", ["opt", "bisect", "reduce"])
@pytest.mark.parametrize(
    "name, content, message",
    [
        ("none.ir", None, "there is no file 'none.ir'"),
        (".", None, "'.' cannot be read"),
        ("a.ir", "", "a.ir:1:1: expected 'func', found 'the end'"),
        ("a.ir", "func @f(%x: f32[2,]) -> f32[2] {\n  return %x\n}", "a.ir:1:19: expected an extent, found ']'"),
        ("a.ir", "func @f(%x: f32[2]) -> f32[2] {\n  %y: f32[2] = tahn %x\n}", "a.ir:2:16: unknown operation 'tahn'"),
        ("a.ir", b"\xff\xfe\x00", "'a.ir' cannot be read"),
        ("a.ir", "# expect: 1\n" + TEXT, "a.ir:1: '# expect:' has no '# run:' above it"),
        ("a.ir", "# run: 1\nfunc @f() -> f32[] {\n  return\n}", "a.ir:2:14: the graph returns ()"),
    ],
)
def test_bad_files_are_one_line_and_exit_code_2(run, tmp_path, command, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    result = run(command, name)
    assert result.exit_code == 2 and message in result.stderr, result.output
    assert len(result.stderr.strip().splitlines()) == 1 and not result.stdout


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("opt", "f.ir", "--passes", "dead"), "there is no pass 'dead'; known are"),
        (("bisect", "f.ir", "--passes", "nofile.py:f"), "there is no file 'nofile.py'"),
        (("reduce", "f.ir", "--passes", "swap.py:nothing"), "has no function 'nothing'"),
        (("reduce", "f.ir", "--passes", "swap.py:swap", "--out", "no/folder"), "'no/folder' cannot be written"),
        (("opt", "f.ir", "--emit", "bogus"), "bogus"),
        (("opt",), "Missing argument"),
    ],
)
def test_bad_arguments_are_exit_code_2(run, arguments, message):
    result = run(*arguments)
    assert result.exit_code == 2 and message in result.output


def test_arguments_of_the_wrong_form_are_one_line(run, tmp_path):
    (tmp_path / "a.ir").write_text(TEXT.replace("[1, 2]", "[1]"))
    for command in (("opt", "a.ir", "--run"), ("bisect", "a.ir"), ("reduce", "a.ir")):
        result = run(*command)
        assert result.exit_code == 2 and "a.ir:1: argument 1 is not of type f32[2]" in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1


def test_a_failure_for_the_arguments_of_the_file_alone_is_not_reduced(run, tmp_path):
    text = "# run: 100\nfunc @f(%x: f32[]) -> f32[] {\n  %y: f32[] = tanh %x\n  return %y\n}\n"
    (tmp_path / "a.ir").write_text(text)
    (tmp_path / "rare.py").write_text(
        textwrap.dedent("""
            from tracer.ir.graph import Rewriter
            from tracer.ir.ops import full, minimum

            def rare(graph):
                rewriter = Rewriter(graph)
                for op in graph.ops:
                    (y,) = rewriter.copy(op)
                    (bound,) = rewriter.builder.append(full, (), {"value": 0.9999, "shape": (), "dtype": "f32"})
                    (rewriter.map[op.result],) = rewriter.builder.append(minimum, (y, bound), {})
                return rewriter.finish()
        """)
    )
    assert run("bisect", "a.ir", "--passes", "rare.py:rare").exit_code == 1
    result = run("reduce", "a.ir", "--passes", "rare.py:rare")
    assert result.exit_code == 1 and "only for the arguments of the file" in result.stderr
