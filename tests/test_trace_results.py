"""Results that traced functions may return: objects that consist of class and contents; new, shared, or existing ones."""

import collections
import copy
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import math
import pathlib
import re
import types
import typing
import warnings

import numpy as np
import pytest

import tracer
from tracer import nn, trace


def vec(*values, grad=False):
    return tracer.tensor(values or (1.0, 2.0, 3.0), requires_grad=grad)


def told(x, depth=0):
    """Everything about an object, as plain values."""
    if isinstance(x, tracer.Tensor):
        return type(x), x.dtype, x.requires_grad, np.round(x.detach().numpy(), 5).tolist()
    if isinstance(x, np.ndarray):
        return x.dtype, x.tolist()
    inside = []
    if isinstance(x, dict):
        inside = [(told(k, depth + 1), told(v, depth + 1)) for k, v in x.items()]
    elif isinstance(x, (list, tuple, set, frozenset, collections.deque)):
        inside = [told(v, depth + 1) for v in x]
    if isinstance(x, (list, dict, tuple, set, frozenset, collections.deque)) or hasattr(type(x), "__dataclass_fields__"):
        own = vars(x) if hasattr(x, "__dict__") and vars(x) is not x else {}
        slots = [(n, told(getattr(x, n))) for n in getattr(type(x), "__slots__", ())]
        more = x.maxlen if isinstance(x, collections.deque) else getattr(type(x), "default_factory", None) and x.default_factory
        return type(x), inside, [(n, told(v)) for n, v in own.items()], slots, more
    if hasattr(x, "__dict__") and not isinstance(x, (type, types.FunctionType, types.ModuleType)):
        return type(x), [(n, told(v, depth + 1)) for n, v in vars(x).items()]
    return type(x), x


@dataclasses.dataclass
class Out:
    loss: object
    logits: object = None
    n: int = 1


@dataclasses.dataclass(frozen=True)
class Frozen:
    loss: object
    logits: object = None


@dataclasses.dataclass(slots=True)
class Slotted:
    loss: object
    k: float = 2.0


@dataclasses.dataclass
class Counted:
    a: object
    b: object = dataclasses.field(init=False)
    made: typing.ClassVar[int] = 0

    def __post_init__(self):
        self.b = self.a * 2


class Plain:
    def __init__(self, a, b):
        self.a, self.b = a, b

    def __setattr__(self, name, value):  # a replay does not use this
        if hasattr(self, name):
            raise AttributeError(name)
        object.__setattr__(self, name, value)


class ModelOutput(collections.OrderedDict):
    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


@dataclasses.dataclass
class Hugging(collections.OrderedDict):
    loss: object = None
    logits: object = None

    def __post_init__(self):
        for f in dataclasses.fields(self):
            self[f.name] = getattr(self, f.name)


class AttrDict(dict):
    __getattr__ = dict.__getitem__
    __setattr__ = dict.__setitem__


class SelfDict(dict):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.__dict__ = self


class Pair(collections.namedtuple("Pair", "a b")):
    def both(self):
        return self.a + self.b


class Named(typing.NamedTuple):
    a: object
    b: int = 3


class List(list):
    pass


class Color(enum.Enum):
    RED = 1


RESULTS = {
    "dataclass": lambda x: Out(x.sum(), x * 2),
    "frozen": lambda x: Frozen(x.sum(), x * 2),
    "slots": lambda x: Slotted(x.sum()),
    "post init": lambda x: Counted(x.sum()),
    "plain": lambda x: Plain(x.sum(), [x * 2]),
    "ordered": lambda x: collections.OrderedDict(b=x.sum(), a=x * 2),
    "default": lambda x: collections.defaultdict(list, a=x.sum()),
    "counter": lambda x: collections.Counter("aab"),
    "deque": lambda x: collections.deque([x.sum(), x * 2], maxlen=5),
    "namedtuple": lambda x: (Pair(x.sum(), x * 2), Named(x * 3)),
    "model output": lambda x: ModelOutput(a=x.sum(), b=x * 2),
    "hugging": lambda x: Hugging(loss=x.sum(), logits=x * 2),
    "attribute dict": lambda x: (AttrDict(a=x.sum()), SelfDict(a=x * 2)),
    "list": lambda x: List([x.sum(), 2]),
    "set": lambda x: ({1, 2}, frozenset({"a"})),
    "nested": lambda x: {"a": [Out(x.sum(), (x * 2, Plain(x, 3)))], 3: collections.OrderedDict(z=x * 3), (1, "k"): ()},
    "namespace": lambda x: types.SimpleNamespace(a=x * 2, b=3),
    "numpy": lambda x: (np.arange(3.0), np.float32(2), x * 2),
    "values": lambda x: (decimal.Decimal("1.5"), fractions.Fraction(1, 3), datetime.timedelta(3), Color.RED, ..., x * 2),
    "more values": lambda x: (pathlib.Path("a"), re.compile("a"), range(3), slice(1, 2), 1 + 2j, b"a", NotImplemented, math),
    "about tensors": lambda x: (x.dtype, x.shape, x.device, type(x), x.size(0), x.is_leaf, x * 2),
    "functions": lambda x: (math.sin, np.sin, nn.Linear, x * 2, len, tracer.exp, str.upper),
    "distribution": lambda x: tracer.distributions.Normal(x, x.exp()),
    "views": lambda x: Out(x[1:], x.reshape(1, -1)),
    "nothing": lambda x: Out(None),
    "argument": lambda x: Out(x, [x, x * 2]),
}


