"""Random changes between calls to objects that a traced function can reach: none may leave a result stale.

A program is a function ``make(wrap)`` like those in ``gallery``. It creates some of the objects of ``reachable``. Its
traced function reads them: directly, through helpers and methods, in branches. Before some calls, a reachable object is
changed. Changes may be invalid; then the exception must be the same.

python random_changes.py SEED          # prints a program, and whether the traced results are equal
python random_changes.py FIRST COUNT   # checks many, and prints those that differ, shrunk
"""

import ast
import dataclasses
import functools
import os
import random
import re
import sys
import traceback
import warnings
from collections import Counter

from random_traced_programs import single_operations
from reachable import HEADER, NUMBERS, ODD, READS, THINGS, USES, WRITES

# Ways to read: lines in ``make``, and lines in the traced function. {r}: an expression for ``x``; {h}: a name.
CONTEXTS = [
    ("", "x = {r}"),
    ("", "x = {r}"),
    ("", "x = {r}"),
    ("def {h}(x):\n    return {r}", "x = {h}(x)"),
    ("def {h}(x):\n    return {r}", "x = {h}(x)"),
    ("@decorated\ndef {h}(x):\n    return {r}", "x = {h}(x)"),
    ("@wrap\ndef {h}(x):\n    return {r}", "x = {h}(x)"),
    ("@functools.lru_cache(None)\ndef {h}(k):\n    x = 1.5\n    return {r}", "x = x * {h}(k)"),
    ("{h} = lambda x: {r}", "x = {h}(x)"),
    ("{h} = functools.partial(lambda a, x: {r}, 1)", "x = {h}(x)"),
    ('{h} = {{"f": lambda x: {r}}}', 'x = {h}["f"](x)'),
    ("class {h}:\n    def m(self, x):\n        return {r}", "x = {h}().m(x)"),
    ("class {h}:\n    @staticmethod\n    def m(x):\n        return {r}", "x = {h}.m(x)"),
    ("class {h}:\n    @property\n    def m(self):\n        x = 0.5\n        return {r}", "x = x * {h}().m"),
    (
        "class {h}(nn.Module):\n    def forward(self, x):\n        return {r}\n{h} = {h}()",
        "x = {h}(x)",
    ),
    (
        "class {h}(tracer.autograd.Function):\n    @staticmethod\n    def forward(ctx, x):\n        return {r}\n"
        "    @staticmethod\n    def backward(ctx, g):\n        return g * 2",
        "x = {h}.apply(x)",
    ),
    (
        "@contextlib.contextmanager\ndef {h}(x):\n    yield {r}",
        "with {h}(x) as y:\n    x = y",
    ),
    ("", "def inner():\n    return {r}\nx = inner()"),
    ("", "x = (lambda: {r})()"),
    ("", "x = [{r} for _ in range(2)][0]"),
    ("", "x = next({r} for _ in range(2))"),
    ("", "try:\n    x = {r}\nexcept Exception as e:\n    x = x + len(str(e))"),
    ("", "if k > 1:\n    x = {r}"),
    ("", "if k < 1:\n    x = {r}\nelse:\n    x = x + 1"),
    ("", "if x.sum() > 0.2:\n    x = {r}"),
    ("", "x = x * x.mean().item()\nx = {r}"),
    ("", "for i in range(2):\n    x = {r}"),
    ("", "with tracer.no_grad():\n    x = {r}"),
    ("", "if k == 2:\n    return {r}"),
]
# Changes of a name {h} of these.
OF_HELPERS = [
    "{h} = lambda x: x * 0.5",
    "{h} = decorated({h})",
    "{h}.__code__ = (lambda x: x * 0.25).__code__",
    "{h}.__defaults__ = (T(0.4, 0.5),)",
    "{h}.m = lambda self, x: x + 1",
    "{h}.forward = lambda x: x + 2",
    "{h}.k = 1",
    '{h}["f"] = lambda x: x + 3',
]
OF_THE_FUNCTION = [
    "f.__defaults__ = (2.5,)",
    "f.__defaults__ = (3,)",
    "f.__defaults__ = (True,)",
    "f.__kwdefaults__ = {'end': T(0.1, 0.3)}",
    "f.__kwdefaults__['end'] = 0.5",
    "f.extra = 1",
    "f.__code__ = f.__code__.replace(co_name='other')",
]
ARGUMENTS = ["T()", "T()", "T()", "T(0.2, 0.8)", "T(-0.5, 0.1)", "T().requires_grad_()", "T().float()", "T(shape=(3, 2)).T",
             "T(shape=(4, 3))[::2]", "T(shape=(1, 3)).expand(2, 3)"]  # fmt: skip
NAME = re.compile(r"\b[A-Za-z_]\w*")


