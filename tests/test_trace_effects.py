"""Traced functions change Python objects like eager ones: counters, states, caches, arguments, also before exceptions."""

import collections
import dataclasses
import types

import pytest
from twice import leaf, same, tried, vec

import tracer
from tracer import nn

# Places, and operations on their values.

COUNT, TENSOR, WRITTEN = 0, None, None


class Plain:
    def __init__(self):
        self.value = 0


class Slotted:
    __slots__ = ("value",)

    def __init__(self):
        self.value = 0


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.value = 0


def attribute(kind):
    def place():
        x = kind()
        return lambda: x.value, lambda v: setattr(x, "value", v), x

    return place


def item(make, key):
    def place():
        x = make()
        return lambda: x[key], lambda v: x.__setitem__(key, v), x

    return place


def cell():
    value = 0

    def get():
        return value

    def put(v):
        nonlocal value
        value = v

    return get, put, None


def of_module():
    def get():
        return COUNT

    def put(v):
        global COUNT
        COUNT = v

    put(0)
    return get, put, None


def of_class():
    class C:
        value = 0

    return lambda: C.value, lambda v: setattr(C, "value", v), C


def of_function():
    def f():
        pass

    f.value = 0
    return lambda: f.value, lambda v: setattr(f, "value", v), f


PLACES = {
    "attribute": attribute(Plain),
    "namespace": attribute(lambda: types.SimpleNamespace(value=0)),
    "slot": attribute(Slotted),
    "module": attribute(Layer),
    "dict": item(lambda: {"value": 0, "other": 1}, "value"),
    "list": item(lambda: [1, 0, 2], 1),
    "deque": item(lambda: collections.deque([1, 0, 2]), 1),
    "ordered": item(lambda: collections.OrderedDict(a=1, value=0), "value"),
    "int key": item(lambda: {5: 0, "a": 1}, 5),
    "cell": cell,
    "global": of_module,
    "class": of_class,
    "function": of_function,
}


def counted(get, put, x):
    put(get() + 1)
    return x * get()


def averaged(get, put, x):
    put(0.9 * get() + 0.1)
    return x * get()


def summed(get, put, x):
    put(x + get())
    return get()


def kept(get, put, x):
    y = x * 2
    put(y)
    return y


def replaced_by_argument(get, put, x):
    put(x)
    return x + 1


def in_a_tuple(get, put, x):
    h, n = (x, 1) if get() == 0 else get()
    put((h * 0.5 + x, n + 1))
    return h * n


def in_a_list(get, put, x):
    before = get() or [x, 1]
    put([before[0] * 0.5 + x, before[1] + 1])
    return before[0] * before[1]


def in_a_dict(get, put, x):
    before = get() or {"h": x, "n": 1}
    put({"h": before["h"] * 0.5 + x, "n": before["n"] + 1})
    return get()["h"]


def changed_in_a_dict(get, put, x):
    if get() == 0:
        put({"h": x, "n": 0})
    state = get()
    state["h"] = state["h"] * 0.5 + x
    state["n"] += 1
    return state["h"] * state["n"]


def set_once(get, put, x):
    if isinstance(get(), int):
        put(x.detach().clone())
    return x + get()


def a_setting(get, put, x):
    put("on")
    return x * (2 if get() == "on" else 3)


def toggled(get, put, x):
    put(not get())
    return x * (2 if get() else 3)


def to_and_fro(get, put, x):
    before = get()
    put(5)
    y = x * get()
    put(before)
    return y


def several_times(get, put, x):
    for _ in range(3):
        put(get() + 1)
    return x * get()


def under_no_grad(get, put, x):
    with tracer.no_grad():
        put(0.9 * get() + 0.1 * x)
    return x * get()


