"""Programs, memory, the cache on disk."""

import hashlib
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tracer
from tracer.ir import pipeline
from tracer.ir.interp import evaluate
from tracer.ir.parse import parse_graph
from tracer.runtime.compiler import cache
from tracer.runtime.programs.layout import lay_out
from tracer.runtime.programs.plan import from_bytes, to_bytes
from tracer.runtime.programs.planned import planned
from tracer.runtime.programs.program import Program
from tracer.runtime.support.memory import ResultPool, arrange, take
from tracer.runtime.support.objects import address

UPDATE = """\
func @f(%p: f32[4], %g: f32[4]) -> (f32[], f32[4]) {
  %s: f32[] = sum %p {axes=(0)}
  %n: f32[4] = sub %p, %g
  return %s, %n -> %p
}
"""


def compiled(text):
    graph = parse_graph(text)
    return graph, Program(lay_out(pipeline.run(graph, pipeline.COMPILE)))


def test_an_update_goes_straight_to_its_input():
    _, program = compiled(UPDATE)
    p, g = np.arange(4, dtype=np.float32), np.ones(4, np.float32)
    (s,) = program.run([address(p), address(g)])
    assert s == 6 and p.tolist() == [-1, 0, 1, 2]
    assert "@copy" not in [step.name for step in program.steps]


