"""Random programs with views, in-place changes and hooks do what they do in PyTorch, eager and traced."""

import json

import pytest
import random_programs

import tracer
from tracer.core import fused

EXPECTED = json.loads(random_programs.FILE.read_text())
PART = 50


def different(seeds, **mode):
    wrong = []
    for seed in seeds:
        expected = EXPECTED[8 * seed : 8 * seed + 8]
        parts = random_programs.outcome(tracer, seed, **mode)
        if expected != random_programs.UNSPECIFIED and any(random_programs.digest(part) != expected for part in parts):
            wrong.append(seed)
    return wrong


@pytest.mark.parametrize("first", range(0, random_programs.SEEDS, PART))
def test_eager(first):
    assert different(range(first, first + PART)) == []


@pytest.mark.parametrize("first", range(0, random_programs.SEEDS, PART))
def test_eager_with_composite_functions_as_one_node(first, monkeypatch):
    monkeypatch.setattr(fused, "CALLS", 0)
    assert different(range(first, first + PART)) == []


@pytest.mark.filterwarnings("ignore::tracer.TraceWarning")
@pytest.mark.parametrize("first", range(0, random_programs.SEEDS, PART))
def test_traced(first):
    assert different(range(first, first + PART), trace=tracer.trace, runs=3) == []
