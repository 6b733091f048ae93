"""Generated replays of programs on a device: they take the calls they fit, and others take the general path."""

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="needs the extra 'cuda'")

import tracer
from tracer import nn
from tracer.nn import functional as F
from tracer.tracing.replay import Trace

pytestmark = [
    pytest.mark.usefixtures("cuda"),
    pytest.mark.filterwarnings("error:(?s).*runs eagerly", "ignore:(?s).*has no kernel for this device"),
]


@pytest.fixture
def general(monkeypatch):
    """The calls that take the general path."""
    calls = []
    replay = Trace.replay
    monkeypatch.setattr(Trace, "replay", lambda self, call: calls.append(call) or replay(self, call))
    return calls


def test_results(general):
    f = tracer.trace(lambda x, y, k: (x * k + y, {"sum": [y.sum(), x]}))
    for k in range(8):
        x, y = tracer.full((3, 4), float(k), device="cuda"), tracer.ones(3, 4, device="cuda")
        a, b = f(x, y, 0.5 * k)
        np.testing.assert_allclose(a.tolist(), (x * (0.5 * k) + y).tolist())
        assert b["sum"][0].item() == 12 and b["sum"][1] is x
    assert f.cache_info().replays == 7 and len(general) <= 1


def trained(where):
    tracer.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.LayerNorm(8), nn.Linear(8, 2)).to(where)
    optimizer = tracer.optim.Adam(model.parameters(), 1e-2)

    @tracer.trace
    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    data = [(tracer.randn(6, 4).to(where), tracer.randint(0, 2, (6,)).to(where)) for _ in range(8)]
    losses = [step(x, y) for x, y in data]
    assert all(p.grad.device == p.device for p in model.parameters())
    assert step.cache_info().replays == 6, step.explain()
    grads = [p.grad.cpu().numpy() for p in model.parameters()]
    return [x.item() for x in losses], grads, optimizer.state[model[0].weight]["step"]


