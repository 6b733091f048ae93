"""Code generation for several CPUs on one machine, and the processes that compile."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import foreign
import numpy as np
import pytest

import tracer
from tracer.ir import pipeline
from tracer.ir.autodiff import vjp
from tracer.ir.interp import evaluate
from tracer.ir.parse import parse_graph
from tracer.nn import functional as F
from tracer.runtime.compiler import compile as compiler
from tracer.runtime.compiler import machine, numba_version
from tracer.runtime.programs.layout import lay_out
from tracer.runtime.programs.program import Program

STEP = """
import sys

import tracer
from tracer import nn, optim
from tracer.nn import functional as F
from tracer.runtime.compiler.compile import stats

tracer.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.LayerNorm(5), nn.Linear(5, 2))
opt = optim.Adam(model.parameters(), lr=0.1)


@tracer.trace
def step(x, y):
    opt.zero_grad()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    opt.step()
    return loss


x, y = tracer.ones(3, 4), tracer.tensor([0, 1, 1])
losses = [step(x, y).item() for _ in range(3)]
tracer.erf(x)
print(stats.compiled, stats.loaded, losses)
"""
WHO = """
numba_cpu = sys.modules.get("tracer.runtime.compiler.numba_cpu")
print(numba_cpu.compiled if numba_cpu else 0)
names = ("numba", "tracer.runtime.compiler.lower", "tracer.runtime.compiler.intrinsics", "tracer.codegen.cpu")
print(*(name for name in names if name in sys.modules))
"""


def process(code, **env):
    """The lines that a process prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **env}, check=True)
    return done.stdout.splitlines()


def work(line):
    """The numbers of compiled and loaded kernels, and the losses."""
    compiled, loaded, losses = line.split(" ", 2)
    return int(compiled), int(loaded), losses


def test_numba_compiles_every_kernel_and_is_not_imported_without_need(tmp_path):
    first, by_numba, _ = process(STEP + WHO, TRACER_CACHE_DIR=str(tmp_path))
    compiled, loaded, losses = work(first)
    assert compiled == int(by_numba) > 0 and loaded == 0
    second, by_numba, imported = process(STEP + WHO, TRACER_CACHE_DIR=str(tmp_path))
    assert work(second) == (0, compiled, losses)
    assert by_numba == "0" and imported == ""


def runs_here(name):
    try:
        machine.check_runs_here(machine.cpu_named(name))
    except RuntimeError:
        return False
    return True


@pytest.mark.skipif(not runs_here("x86-64-v2"), reason="the machine has no such CPU")
def test_one_cache_serves_several_cpus(tmp_path):
    found = {}
    for cpu in ("x86-64-v2", "host", "x86-64-v2", "host"):
        (line,) = process(STEP, TRACER_CACHE_DIR=str(tmp_path), TRACER_CPU=cpu)
        compiled, loaded, losses = work(line)
        if cpu not in found:
            assert compiled > 0 and loaded == 0
            found[cpu] = compiled, losses
        assert (compiled + loaded, losses) == found[cpu]
    assert (compiled, loaded) == (0, found["host"][0])


CHAIN = "func @f(%x: f32[999]) -> f32[999] {\n  %y: f32[999] = tanh %x\n  return %y\n}\n"
SORT = "func @f(%x: f32[9]) -> i64[9] {\n  %y: i64[9] = argsort %x {axis=0, descending=False}\n  return %y\n}\n"


@pytest.mark.parametrize("name", ["x86-64-v4", "aarch64", "x86-64"])
@pytest.mark.parametrize("text", [CHAIN, SORT], ids=["a kernel", "no kernel"])
def test_code_for_a_cpu_that_is_not_here_is_printed_and_not_run(name, text):
    if runs_here(name):
        pytest.skip("this machine is such a CPU")
    plan = lay_out(pipeline.run(parse_graph(text), pipeline.COMPILE))
    with machine.selecting(name):
        with pytest.raises(RuntimeError, match=r"this machine (is|cannot run)"):
            Program(plan)
        for kind in plan.kinds:
            if kind.source:
                assert "kernel" in compiler.assembly(kind.source)
                assert compiler.object_code(kind.source, "k").startswith(b"\x7fELF")


def test_a_traced_function_says_that_the_cpu_is_not_here():
    name = next(n for n in ("aarch64", "x86-64-v3") if not runs_here(n))
    f = tracer.trace(lambda x: tracer.tanh(x) * 2)
    with machine.selecting(name), pytest.warns(tracer.TraceWarning, match=r"this machine (is|cannot run)") as told:
        for _ in range(3):
            assert f(tracer.zeros(3)).tolist() == [0.0] * 3
    assert len(told) == 1 and "report" not in str(told[0].message)


def test_every_known_cpu_has_code_of_its_own():
    source = lay_out(pipeline.run(parse_graph(CHAIN), pipeline.COMPILE)).kinds[0].source
    texts, keys = set(), set()
    for name in ("x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4", "aarch64"):
        with machine.selecting(name):
            texts.add(compiler.assembly(source))
            keys.add(compiler.key(source))
    assert len(texts) == len(keys) == 5


