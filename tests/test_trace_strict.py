"""Changing numbers passed to code that accepts only floats: it receives the right floats."""

import array
import copy
import csv
import datetime
import decimal
import fractions
import io
import json
import math
import pickle
import statistics
import struct
import time

import numpy as np
import pytest

import tracer
from tracer import nn, optim, trace


def vec(*values):
    return tracer.tensor(values or (1.0, 2.0, 3.0))


def written(k):
    out = io.StringIO()
    csv.writer(out).writerow([k, k * 2])
    return out.getvalue()


FUNCTIONS = {
    "json": lambda k: json.dumps({"k": k, "all": [k, {"k": (k,)}]}, sort_keys=True),
    "json indented": lambda k: json.dumps([k, {"k": k}], indent=1),
    "json file": lambda k: json.dump(k, io.StringIO()),
    "json encoder": lambda k: json.JSONEncoder().encode([k]),
    "decimal": lambda k: (decimal.Decimal(k), decimal.Decimal(1) + decimal.Decimal(k).quantize(decimal.Decimal("0.1"))),
    "timedelta": lambda k: datetime.timedelta(seconds=k).total_seconds() + datetime.timedelta(k).days,
    "datetime": lambda k: datetime.datetime.fromtimestamp(k, datetime.UTC),
    "statistics": lambda k: (statistics.mean([k, 2.0]), statistics.stdev([k, 1.0, 2.0]), statistics.median([k, 2.0])),
    "fraction": lambda k: fractions.Fraction(k) + 1,
    "struct": lambda k: struct.pack("d", k),
    "array": lambda k: array.array("d", [k]),
    "csv": lambda k: written(k),
    "sleep": lambda k: time.sleep(k / 1e6),
    "strftime": lambda k: time.strftime("%S", time.gmtime(k)),
    "type": lambda k: type(k) is float,
    "math": lambda k: (math.sqrt(k), math.fsum([k, 1.0]), math.isfinite(k), math.floor(k), math.hypot(k, k), math.frexp(k)),
    "text": lambda k: ("%.2f" % k, f"{k:.3f}", str(k), repr(k), f"{k}", "{:>8}".format(k)),  # noqa: UP031, UP032
    "methods": lambda k: (k.hex(), k.is_integer(), k.as_integer_ratio(), k.real, k.imag, k.conjugate()),
    "containers": lambda k: (sorted([k, 1.0]), {k: 1}, {k}, max(k, 1.0), sum([k, k]), k in (0.5, 2.5), hash(k)),
    "copies": lambda k: (copy.copy(k), copy.deepcopy(k), pickle.loads(pickle.dumps(k))),
    "numpy": lambda k: (
        np.float32(k),
        np.sin(k),
        np.array([k, 1.0]).tolist(),
        np.clip(k, 0, 1),
        float(np.linspace(0, k, 3)[1]),
    ),
    "numbers": lambda k: (int(k), bool(k), round(k, 1), divmod(k, 0.3), complex(k, 1), float(k), math.trunc(k), abs(-k)),
    "checks": lambda k: (isinstance(k, float), isinstance(k, (int, float)), callable(k), k == k, k is None),
}


@pytest.mark.filterwarnings("ignore::tracer.TraceWarning")
@pytest.mark.parametrize("source", ["argument", "item", "rate", "computed"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_code_that_takes_floats_gets_them(name, source):
    function = FUNCTIONS[name]
    w = tracer.ones(3, requires_grad=True)
    w.grad = tracer.ones(3)
    optimizer = optim.SGD([w], lr=0.5)

    def run(x, k):
        if source == "item":
            k = (x.sum() / 6 * k).item()
        elif source == "rate":
            k = optimizer.param_groups[0]["lr"]
        elif source == "computed":
            k = k * 2 + 0.25
        return x * 2, function(k)

    f = trace(run)
    for k in (0.5, 0.5, 0.5, 1.5, 1.5, 2.5, 0.5):
        optimizer.param_groups[0]["lr"] = k
        got, want = f(vec(), k), run(vec(), k)
        assert got[0].tolist() == want[0].tolist() and got[1] == want[1] and type(got[1]) is type(want[1])


@pytest.mark.filterwarnings("ignore::tracer.TraceWarning")
def test_a_training_step_that_logs_json():
    results = []
    for wrap in (lambda f: f, trace):
        tracer.manual_seed(0)
        m = nn.Linear(3, 2)
        optimizer = optim.SGD(m.parameters(), lr=0.1, momentum=0.9)
        log = io.StringIO()

        def step(x, m=m, optimizer=optimizer, log=log):
            optimizer.zero_grad()
            loss = m(x).square().mean()
            loss.backward()
            optimizer.step()
            log.write(json.dumps({"loss": round(loss.item(), 4), "lr": optimizer.param_groups[0]["lr"]}) + "\n")
            return loss

        f = wrap(step)
        for i in range(12):
            optimizer.param_groups[0]["lr"] = 0.1 / (1 + i // 4)
            f(vec(1.0, i % 3, 2.0).reshape(1, 3))
        results.append(([json.loads(line) for line in log.getvalue().splitlines()], m.weight.detach().numpy()))
    assert results[0][0] == results[1][0]
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-5)
