"""GPU kernels without a GPU: their PTX on an emulator, compared with the CPU's kernels; machine code and its resources."""

import contextlib
import re
import warnings

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="needs the extra 'cuda'")

from checks import cast_args, graph_of
from emulated import Emulated, assert_alike, compiled
from programs import RandomGraph, arguments
from samples import cases
from traced_workloads import graphs

from benchmarks.workloads import WORKLOADS
from tracer.ir import pipeline
from tracer.ir.autodiff import vjp
from tracer.ir.parse import parse_graph
from tracer.runtime import emulator as ptx
from tracer.runtime.compiler import cubin, machine
from tracer.runtime.programs.layout import Layout, lay_out
from tracer.runtime.programs.program import Program

UNITS = 2  # of the last place of the largest element, per reduction


@pytest.fixture(autouse=True)
def same_functions():
    """On CPUs with 512-bit registers erf uses a separate table: the GPU's results equal those of other CPUs."""
    wide = machine.selected().vector_bits == 512
    with machine.selecting("x86-64-v3" if wide else "host"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


def check(graph, arrays, units=UNITS):
    """Runs a graph on the emulator; where the CPU raises, the emulated program must report an error."""
    program = Emulated(graph)
    try:
        expected = Program(lay_out(pipeline.run(graph, pipeline.COMPILE)))(*[np.array(a, order="C") for a in arrays])
    except (IndexError, RuntimeError, ZeroDivisionError):
        with contextlib.suppress(IndexError, RuntimeError, ZeroDivisionError):  # a step that NumPy computes
            assert program(*arrays) is None
        return program
    found = program(*arrays)
    assert found is not None
    assert program.worst <= units
    assert_alike(found, expected)
    return program


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name, primitive, sample", list(cases()), ids=[c[0] for c in cases()])
def test_samples(name, primitive, sample, dtype):
    args = cast_args(sample.args, dtype)
    check(graph_of(primitive, args, sample.attrs), args)


@pytest.mark.parametrize("block", range(6))
def test_random_programs(block):
    for seed in range(4000 + 4 * block, 4004 + 4 * block):
        graph = RandomGraph(seed, 4 + seed % 20, empty=seed % 4 == 0).finish()
        check(graph, arguments(graph, seed))


@pytest.mark.parametrize("seed", range(5000, 5004))
def test_gradients_of_random_programs(seed):
    graph = vjp(RandomGraph(seed, 8, smooth=True).finish())
    check(graph, arguments(graph, seed))


@pytest.mark.slow
@pytest.mark.parametrize("block", range(60))
def test_many_random_programs(block):
    for seed in range(20_000 + 5 * block, 20_005 + 5 * block):
        graph = RandomGraph(seed, 4 + seed % 20, empty=seed % 3 == 0).finish()
        check(graph, arguments(graph, seed))
    test_gradients_of_random_programs(30_000 + block)


@pytest.mark.parametrize("workload", WORKLOADS, ids=[w.name for w in WORKLOADS])
def test_workloads(workload):
    """Forward and backward, traced whole and in two."""
    for name, graph, arrays in graphs(workload):
        program = check(graph, arrays, 2 * UNITS)  # optimizers square sums: twice the relative error
        assert program.launches, name


# Extents, odd and even, aligned and not.

SOFTMAX = """\
func @f(%x: {t}[{m},{n}]) -> ({t}[{m},{n}], {t}[{m}]) {{
  %m: {t}[{m}] = max %x {{axes=(1)}}
  %mb: {t}[{m},{n}] = broadcast %m {{shape=({m},{n}), axes=(0)}}
  %d: {t}[{m},{n}] = sub %x, %mb
  %e: {t}[{m},{n}] = exp %d
  %s: {t}[{m}] = sum %e {{axes=(1)}}
  %sb: {t}[{m},{n}] = broadcast %s {{shape=({m},{n}), axes=(0)}}
  %y: {t}[{m},{n}] = div %e, %sb
  return %y, %s
}}
"""
COLUMNS = """\
func @f(%x: {t}[{m},{n}], %w: {t}[{n}]) -> ({t}[{n}], {t}[{n}], {t}[{m},{n}]) {{
  %wb: {t}[{m},{n}] = broadcast %w {{shape=({m},{n}), axes=(1)}}
  %y: {t}[{m},{n}] = mul %x, %wb
  %s: {t}[{n}] = sum %y {{axes=(0)}}
  %a: {t}[{n}] = max %y {{axes=(0)}}
  return %s, %a, %y
}}
"""
ARGUMENTS = """\
func @f(%x: {t}[{m},{n}]) -> (i64[{m}], i64[{n}]) {{
  %a: i64[{m}] = argmax %x {{axes=(1)}}
  %b: i64[{n}] = argmin %x {{axes=(0)}}
  return %a, %b
}}
"""
SHAPES = [
    (1, 1),
    (3, 2),
    (5, 7),
    (2, 8),
    (7, 16),
    (3, 17),
    (9, 31),
    (2, 32),
    (4, 33),
    (3, 100),
    (2, 1000),
    (2, 1024),
    (3, 1025),
]
SHAPES += [(1, 4096), (1, 4099), (2, 9000), (100, 3), (1000, 4), (257, 64), (4100, 2), (1, 70_000)]


@pytest.mark.parametrize("text", [SOFTMAX, COLUMNS, ARGUMENTS], ids=["softmax", "columns", "arguments"])
@pytest.mark.parametrize("m, n", SHAPES)
def test_extents(text, m, n):
    graph = parse_graph(text.format(t="f32", m=m, n=n))
    rng = np.random.default_rng(m * n)
    arrays = [rng.integers(-8, 8, v.shape).astype(np.float32) / 4 for v in graph.inputs]  # with ties
    check(graph, arrays)


@pytest.mark.parametrize("dtype", ["f64", "i64", "i32", "i16", "i8", "u8", "bool"])
@pytest.mark.parametrize("m, n", [(3, 40), (2, 1100), (300, 5)])
def test_reductions_of_every_dtype(dtype, m, n):
    functions = ["max", "min", "argmax", "argmin"] + (["sum"] if dtype != "bool" else [])
    for function in functions:
        for axis, kept in ((0, n), (1, m)):
            result = "i64" if function.startswith("arg") else dtype
            text = f"func @f(%x: {dtype}[{m},{n}]) -> {result}[{kept}] {{\n"
            text += f"  %y: {result}[{kept}] = {function} %x {{axes=({axis})}}\n  return %y\n}}\n"
            graph = parse_graph(text)
            x = np.random.default_rng(0).integers(0, 2 if dtype == "bool" else 100, (m, n))
            program = check(graph, [x.astype(graph.inputs[0].type.dtype.numpy)])
            assert program.exact or dtype == "f64"


@pytest.mark.parametrize("n", [1, 3, 4, 5, 63, 255, 256, 257, 1023, 4096, 5001])
@pytest.mark.parametrize("dtype", ["f32", "f64", "i64", "i32", "u8", "bool"])
def test_vectors_of_every_dtype(dtype, n):
    op, like = "maximum", dtype
    graph = parse_graph(
        f"func @f(%x: {like}[{n}], %y: {like}[{n}]) -> {like}[{n}] {{\n  %z: {like}[{n}] = {op} %x, %y\n  return %z\n}}\n"
    )
    arrays = [
        np.random.default_rng(k).integers(0, 2 if dtype == "bool" else 100, n).astype(graph.inputs[0].type.dtype.numpy)
        for k in (0, 1)
    ]
    program = check(graph, arrays)
    assert program.exact == program.launches == 1


def test_nothing_is_read_that_is_not_there():
    """The emulator would report reads beyond a row's array."""
    graph = parse_graph(SOFTMAX.format(t="f32", m=4, n=64))
    program = Emulated(graph)
    program.layout.steps[0].kernel.values[:] = [2 * v for v in program.layout.steps[0].kernel.values]
    with pytest.raises(ptx.Fault, match="out of bounds"):
        program(np.zeros((4, 64), np.float32))


# The generated text.


def kernels(text):
    plan = lay_out(pipeline.run(parse_graph(text), pipeline.COMPILE_FOR_GRIDS), "cuda")
    return [plan.kinds[k] for k in plan.steps]


def test_elementwise_nests_are_one_loop_with_neighbours():
    text = """\
func @f(%x: f32[60,512], %b: f32[512]) -> f32[60,512] {
  %bb: f32[60,512] = broadcast %b {shape=(60,512), axes=(1)}
  %y: f32[60,512] = add %x, %bb
  return %y
}
"""
    (kind,) = kernels(text)
    assert "for e" in kind.source and "in grid4(" in kind.source
    assert kind.source.count("load4(") == 2 and kind.source.count("store4(") == 1
    assert kind.launch == (30, 256)


@pytest.mark.parametrize(
    "n, who, threads", [(12, "grid", 256), (512, "warps", 256), (4096, "blocks", 256), (20_000, "blocks", 512)]
)
def test_rows_are_given_to_threads_warps_and_blocks(n, who, threads):
    (kind,) = kernels(SOFTMAX.format(t="f32", m=300, n=n))
    assert f"in {who}(" in kind.source and kind.launch[1] == threads


def test_columns_are_summed_in_registers():
    text = "func @f(%x: f32[50,4096]) -> f32[4096] {\n  %s: f32[4096] = sum %x {axes=(0)}\n  return %s\n}\n"
    (kind,) = kernels(text)
    assert re.search(r"for c\d+ in grid4\(.*\n +s0 = .*\n +for r\d+ in range\(", kind.source)
    assert kind.source.count("store4(p1") == 1 and "load(p1" not in kind.source


@pytest.mark.parametrize("m, n, axis", [(4, 200_000, 1), (20_000, 6, 0)])
def test_few_rows_and_few_columns_are_reduced_in_two_stages(m, n, axis):
    kept = n if axis == 0 else m
    text = f"func @f(%x: f32[{m},{n}]) -> f32[{kept}] {{\n  %s: f32[{kept}] = sum %x {{axes=({axis})}}\n  return %s\n}}\n"
    first, second = kernels(text)
    assert first.launch[0] > 8 and second.launch[0] <= 2
    graph = parse_graph(text)
    x = np.random.default_rng(0).uniform(0.5, 1.5, (m, n)).astype(np.float32)
    (total,) = Emulated(graph)(x)
    np.testing.assert_allclose(total, x.astype(np.float64).sum(axis), rtol=1e-6)


def test_few_long_rows_are_cut_at_their_reductions():
    names = [(kind.launch[0] > 4, kind.name) for kind in kernels(SOFTMAX.format(t="f32", m=2, n=200_000))]
    assert len(names) == 5 and sum(many for many, _ in names) == 3  # maximum and sum in two stages each, then the quotients
    rng = np.random.default_rng(0)
    check(parse_graph(SOFTMAX.format(t="f32", m=2, n=70_000)), [rng.standard_normal((2, 70_000)).astype(np.float32)])


def test_scatters_sort_and_have_the_bits_of_adding_in_order():
    text = """\
func @f(%x: f32[700,5], %i: i64[700]) -> f32[40,5] {
  %y: f32[40,5] = index_add %x, %i {axis=0, extent=40}
  return %y
}
"""
    names = [kind.name for kind in kernels(text)]
    assert names[0] == "keys" and names[-2] == "index_add" and names.count("sort") == 55  # 1024 keys: 10 * 11 / 2
    rng = np.random.default_rng(0)
    program = check(parse_graph(text), [rng.standard_normal((700, 5)).astype(np.float32), rng.integers(0, 40, 700)])
    assert program.exact == 2  # the sums, and their rounding
    program = Emulated(parse_graph(text))
    assert program(np.ones((700, 5), np.float32), np.full(700, 40)) is None
    assert program.status[0].tolist() == [1, 40]


# Barriers.


ROWS_AND_COLUMNS = """\
func @f(%x: {t}[{m},{n}]) -> {t}[{n}] {{
  %m: {t}[{m}] = sum %x {{axes=(1)}}
  %mb: {t}[{m},{n}] = broadcast %m {{shape=({m},{n}), axes=(0)}}
  %y: {t}[{m},{n}] = div %x, %mb
  %s: {t}[{n}] = sum %y {{axes=(0)}}
  return %s
}}
"""


@pytest.mark.parametrize(
    "text, m, n",
    [(SOFTMAX, 3, 5000), (SOFTMAX, 70, 1100), (ARGUMENTS, 70, 1100), (ROWS_AND_COLUMNS, 80, 1100)],
    ids=["a row a block", "several rows a block", "argmax", "rows and columns"],
)
def test_dropped_barriers_are_found(text, m, n):
    graph = parse_graph(text.format(t="f32", m=m, n=n))
    arrays = [np.random.default_rng(0).standard_normal(v.shape).astype(np.float32) for v in graph.inputs]
    program = check(graph, arrays)
    dropped = 0
    for kind in program.plan.kinds:
        whole = compiled(kind.source, kind.launch[1])
        for mutant in ptx.without(whole, "bar.sync"):
            dropped += 1
            with pytest.raises(ptx.Fault, match="race"):
                Emulated(graph, lambda text: mutant if text == whole else text)(*arrays)
    assert dropped


# Machine code.


ADAM = """\
func @f(%p: f32[4096], %g: f32[4096], %m: f32[4096], %v: f32[4096]) -> (f32[4096], f32[4096], f32[4096]) {
  %b: f32[4096] = full {value=0.9, shape=(4096), dtype="f32"}
  %c: f32[4096] = full {value=0.1, shape=(4096), dtype="f32"}
  %e: f32[4096] = full {value=1e-08, shape=(4096), dtype="f32"}
  %mb: f32[4096] = mul %m, %b
  %gc: f32[4096] = mul %g, %c
  %m1: f32[4096] = add %mb, %gc
  %g2: f32[4096] = mul %g, %g
  %vb: f32[4096] = mul %v, %b
  %g3: f32[4096] = mul %g2, %c
  %v1: f32[4096] = add %vb, %g3
  %r: f32[4096] = sqrt %v1
  %d: f32[4096] = add %r, %e
  %u: f32[4096] = div %m1, %d
  %p1: f32[4096] = sub %p, %u
  return %p1 -> %p, %m1 -> %m, %v1 -> %v
}
"""


@pytest.mark.parametrize(
    "text, registers",
    [
        (ADAM, 64),
        (SOFTMAX.format(t="f32", m=64, n=1024), 64),
        (SOFTMAX.format(t="f32", m=64, n=4096), 64),
        (COLUMNS.format(t="f32", m=64, n=512), 64),
    ],
    ids=["adam", "softmax of warps", "softmax of blocks", "columns"],
)
@pytest.mark.parametrize("architecture", cubin.ARCHITECTURES)
def test_machine_code(text, registers, architecture):
    """Few registers, no spills, accesses of 16 bytes, reads through the read-only cache."""
    for kind in kernels(text):
        made = cubin.cubin(compiled(kind.source, kind.launch[1]), architecture)
        assert made.registers <= registers and made.spilled == 0
        code = cubin.disassembly(made.code)
        assert "STG.E.128" in code and "LDG.E.128" in code
        if kind.name != "@f":
            assert "LDG.E.128.CONSTANT" in code


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("share", range(8))
def test_every_kernel_has_machine_code(dtype, share):
    """All samples' kernels, for every architecture."""
    for _, primitive, sample in list(cases())[share::8]:
        graph = graph_of(primitive, cast_args(sample.args, dtype), sample.attrs)
        for kind in lay_out(pipeline.run(graph, pipeline.COMPILE_FOR_GRIDS), "cuda").kinds:
            for architecture in cubin.ARCHITECTURES if kind.source else ():
                assert cubin.cubin(compiled(kind.source, kind.launch[1]), architecture).spilled == 0


@pytest.mark.slow
@pytest.mark.parametrize("workload", WORKLOADS, ids=[w.name for w in WORKLOADS])
def test_every_kernel_of_the_workloads_has_machine_code(workload):
    for _, graph, _ in graphs(workload):
        for kind in lay_out(pipeline.run(graph, pipeline.COMPILE_FOR_GRIDS), "cuda").kinds:
            for architecture in cubin.ARCHITECTURES if kind.source else ():
                cubin.cubin(compiled(kind.source, kind.launch[1]), architecture)


def test_ptx_that_is_not_accepted():
    with pytest.raises(RuntimeError, match="nvJitLink rejects"):
        cubin.cubin(".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry kernel() { nonsense; }\n", "sm_80")


def test_versions_of_numba_cuda_that_are_not_tested():
    from tracer.runtime.compiler.numba_cuda import check_version

    check_version("0.30.4")
    for version in ("0.29.0", "1.0.0"):
        with pytest.raises(ImportError, match=r"numba-cuda .* is not supported"):
            check_version(version)


def test_plans_know_their_device():
    plan = lay_out(pipeline.run(parse_graph(ADAM), pipeline.COMPILE_FOR_GRIDS), "cuda")
    assert plan.device == "cuda" and all(kind.launch for kind in plan.kinds)
    with pytest.raises(ValueError, match="cuda"):
        Program(plan)


def test_products_are_left_to_a_library():
    text = "func @f(%a: f32[8,8], %b: f32[8,8]) -> f32[8,8] {\n  %c: f32[8,8] = matmul %a, %b\n  return %c\n}\n"
    (kind,) = kernels(text)
    assert kind.name == "matmul" and not kind.source


def test_an_argmax_of_nan_and_ties():
    x = np.zeros((4, 1500), np.float32)
    x[1, [700, 1400]] = 3
    x[2, [900, 100]] = np.nan
    x[3] = -np.inf
    a, _ = Emulated(parse_graph(ARGUMENTS.format(t="f32", m=4, n=1500)))(x)
    assert a.tolist() == [0, 700, 100, 0]


def test_layouts_agree_on_the_steps_of_both_devices():
    graph = pipeline.run(parse_graph(SOFTMAX.format(t="f32", m=8, n=64)), pipeline.COMPILE)
    assert [s.op for s in Layout(graph, "cpu").steps] == [s.op for s in Layout(graph, "cuda").steps]
