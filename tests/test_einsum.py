"""Random einsum equations have PyTorch's results, gradients and errors; eager and traced."""

import json

import numpy as np
import pytest
from einsums import FILE, function, outcome

import tracer

RECORDED = json.loads(FILE.read_text())


def agree(found, expected):
    if isinstance(found, str) or isinstance(expected, str):
        return found == expected
    return found[0] == expected[0] and np.allclose(found[1], expected[1], 1e-7, 1e-9)


@pytest.mark.parametrize("part", range(4))
def test_eager(part):
    for text, shapes, in_lists, expected in RECORDED[part::4]:
        assert agree(outcome(tracer, function(tracer, text, in_lists), shapes), expected), (text, shapes, in_lists)


@pytest.mark.parametrize("part", range(4))
def test_traced(part):
    for text, shapes, in_lists, expected in RECORDED[part::40]:
        f = tracer.trace(function(tracer, text, in_lists))
        for _ in range(3):
            assert agree(outcome(tracer, f, shapes), expected), (text, shapes, in_lists)
