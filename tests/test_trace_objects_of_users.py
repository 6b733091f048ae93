"""Objects whose classes override methods that guards might call: they are described by their contents, and never called."""

import collections
import functools
import operator
import sys
import types

import pytest
from twice import both, vec

import tracer


def halved(base, *names):
    """A container class whose listed methods misreport its contents."""

    def answer(self, *args):
        raise AssertionError("nobody but the function asks")

    class Items(base):
        asked = True

    for name in names:
        setattr(Items, name, answer)
    return Items


SEQUENCES = [list, collections.deque]
MAPPINGS = [dict, collections.OrderedDict]


@pytest.mark.parametrize("passed", [False, True], ids=["captured", "argument"])
@pytest.mark.parametrize("base", SEQUENCES)
def test_sequences_with_methods_of_their_own(base, passed):
    def program(trace):
        items = halved(base, "__len__", "__iter__", "__contains__", "__bool__", "__eq__")([0.5, 1.5])
        f = trace(lambda x, items=items: x * items[1])
        call = (lambda: f(vec(1.0), items)) if passed else (lambda: f(vec(1.0)))
        results = [call() for _ in range(3)]
        for change in (
            lambda: operator.setitem(items, 1, 2.5),
            lambda: base.append(items, 3.5),
            lambda: base.reverse(items),
            lambda: base.insert(items, 0, 0.25),
        ):
            change()
            results += [call() for _ in range(3)]
        return results

    both(program)


@pytest.mark.parametrize("passed", [False, True], ids=["captured", "argument"])
@pytest.mark.parametrize("base", MAPPINGS)
def test_mappings_with_methods_of_their_own(base, passed):
    def program(trace):
        items = halved(base, "__len__", "__iter__", "items", "values", "keys", "get", "__contains__")(a=0.5, b=1.5)
        f = trace(lambda x, items=items: x * base.__getitem__(items, "a"))
        call = (lambda: f(vec(1.0), items)) if passed else (lambda: f(vec(1.0)))
        results = [call() for _ in range(3)]
        for value in (2.5, 3.5):
            base.__setitem__(items, "a", value)
            results += [call() for _ in range(3)]
        return results

    both(program)


def test_an_item_that_is_another_when_it_is_read():
    def program(trace):
        class Scaled(list):
            unit = 0.5

            def __getitem__(self, i):
                return list.__getitem__(self, i) * self.unit

        items = Scaled([0.5, 1.5])
        f = trace(lambda x, k: x * items[k])
        results = [f(vec(1.0), k) for k in (0, 1, 1, 0, 1)]
        list.__setitem__(items, 1, 2.5)
        results += [f(vec(1.0), k) for k in (1, 0, 1)]
        Scaled.unit = 2.0
        return results, [f(vec(1.0), k) for k in (1, 0, 1)]

    both(program)


@pytest.mark.parametrize("change", ["pop", "clear"])
def test_a_number_that_changes_and_is_gone(change):
    def program(trace):
        held = [0.25, 0.5]
        f, results = trace(lambda x: x * (held[1] if len(held) > 1 else 3.0)), []
        for k in range(8):
            if k in (1, 2):
                held[1] = 0.5 + k
            elif k == 6:
                getattr(held, change)()
            results.append(f(vec(1.0)))
        return results

    both(program)


def test_bytes_that_change():
    def program(trace):
        octets = bytearray(b"ab")
        f = trace(lambda x: x * octets[0] + len(octets))
        results = [f(vec(1.0)) for _ in range(3)]
        octets[0] = 3
        results += [f(vec(1.0)) for _ in range(3)]
        octets.append(1)
        return results, [f(vec(1.0)) for _ in range(3)]

    both(program)


class Real(float):
    def __repr__(self):
        return "a number"


class Whole(int):
    pass


