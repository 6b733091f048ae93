"""Optimizers, schedulers and modules, compared with PyTorch's results (see ``reference.py``), eager and traced."""

import json
import warnings

import numpy as np
import pytest
from reference import FILE, MODULES, OPTIMIZERS, SCHEDULES, outcome, rates, trajectory

import tracer

RECORDED = json.loads(FILE.read_text())


def named(cases):
    return [f"{i}-{case[0]}" for i, case in enumerate(cases)]


@pytest.mark.parametrize("k", range(len(OPTIMIZERS)), ids=named(OPTIMIZERS))
def test_optimizer(k):
    np.testing.assert_allclose(trajectory(tracer, *OPTIMIZERS[k]), RECORDED["optimizers"][k], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("k", range(len(OPTIMIZERS)), ids=named(OPTIMIZERS))
def test_optimizer_traced(k):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tracer.TraceWarning)
        found = trajectory(tracer, *OPTIMIZERS[k], trace=tracer.trace)
    np.testing.assert_allclose(found, RECORDED["optimizers"][k], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("k", range(len(SCHEDULES)), ids=named(SCHEDULES))
def test_schedule(k):
    np.testing.assert_allclose(rates(tracer, *SCHEDULES[k]), RECORDED["schedules"][k], rtol=1e-12)


@pytest.mark.parametrize("k", range(len(MODULES)), ids=named(MODULES))
def test_module(k):
    found, expected = outcome(tracer, *MODULES[k]), RECORDED["modules"][k]
    np.testing.assert_allclose(found["out"], expected["out"], rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(found["grads"], expected["grads"], rtol=1e-9, atol=1e-11)
