"""Small helpers for tests."""

import numpy as np
import pytest

import tracer


def ones(*shape, dtype="float32"):
    return tracer.ones(*shape, dtype=getattr(tracer, dtype))


def name_of(dtype):
    """``float32`` for ``tracer.float32``."""
    return str(dtype).split(".")[-1]


def check(got, expected, dtype=None):
    """Same shape, same values (NaN equal to NaN), and the dtype if one is named."""
    np.testing.assert_allclose(got.detach().numpy(), np.array(expected), rtol=1e-6)
    assert tuple(got.shape) == np.shape(expected)
    assert dtype is None or name_of(got.dtype) == dtype


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
