"""What objects show in notebooks."""

import gc
import io
import random
import sys
import types

import numpy as np
import pytest

import tracer
from tracer import profiler
from tracer.runtime.programs import progress


def traced():
    @tracer.trace
    def f(x):
        return (x * 2).sum()

    for _ in range(3):
        f(tracer.ones(3))
    return f


def test_a_tensor_shows_its_type_and_elements():
    shown = tracer.ones(2, 3, requires_grad=True)._repr_html_()
    assert "<b>float32[2, 3], requires grad</b>" in shown and "[1., 1., 1.]" in shown


def test_a_large_tensor_is_short():
    assert len(tracer.zeros(1000, 1000)._repr_html_()) < 2000


@pytest.mark.parametrize(
    "make", [lambda: tracer.nn.Parameter(tracer.ones(3)), lambda: tracer.ones(3).T, lambda: tracer.ones(())]
)
def test_subclasses_and_views(make):
    assert "<pre" in make()._repr_html_()


def test_a_tensor_shows_itself_in_a_traced_function():
    @tracer.trace
    def f(x):
        return (x * 2)._repr_html_()

    for n in range(4):
        assert f(tracer.full((2,), float(n))) == tracer.full((2,), 2.0 * n)._repr_html_()


def test_a_traced_function_and_its_explanation_show_the_report():
    f = traced()
    assert "f: 1 traces" in f._repr_html_() and f.explain()._repr_html_() == f._repr_html_()
    assert isinstance(f.explain(), str)


def test_graphs_show_their_text_with_grey_locations():
    for graph in (*traced().graphs(), *traced().fused_graphs()):
        shown = graph._repr_html_()
        assert "func @f" in shown and '<span style="color:gray">#' in shown and "-&gt; f32[]" in shown


def test_everything_is_escaped():
    @tracer.trace
    def f(x, mode):
        return x * 2

    for _ in range(2):
        f(tracer.ones(3), "<b>&")
    assert "&lt;b&gt;&amp;" in f._repr_html_() and "<b>&" not in f._repr_html_()


def test_a_profile_shows_a_table():
    f = traced()
    with profiler.profile() as p:
        f(tracer.from_numpy(np.ones(3, np.float32)))
    assert "<table>" in p._repr_html_()


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(progress, "_PATIENCE", 0.0)
    return monkeypatch


def test_a_long_compilation_shows_its_progress_on_a_terminal_and_removes_it(impatient):
    terminal = Terminal()
    impatient.setattr(sys, "__stderr__", terminal)
    assert list(progress.shown("abc")) == ["a", "b", "c"]
    lines = terminal.getvalue().split("\r\x1b[K")
    assert lines == ["", *(f"tracer: compiled {n} of 3 kernels, 0 s" for n in range(3)), ""]


def test_a_short_compilation_shows_nothing(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "__stderr__", terminal)
    assert list(progress.shown("abc")) == ["a", "b", "c"] and not terminal.getvalue()


def test_a_failed_compilation_removes_its_progress(impatient):
    terminal = Terminal()
    impatient.setattr(sys, "__stderr__", terminal)

    def compile():
        for _ in progress.shown("abc"):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        compile()
    gc.collect()
    assert terminal.getvalue().endswith("\r\x1b[K")


@pytest.mark.parametrize("stream", [None, io.StringIO()])
def test_without_a_terminal_there_is_no_progress(impatient, stream):
    impatient.setattr(sys, "__stderr__", stream)
    assert list(progress.shown("abc")) == ["a", "b", "c"]
    assert stream is None or not stream.getvalue()


def test_progress_in_a_notebook(impatient):
    told = []

    class Handle:
        def update(self, data, raw):
            told.append(data["text/plain"])

    def display(data, raw, display_id):
        told.append(data["text/plain"])
        return Handle()

    shell = types.SimpleNamespace(kernel=object())
    impatient.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    impatient.setitem(sys.modules, "IPython.display", types.SimpleNamespace(display=display))
    list(progress.shown("ab"))
    assert told == ["tracer: compiled 0 of 2 kernels, 0 s", "tracer: compiled 1 of 2 kernels, 0 s", ""]


def test_progress_is_not_the_output_of_a_traced_function(impatient, capsys):
    impatient.setattr(sys, "__stderr__", terminal := Terminal())
    chosen = random.SystemRandom().choices  # hypothesis seeds the other generator
    functions = chosen([tracer.tanh, tracer.sin, tracer.exp, tracer.abs], k=12)  # no earlier run has compiled this

    @tracer.trace
    def f(x):
        print("printed")
        for function in functions:
            x = function(x)
        return x.sum()

    for _ in range(4):
        f(tracer.ones(3))
    assert capsys.readouterr().out == "printed\n" * 4
    assert "compiled 0 of 1 kernels" in terminal.getvalue()
