"""Runs a program with and without the decorator, and compares everything that it leaves behind, call by call."""

import contextlib
import dataclasses
import io
import random
import re
import sys
import types
import warnings
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

import tracer
from tracer.core.context import context
from tracer.tracing import graph_function
from tracer.tracing.function import TracedFunction


@dataclasses.dataclass(frozen=True)
class Program:
    name: str
    make: Callable[..., Any]
    runs: int
    programs: int
    order: int
    raises: type[Exception] | tuple[()]


PROGRAMS: dict[str, Program] = {}


def program(runs, programs, order=1, raises=()):
    """Registers a program in the gallery, with its allowed cost, and the exceptions that its calls may raise."""

    def enter(make):
        assert make.__name__ not in PROGRAMS
        PROGRAMS[make.__name__] = Program(make.__name__, make, runs, programs, order, raises)
        return make

    return enter


# The state that a program leaves behind, as nested tuples.

PLAIN = (int, float, complex, str, bytes, bool, type(None), type(...), np.generic, tracer.dtype, range, slice, re.Pattern)
VALUES = {int: int.__pos__, float: float.__pos__, str: str.__str__}
OWN = ("gallery", "random_traced_programs", "random_changes", "test_")  # modules whose classes are inspected


class Snapshot:
    """Values, attributes, items, gradients and closure cells; which objects are identical, and which tensors share memory."""

    def __init__(self):
        self.numbers, self.kept, self.tensors = {}, [], []

    def of(self, x):
        if type(x) not in PLAIN and isinstance(x, tuple(VALUES)):
            return self.subclass(x)
        if isinstance(x, PLAIN):
            return type(x).__name__, x
        if isinstance(x, (types.ModuleType, types.BuiltinFunctionType)):
            return "name", getattr(x, "__name__", None)  # it may have been deleted
        if isinstance(x, TracedFunction):
            return self.of(x.function)
        if type(x) is tuple and all(type(i) in PLAIN for i in x):  # Python may share equal ones, and so do replays
            return "tuple", *map(self.of, x)
        known = self.numbers.get(id(x))
        if known is not None:
            return "again", known
        self.numbers[id(x)] = len(self.numbers)
        self.kept.append(x)
        if isinstance(x, tracer.Tensor):
            return self.tensor(x)
        if isinstance(x, np.ndarray):
            return "array", str(x.dtype), x.copy()
        if isinstance(x, types.FunctionType):
            return self.function(x)
        if isinstance(x, types.MethodType):
            return "method", x.__name__, self.of(x.__self__), self.of(x.__func__)
        if isinstance(x, type):
            mine = x.__module__.startswith(OWN)
            return "class", x.__qualname__, *((k, self.of(v)) for k, v in vars(x).items() if mine and not k.startswith("__"))
        if isinstance(x, types.CellType):
            try:
                return "cell", self.of(x.cell_contents)
            except ValueError:
                return "cell", "empty"
        if isinstance(x, tracer.Generator):
            return "generator", self.of(x.get_state())
        if isinstance(x, (random.Random, np.random.Generator)):
            return "generator", repr(x.getstate() if isinstance(x, random.Random) else x.bit_generator.state)
        if isinstance(x, io.StringIO):
            return "text", x.getvalue()
        if isinstance(x, (weakref.ref, types.GeneratorType, property, staticmethod, classmethod)):
            return type(x).__name__, ""
        return self.object(x)

    def subclass(self, x):
        """For a subclass of a value type: the value, and attributes."""
        value = next(value(x) for cls, value in VALUES.items() if isinstance(x, cls))
        return type(x).__name__, value, *((f".{k}", self.of(v)) for k, v in getattr(x, "__dict__", {}).items() if k[:1] != "_")

    def object(self, x):
        found = [type(x).__name__]
        if isinstance(x, OrderedDict) and all(type(k) is int for k in x):  # hooks: the keys count all registered ones
            found += [("item", self.of(v)) for v in x.values()]
        elif isinstance(x, dict):
            found += [("item", self.of(k), self.of(v)) for k, v in x.items()]
        elif isinstance(x, (list, tuple)) or type(x).__name__ == "deque":
            found += [("item", i, self.of(v)) for i, v in enumerate(x)]
        elif isinstance(x, (set, frozenset)):
            found += [("item", self.of(v)) for v in sorted(x, key=repr)]
        slots = [s for c in type(x).__mro__ for s in vars(c).get("__slots__", ()) if isinstance(s, str)]
        attributes = {s: getattr(x, s) for s in slots if hasattr(x, s) and not s.startswith("__")}
        attributes |= getattr(x, "__dict__", {})
        attributes.pop("_tracer_function", None)
        found += [(f".{k}", self.of(v)) for k, v in sorted(attributes.items(), key=lambda item: str(item[0]))]
        return tuple(found)

    def tensor(self, x):
        self.tensors.append(x)
        try:
            _ = x.grad_fn
        except RuntimeError as e:  # a view with an undefined history
            return type(x).__name__, str(e)[:40]
        grad = self.of(x.grad) if x.is_leaf or x.retains_grad else "no leaf"
        extra = {k: v for k, v in vars(x).items() if not k.startswith("_")}
        values = x.detach().cpu().numpy().copy()
        traits = str(x.dtype), tuple(x.shape), x.requires_grad, x.is_leaf
        return type(x).__name__, *traits, ("values", values), ("grad", grad), ("extra", self.of(extra))

    def function(self, f):
        if not f.__module__.startswith(OWN):
            return "name", f.__qualname__
        defaults, cells = f.__defaults__, [self.of(c) for c in f.__closure__ or ()]
        reads = {n: f.__globals__[n] for n in f.__code__.co_names if n in f.__globals__}
        reached = [(n, self.of(v)) for n, v in reads.items() if isinstance(v, (types.FunctionType, *PLAIN, dict, list))]
        return "function", f.__name__, self.of(defaults), *cells, *reached, self.of(vars(f).get("tag"))

    def shared(self):
        """Pairs of tensors that share memory."""
        arrays = [t.detach()._data for t in self.tensors[:60]]
        return [(i, j) for j, b in enumerate(arrays) for i, a in enumerate(arrays[:j]) if np.may_share_memory(a, b)]

    def leaves(self):
        return [t for t in self.tensors if t.requires_grad and t.is_floating_point() and t.is_leaf]


