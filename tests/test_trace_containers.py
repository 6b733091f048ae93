"""Functions that change containers of numbers, which the program also changes between calls: as eager code."""

import collections
import functools
import itertools

import pytest

import tracer
from tracer import trace

X = tracer.ones(1)

SEQUENCES = {
    "list": list,
    "deque": collections.deque,
    "bounded deque": functools.partial(collections.deque, maxlen=5),
}
MAPPINGS = {
    "dict": dict,
    "OrderedDict": collections.OrderedDict,
    "defaultdict": functools.partial(collections.defaultdict, float),
    "Counter": collections.Counter,
}


def shrink(b):
    while len(b) > 1:
        b.pop()
    b.append(7.0)
    b.append(2.0)


def rotate(b):
    b.append(b.pop(0) if isinstance(b, list) else b.popleft())


def to_the_front(b):
    b.insert(0, b[-1] * 2)
    b.pop()


def swap(b):
    b[0], b[1] = b[1], b[0]


def add_to_all(b):
    for i, x in enumerate(b):
        b[i] = x + 1


OF_SEQUENCES = [
    shrink,
    rotate,
    to_the_front,
    swap,
    add_to_all,
    lambda b: b.append(0.5),
    lambda b: b.append(b[0] + b[-1]),
    lambda b: b.extend([b[0], 1.5]),
    lambda b: b.reverse(),
    lambda b: (b.remove(b[0]), b.append(4.0)),
    lambda b: (b.clear(), b.append(3.0), b.append(1.0)),
    lambda b: b.append(float(len(b))),
    lambda b: b.sort() if isinstance(b, list) else b.rotate(1),
]


def to_the_end(d):
    d["a"] = d.pop("a")


def filled_again(d):
    a, b = d["a"], d["b"]
    d.clear()
    d.update(b=b, a=a)


def sum_of_all(d):
    d["z"] = sum(d.values())


OF_MAPPINGS = [
    to_the_end,
    filled_again,
    sum_of_all,
    lambda d: d.update(a=d["b"], c=3.0),
    lambda d: d.__setitem__("z", d.get("z", 0.0) + d["a"]),
    lambda d: d.pop("z", None),
    lambda d: (d.pop("b"), d.__setitem__("b", 1.0)),
    lambda d: d.setdefault("z", d["a"] * 2),
    lambda d: d.__ior__({"b": d["a"], "z": 1.0}),
    lambda d: d.__setitem__("a", d["a"] + 1),
    lambda d: d.__setitem__("b", len(d) + d["a"]),
]


def before_call(n, b):
    """What the program does with the container."""
    if n <= 3:
        return
    if isinstance(b, dict):
        b["abc"[n % 3]] = 0.25 * n
        b.pop("z", None)
    else:
        b[n % 3 if len(b) > 2 else 0] = 0.25 * n
        if len(b) > 3:
            b.pop()


class Holder:
    pass


def made(wrap, place, b, change):
    """A call of the function, with the container in a place."""
    first = "a" if isinstance(b, dict) else 0

    def by(b, x):
        change(b)
        return x * b[first]

    if place == "argument":
        f = wrap(lambda x, b: by(b, x))
        return f, lambda: f(X, b)
    holder, boxed = Holder(), [b]
    holder.b = b
    f = wrap({"captured": lambda x: by(b, x), "attribute": lambda x: by(holder.b, x), "item": lambda x: by(boxed[0], x)}[place])
    return f, lambda: f(X)


def run(wrap, place, kind, change):
    b = SEQUENCES[kind]([0.5, 1.25, 2.5]) if kind in SEQUENCES else MAPPINGS[kind]({"a": 0.5, "b": 1.25, "c": 2.5})
    _, call = made(wrap, place, b, change)
    found = []
    for n in range(12):
        before_call(n, b)
        found.append((call().item(), list(b.items() if isinstance(b, dict) else b)))
    return found


CASES = [*itertools.product(SEQUENCES, range(len(OF_SEQUENCES))), *itertools.product(MAPPINGS, range(len(OF_MAPPINGS)))]


@pytest.mark.filterwarnings("ignore::tracer.TraceWarning")
@pytest.mark.parametrize("place", ["captured", "argument", "attribute", "item"])
@pytest.mark.parametrize("kind, number", CASES)
def test_a_container_is_changed_by_the_function_and_the_program(place, kind, number):
    change = (OF_SEQUENCES if kind in SEQUENCES else OF_MAPPINGS)[number]
    assert run(trace, place, kind, change) == run(lambda f: f, place, kind, change)
