"""Attributes that functions set on tensors, and that programs set on modules, between calls."""

import types
from types import SimpleNamespace

import pytest

import tracer


def sets(t):
    def f(x, k):
        t.tag = k
        return x * 2

    return f


def adds(t):
    def f(x, k):
        t.fresh = k
        return x * 2

    return f


def sets_a_constant(t):
    def f(x, k):
        t.tag = 5
        return x * k

    return f


def sets_a_tensor(t):
    def f(x, k):
        t.tag = x.sum()
        return x * k

    return f


def sets_what_has_attributes(t):
    def f(x, k):
        y = x * k
        y.tag = k
        t.last = y
        return y

    return f


def counts(t):
    def f(x, k):
        t.tag += 1
        return x * t.tag

    return f


def deletes(t):
    def f(x, k):
        if hasattr(t, "note"):
            del t.note
        else:
            t.note = "a"
        return x * k

    return f


def appends(t):
    t.log = []

    def f(x, k):
        t.log.append(k)
        return x * len(t.log)

    return f


def of_an_argument(t):
    def f(x, k):
        x.tag = k
        return x * 2

    return f


def tensor_of_an_argument(t):
    def f(x, k):
        x.tag, x.name_ = x * k, "c"
        return x

    return f


def own(t):
    return [
        (name, value.tolist() if isinstance(value, tracer.Tensor) else value)
        for name, value in sorted(vars(t).items())
        if not name.startswith("_")
    ]


@pytest.mark.filterwarnings("ignore::tracer.TraceWarning")
@pytest.mark.parametrize(
    "make",
    [
        *(sets, adds, sets_a_constant, sets_a_tensor, sets_what_has_attributes, counts, deletes, appends),
        *(of_an_argument, tensor_of_an_argument),
    ],
)
def test_attributes_of_tensors(make):
    def run(trace):
        t = tracer.ones(3)
        t.tag = 1.5
        f = trace(make(t))
        found = []
        for k in (1, 2, 2, 0, 5, 5, 5, 3, 1, 1.5, 2.5, 0.5, 3, 3):
            if k == 3:
                t.tag = 7
            x = tracer.ones(3)
            result = f(x, k)
            found.append((result.tolist(), own(result), own(x), own(t)))
        return found

    assert run(tracer.trace) == run(lambda f: f)


@pytest.mark.parametrize(
    "read",
    [
        lambda module: getattr(module, "lazy", 2.5),
        lambda module: len(vars(module)),
        lambda module: vars(module).get("__doc__") is None,
        lambda module: len(dir(module)),
    ],
)
def test_special_attributes_of_modules(read):
    def run(trace):
        module = types.ModuleType("settings_of_a_test")
        place = SimpleNamespace(module=module)
        f = trace(lambda x: x * read(place.module))
        found = []
        for change in (
            lambda: None,
            lambda: setattr(module, "__getattr__", lambda name: 0.125),
            lambda: setattr(module, "__getattr__", lambda name: 0.25),
            lambda: setattr(module, "__doc__", "text"),
            lambda: setattr(module, "__dir__", lambda: ["a"]),
            lambda: setattr(module, "__dir__", lambda: ["a", "b"]),
            lambda: delattr(module, "__getattr__"),
        ):
            change()
            found += [f(tracer.ones(2)).tolist() for _ in range(3)]
        return found

    assert run(tracer.trace) == run(lambda f: f)


def test_a_list_that_is_replaced_is_the_one_that_is_added_to():
    def run(trace):
        place = SimpleNamespace(log=[])

        @trace
        def f(x):
            y = (x * 2).sum()
            place.log.append(y)
            return y.item()

        found = []
        for _ in range(5):
            place.log = []
            found += [f(tracer.ones(2) * i) for i in range(4)]
            found.append([y.item() for y in place.log])
        return found

    assert run(tracer.trace) == run(lambda f: f)


def test_attributes_of_captured_parameters():
    """Programs mark parameters; gradients come and go in the same namespace."""
    parameters = [tracer.nn.Parameter(tracer.ones(3)) for _ in range(4)]
    for p in parameters:
        p.flag = True

    def f(x):
        for p in parameters:
            x = x * p * (2 if p.flag else 3) + hasattr(p, "other")
        return x

    def change(k):
        match k:
            case 1:
                parameters[2].flag = False
            case 2:
                parameters[3].other = 1
            case 3:
                del parameters[3].other
            case 4:
                parameters[1].grad = tracer.ones(3)
            case 5:
                parameters[1].grad = None
            case 6:
                vars(parameters[0])["flag"] = 0

    traced, x = tracer.trace(f), tracer.ones(3)
    for k in range(7):
        change(k)
        for _ in range(5):
            assert tracer.equal(traced(x), f(x))
    assert traced.cache_info().replays >= 25 and not traced.eager_reasons
