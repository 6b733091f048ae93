"""Random programs (``random_traced_programs``) have the same results traced, and planted bugs in tracing are found.

So do programs whose surroundings change between calls: ``test_stale_fuzz``.
"""

import pytest
import random_traced_programs as made

from tracer.tracing import guards, unchanged
from tracer.tracing.graph_function import CompiledNode
from tracer.tracing.recorder import Recorder

SHORT, FUSED, MANY, PART = 80, 12, 20_000, 100


def failures(seeds):
    return "\n".join(f"seed {seed}: {message}\n{source}" for seed, message, source in made.check(seeds))


@pytest.mark.parametrize("first", range(0, SHORT, 10))
def test_random_programs(first):
    with made.single_operations():
        found = failures(range(first, first + 10))
    assert not found, found


@pytest.mark.usefixtures("each_cpu")
@pytest.mark.parametrize("first", range(SHORT, SHORT + FUSED, 4))
def test_random_programs_with_fused_kernels(first):
    found = failures(range(first, first + 4))
    assert not found, found


@pytest.mark.fuzz
@pytest.mark.parametrize("first", range(1000, 1000 + MANY, PART))
def test_many_random_programs(first):
    with made.single_operations():
        found = failures(range(first, first + PART))
    assert not found, found


# Planted bugs in tracing.


def twice(self, *args, cotangents=CompiledNode.cotangents):
    return [c if c is None else c * 2 for c in cotangents(self, *args)]


FAULTS = {
    "what the function reaches is not guarded": (guards.Environment, "key", lambda self: 0),
    "numbers are not guarded": (unchanged, "static", lambda x: type(x)),
    "changes in place are not written": (Recorder, "update", lambda self, t, new, *how: self._set(t, self.value(new))),
    "gradients are twice what they are": (CompiledNode, "cotangents", twice),
    "gradients are not set": (Recorder, "writes_grad", lambda self, t: None),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(fault, monkeypatch):
    where, name, wrong = FAULTS[fault]
    monkeypatch.setattr(where, name, wrong)
    with made.single_operations():
        assert any(made.failure(made.Program(seed)) for seed in range(SHORT))
