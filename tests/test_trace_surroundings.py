"""Traced programs have the eager results: what a function reads besides its arguments, and objects as arguments."""

import collections
import dataclasses
import functools
import itertools
import os
import random
import sys
import threading
import types

import numpy as np
import pytest
from twice import batch, both, leaf, outcome, same, vec

import tracer
from tracer import nn
from tracer.nn import functional as F

# Changes of what a function reads.

SCALE = 1.0
LAST = 0
outer_settings = types.ModuleType("settings_that_tests_change")
outer_settings.__dict__.update(a=1.0, b=1.0)
sys.modules["settings_that_tests_change"] = outer_settings


class Slots:
    __slots__ = ("k",)

    def __init__(self, k):
        self.k = k

    @tracer.trace
    def times(self, x):
        return x * self.k


@dataclasses.dataclass(slots=True)
class Batch:
    k: int


class Empty:
    pass


def scaled(x):
    return x * SCALE


def read_b(x):
    return x * outer_settings.b


def read_both(x):
    return read_b(x * outer_settings.a)


def imports(x):
    import settings_that_tests_change as s

    return x * s.a


def imports_name(x):
    from settings_that_tests_change import a

    return x * a


def read_attribute_of_function(x):
    return x * read_attribute_of_function.k


read_attribute_of_function.k = 1.0


def add_k(options, x):
    return x + options["k"]


