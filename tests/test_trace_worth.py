"""Recordings are made where replays repay them: shapes, values and paths that rarely recur run eagerly."""

import threading
import warnings

import pytest

import tracer
from tracer.tracing import worth


@pytest.fixture
def dear(monkeypatch):
    """However short, recordings must be repaid."""
    monkeypatch.setattr(worth, "_CHEAP", 0.0)


def described(x, k=1):
    """Short, and with an effect on something outside."""
    return (x * k).sum() + x.shape[0]


def test_shapes_that_do_not_recur_run_eagerly_and_the_user_is_told_once(dear):
    f = tracer.trace(described)
    with pytest.warns(
        tracer.TraceWarning, match=r"keeps recording: .* do not recur often .*x: float32\[\d+\], and then"
    ) as told:
        for n in range(1, 200):
            assert f(tracer.ones(n)).item() == 2 * n
    assert len(told) == 1
    info = f.cache_info()
    assert info.recordings < worth._FREE + 2 and info.eager == 199 - info.recordings
    assert "183 signatures, until calls have recurred so often that a recording pays" in f.explain()
    assert f(tracer.ones(3)).item() == 6 and f.cache_info().replays == 1  # the first ones replay


def test_a_signature_is_recorded_once_its_eager_calls_took_as_long_as_a_recording(dear):
    f = tracer.trace(described)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tracer.TraceWarning)
        for n in range(1, 40):
            f(tracer.ones(n))
    before = f.cache_info()
    calls = 0
    while f.cache_info().replays < before.replays + 2:
        assert f(tracer.ones(39)).item() == 78
        calls += 1
        assert calls < 10_000
    assert f.cache_info().recordings == before.recordings + 1
    assert calls >= 3  # one is recorded, two replay; those before them ran eagerly


def test_replays_repay_recordings(dear):
    f = tracer.trace(described)
    for n in range(1, worth._FREE + 1):
        f(tracer.ones(n))
    for _ in range(3 * worth._REPAY):
        f(tracer.ones(1))
    for n in (100, 101, 102):
        f(tracer.ones(n))
        assert f(tracer.ones(n)).item() == 2 * n
    assert f.cache_info().recordings == worth._FREE + 3


def test_short_recordings_are_always_made():
    f = tracer.trace(described)
    for n in range(1, 40):
        f(tracer.ones(n))
    assert f.cache_info().recordings == 39


def test_paths_that_do_not_recur_run_eagerly(dear):
    @tracer.trace
    def f(x):
        y = x
        for n in range(6):
            if x[n] > 0:
                y = y + n
        return y

    with pytest.warns(tracer.TraceWarning, match="keeps recording"):
        for i in range(64):
            x = tracer.tensor([float(i >> n & 1) for n in range(6)])
            assert f(x).tolist() == f.function(x).tolist()
    assert f.cache_info().recordings < 40


def test_times_of_signatures_are_bounded(dear, monkeypatch):
    monkeypatch.setattr(worth, "_TIMED", 8)
    f = tracer.trace(described)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tracer.TraceWarning)
        for n in range(1, 60):
            f(tracer.ones(n))
    assert "8 signatures, until" in f.explain()


def test_changes_and_errors_of_calls_that_wait(dear):
    seen = []

    @tracer.trace
    def f(x):
        seen.append(x.shape[0])
        if x.shape[0] == 45:
            raise KeyError("45")
        return x.sum()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tracer.TraceWarning)
        for n in range(1, 60):
            if n == 45:
                with pytest.raises(KeyError, match="45"):
                    f(tracer.ones(n))
            else:
                assert f(tracer.ones(n)).item() == n
    assert seen == list(range(1, 60))


def test_threads_that_wait(dear, monkeypatch):
    monkeypatch.setattr(worth, "_TIMED", 1)
    f, wrong = tracer.trace(described), []

    def calls(start):
        try:
            for n in range(start, start + 60):
                assert f(tracer.ones(n)).item() == 2 * n
        except Exception as e:
            wrong.append(e)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tracer.TraceWarning)
        calls(1)
        threads = [threading.Thread(target=calls, args=(100 * k,)) for k in range(1, 5)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    assert not wrong