class Program:
    """``body``: (lines in make, lines in f) by read; ``changes``: statements by the call before which they are made."""

    def __init__(self, seed):
        rng = self.rng = random.Random(seed)
        self.things = rng.sample(sorted(THINGS), rng.randint(2, 4))
        self.shared = {name: rng.random() < 0.3 for name in self.things}  # global variables
        self.order = rng.choice([0, 0, 1])
        self.kind = rng.choice(["function"] * 6 + ["method", "module"])
        self.passed = rng.choice(["", "", self.names_of(rng.choice(self.things))[-1]])
        self.odd = rng.choice([0.05, 0.3])
        self.body, self.helpers = [], []
        for name in self.things:
            for _ in range(rng.randint(1, 2)):
                self.body.append(self.read(THINGS[name]))
            if rng.random() < 0.3 and THINGS[name].effects:
                self.body.append(("", rng.choice(THINGS[name].effects)))
        rng.shuffle(self.body)
        self.body.append(("", "x = x * start + end"))
        self.calls, self.changes = [], {}
        arguments = rng.sample(ARGUMENTS, 2) if rng.random() < 0.5 else ["T()"]
        if "tensors" in self.things:
            arguments.append(rng.choice(["t", "t[:1]", "u.T.contiguous().T"]))
        ks = rng.sample([0, 1, 2, 3], rng.choice([1, 1, 2, 3]))
        for _ in range(rng.randint(6, 10)):
            for _ in range(rng.choice([2, 2, 3, 3, 4, 6])):
                self.calls.append((rng.choice(arguments), rng.choice(ks)))
            self.changes[len(self.calls)] = self.change()
        for _ in range(2):
            self.calls.append((arguments[0], ks[0]))

    def names_of(self, name):
        return THINGS[name].names

    def write(self, where):
        rng = self.rng
        place = rng.choice(where)
        v = rng.choice(ODD if rng.random() < self.odd else NUMBERS)
        return rng.choice(WRITES[place[0]]).format(o=place[1], k=place[2], v=v)

    def read(self, t):
        rng, text = self.rng, ""
        if t.places and (not t.reads or rng.random() < 0.5):
            place = rng.choice(t.places)
            found = rng.choice(READS[place[0]]).format(o=place[1], k=place[2])
            text = rng.choice(USES).format(p=found)
        else:
            text = rng.choice(t.reads)
        outside, inside = rng.choice(CONTEXTS)
        name = f"h{len(self.body)}"
        if outside:
            self.helpers.append(name)
        return outside.format(r=text, h=name), inside.format(r=text, h=name)

    def change(self):
        rng = self.rng
        kind = rng.random()
        if kind < 0.05 and self.helpers:
            return rng.choice(OF_HELPERS).format(h=rng.choice(self.helpers))
        if kind < 0.1:
            return rng.choice(OF_THE_FUNCTION)
        t = THINGS[rng.choice(self.things)]
        if t.places and (not t.changes or rng.random() < 0.4):
            return self.write(t.places)
        return rng.choice(t.changes)

    # Source text.

    def names(self, shared):
        return [n for name in self.things if self.shared[name] is shared for n in self.names_of(name)]

    def declared(self, lines, but=()):
        """The declarations of the names that some statements assign."""
        stored = assigned(lines).difference(but)
        found = []
        for word, names in (("global", self.names(True)), ("nonlocal", [*self.names(False), *self.helpers, "f"])):
            names = [n for n in names if n in stored]
            found += [f"{word} {', '.join(names)}"] if names else []
        return found

    def source(self):
        made = [line for outside, _ in self.body for line in outside.split("\n") if line]
        inside = [line for _, text in self.body for line in text.split("\n")]
        inside = [*self.declared(inside, [self.passed]), *inside, "return x"]
        passed = f", {self.passed}" if self.passed else ""
        if self.kind == "function":
            whole = ["@wrap", f"def f(x, k{passed}, start=1.5, *, end=0.25):", *indented(inside)]
        elif self.kind == "method":
            method = ["@wrap", f"def f(self, x, k{passed}, start=1.5, end=0.25):", *indented(inside)]
            whole = ["class Holder:", *indented(method), "f = Holder().f"]
        else:
            method = [f"def forward(self, x, k{passed}, start=1.5, end=0.25):", *indented(inside)]
            whole = ["class Holder(nn.Module):", *indented(method), "f = wrap(Holder())"]
        changes = list(self.changes.items())
        step = self.declared([text for _, text in changes])
        for n, text in changes:
            step += [f"if n == {n}:", "    try:", f"        {text}"]
            step += ["    except Exception as e:", "        FAILED.append(type(e).__name__)"]
        mode = "mode_of_calls" if "modes" in self.things else "'plain'"
        step += [f"with MODES[{mode}]():", f"    return f(x, k{passed})"]
        used = self.names(True)
        lines = [
            *([f"global {', '.join(used)}"] if used else []),
            "restored()",
            "FAILED.clear()",
            *(line for name in self.things for line in THINGS[name].setup.split("\n")),
            *made,
            "",
            *whole,
            "",
            "def step(n, x, k):",
            *indented(step),
            "",
            f"calls = [{', '.join(f'({x}, {k})' for x, k in self.calls)}]",
            "return step, [(n, *call) for n, call in enumerate(calls)]",
        ]
        return HEADER + "\n".join(["def make(wrap):", *indented(lines)]) + FOOTER