class CHANGES:
    """Each creates a function, and a function that changes what the first one reads."""

    def closure_variable():
        k = 1.0

        def change(v):
            nonlocal k
            k = v

        return (lambda x: x * k), change

    def global_of_a_helper():
        return scaled, lambda v: globals().update(SCALE=v)

    def list_item():
        a = [1.0]
        return (lambda x: x * a[0]), lambda v: a.__setitem__(0, v)

    def list_order():
        a = [1.0, 2.0]
        return (lambda x: x * a[0] - a[1]), lambda v: a.reverse()

    def nested_dict():
        a = {"a": {"b": [1.0]}}
        return (lambda x: x * a["a"]["b"][0]), lambda v: a["a"].update(b=[v])

    def dict_order():
        a = {"a": 1.0, "b": 2.0}
        return (lambda x: x * next(iter(a)).count("a")), lambda v: a.__setitem__("a", a.pop("a"))

    def set_member():
        a = {1}
        return (lambda x: x * sum(a)), lambda v: a.add(int(v) + 7)

    def attribute():
        a = types.SimpleNamespace(k=1.0)
        return (lambda x: x * a.k), lambda v: setattr(a, "k", v)

    def slot():
        a = Slots(1.0)
        return (lambda x: x * a.k), lambda v: setattr(a, "k", v)

    def deque():
        a = collections.deque([1.0])
        return (lambda x: x * a[0]), lambda v: a.__setitem__(0, v)

    def array():
        a = np.ones(3, np.float32)
        return (lambda x: x + tracer.tensor(a)), lambda v: a.__setitem__(0, v)

    def array_item():
        a = np.ones(3)
        return (lambda x: x * float(a[0])), lambda v: a.__setitem__(0, v)

    def shared_array():
        a = np.ones(3, np.float32)
        return (lambda x: x + tracer.from_numpy(a)), lambda v: a.__setitem__(0, v)

    def bytes_item():
        a = bytearray(b"\1")
        return (lambda x: x * a[0]), lambda v: a.__setitem__(0, int(v))

    def partial_of_a_dict():
        a = {"k": 1.0}
        add = functools.partial(add_k, a)
        return (lambda x: add(x)), lambda v: a.update(k=v)

    def traced_partial():
        a = {"k": 1.0}
        return functools.partial(add_k, a), lambda v: a.update(k=v)

    def bound_builtin():
        a = {"k": 1.0}
        get = a.get
        return (lambda x: x * get("k")), lambda v: a.update(k=v)

    def mapping_proxy():
        a = {"k": 1.0}
        proxy = types.MappingProxyType(a)
        return (lambda x: x * proxy["k"]), lambda v: a.update(k=v)

    def attribute_of_a_function():
        read_attribute_of_function.k = 1.0
        return read_attribute_of_function, lambda v: setattr(read_attribute_of_function, "k", v)

    def attribute_added_to_a_class():
        class C(Empty):
            pass

        return (lambda x: x * getattr(C, "k", 1.0)), lambda v: setattr(C, "k", v)

    def attribute_added_to_an_object():
        a = Empty()
        return (lambda x: x * getattr(a, "k", 1.0)), lambda v: setattr(a, "k", v)

    def attribute_of_a_module():
        outer_settings.a = outer_settings.b = 1.0
        return read_both, lambda v: setattr(outer_settings, "a", v)

    def attribute_of_a_module_read_by_a_helper():
        outer_settings.a = outer_settings.b = 1.0
        return read_both, lambda v: setattr(outer_settings, "b", v)

    def attribute_of_a_module_by_its_name():
        outer_settings.a = 1.0
        return (lambda x: x * getattr(outer_settings, "a")), lambda v: setattr(outer_settings, "a", v)  # noqa: B009

    def module_imported_inside():
        outer_settings.a = 1.0
        return imports, lambda v: setattr(outer_settings, "a", v)

    def name_imported_inside():
        outer_settings.a = 1.0
        return imports_name, lambda v: setattr(outer_settings, "a", v)

    def global_by_its_name():
        return (lambda x: x * globals()["SCALE"]), lambda v: globals().update(SCALE=v)

    def environment_variable():
        os.environ["SCALE_OF_A_TEST"] = "1"
        return (lambda x: x * float(os.environ["SCALE_OF_A_TEST"])), lambda v: os.environ.update(SCALE_OF_A_TEST=str(v))

    def attribute_of_a_tensor():
        p = leaf()
        p.k = 1.0
        return (lambda x: x * p.k), lambda v: setattr(p, "k", v)

    def default_of_a_function():
        def helper(x, k=1.0):
            return x * k

        return (lambda x: helper(x)), lambda v: setattr(helper, "__defaults__", (v,))

    def code_of_a_function():
        def helper(x):
            return x * 2

        return (lambda x: helper(x)), lambda v: setattr(helper, "__code__", (lambda x: x * 3).__code__)

    def mutable_default():
        a = {"k": 1.0}

        def f(x, options=a):
            return x * options["k"]

        return f, lambda v: a.update(k=v)

    def property_of_a_class():
        class C:
            k = 1.0
            twice = property(lambda self: self.k * 2)

        a = C()
        return (lambda x: x * a.twice), lambda v: setattr(C, "k", v)

    def method_replaced():
        a = Empty()
        a.f = lambda x: x
        return (lambda x: a.f(x) * 2), lambda v: setattr(a, "f", lambda x: x + v)

    def module_attribute():
        m = nn.Linear(3, 3)
        m.k = 1.0
        return (lambda x: x * m.k), lambda v: setattr(m, "k", v)

    def module_flag():
        m = nn.Linear(3, 3)
        return (lambda x: x * 2 if m.training else x), lambda v: m.eval()

    def parameter_replaced():
        m = nn.Linear(3, 3)
        return (lambda x: m(x)), lambda v: setattr(m, "weight", nn.Parameter(tracer.ones(3, 3)))

    def parameter_data():
        m = nn.Linear(3, 3)
        return (lambda x: m(x)), lambda v: setattr(m.weight, "data", tracer.ones(3, 3))

    def parameter_frozen():
        m = nn.Linear(3, 3)
        return (lambda x: m(x)), lambda v: m.weight.requires_grad_(False)

    def captured_in_place():
        w = vec()
        return (lambda x: x * w), lambda v: w.fill_(v)

    def captured_view_in_place():
        w = vec(n=6)
        part = w[::2]
        return (lambda x: x * part), lambda v: w.fill_(v)

    def captured_reshaped():
        w = vec()
        return (lambda x: x * w), lambda v: setattr(w, "data", tracer.ones(1) * v)

    def captured_made_a_view():
        w = vec()
        return (lambda x: x * w), lambda v: setattr(w, "data", vec(n=6)[::2])

    def captured_of_another_dtype():
        w = vec()
        return (lambda x: x * w), lambda v: setattr(w, "data", vec().double())

    def submodule_replaced():
        m = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
        return (lambda x: m(x)), lambda v: setattr(m, "0", nn.Linear(3, 3))

    def helper_replaced():
        helpers = {"f": lambda x: x * 2}
        return (lambda x: helpers["f"](x)), lambda v: helpers.update(f=lambda x: x * 3)

    def context_variable():
        import contextvars

        k = contextvars.ContextVar("k", default=1.0)
        return (lambda x: x * k.get()), k.set

    def thread_local():
        a = threading.local()
        a.k = 1.0
        return (lambda x: x * a.k), lambda v: setattr(a, "k", v)


