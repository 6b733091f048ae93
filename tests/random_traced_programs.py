"""Random programs for tracing: control flow on values, views, in-place changes, effects on Python objects, random numbers,
modules, an optimizer, numbers and shapes that differ between calls.

A program is a tree of statements, rendered as the source of a function ``make(wrap)`` like those in ``gallery``. Every
variable is initialised and tensors keep the shape ``(n, 3)``, so a program stays valid whatever is removed: ``shrunk``
removes everything that a failure does not need.

python random_traced_programs.py SEED          # prints a program, and whether the traced results are equal
python random_traced_programs.py FIRST COUNT   # checks many, and prints those that differ, shrunk
"""

import contextlib
import os
import random
import signal
import sys
from dataclasses import dataclass, field

HEADER = """\
import math
import random
import types

import tracer
from tracer import nn, optim
from tracer.nn import functional as F

f64 = tracer.float64


def started(model):
    return model


"""


def _list(text):
    return [item.strip() for item in text.strip().split("\n")]


# Expressions of shape (n, 3): {v} and {w} are such tensors, k an int and u a float from the call's arguments.
PURE = _list("""
    {v} + {w} * u
    ({v} * {w}).tanh()
    {v}.sin() - {w}
    (-({v} * {v}) * abs(u)).exp()
    {v} / ({w} * {w} + 1)
    ({v} @ p).tanh()
    ({v} + {w}).softmax(1)
    {v} - {w}.mean(0)
    {v} * {w}.sum(1, keepdim=True).tanh()
    tracer.where({v} > {w}, {v}, {w} * u)
    {v}.relu() + {w}.abs() * 0.1
    {v} - {w}.max(1, keepdim=True)[0]
    {v}.flip(1) * 0.5 + {w}
    tracer.cat([{v}[:1], {w}[1:]])
    tracer.stack([{v}[:, 0], {w}[:, 2], {v}[:, 1]], 1)
    {v}[:, tracer.tensor([2, 0, 0])]
    {v}.sort(0).values
    {v}.cumsum(0).tanh()
    {v}.detach() * u + {w}
    {v}.clone()
    {w}[:]
    {w}.view({w}.shape)
    {w}.T.T
    ({v} * (k % 4 - 1)).tanh()
    {v} + k * 0.1
    {v}[k % len({v})] + {w}
    ({v} * max(u, 0.3) + min(k, 3)).cos()
    model({v}).tanh()
    {v} * m
    ({v} * s.scale).tanh()
    {v} * 0.5 + s.h
    ({v} * (s.count % 3 + 0.5)).sin()
    {v} / (1 + s.count)
    ({v} * cell).tanh()
    {v} + 0.1 * d["n"]
    {v} + d.get("t", m) * 0.5
    {v} + store[: len({v})]
    {v} + kept.sum(0).tanh()
    ({v} * r).tanh()
    ({v} + q).sin()
    {v} + s.items[k % 3] * 0.1
    {v} + s.items[-1]
    {v} * s.pair[0].tanh()
    {v} + tracer.rand(*{v}.shape, dtype=f64)
    {v} * (tracer.rand({v}.shape) > 0.3)
    F.dropout({v}, 0.3)
    {v} + tracer.randn(3, dtype=f64, generator=g)
    inner({v}, k)
    inner({v}, 2)
    {v} + sum([row.tanh() for row in {w}])
    {v} + (len(log) % 3) * 0.2
    {v} + tracer.tensor([r, u, k], dtype=f64).tanh()
    {v} * math.cos(u) + math.sqrt(abs(u))
    {v} + tracer.arange(len({w}), dtype=f64)[:, None] * 0.1
    {v} + tracer.full((3,), u, dtype=f64)
    {v} + tracer.eye(3, dtype=f64)[k % 3]
""")
IN_PLACE = _list("""
    {v}.add_({w}.clone())
    {v}.mul_(u).tanh_()
    {v}[0] = {w}.clone()[-1]
    {v}[k % len({v})] = u
    {v}[:, 1].mul_({w}.clone()[:, 2])
    {v}.T[1].add_({w}.clone()[:, 0])
    {v}[{v} > 0.41] = 0.25
    {v} += u
    {v}.copy_({w}.clone())
    {v}.view(-1)[1:3].zero_()
    {v}.detach().mul_(0.5)
""")
# Values that Python reads.
LOOKS = _list("""
    r = {v}.mean().item()
    r = float({v}[0, 0])
    r = {v}.norm().item() * u
    r = max({v}.tolist()[0])
    r = math.tanh({v}.sum().item())
    r = round({v}.max().item(), 1)
    r = float({v}.detach().numpy().sum())
    r = 0.5 * r + {v}.min().item()
    q = {v}.sum(0).argmax().item()
    q = int(({v} > 0.21).sum())
    q = int({v}.abs().sum().item() * 3) % 4
    q = len({v}[{v}[:, 0] > 0.11])
    q = ({v} * 2).round().unique().numel() % 3
    q = int(r * 10) % 3
    kept = {v}[{v}[:, 0] > 0.13]
    kept = {v}[({v} > 0.31).any(1).nonzero()[:, 0]]
    kept = {v}[: q + 1]
    kept = {v}[tracer.randperm(len({v}))[:2]]
""")
CONDITIONS = _list("""
    {v}.sum() > 0.17
    {v}[0, 0].item() < 0.23
    bool(({v} > 0.9).any())
    {v}.mean() < {w}.mean() + 0.19
    {v}.isnan().any()
    tracer.rand(()) < 0.5
    random.random() < 0.5
    k % 2 == 0
    k > 2
    u > 0.6
    u * 2 < r
    s.count % 3 == 1
    s.count > 2
    s.flag
    s.scale < 0.8
    s.last is not None and s.last > 0.3
    len(log) > 3
    "t" in d
    d["n"] > 2
    cell > 1.05
    r > 0.4
    q > 1
    kept.shape[0] > 1
    {v}.shape[0] > 2
    {v}.requires_grad
    model.training
    optimizer.param_groups[0]["lr"] < 0.04
    x is y
""")
EFFECTS = _list("""
    s.count += 1
    s.count = k
    s.scale = 0.9 * s.scale + 0.1 * u
    s.scale = r / (1 + abs(r))
    s.h = {v}.detach().mean(0)
    s.h = 0.5 * s.h + {v}.detach()[0].tanh()
    s.flag = not s.flag
    s.flag = {v}.sum().item() > 0.11
    s.last = {v}.mean().item()
    s.last = r
    s.last = None
    s.items[k % 3] = u
    s.items[-1] = s.items[0] + 0.1
    s.pair = ({v}.detach().mean(0), k)
    s.box = [r, q, {{"k": k}}]
    s.view = {v}.detach()[0]
    d["n"] += 1
    d["n"] = q
    d["t"] = {v}.detach()[0] * 1
    d.pop("t", None)
    d[k % 2] = {v}.detach().sum()
    log.append({v}.sum().item())
    log.append(k)
    log.append({v}.detach().clone())
    log.append((s.count, u))
    del log[:-2]
    cell = 0.9 * cell + 0.1 * u
    cell += 0.01
    print(f"{{{v}.mean().item():.3f}} {{k}}")
    print("q", q, s.count)
    m.mul_(0.9)
    m.add_({v}.detach().mean(0) * 0.1)
    m.data = m * 0.9
    store[k % 5] = {v}.detach()[0]
    store.mul_(0.7)
    model.eval()
    model.train()
    optimizer.param_groups[0]["lr"] *= 0.9
    p.grad = None
    {v}.tag = k
""")
# Groups of statements.
GROUPS = [
    "loss = ({v} @ p).sin().mean()\nloss.backward(retain_graph=True)",
    "optimizer.zero_grad()\nloss = ({v}.detach() @ p).tanh().mean() + model({w}.detach()).square().mean()\n"
    "loss.backward()\noptimizer.step()",
    "loss = model({v} * 1).sin().sum()\nloss.backward(retain_graph=True)\noptimizer.step()",
    "(grad,) = tracer.autograd.grad(({v} * p.sum()).tanh().sum(), p, create_graph=True)\n{v} = {v} + grad.mean(0)",
    "with tracer.no_grad():\n    p.mul_(0.9)",
    "with tracer.no_grad():\n    p.sub_(0.01 * {v}.mean(0))",
]
LOOKING = [
    "if p.grad is not None and p.grad.norm() > 0.37:\n    p.grad.mul_(0.5)",
    "for value in {v}[0].tolist():\n    r = 0.5 * r + value",
    "for row in {v}:\n    if row[0] > 0.15:\n        {w} = {w} * 0.5 + row",
    "for name, value in d.items():\n    if isinstance(value, tracer.Tensor):\n        {v} = {v} + value * 0.1",
]
HOST = _list("""
    s.scale = 0.7
    s.count = 0
    s.h = m * 2
    model.eval()
    model.train()
    optimizer.param_groups[0]["lr"] = 0.02
    log.clear()
    d.pop("t", None)
    d["n"] = 1
    m.mul_(0.5)
    p.data = p.data * 0.5
    p.grad = None
    cell = 1.2
    s.items = [0.1, 0.2, 0.3]
    model[0].weight.requires_grad_(False)
    model[0] = nn.Linear(3, 4).double()
    tracer.manual_seed(7)
""")


