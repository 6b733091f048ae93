"""Interrupts and signal handlers: whatever they interrupt, every traced function stays usable."""

import builtins
import gc
import logging
import math
import random
import signal
import sys
import threading
import time

import numpy as np
import pytest

import tracer
from tracer.core.context import context
from tracer.runtime.compiler.compile import native_object
from tracer.runtime.interrupts import gated, uninterrupted

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs an interval timer")


@pytest.fixture
def alarm():
    """Sets the alarm's action."""
    before = signal.getsignal(signal.SIGALRM)
    yield lambda handler: signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def interrupted(number, frame):
    raise KeyboardInterrupt


def storm(call, count, rng, longest=3e-4):
    """Interrupts ``call``, which is repeated, ``count`` times.

    An interrupt that arrives where C calls Python, or Python returns to C, may be lost: ctypes can only print it. Then
    another one follows. None follows one that was raised.
    """
    armed = False

    def handler(number, frame):
        nonlocal armed
        if armed:
            armed = False
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, handler)
    for _ in range(count):
        try:
            signal.setitimer(signal.ITIMER_REAL, rng.uniform(5e-6, longest), 0.2)
            while True:
                armed = True
                call()
        except KeyboardInterrupt:
            signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def in_a_thread(call):
    """The result of a call in another thread, which must not wait for a lock forever."""
    box = []
    thread = threading.Thread(target=lambda: box.append(call()), daemon=True)
    thread.start()
    thread.join(60)
    assert box, "the call hangs"
    return box[0]


def programs():
    w = tracer.tensor([1.0, 2.0, 3.0], requires_grad=True)
    total = tracer.zeros(3)
    fixed = tracer.tensor([1.0, 0.0, 2.0])

    def small(x, s):
        return x * s + fixed, x.sum()

    def counting(x):
        total.add_(x)
        return total * 1

    def training(x):
        w.grad = None
        loss = ((w * x) ** 2).sum()
        loss.backward()
        return loss.detach()

    def sorting(x):
        return (x * 2).sort()[0] + 1

    def positions(x):
        return fixed[(x * 0).long()] + 1

    x = tracer.tensor([3.0, 1.0, 2.0])
    return {
        "small": (small, lambda f: f(x, 2.0)),
        "counting": (counting, lambda f: f(x)),
        "training": (training, lambda f: f(x)),
        "sorting": (sorting, lambda f: f(x)),
        "positions": (positions, lambda f: f(x)),
        "differentiated outside": (lambda x: (w * x).exp(), lambda f: f(x * 0.1).sum().backward()),
    }


@pytest.mark.parametrize("name", programs())
def test_a_thousand_interrupts(name, alarm):
    function, call = programs()[name]
    f = tracer.trace(function)
    for _ in range(4):
        call(f)
    alarm(interrupted)
    storm(lambda: call(f), 1000, np.random.default_rng(1))
    assert context.grad_enabled and context.recorder is None and gc.isenabled()
    in_a_thread(lambda: (call(f), 1))
    y = tracer.ones(2, requires_grad=True)
    (y * 3).sum().backward()
    assert y.grad.tolist() == [3.0, 3.0]
    if name in ("small", "sorting", "training"):
        actual, expected = call(f), call(function)
        for a, b in zip(*((r if isinstance(r, tuple) else (r,)) for r in (actual, expected)), strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert len(f.traces) == 1 and not f.eager_reasons


def test_interrupts_while_recording_and_compiling(alarm):
    alarm(interrupted)
    rng = np.random.default_rng(2)
    total = tracer.zeros(())
    f = tracer.trace(lambda x: (total.add_(x.sum()), (x * 2).softmax(-1))[1])
    for n in range(1, 120):
        try:
            signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-5, 1e-2))
            for _ in range(4):
                f(tracer.ones(n))
            signal.setitimer(signal.ITIMER_REAL, 0)
        except KeyboardInterrupt:
            pass
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert context.grad_enabled and context.recorder is None and gc.isenabled()
    for n in (5, 77, 200):
        for _ in range(3):
            before = total.item()
            np.testing.assert_allclose(in_a_thread(lambda n=n: f(tracer.ones(n))).numpy(), np.full(n, 1 / n), rtol=1e-6)
            assert total.item() == pytest.approx(before + n)


