"""Programs with state in objects of all kinds, which a trace could get wrong."""

import dataclasses
import types

import numpy as np
import pytest
from twice import table, tried, vec

NS = types.SimpleNamespace
PROGRAMS, case = table()


@case
def swap(tr):
    a = NS(x=vec(1), y=vec(5), l=[1], m=[2, 3])

    def f(x):
        a.x, a.y = (a.y, a.x)
        a.l, a.m = (a.m, a.l)
        return x + a.x * len(a.l)

    f = tr(f)
    return (lambda i: f(vec(i)), lambda: vars(a))


@case
def nested_items(tr):
    a = NS(items=[{"n": 0, "h": [vec(1)]}, {"n": 5, "h": []}])

    def f(x):
        a.items[0]["n"] += 1
        a.items[1]["h"].append(x * 2)
        a.items[0]["h"][0] = a.items[0]["h"][0] + x
        return x * a.items[0]["n"] + a.items[0]["h"][0]

    f = tr(f)
    return (lambda i: f(vec(i)), lambda: vars(a))


@case
def deleted(tr):
    a = NS(n=0)

    def f(x):
        if hasattr(a, "h"):
            y = a.h
            del a.h
            return x + y
        a.h = x * 2
        return x

    f = tr(f)
    return (lambda i: f(vec(i)), lambda: vars(a))


@case
def list_in_dict(tr):
    d = {"a": [], "b": []}

    def f(x):
        d["a"].append(x.sum().item())
        d["b"] += [x]
        return x

    f = tr(f)
    return (lambda i: f(vec(i)), lambda: d)


@case
def text(tr):
    a = NS(s="")

    def f(x):
        a.s += "ab"
        return x * 2

    f = tr(f)
    return (lambda i: f(vec(i)), lambda: vars(a))


@case
def int_to_float(tr):
    a = NS(n=64, t=0.0)

    def f(x):
        a.n = a.n / 2 if a.n > 8 else 64
        a.t += 0.1
        return x * a.n + a.t

    f = tr(f)
    return (lambda i: f(vec(i)), lambda: vars(a))


@case
def default_list(tr):

    def f(x, acc=None, opt=None):
        if opt is None:
            opt = {"n": 0}
        if acc is None:
            acc = []
        acc.append(x.sum().item())
        opt["n"] += 1
        return x * opt["n"]

    g = tr(f)
    return (lambda i: g(vec(i)), lambda: f.__defaults__)


@case
def own_attribute(tr):

    def f(x):
        f.calls += 1
        return x * f.calls

    f.calls = 0
    g = tr(f)
    return (lambda i: g(vec(i)), lambda: f.calls)


@case
def setter(tr):

    class A:
        def __init__(s):
            s._n = 0
            s.log = []

        @property
        def n(s):
            return s._n

        @n.setter
        def n(s, v):
            s.log.append(v)
            s._n = v

        def __setattr__(s, k, v):
            object.__setattr__(s, k, v)
            object.__setattr__(s, "last", k)

    a = A()

    def f(x):
        a.n += 2
        return x * a.n

    f = tr(f)
    return (lambda i: f(vec(i)), lambda: vars(a))


@case
def frozen(tr):

    @dataclasses.dataclass(frozen=True)
    class S:
        h: object
        n: int = 0

    a = NS(s=S(vec(0)))

    def f(x):
        a.s = dataclasses.replace(a.s, h=a.s.h + x, n=a.s.n + 1)
        return a.s.h * a.s.n

    f = tr(f)
    return (lambda i: f(vec(i)), lambda: (a.s.h, a.s.n))


@case
def state_object(tr):

    @dataclasses.dataclass
    class S:
        h: object
        n: int = 0

    def f(s, x):
        return (S(s.h + x, s.n + 1), s.h * s.n)

    f = tr(f)
    st = [S(vec(0))]

    def call(i):
        st[0], y = f(st[0], vec(i))
        return y

    return (call, lambda: vars(st[0]))


@case
def aliased_slot(tr):
    a = NS(h=vec(0), hist=[None])

    def f(x):
        a.h = a.h + x
        a.hist[0] = a.h
        return a.hist[0] * 2

    f = tr(f)
    return (lambda i: f(vec(i)), lambda: (vars(a), a.h is a.hist[0]))


@case
def in_place_of_slot(tr):
    a = NS(h=vec(0), n=0)

    def f(x):
        if a.n % 3 == 0:
            a.h = x.clone()
        a.h.add_(x)
        a.n += 1
        return a.h * 2

    f = tr(f)
    return (lambda i: f(vec(i)), lambda: vars(a))


@case
def closure_kept(tr):
    a = NS(fn=None, n=0)

    def f(x):
        a.n += 1
        k = a.n
        y = x * k
        a.fn = lambda: k
        return y

    f = tr(f)
    return (lambda i: (f(vec(i)), a.fn()), lambda: a.n)


@case
def tuple_state(tr):
    a = NS(s=(0, vec(0), "a"))

    def f(x):
        n, h, t = a.s
        a.s = (n + 1, h + x, t)
        return h * n

    f = tr(f)
    return (lambda i: f(vec(i)), lambda: a.s)