# The relation of the second argument to the first, or to captured tensors.
KINDS = ["new"] * 6 + ["same"] * 2 + ["twice", "transposed", "overlapping", "captured"]


@dataclass
class Statement:
    """A line, or a header with nested statements."""

    text: str
    body: list["Statement"] = field(default_factory=list)


class Program:
    """``inner`` and ``outer`` are the statements of two traced functions, ``host`` the actions between calls, by call."""

    def __init__(self, seed):
        rng = self.rng = random.Random(seed)
        self.looks, self.effects = rng.random() < 0.65, rng.random() < 0.65
        self.leaf = rng.random() < 0.4  # x requires a gradient
        self.alias = not self.leaf and rng.random() < 0.2
        self.inner = self.block(rng.randint(1, 2), 1, "inner")
        self.outer = self.block(rng.randint(3, 8), 0)
        self.dropout = rng.choice(["nn.Tanh()", "nn.Dropout(0.25)", "nn.ReLU()", "nn.BatchNorm1d(4)"])
        # Before a batch norm the gradient of a bias is rounding errors, which Adam would scale up.
        self.bias = ", bias=False" if "Norm" in self.dropout else ""
        self.optimizer = rng.choice(
            ["optim.SGD({}, lr=0.05, momentum=0.5)", "optim.SGD({}, lr=0.05)", "optim.Adam({}, lr=0.05)"]
        )
        calls = rng.randint(4, 8)
        self.host = {n: rng.choice(HOST) for n in range(2, calls) if rng.random() < 0.15}
        self.calls = []
        n, k, u = rng.choice([2, 3]), rng.randint(0, 4), round(rng.uniform(0.2, 1), 2)
        changing, kinds = {name: rng.random() < 0.3 for name in "nku"}, rng.choice([["new"], KINDS])
        for _ in range(calls):
            if changing["n"] and rng.random() < 0.4:
                n = rng.choice([2, 3, 4])
            if changing["k"] and rng.random() < 0.6:
                k = rng.choice([k + 1, rng.randint(0, 4)])
            if changing["u"]:
                u = round(rng.uniform(0.2, 1), 2)
            self.calls.append((rng.choice(kinds), rng.choice([0, 0, 0, 1, 2]), n, k, u))

    def name(self):
        return self.rng.choice("abc")

    def filled(self, text):
        return text.format(v=self.name(), w=self.name())

    def condition(self):
        while True:
            text = self.rng.choice(CONDITIONS)
            if self.looks or text.startswith(("s.", "k %", "k >", "u >", "x is", '"t"', "model", "optimizer", "{v}.shape")):
                return self.filled(text)

    def block(self, size, depth, where="outer"):
        return [s for _ in range(size) for s in self.statements(depth, where)]

    def statements(self, depth, where):
        rng, kind = self.rng, self.rng.random()
        if kind < 0.4:
            text = rng.choice(PURE)
            while where == "inner" and "inner" in text:
                text = rng.choice(PURE)
            return [Statement(self.filled(f"{self.name()} = {text}"))]
        if kind < 0.47:
            return [Statement(self.filled(rng.choice(IN_PLACE)))]
        if kind < 0.57 and self.looks:
            return [Statement(self.filled(rng.choice(LOOKS)))]
        if kind < 0.75 and self.effects:
            return [Statement(self.filled(rng.choice(EFFECTS)))]
        if kind < 0.8:
            return [Statement(self.filled(rng.choice(GROUPS + LOOKING if self.looks else GROUPS)))]
        if depth > 1:
            return [Statement("pass")]
        return self.nested(depth, where)

    def nested(self, depth, where):
        rng = self.rng
        body = self.block(rng.randint(1, 3), depth + 1, where)
        kind = rng.random()
        if kind < 0.45:
            made = [Statement(f"if {self.condition()}:", body)]
            if rng.random() < 0.5:
                made.append(Statement("else:", self.block(rng.randint(1, 2), depth + 1, where)))
            if rng.random() < 0.1:
                body.append(Statement("return a"))
            return [Statement("", made)]
        if kind < 0.6:
            leave = rng.choice(["break", "continue"])
            if rng.random() < 0.3:
                body.append(Statement(f"if {self.condition()}:\n    {leave}"))
            body.insert(0, Statement(f"i{depth} += 1"))
            v = self.name()
            body.insert(1, Statement(f"{v} = {v} * 0.6"))
            condition = f"{v}.abs().sum() > 0.83" if self.looks else f"i{depth} < k % 3 + 1"
            return [Statement("", [Statement(f"i{depth} = 0"), Statement(f"while {condition} and i{depth} < 4:", body)])]
        if kind < 0.75:
            return [Statement(f"for i{depth} in range({rng.choice(['2', '3', 'k % 3 + 1', 'len(a)', 'q + 1'])}):", body)]
        if kind < 0.85:
            error = Statement(f"if {self.condition()}:\n    raise ValueError(k)")
            caught = self.block(1, depth + 1, where)
            tries = Statement("try:", [*body, error])
            return [Statement("", [tries, Statement("except ValueError as e:", [*caught, Statement("k = k + len(str(e))")])])]
        return [Statement(f"with {rng.choice(['tracer.no_grad()', 'tracer.enable_grad()'])}:", body)]

    # Source text.

    def source(self):
        start = "a, b, c = x, y, x + y" if self.alias else "a, b, c = x * 1, y * 1, x + y"
        variables = ["kept, r, q, i0, i1 = x, 0.5, 1, 0, 0"]
        host = [line for n, text in sorted(self.host.items()) for line in (f"if n == {n}:", f"    {text}")]
        grad = ".requires_grad_()" if self.leaf else ""
        lines = [
            "def make(wrap):",
            "    m, p = tracer.randn(3, dtype=f64), tracer.randn(3, 3, dtype=f64, requires_grad=True)",
            f"    model = started(nn.Sequential(nn.Linear(3, 4{self.bias}), {self.dropout}, nn.Linear(4, 3)).double())",
            f"    optimizer = {self.optimizer.format('[p, *model.parameters()]')}",
            "    g = tracer.Generator(3)",
            "    s = types.SimpleNamespace(count=0, scale=1.0, h=tracer.zeros(3, dtype=f64), flag=False, last=None)",
            "    s.items, s.pair = [0.5, 0.25, 1.0], (m * 2, 1)",
            '    d, log, cell, store = {"n": 0}, [], 1.0, tracer.randn(5, 3, dtype=f64)',
            "",
            "    @wrap",
            "    def inner(x, k):",
            "        nonlocal cell",
            *("        " + line for line in ("u, y = 0.5, x * 2", "a, b, c = x * 1, x + 1, x * 0.5", *variables)),
            *render(self.inner, 2),
            "        return a",
            "",
            "    @wrap",
            "    def outer(x, y, k, u):",
            "        nonlocal cell",
            *("        " + line for line in (start, *variables)),
            *render(self.outer, 2),
            '        return a, {"b": b, "r": r}, [c, q], kept',
            "",
            "    def step(n, x, y, k, u):",
            "        nonlocal cell",
            *("        " + line for line in host),
            "        return outer(x, y, k, u)",
            "",
            "    calls = []",
            "    new = lambda data, *shape: tracer.randn(*shape, dtype=f64, generator=tracer.Generator(data))",
            f"    for n, (kind, data, rows, k, u) in enumerate({self.calls}):",
            f'        if not calls or kind != "same" or len(x) != rows:\n            x = new(data, rows, 3){grad}',
            '        y = x if kind == "twice" else new(data, 3, rows).T if kind == "transposed" else '
            f"new(data + 9, rows, 3){grad}",
            '        if kind == "overlapping":',
            "            x, y = (base := new(data, 5, 3))[:rows], base[1 : rows + 1]",
            '        if kind == "captured":\n            y = store[:rows]',
            "        calls.append((n, x, y, k, u))",
            "    return step, calls",
        ]
        return HEADER + "\n".join(lines) + "\n"


