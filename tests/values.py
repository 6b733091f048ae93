"""Small helpers for tests."""

import pytest

import tracer


def ones(*shape, dtype="float32"):
    return tracer.ones(*shape, dtype=getattr(tracer, dtype))


def flat(t):
    return t.detach().reshape(-1).tolist()


def leaf(values):
    return tracer.tensor(values, dtype=tracer.float64, requires_grad=True)


def raises_exactly(wrong, exception, words):
    """``wrong()`` raises exactly this exception, with these words."""
    with pytest.raises(exception) as caught:
        wrong()
    assert caught.type is exception
    assert words in str(caught.value.args[0])