FOOTER = """


if __name__ == "__main__":
    worlds = []
    for wrap in (lambda f: f, tracer.trace):
        tracer.manual_seed(0)
        step, calls = make(wrap)
        worlds.append([])
        for call in calls:
            try:
                worlds[-1].append(repr(step(*call)))
            except Exception as e:
                worlds[-1].append(repr(e))
    for n, results in enumerate(zip(*worlds)):
        print(n, *(results if results[0] != results[1] else results[:1]), sep="\\n   ")
"""


def indented(lines):
    return ["    " + line if line else line for line in lines]


def assigned(lines):
    tree = ast.parse("\n".join(lines).replace("return", "pass;"))
    return {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}


# Checks.


@dataclasses.dataclass
class Outcome:
    """``message``: how the traced program differs, empty if it does not. The numbers count calls and changes."""

    message: str
    calls: int = 0
    replays: int = 0
    changes: int = 0


class Nonsense(SyntaxError):
    """A program that cannot be created, because something is missing."""


def outcome(program):
    """Raises SyntaxError if the text is not a program. The eager and the traced program are compiled separately."""
    from gallery.harness import compare

    source, scope, traced, message = program.source(), {}, [], ""

    def make(wrap):
        def wrapped(f):
            f = wrap(f)
            traced.append(f)
            return f

        if scope:
            scope["restored"]()
        scope.clear()
        scope["__name__"] = "random_changes.made"
        exec(compile(source, "<program>", "exec"), scope)
        try:
            return scope["make"](wrapped)
        except Exception as e:
            raise Nonsense(str(e)) from e

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compare(make, program.order, errors=True)
    except AssertionError as e:
        message = str(e)
    except Nonsense:
        raise
    except Exception:
        message = traceback.format_exc()
    finally:
        scope["restored"]()
    infos = [f.cache_info() for f in traced if hasattr(f, "cache_info") and not isinstance(f, functools._lru_cache_wrapper)]
    replays = sum(i.replays for i in infos)
    return Outcome(message, len(program.calls), replays, len(program.changes) - len(scope["FAILED"]))


def failure(program):
    return outcome(program).message


def told(program, message):
    """The error, with the preceding changes; and a script."""
    found = re.match(r", call (\d+)", message)
    last = int(found[1]) if found else len(program.calls)
    changes = [f"before call {n}: {text}" for n, text in program.changes.items() if n <= last]
    return "\n".join([message[:3000], "changes:", *changes[-3:], "script:", program.source()])


def shrunk(program, budget=300):
    """The program without everything that its failure does not need."""

    def fails():
        nonlocal budget
        budget -= 1
        try:
            return bool(failure(program))
        except SyntaxError:
            return False

    def without(attribute, smaller):
        before = getattr(program, attribute)
        setattr(program, attribute, smaller)
        if fails():
            return True
        setattr(program, attribute, before)
        return False

    again = True
    while again and budget > 0:
        again = False
        for n in sorted(program.changes, reverse=True):
            again |= without("changes", {m: text for m, text in program.changes.items() if m != n})
        for i in reversed(range(len(program.body))):
            again |= without("body", program.body[:i] + program.body[i + 1 :])
        for name in list(program.things):
            again |= without("things", [t for t in program.things if t != name])
        for i in reversed(range(len(program.calls))):
            if budget > 0 and i < len(program.calls):
                changes = {m - (m > i): text for m, text in program.changes.items()}
                if len(changes) == len(program.changes):
                    kept = program.changes
                    program.changes = changes
                    if without("calls", program.calls[:i] + program.calls[i + 1 :]):
                        again = True
                    else:
                        program.changes = kept
        for order, kind in ((0, "function"), (program.order, "function"), (0, program.kind)):
            if (order, kind) != (program.order, program.kind):
                again |= order != program.order and without("order", order)
                again |= kind != program.kind and without("kind", kind)
        if program.passed:
            again |= without("passed", "")
    return program


def check(seeds, progress=0):
    """The failing programs among the seeds: (seed, error), shrunk; and the sums of calls, replays, changes."""
    found, sums = [], Counter()
    for n, seed in enumerate(seeds):
        result = outcome(Program(seed))
        sums.update(calls=result.calls, replays=result.replays, changes=result.changes)
        if result.message:
            program = shrunk(Program(seed))
            found.append((seed, told(program, failure(program) or result.message)))
            if progress:
                print(f"seed {seed}: {found[-1][1]}", flush=True)
        if progress and n % progress == progress - 1:
            print(f"{n + 1} programs, {dict(sums)}, {len(found)} differ", flush=True)
    return found, sums


if __name__ == "__main__":
    os.environ.setdefault("TRACER_CACHE_DIR", f"/tmp/tracer-tests-{os.getuid()}")
    first = int(sys.argv[1])
    if len(sys.argv) == 2:
        print(Program(first).source())
        print(outcome(Program(first)))
    else:
        with single_operations():
            check(range(first, first + int(sys.argv[2])), progress=20)
