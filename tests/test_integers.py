"""Integers and bools, held to what PyTorch computes: values, dtypes, and what is refused."""

import json
import math

import pytest

import tracer
from tests.integers import DTYPES, FILE, expressions, function, inputs, plain

RECORD = json.loads(FILE.read_text())


def agree(a, b):
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(agree, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (a != a and b != b) or math.isclose(a, b, rel_tol=2e-4, abs_tol=1e-5)
    return type(a) is type(b) and a == b


def differences(dtype, chosen, traced):
    found = []
    for e in chosen:
        expected = RECORD[dtype][e]
        if expected == "refused":
            continue
        f = function(tracer, dtype, e)
        try:
            if traced:
                f = tracer.trace(f)
                f(*inputs(tracer, dtype).values())
            got = json.loads(json.dumps(plain(f(*inputs(tracer, dtype).values()))))
        except Exception as error:
            got = f"{type(error).__name__}: {error}"
        if not agree(expected, got):
            found.append(f"{e}: {got} instead of {expected}")
    return found


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", DTYPES)
def test_expressions(dtype):
    assert not differences(dtype, expressions(), False)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64"])
def test_traced_expressions(dtype, part):
    assert not differences(dtype, expressions()[part::4], True)
