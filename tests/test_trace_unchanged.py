"""Comparisons of guards in every call: never stale, at a cost proportional to the changes."""

import collections
import enum
import functools
import weakref

import numpy as np
import pytest

import tracer
from tracer import nn, optim
from tracer.runtime.support import table, words
from tracer.tracing import guards

CALLS = 5  # recorded, compiled, specialised, compared by words
X = tracer.tensor([1.0, 2.0])

pytestmark = pytest.mark.filterwarnings("ignore::tracer.TraceWarning")


class Plain:
    factor = 1.0

    def __init__(self, **attributes):
        vars(self).update(attributes)


class Other(Plain):
    factor = 5.0


class Slotted:
    __slots__ = ("a", "b")

    def __init__(self, a):
        self.a = a


class Both(Slotted):
    def __init__(self, a, c):
        super().__init__(a)
        self.c = c


class Sub(list):
    pass


class Table(dict):
    pass


class Kind(enum.Enum):
    A = 1


def helper(x, shift=0.0):
    return x + shift


def total(x):
    """An object's contents, as a number."""
    if isinstance(x, (int, float)):
        return float(x)
    if isinstance(x, np.ndarray):
        return float(x.sum())
    if isinstance(x, dict):
        return sum((i + 1) * total(v) for i, v in enumerate(x.values())) + 0.5 * len(x)
    if isinstance(x, (list, tuple, collections.deque, set, bytearray)):
        return sum((i + 1) * total(v) for i, v in enumerate(x)) + 0.5 * len(x)
    if isinstance(x, functools.partial):
        return x(0.0) + total(x.args)
    if isinstance(x, (Plain, Slotted)):
        names = [n for n in ("a", "b", "c", "inner", "factor") if hasattr(x, n)]
        return sum((i + 1) * total(getattr(x, n)) for i, n in enumerate(names))
    raise TypeError(type(x))


def replace_dictionary(x):
    x.__dict__ = {**vars(x), "a": 9.0}


def change_and_undo(x):
    before = x.a
    x.a = object()
    x.a = before


def swap(x):
    x[0], x[1] = x[1], x[0]


def nested():
    return Plain(a=1.0, inner=[Plain(a=2.0), {"k": [3.0, (4.0, [5.0])]}])


