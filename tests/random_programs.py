"""Random programs for autograd's semantics, for PyTorch and for this package: views, in-place changes, ``no_grad`` blocks,
hooks, custom functions, several backward passes, mixed dtypes.

``program(seed)`` is a program as Python source, a function of the library and a few leaves; ``outcome`` runs it. The
numbers are small multiples of 0.5, so that results are exact.

python tests/random_programs.py      # with PyTorch installed: records anew into random_programs.json
"""

import json
import os
import random
import zlib
from pathlib import Path

FILE = Path(__file__).with_name("random_programs.json")
SEEDS = 2000

SHAPES = [(4,), (2, 3), (3, 2), (2, 2), (1, 3), (2, 1, 2), ()]


def _list(text):
    return [item.strip() for item in text.split(";")]


# Expressions and statements in {x} and another tensor {y}: views, results in new memory, in-place changes and hooks.
VIEWS = _list("""
    {x}.view({x}.shape); {x}[...]; {x}[None]; {x}.unsqueeze(0); {x}.squeeze(); {x}.expand(2, *{x}.shape)[1];
    {x}.detach(); {x}.view_as({x}); {x}.T if {x}.ndim == 2 else {x}[...]; {x}[0]; {x}[-1:]; {x}[1:];
    {x}.narrow(0, 0, 1); {x}.select(-1, 0); {x}[..., ::2]; {x}.unfold(-1, 1, 1); {x}.transpose(0, -1);
    {x}.movedim(0, -1); {x}.as_strided((1,), (1,), {x}.storage_offset()); {x}.unbind()[0]; {x}.split(1)[-1];
    {x}.chunk(2)[0]; {x}.tensor_split(2)[0]; {x}.reshape(-1); {x}.flatten(); {x}.diagonal(); {x}.diagonal(-1);
    {x}[:, 0]; {x}.t() if {x}.ndim == 2 else {x}[0]; {x}.mT; {x}.swapaxes(0, 1);
    {x}.permute(tuple(range({x}.ndim))[::-1])
""")
PURE = _list("""
    {x} * 2; {x} + 1; {x} * {x}; {x}.clone(); -{x}; {x} * 0.5; {x}.flip(0) if {x}.ndim else {x} * 1; {x}.abs();
    {x}.relu(); {x}.square(); lib.where({x} > 0, {x}, {x} * 3); {x}.clamp(-2, 2);
    lib.cat([{x}.reshape(-1), {y}.reshape(-1)]); {x}.sum() + {y}; {x} * {y}.sum(); {x}.max() * {y}; {x}.repeat(2);
    {x}.to(lib.float64); {x}.to(lib.float32); {x}.contiguous(); {x}.detach().clone();
    {x}.detach().clone().requires_grad_(); {x}.masked_fill({x} > 1, 3.0); lib.stack([{x}, {x}]); Scale.apply({x});
    Square.apply({x}); Same.apply({x}); {x}.tril() if {x}.ndim > 1 else {x}.cumsum(0); {x}.sum(0);
    {x}.sum(-1, keepdim=True); {x}.prod()
""")
IN_PLACE = _list("""
    {x}.mul_(2); {x}.add_(1); {x}.add_({y}.sum()); {x}.mul_({y}.detach().sum()); {x}.mul_({y}.max()); {x}.zero_();
    {x}.fill_(2); {x}.fill_({y}.sum()); {x}.copy_({y}.sum()); {x}.copy_({x} * 2); {x}.neg_(); {x}.square_();
    {x}.clamp_(-3, 3); {x}.masked_fill_({x} > 2, 1.0); {x}[...] = 3; {x}[...] = {y}.sum();
    {x}[..., :1] = {y}.sum() if {x}.ndim else 1; {x}[:1] = 2; {x}[{x} > 1] = 0.5; {x} += 1; {x} *= {y}.sum();
    {x}.relu_(); {x}.addcmul_({x}.detach() * 1, {y}.sum()); {x}.sub_({y}.reshape(-1)[0].clone()); {x}.detach().add_(1);
    {x}.index_fill_(0, lib.tensor([0]), 5.0); Double.apply({x}); {x}.detach_(); {x}.retain_grad();
    {x}.register_hook(lambda g: g * 2); {x}.register_hook(lambda g: seen.append(lib.clone(g.detach())))
""")
RESHAPING = ["{x}.unsqueeze_(0)", "{x}.squeeze_()", "{x}.t_() if {x}.ndim <= 2 else None"]  # not for leaves