def test_an_update_that_would_spoil_a_later_read_is_copied_at_the_end():
    text = """\
func @f(%p: f32[2,2], %q: f32[2,2]) -> (f32[2,2], f32[2,2]) {
  %n: f32[2,2] = exp %q
  %t: f32[2,2] = permute %p {axes=(1,0)}
  %m: f32[2,2] = add %t, %n
  return %n -> %p, %m
}
"""
    graph, program = compiled(text)
    args = [np.random.default_rng(k).standard_normal((2, 2)).astype(np.float32) for k in (1, 2)]
    for a, b in zip(program(*args), evaluate(graph, *args), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_two_updates_that_exchange_their_inputs():
    text = "func @f(%p: f32[3], %q: f32[3]) -> (f32[3], f32[3]) {\n  return %q -> %p, %p -> %q\n}\n"
    _, program = compiled(text)
    p, q = np.zeros(3, np.float32), np.ones(3, np.float32)
    program.run([address(p), address(q)])
    assert p.tolist() == [1, 1, 1] and q.tolist() == [0, 0, 0]


def test_the_plan_keeps_live_buffers_apart():
    rng = np.random.default_rng(0)
    lives = [(int(rng.integers(1, 5000)), a := int(rng.integers(0, 30)), a + int(rng.integers(0, 8))) for _ in range(200)]
    offsets, total = arrange(lives)
    for i, (size, first, last) in enumerate(lives):
        assert offsets[i] % 64 == 0 and offsets[i] + size <= total
        for j in range(i):
            n, f, t = lives[j]
            if f <= last and first <= t:
                assert offsets[i] + size <= offsets[j] or offsets[j] + n <= offsets[i]
    assert total < sum(n for n, _, _ in lives) / 2


def test_buffers_are_used_again():
    assert arrange([(64, i, i + 1) for i in range(100)])[1] == 128
    assert arrange([(64, 0, 1), (64, 0, 1), (128, 2, 3)])[1] == 128


def test_result_buffers_are_reused_only_when_free():
    from tracer.ir.types import TensorType, float32

    pool = ResultPool(TensorType(float32, (3,)))
    ((first, second), _) = take([pool, pool])
    assert first is not second
    view, where = first[1:], address(first)
    del first
    ((third,), _) = take([pool])
    assert address(third) != where  # a view still refers to it
    del view, third
    assert address(take([pool])[0][0]) == where


def test_cache_checks_what_it_reads(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACER_CACHE_DIR", str(tmp_path / "c"))
    assert cache.read("k_a") is None
    cache.write("k_a", b"code")
    assert cache.read("k_a") == b"code"
    assert stat.S_IMODE(os.stat(tmp_path / "c").st_mode) == 0o700
    path = tmp_path / "c" / "k_a"
    path.write_bytes(path.read_bytes()[:-1] + b"X")
    assert cache.read("k_a") is None
    cache.write("k_a", b"code")
    os.chmod(tmp_path / "c", 0o777)
    assert cache.read("k_a") is None  # other users could have written there
    cache.write("k_b", b"code")
    assert not (tmp_path / "c" / "k_b").exists()


def test_a_cached_file_answers_for_its_name(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACER_CACHE_DIR", str(tmp_path))
    cache.write("k_a", b"code")
    (tmp_path / "k_b").write_bytes((tmp_path / "k_a").read_bytes())
    assert cache.read("k_b") is None  # another name
    for digest in (hashlib.sha256(b"evil"), hashlib.blake2b(b"k_a\0evil", digest_size=32), hashlib.sha256(b"k_aevil")):
        (tmp_path / "k_a").write_bytes(digest.digest() + b"evil")
        assert cache.read("k_a") is None  # a digest computed without the key
    cache._key.cache_clear()
    (tmp_path / "key").write_bytes(b"")
    cache.write("k_c", b"code")
    assert cache.read("k_c") == b"code" and (tmp_path / "key").stat().st_size == 32


def test_a_kernel_under_another_name_is_compiled_anew(tmp_path):
    """The machine code of one kernel in the place of another's: results are correct, whatever the cache contains."""
    program = "import tracer; f = tracer.trace(lambda x: x {} 2); x = tracer.ones(9); f(x); print(f(x).sum().item())"

    def result(sign: str) -> str:
        environment = {**os.environ, "TRACER_CACHE_DIR": str(tmp_path)}
        run = [sys.executable, "-c", program.format(sign)]
        return subprocess.run(run, env=environment, capture_output=True, text=True, check=True).stdout.strip()

    assert result("+") == "27.0"
    first = {f.name: f.read_bytes() for f in tmp_path.glob("k_*")}
    assert result("-") == "-9.0"
    (added,) = first.values()
    for f in tmp_path.glob("k_*"):
        f.write_bytes(added)
    assert result("-") == "-9.0" and result("+") == "27.0"


def test_a_write_looks_at_few_other_files(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACER_CACHE_DIR", str(tmp_path))
    looks = []
    monkeypatch.setattr(Path, "glob", lambda *args: looks.append(args) or [])
    for k in range(100):
        cache.write(f"k_{k}", b"code")
    assert not looks


def test_the_cache_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACER_CACHE_DIR", str(tmp_path / "c"))
    monkeypatch.setattr(cache, "LIMIT", 10_000)
    for k in range(40):
        cache.write(f"k_{k}", bytes(1000))
        os.utime(tmp_path / "c" / f"k_{k}", (k, k))
        assert cache.read("k_0") is not None  # used files are kept
    assert cache.entries()[1] <= 11_000 + 1100
    assert cache.read("k_39") is not None
    assert cache.read("k_1") is None


def test_an_unwritable_cache_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TRACER_CACHE_DIR", str(tmp_path / "file"))
    cache.write("k_a", b"code")
    assert cache.read("k_a") is None


SECOND_PROCESS = """
import tracer
from tracer import nn, optim
from tracer.nn import functional as F
from tracer.runtime.compiler.compile import stats
tracer.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
opt = optim.SGD(model.parameters(), lr=0.1)
@tracer.trace
def step(x, y):
    opt.zero_grad()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    opt.step()
    return loss
x, y = tracer.ones(3, 4), tracer.tensor([0, 1, 1])
losses = [step(x, y).item() for _ in range(3)]
print(stats.compiled, stats.loaded > 0, *losses)
"""


def run_python(code, **env):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **env}, check=True
    ).stdout.split()


def test_a_second_process_compiles_nothing(tmp_path):
    first = run_python(SECOND_PROCESS, TRACER_CACHE_DIR=str(tmp_path))
    second = run_python(SECOND_PROCESS, TRACER_CACHE_DIR=str(tmp_path))
    assert int(first[0]) > 0
    assert second[:2] == ["0", "True"]
    assert first[2:] == second[2:]


PLANS = {
    "chain": "func @f(%x: f32[4]) -> f32[4] {\n  %y: f32[4] = tanh %x  # a.py:1\n  %z: f32[4] = neg %y\n  return %z\n}\n",
    "update": UPDATE,
    "constant": """\
func @f(%x: f64[3]) -> f64[3] {
  %c: f64[3] = constant {data="000000000000f03f00000000000000400000000000000840", dtype="f64", shape=(3)}
  %y: f64[3] = mul %x, %c
  return %y
}
""",
    "left to NumPy": """\
func @f(%x: f32[5], %i: i64[2]) -> f32[2] {
  %s: i64[5] = argsort %x {axis=0, descending=False}
  %j: i64[2] = gather %s, %i {axis=0}
  %y: f32[2] = gather %x, %j {axis=0}  # a.py:2
  return %y
}
""",
    "product": """\
func @f(%x: f32[5,6], %w: f32[6,7]) -> f32[5,7] {
  %y: f32[5,7] = matmul %x, %w {ta=False, tb=False}
  return %y
}
""",
}


def values_for(graph):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 4, v.shape).astype(v.type.dtype.numpy) for v in graph.inputs]


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_is_read_again(name, tmp_path, monkeypatch):
    monkeypatch.setenv("TRACER_CACHE_DIR", str(tmp_path))
    graph = parse_graph(PLANS[name])
    expected = planned(graph)
    (file,) = tmp_path.glob("p_*")
    with monkeypatch.context() as m:
        m.setattr(pipeline, "run", None)  # not called
        again = planned(parse_graph(PLANS[name]))
    assert again == expected
    args = values_for(graph)
    for a, b in zip(Program(again)(*args), evaluate(graph, *args), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    file.write_bytes(file.read_bytes()[:-1])
    assert planned(graph) == expected


def test_a_plan_belongs_to_one_graph(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACER_CACHE_DIR", str(tmp_path))
    text = PLANS["chain"]
    others = [text.replace("a.py:1", "a.py:2"), text.replace("tanh", "sin"), text.replace("@f", "@g"), text.replace("4", "5")]
    fulls = [f'  %z: f64[] = full {{value={v}, shape=(), dtype="f64"}}\n' for v in ("1", "1.0", "True", "0.0", "-0.0")]
    others += [f"func @f() -> f64[] {{\n{full}  return %z\n}}\n" for full in fulls]
    for n, other in enumerate(others, 1):
        graph = parse_graph(other)
        assert planned(graph) == lay_out(pipeline.run(graph, pipeline.COMPILE))
        assert len(list(tmp_path.glob("p_*"))) == n
    planned(parse_graph(text.replace("%y", "%w").replace("a.py:1", "a.py:2")))  # names do not matter
    assert len(list(tmp_path.glob("p_*"))) == n


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"null", b'{"inputs": 3}', b"__import__('os')"])
def test_what_is_no_plan_is_refused(data):
    with pytest.raises(ValueError):
        from_bytes(data)