CHANGES = {
    "item": (lambda: [1.0, 2.0, 3.0], lambda x: x.__setitem__(1, 7.0)),
    "an equal item": (lambda: [1.0, 2.0, 3.0], lambda x: x.__setitem__(1, float("2.0"))),
    "append": (lambda: [1.0, 2.0], lambda x: x.append(3.0)),
    "pop": (lambda: [1.0, 2.0], lambda x: x.pop()),
    "swap": (lambda: [1.0, 2.0], swap),
    "many": (lambda: [Plain(a=float(i)) for i in range(500)], lambda x: setattr(x[321], "a", -1.0)),
    "all": (lambda: [1.0] * 300, lambda x: x.__setitem__(slice(None), [2.0] * 300)),
    "grows by much": (lambda: [1.0, 2.0], lambda x: x.extend([1.0] * 5000)),
    "list subclass": (lambda: Sub([1.0, 2.0]), lambda x: x.__setitem__(0, 5.0)),
    "dict value": (lambda: {"a": 1.0, "b": 2.0}, lambda x: x.__setitem__("b", 5.0)),
    "dict order": (lambda: {"a": 1.0, "b": 2.0}, lambda x: x.__setitem__("a", x.pop("a"))),
    "dict key": (lambda: {"a": 1.0, "b": 2.0}, lambda x: x.__setitem__("c", 2.0)),
    "dict clear": (lambda: {"a": 1.0, "b": 2.0}, lambda x: x.clear()),
    "int keys": (lambda: {1: 1.0, 2: 2.0}, lambda x: x.update({2: 4.0})),
    "dict subclass": (lambda: Table(a=1.0, b=2.0), lambda x: x.update(b=4.0)),
    "move to end": (lambda: collections.OrderedDict(a=1.0, b=2.0), lambda x: x.move_to_end("a")),
    "default dict": (lambda: collections.defaultdict(float, a=1.0), lambda x: x["b"]),
    "deque": (lambda: collections.deque([1.0, 2.0]), lambda x: x.rotate(1)),
    "set": (lambda: {1.0, 2.0}, lambda x: x.add(9.0)),
    "bytearray": (lambda: bytearray(b"ab"), lambda x: x.__setitem__(0, 1)),
    "array": (lambda: np.arange(3.0), lambda x: x.__setitem__(1, 7.0)),
    "attribute": (lambda: Plain(a=1.0), lambda x: setattr(x, "a", 3.0)),
    "new attribute": (lambda: Plain(a=1.0), lambda x: setattr(x, "b", 3.0)),
    "deleted attribute": (lambda: Plain(a=1.0, b=2.0), lambda x: delattr(x, "b")),
    "dictionary written": (lambda: Plain(a=1.0), lambda x: vars(x).__setitem__("a", 3.0)),
    "dictionary replaced": (lambda: Plain(a=1.0, b=1.0), replace_dictionary),
    "class": (lambda: Plain(a=1.0), lambda x: setattr(x, "__class__", Other)),
    "set and set back": (lambda: Plain(a=1.0), change_and_undo),
    "slot": (lambda: Slotted(1.0), lambda x: setattr(x, "a", 4.0)),
    "empty slot": (lambda: Slotted(1.0), lambda x: setattr(x, "b", 4.0)),
    "deleted slot": (lambda: Slotted(1.0), lambda x: delattr(x, "a")),
    "slot beside a dictionary": (lambda: Both(1.0, 2.0), lambda x: setattr(x, "a", 4.0)),
    "dictionary beside a slot": (lambda: Both(1.0, 2.0), lambda x: setattr(x, "c", 4.0)),
    "nested": (nested, lambda x: x.inner[1]["k"][1][1].append(1.0)),
    "nested object": (nested, lambda x: setattr(x.inner[0], "a", 1.5)),
    "partial": (lambda: functools.partial(helper, shift=2.0), lambda x: x.__setstate__((helper, (), {"shift": 3.0}, {}))),
    "partial's keywords": (lambda: functools.partial(helper, shift=2.0), lambda x: x.keywords.update(shift=5.0)),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("calls", [1, 2, 3, CALLS])
def test_changes_of_what_a_closure_holds(name, calls):
    def run(trace):
        make, change = CHANGES[name]
        held = make()
        f = trace(lambda x: x * total(held))
        results = [f(X).tolist() for _ in range(calls)]
        for _ in range(2):
            change(held)
            results += [f(X).tolist() for _ in range(calls)]
            if name not in ("attribute", "item", "append", "nested", "array"):
                break
        return results

    assert run(tracer.trace) == run(lambda f: f)


SPACE = "scale = 2.0\nwords = ['a']\ndef f(x):\n    return x * scale * len(words) + (abs(-1.0) if flag else 0.0)\n"


def rebound(space):
    space["scale"] = 3.0


def shadowed(space):
    space["abs"] = lambda x: 10.0


def crowded(space):
    for i in range(100):  # the dictionary gets other memory
        space[f"name{i}"] = i


def emptied(space):
    saved = dict(space)
    space.clear()
    space.update(saved, scale=4.0)


def unrelated(space):
    space["other"] = space.get("other", 0) + 1


@pytest.mark.parametrize("change", [rebound, shadowed, crowded, emptied, unrelated])
@pytest.mark.parametrize("calls", [1, 3, CALLS])
def test_changes_of_globals(change, calls):
    def run(trace):
        space = {"flag": True, "__name__": "some"}
        exec(SPACE, space)
        f = trace(space["f"])
        results = []
        for step in (None, change, rebound, unrelated):
            if step is not None:
                step(space)
            results += [f(X).tolist() for _ in range(calls)]
        del space["abs" if change is shadowed else "other"]
        return [*results, f(X).tolist()]

    assert run(tracer.trace) == run(lambda f: f)


def test_changes_of_a_class():
    def run(trace):
        class A:
            k = 1.0

            def times(self, x):
                return x * self.k

        a = A()
        f = trace(lambda x: a.times(x))
        results = []
        for change in (
            lambda: None,
            lambda: setattr(A, "k", 2.0),
            lambda: type.__setattr__(A, "k", 3.0),
            lambda: setattr(A, "unrelated", 1),
            lambda: setattr(A, "times", lambda self, x: x - self.k),
            lambda: delattr(A, "unrelated"),
        ):
            change()
            results += [f(X).tolist() for _ in range(CALLS)]
        return results

    assert run(tracer.trace) == run(lambda f: f)


def walks(monkeypatch):
    """The number of walks."""
    made = []

    class Counted(guards.Walk):
        def describe(self, *args):
            made.append(args)
            return super().describe(*args)

    monkeypatch.setattr(guards, "Walk", Counted)
    return made


needs_words = pytest.mark.skipif(
    not (table.is_available() and words.tells_versions_of_objects),
    reason="this interpreter lays out objects differently, so Python compares the guards",
)


def network():
    tracer.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Dropout(0.0), nn.Linear(3, 1))


