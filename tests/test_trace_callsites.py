"""``float()``, ``int()`` and ``type()`` of tensors and dynamic numbers: compiled unless they decide something."""

import dataclasses
import functools
import math
import threading

import pytest
from twice import same, vec

import tracer

LOG = []


def outcome(f, *args):
    try:
        return f(*args)
    except Exception as e:
        return type(e), str(e)


def twice(make, calls, recordings=None):
    """Calls the function that ``make`` returns, with and without the decorator. ``recordings``: the allowed number."""
    found = []
    for wrap in (lambda f: f, tracer.trace):
        f = wrap(make())
        found.append([outcome(f, *(x.clone() for x in args)) for args in calls])
    same(*found)
    if recordings is not None:
        assert not f.eager_reasons and f.cache_info().recordings <= recordings, f.explain()
    return f


class Meter:
    def __init__(self):
        self.sum, self.count = 0.0, 0

    def update(self, value, n=1):
        self.sum += float(value) * n
        self.count += n

    @property
    def average(self):
        return self.sum / max(self.count, 1)


@dataclasses.dataclass(frozen=True)
class Point:
    x: object
    scale: float


def helper(t):
    return float(t) + int(t)


def decorated(f):
    @functools.wraps(f)
    def wrapper(*args):
        return float(f(*args))

    return wrapper


@decorated
def summed(x):
    return x.sum()


def generated(x):
    yield from (float(v) for v in x)
    yield int(x.sum() * 10)


def with_inner(x):
    total = x.sum()

    def inner(k):
        return float(total) * k

    class Local:
        value = float(2)

        def get(self):
            return float(total) + self.value

    return inner(2), Local().get(), (lambda: int(total))()


def both_uses(x):
    y = float(x.mean())
    return isinstance(y, float), isinstance(y, (float, int)), [float, int][0] is float, y.__class__ is float, x.float() * y


MANY_NAMES = "".join(["def many(x):\n", *(f"    if x is None: a{i}.b{i}\n" for i in range(150)), "    return float(x.sum())\n"])
many_names = exec(MANY_NAMES, space := {}) or space["many"]


def made_by_exec(x):
    space = {}
    exec("def f(x):\n    return float(x.sum())\n", space)
    return space["f"](x)


def in_try(x):
    try:
        return float(x)
    except (RuntimeError, ValueError) as e:
        return str(e), float(x[0])


