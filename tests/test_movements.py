"""Every operation that moves elements returns a view where PyTorch returns one, and a copy where PyTorch copies.

The expectations are recorded (``movements.py``): whether the result is the input or a view, its strides, reads and writes
through it, and gradients of both.
"""

import json

import movements
import numpy as np
import pytest

import tracer

EXPECTED = json.loads(movements.FILE.read_text())


def close(got, want):
    if want is None:
        return True
    if isinstance(got, str) or isinstance(want, str):
        return got == want
    return len(got) == len(want) and np.allclose(got, want, rtol=1e-5, atol=1e-30, equal_nan=True)


def test_every_case_is_recorded():
    assert set(EXPECTED) == {f"{name}: {text}" for name, text in movements.CASES}


@pytest.mark.parametrize(("name", "text"), movements.CASES)
def test_views_and_copies(name, text):
    kind, wanted = EXPECTED[f"{name}: {text}"]
    same, view, shape, strides = movements.kind(tracer, name, text)
    assert [same, view, shape] == kind[:3]
    if view is True:  # NumPy decides the layout of copies
        assert strides == kind[3]
    for got in movements.results(tracer, name, text)[0], *movements.results(tracer, name, text, tracer.trace, 3):
        assert len(got) == len(wanted)
        for g, w in zip(got, wanted, strict=True):
            assert close(g, w), (g, w)