@pytest.mark.parametrize("name", RESULTS)
def test_objects_are_made_again(name):
    function = RESULTS[name]
    f = trace(function)
    seen = {}
    for i in range(4):
        x = vec(1.0, 2.0, float(i))
        got, want = f(x), function(x)
        assert told(got) == told(want)
        seen[id(got)] = got
    assert f.cache_info()[:3] == (3, 1, 0), f.explain()
    if not isinstance(want, tuple):
        assert len(seen) == 4


def test_made_objects_are_new_and_whole():
    f = trace(lambda x: Out(x * 2, [x + 1]))
    first, second, third = (f(vec()) for _ in range(3))
    second.n = 7
    second.logits.append(3)
    assert third.n == 1 and len(third.logits) == 1 and f(vec()).n == 1
    assert dataclasses.replace(third, n=4).n == 4 and copy.deepcopy(third).loss.tolist() == [2, 4, 6]
    assert first.loss.tolist() == [2, 4, 6]
    g = trace(lambda x: Pair(x, x * 2))
    assert [g(vec()).both().tolist() for _ in range(3)] == [[3, 6, 9]] * 3


def test_gradients_flow_from_objects_outside():
    def function(x):
        return Out(x.square().sum(), {"l": x * 2})

    f = trace(function)
    for i in range(4):
        grads = []
        for g in (f, function):
            x = vec(1.0, 2.0, float(i), grad=True)
            out = g(x)
            (out.loss + out.logits["l"].sum() * 3).backward()
            grads.append(x.grad.tolist())
        assert grads[0] == grads[1]
    assert f.cache_info().replays == 3


def test_one_object_in_several_places():
    def function(x):
        one, pair, out = [x * 2, 3], (x + 1,), Out(x)
        return one, one, {"a": one, "o": out}, pair, [pair], out

    f = trace(function)
    for _ in range(4):
        a, b, c, d, e, o = f(vec())
        assert a is b is c["a"] and e[0] is d and c["o"] is o and a[0].tolist() == [2, 4, 6]
    assert f.cache_info().replays == 3


def test_objects_that_contain_themselves():
    def function(x):
        items = [x * 2]
        items.append(items)
        parent = types.SimpleNamespace(x=x + 1)
        parent.child = types.SimpleNamespace(parent=parent)
        table = {}
        table["self"] = table
        return types.SimpleNamespace(items=items, parent=parent, table=table)

    f = trace(function)
    for _ in range(4):
        r = f(vec())
        assert r.items[1] is r.items and r.parent.child.parent is r.parent and r.table["self"] is r.table
        assert r.items[0].tolist() == [2, 4, 6] and r.parent.x.tolist() == [2, 3, 4]
    assert f.cache_info().replays == 3


def test_functions_and_methods_are_made_again():
    def function(x):
        y, count = x * 2, 3

        def inner(z, k=y, *, m=x):
            return y + z + k + m + count

        def loop(n):
            return y if n == 0 else loop(n - 1)

        inner.tag = y
        return inner, loop, Plain(y, 1), functools.partial(tracer.add, y), lambda: inner

    f = trace(function)
    for i in range(4):
        x = vec(1.0, 2.0, float(i))
        inner, loop, plain, partial, get = f(x)
        want = function(x)
        assert inner(vec()).tolist() == want[0](vec()).tolist() and loop(3).tolist() == want[1](3).tolist()
        assert inner.__name__ == "inner" and inner.tag.tolist() == (x * 2).tolist() and get() is inner
        assert plain.a.tolist() == (x * 2).tolist() and partial(vec()).tolist() == want[3](vec()).tolist()
    assert f.cache_info().replays == 3


class Holder(nn.Module):
    def __init__(self):
        super().__init__()
        self.config, self.log = types.SimpleNamespace(k=2), [1]

    def forward(self, x):
        return self, self.config, self.log, x * self.config.k


def test_what_was_there_before_is_what_is_returned():
    log, table, plain, pair = [1, 2], {"k": 2}, Plain(3, [1]), (vec(), [2])
    m = Holder()

    def function(x):
        return x * plain.a, log, table, plain, plain.b, pair, pair[1], m(x), math, helper

    def helper():
        return 1

    f = trace(function)

    def check():
        for _ in range(3):
            got = f(vec())
            assert got[1] is log and got[2] is table and got[3] is plain and got[4] is plain.b
            assert got[5] is pair and got[6] is pair[1] and got[9] is helper
            assert got[7][0] is m and got[7][1] is m.config and got[7][2] is m.log

    check()
    assert f.cache_info().replays == 2
    log.append(3)
    check()
    log = list(log)  # an equal one
    table = dict(table)
    check()
    m.config = types.SimpleNamespace(k=2)
    check()
    plain, m = Plain(3, [1]), Holder()
    check()
    assert f.cache_info().replays >= 8