NUMBER = re.compile(r"-?\d+\.\d*(?:e[+-]?\d+)?|-?\d+e[+-]?\d+")


def differs(a, b):
    """Where and how two snapshots differ, as text; empty if they are equal. Numbers are compared up to rounding."""
    if isinstance(a, tuple) and isinstance(b, tuple):
        for i, (x, y) in enumerate(zip(a, b, strict=False)):
            found = differs(x, y)
            if found:
                return f"/{x[0] if isinstance(x, tuple) and x and isinstance(x[0], str) else i}{found}"
        return "" if len(a) == len(b) else f": {len(a)} and {len(b)} parts: {str(a)[:300]} and {str(b)[:300]}"
    if type(a) is not type(b):
        return f": {a!r} and {b!r}"
    if isinstance(a, np.ndarray):
        if a.dtype != b.dtype or a.shape != b.shape:
            return f": {a.dtype} {a.shape} and {b.dtype} {b.shape}"
        if a.tobytes() == b.tobytes():
            return ""
        if a.dtype.kind not in "fc":
            return "" if np.array_equal(a, b) else f": {a} and {b}"
        single = a.dtype.itemsize // (2 if a.dtype.kind == "c" else 1) < 8
        rtol = 1e-4 if single else 1e-7
        scale = max(1.0, float(np.max(np.abs(a), initial=0.0, where=np.isfinite(a))))
        close = np.allclose(b, a, rtol=rtol, atol=rtol * scale, equal_nan=True)
        return "" if close else f": {a} and {b}"
    if a is b or a == b:
        return ""
    if isinstance(a, (float, np.floating)):
        return "" if np.allclose(float(b), float(a), rtol=1e-4, atol=1e-6, equal_nan=True) else f": {a!r} and {b!r}"
    if isinstance(a, complex):
        return "" if np.allclose(b, a, rtol=1e-4, atol=1e-6, equal_nan=True) else f": {a!r} and {b!r}"
    if isinstance(a, str) and NUMBER.sub("0", a) == NUMBER.sub("0", b):
        numbers = [[float(n) for n in NUMBER.findall(text)] for text in (a, b)]
        if np.allclose(numbers[1], numbers[0], rtol=1e-2, atol=2e-4):  # rounded by the code that printed them
            return ""
    return f": {a!r} and {b!r}"


# One run of a program.


@dataclasses.dataclass
class Cost:
    """``calls`` of the program. ``runs``: of traced functions' bodies by Python, except inside other such runs. ``programs``:
    compiled.
    """

    calls: int
    runs: int
    programs: int
    explained: str

    def within(self, p):
        return self.runs <= p.runs and self.programs <= p.programs


