"""Traced functions print and log in every call, with that call's numbers."""

import io
import logging
import subprocess
import sys
import time

import numpy as np
import pytest
from twice import both, vec

import tracer

LOG = logging.getLogger("test_trace_world")


def plain(x):
    print("begins")
    y = x * 2
    print("ends", 1, None, sep=", ", end="!\n")
    return y


def numbers(x):
    loss = (x * x).mean()
    print("loss", loss.item(), [loss.item() / 2, {"k": loss.item()}])
    return loss


def formatted(x):
    loss, k = (x * x).mean().item(), 3
    print(f"loss {loss:.3f} in step {k:>3d}: {loss * 2:>7f}", f"{k}")
    print("loss {:.2e} of {}".format(loss, k))  # noqa: UP032
    print(f"{k}{loss}{k}")
    return x + 1


def formatted_tensor(x):
    loss = (x * x).mean()
    print(f"loss: {loss:>7f}  [{len(x):>5d}/{60000:>5d}]")
    return loss


def kept(x):
    text = f"{x.sum().item():.1f}"
    print(text)
    return text if text > "5" else x


def streams(x):
    sys.stdout.write("out\n")
    sys.stderr.write("err\n")
    print("to the other", file=sys.stderr)
    return x * 3


def in_memory(x):
    buffer = io.StringIO()
    print(f"{x.sum().item():.1f}", file=buffer)
    return buffer.getvalue(), x


def branches(x):
    if x.sum() > 5:
        print("large", f"{x.sum().item():g}")
    else:
        print("small")
    return x


def logs(x):
    loss = x.sum().item()
    LOG.info("loss %.2f after %d", loss, 3)
    LOG.warning(f"warned at {loss:.1f}")
    LOG.error("plain")
    return x * 2


@pytest.mark.parametrize(
    "f", [plain, numbers, formatted, formatted_tensor, kept, streams, in_memory, branches, logs], ids=lambda f: f.__name__
)
def test_what_is_written(f, capsys, caplog):
    caplog.set_level(logging.INFO)

    def program(trace):
        g, found = trace(f), []
        capsys.readouterr()
        caplog.clear()
        for k in (1, 2, 3, 1, 0.5, -4, 2.25):
            found += [g(vec(k)), *capsys.readouterr(), caplog.messages.copy()]
        return found

    (traced,) = both(program)
    assert "eager" not in traced.explain(), traced.explain()
    if f not in (kept, in_memory):
        assert traced.cache_info().replays >= 5, traced.explain()


def test_a_string_in_which_the_number_can_be_seen_in_two_ways(capsys):
    def program(trace):
        @trace
        def f(x, name):
            print(f"{name}{x[0].item():.0f}{name}")
            return x

        return [(f(vec(k), "11"), capsys.readouterr().out) for k in (1, 2, 3, 1)]

    both(program)


def test_other_threads_print_meanwhile(capsys):
    import threading

    def program(trace):
        @trace
        def f(x):
            thread = threading.Thread(target=print, args=("other",))
            thread.start()
            thread.join()
            print("mine")
            return x * 2

        return [(f(vec(k)), capsys.readouterr().out.count("mine")) for k in (1, 2, 3)]

    both(program)


def test_streams_are_given_back():
    before = sys.stdout, sys.stderr, print, logging.Logger.handle

    @tracer.trace
    def fails(x):
        print("before")
        raise KeyError

    for _ in range(3):
        with pytest.raises(KeyError):
            fails(vec())
    assert before == (sys.stdout, sys.stderr, print, logging.Logger.handle)


def test_streams_written_in_python_are_not_part_of_the_function(monkeypatch):
    """A replacement of ``sys.stdout`` (in notebooks, test runners, progress bars) may reach anything."""

    class Stream(io.StringIO):
        held = np.zeros(1 << 20)

        def write(self, text):
            return super().write(text.upper() + str(self.held.size)[:0] + str(time.time())[:0])

    @tracer.trace
    def f(x):
        print("loss", x.sum().item())
        return x * 2

    stream = Stream()
    monkeypatch.setattr(sys, "stdout", stream)
    for k in (1, 2, 3):
        f(vec(k))
    assert f.cache_info()[:3] == (2, 1, 0), f.explain()
    assert stream.getvalue() == "LOSS 6.0\nLOSS 9.0\nLOSS 12.0\n"


FIRST_COMPILED_WHILE_RECORDING = """
import sys, math, tracer

@tracer.trace
def f(x):
    y = tracer.erf(x) * math.sqrt(x.sum().item())
    print(f"sum {y.sum().item():.1f}")
    return y

plain = print
assert "numba" not in sys.modules
for i in range(3):
    f(tracer.ones(100) * (1 + i))
assert "numba" in sys.modules and print is plain and f.cache_info()[:3] == (2, 1, 0)

import numba

@numba.njit
def g(x):
    print(x)
    return math.sqrt(x) + math.sin(x)

assert abs(g(4.0) - 2 - math.sin(4.0)) < 1e-12
"""


def test_numba_is_imported_with_what_is_there_outside_of_recordings(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACER_CACHE_DIR", str(tmp_path))
    (tmp_path / "first.py").write_text(FIRST_COMPILED_WHILE_RECORDING)
    done = subprocess.run([sys.executable, "-W", "error", tmp_path / "first.py"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["sum", "842.7", "sum", "1407.6", "sum", "1732.0", "4.0"]