def test_importing_does_not_import_scipy_or_llvmlite():
    loaded = run_python("import sys, tracer; print(*(m for m in ('scipy', 'llvmlite', 'numba') if m in sys.modules))")
    assert loaded == []


def test_eager_error_functions_are_kernels():
    code = """
import sys, math, tracer
for name in ("float32", "float64"):
    for shape in ((), (3,), (0, 2), (40, 50), (2000,)):
        x = tracer.linspace(-3, 3, max(1, math.prod(shape)), dtype=getattr(tracer, name))[: math.prod(shape)].reshape(shape)
        for f, g in ((tracer.erf, math.erf), (tracer.erfc, math.erfc)):
            y = f(x)
            assert y.shape == x.shape and y.dtype == x.dtype
            for a, b in zip(x.flatten().tolist(), y.flatten().tolist()):
                assert abs(b - g(a)) <= (3e-7 if name == "float32" else 5e-16) * abs(g(a)), (a, b, g(a))
x = tracer.ones(30, 40)[::2].T
assert tracer.erf(x).tolist() == tracer.erf(x.contiguous()).tolist()
print("scipy.special" in sys.modules, tracer.erf(tracer.ones(3, dtype=tracer.float16)).dtype)
"""
    assert run_python(code) == ["False", "tracer.float16"]


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_products_of_every_orientation_and_size(dtype):
    rng = np.random.default_rng(0)
    kind = np.float32 if dtype == "f32" else np.float64
    sizes = [(1, 1, 1), (3, 1, 2), (7, 5, 1), (64, 33, 17), (0, 3, 2), (2, 0, 3), (16, 16, 16), (17, 16, 16)]
    for m, k, n in [*sizes, (300, 25, 1), (1, 25, 300), (70, 100, 1), (1, 100, 70), (1, 5000, 1), (5000, 1, 1), (1, 0, 3)]:
        for ta in (False, True):
            for tb in (False, True):
                a = rng.standard_normal((k, m) if ta else (m, k)).astype(kind)
                b = rng.standard_normal((n, k) if tb else (k, n)).astype(kind)
                text = (
                    f"func @f(%a: {dtype}[{a.shape[0]},{a.shape[1]}], %b: {dtype}[{b.shape[0]},{b.shape[1]}]) -> "
                    f"{dtype}[{m},{n}] {{\n  %c: {dtype}[{m},{n}] = matmul %a, %b {{ta={ta}, tb={tb}}}\n  return %c\n}}"
                )
                graph, program = compiled(text)
                np.testing.assert_allclose(program(a, b)[0], evaluate(graph, a, b)[0], rtol=2e-5, atol=1e-5)