@case
def key_by_int(tr):
    d = {}
    a = NS(n=0)

    def f(x):
        a.n += 1
        d[a.n] = x * a.n
        return x

    f = tr(f)
    return (lambda i: f(vec(i)), lambda: d)


@case
def inner_traced(tr):
    a = NS(n=0, m=0)

    def g(x):
        a.m += 1
        return x * a.m

    g = tr(g)

    def f(x):
        a.n += 1
        return g(x) + a.n

    f = tr(f)
    return (lambda i: (f(vec(i)), g(vec(i)) if i % 2 else 0), lambda: vars(a))


@case
def reversed_list(tr):
    lst = [vec(1), vec(2), 3]

    def f(x):
        lst.reverse()
        return x * lst[0] if isinstance(lst[0], int) else x + lst[0]

    f = tr(f)
    return (lambda i: f(vec(i)), lambda: lst)


@case
def outside_changes(tr):
    a = NS(n=0, log=[], d={"k": 1})

    def f(x):
        a.n += 1
        a.log.append(a.n)
        a.d["k"] = a.d["k"] * 2 % 1000
        return x * a.n + a.d["k"]

    f = tr(f)

    def call(i):
        if i == 3:
            a.log = []
        if i == 4:
            a.d = {"k": 7, "z": 1}
        if i == 5:
            a.n = 1.5
        if i == 6:
            del a.d["z"]
            a.n = 0
        if i == 7:
            a.d["k"] = 2.5
        if i == 8:
            a.log = "no"
        if i == 9:
            a.log = []
            a.n = True
        return f(vec(i))

    return (call, lambda: vars(a))


@case
def early(tr):
    a = NS(best=None, bad=0)

    def f(x):
        v = x.sum().item()
        if a.best is None or v > a.best:
            a.best = v
            a.bad = 0
        else:
            a.bad += 1
        return (x * 2, a.bad > 2)

    f = tr(f)
    return (lambda i: f(vec([0, 1, 2, 1, 0, -1, 5, 3, 2, 2, 2][i % 11])), lambda: vars(a))


@case
def returned_container(tr):
    a = NS(log=[0])

    def f(x):
        a.log.append(1)
        return (a.log, x)

    f = tr(f)
    return (lambda i: f(vec(i))[0] is a.log, lambda: a.log)


@case
def numpy_scalar(tr):
    a = NS(n=np.float64(1.0), m=np.int64(2))

    def f(x):
        a.n = a.n * 0.5 + 1
        a.m = a.m + 1
        return x * float(a.n) + int(a.m)

    f = tr(f)
    return (lambda i: f(vec(i)), lambda: (float(a.n), int(a.m), type(a.n).__name__, type(a.m).__name__))


@case
def numpy_arg(tr):
    f = tr(lambda x, k: x * k)
    return (lambda i: f(vec(i), np.float32(i * 0.5)), lambda: 0)


@case
def class_counter(tr):

    class C:
        n, reg = 0, None

    C.reg = {}

    def f(x):
        C.n += 1
        C.reg["a"] = x
        return x * C.n

    f = tr(f)
    return (lambda i: f(vec(i)), lambda: (C.n, C.reg))


@case
def while_global(tr):
    a = NS(n=0)

    def f(x):
        while a.n % 5 != 4:
            a.n += 1
        a.n += 1
        return x * a.n

    f = tr(f)
    return (lambda i: f(vec(i)), lambda: a.n)


@case
def kwargs_state(tr):

    def f(x, *, state):
        state["n"] += 1
        state.setdefault("l", []).append(x)
        return x * state["n"]

    f = tr(f)
    s = {"n": 0}
    return (lambda i: f(vec(i), state=s), lambda: s)


@case
def identity(tr):
    a = NS(n=1000, m=1000)

    def f(x):
        a.m = a.n
        a.n = a.n + 1
        return x * (2 if a.m is a.n else 3)

    f = tr(f)
    return (lambda i: f(vec(i)), lambda: vars(a))


@case
def none_then_tensor_argument(tr):

    def f(x, h=None):
        h = x if h is None else h * 0.5 + x
        return (h, h)

    f = tr(f)
    st = [None]

    def call(i):
        y, st[0] = f(vec(i), st[0])
        return y

    return (call, lambda: st[0])


@case
def shared_list(tr):
    lst = [0]
    a = NS(p=lst, q=lst)

    def f(x):
        a.p[0] += 1
        return x * a.q[0]

    f = tr(f)

    def call(i):
        if i == 5:
            a.q = [100]
        return f(vec(i))

    return (call, lambda: (a.p, a.q))


@case
def view_kept(tr):
    a = NS(v=None, h=None)

    def f(x):
        a.h = x * 2
        a.v = a.h[:2]
        return a.h

    f = tr(f)

    def call(i):
        y = f(vec(i))
        a.v.add_(1)
        return y

    return (call, lambda: vars(a))


# Functions whose calls all differ: growing text, new functions, keys and NumPy scalars that change.
ANEW = {"text", "closure_kept", "key_by_int", "outside_changes", "numpy_scalar", "numpy_arg"}


@pytest.mark.parametrize("name", PROGRAMS)
def test_state(name):
    f = tried(PROGRAMS[name], 11)[-1]
    assert not f.eager_reasons
    if name not in ANEW:
        assert f.cache_info().replays >= 5, f.explain()
