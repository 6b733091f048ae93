"""Small expressions, compared with PyTorch's results (see ``expressions.py``), eager and traced."""

import json
import warnings

import numpy as np
import pytest
from expressions import EXPRESSIONS, FILE, compute

import tracer

RECORDED = json.loads(FILE.read_text())


def check(found, expected, what, rtol=1e-7):
    if not isinstance(expected, list):
        assert found == expected, what
        return
    assert found[:2] == expected[:2], what
    exact = not expected[0].startswith(("float", "complex"))
    tolerance = {"rtol": 0, "atol": 0} if exact else {"rtol": rtol, "atol": 1e-9}
    np.testing.assert_allclose(found[2], expected[2], err_msg=what, **tolerance)


@pytest.mark.parametrize("how", ["eager", "traced"])
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_expression(expression, how):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = compute(tracer, expression, tracer.trace if how == "traced" else lambda f: f)
    expected = RECORDED[expression]
    rtol = 1e-5 if "VonMises" in expression else 1e-7  # PyTorch approximates its Bessel functions
    assert len(found["out"]) == len(expected["out"])
    for k, (a, b) in enumerate(zip(found["out"], expected["out"], strict=True)):
        check(a, b, f"result {k}", rtol)
    # A gradient of zeros is not recorded; on another CPU it may be the rounding of terms that cancel.
    for name in {*found["grads"], *expected["grads"]}:
        g = expected["grads"].get(name) or [*found["grads"][name][:2], np.zeros(np.shape(found["grads"][name][2]))]
        check(found["grads"].get(name) or [*g[:2], np.zeros(np.shape(g[2]))], g, f"gradient of {name}", rtol)