def render(statements, depth):
    lines = []
    for s in statements:
        if s.text:
            lines += ["    " * depth + line for line in s.text.split("\n")]
        if s.body:
            lines += render(s.body, depth + bool(s.text))
        elif s.text.endswith(":"):
            lines.append("    " * (depth + 1) + "pass")
    return lines


# Checks.


def failure(program):
    """How the traced program differs, as text; empty if it does not."""
    return failure_of(program.source())


def failure_of(source):
    from gallery.harness import compare, run

    scope = {"__name__": "random_traced_programs.made"}
    exec(compile(source, "<program>", "exec"), scope)
    try:
        with at_most(_SECONDS):
            compare(scope["make"], order=2, errors=True)
    except AssertionError as e:
        return "" if is_chaotic(scope) else str(e)
    except OutOfTime:  # derivatives of the tenth order, or, shrunk, a loop without end
        with contextlib.suppress(OutOfTime), at_most(_SECONDS):
            run(scope["make"], lambda f: f, 2, errors=True)
            return "traced, it takes too long"
    return ""


def is_chaotic(scope):
    """True if the program amplifies rounding: its eager results differ too if its parameters change by 1e-14. A dozen steps
    with a batch norm of three rows may do that.
    """
    from gallery.harness import differs, run

    def perturbed(model):
        for p in model.parameters():
            p.data.mul_(1 + 1e-14)
        return model

    results = []
    for start in (scope["started"], perturbed):
        scope["started"] = start
        results.append(run(scope["make"], lambda f: f, 2, errors=True))
    return any(map(differs, *results))