def test_a_plan_on_disk_that_cannot_be_read_counts_as_absent(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACER_CACHE_DIR", str(tmp_path))
    graph = parse_graph(PLANS["chain"])
    expected = planned(graph)
    (file,) = tmp_path.glob("p_*")
    cache.write(file.name, b"{}")
    assert planned(graph) == expected == from_bytes(to_bytes(expected))


@pytest.mark.parametrize("shapes", [((4, 3), (6, 3, 5)), ((6, 4, 3), (3, 5)), ((2, 3, 4, 3), (2, 3, 3, 5))])
@pytest.mark.parametrize("transposed", [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_batches_of_tiny_products(shapes, transposed):
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((*s[:-2], *s[-2:][:: -1 if t else 1])) for s, t in zip(shapes, transposed, strict=True))
    lead = ",".join(map(str, max(shapes, key=len)[:-2]))
    types = [f"f64[{','.join(map(str, x.shape))}]" for x in (a, b)]
    ta, tb = map(bool, transposed)
    text = f"func @f(%a: {types[0]}, %b: {types[1]}) -> f64[{lead},4,5] {{\n  %c: f64[{lead},4,5] = matmul %a, %b "
    graph, program = compiled(text + f"{{ta={ta}, tb={tb}}}\n  return %c\n}}")
    assert "gemm" not in program.steps[0].source
    np.testing.assert_allclose(program(a, b)[0], evaluate(graph, a, b)[0], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_eager_error_functions_keep_the_order_of_axes(dtype):
    x = tracer.linspace(-1, 1, 120).reshape(3, 40).to(getattr(tracer, dtype))
    for view in (x.T, x[:, ::2], x[None].expand(2, 3, 40), x[:2, :3].T, x.reshape(3, 4, 10).permute(2, 0, 1)):
        y = tracer.erf(view)
        assert y.stride() == tracer.exp(view).stride()
        assert y.tolist() == tracer.erf(view.contiguous()).tolist()