FLOWS = {
    "returned": lambda x: (float(x.sum()), int(x.sum()), {"k": float(x[0])}, [int(v) for v in x]),
    "arithmetic": lambda x: (float(x.sum()) * 2 + 1, int(x.sum()) // 2, x * float(x.mean()), x + int(x[1] * 10)),
    "helper": lambda x: helper(x.mean()),
    "decorated": summed,
    "generator": lambda x: list(generated(x)),
    "inner": with_inner,
    "both uses": both_uses,
    "math": lambda x: (math.sqrt(float(x[0])), math.floor(float(x.sum())), int(math.exp(float(x[0])))),
    "of numbers": lambda x: (float(x.sum().item()), int(x.sum().item() / 3), float(int(x.sum())), round(float(x[0]), 1)),
    "of ints": lambda x: (float((x * 10).long().sum()), int((x > 1).sum()), float((x > 1).sum()) / x.numel()),
    "type": lambda x: (type(float(x[0])) is float, type(int(x[0])) is int, type(x[0].item()), type(x) is tracer.Tensor),
    "constants": lambda x: (float("1.5"), int("12"), int("ff", 16), 0.0, 0, float(3), int(2.5), x * 2),
    "frozen": lambda x: Point(x * 2, float(x.sum())).scale,
    "many names": lambda x: many_names(x),
    "in a try": in_try,
    "large": lambda x: int(x.double().sum() * 1e17),
}


@pytest.mark.parametrize("name", FLOWS)
def test_what_only_flows_through(name):
    calls = [(vec(0.25 * i),) for i in range(8)]
    twice(lambda: lambda x: FLOWS[name](x), calls, recordings=2)
    if not name.startswith(("frozen", "inner")):
        twice(lambda: FLOWS[name], calls, recordings=2)


OTHERS = {
    "bool": lambda x: (float(x[0] > 1), int(x.sum() > 5)),
    "decides": lambda x: x * 2 if float(x.sum()) > 5 else x,
    "range": lambda x: [x * i for i in range(int(x[0] * 4) % 3)],
    "several elements": lambda x: float(x),
    "not finite": lambda x: int(x[0] / (x[0] - 0.75)),
    "nan": lambda x: int((x[0] - 1).log() * 0) if x[0] < 1 else 0,
    "complex": lambda x: float(x[0].to(tracer.complex64)),
    "text": lambda x: (f"{float(x[0]):.2f}", str(float(x[0])), x),
    "mapped": lambda x: list(map(float, x)),
    "made by exec": made_by_exec,
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_decides_or_fails(name):
    twice(lambda: OTHERS[name], [(vec(0.25 * i),) for i in (0, 1, 2, 3, 4, 8, 1, 2, 3)])


def test_kept_outside():
    def make():
        meter, log, best = Meter(), [], {"loss": math.inf}

        def step(x):
            meter.update(x.mean(), len(x))
            log.append(float(x.sum()))
            best["loss"] = min(best["loss"], float(x.sum()))
            return meter.sum, meter.average

        return lambda x: (step(x), list(log), dict(best), meter.sum)

    def traced():
        meter, log = Meter(), []

        @tracer.trace
        def step(x):
            meter.update(x.mean(), len(x))
            log.append(float(x.sum()))

        return step, meter, log

    twice(make, [(vec(i),) for i in range(6)])
    step, meter, log = traced()
    for i in range(6):
        step(vec(i))
    assert log == [3.0 + 3 * i for i in range(6)] and meter.sum == sum(log) and {type(v) for v in log} == {float}
    assert step.cache_info().recordings <= 3 and not step.eager_reasons


def test_functions_have_their_code_afterwards():
    codes = []

    def f(x, fail=False):
        codes.append(f.__code__)
        inner = lambda y: float(y) + 1
        total = float(x.sum())
        if fail:
            raise ValueError
        return inner, (v for v in [float(total)]), total

    written = f.__code__
    g = tracer.trace(f)
    inner, generator, total = g(vec())
    assert f.__code__ is written and inner.__code__ in written.co_consts and inner(vec().sum()) == 7.0
    assert list(generator) == [total] == [6.0]
    with pytest.raises(ValueError):
        g(vec(), fail=True)
    assert f.__code__ is written and f(vec())[2] == 6.0


def test_names_that_are_something_else():
    space = {"float": lambda x: "mine", "tracer": tracer}
    exec("def f(x):\n    return float(x.sum()), int(x.sum())", space)
    assert tracer.trace(space["f"])(vec()) == ("mine", 6)

    class Number(tracer.Tensor):
        def __float__(self):
            return 42.0

    x = vec().sum().as_subclass(Number) if hasattr(tracer.Tensor, "as_subclass") else None
    if x is not None:
        assert tracer.trace(lambda t: float(t))(x) == 42.0


def test_other_threads_run_the_same_functions():
    stop, wrong = threading.Event(), []

    def run():
        while not stop.is_set():
            if helper(2.5) != 4.5 or type(helper(vec().sum())) is not float:
                wrong.append(1)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        for i in range(20):
            f = tracer.trace(lambda x, k=i: helper(x.sum()) * k)
            assert f(vec()) == 12.0 * i
    finally:
        stop.set()
        thread.join()
    assert not wrong


# Elements that are not used for decisions.

LISTS = {
    "tolist": lambda x: (x.tolist(), (x * 2).long().tolist(), x.reshape(3, 1).tolist(), x.sum().tolist()),
    "arithmetic": lambda x: sum(x.tolist()) / len(x),
    "a part": lambda x: (x.tolist()[0], [v * 2 for v in x.tolist()][1:], dict(zip("abc", x.tolist(), strict=True))),
    "tensors of numbers": lambda x: tracer.tensor([x[0].item(), x.sum().item(), 1.0]) * x,
    "nested": lambda x: tracer.tensor([[float(x[0]), 2], [3, int(x[1])]]),
    "ints": lambda x: (tracer.tensor([int(x[0]), 5, int(x.sum())]), tracer.tensor([int(x[0])], dtype=tracer.float64)),
    "of the elements": lambda x: tracer.tensor(x.tolist()) + x,
    "of an argument in a row": lambda x: tracer.tensor([x.item() for x in x.unbind()][::-1]).requires_grad_().grad is None,
}


@pytest.mark.parametrize("name", LISTS)
def test_lists(name):
    twice(lambda: lambda x: LISTS[name](x), [(vec(0.25 * i),) for i in range(8)], recordings=2)


def test_elements_are_those_of_when_they_were_read():
    def make():
        kept = tracer.zeros(2)

        def f(x):
            before, held = x.sum().item(), (kept[0].item(), kept.tolist(), float(kept[1]))
            whole = x.reshape(-1)[0].item()
            x.add_(1)
            kept.add_(2)
            return before, held, whole, x.tolist(), float(kept[0])

        return f

    twice(make, [(vec(),) for _ in range(6)])

    def scalar():
        counter = tracer.tensor(1.0)

        def f():
            before = counter.item()
            counter.add_(1)
            return before, counter.item()

        return f

    twice(scalar, [()] * 6)


def formatted(x):
    print(f"x: {x}, {x * 2} and {x[0]}")


PRINTED = {
    "a tensor": lambda x: print(x * 2),
    "several": lambda x: print("x =", x, x[0], (x * 1.5).long(), x > 2, sep=" | "),
    "in containers": lambda x: print([x * 2, {"k": x}], (x.sum(),)),
    "that is followed": lambda x: print(x.clone().requires_grad_() * 2, x.clone().requires_grad_()),
    "formatted": lambda x: formatted(x),
    "an index": lambda x: print(x.reshape(1, 3), x.long().sum()),
    "large": lambda x: print(x.repeat(500), x[:0]),
    "before a change": lambda x: (y := x * 2, print(y), y.add_(1), print(y))[0],
    "a class": lambda x: print(tracer.nn.Parameter(x * 1)),
}


@pytest.mark.parametrize("name", PRINTED)
def test_printed_tensors(name, capsys):
    def call(x):
        PRINTED[name](x)
        return capsys.readouterr().out

    f = tracer.trace(PRINTED[name])
    for i in range(6):
        PRINTED[name](vec(0.25 * i))
        want = capsys.readouterr().out
        f(vec(0.25 * i))
        assert capsys.readouterr().out == want
    if name != "a class":
        assert f.cache_info().recordings <= 2, f.explain()


def test_the_text_of_a_tensor_that_is_kept():
    twice(lambda: lambda x: (str(x), f"{x}", x * 2), [(vec(i % 2),) for i in range(6)])


# Methods that C code calls, with a required result type.


class Average:
    def __init__(self):
        self.sum, self.count = 0.0, 0

    def add(self, value):
        self.sum += value
        self.count += 1

    def __float__(self):
        return self.sum / self.count

    def __int__(self):
        return self.count

    def __index__(self):
        return self.count

    def __hash__(self):
        return self.count

    def __len__(self):
        return self.count


class Wrong(Average):
    def __float__(self):
        return self.count

    def __int__(self):
        return self.sum


@functools.lru_cache(4)
def remembered(key):
    return float(key.sum()), [key.sum().item()]


METHODS = {
    "float": lambda a, x: (float(a), x * float(a)),
    "int": lambda a, x: (int(a), x + int(a)),
    "hash": lambda a, x: (hash(a), {a: 1} and 2),
    "len": lambda a, x: (len(a), bool(a)),
    "index": lambda a, x: (list(range(30))[a], x[: a if a.count < 2 else 2]),
    "math": lambda a, x: (math.sqrt(a), math.floor(float(a)), "%.2f %d" % (a, a)),  # noqa: UP031
    "bound": lambda a, x: (a.__float__(), Average.__int__(a)),
}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("cls", [Average, Wrong], ids=lambda c: c.__name__)
def test_methods_that_give_numbers(name, cls):
    def make():
        average = cls()

        def step(x):
            average.add(x.sum().item())
            return METHODS[name](average, x)

        return step

    f = twice(make, [(vec(0.25 * i),) for i in range(8)])
    if name in ("float", "int") and cls is Average:
        assert f.cache_info().recordings <= 3, f.explain()


def test_methods_in_closures():
    def make():
        total = [0.0]

        class Total:
            def __float__(self):
                return total[0] * 2

        def step(x):
            total[0] += x.sum().item()
            return float(Total()), math.sqrt(Total())

        return step

    twice(make, [(vec(0.25 * i),) for i in range(8)])


def test_a_cache_remembers_plain_numbers():
    keys = [vec(), vec(2)]
    remembered.cache_clear()
    f = tracer.trace(lambda k, x: x * remembered(keys[k])[0])
    for k in (0, 0, 1, 1, 0, 1):
        assert f(k, vec()).tolist() == [v * (6.0 + 3 * k) for v in (1.0, 2.0, 3.0)]
    for key, value in zip(keys, (6.0, 9.0), strict=True):
        number, held = remembered(key)
        assert type(number) is float and type(held[0]) is float and number == held[0] == value
