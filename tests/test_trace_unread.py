# ruff: noqa: RUF005, RUF017, SIM300, SIM401, UP031
"""Containers that change outside between calls: a run that does not read them is replayed, any way of reading is noticed."""

import collections
import copy
import functools
import itertools
import json
import math
import operator
import pickle
from collections import deque
from types import SimpleNamespace

import pytest

import tracer
from tracer import nn

X = tracer.tensor([1.0, 2.0])


def matched(x):
    match x:
        case []:
            return 0.0
        case [first]:
            return first
        case [first, *_]:
            return first + 2
        case {"a": a, **rest}:
            return a + len(rest)
    return -1.0


def replaced(x):
    (first := [1.0, 2.0])[0:1] = x
    return sum(first)


def first_of(x):
    a, *rest = (*x, 1.0)
    return a + len(rest)


def extended(x):
    items = [0.5]
    items.extend(x)
    return sum(items)


SEQUENCES = {
    "unread": lambda x: 3.0,
    "len": lambda x: len(x),
    "bool": lambda x: 1.0 if x else 2.0,
    "not": lambda x: float(not x),
    "last": lambda x: x[-1] if x else 0.5,
    "iter": lambda x: sum(v for v in x),
    "sum": lambda x: sum(x),
    "in": lambda x: float(2.0 in x),
    "count": lambda x: x.count(1.0),
    "find": lambda x: x.index(4.0) if 4.0 in x else -1.0,
    "star": lambda x: max(0.0, 0.1, *x),
    "display": lambda x: sum([*x, 1.0]),
    "unpacked": first_of,
    "matched": matched,
    "equal": lambda x: float(x == [1.0, 2.0]),
    "equal to": lambda x: float(x == [1.0, 2.0]),
    "in an equal list": lambda x: float([x] == [[1.0, 2.0]]),
    "less": lambda x: float(x < type(x)([1.0, 5.0])),
    "greater": lambda x: float(type(x)([1.0]) < x),
    "sorted": lambda x: sum(sorted(x)[:1]),
    "reversed": lambda x: next(reversed(x), 0.0),
    "zip": lambda x: sum(a for a, _ in zip(x, range(9), strict=False)),
    "enumerate": lambda x: sum(i * v for i, v in enumerate(x)),
    "map": lambda x: sum(map(float, x)),
    "filter": lambda x: len(list(filter(None, x))),
    "any": lambda x: float(any(x)),
    "tuple": lambda x: len(tuple(x)),
    "list": lambda x: sum(list(x)),
    "frozenset": lambda x: len(frozenset(x)),
    "deque": lambda x: sum(collections.deque(x)),
    "dict": lambda x: len(dict(enumerate(x))),
    "chain": lambda x: sum(itertools.chain(x, [1.0])),
    "islice": lambda x: sum(itertools.islice(x, 2)),
    "reduce": lambda x: functools.reduce(operator.add, x, 0.0),
    "fsum": lambda x: math.fsum(x),
    "join": lambda x: len("".join(map(str, x))),
    "formatted": lambda x: len(f"{x}"),
    "percent": lambda x: len("%s" % (x,)),
    "repr": lambda x: len(repr(x)),
    "extend": extended,
    "assigned to a slice": replaced,
    "copy": lambda x: sum(x.copy()),
    "copied": lambda x: sum(copy.copy(x)),
    "deep copied": lambda x: sum(copy.deepcopy(x)),
    "pickled": lambda x: len(pickle.loads(pickle.dumps(x))),
    "type": lambda x: float(type(x) in (list, collections.deque)),
    "made of its type": lambda x: sum(type(x)(v for v in x)),
    "made of its class": lambda x: sum(x.__class__(x)),
    "isinstance": lambda x: float(isinstance(x, list)),
    "method": lambda x: sum(map(x.__getitem__, range(min(len(x), 1)))),
    "length_hint": lambda x: operator.length_hint(x),
    "itemgetter": lambda x: operator.itemgetter(0)(x) if len(x) else 0.0,
    "tensor": lambda x: tracer.tensor([*x, 0.0]).sum(),
    "attributes": lambda x: len(vars(PLACE)),
}

