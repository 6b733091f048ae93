"""No change of a reachable object leaves a result stale (``random_changes``); guards with a planted gap are detected."""

import pytest
import random_changes as made
from random_traced_programs import single_operations

from tracer.tracing import walk

SHORT, MANY, PART = 40, 2_600, 20  # programs, usually with 8 changes each


def found(seeds):
    with single_operations():
        return made.check(seeds)


@pytest.mark.parametrize("first", range(0, SHORT, 10))
def test_random_changes(first):
    differ, sums = found(range(first, first + 10))
    assert not differ, "\n".join(f"seed {seed}: {message}" for seed, message in differ)
    assert sums["changes"] > 10 * 5
    assert sums["replays"] > sums["calls"] * 0.2  # a failed guard is not counted as a replay


@pytest.mark.fuzz
@pytest.mark.parametrize("first", range(1000, 1000 + MANY, PART))
def test_many_random_changes(first):
    differ, _ = found(range(first, first + PART))
    assert not differ, "\n".join(f"seed {seed}: {message}" for seed, message in differ)


# Guards with a planted gap.


def without(name):
    """A walk that does not check one kind of object again."""

    def describe(self, *args, described=walk.Walk.describe, **kwargs):
        token = described(self, *args, **kwargs)
        setattr(self, name, [])
        return token

    return walk.Walk, "describe", describe


# Where programs begin that can show what is rare.
FIRST = {
    "variables and names": 8,
    "values": 20,
    "replaced functions of the package": 64,
    "caches that are cleared": 739,
}
FAULTS = {
    "variables and names": without("names"),
    "closure cells": without("cells"),
    "attributes of functions and classes": without("attributes"),
    "containers and objects": without("live"),
    "what is in classes": (walk.Walk, "_class", lambda self, x, out: None),
    "values": (walk, "static", lambda x: type(x)),
    "replaced functions of the package": (walk, "altered", lambda space: []),
    "caches that are cleared": (walk, "forgotten", lambda function: 0),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_guard_that_misses_something_is_found(fault, monkeypatch):
    monkeypatch.setattr(*FAULTS[fault])
    with single_operations():
        assert any(made.failure(made.Program(seed)) for seed in range(FIRST.get(fault, 0), FIRST.get(fault, 0) + SHORT))
