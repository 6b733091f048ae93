"""Multithreaded kernels: bitwise equal results for any number of threads, with other concurrent work."""

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import tracer
from tracer.ir import pipeline
from tracer.ir.interp import evaluate
from tracer.ir.ops import fusion
from tracer.ir.parse import parse_graph
from tracer.ir.passes.blocks import block_reductions
from tracer.ir.passes.columns import partial_columns
from tracer.runtime.programs.layout import lay_out
from tracer.runtime.programs.program import Program

pytestmark = pytest.mark.usefixtures("each_cpu")
F = tracer.nn.functional


@pytest.fixture(autouse=True)
def same_number_afterwards():
    before = tracer.get_num_threads()
    yield
    tracer.set_num_threads(before)


def drawn(*shape, dtype=np.float32, seed=0):
    return tracer.from_numpy(np.random.default_rng(seed).standard_normal(shape).astype(dtype))


def loss_and_gradients(*tensors):
    for t in tensors:
        t.grad = None
    x, w = tensors
    loss = (F.layer_norm(F.gelu(x @ w.T), (w.shape[0],)) ** 2).mean() + F.cross_entropy(x @ w.T, tracer.arange(len(x)) % 7)
    loss.backward()
    return loss


def layer_norm(x, w, g):
    x, w = x.detach().requires_grad_(), w.detach().requires_grad_()
    y = F.layer_norm(x, w.shape, w)
    return (y.detach(), *tracer.autograd.grad(y, (x, w), g))


PROGRAMS = {
    "rows and columns": (layer_norm, [(260, 517), (517,), (260, 517)]),
    "elementwise": (lambda x: tracer.tanh(x) * x + 1, [(700_001,)]),
    "sum": (lambda x: (x * x).sum(), [(720_720,)]),
    "sum of a prime number": (lambda x: (x * x).sum(), [(200_003,)]),
    "rows": (lambda x: tracer.softmax(x, -1), [(999, 517)]),
    "columns": (lambda x: (x * 2).sum(0), [(517, 999)]),
    "product": (lambda x, y: x @ y, [(300, 200), (200, 333)]),
    "product of a transpose": (lambda x, y: x.T @ y, [(200, 301), (200, 130)]),
    "product by a transpose": (lambda x, y: x @ y.T, [(700, 64), (90, 64)]),
    "matrix and vector": (lambda x, y: x @ y, [(801, 517), (517,)]),
    "transpose and vector": (lambda x, y: x.T @ y, [(517, 801), (517,)]),
    "vector and matrix": (lambda x, y: y @ x, [(517, 801), (517,)]),
    "tiny products": (lambda x, y: x @ y, [(3000, 5, 7), (3000, 7, 9)]),
    "extrema": (lambda x: (x.max(), x.min(), x.mean()), [(1000, 720)]),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_results_do_not_depend_on_the_number_of_threads(name):
    function, shapes = PROGRAMS[name]
    inputs = [drawn(*s, seed=k) for k, s in enumerate(shapes)]
    run = tracer.trace(function)
    for _ in range(3):  # recorded, and compiled
        run(*inputs)
    seen = set()
    for n in (1, 2, 3, 5):
        tracer.set_num_threads(n)
        result = run(*inputs)
        parts = result if isinstance(result, tuple) else (result,)
        seen.add(b"".join(p.numpy().tobytes() for p in parts))
    assert len(seen) == 1
    for p, e in zip(parts, _expected(function, inputs), strict=True):
        np.testing.assert_allclose(p.numpy(), e.numpy(), rtol=2e-4, atol=2e-4)


def _expected(function, inputs):
    result = function(*inputs)
    return result if isinstance(result, tuple) else (result,)


def test_several_python_threads_and_a_changing_team():
    """Concurrent programs share one thread pool, or run on their own thread; the pool's size changes meanwhile."""
    inputs = [(drawn(160, 128, seed=k), drawn(96, 128, seed=k + 9)) for k in range(3)]
    for pair in inputs:
        for t in pair:
            t.requires_grad_()
    expected = []
    for x, w in inputs:
        expected.append((loss_and_gradients(x, w).item(), x.grad.numpy().copy(), w.grad.numpy().copy()))
    traced = [tracer.trace(lambda x, w: loss_and_gradients(x, w)) for _ in inputs]
    problems = []

    def work(k):
        try:
            x, w = inputs[k]
            for _ in range(40):
                loss = traced[k](x, w)
                np.testing.assert_allclose(loss.item(), expected[k][0], rtol=1e-4)
                np.testing.assert_allclose(x.grad.numpy(), expected[k][1], rtol=1e-3, atol=1e-5)
                np.testing.assert_allclose(w.grad.numpy(), expected[k][2], rtol=1e-3, atol=1e-5)
        except BaseException as e:
            problems.append(e)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(len(inputs))]
    for t in threads:
        t.start()
    for n in (1, 3, 2, 4, 1, 2) * 3:
        tracer.set_num_threads(n)
    for t in threads:
        t.join()
    assert not problems, problems[0]


@pytest.mark.parametrize("n", [0, -1, 65, 1.0, True, "2"])
def test_a_bad_number_of_threads(n):
    with pytest.raises(ValueError, match="from 1 to 64"):
        tracer.set_num_threads(n)