def lists(statements):
    """The list itself, and all nested lists of statements."""
    yield statements
    for s in statements:
        yield from lists(s.body)


def shrunk(program, budget=400):
    """The program without everything that its failure does not need."""

    def fails():
        nonlocal budget
        budget -= 1
        try:
            return bool(failure(program))
        except SyntaxError:  # an else without if
            return False

    smaller = True
    while smaller and budget > 0:
        smaller = False
        for where in [*lists(program.outer), *lists(program.inner)]:
            i = len(where)
            while i > 0 and budget > 0:
                i -= 1
                if i >= len(where):
                    continue
                kept = where[i]
                for instead in ([], kept.body):
                    where[i : i + 1] = instead
                    if fails():
                        smaller = True
                        break
                    where[i : i + len(instead)] = [kept]
        for n in list(program.host):
            text = program.host.pop(n)
            if fails():
                smaller = True
            else:
                program.host[n] = text
        while len(program.calls) > 1 and budget > 0:
            last = program.calls.pop()
            if not fails():
                program.calls.append(last)
                break
            smaller = True
    return program


_SECONDS = 60  # for a program, which usually takes half a second


class OutOfTime(BaseException):
    """Not an error that programs catch."""


@contextlib.contextmanager
def at_most(seconds):
    """Raises OutOfTime in the block after that time."""

    def stop(*_):
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, stop)
    left, _ = signal.setitimer(signal.ITIMER_REAL, seconds)  # pytest's time limit
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, left)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def single_operations():
    """Makes each operation a separate kernel in this block: all programs share a few hundred kernels, which compile quickly.

    The disk cache is disabled: it would store plans under their usual keys.
    """
    from tracer.ir.passes import fuse
    from tracer.runtime.programs import planned

    before = fuse._LENGTH, planned.cache
    try:
        fuse._LENGTH, planned.cache = 1, Forgetful()
        yield
    finally:
        fuse._LENGTH, planned.cache = before


class Forgetful:
    """A cache of plans that stores nothing."""

    def read(self, name):
        return None

    def write(self, name, data):
        pass


def check(seeds, progress=0):
    """The failing programs among those of the seeds: (seed, message, source), shrunk."""
    found = []
    for n, seed in enumerate(seeds):
        message = failure(Program(seed))
        if message:
            program = shrunk(Program(seed))
            found.append((seed, failure(program) or message, program.source()))
            if progress:
                print(f"seed {seed}: {found[-1][1][:2000]}\n{found[-1][2]}", flush=True)
        if progress and n % progress == progress - 1:
            print(f"{n + 1} programs, {len(found)} differ", flush=True)
    return found


if __name__ == "__main__":
    os.environ.setdefault("TRACER_CACHE_DIR", f"/tmp/tracer-tests-{os.getuid()}")
    first = int(sys.argv[1])
    if len(sys.argv) == 2:
        print(Program(first).source())
        print(failure(Program(first)) or "the same")
    else:
        with single_operations():
            check(range(first, first + int(sys.argv[2])), progress=100)
