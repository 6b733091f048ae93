"""Text for objects that a traced function can reach: how each kind is created, read, and changed between calls.

Names are those of one program; ``x`` is a tensor of shape (2, 3), ``k`` an int argument. A *place* holds a value, as (kind
of holder, holder, key): there are many ways to read and write it, whatever it belongs to.
"""

import ast
import textwrap
from dataclasses import dataclass

HEADER = """\
import collections
import contextlib
import dataclasses
import enum
import functools
import itertools
import math
import operator
import random
import sys
import types
import weakref

import numpy as np

import tracer
from tracer import nn, optim
from tracer.nn import functional as F

f64 = tracer.float64
FAILED = []  # changes that raised


class Num(float):
    pass


class Int(int):
    pass


class Text(str):
    pass


class Two:
    k = 2.0

    def m(self, x):
        return x * 2.0

    def __hash__(self):  # it may become the class of a key of a dictionary
        return 3


def T(*values, shape=(2, 3)):
    return tracer.linspace(*(values or (0.1, 0.9)), math.prod(shape), dtype=f64).reshape(shape)


def cell(function, name):
    return function.__closure__[function.__code__.co_freevars.index(name)]


def decorated(function):
    @functools.wraps(function)
    def called(*args):
        return function(*args) * 1.5

    return called


# What programs replace in libraries, and the modes that they change: all is put back.
LIBRARY = [
    (tracer, "tanh"), (tracer, "sin"), (F, "relu"), (F, "linear"), (tracer.Tensor, "tanh"), (tracer.Tensor, "__mul__"),
    (tracer.Tensor, "sum"), (nn.Linear, "forward"), (nn.ReLU, "forward"), (nn.Module, "__call__"), (math, "cbrt"),
    (math, "tau"), (np, "cbrt"), (np, "average"), (optim.SGD, "step"), (operator, "concat"), (itertools, "pairwise"),
    (nn.Linear, "extra"), (tracer.Tensor, "extra"), (tracer, "extra"), (random, "extra"), (textwrap, "dedent"),
]
ORIGINAL = [(holder, name, vars(holder).get(name)) for holder, name in LIBRARY]


def restored():
    for holder, name, value in ORIGINAL:
        if value is not None and vars(holder).get(name) is not value:
            setattr(holder, name, value)
        elif value is None and name in vars(holder):
            delattr(holder, name)
    for name in ("abs", "len"):
        globals().pop(name, None)
    tracer.set_default_dtype(tracer.float32)
    tracer.set_grad_enabled(True)
    tracer.set_num_threads(1)


class Doubling(tracer.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, g):
        return g * Doubling.slope

    slope = 2.0


MODES = {
    "plain": contextlib.nullcontext,
    "no_grad": tracer.no_grad,
    "inference": tracer.inference_mode,
    "saved": lambda: tracer.autograd.graph.saved_tensors_hooks(lambda t: t * 2, lambda t: t / 2),
    "anomaly": tracer.autograd.detect_anomaly,
}


""".replace("import textwrap\n", "").replace("import sys\n", "import sys\nimport textwrap\n")


def _lines(text):
    return [line.strip() for line in text.strip().split("\n") if line.strip()]