LISTS = {
    "added to": lambda x: sum([0.5] + x),
    "added": lambda x: sum(x + [0.5]),
    "repeated": lambda x: sum(x * 2),
    "sliced": lambda x: sum(x[1:]),
    "added in place": lambda x: sum(operator.iadd([1.0], x)),
    "concat": lambda x: sum(operator.concat([1.0], x)),
    "sum of lists": lambda x: len(sum([x], [])),
    "added by the class": lambda x: sum(list.__add__([0.5], x)),
    "copied by the class": lambda x: sum(list.copy(x)),
    "counted by the class": lambda x: list.count(x, 1.0),
    "measured by the class": lambda x: list.__len__(x),
    "json": lambda x: len(json.dumps(x)),
    "to a tensor": lambda x: tracer.tensor(x).sum(),
}

DEQUES = {
    "of the class": lambda x: sum(deque.copy(x)),
    "added to": lambda x: sum(deque([0.5]) + x),
    "rotated": lambda x: (lambda c: c.rotate(1) or sum(c))(x.copy()),
}

DICTS = {
    "unread": lambda x: 3.0,
    "len": lambda x: len(x),
    "bool": lambda x: 1.0 if x else 2.0,
    "get": lambda x: x.get("a", 0.5),
    "item": lambda x: x["a"] if "a" in x else 0.25,
    "iter": lambda x: sum(len(k) for k in x),
    "values": lambda x: sum(x.values()),
    "items": lambda x: sum(v for _, v in x.items()),
    "keys": lambda x: len(list(x.keys())),
    "matched": matched,
    "merged": lambda x: len({"z": 1.0} | x),
    "merges": lambda x: len(x | {"z": 1.0}),
    "display": lambda x: len({**x, "z": 1.0}),
    "keywords": lambda x: len(dict(**x)),
    "dict": lambda x: sum(dict(x).values()),
    "updated": lambda x: (lambda d: d.update(x) or len(d))({}),
    "formatted": lambda x: len(f"{x}"),
    "percent": lambda x: len("%(a)s" % x) if "a" in x else 0,
    "format_map": lambda x: len("{a}".format_map(x)) if "a" in x else 0,
    "equal": lambda x: float({"a": 1.0} == x),
    "of the class": lambda x: sum(dict.values(x)),
    "copied": lambda x: sum(copy.copy(x).values()),
    "json": lambda x: len(json.dumps(x)),
}

SETS = {
    "unread": lambda x: 3.0,
    "len": lambda x: len(x),
    "in": lambda x: float(2.0 in x),
    "sum": lambda x: sum(x),
    "or": lambda x: len({0.5} | x),
    "and": lambda x: len({1.0, 2.0} & x),
    "union": lambda x: len({0.5}.union(x)),
    "updated": lambda x: (lambda s: s.update(x) or len(s))({0.5}),
    "difference": lambda x: len({1.0, 2.0}.difference(x)),
    "subset": lambda x: float({1.0}.issubset(x)),
    "set": lambda x: len(set(x)),
    "frozenset": lambda x: len(frozenset(x)),
    "equal": lambda x: float({1.0, 2.0} == x),
    "sorted": lambda x: sum(sorted(x)[:1]),
    "less": lambda x: float({1.0} < x),
}