def toggle(model, optimizer):
    model.eval()
    model.train()


def another_module(model, optimizer):
    nn.Linear(2, 2).extra = 1


def another_leaf(model, optimizer):
    tracer.ones(2).requires_grad_()


def rate(model, optimizer):
    optimizer.param_groups[0]["lr"] *= 0.5


def attribute_and_back(model, optimizer):
    model[0].bias.requires_grad_(False)
    model[0].bias.requires_grad_(True)


@needs_words
@pytest.mark.parametrize("change", [toggle, another_module, another_leaf, rate, attribute_and_back])
def test_announced_changes_elsewhere_describe_nothing_again(monkeypatch, change):
    def run(trace, made=()):
        model = network()
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        x = tracer.randn(4, 2)

        @trace
        def step():
            optimizer.zero_grad()
            loss = model(x).square().mean()
            loss.backward()
            optimizer.step()
            return loss

        losses, before = [], None
        for k in range(12):
            losses.append(step().item())
            change(model, optimizer)
            if k == 6:
                before = len(made)
        assert len(made) == (before if made else 0)
        return losses

    assert run(tracer.trace, walks(monkeypatch)) == pytest.approx(run(lambda f: f), rel=1e-5)


def frozen(model, optimizer):
    model[0].weight.requires_grad_(not model[0].weight.requires_grad)


def replaced(model, optimizer):
    model[3] = nn.Linear(3, 1)


def hooked(model, optimizer):
    model[0].register_forward_hook(lambda module, args, out: out * 0.5)


def biased(model, optimizer):
    model[3].bias = None


def evaluated(model, optimizer):
    model.train(not model.training)


def new_memory(model, optimizer):
    model[0].weight.data = model[0].weight.data.clone() * 2


def another_class(model, optimizer):
    model[2].__class__ = nn.Identity


def tensor_rate(model, optimizer):
    optimizer.param_groups[0]["lr"] = tracer.tensor(0.05)


def with_decay(model, optimizer):
    optimizer.param_groups[0]["weight_decay"] += 0.1


def past_setattr(model, optimizer):
    vars(model[2])["p"] = 0.0
    vars(model[1])["momentum"] = 0.5
    dict.__setitem__(vars(model[1]), "eps", 0.1)


def settled(model, optimizer):
    object.__setattr__(model[1], "momentum", 0.9)


@pytest.mark.parametrize(
    "change",
    [frozen, replaced, hooked, biased, evaluated, new_memory, another_class, tensor_rate, with_decay, past_setattr, settled],
)
@pytest.mark.parametrize("calls", [1, 3, CALLS])
def test_announced_changes_that_matter(change, calls):
    def run(trace):
        model = network()
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        x = tracer.randn(4, 2)

        @trace
        def step():
            optimizer.zero_grad()
            loss = model(x).square().mean()
            loss.backward()
            optimizer.step()
            return loss

        losses = [step().item() for _ in range(calls)]
        for _ in range(3):
            toggle(model, optimizer)
            losses += [step().item() for _ in range(calls)]
            change(model, optimizer)
            losses += [step().item() for _ in range(calls)]
        return losses

    assert run(tracer.trace) == pytest.approx(run(lambda f: f), rel=1e-4)


def mode(model, settings):
    model.train(not model.training)


def mode_of_a_part(model, settings):
    model[2].training = not model[2].training


def frozen_and_not(model, settings):
    model[0].bias.requires_grad_(not model[0].bias.requires_grad)


def an_option(model, settings):
    settings.name = "sum" if settings.name == "mean" else "mean"


def an_entry(model, settings):
    settings.sizes["k"] = None if settings.sizes["k"] else "k"


def an_item(model, settings):
    settings.names.pop() if len(settings.names) > 1 else settings.names.append("b")


def two_of_them(model, settings):
    mode(model, settings)
    if model.training:
        an_option(model, settings)