@dataclass
class Thing:
    """``setup``: statements. ``reads``: expressions that give a tensor for ``x``. ``changes``: statements between calls,
    ``effects``: in the traced function.
    """

    name: str
    setup: str
    places: list
    reads: list
    changes: list
    effects: list

    @property
    def names(self):
        """The variables that it defines."""
        found = []
        for node in ast.parse(self.setup).body:
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
                found.append(node.name)
            elif isinstance(node, ast.Assign):
                for target in node.targets:
                    found += [n.id for n in ast.walk(target) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
        return list(dict.fromkeys(found))


THINGS = {}


def thing(name, setup, places=(), reads="", changes="", effects=""):
    assert name not in THINGS
    places = [tuple(line.split()) for line in _lines(places)] if places else []
    THINGS[name] = Thing(name, textwrap.dedent(setup).strip(), places, *map(_lines, (reads, changes, effects)))


# Places: how they are read and written.

READS = {
    "variable": ["{k}"],
    "attribute": _lines("""
        {o}.{k}
        {o}.{k}
        getattr({o}, "{k}")
        getattr({o}, "{k}", 0.3)
        (0.7 if hasattr({o}, "{k}") else 0.2)
        operator.attrgetter("{k}")({o})
        {o}.__getattribute__("{k}")
    """),
    "instance": _lines("""
        {o}.{k}
        getattr({o}, "{k}", 0.3)
        vars({o})["{k}"]
        vars({o}).get("{k}", 0.3)
        {o}.__dict__["{k}"]
        len(vars({o}))
        (0.7 if "{k}" in vars({o}) else 0.2)
        sum(v for v in vars({o}).values() if type(v) is float)
        (0.3 if next(iter(vars({o})), None) == "{k}" else 0.4)
        (0.5 if type({o}) is Two else 1.5)
        (0.5 if isinstance({o}, Two) else 1.5)
        len(type({o}).__name__)
    """),
    "item": _lines("""
        {o}[{k}]
        {o}.get({k}, 0.3)
        (0.7 if {k} in {o} else 0.2)
        {o}.setdefault({k}, 0.4)
        next(iter({o}.values()))
        list({o}.items())[-1][1]
        len({o})
        (0.3 if next(iter({o}), None) == {k} else 0.4)
        {{**{o}}}[{k}]
        sum(v for v in {o}.values() if type(v) is float)
        operator.itemgetter({k})({o})
        operator.getitem({o}, {k})
        len(str({o}))
        (0.5 if {o} == {{}} else 0.6)
    """),
    "element": _lines("""
        {o}[{k}]
        {o}[-1]
        len({o})
        sum(v for v in {o} if type(v) is float)
        list({o})[0]
        (0.7 if 1.5 in {o} else 0.2)
        len([*{o}])
        max(v for v in {o} if isinstance(v, float))
        (0.5 if {o} else 0.6)
        list(reversed({o}))[0]
        sum(n * v for n, v in enumerate({o}) if isinstance(v, float))
        (lambda a, *b: a)(*{o})
    """),
}
WRITES = {
    "variable": ["{k} = {v}"],
    "attribute": ["{o}.{k} = {v}", "setattr({o}, '{k}', {v})", "type({o}).__setattr__({o}, '{k}', {v})", "del {o}.{k}"],
    "instance": _lines("""
        {o}.{k} = {v}
        {o}.{k} = {v}
        setattr({o}, "{k}", {v})
        {o}.__dict__["{k}"] = {v}
        vars({o}).update({k}={v})
        object.__setattr__({o}, "{k}", {v})
        {o}.__dict__ = {{"{k}": {v}}}
        {o}.__dict__ = {{**vars({o}), "{k}": {v}}}
        {o}.__dict__ |= {{"{k}": {v}}}
        del {o}.{k}
        vars({o}).pop("{k}", None)
        vars({o}).clear()
        {o}.{k} = vars({o}).pop("{k}")
        {o}.other = {v}
        type({o}).{k} = {v}
        type({o}).{k} = property(lambda self: {v})
        del type({o}).{k}
        type({o}).__getattr__ = lambda self, name: {v}
        {o}.__class__ = Two
        {o} = Two()
    """),
    "item": _lines("""
        {o}[{k}] = {v}
        {o}[{k}] = {v}
        {o}.update({{{k}: {v}}})
        dict.__setitem__({o}, {k}, {v})
        {o}.pop({k}, None)
        {o}[{k}] = {o}.pop({k})
        {o}["other"] = {v}
        {o}.clear()
        {o} |= {{{k}: {v}}}
        {o}.popitem()
        {o} = type({o})({o})
        {o} = {{{k}: {v}}}
        {o}[True] = {v}
        {o}[1] = {v}
    """),
    "element": _lines("""
        {o}[{k}] = {v}
        {o}[{k}] = {v}
        {o}.append({v})
        {o}.pop()
        {o}.insert(0, {v})
        {o}.reverse()
        {o}.clear()
        {o} = type({o})({o})
        {o} += [{v}]
        {o}.extend([{v}, 1.0])
        del {o}[0]
        {o}[0], {o}[-1] = {o}[-1], {o}[0]
        {o}[{k}] = {o}[-1]
        operator.setitem({o}, {k}, {v})
    """),
}
# Uses of a place's value: they take numbers, and most of them the replacements of a number.
USES = _lines("""
    x * {p}
    x * {p}
    x + {p}
    x * (1.0 if {p} > 1 else 0.5)
    x * (2.0 if {p} else 3.0)
    x * len(str({p}))
    x * (2.0 if type({p}) is float else 3.0)
    x * (2.0 if isinstance({p}, int) else 3.0)
    x * (1 + int({p}))
    x * math.sqrt(abs({p}))
    x * max({p}, 1)
    sum([x] * int({p} % 3 + 1))
    x * float("%.2f" % {p})
    x * float(format({p}, ".1f"))
    x * len("{{}}".format({p}))
    x * [1.0, 2.0, 3.0, 4.0][int({p}) % 4]
    tracer.full((2, 3), float({p}), dtype=f64) * x
    x * tracer.tensor([{p}, 1.0, 2.0])
    x * round({p}, 1)
    x * (2.0 if {p} == 2 else 3.0)
    x * (2.0 if {p} is None else 3.0)
    x.roll(int({p}), 1) + x
    x * (0.1 + {p} * {p})
    x + divmod({p}, 0.75)[1]
    (x * {p}).sum(int({p}) % 2, keepdim=True) + x
    F.dropout(x, 0.5 if {p} > 1 else 0.25)
    x * len(repr({p}))
    tracer.where(x > {p}, x, x * 2)
    x.clamp(max={p})
    x[:, int({p}) % 3 :].sum() * x
    x * (0.5 if {p} in (0.5, 2) else 1.5)
    x * hash(({p} == 0.5) is True)
    x * getattr({p}, "real", 7.0)
    x * {{0.5: 2.0, 1.5: 3.0}}.get({p}, 4.0)
""")
NUMBERS = _lines("""
    0.5
    1.5
    2.5
    0.5
    1.5
    2
    3
    1
    1.0
    2.0
    0.75
""")
ODD = _lines("""
    True
    None
    -0.0
    0.0
    "1.5"
    np.float64(1.5)
    np.float32(0.5)
    np.int64(2)
    Num(1.5)
    Int(2)
    Text("1.5")
    10**20
    1 + 2j
    math.nan
    tracer.tensor(1.5, dtype=f64)
    tracer.tensor([1.0, 2.0, 0.5], dtype=f64)
    tracer.tensor(1.5, dtype=f64, requires_grad=True)
    tracer.tensor(2)
    np.array([0.5, 1.0, 2.0])
    [0.5]
    Two()
    Two
    len
""")


from . import classes, functions, networks, tensors, values, world  # noqa: E402  (they enter their things)