def test_a_training_step(general):
    losses, grads, count = trained("cpu")
    general.clear()
    others, found, count_there = trained("cuda")
    assert len(general) <= 1 and count_there.is_cuda and count.item() == count_there.item() == 8
    np.testing.assert_allclose(others, losses, rtol=2e-5)
    for a, b in zip(found, grads, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_gradients_that_are_kept(general):
    """The memory of a gradient that the caller keeps is not used again."""
    w = tracer.ones(3, device="cuda", requires_grad=True)

    @tracer.trace
    def step(x):
        w.grad = None
        (w * x).sum().backward()

    kept = []
    for k in range(6):
        step(tracer.full((3,), float(k), device="cuda"))
        kept.append(w.grad)
    assert [g.tolist() for g in kept] == [[k] * 3 for k in range(6)] and len(general) <= 1


def test_differentiated_outside(general):
    f = tracer.trace(lambda x, w: F.relu(x @ w).sum())
    x, expected = tracer.randn(4, 5), []
    for where in ("cpu", "cuda"):
        for _ in range(6):
            w = tracer.linspace(-1, 1, 30).view(5, 6).to(where).requires_grad_()
            f(x.to(where), w).backward()
            expected.append(w.grad.cpu().numpy())
    for g in expected[1:]:
        np.testing.assert_allclose(g, expected[0], rtol=1e-5)
    assert len(general) <= 2


OTHERS = {
    "another shape": lambda x: x[:2].clone(),
    "another dtype": lambda x: x.double(),
    "strides": lambda x: x.t().clone().t(),
    "a view": lambda x: x.repeat(2, 1)[3:],
    "an address that is not aligned": lambda x: tracer.cat([x.new_zeros(1), x.flatten()])[1:].view(3, 4),
    "the CPU": lambda x: x.cpu(),
    "a parameter": lambda x: nn.Parameter(x.clone()),
    "memory of another package": lambda x: tracer.from_dlpack(x),
}


@pytest.mark.parametrize("how", OTHERS)
def test_calls_that_do_not_fit(how):
    f = tracer.trace(lambda x: (x * 2).sum(-1))
    plain = tracer.arange(12.0, device="cuda").view(3, 4)
    for _ in range(4):
        f(plain)
    for x in (OTHERS[how](plain), plain, OTHERS[how](plain), plain):
        y = f(x)
        assert y.device == x.device and y.dtype == x.dtype
        np.testing.assert_allclose(y.tolist(), (x * 2).sum(-1).tolist())


def test_in_place_changes(general):
    total = tracer.zeros(3, device="cuda")

    @tracer.trace
    def add(x, out):
        total.add_(x)
        out.mul_(2)
        return total * 1

    out = tracer.ones(3, device="cuda")
    versions = total._version
    for k in range(6):
        assert add(tracer.full((3,), 1.0, device="cuda"), out).tolist() == [k + 1] * 3
    assert out.tolist() == [64] * 3 and total._version == versions + 6 and len(general) <= 1
    assert add(total, out).tolist() == [12] * 3  # the argument is the captured tensor


def test_errors_of_checks(general):
    table = tracer.arange(8.0, device="cuda").view(4, 2)
    f = tracer.trace(lambda i: table[i] * 2)
    for k in range(4):
        assert f(tracer.tensor([k], device="cuda")).tolist() == [[4 * k, 4 * k + 2]]
    for _ in range(2):
        with pytest.raises(IndexError, match="out of bounds"):
            f(tracer.tensor([7], device="cuda"))
        assert f(tracer.tensor([1], device="cuda")).tolist() == [[4, 6]]


def test_no_memory_left(cuda, monkeypatch):
    f = tracer.trace(lambda x: x * 2)
    x = tracer.ones(1000, device="cuda")
    for _ in range(3):
        f(x)
    cuda.empty_cache()
    with monkeypatch.context() as patch, pytest.raises(tracer.cuda.OutOfMemoryError):
        patch.setattr(cuda.pool, "_reserve", lambda nbytes: (_ for _ in ()).throw(MemoryError))
        f(x)
    assert f(x).sum().item() == 2000


def test_a_learning_rate_that_changes(general):
    """Numbers are copied to the device only when they change."""
    w = tracer.ones(3, device="cuda", requires_grad=True)
    optimizer = tracer.optim.SGD([w], lr=1.0)
    schedule = tracer.optim.lr_scheduler.StepLR(optimizer, 3, gamma=0.5)

    @tracer.trace
    def step():
        optimizer.zero_grad()
        w.sum().backward()
        optimizer.step()

    seen = []
    for _ in range(9):
        step()
        seen.append(w[0].item())
        schedule.step()
    assert seen == [0, -1, -2, -2.5, -3, -3.5, -3.75, -4, -4.25]


def test_threads():
    import threading

    f = tracer.trace(lambda x, w: (x @ w).relu().sum(0))
    w = tracer.linspace(-1, 1, 12).view(4, 3)
    there, wrong = w.cuda(), []
    for _ in range(3):
        f(tracer.ones(2, 4, device="cuda"), there)
    lock = threading.Lock()  # the emulator is not for several threads

    def work(k):
        for _ in range(10):
            x = tracer.full((2, 4), float(k))
            with lock:
                y = f(x.cuda(), there).tolist()
            if not np.allclose(y, (x @ w).relu().sum(0).tolist(), rtol=1e-5):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_views_at_numbers_that_change():
    """The numbers are on the CPU, the tensor is on the device."""

    def f(x, n):
        x[n] = 1.0
        x[n : n + 2] *= 2
        x[n].add_(1)
        return x[n : n + 2] * x.select(1, n)[:2, None] + x.narrow(0, n, 1).sum()

    traced = tracer.trace(f)
    for n in range(4):
        x, y = (tracer.arange(20.0, device="cuda").reshape(5, 4) for _ in range(2))
        result, expected = traced(x, n), f(y, n)
        np.testing.assert_allclose(result.tolist(), expected.tolist())
        assert x.tolist() == y.tolist() and result.is_cuda
    assert traced.cache_info().recordings == 2