def test_handlers_call_traced_functions(alarm):
    """A call interrupted by another call of the same function: both are unaffected."""
    total, called = tracer.zeros(3), [0]
    f = tracer.trace(lambda x, s: (total.add_(1.0), x * s + 1)[1])
    x, other = tracer.tensor([1.0, 2.0, 3.0]), tracer.tensor([10.0, 20.0, 30.0])

    def handler(number, frame):
        called[0] += 1
        assert f(other, 3.0).tolist() == [31.0, 61.0, 91.0]
        signal.setitimer(signal.ITIMER_REAL, 2e-4)

    for _ in range(3):
        f(x, 2.0), f(other, 3.0)
    total.zero_()
    alarm(handler)
    calls, end = 0, time.monotonic() + 20
    signal.setitimer(signal.ITIMER_REAL, 2e-4)
    while called[0] < 500 and time.monotonic() < end:
        calls += 1
        assert f(x, 2.0).tolist() == [3.0, 5.0, 7.0]
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert called[0] >= 100
    assert total.tolist() == [float(calls + called[0])] * 3


def test_what_a_handler_does_is_no_part_of_a_recording(alarm):
    seen, other = tracer.zeros(2), tracer.trace(lambda x: x + 1)

    def handler(number, frame):
        seen.add_(other(tracer.ones(2)))

    def f(x):
        y = x * 2
        sum(range(3_000_000))  # the signal arrives meanwhile
        return y + 1.0

    alarm(handler)
    f = tracer.trace(f)
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    for _ in range(3):
        assert f(tracer.ones(2)).tolist() == [3.0, 3.0]
    (graph,) = f.graphs()
    assert not graph.updates and [op.primitive.name for op in graph.ops if len(op.operands) == 2] == ["mul", "add"]
    assert seen.tolist() == [2.0, 2.0]
    assert signal.getsignal(signal.SIGALRM) is handler


def test_a_signal_that_a_function_raises_comes_in_every_call(alarm):
    seen = tracer.zeros(2)
    alarm(lambda number, frame: seen.add_(1))
    f = tracer.trace(lambda x: x * float(signal.raise_signal(signal.SIGALRM) or 2.0))
    for _ in range(3):
        assert f(tracer.ones(2)).tolist() == [2.0, 2.0]
    assert seen.tolist() == [3.0, 3.0]


def test_an_interrupt_in_a_step_that_numpy_does():
    """It is raised, not lost in a callback."""
    f = tracer.trace(lambda x: (x * 2).sort()[0])
    x = tracer.tensor([2.0, 1.0])
    for _ in range(3):
        f(x)
    (trace,) = f.traces[next(iter(f.traces))]
    (frame,) = trace.executable.program.frames
    frame._failures.append(KeyboardInterrupt())
    frame.arm = lambda: None  # as if the step had failed
    frame._status[:, 0] = 1
    with pytest.raises(KeyboardInterrupt):
        frame.forget_failure()
    del frame.arm
    assert f(x).tolist() == [2.0, 4.0]


def test_work_that_is_not_interrupted(alarm):
    """Handlers run when the work is over, also for nested work; they are restored afterwards."""
    came, done = [], []

    def handler(number, frame):
        came.append(number)
        raise KeyboardInterrupt

    @uninterrupted
    def inner():
        signal.raise_signal(signal.SIGALRM)
        done.append("inner")

    @uninterrupted
    def outer():
        inner()
        assert not came
        done.append("outer")

    alarm(handler)
    with pytest.raises(KeyboardInterrupt):
        outer()
    assert done == ["inner", "outer"] and came == [signal.SIGALRM]
    assert signal.getsignal(signal.SIGALRM) is handler
    assert in_a_thread(uninterrupted(lambda: 1)) == 1