PLACE = SimpleNamespace()
ON_A_SEQUENCE = [
    lambda x: x.append(2.0),
    lambda x: x.append(4.0),
    lambda x: x.pop(),
    lambda x: x.append(7.0),
    lambda x: x.__setitem__(0, 9.0),
    lambda x: x.clear(),
    lambda x: x.extend([1.0, 2.0]),
    lambda x: None,
    lambda x: x.append(3.0),
]
ON_A_DICT = [
    lambda x: x.update(b=2.0),
    lambda x: x.update(c=4.0),
    lambda x: x.pop("b"),
    lambda x: x.update(a=7.0),
    lambda x: x.clear(),
    lambda x: x.update(b=1.0, a=5.0),
    lambda x: x.update(d=3.0),
]
ON_A_SET = [
    lambda x: x.add(2.0),
    lambda x: x.add(4.0),
    lambda x: x.discard(2.0),
    lambda x: x.clear(),
    lambda x: x.update([1.0, 2.0]),
    lambda x: x.add(9.0),
]


def kinds():
    for make, reads, changes in (
        (lambda: [1.0], {**SEQUENCES, **LISTS}, ON_A_SEQUENCE),
        (lambda: collections.deque([1.0]), {**SEQUENCES, **DEQUES}, ON_A_SEQUENCE),
        (lambda: {"a": 1.0}, DICTS, ON_A_DICT),
        (lambda: {1.0}, SETS, ON_A_SET),
    ):
        for name, read in reads.items():
            yield pytest.param(make, read, changes, id=f"{type(make()).__name__}-{name}")


def results(trace, make, read, changes, calls):
    PLACE.log = make()
    f = trace(lambda x: x * read(PLACE.log))
    found = [f(X).tolist() for _ in range(calls)]
    for change in changes:
        change(PLACE.log)
        found += [f(X).tolist() for _ in range(2)]
    return found, type(PLACE.log)


@pytest.mark.filterwarnings("ignore::tracer.TraceWarning")
@pytest.mark.parametrize("calls", [1, 4])
@pytest.mark.parametrize(("make", "read", "changes"), [*kinds()])
def test_containers_that_change_outside(make, read, changes, calls):
    assert results(tracer.trace, make, read, changes, calls) == results(lambda f: f, make, read, changes, calls)


@pytest.mark.filterwarnings("ignore::tracer.TraceWarning")
@pytest.mark.parametrize(("make", "read", "changes"), [*kinds()])
def test_code_that_reads_runs_late(make, read, changes):
    """The code that reads has not run when the container begins to change."""

    def run(trace):
        PLACE.log, PLACE.reads = make(), False
        f = trace(lambda x: x * (read(PLACE.log) if PLACE.reads else 2.0))
        found = []
        for change in changes[:2]:
            found += [f(X).tolist() for _ in range(2)]
            change(PLACE.log)
        PLACE.reads = True
        for change in changes[2:]:
            found += [f(X).tolist() for _ in range(2)]
            change(PLACE.log)
        return found

    assert run(tracer.trace) == run(lambda f: f)


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.rewards, self.kept, self.notes = [], [], {}

    def forward(self, x):
        return self.layer(x).tanh()


@pytest.mark.parametrize("replaces", [False, True])
def test_a_modules_logs_are_no_reason_to_record(replaces):
    def run(trace):
        tracer.manual_seed(0)
        policy = Policy()

        @trace
        def act(x):
            out = policy(x).sum()
            policy.kept.append(out)
            return out.item()

        found = []
        for episode in range(6):
            for step in range(7):
                found.append(act(X * step))
                policy.rewards.append(found[-1] + episode)
                policy.notes[episode, step] = len(policy.kept)
            loss = -(tracer.stack(policy.kept) * tracer.tensor(policy.rewards)).sum()
            loss.backward()
            found += [loss.item(), *policy.layer.weight.grad.flatten().tolist(), len(policy.notes)]
            if replaces:
                policy.rewards, policy.kept, policy.notes = [], [], {}
            else:
                policy.rewards.clear()
                del policy.kept[:]
        return found, act

    found, act = run(tracer.trace)
    expected, _ = run(lambda f: f)
    for a, b in zip(found, expected, strict=True):
        assert a == pytest.approx(b, rel=1e-5, abs=1e-6)
    assert act.cache_info().recordings <= (12 if replaces else 6)  # two for each new list
