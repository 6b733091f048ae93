"""Objects that a traced function reaches are replaced, or changed without an announcement: no result or effect is stale."""

import collections
import functools
import gc
import math
import operator
import random
import types
import weakref

import pytest

import tracer
from tracer import nn, optim


class Value:
    def __init__(self, k):
        self.k = k


class Slotted:
    __slots__ = ("__weakref__", "k")

    def __init__(self, k):
        self.k = k


def results(make, wrap):
    """Each call's result or exception, and the resulting state."""
    f, steps, state = make(wrap)
    found = []
    for step in steps:
        step()
        try:
            found.append(f(tracer.ones(2)).tolist())
        except Exception as e:
            found.append((type(e), str(e)))
        found.append(state())
    return found


def nothing():
    pass


def often(*changes):
    """Each change before one call, with two calls before and after it."""
    return [nothing, nothing, *(step for change in changes for step in (change, nothing, nothing))]


def same(make):
    assert results(make, lambda f: f) == results(make, tracer.trace)


@pytest.mark.parametrize("kind", [dict, collections.OrderedDict, lambda pairs: collections.defaultdict(int, pairs)])
@pytest.mark.parametrize("key", [lambda v: v, lambda v: (1, v), lambda v: frozenset([v])])
def test_keys_of_a_dictionary_that_are_objects(kind, key):
    def make(wrap):
        v = Value(2.0)
        f = wrap(
            lambda x, d: x * sum(next(iter(k), v).k if type(k) is frozenset else (k[1] if type(k) is tuple else k).k for k in d)
        )
        return (
            lambda x: f(x, kind({key(v): 1})),
            often(lambda: setattr(v, "k", 3.0), lambda: setattr(v, "__class__", Other), lambda: setattr(v, "k", 4.0)),
            lambda: v.k,
        )

    class Other(Value):
        pass

    same(make)


@pytest.mark.parametrize("module", [math, random, collections, tracer], ids=lambda m: m.__name__)
@pytest.mark.parametrize(
    "read", [lambda m: getattr(m, "extra", 2.0), lambda m: vars(m).get("extra", 3.0), lambda m: 1.0 + hasattr(m, "extra")]
)
def test_names_that_libraries_get(module, read):
    def make(wrap):
        return (
            wrap(lambda x: x * read(module)),
            often(
                lambda: setattr(module, "extra", 4.0), lambda: setattr(module, "extra", 5.0), lambda: delattr(module, "extra")
            ),
            lambda: None,
        )

    same(make)


def test_an_attribute_that_a_library_gets():
    def make(wrap):
        def f(x):
            try:
                return x * math.extra
            except AttributeError:
                return x * 7

        return wrap(f), often(lambda: setattr(math, "extra", 4.0), lambda: delattr(math, "extra")), lambda: None

    same(make)


@pytest.mark.parametrize("value", [0.5, True, "text", None, 3])
def test_writes_past_containers_that_announce_changes(value):
    def make(wrap):
        w = tracer.zeros(2, requires_grad=True)
        groups = optim.SGD([{"params": [w]}, {"params": []}], lr=0.1).param_groups
        layers = nn.ModuleList([nn.Tanh()])
        f = wrap(lambda x: x * len(repr(operator.itemgetter("momentum")(groups[1]))) * len(groups) * len(layers))
        return (
            f,
            often(
                lambda: dict.__setitem__(groups[1], "momentum", value),
                lambda: list.append(groups, {}),
                lambda: dict.__setitem__(layers._modules, "1", nn.ReLU()),
                lambda: list.pop(groups),
            ),
            lambda: None,
        )

    same(make)


def test_a_group_of_parameters_is_replaced():
    def make(wrap):
        w = tracer.ones(2, requires_grad=True)
        opt = optim.SGD([w], lr=0.1)

        def f(x):
            opt.zero_grad()
            (w * x).sum().backward()
            opt.step()
            return w.detach() * 1

        def replace():
            opt.param_groups[0] = type(opt.param_groups[0])(opt.param_groups[0])

        return wrap(f), often(replace, lambda: opt.param_groups[0].update(lr=0.25)), lambda: w.tolist()

    same(make)


@pytest.mark.parametrize("new", [2, 2.5, True, tracer.tensor(4.0)], ids=str)
def test_the_dictionary_of_an_object_is_replaced(new):
    def make(wrap):
        v = Value(1.5)

        def f(x):
            v.last = v.k
            return x * v.k

        return (
            wrap(f),
            often(
                lambda: setattr(v, "k", 0.5),
                lambda: setattr(v, "__dict__", {"k": new}),
                lambda: setattr(v, "__dict__", {**vars(v), "k": 1.5}),
                lambda: setattr(v, "k", 2.5),
            ),
            lambda: repr(vars(v)),
        )

    same(make)


HOLDERS = {
    "function": lambda: lambda x: x * 1.5,
    "partial function": lambda: functools.partial(operator.mul, 1.5),
}


@pytest.mark.parametrize("used", ["called and read", "only read"])
@pytest.mark.parametrize("empty", [True, False], ids=["empty", "with a value"])
@pytest.mark.parametrize("name", HOLDERS)
def test_the_dictionary_of_a_function_is_replaced(name, empty, used):
    def make(wrap):
        h = HOLDERS[name]()
        if not empty:
            h.k = 0.5

        def f(x):
            y = h(x) if used == "called and read" else x
            return y * getattr(h, "k", 1.0)

        return (
            wrap(f),
            often(
                lambda: setattr(h, "__dict__", {"k": 2.0}),
                lambda: setattr(h, "__dict__", {**vars(h), "k": 0.25}),
                lambda: setattr(h, "__dict__", {}),
            ),
            lambda: repr(vars(h)),
        )

    same(make)


