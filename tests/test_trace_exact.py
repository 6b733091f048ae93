"""C functions that accept no dynamic numbers: only code that has run counts; code that runs later gets plain numbers."""

import collections
import csv
import datetime
import decimal
import fractions
import heapq
import io
import json
import pickle
import sqlite3
import statistics
import struct
import time

import pytest

import tracer

pytestmark = pytest.mark.filterwarnings("ignore::tracer.TraceWarning")


class Training:
    """A step that counts, schedules its rate and keeps numbers, and reports them for ``k`` 5."""

    def __init__(self):
        self.layer = tracer.nn.Linear(3, 3)
        with tracer.no_grad():
            for p in self.layer.parameters():
                p.fill_(0.1)
        self.optimizer = tracer.optim.SGD(self.layer.parameters(), lr=0.01)
        self.schedule = tracer.optim.lr_scheduler.LambdaLR(self.optimizer, lambda epoch: min((epoch + 1) / 30, 1.0))
        self.n, self.losses, self.reports, self.best = 0, [], [], {"loss": 9.0}

    def train(self, x):
        loss = self.layer(x).square().sum()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        self.n += 1
        return loss.item()

    def step(self, x, k, scale):
        value = self.train(x)
        self.losses.append(value)
        self.best["loss"] = min(self.best["loss"], value)
        if k == 5:
            self.report(value, self.losses, {"value": value, "n": self.n}, scale, k)
        return value * 2, self.n

    def report(self, value, losses, found, scale, k):
        raise NotImplementedError


class SavesJson(Training):
    def save(self, path):
        with open(path, "w") as file:
            json.dump({"n": self.n}, file)


class Pickles(Training):
    def save(self, path):
        with open(path, "wb") as file:
            pickle.dump(self.losses, file)


class ReadsClocks(Training):
    def line(self):
        return f"{datetime.datetime.now()} {time.strftime('%H')}"


@pytest.mark.parametrize("kind", [SavesJson, Pickles, ReadsClocks])
def test_methods_that_do_not_run_do_not_matter(kind):
    training = kind()
    step = tracer.trace(training.train)
    for i in range(12):
        step(tracer.ones(2, 3) * (i + 1))
    assert step.cache_info().replays == 10, step.explain()


def local_function(self, value, losses, found, scale, k):
    def text(a):
        return json.dumps({"a": a, "value": value})

    self.reports.append([text(scale), *(text(x) for x in self.losses)])


REPORTS = {
    "json": lambda self, value, losses, found, scale, k: self.reports.append(
        json.dumps([value, losses, found, scale, k, self.n, self.best, self.schedule.get_last_lr()])
    ),
    "pickle": lambda self, value, losses, found, scale, k: self.reports.append(
        pickle.loads(pickle.dumps([value, losses, found, self.n]))
    ),
    "durations": lambda self, value, losses, found, scale, k: self.reports.append(
        [datetime.timedelta(seconds=value, days=k), datetime.timedelta(self.n) * scale, datetime.timedelta(found["value"])]
    ),
    "decimal": lambda self, value, losses, found, scale, k: self.reports.append(
        [decimal.Decimal(value), decimal.Decimal(self.n), fractions.Fraction(scale), [decimal.Decimal(x) for x in losses]]
    ),
    "statistics": lambda self, value, losses, found, scale, k: self.reports.append(
        [statistics.mean(self.losses), statistics.stdev([*losses, 1.0])]
    ),
    "types": lambda self, value, losses, found, scale, k: self.reports.append(
        [type(x) for x in (value, self.n, k, scale, losses[0], found["n"])]
    ),
    "database": lambda self, value, losses, found, scale, k: self.reports.append(
        sqlite3.connect(":memory:").execute("select ?, ?, ?", (value, self.n, self.losses[0])).fetchall()
    ),
    "heap": lambda self, value, losses, found, scale, k: self.reports.append(
        [heapq.nsmallest(2, losses), struct.pack("di", value, self.n), collections.deque(losses, maxlen=k)]
    ),
    "file": lambda self, value, losses, found, scale, k: self.reports.append(
        csv.writer(io.StringIO()).writerow([value, self.n])
    ),
    "times": lambda self, value, losses, found, scale, k: self.reports.append([time.gmtime(self.n), time.sleep(value / 1e6)]),
    "local function": local_function,
    "any arguments": lambda self, *args, **kwargs: self.reports.append(json.dumps([args, kwargs])),
}


@pytest.mark.parametrize("name", REPORTS)
def test_code_that_runs_later_gets_plain_numbers(name):
    kind = type("Reporting", (Training,), {"report": REPORTS[name]})
    eager, training = kind(), kind()
    step = tracer.trace(training.step)
    for i, k in enumerate([1, 1, 1, 1, 5, 1, 5, 2, 5]):
        x, scale = tracer.ones(2, 3) * (i + 1) / 5, 1.0 + i / 2
        assert step(x, k, scale) == pytest.approx(eager.step(x, k, scale), rel=1e-5)
        numbers = [training.n, *training.losses, *training.best.values(), training.optimizer.param_groups[0]["lr"]]
        assert {type(number) for number in numbers} <= {int, float}
        assert len(training.reports) == len(eager.reports) and training.n == eager.n
    if name in ("types", "times"):
        assert training.reports == eager.reports