@pytest.mark.parametrize("what", [name for name in vars(CHANGES) if not name.startswith("_")])
def test_what_a_function_reads_is_changed(what, monkeypatch):
    def program(trace):
        monkeypatch.setitem(globals(), "SCALE", 1.0)
        monkeypatch.setenv("SCALE_OF_A_TEST", "1")
        function, change = getattr(CHANGES, what)()
        f = trace(function)
        results = []
        for i in range(6):
            if i == 3:
                change(3.0)
            results.append(f(vec(i)))
        return results

    both(program)


SOURCES = {
    "random": lambda: (lambda: random.seed(0), random.random),
    "numpy": lambda: (lambda: np.random.seed(0), np.random.rand),
    "numpy generator": lambda: (lambda: None, np.random.default_rng(0).random),
    "counter": lambda: (lambda: None, itertools.count().__next__),
    "iterator": lambda: (lambda: None, iter(range(100)).__next__),
    "generator": lambda: (lambda: None, (i for i in range(100)).__next__),
    "pop": lambda: (lambda: None, list(range(100)).pop),
}


@pytest.mark.parametrize("name", SOURCES)
def test_a_number_python_makes_anew_in_every_call(name):
    def program(trace):
        seed, draw = SOURCES[name]()
        seed()
        f = trace(lambda x: x * float(draw()))
        return [f(vec()) for _ in range(6)]

    both(program)


def test_python_random_called_by_its_name():
    def program(trace):
        random.seed(0)
        np.random.seed(0)
        numbers = iter([1.0, 2.0, 3.0, 4.0, 5.0])
        functions = [
            trace(lambda x: x * random.random()),
            trace(lambda x: x * float(np.random.rand())),
            trace(lambda x: x * next(numbers)),
        ]
        return [[outcome(f, vec()) for _ in range(4)] for f in functions]

    both(program)


def test_what_a_function_counts():
    def program(trace):
        counts, box, n = [0], types.SimpleNamespace(calls=0), 0

        @trace
        def f(x):
            nonlocal n
            n += 1
            counts[0] += 1
            box.calls += 1
            return x * counts[0]

        return [f(vec()) for _ in range(8)], counts, box.calls, n

    both(program)


def test_what_a_function_assigns_without_reading():
    def program(trace):
        class Box:
            last = 0

        box = Empty()

        @trace
        def f(x):
            global LAST
            LAST = len(x)
            box.last = Box.last = len(x)
            return x * 2

        seen = []
        for n in (2, 2, 3, 3, 2, 3, 2, 2, 3):
            f(vec(n=n))
            seen.append((LAST, box.last, Box.last))
        return seen

    both(program)


def test_modes_set_inside_stay_set():
    def program(trace):
        seen = []

        @trace
        def f(x):
            tracer.set_grad_enabled(False)
            return x * 2

        for _ in range(3):
            f(vec())
            seen.append(tracer.is_grad_enabled())
            tracer.set_grad_enabled(True)
        return seen

    try:
        both(program)
    finally:
        tracer.set_grad_enabled(True)


# Objects as arguments.


def test_objects_as_arguments():
    def program(trace):
        f = trace(lambda x, o: x * o.k)
        results = [f(vec(), Batch(k % 3)) for k in range(8)]
        results += [f(vec(), Slots(k % 3)) for k in range(8)]
        results += [f(vec(), types.SimpleNamespace(k=k % 3)) for k in range(8)]
        results += [f(vec(), types.SimpleNamespace(k=vec(k))) for k in range(8)]
        return results

    both(program)