def program(seed):
    """Source of a function ``f(lib, leaves, seen)`` that returns tensors."""
    rng = random.Random(seed)
    names = ["a", "b"]
    lines = ["a, b = leaves"]
    for i in range(rng.randint(4, 12)):
        kind = rng.random()
        x, y = rng.choice(names[-4:]), rng.choice(names)
        if kind < 0.32:
            text = rng.choice(VIEWS)
        elif kind < 0.6:
            text = rng.choice(PURE)
        else:
            text = None
        if i == 0 and text is None:
            text = "{x} * 1"
        indent = ""
        block = rng.random()
        if block < 0.12:
            lines.append("with lib.no_grad():")
            indent = "    "
        elif block < 0.15:
            lines.append("with lib.enable_grad():")
            indent = "    "
        if text is not None:
            name = f"t{i}"
            lines.append(f"{indent}{name} = attempt(lambda: {text.format(x=x, y=y)}, {x})")
            names.append(name)
        else:
            if kind < 0.93:
                statement = rng.choice(IN_PLACE if x in "ab" or indent else IN_PLACE + RESHAPING).format(x=x, y=y)
            else:
                factor = rng.choice(["", f" * {y}.sum()"])
                statement = f"({x}.sum(){factor}).backward(retain_graph=True)"
            block = ["try:", f"    {statement}", "except ERRORS as e:", "    errors.append(kind(e))"]
            lines += [indent + line for line in block]
    lines.append(f"return [{', '.join(names)}]")
    return "def f(lib, leaves, seen, errors):\n" + "".join(f"    {line}\n" for line in lines)


def attempt(make, otherwise):
    """A result, or another tensor if there is none."""
    try:
        return make()
    except ERRORS:
        return otherwise


def kind(error):
    """The kind of an exception. Which operation detects a modified saved tensor is unspecified."""
    text = str(error)
    if "modified by an inplace operation" in text or "detached in-place" in text:
        return "modified"
    return type(error).__name__


ERRORS = (RuntimeError, IndexError, ValueError, TypeError, NotImplementedError)


def functions(lib):
    """Custom functions."""

    class Scale(lib.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 3

        @staticmethod
        def backward(ctx, g):
            return g * 5

    class Square(lib.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * x * 2

    class Same(lib.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.view_as(x)

        @staticmethod
        def backward(ctx, g):
            return g * 2

    class Double(lib.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            x.mul_(2)
            ctx.mark_dirty(x)
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 2

    return {"Scale": Scale, "Square": Square, "Same": Same, "Double": Double}


def leaves(lib, seed):
    rng = random.Random(-seed - 1)
    made = []
    for _ in range(2):
        shape = rng.choice(SHAPES)
        n = 1
        for extent in shape:
            n *= extent
        data = [rng.choice([-2.0, -1.0, -0.5, 0.5, 1.0, 2.0, 3.0]) for _ in range(n)]
        dtype = rng.choice([lib.float32, lib.float32, lib.float64])
        made.append(lib.tensor(data, dtype=dtype).reshape(shape).clone().requires_grad_(rng.random() < 0.8))
    return made


def values(t):
    if t is None:
        return None
    t = t.detach()
    return [str(t.dtype).split(".")[-1], list(t.shape), [float(v) for v in t.reshape(-1).tolist()]]


def gradient(t):
    try:
        return values(t.grad) if t.is_leaf or t.retains_grad else None
    except ERRORS as e:
        return kind(e)


def outcome(lib, seed, trace=lambda f: f, runs=1):
    """A program's results, errors, and the gradients of a weighted sum of the results; for each of several runs."""
    scope = {"attempt": attempt, "kind": kind, "ERRORS": ERRORS, **functions(lib)}
    exec(program(seed), scope)
    f = trace(scope["f"])
    found = []
    for _ in range(runs):
        xs, seen, errors = leaves(lib, seed), [], []
        try:
            results = f(lib, xs, seen, errors)
        except ERRORS as e:
            found.append(kind(e))
            continue
        part = [[values(t) for t in results], errors, [bool(t.requires_grad) for t in results]]
        for t in results:
            if t.requires_grad and t.is_floating_point():
                try:
                    weights = lib.arange(1, t.numel() + 1, dtype=t.dtype).reshape(t.shape)
                    (t * weights).sum().backward(retain_graph=True)
                except ERRORS as e:
                    part.append(kind(e))
        part += [gradient(t) for t in (*xs, *results)]
        part.append([values(t) for t in seen])
        found.append(part)
    return found


UNSPECIFIED = "-" * 8


def digest(part):
    """A result as a short text: results are exact, so a checksum suffices.

    If a saved value was modified, the two libraries may save different values; if PyTorch crashed, there is nothing to
    compare.
    """
    if part is None or "modified" in json.dumps(part):
        return UNSPECIFIED
    return f"{zlib.crc32(json.dumps(part).encode()):08x}"


def survived(function, *args):
    """The function's result, computed in a separate process; None if it crashes, as PyTorch does in some programs."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        with os.fdopen(writer, "w") as out:
            json.dump(function(*args), out)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as result:
        text = result.read()
    return json.loads(text) if os.waitpid(child, 0)[1] == 0 else None


def record():
    import torch

    torch.set_num_threads(1)
    outcomes = [survived(lambda seed: outcome(torch, seed)[0], seed) for seed in range(SEEDS)]
    FILE.write_text(json.dumps("".join(map(digest, outcomes))) + "\n")


if __name__ == "__main__":
    record()
