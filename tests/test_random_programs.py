"""Random programs with views, changes in place and hooks do what they do in PyTorch, eagerly and traced."""

import json

import pytest
import random_programs

import tracer

EXPECTED = json.loads(random_programs.FILE.read_text())
PART = 50

# Where PyTorch's answer depends on what it has looked up before: a view keeps a stale history, or loses the hooks on it, after
# a change that autograd did not follow; or positions out of range are found before or after a refusal.
PECULIAR = {76, 77, 533, 563}

# Known differences from PyTorch, to be mended. 898: the storage offset of an empty slice, which NumPy sets back to that of its
# base. 868, 1252, 1583: hooks and retained gradients on views whose base was changed since. The others are not yet explained.
DIFFERENT = {868, 898, 910, 937, 1088, 1096, 1252, 1583, 1827}


def different(seeds, **mode):
    wrong = []
    for seed in seeds:
        expected = EXPECTED[8 * seed : 8 * seed + 8]
        if seed in PECULIAR or expected == random_programs.UNSPECIFIED:
            continue
        if any(random_programs.digest(part) != expected for part in random_programs.outcome(tracer, seed, **mode)):
            wrong.append(seed)
    return wrong


@pytest.mark.parametrize("first", range(0, random_programs.SEEDS, PART))
def test_eager(first):
    assert set(different(range(first, first + PART))) == DIFFERENT & {*range(first, first + PART)}


@pytest.mark.filterwarnings("ignore::tracer.TraceWarning")
@pytest.mark.parametrize("first", range(0, random_programs.SEEDS, PART))
def test_traced(first):
    wrong = set(different(range(first, first + PART), trace=tracer.trace, runs=3))
    assert wrong == DIFFERENT & {*range(first, first + PART)}