class Counter:
    """As the trace function, counts Python's runs of functions."""

    def __init__(self):
        self.codes, self.runs = set(), 0

    def __call__(self, frame, event, arg):
        if place_of(frame.f_code) in self.codes:
            outer = frame.f_back
            while outer is not None and place_of(outer.f_code) not in self.codes:
                outer = outer.f_back
            self.runs += outer is None


def code_of(f):
    """The code object of a function, a method, or a callable object."""
    f = getattr(f, "func", f)
    f = f.function if isinstance(f, TracedFunction) else f
    if not hasattr(f, "__code__") and not isinstance(f, types.MethodType):
        f = type(f).forward if isinstance(f, tracer.nn.Module) else type(f).__call__
    return place_of(f.__code__)


def place_of(code):
    """The place of code in its file: while a function is recorded, it may have another code object."""
    return code.co_filename, code.co_firstlineno, code.co_name


@contextlib.contextmanager
def counting_programs():
    count, init = [0], graph_function.Executable.__init__

    def counted(self, *args, **kwargs):
        init(self, *args, **kwargs)
        count[0] += 1

    graph_function.Executable.__init__ = counted
    try:
        yield count
    finally:
        graph_function.Executable.__init__ = init


def differentiate(results, leaves, order):
    """Gradients of a weighted sum of the results; of second order, of the sum of their squares."""
    if not order:
        return
    found = Snapshot()
    found.of(results)
    followed = [t for t in found.tensors if t.requires_grad and t.is_floating_point()]
    if not followed:
        return
    total = sum((t * tracer.arange(1, t.numel() + 1, dtype=t.dtype).reshape(t.shape)).sum() for t in followed)
    if order == 1:
        total.backward()
        return
    first = tracer.autograd.grad(total, leaves, create_graph=True, allow_unused=True)
    again = [g for g in first if g is not None and g.requires_grad]
    for x, g in zip(leaves, first, strict=True):
        if g is not None:
            x.grad = g.detach().clone() if x.grad is None else x.grad + g.detach()
    if again:
        sum(g.square().sum() for g in again).backward()


def random_state():
    kind, keys, *rest = np.random.get_state()
    return tracer.get_rng_state().numpy().copy(), hash(random.getstate()), keys.copy(), repr((kind, *rest))


def run(make, wrap, order, raises=Exception, counter=None, errors=False):
    """The state after each call of a program."""
    tracer.manual_seed(0)
    random.seed(0)
    np.random.seed(0)
    step, calls = make(wrap)
    seen, held = [], []
    for n, args in enumerate(calls):
        out = io.StringIO()
        before = sys.gettrace()
        with contextlib.redirect_stdout(out):
            sys.settrace(counter)
            try:
                result = step(*args)
            except raises as e:
                result = type(e), re.sub("0x[0-9a-f]+", "", str(e)), *e.args[1:]  # without addresses
            finally:
                sys.settrace(before)
        assert context.recorder is None
        inside = Snapshot()
        after = inside.of((result, args, step)), tuple(inside.shared()), out.getvalue(), random_state()
        error = ""
        try:
            differentiate(result, inside.leaves(), order)
        except RuntimeError as e:
            if not errors:
                raise
            error = str(e)[:40]
        seen.append((after, error, Snapshot().of((args, step)) if order else ()))
        if n % 2:
            held.append((result, n))
    last = Snapshot()
    return [*seen, last.of(held)]


def compare(make, order=1, name="", raises=Exception, errors=False):
    """Raises AssertionError if a program's traced and eager runs differ; returns the cost of tracing.

    ``errors``: derivatives from outside may fail, in the same way.
    """
    eager = run(make, lambda f, **options: f, order, raises, errors=errors)
    made, counter = [], Counter()

    def wrap(f, **options):
        made.append(tracer.trace(f, **options))
        counter.codes.add(code_of(f))
        return made[-1]

    with warnings.catch_warnings(), counting_programs() as programs:
        warnings.simplefilter("ignore", tracer.TraceWarning)
        traced = run(make, wrap, order, Exception, counter, errors)
    explained = "\n".join(f.explain() for f in made)
    for n, (a, b) in enumerate(zip(eager, traced, strict=True)):
        found = differs(a, b)
        where = f"call {n}" if n < len(eager) - 1 else "results that were kept"
        assert not found, f"{name}, {where}: {found}\n{explained}"
    return Cost(len(eager) - 1, counter.runs, programs[0], explained)


def cost(name):
    p = PROGRAMS[name]
    return compare(p.make, p.order, name, p.raises)