def test_signals_run_while_a_gate_is_open(alarm):
    """They go through the outermost gate. Nested work closes it while it runs."""
    came = []
    alarm(lambda number, frame: came.append(number))
    ring = lambda: signal.raise_signal(signal.SIGALRM)

    def call(handler, number, frame):
        came.append("through")
        handler(number, frame)

    with gated(call) as gate:
        ring()
        assert not came
        with gate.open:
            ring()
            assert came == ["through", signal.SIGALRM]
            with gated():
                ring()
                assert len(came) == 2
            assert len(came) == 6  # the first one, and this
        with gated() as inner, inner.open:
            ring()
        assert len(came) == 6
    assert len(came) == 8
    ring()
    assert came[8:] == [signal.SIGALRM]


def test_every_signal_is_handled_where_one_handler_raises(alarm):
    came, before = [], signal.getsignal(signal.SIGUSR1)
    alarm(interrupted)
    signal.signal(signal.SIGUSR1, lambda number, frame: came.append(number))
    try:
        with pytest.raises(KeyboardInterrupt), gated():
            signal.raise_signal(signal.SIGALRM)
            signal.raise_signal(signal.SIGUSR1)
        assert came == [signal.SIGUSR1]
        assert signal.getsignal(signal.SIGALRM) is interrupted
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_interrupts_leave_no_lock_of_llvm_held(alarm):
    """After interrupted compilation, another thread can compile new kernels."""
    alarm(interrupted)
    rng, text = np.random.default_rng(0), "define double @SYMBOL_f(double %x) {{ %y = fadd double %x, {}.0\n ret double %y }}"
    count = iter(range(10**9))

    def compiles():
        return len(native_object(text.format(next(count)), f"probe{next(count)}"))

    storm(compiles, 300, rng)
    assert in_a_thread(compiles) > 0


class Counter:
    """Has numbers, a growing list, and methods whose code is replaced while a run is recorded."""

    def __init__(self):
        self.scale, self.steps, self.log = 2.0, 0, []

    def __call__(self, x):
        self.steps += 1
        y = x * math.sin(self.scale) * float(len(self.log) + 1) + random.random()
        self.log.append(y.sum().item())
        print(end="")
        if y.sum() > 1e9:
            y = y * int(self.scale)
        return y.exp()


def test_interrupts_of_recordings_leave_nothing_behind(alarm):
    """Everything replaced during recording (functions, numbers, code, streams, generators) is restored."""

    def world():
        spaces = {"builtins": vars(builtins), "math": vars(math), "random": vars(random), "Logger": vars(logging.Logger)}
        found = {(name, key): value for name, space in spaces.items() for key, value in list(space.items())}
        found["code"] = Counter.__call__.__code__
        found["streams"] = sys.stdout, sys.stderr, sys.getprofile(), sys.getrecursionlimit()
        found["generator"] = type(random._inst)
        found["recorder"] = context.recorder, context.recording, gc.isenabled()
        found["handler"] = signal.getsignal(signal.SIGALRM)
        return found

    x, random_state = tracer.ones(2), random.getstate()
    for _ in range(3):
        tracer.trace(Counter())(x)
    alarm(interrupted)
    before, rng = world(), np.random.default_rng(0)
    made = []

    def records():
        made.append(Counter())
        tracer.trace(made[-1])(x)

    for _ in range(600):
        storm(records, 1, rng, longest=5e-3)
        after = world()
        assert [key for key in before if before[key] is not after.get(key) and before[key] != after.get(key)] == []
        for counter in made:
            assert type(counter.scale) is float and type(counter.steps) is int and counter.steps in (0, 1)
            assert all(type(value) is float for value in counter.log) and len(counter.log) in (0, 1)
        made.clear()
    random.setstate(random_state)
    f, expected = tracer.trace(Counter()), []
    for call in (f, Counter()):
        random.seed(0)
        expected.append([call(x).numpy() for _ in range(5)])
    np.testing.assert_allclose(*expected, rtol=1e-6)
    assert f.cache_info().replays >= 2 and not f.eager_reasons