@pytest.mark.filterwarnings("ignore::tracer.TraceWarning")
def test_arguments_that_are_returned_are_the_arguments():
    f = trace(lambda o, x: (o, x * o.a, [o]))
    g = trace(lambda items: (items, items[0] * 2))
    h = trace(lambda m, x: (m.config, m(x)[3]))
    m = Holder()
    for o in (Plain(2, []), Plain(2, [])):
        for _ in range(3):
            got = f(o, vec())
            assert got[0] is o and got[2][0] is o and got[1].tolist() == [2, 4, 6]
            items = [vec()]
            assert g(items)[0] is items
            assert h(m, vec())[0] is m.config


def test_what_cannot_be_made_again_runs_eagerly_and_says_what_to_return():
    cases = {
        "a generator": lambda x: (t for t in x),
        "a map": lambda x: map(abs, x),
        "an? iterator": lambda x: iter([x]),
        "nn.modules.linear.Linear": lambda x: nn.Linear(2, 2),
        "an? .*memoryview": lambda x: memoryview(b"a"),
        "ValueError": lambda x: ValueError(x),
        "class Local, which it made": local_class,
        "a tensor's memory": lambda x: Out(x.detach()._data),
    }
    for said, function in cases.items():
        f = trace(function)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(3):
                f(vec())
        messages = [str(w.message) for w in caught]
        assert f.cache_info().replays == 0 and len(messages) == 1, said
        assert "it returns" in messages[0]


def local_class(x):
    class Local:
        pass

    return Local


def test_deep_results_run_eagerly():
    def function(x):
        items = []
        for _ in range(300):
            items = [items, x]
        return items

    f = trace(function)
    with pytest.warns(tracer.TraceWarning, match="nested more than"):
        for _ in range(3):
            assert len(f(vec())) == 2


@pytest.mark.parametrize(
    "view", [lambda y: y[:, 0], lambda y: y.view(-1), lambda y: y.t(), lambda y: y.chunk(2, 1)[0], lambda y: y[:, 0][1:]]
)
def test_views_whose_graph_was_freed(view):
    """A step that returns its prediction beside the loss."""

    def program(trace):
        w = tracer.ones(3, 2, dtype=tracer.float64, requires_grad=True)

        @trace
        def step(x):
            out = view(x @ w)
            loss = out.pow(2).mean()
            loss.backward()
            w.grad = None
            return loss, out

        return step

    traced, eager = program(tracer.trace), program(lambda f: f)
    for k in range(4):
        x = tracer.arange(12.0, dtype=tracer.float64).reshape(4, 3) * (k + 1)
        (loss, out), (wanted, expected) = traced(x), eager(x)
        assert tracer.allclose(loss, wanted) and tracer.allclose(out, expected) and out.stride() == expected.stride()
        assert out.requires_grad and out.grad_fn.name() == expected.grad_fn.name() and out._base is not None
        with pytest.raises(RuntimeError, match="second time"):
            out.sum().backward()
    assert traced.cache_info().replays == 3


def test_tensors_made_in_inference_mode_inside():
    layer = tracer.nn.Linear(3, 3)

    @tracer.inference_mode()
    def generate(x):
        for _ in range(3):
            x = layer(x).relu()
        return x, {"first": x[0]}

    traced = tracer.trace(generate)
    for _ in range(4):
        x = tracer.rand(2, 3)
        (result, parts), (expected, _) = traced(x), generate(x)
        assert tracer.allclose(result, expected) and tracer.allclose(parts["first"], expected[0])
        for t in (result, parts["first"]):
            assert t.is_inference() and not t.requires_grad
            with pytest.raises(RuntimeError, match="Inplace update to inference tensor"):
                t.add_(1)
    assert traced.cache_info().replays == 3


def test_numbers_in_slices_and_partial_functions():
    """Immutable objects that hold numbers of the call."""

    def program(wrap):
        kept = []

        @wrap
        def f(x, n):
            kept.append(slice(None, n, 2 * n))
            return slice(n, n + 2), functools.partial(max, n + 1, key=abs), [x * n, (slice(n), n)]

        return f, kept

    (traced, kept), (eager, expected) = program(tracer.trace), program(lambda f: f)
    for n in range(1, 6):
        (result, largest, inner), (wanted, _, (_, pair)) = traced(vec(), n), eager(vec(), n)
        assert result == wanted and type(result.start) is int and type(largest.args[0]) is int
        assert inner[1] == pair and largest(-n) == n + 1 and kept == expected and type(kept[-1].step) is int
    assert traced.cache_info().replays == 3


def test_an_error_beside_a_slice_with_numbers():
    @tracer.trace
    def f(x, n):
        part = slice(n, n + 2)
        x[part] = tracer.ones(3)[: 3 - n]
        return x

    for n in (1, 1, 0, 2, 1):
        if n == 0:
            with pytest.raises(RuntimeError, match="expanded size"):
                f(tracer.zeros(4), n)
        else:
            assert f(tracer.zeros(4), n).sum() == 2