@needs_words
@pytest.mark.parametrize("change", [mode, mode_of_a_part, frozen_and_not, an_option, an_entry, an_item, two_of_them])
def test_states_that_return_describe_nothing_again(monkeypatch, change):
    def run(trace, made=()):
        model = network()
        settings = Plain(name="mean", sizes={"k": "k"}, names=["a"])
        x = tracer.randn(4, 2)

        @trace
        def loss():
            out = getattr(model(x).square(), settings.name)()
            return out * len(settings.names) + (1 if settings.sizes["k"] else 2)

        losses, before = [], 0
        for k in range(24):
            if k == 8:
                before = len(made)
            losses.append(loss().item())
            change(model, settings)
        assert len(made) == before
        return losses

    assert run(tracer.trace, walks(monkeypatch)) == pytest.approx(run(lambda f: f), rel=1e-5)


def test_epochs_of_training_and_evaluation_describe_nothing_again(monkeypatch):
    def run(trace, made=()):
        model, x = network(), tracer.randn(4, 2)
        optimizer = optim.SGD(model.parameters(), lr=0.1)

        @trace
        def train():
            model.train()
            optimizer.zero_grad()
            loss = model(x).square().mean()
            loss.backward()
            optimizer.step()
            return loss.item()

        @trace
        def evaluate():
            model.eval()
            with tracer.no_grad():
                return model(x).square().mean().item()

        losses, before = [], 0
        for k in range(12):
            if k == 6:
                before = len(made)
            losses += [train(), train(), train(), evaluate()]
        assert len(made) == before
        return losses

    assert run(tracer.trace, walks(monkeypatch)) == pytest.approx(run(lambda f: f), rel=1e-4, abs=1e-7)


def test_what_is_replaced_in_turns_is_not_kept():
    place = Plain(part=None)

    @tracer.trace
    def f(x):
        return x * 2 if place.part is None else x * place.part.weight

    for k in range(4 * CALLS):
        place.part = Plain(weight=tracer.tensor([3.0, k])) if k % 2 else None
        assert f(X).tolist() == ([3.0, 2.0 * k] if k % 2 else [2.0, 4.0])
        if k % 2:
            part = weakref.ref(place.part.weight)
        else:
            assert k == 0 or part() is None


def test_numbers_that_are_out_of_reach_for_a_while():
    boxes = [Plain(k=1.0), Plain(name="b")]
    place = Plain(box=boxes[0])

    @tracer.trace
    def f(x):
        return x * getattr(place.box, "k", 0.5)

    def turn(k, calls):
        place.box, boxes[0].k = boxes[0], k
        seen = [f(X).tolist() for _ in range(calls)]
        place.box = boxes[1]
        return [*seen, *(f(X).tolist() for _ in range(calls))]

    for calls in (1, 2, CALLS):
        for k in (1.0, 2.0, 3.0, 3.0, 1.0, 5.0):
            assert turn(k, calls) == [(X * k).tolist()] * calls + [(X * 0.5).tolist()] * calls


def test_numbers_that_are_deleted_for_a_while():
    box = Plain()

    @tracer.trace
    def f(x):
        return x * box.factor

    for k in range(CALLS):
        box.factor = float(k)  # becomes a run-time value
        assert f(X).tolist() == (X * k).tolist()
    for calls in (2, CALLS):
        for k in (2.0, 3.0, 4.0, 4.0, 1.0, 6.0):
            box.factor = k
            assert [f(X).tolist() for _ in range(calls)] == [(X * k).tolist()] * calls
            del box.factor
            assert [f(X).tolist() for _ in range(calls)] == [X.tolist()] * calls


@needs_words
def test_a_long_list_of_objects_is_described_once(monkeypatch):
    made = walks(monkeypatch)
    objects = [Plain(a=float(i)) for i in range(1000)]
    f = tracer.trace(lambda x: x * len(objects))
    for _ in range(CALLS):
        f(X)
    before = len(made)
    for k in range(5):
        objects[k].a = object()
        objects[k].a = float(k)  # restored
        assert f(X).tolist() == [1000.0, 2000.0]
    assert len(made) == before
    objects.pop()
    assert f(X).tolist() == [999.0, 1998.0]


def test_functions_that_take_turns_with_shapes():
    f = tracer.trace(lambda x: x * 2)
    shapes = [tracer.ones(n + 1) for n in range(5)]
    for _ in range(4):
        for x in shapes:
            assert f(x).tolist() == [2.0] * len(x)
    assert f.cache_info().replays == 15
    for _ in range(3):
        assert f(shapes[0]).tolist() == [2.0]
    assert f._latest((shapes[0],), {}).tolist() == [2.0]
