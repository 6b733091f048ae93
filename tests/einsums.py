"""PyTorch's results for random einsum equations: broadcasting ellipses, repeated letters, extents 1 and 0, lists of numbers,
and invalid equations. ``test_einsum`` compares this package with them.

python tests/einsums.py      # with PyTorch installed: records anew into einsums.json
"""

import json
import math
import random
from pathlib import Path

FILE = Path(__file__).with_name("einsums.json")
LETTERS = "abcdeA"


def equation(rng):
    """A random equation and its operands' shapes, most of which fit."""
    zeros = [0] if rng.random() < 0.3 else []
    size = {c: rng.choice([1, 2, 3, 2, 3, *zeros]) for c in LETTERS}
    ellipsis = [rng.choice([1, 2, 3, *zeros]) for _ in range(rng.choice([0, 1, 2]))]
    dotted = rng.random() < 0.5
    terms, shapes = [], []
    for _ in range(rng.choice([1, 1, 2, 2, 2, 3, 3])):
        names = [rng.choice(LETTERS) for _ in range(rng.choice([0, 1, 2, 3, 3]))]
        if rng.random() < 0.6:
            names = list(dict.fromkeys(names))
        shape = [size[c] if rng.random() < 0.9 or names.count(c) > 1 else 1 for c in names]
        text = "".join(names)
        if dotted and rng.random() < 0.8:
            some = [n if rng.random() < 0.8 else 1 for n in ellipsis[rng.randint(0, len(ellipsis)) :]]
            at = rng.randint(0, len(names))
            shape[at:at], text = some, text[:at] + "..." + text[at:]
        terms.append(text)
        shapes.append(shape)
    out = ",".join(terms)
    if rng.random() < 0.75:
        known = list(dict.fromkeys(c for c in out if c.isalpha()))
        result = "".join(rng.sample(known, rng.randint(0, len(known))))
        if "..." in out and rng.random() < 0.8:
            at = rng.randint(0, len(result))
            result = result[:at] + "..." + result[at:]
        out += "->" + result + (rng.choice(["a", "z", ".", "1", "..."]) if rng.random() < 0.08 else "")
    spaced = " ".join(out.replace("...", "@").replace("->", ">")).replace("@", "...").replace(">", "->")
    return (spaced if rng.random() < 0.1 else out), shapes


def lists(text):
    """A term as a list of numbers."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    return [Ellipsis if c == "." else alphabet.index(c) for c in text.replace("...", ".")]


def function(T, text, in_lists):
    if not in_lists:
        return lambda *xs: T.einsum(text, *xs)
    left, arrow, right = text.partition("->")
    terms = [lists(t) for t in left.split(",")]
    last = [lists(right)] if arrow else []
    return lambda *xs: T.einsum(*(v for pair in zip(xs, terms, strict=True) for v in pair), *last)


def weights(T, shape, k):
    n = math.prod(shape)
    return T.tensor([((7 * i + 3 * k) % 11 - 5) / 4 for i in range(n)], dtype=T.float64).reshape(tuple(shape))


def outcome(T, f, shapes):
    """The result's shape, and weighted sums of the values and of the gradients; or the type of the exception."""
    operands = [weights(T, shape, k + 1).requires_grad_() for k, shape in enumerate(shapes)]
    try:
        out = f(*operands)
    except Exception as e:
        return type(e).__name__
    grads = T.autograd.grad(out, operands, weights(T, out.shape, 9))
    sums = [float((x.detach() * weights(T, x.shape, 5)).sum()) for x in (out, *grads)]
    return [list(out.shape), [float(f"{v:.9g}") for v in sums]]


def main():
    import torch

    records = []
    for seed in range(400):
        rng = random.Random(seed)
        text, shapes = equation(rng)
        in_lists = rng.random() < 0.25 and all(c.isalpha() or c in ".,->" for c in text)
        records.append([text, shapes, in_lists, outcome(torch, function(torch, text, in_lists), shapes)])
    FILE.write_text("[\n" + ",\n".join(json.dumps(r, separators=(",", ":")) for r in records) + "\n]\n")


if __name__ == "__main__":
    main()
