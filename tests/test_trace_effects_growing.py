"""Effects of traced functions: containers that grow, and what training steps change."""

import collections
import threading
import types

import pytest
from test_trace_effects import Plain
from twice import both, same, tried, vec

import tracer
from tracer import nn, optim

# Containers that grow.


def appended(log, x):
    log.append(x.sum().item())
    return x * 2


def tensors_appended(log, x):
    log.append(x.detach() * 3)
    log += [x]
    log.extend(y for y in (x + 1, 5))
    return x * 2


def keys_put(log, x):
    log["a"] = x.sum()
    log.update(b=len(log_of(x)), c=[x])
    return x


def log_of(x):
    return [x]


def counted_by_key(log, x):
    for key in ("a", "b"):
        log[key] = log.get(key, 0) + 1
    return x * log["a"]


def lazily(log, x):
    if "mask" not in log:
        log["mask"] = x.detach() * 0 + 7
    return x * log["mask"]


def defaults(log, x):
    log.setdefault("list", []).append(1)
    return x * log.setdefault("k", 3)


def added(log, x):
    log.add("once")
    log.add(len(x))
    return x * 2


def windowed(log, x):
    log.append(x)
    return sum(log)


def replaced(log, x):
    log.clear()
    log.extend([x, x * 2])
    return x


def popped(log, x):
    log.append(x)
    if len(log) > 3:
        return log.pop(0) * 2
    return x


def sorted_in(log, x):
    log.append(x.sum().item())
    log.sort(reverse=True)
    return x * 2


GROWING = [
    (appended, list),
    (appended, collections.deque),
    (appended, lambda: collections.deque(maxlen=3)),
    (tensors_appended, list),
    (tensors_appended, lambda: collections.deque(maxlen=3)),
    (keys_put, dict),
    (keys_put, collections.OrderedDict),
    (counted_by_key, dict),
    (counted_by_key, collections.Counter),
    (counted_by_key, lambda: collections.defaultdict(int)),
    (lazily, dict),
    (defaults, dict),
    (added, set),
    (windowed, lambda: collections.deque(maxlen=3)),
    (replaced, list),
    (popped, list),
    (sorted_in, list),
]


@pytest.mark.parametrize("n", range(len(GROWING)))
@pytest.mark.parametrize("where", ["captured", "attribute", "argument", "in an argument"])
def test_a_container_grows(n, where):
    change, make = GROWING[n]

    def program(trace):
        log = make()
        holder = types.SimpleNamespace(log=log)
        functions = {
            "captured": (lambda x: change(log, x), ()),
            "attribute": (lambda x: change(holder.log, x), ()),
            "argument": (lambda x, given: change(given, x), (log,)),
            "in an argument": (lambda x, h: change(h.log, x), (holder,)),
        }
        function, args = functions[where]
        f = trace(function)
        return lambda i: f(vec(i), *args), lambda: log

    (f,) = tried(program, 10)
    assert not f.eager_reasons, f.explain()
    if change in (appended, tensors_appended, keys_put, lazily, added, windowed, replaced):
        assert f.cache_info().replays >= 4, f.explain()


def test_a_log_costs_two_recordings_and_may_be_read_outside():
    log = []
    f = tracer.trace(lambda x: (log.append(x.sum().item()), x * 2)[1])
    for i in range(50):
        f(vec(i))
        assert len(log) == i + 1 and log[-1] == vec(i).sum().item() and type(log) is list
        if i == 20:
            log.clear()
            log += [0.0] * (i + 1)
    assert f._recorded == 2


def test_a_function_that_keeps_recording_says_so_once():
    holder = types.SimpleNamespace(log=[])

    @tracer.trace
    def f(x):
        holder.log.append(1)
        return x * sum(holder.log)

    with pytest.warns(tracer.TraceWarning, match=r"keeps recording.*log") as told:
        for i in range(100):
            same(f(vec()), vec() * (i + 1))
    assert len(told) == 1


# Training.


def test_a_training_loop_that_counts_and_schedules():
    def program(trace):
        tracer.manual_seed(3)
        model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
        optimizer = optim.Adam(model.parameters(), lr=0.1)
        log = Plain()
        log.total, log.steps = 0.0, 0

        @trace
        def step(x):
            model.train()
            optimizer.zero_grad()
            loss = model(x).square().mean()
            loss.backward()
            optimizer.step()
            log.steps += 1
            log.total = log.total + loss.detach()
            if log.steps % 4 == 0:
                optimizer.param_groups[0]["lr"] *= 0.5
            model.eval()
            return loss

        def call(i):
            return step(tracer.randn(5, 3, generator=tracer.Generator(i)))

        return call, lambda: (log.total, log.steps, optimizer.param_groups[0]["lr"], list(model.parameters()), model.training)

    (step,) = tried(program, 14)
    assert not step.eager_reasons and step.cache_info().replays >= 8, step.explain()


def test_traced_functions_called_by_a_run_that_is_given_up():
    """Dynamic numbers stay in slots until the run ends, even if it is no longer recorded."""

    def program(trace):
        count, m = 1.0, tracer.ones(3)

        @trace
        def inner(x):
            return x * count

        @trace
        def outer(x):
            nonlocal count
            m.data = m * 0.5
            y = inner(x)
            count += 0.25
            return y + inner(x) + m

        return [outer(vec(i)) for i in range(6)], count, m

    both(program)


def test_another_thread_calls_meanwhile():
    s = types.SimpleNamespace(count=1.0, other=None)
    g = tracer.trace(lambda x: x * s.count)

    @tracer.trace
    def f(x):
        thread = threading.Thread(target=lambda: setattr(s, "other", g(tracer.ones(2)).tolist()))
        thread.start()
        thread.join()
        s.count += 1
        return x + s.count

    for i in range(5):
        expected = [i + 1.0] * 2
        f.function(tracer.ones(2)) if i == 3 else f(tracer.ones(2))
        assert s.count == i + 2 and type(s.count) is float and s.other == expected