CONTAINERS = {
    "item of a dict": (lambda: {"m": None}, lambda s: operator.setitem(s, "m", "set")),
    "number in a dict": (lambda: {"m": None}, lambda s: operator.setitem(s, "m", 3.5)),
    "new item of a dict": (dict, lambda s: operator.setitem(s, "m", "set")),
    "item of a list": (lambda: [None], lambda s: operator.setitem(s, 0, "set")),
    "item of a deque": (lambda: collections.deque([None]), lambda s: operator.setitem(s, 0, True)),
    "attribute": (lambda: Value(None), lambda s: setattr(s, "k", "set")),
    "slot": (lambda: Slotted(None), lambda s: setattr(s, "k", "set")),
    "dict in an object": (lambda: Value({"m": None}), lambda s: operator.setitem(s.k, "m", "set")),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_container_is_replaced_by_an_equal_one(name):
    """A function that writes to it writes to the new one."""
    new, write = CONTAINERS[name]

    def make(wrap):
        held = [new()]
        s = held[0]

        def f(x):
            write(s)
            return x * 2

        def replace():
            nonlocal s
            s = new()
            held.append(s)

        def state():
            return [x.k if hasattr(x, "k") else list(x.items()) if isinstance(x, dict) else list(x) for x in held]

        return wrap(f), often(replace, replace), state

    same(make)


def test_objects_behind_weak_references():
    def make(wrap):
        v = Value(2.0)
        weak = weakref.ref(v)

        def drop():
            nonlocal v
            v = Value(5.0)
            gc.collect()

        return (
            wrap(lambda x: x * 7 if weak() is None else x * weak().k),
            often(lambda: setattr(v, "k", 3.0), drop),
            lambda: weak() is None,
        )

    same(make)


def test_an_object_that_is_replaced_is_not_kept_for_its_weak_references():
    def make(wrap):
        v = Slotted(2.0)
        weak = weakref.ref(v)

        def replaced():
            nonlocal v
            v = Slotted(5.0)

        return wrap(lambda x: x * weak().k + v.k), [nothing, nothing, replaced, nothing, nothing], lambda: weak() is None

    assert isinstance(results(make, lambda f: f)[4], tuple)  # an AttributeError
    assert results(make, lambda f: f) == results(make, tracer.trace)


@pytest.mark.parametrize("through", ["closure", "argument"])
def test_objects_that_are_held_are_found_through_weak_references(through):
    parent, child = Value(2.0), Value(0.5)
    parent.child, child.parent = child, weakref.ref(parent)
    if through == "closure":
        f = tracer.trace(lambda x: x * parent.child.parent().k)
    else:
        g = tracer.trace(lambda x, p, c: x * c.parent().k)
        f = lambda x: g(x, parent, child)
    for k in (1.0, 2.0, 2.0, 3.0, 3.0):
        parent.k = k
        assert f(tracer.ones(1)).tolist() == [k]
    traced = f if through == "closure" else g
    assert traced.cache_info().replays >= 2 and not traced.eager_reasons


def test_a_slot_that_an_attribute_of_the_class_replaces():
    def make(wrap):
        class Own:
            __slots__ = ("k",)

        s = Own()
        s.k = 0.5

        def f(x):
            s.k = s.k * 0.5
            return x * s.k

        return wrap(f), often(lambda: setattr(Own, "k", 2.25)), lambda: s.k

    same(make)


def named_function():
    def h(x):
        return x

    return h


def named_class():
    class Named:
        """A class."""

    return Named


READS = {
    "directly": lambda h, name: {
        "__name__": lambda x: x * len(h.__name__),
        "__qualname__": lambda x: x * len(h.__qualname__),
        "__module__": lambda x: x * len(h.__module__),
        "__doc__": lambda x: x * len(str(h.__doc__)),
    }[name],
    "by getattr": lambda h, name: lambda x: x * len(str(getattr(h, name))),
    "by attrgetter": lambda h, name: lambda x: x * len(str(operator.attrgetter(name)(h))),
}


@pytest.mark.parametrize("how", READS)
@pytest.mark.parametrize("name", ["__name__", "__qualname__", "__module__", "__doc__"])
@pytest.mark.parametrize("new", [named_function, named_class])
def test_the_name_of_a_function_or_class_is_replaced(new, name, how):
    def make(wrap):
        h = new()
        f = READS[how](h, name)
        return (
            wrap(f),
            often(lambda: setattr(h, name, "other"), lambda: setattr(h, name, "another")),
            lambda: str(getattr(h, name)),
        )

    same(make)


SETTINGS = types.ModuleType("settings")
SETTINGS.sub = types.ModuleType("settings.sub")


@pytest.mark.parametrize(
    "read",
    [
        lambda x: x * SETTINGS.sub.__getattribute__("k"),
        lambda x: x * SETTINGS.sub.__dict__["k"],
        lambda x: x * SETTINGS.__getattribute__("sub").k,
        lambda x: x * vars(SETTINGS.sub)["k"],
        lambda x: x * dict(SETTINGS.sub.__dict__).get("k"),
        lambda x: x * types.ModuleType.__getattribute__(SETTINGS.sub, "k"),
    ],
)
def test_attributes_of_modules_by_the_module_s_methods(read):
    def make(wrap):
        SETTINGS.sub.k = 0.5
        return (
            wrap(lambda x: read(x)),
            often(lambda: setattr(SETTINGS.sub, "k", 3), lambda: types.ModuleType.__setattr__(SETTINGS.sub, "k", 1.5)),
            lambda: SETTINGS.sub.k,
        )

    same(make)