USES = {
    "a product": lambda x, n: x * n,
    "a sum, the other way": lambda x, n: n + x,
    "a constant": lambda x, n: x + tracer.full((2,), n),
    "a power": lambda x, n: x**n,
    "a choice": lambda x, n: tracer.where(x > 0, x, n),
    "a limit": lambda x, n: x.clamp(max=n),
    "a comparison": lambda x, n: (x > n).float(),
    "a tensor": lambda x, n: x + tracer.tensor(n),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("number", [Real(1.5), Whole(2)], ids=["float", "int"])
def test_numbers_of_derived_classes_are_numbers(use, number):
    plain = float(number) if isinstance(number, float) else int(number)
    x = tracer.tensor([0.5, 3.0])
    expected = USES[use](x, plain)
    f = tracer.trace(lambda x: USES[use](x, number))
    for result in (USES[use](x, number), *(f(x) for _ in range(3))):
        assert result.dtype is expected.dtype
        assert result.tolist() == pytest.approx(expected.tolist(), rel=1e-6)  # kernels round powers differently
    assert f.cache_info().eager == 0


def test_an_axis_of_a_derived_class():
    def program(trace):
        axis = Whole(1)
        f = trace(lambda x: x.sum(axis) + x.size(axis) + x.transpose(Whole(0), axis).sum(Whole(0)))
        return [f(tracer.ones(2, 3)) for _ in range(3)]

    both(program)


class LOOKED_AT:
    """Each creates a function that inspects another one without calling it, and a change of that."""

    def closure():
        inside = 1.0

        def helper():
            return inside

        def change():
            nonlocal inside
            inside = 3.0

        return (lambda x: x * helper.__closure__[0].cell_contents), change

    def items_in_a_closure():
        inside = [1.0]
        helper = lambda: inside
        return (lambda x: x * getattr(helper, "__closure__")[0].cell_contents[0]), lambda: inside.append(inside.pop() + 2)  # noqa: B009

    def defaults():
        helper = lambda a=1.0: a
        return (lambda x: x * helper.__defaults__[0]), lambda: setattr(helper, "__defaults__", (3.0,))

    def keyword_defaults():
        helper = lambda *, a=1.0: a
        return (lambda x: x * helper.__kwdefaults__["a"]), lambda: helper.__kwdefaults__.update(a=3.0)

    def code():
        helper = lambda a: a
        other = lambda a, b: a
        return (lambda x: x * helper.__code__.co_argcount), lambda: setattr(helper, "__code__", other.__code__)


@pytest.mark.parametrize("what", [name for name in vars(LOOKED_AT) if not name.startswith("_")])
def test_functions_that_are_looked_at(what):
    def program(trace):
        function, change = getattr(LOOKED_AT, what)()
        f = trace(function)
        before = [f(vec(1.0)) for _ in range(4)]
        change()
        return before, [f(vec(1.0)) for _ in range(4)]

    both(program)


def test_methods_whose_results_have_to_be_numbers():
    def program(trace):
        class Value:
            k, n = 1.5, 2

            def __float__(self):
                return self.k * 0.5

            def __int__(self):
                return self.n + 1

            __index__ = __int__

        value = Value()

        def step(x, u):
            value.k = value.k * 0.5 + u
            value.n += 1
            return x * float(value) + int(value) + [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0][value.__index__() % 7]

        f = trace(step)
        return [f(vec(1.0), u) for u in (0.5, 0.25, 0.75, 0.5)]

    both(program)


def test_a_cached_function_is_asked_with_the_ints_of_the_call():
    def program(trace):
        held, calls = [0.5], []

        @functools.lru_cache
        def scale(k):
            calls.append(k)
            return k + held[0]

        f = trace(lambda x, k: x * scale(k))
        results = [f(vec(1.0), k) for k in (3, 0, 3, 1, 0, 3)]
        held[0] = 1.5
        return results, [f(vec(1.0), k) for k in (3, 2, 0, 1, 2)], scale.cache_info().currsize

    both(program)


def test_a_module_without_a_name():
    def program(trace):
        settings = types.ModuleType("settings")
        settings.sub = types.ModuleType("sub")
        settings.sub.k = 1.5
        del settings.sub.__name__
        f = trace(lambda x: x * settings.sub.k)
        results = [f(vec(1.0)) for _ in range(3)]
        settings.sub.k = 2.5
        return results, [f(vec(1.0)) for _ in range(3)]

    both(program)


def test_modules_are_found_by_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "settings_of_a_test", types.SimpleNamespace(k=1.5))

    def program(trace):
        monkeypatch.setitem(sys.modules, "settings_of_a_test", types.SimpleNamespace(k=1.5))
        f = trace(lambda x: x * sys.modules["settings_of_a_test"].k)
        results = [f(vec(1.0)) for _ in range(3)]
        sys.modules["settings_of_a_test"] = types.SimpleNamespace(k=2.5)
        return results, [f(vec(1.0)) for _ in range(3)]

    both(program)


def test_an_error_is_the_functions_even_where_guards_fail(monkeypatch):
    from tracer.tracing import guards

    def broken(self):
        raise KeyError("a guard")

    def step(x):
        raise ValueError("mine")

    monkeypatch.setattr(guards.Environment, "grown", lambda self, watch: broken(self))
    with pytest.warns(tracer.TraceWarning, match="please report"), pytest.raises(ValueError, match="mine"):
        tracer.trace(step)(vec(1.0))
    monkeypatch.setattr(guards.Environment, "key", broken)
    with pytest.warns(tracer.TraceWarning, match="please report"):
        assert tracer.trace(lambda x: x * 2)(vec(1.0)).tolist() == (vec(1.0) * 2).tolist()
