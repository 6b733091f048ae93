"""Everything works if the interpreter's object layout and reference counts are unknown."""

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from tracer.ir import interp
from tracer.runtime.support import memory, objects

# NumPy and the compilers also check the implementation's name: they are imported before it changes.
UNKNOWN = """
import sys

import llvmlite.binding, numba, numpy, scipy.special

sys.implementation.name = "another"

from tracer.runtime.support import memory
from tracer.runtime.support import objects
from tracer.runtime.support import table
from tracer.runtime.support import words

assert not objects.reads_arrays and not objects.counts_references
assert objects.address is objects._address_by_interface and memory.FREE == -1
assert words.word_of(memory.take, "__code__", memory.take.__code__) is None
assert words.version_of({}) is words.length_of({}, 0) is words.items_of_list([], [], None) is None
assert not table.is_available()
"""
STEPS = """
import warnings

import numpy as np

import tracer
from tracer import nn, optim
from tracer.nn import functional as F

warnings.simplefilter("error", tracer.TraceWarning)


def training(trace):
    tracer.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    optimizer = optim.Adam(model.parameters(), lr=0.05)

    @trace
    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    x, y = tracer.randn(6, 4), tracer.tensor([0, 1, 2, 0, 1, 2])
    return [step(x, y).item() for _ in range(8)] + [p.tolist() for p in model.parameters()]


def captured(trace):
    w = tracer.ones(3)
    f = trace(lambda x: x * w + 1)
    results = []
    for k in range(8):
        if k % 2:
            w.mul_(2)
        if k == 5:
            w._data = np.full(3, 7, np.float32)
        results.append(f(tracer.arange(3.0)).tolist())
    return results


def closure(trace):
    factor = 2.0

    def scaled(x, shift=1.0):
        return x * factor + shift

    def change(value):
        nonlocal factor
        factor = value

    f = trace(lambda x: scaled(x))
    results = []
    for k in range(8):
        if k == 4:
            change(3.0)
        if k == 6:
            scaled.__defaults__ = (5.0,)
        results.append(f(tracer.arange(3.0)).tolist())
    return results


def held(trace):
    f = trace(lambda x: (x + 1, x * 2))
    return [[y.tolist() for y in pair] for pair in [f(tracer.full((3,), float(k))) for k in range(12)]]


def errors(trace):
    f = trace(lambda x, i: x[i] * 2)
    results = [f(tracer.arange(4.0), tracer.tensor([k, 0])).tolist() for k in range(4)]
    try:
        f(tracer.arange(4.0), tracer.tensor([4, 0]))
    except IndexError as e:
        return [*results, str(e)[:12]]


for program in (training, captured, closure, held, errors):
    eager, traced = program(lambda f: f), program(tracer.trace)
    for a, b in zip(eager, traced, strict=True):
        assert a == b if isinstance(a, str) else np.allclose(a, b, rtol=1e-5, atol=1e-6), (program.__name__, a, b)
"""


def run(code, *arguments):
    subprocess.run([sys.executable, "-c", textwrap.dedent(code), *arguments], check=True, cwd=Path(__file__).parent.parent)


def test_traced_programs_give_the_eager_results():
    run(UNKNOWN + STEPS)


@pytest.mark.slow
def test_the_tests_of_tracing_pass():
    names = ("replay", "trace_calls", "trace_surroundings", "trace_training", "trace_memory", "trace_escapes", "threads")
    files = [f"tests/test_{name}.py" for name in names]
    run(UNKNOWN + 'import pytest\n\nsys.exit(pytest.main(["-p", "no:xdist", *sys.argv[1:]]))', *files)


def test_without_reference_counts_every_buffer_is_new(monkeypatch):
    from tracer.ir.types import TensorType, float32

    monkeypatch.setattr(memory, "FREE", -1)
    monkeypatch.setattr(memory, "counts_references", False)
    pool = memory.ResultPool(TensorType(float32, (3,)))
    taken = [memory.take([pool])[0][0] for _ in range(20)]
    assert len({objects.address(a) for a in taken}) == 20 and not pool.entries


def test_without_a_context_variable_numpy_is_silenced_by_its_public_functions(monkeypatch):
    class Unchanged(dict):
        """A context without changes."""

        def run(self, *args, **settings):
            pass

    with monkeypatch.context() as m:
        m.setattr(interp.contextvars, "Context", Unchanged)
        silence, restore = interp._numpy_errors()
    before = np.geterr()
    token = silence()
    assert set(np.geterr().values()) == {"ignore"}
    restore(token)
    assert np.geterr() == before


def test_without_reference_counts_functions_run_eagerly(monkeypatch):
    import tracer

    monkeypatch.setattr(objects, "tells_references", False)
    f = tracer.trace(lambda x: x * 2 + 1)
    with pytest.warns(tracer.TraceWarning, match="does not count references"):
        assert [f(tracer.ones(3)).tolist() for _ in range(3)] == [[3.0] * 3] * 3
    assert not f.graphs()