def test_numpy_numbers_as_arguments():
    def program(trace):
        f = trace(lambda x, k: x * int(k))
        return [f(vec(), k) for kind in (np.int64, np.int32, np.float32, np.float64) for k in np.arange(6).astype(kind)]

    both(program)


def test_arrays_as_arguments():
    def program(trace):
        f = trace(lambda x, a: x + tracer.tensor(a))
        return [f(vec(), np.full(3, k, np.float32)) for k in range(4)]

    both(program)


def test_functions_as_arguments():
    def program(trace):
        f = trace(lambda x, g: g(x))
        results = []
        for i in range(12):
            results.append(f(vec(), (lambda t: t * 2) if i % 2 else (lambda t: t * 3)))
        for i in range(6):
            results.append(f(vec(), lambda t, i=i: t * i))
        return results

    both(program)


def test_methods_of_all_kinds():
    def program(trace):
        class C:
            k = 2.0

            def __init__(self, w):
                self.w = w

            @trace
            def plain(self, x, y=1.0):
                return x * self.w * self.k * y

            @classmethod
            @trace
            def of_class(cls, x):
                return x * cls.k

            @staticmethod
            @trace
            def static(x):
                return x * 3

        a, b = C(vec()), C(vec(5))
        results = []
        for i in range(6):
            if i == 3:
                C.k, a.w = 7.0, vec(9)
            results += [a.plain(vec(), y=0.5 + i), b.plain(vec()), C.of_class(vec()), a.static(vec()), C.plain(b, vec())]
        return results

    both(program)


def test_a_method_of_an_object_with_slots():
    a = Slots(1.0)
    for k in (1.0, 1.0, 2.0, 3.0):
        a.k = k
        same(a.times(vec()), vec() * k)


def test_a_traced_forward():
    def program(trace):
        class Model(nn.Module):
            def __init__(self):
                super().__init__()
                self.layer = nn.Linear(4, 3)
                self.register_buffer("mean", tracer.zeros(4))

            @trace
            def forward(self, x):
                if self.training:
                    with tracer.no_grad():
                        self.mean.mul_(0.9).add_(x.mean(0) * 0.1)
                return self.layer(x - self.mean)

        model, results = Model(), []
        for i in range(8):
            model.train(i % 4 < 2)
            x, y = batch(i)
            F.cross_entropy(model(x), y).backward()
            results.append((model.mean.clone(), model.layer.weight.grad.clone()))
        return results

    both(program)


def test_names_beyond_the_first_256_of_a_function():
    """Instructions whose argument does not fit into a byte have prefixes."""
    from tracer.tracing.references import Reference, references

    lines = [*(f"  name{i}.part{i}" for i in range(300)), "  from ..package import other", "  return late.first.second()"]
    namespace = {}
    exec("def f():\n" + "\n".join(lines), namespace)
    found = references(namespace["f"].__code__)
    assert Reference("global", "name299", ("part299",)) in found
    assert Reference("import", "package", ("other",), level=2) in found
    assert Reference("global", "late", ("first", "second"), is_called=True) in found


def test_a_name_that_a_function_imports_depends_on_it_alone(tmp_path, monkeypatch):
    """Other names of the module may be what guards cannot compare."""
    (tmp_path / "with_files.py").write_text(
        "import os\nscale = 2.0\nopened = open(os.devnull)\nclass Part:\n    k = 3\ndef f(x): return x * scale\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    @tracer.trace
    def f(x):
        from with_files import Part
        from with_files import f as scaled

        return scaled(x) * Part.k

    for _ in range(3):
        assert f(tracer.ones(1)).item() == 6
    assert f.cache_info().replays >= 1, f.explain()
    import with_files

    with_files.scale = 5.0
    assert f(tracer.ones(1)).item() == 15
    with_files.Part = type("Part", (), {"k": 7})
    assert f(tracer.ones(1)).item() == 35
    with_files.f = lambda x: x
    assert f(tracer.ones(1)).item() == 7
    with_files.opened.close()