def test_the_environment_chooses():
    code = "import tracer; print(tracer.get_num_threads())"
    for given, said in (("1", "1"), ("3", "3"), ("many", "ValueError"), ("0", "ValueError")):
        env = {**os.environ, "TRACER_NUM_THREADS": given}
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
        assert said in result.stdout + result.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_works_alone():
    code = """
import os, numpy as np, tracer
tracer.set_num_threads(2)
f = tracer.trace(lambda x: tracer.exp(x) + 1)
x = tracer.from_numpy(np.zeros(1_000_000, np.float32))
f(x), f(x)
child = os.fork()
if child == 0:
    assert tracer.get_num_threads() == 1
    os._exit(0 if (f(x).numpy() == 2).all() else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), (f(x).numpy() == 2).all())
"""
    result = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=120)
    assert result.stdout.split() == ["0", "True"], result.stderr


WHOLE = """\
func @f(%x: f32[1000,720], %c: f32[]) -> (f32[], f32[1000,720]) {
  %s: f32[], %y: f32[1000,720] = fusion @k0 %x, %c {
    (%x: f32[1000,720], %c: f32[]):
    %b: f32[1000,720] = broadcast %c {shape=(1000,720), axes=()}
    %y: f32[1000,720] = mul %x, %b
    %t: f32[] = sum %y {axes=(0,1)}
    %n: f32[] = full {value=720000, shape=(), dtype="f32"}
    %m: f32[] = div %t, %n
    %s: f32[] = add %m, %c
    yield %s, %y
  }
  return %s, %y
}
"""


def test_whole_sums_are_split_into_blocks():
    before = parse_graph(WHOLE)
    after = block_reductions(before)
    bodies = [op.attrs["body"] for op in after.ops if op.primitive is fusion]
    assert [b.inputs[0].shape for b in bodies] == [(750, 960), (750,)]
    x, c = drawn(1000, 720).numpy(), np.float32(3)
    for a, b in zip(evaluate(before, x, c), evaluate(after, x, c), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)
    for a, b in zip(evaluate(before, x, c), Program(lay_out(pipeline.run(after, ())))(x, np.array(c)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_a_number_beside_whole_sums_is_computed_once():
    text = WHOLE.replace("%s: f32[], %y", "%k: f32[], %s: f32[], %y")
    text = text.replace("yield %s, %y", "%k: f32[] = mul %c, %c\n    yield %k, %s, %y")
    before = parse_graph(text)
    after = block_reductions(before)
    x, c = drawn(1000, 720).numpy(), np.float32(3)
    compiled = Program(lay_out(pipeline.run(after, ())))(x, np.array(c))
    for a, b in zip(evaluate(before, x, c), compiled, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


COLUMNS = """\
func @f(%x: f32[256,520], %w: f32[520]) -> (f32[256,520], f32[520], f32[520], f32[256]) {
  %y: f32[256,520], %z: f32[256,520], %m: f32[256] = fusion @k0 %x, %w {
    (%x: f32[256,520], %w: f32[520]):
    %m: f32[256] = max %x {axes=(1)}
    %b: f32[256,520] = broadcast %m {shape=(256,520), axes=(0)}
    %d: f32[256,520] = sub %x, %b
    %v: f32[256,520] = broadcast %w {shape=(256,520), axes=(1)}
    %y: f32[256,520] = mul %d, %v
    %z: f32[256,520] = mul %y, %x
    yield %y, %z, %m
  }
  %s: f32[520] = fusion @k1 %z {
    (%z: f32[256,520]):
    %s: f32[520] = sum %z {axes=(0)}
    yield %s
  }
  %t: f32[520] = fusion @k2 %x {
    (%x: f32[256,520]):
    %t: f32[520] = sum %x {axes=(0)}
    yield %t
  }
  return %y, %s, %t, %m
}
"""


def test_column_sums_go_to_the_kernel_that_has_the_rows():
    before = parse_graph(COLUMNS)
    after = partial_columns(before)
    first, *totals = [op for op in after.ops if op.primitive is fusion]
    assert [v.shape for v in first.results] == [(64, 520), (64, 520), (64, 4, 520), (64, 4)]
    assert [op.operands[0].shape for op in totals] == [(64, 520)] * 2
    x, w = drawn(256, 520).numpy(), drawn(520, seed=1).numpy()
    compiled = Program(lay_out(pipeline.run(after, ())))(x, w)
    for a, b, c in zip(evaluate(before, x, w), evaluate(after, x, w), compiled, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(a, c, rtol=1e-4, atol=1e-4)


def test_what_reads_a_sum_again_stays_whole():
    text = WHOLE.replace("yield %s, %y", "%w: f32[1000,720] = broadcast %s {shape=(1000,720), axes=()}\n    yield %s, %w")
    assert str(block_reductions(parse_graph(text))) == str(parse_graph(text))


BUSY = "while True: pass"


def test_threads_without_a_cpu_are_not_waited_for():
    """Where other processes keep all CPUs busy, more threads do not make a program many times as slow."""
    weights = tracer.rand(128, 256)

    @tracer.trace
    def f(x):
        return ((x @ weights.T).tanh() @ weights).sin().sum()

    def median():
        times = []
        for _ in range(200):
            begin = time.perf_counter()
            f(x)
            times.append(time.perf_counter() - begin)
        return sorted(times)[100]

    x = tracer.rand(64, 256)
    before = tracer.get_num_threads()
    others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        tracer.set_num_threads(1)
        alone = median()
        tracer.set_num_threads(2)
        assert median() < 8 * alone + 1e-3
    finally:
        tracer.set_num_threads(before)
        for other in others:
            other.kill()
            other.wait()