def test_a_version_of_numba_that_was_not_tested_is_refused(tmp_path, monkeypatch):
    for version in ("0.65.0", "0.65.1rc1", "0.68.2", numba_version.version("numba")):
        numba_version.check_version(version)
    for version in ("0.64.9", "0.69.0", "0.69.0dev0+12.g3", "1.0"):
        with pytest.raises(ImportError, match=rf"Numba {version[:4]}.* is not supported, 0.65 to 0.68 are: pip install"):
            numba_version.check_version(version)
    monkeypatch.setenv("TRACER_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(numba_version, "version", lambda package: "0.70.1")
    monkeypatch.setattr(compiler, "_compiler", compiler._compiler.__wrapped__)
    f = tracer.trace(lambda x: tracer.tanh(x) * 3)
    with pytest.warns(tracer.TraceWarning, match=r"Numba 0\.70\.1 is not supported") as told:
        for _ in range(3):
            assert f(tracer.zeros(3)).tolist() == [0.0] * 3
    assert len(told) == 1 and "report" not in str(told[0].message)


def test_the_range_of_versions_is_the_same_in_all_files():
    root = Path(__file__).parent.parent
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    (major, oldest), (_, newest) = numba_version.OLDEST, numba_version.NEWEST
    assert f"numba>={major}.{oldest},<{major}.{newest + 1}" in project["dependencies"]
    assert f"OLDEST_NUMBA := {major}.{oldest}\n" in (root / "Makefile").read_text()


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def positions(n, high):
    return np.random.default_rng(n).integers(0, high, n)


ELEMENTARY = ("exp", "expm1", "sin", "cos", "tan", "atan", "tanh", "sigmoid", "erf", "erfc", "lgamma", "sinh", "asinh")
REPRESENTATIVE = {  # a function, its arguments, whether to test its gradient
    "elementwise": (lambda x, y: (x * 1.5 + y.abs().sqrt()).relu() / (1 + y * y), (normal(37, 5), normal(37, 5, seed=1)), True),
    **{name: (getattr(tracer, name), (normal(403) * 4,), True) for name in ELEMENTARY},
    "digamma": (tracer.digamma, (normal(403) * 4,), False),
    "trigamma": (lambda x: tracer.polygamma(1, x), (normal(403) * 4,), False),
    "erfinv": (lambda x: tracer.erfinv(tracer.tanh(x)), (normal(403) * 2,), True),
    "log1p": (tracer.log1p, (np.abs(normal(403)) * 9,), True),
    "far sines": (lambda x: tracer.sin(x * 1e20) + tracer.cos(x * 1e7), (normal(403),), False),
    "powers": (lambda x, y: tracer.pow(x.abs(), y) + tracer.atan2(x, y), (normal(99), normal(99, seed=1)), False),
    "remainders": (lambda x, y: tracer.fmod(x, y) + tracer.remainder(x, y), (normal(99) * 9, normal(99, seed=1)), False),
    "whole numbers": (lambda x, y: (x // y) * (x % y) - (x & 255), (positions(99, 1000) - 500, positions(99, 30) + 1), False),
    "softmax": (lambda x: F.softmax(x * 3, 1), (normal(9, 70),), True),
    "layer norm": (lambda x, w, b: F.layer_norm(x, (33,), w, b), (normal(8, 33), normal(33), normal(33, seed=1)), True),
    "cross entropy": (F.cross_entropy, (normal(16, 10), positions(16, 10)), True),
    "columns": (lambda x: tracer.tanh(x).sum(0), (normal(60, 41),), True),
    "extrema": (lambda x: tracer.stack([x.amax(1), x.amin(1), x.argmax(1).to(x.dtype)]), (normal(12, 19),), False),
    "scatter": (
        lambda x, i: tracer.zeros(7, 4, dtype=x.dtype).index_add(0, i, tracer.sin(x)),
        (normal(12, 4), positions(12, 7)),
        True,
    ),
    "gather": (lambda x, i: F.embedding(i, x) * 2, (normal(12, 4), positions(9, 12)), True),
    "tiny products": (lambda x, w: tracer.tanh(x @ w), (normal(3, 4), normal(4, 2)), True),
    "products": (lambda x, w: tracer.tanh(x @ w) * 2, (normal(67, 150), normal(150, 45)), True),
}


def representative_plans(dtype):
    """The programs of all cases and their gradients, with arguments."""
    for name, (function, arguments, differentiable) in REPRESENTATIVE.items():
        args = [a.astype(dtype) if a.dtype.kind == "f" else a for a in arguments]
        traced = tracer.trace(function)
        traced(*map(tracer.from_numpy, args))
        (graph,) = traced.graphs()
        for g in [graph, vjp(graph)] if differentiable else [graph]:
            extra = [normal(*v.shape, seed=2).astype(v.type.dtype.numpy) for v in g.inputs[len(args) :]]
            plan = lay_out(pipeline.run(g, pipeline.COMPILE))
            assert all(kind.source for kind in plan.kinds), name
            yield name, g, plan, [*args, *extra]


@pytest.mark.slow
@pytest.mark.skipif(not (foreign.COMPILER and foreign.EMULATOR), reason="needs aarch64-linux-gnu-gcc and qemu-aarch64")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_kernels_for_aarch64_compute_the_same(dtype, tmp_path):
    """Under an emulator; bitwise equal to x86-64 with fused multiply-add, except for sums."""
    names, graphs, plans, arguments = zip(*representative_plans(dtype), strict=True)
    results = foreign.Machine("aarch64", tmp_path).run(plans, arguments)
    eps = np.finfo(dtype).eps
    for name, graph, plan, args, actual in zip(names, graphs, plans, arguments, results, strict=True):
        with machine.selecting("x86-64-v3" if runs_here("x86-64-v3") else "host"):
            expected = Program(plan)(*args)
        exact = machine.selected().arch == "x86_64" and runs_here("x86-64-v3") and not foreign.reordered(plan)
        for a, b, c in zip(actual, expected, evaluate(graph, *args), strict=True):
            if exact or a.dtype.kind != "f":
                np.testing.assert_array_equal(a, b, name)
            np.testing.assert_allclose(a, b, rtol=64 * eps, atol=64 * eps, err_msg=name)
            np.testing.assert_allclose(a, c, rtol=500 * eps, atol=500 * eps, err_msg=name)