CHANGES = [
    counted,
    averaged,
    summed,
    kept,
    replaced_by_argument,
    in_a_tuple,
    in_a_list,
    in_a_dict,
    changed_in_a_dict,
    set_once,
    a_setting,
    toggled,
    to_and_fro,
    several_times,
    under_no_grad,
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("change", CHANGES, ids=lambda f: f.__name__)
def test_a_place_is_changed(place, change):
    def program(trace):
        get, put, _ = PLACES[place]()
        f = trace(lambda x: change(get, put, x))
        return lambda i: f(vec(i)), get

    (f,) = tried(program)
    assert not f.eager_reasons and f.cache_info().replays >= 3, f.explain()


@pytest.mark.parametrize("change", [counted, summed, kept, changed_in_a_dict, under_no_grad], ids=lambda f: f.__name__)
def test_what_is_stored_can_be_differentiated(change):
    def program(trace):
        holder, w = Plain(), leaf(2)
        f = trace(lambda x: change(lambda: holder.value, lambda v: setattr(holder, "value", v), x * w))

        def call(i):
            w.grad = None
            y = f(vec(i))
            y.sum().backward(retain_graph=True)
            stored = holder.value["h"] if isinstance(holder.value, dict) else holder.value
            if isinstance(stored, tracer.Tensor) and stored.requires_grad:
                stored.square().sum().backward(retain_graph=True)
            return w.grad.clone()

        return call, lambda: holder.value

    tried(program)


def test_the_result_is_what_is_stored():
    holder = Plain()

    @tracer.trace
    def f(x):
        holder.value = x * 2
        holder.pair = [holder.value, {"again": holder.value}]
        return holder.value, holder.pair

    for i in range(5):
        y, pair = f(vec(i))
        assert y is holder.value and pair is holder.pair and pair[0] is y and pair[1]["again"] is y
    assert f.cache_info().replays == 3


def test_changes_from_outside_are_seen():
    def program(trace):
        holder = Plain()

        @trace
        def f(x):
            holder.value = holder.value + 1
            return x * holder.value

        def call(i):
            if i == 4:
                holder.value = 100
            if i == 6:
                holder.value = 2.5
            if i == 7:
                holder.value = vec(3)
            if i == 9:
                holder.value = True
            return f(vec(i))

        return call, lambda: holder.value

    (f,) = tried(program, 11)
    assert not f.eager_reasons


def test_other_functions_see_the_changes():
    def program(trace):
        layer, plain = Layer(), Plain()

        @trace
        def step(x):
            layer.value += 1
            plain.value += 1
            return x * 2

        @trace
        def look(x):
            return x * layer.value + plain.value

        return lambda i: (step(vec(i)), look(vec(i))), lambda: (layer.value, plain.value)

    step, look = tried(program, 9)
    assert step.cache_info().replays >= 5 and look.cache_info().replays >= 4


# Arguments.


@dataclasses.dataclass
class State:
    h: object
    n: int = 0


def states():
    return {
        "object": types.SimpleNamespace(h=vec(), n=0),
        "dataclass": State(vec()),
        "dict": {"h": vec(), "n": 0},
        "ordered": collections.OrderedDict(h=vec(), n=0),
        "list": [vec(), 0],
        "deque": collections.deque([vec(), 0]),
    }


@pytest.mark.parametrize("kind", states())
@pytest.mark.parametrize("again", [True, False])
def test_an_argument_is_changed(kind, again):
    def program(trace):
        one = states()[kind]
        latest = [one]

        @trace
        def f(x, s):
            if isinstance(s, dict):
                s["h"], s["n"] = s["h"] * 0.5 + x, s["n"] + 1
                return s["h"] * s["n"]
            if isinstance(s, (list, collections.deque)):
                s[0], s[1] = s[0] * 0.5 + x, s[1] + 1
                return s[0] * s[1]
            s.h, s.n = s.h * 0.5 + x, s.n + 1
            return s.h * s.n

        def call(i):
            latest[0] = one if again else states()[kind]
            return f(vec(i), latest[0])

        return call, lambda: latest[0] if kind not in ("object", "dataclass") else vars(latest[0])

    (f,) = tried(program)
    assert not f.eager_reasons and f.cache_info().replays >= 4, f.explain()


def test_methods_that_change_their_object():
    def program(trace):
        class Counter:
            def __init__(self):
                self.calls, self.total = 0, 0.0

            @trace
            def add(self, x):
                self.calls += 1
                self.total = self.total + x.sum()
                return x * self.calls

        a, b = Counter(), Counter()
        return lambda i: (a if i % 3 else b).add(vec(i)), lambda: (vars(a), vars(b))

    (f,) = tried(program, 10)
    assert not f.eager_reasons and f.cache_info().replays >= 6, f.explain()


def test_a_list_that_is_captured_and_an_argument():
    def program(trace):
        state, other = [0.5], [0.25]

        @trace
        def f(x, s):
            s[0] = s[0] * 2
            return x * state[0]

        return lambda i: f(vec(i), state if i % 3 else other), lambda: (state, other)

    tried(program, 9)


def test_one_list_twice():
    def program(trace):
        a, b = [0.5], [0.5]

        @trace
        def f(x, s, t):
            s[0] = s[0] * 2
            t[0] = t[0] + 1
            return x * s[0] * t[0]

        return lambda i: f(vec(i), a, a if i % 2 else b), lambda: (a, b)

    tried(program, 9)


# Exceptions.


def test_changes_before_an_exception_stay():
    def program(trace):
        holder, given = Plain(), {"k": 0.5}

        @trace
        def f(x, d, fail):
            holder.value += 1
            d["n"] = holder.value
            d["k"] = d["k"] * 2
            if fail:
                raise ValueError("no")
            return x * d["k"]

        return lambda i: f(vec(i), given, i % 3 == 0), lambda: (holder.value, given)

    tried(program, 9)


def test_an_index_out_of_range_changes_what_comes_before_it():
    def program(trace):
        holder, table = Plain(), vec(n=5)

        @trace
        def f(at):
            holder.value += 1
            y = table[at]
            holder.last = y
            return y * 2

        return lambda i: f(tracer.tensor([i % 7])), lambda: vars(holder)

    tried(program, 12)


# Dynamic ints.

INTS = {
    "arithmetic": lambda x, n: x * (3 * n + 1 - n // 2) + (n % 4) * (2**n) - (n << 1) + (n ^ 5) + ~n + abs(-n),
    "division": lambda x, n: x * (1 / n) + n / 7 + x / n,
    "power": lambda x, n: x**n + n**0.5 + (-1) ** n,
    "operand": lambda x, n: (x + n, n - x, x.long() + n, x.double() * n, (x > n), x.to(tracer.int8) * n, x.half() + n),
    "range": lambda x, n: sum((x * i for i in range(n)), x),
    "shape": lambda x, n: tracer.ones(n, 2) * x[0] + n,
    "index": lambda x, n: x[n % 3] * n,
    "slice": lambda x, n: x[: n % 3 + 1] * n,
    "list": lambda x, n: x * [1, 2, 3, 4][n % 4],
    "key": lambda x, n: x * {1: 2, 2: 3}.get(n, 5),
    "text": lambda x, n: (x * n, f"{n} {n:03d} {n!r}", str(n), "%d" % n),  # noqa: UP031
    "instance": lambda x, n: x * (2 if isinstance(n, int) and not isinstance(n, (bool, float)) else 3) * n,
    "compared": lambda x, n: x * n if n > 3 else x / n,
    "divmod": lambda x, n: x * divmod(n, 3)[0] + divmod(n, 3)[1] + divmod(100, n)[1],
    "rounded": lambda x, n: x * round(n) + round(n / 3) + round(n / 3, 1) + int(n / 2) + float(n),
    "min and max": lambda x, n: x * min(n, 4) + max(n, 4) + sum([n, n]),
    "result": lambda x, n: (x, n, n + 1, [n * 2], {"n": n / 2}, {n: 1}),
    "hash": lambda x, n: x * (n in {1, 2, 3}) + len({n, 1}),
    "bool": lambda x, n: x * bool(n) + (x if n else -x) + (n and 2) + (not n),
    "repeat": lambda x, n: x * len([0] * n) + len("ab" * n) + len(bytes(n)),
    "full": lambda x, n: tracer.full((3,), n) + tracer.tensor(n) + tracer.arange(3) * n,
    "methods": lambda x, n: x * n.bit_length() + n.real + n.numerator,
    "clamp": lambda x, n: x.clamp(0, n) + x.clamp(max=n) + tracer.where(x > n, n, x),
    "fill": lambda x, n: x.clone().fill_(n) + x.clone().add_(n).mul_(n) + tracer.add(x, x, alpha=n),
    "dim": lambda x, n: x.reshape(1, 3).sum(dim=n % 2) * n,
}


@pytest.mark.filterwarnings("ignore::tracer.TraceWarning")
def test_code_that_takes_no_dynamic_ints_raises_at_most_once():
    seen, calls = [], []

    @tracer.trace
    def f(x, n):
        seen.append(n)
        return x * int.bit_length(n)

    for n in (3, 5, 9, 17):
        try:
            calls.append(f(vec(), n).tolist() == (vec() * n.bit_length()).tolist())
        except TypeError:
            calls.append(None)
    assert seen == [3, 5, 9, 17]
    assert calls.count(None) <= 1 and calls[2:] == [True, True]
    assert "for what stands for its numbers" in f.explain()


@pytest.mark.parametrize("name", INTS)
def test_ints_of_the_run(name):
    def program(trace):
        f = trace(INTS[name])
        return lambda i: f(vec(), i + 1), lambda: None

    (f,) = tried(program, 9)
    assert not f.eager_reasons, f.explain()


@pytest.mark.parametrize("name", ["arithmetic", "division", "operand", "instance", "full", "clamp", "fill", "min and max"])
def test_ints_that_decide_nothing_cost_few_recordings(name):
    f = tracer.trace(INTS[name])
    for i in range(20):
        f(vec(), i + 1)
    assert f._recorded <= 4, f.explain()


def test_large_ints():
    def program(trace):
        f = trace(lambda x, n: (x.long() + n, x + n, n * n))
        return lambda i: f(vec(), 2 ** (50 + i)), lambda: None

    tried(program, 9)


def test_bools_are_constants():
    f = tracer.trace(lambda x, flag: x * 2 if flag is True else x * 3 if flag is False else x)
    for flag in (True, False, True, 1, False, 0):
        same(f(vec(), flag), f.function(vec(), flag))


def test_more_ints_than_a_signature_has_traces():
    f = tracer.trace(lambda x, n: x[:n] * 2)
    for _ in range(2):
        for n in range(1, 20):
            same(f(vec(n=20), n), vec(n=20)[:n] * 2)
    assert not f.eager_reasons and f.cache_info().replays >= 17
