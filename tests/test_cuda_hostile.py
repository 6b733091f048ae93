"""GPU kernels: programs that were once compiled wrongly or badly, and random programs of every dtype on longer rows."""

import math
import re

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="needs the extra 'cuda'")

import emulated
from emulated import Emulated, assert_alike, compiled
from test_cuda import check, kernels, same_functions  # noqa: F401
from wide_programs import WideGraph, wide_arguments

from tracer.ir import pipeline
from tracer.ir.interp import evaluate
from tracer.ir.parse import parse_graph
from tracer.runtime import emulator as ptx
from tracer.runtime.programs.layout import Layout, lay_out
from tracer.runtime.programs.program import Program


def whole_numbers(graph):
    """Values whose sums are exact in any order."""
    rng = np.random.default_rng(0)
    return [rng.integers(1, 9, v.shape).astype(v.type.dtype.numpy) for v in graph.inputs]


def check_exactly(text):
    """The emulated program's results are bitwise equal to the interpreter's."""
    graph = parse_graph(text)
    arrays = whole_numbers(graph)
    for found, expected in zip(Emulated(graph)(*arrays), evaluate(graph, *arrays), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("block", range(4))
def test_wide_programs(block):
    for seed in range(4 * block, 4 * block + 4):
        graph = WideGraph(seed, 3 + seed % 22).finish()
        check(graph, wide_arguments(graph, seed))


@pytest.mark.slow
@pytest.mark.parametrize("block", range(50))
def test_many_wide_programs(block):
    for seed in range(1000 + 4 * block, 1004 + 4 * block):
        graph = WideGraph(seed, 3 + seed % 22).finish()
        check(graph, wide_arguments(graph, seed), units=32)  # sums of thousands, and of f32 in f64, differ more


# Sums.


@pytest.mark.parametrize("n", [20, 700, 9000])
def test_sums_of_two_axes_with_a_branch_between(n):
    """The threads' partial sums are combined once, after the outer loop."""
    check_exactly(f"""\
func @f(%x: f32[40,2,{n}], %v: f32[38]) -> f32[2] {{
  %p: f32[40] = pad %v {{low=(1), high=(1), interior=(0), value=0.5}}
  %b: f32[40,2,{n}] = broadcast %p {{shape=(40,2,{n}), axes=(0)}}
  %y: f32[40,2,{n}] = mul %x, %b
  %s: f32[2] = sum %y {{axes=(0,2)}}
  return %s
}}
""")


TWO_SUMS = """\
func @f(%x: i64[13], %y: i64[13]) -> (i64[], i64[]) {
  %c: i64[13,24] = broadcast %x {shape=(13,24), axes=(0)}
  %d: i64[13,24] = broadcast %y {shape=(13,24), axes=(0)}
  %q: i64[13,24] = floor_divide %c, %d
  %r: i64[13,24] = add %q, %c
  %a: i64[] = max %q {axes=(0,1)}
  %b: i64[] = max %r {axes=(0,1)}
  return %a, %b
}
"""


def test_two_reductions_in_nested_loops_that_are_joined():
    """The second one's initialisation precedes the merged loop, on a CPU too."""
    graph = parse_graph(TWO_SUMS)
    arrays = whole_numbers(graph)
    found = Program(lay_out(pipeline.run(graph, pipeline.COMPILE)))(*arrays)
    assert [int(v) for v in found] == [int(v) for v in evaluate(graph, *arrays)]
    check_exactly(TWO_SUMS)


LOOPS = {
    "elements": """\
func @f(%x: f32[9999], %y: f32[9999]) -> f32[9999] {
  %z: f32[9999] = mul %x, %y
  return %z -> %x
}
""",
    "bytes": """\
func @f(%x: u8[50000], %y: u8[50000]) -> u8[50000] {
  %z: u8[50000] = add %x, %y
  return %z
}
""",
    "rows of threads": """\
func @f(%x: i64[3000,10]) -> i64[3000] {
  %s: i64[3000] = sum %x {axes=(1)}
  return %s
}
""",
    "rows of warps": """\
func @f(%x: i64[90,40]) -> i64[90] {
  %s: i64[90] = sum %x {axes=(1)}
  return %s
}
""",
    "columns": """\
func @f(%x: i32[11,5000]) -> i32[5000] {
  %s: i32[5000] = sum %x {axes=(0)}
  return %s
}
""",
    "scatter": """\
func @f(%x: f32[700,5], %i: i64[700]) -> f32[300,5] {
  %y: f32[300,5] = index_add %x, %i {axis=0, extent=300}
  return %y
}
""",
}


@pytest.mark.parametrize("name", LOOPS)
def test_one_block_goes_through_all_iterations(name, monkeypatch):
    """Loops that the compiler has unrolled are executed correctly."""
    monkeypatch.setattr(emulated, "BLOCKS", 1)
    check_exactly(LOOPS[name])


# Errors reported by many threads.


@pytest.mark.parametrize("name", ["index_select", "index_add"])
def test_different_errors_of_many_threads(name):
    shape, attrs = ("700", "axis=0") if name == "index_select" else ("50", "axis=0, extent=50")
    text = f"""\
func @f(%x: f32[700], %i: i64[700]) -> f32[{shape}] {{
  %y: f32[{shape}] = {name} %x, %i {{{attrs}}}
  return %y
}}
"""
    program = Emulated(parse_graph(text))
    assert program(np.ones(700, np.float32), np.arange(700) - 350) is None
    site, position = program.status[0].tolist()
    assert site == 1 and not 0 <= position < (700 if name == "index_select" else 50)


# Division of the work.


def longest(text):
    """The maximum number of sequential iterations of a thread, over a program's kernels."""
    layout = Layout(pipeline.run(parse_graph(text), pipeline.COMPILE_FOR_GRIDS), "cuda")
    return max(
        _iterations(layout.plan.kinds[step.kind].source, layout.plan.kinds[step.kind].launch, step.kernel)
        for step in layout.steps
    )


def _iterations(source, launch, kernel):
    known = {**dict(zip(kernel.params, kernel.values, strict=True)), "start": 0, "stop": kernel.domain}
    blocks, threads = launch
    total, depth, unit = 0, [(0, 1)], "block"
    for m in re.finditer(r"^( +)for \w+ in ([a-z]+)(\d*)\((\w+), (\w+)\):", source, re.MULTILINE):
        while depth[-1][0] >= len(m[1]):
            depth.pop()
        start, stop = (known[t] if t in known else int(t) for t in (m[4], m[5]))
        unit = "warp" if m[2] == "warps" else "block" if m[2] == "blocks" else unit
        shares = {
            "grid": blocks * threads,
            "blocks": blocks,
            "warps": blocks * threads // 32,
            "threads": 32 if unit == "warp" else threads,
        }
        count = depth[-1][1] * math.ceil((stop - start) / shares.get(m[2], 1) / int(m[3] or 1))
        depth.append((len(m[1]), count))
        total = max(total, count)
    return total


DIVIDED = {
    "a row by its number": """\
func @f(%x: f32[10,4000000], %i: i64[]) -> f32[4000000] {
  %y: f32[4000000] = index_select %x, %i {axis=0}
  return %y
}
""",
    "two rows by their numbers": """\
func @f(%x: f32[10,4000000], %i: i64[2]) -> f32[2,4000000] {
  %y: f32[2,4000000] = index_select %x, %i {axis=0}
  return %y
}
""",
    "columns of a padded matrix": """\
func @f(%x: f32[1022,1024]) -> f32[1024] {
  %p: f32[1024,1024] = pad %x {low=(1,0), high=(1,0), interior=(0,0), value=0.0}
  %s: f32[1024] = sum %p {axes=(0)}
  return %s
}
""",
    "columns of selected rows": """\
func @f(%x: f32[3000,1024], %i: i64[1024]) -> f32[1024] {
  %p: f32[1024,1024] = index_select %x, %i {axis=0}
  %s: f32[1024] = sum %p {axes=(0)}
  return %s
}
""",
    "a sum of all, and what is divided by it": """\
func @f(%x: f32[4000000]) -> f32[4000000] {
  %s: f32[] = sum %x {axes=(0)}
  %b: f32[4000000] = broadcast %s {shape=(4000000), axes=()}
  %y: f32[4000000] = div %x, %b
  return %y
}
""",
    "sums of channels": """\
func @f(%x: f32[256,3,112,112]) -> f32[3] {
  %s: f32[3] = sum %x {axes=(0,2,3)}
  return %s
}
""",
    "sums of two leading axes": """\
func @f(%x: f32[512,512,16]) -> f32[16] {
  %s: f32[16] = sum %x {axes=(0,1)}
  return %s
}
""",
}


CHANNELS = """\
func @f(%x: f32[{n},3,{m},{m}], %g: f32[3]) -> (f32[3], f32[3]) {{
  %b: f32[{n},3,{m},{m}] = broadcast %g {{shape=({n},3,{m},{m}), axes=(1)}}
  %y: f32[{n},3,{m},{m}] = mul %x, %b
  %s: f32[3] = sum %y {{axes=(0,2,3)}}
  %t: f32[3] = max %y {{axes=(0,2,3)}}
  %u: f32[3] = add %s, %g
  return %u, %t
}}
"""
LEADING = """\
func @f(%x: f32[40,50,6], %g: f32[6]) -> f32[6] {
  %b: f32[40,50,6] = broadcast %g {shape=(40,50,6), axes=(2)}
  %y: f32[40,50,6] = mul %x, %b
  %s: f32[6] = sum %y {axes=(0,1)}
  return %s
}
"""


@pytest.mark.parametrize("text", [CHANNELS.format(n=20, m=100), LEADING], ids=["channels", "leading axes"])
def test_reductions_of_several_axes_in_two_stages(text):
    assert len(kernels(text)) >= 2
    check_exactly(text)


@pytest.mark.parametrize("name", DIVIDED)
def test_large_work_is_divided(name):
    """No thread of a kernel runs more than a thousand iterations if the work can be divided."""
    assert longest(DIVIDED[name]) <= 1024


# The emulation.


def test_results_that_are_never_written_are_found():
    text = 'func @f(%x: f32[40]) -> f32[40] {\n  %z: f32[40] = full {value=0.0, shape=(40), dtype="f32"}\n  return %z\n}\n'
    graph = parse_graph(text)
    (kind,) = kernels(text)
    whole = compiled(kind.source, kind.launch[1])
    for mutant in _without_all(whole, "st.global"):
        with pytest.raises((AssertionError, ptx.Fault)):
            Emulated(graph, lambda _, mutant=mutant: mutant)(np.ones(40, np.float32))


def _without_all(text, pattern):
    """The text without any of the instructions."""
    while (shorter := next(ptx.without(text, pattern), None)) is not None:
        text = shorter
    yield text


def test_updates_that_come_too_early_are_found(monkeypatch):
    """Detects a plan that overwrites an input which a later kernel reads."""
    text = """\
func @f(%p: f32[300], %x: f32[5,300]) -> (f32[300], f32[5]) {
  %n: f32[300] = add %p, %p
  %b: f32[5,300] = broadcast %p {shape=(5,300), axes=(1)}
  %y: f32[5,300] = mul %x, %b
  %s: f32[5] = sum %y {axes=(1)}
  return %n -> %p, %s
}
"""
    graph = parse_graph(text)
    monkeypatch.setattr(Layout, "_last_reads", lambda self: {})
    program = Emulated(graph)
    monkeypatch.undo()
    arrays = whole_numbers(graph)
    with pytest.raises(AssertionError):
        assert_alike(program(*arrays), evaluate(graph, *arrays))
