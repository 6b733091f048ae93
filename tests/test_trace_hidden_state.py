"""State that C code keeps: a traced function that uses it runs eagerly, or sees that it has changed."""

import abc
import collections
import decimal
import functools
import io
import logging
import sys
import threading
import types

import numpy as np
import pytest

import tracer

pytestmark = pytest.mark.filterwarnings("ignore::tracer.TraceWarning")
ONE = tracer.ones(1)
LOCK, TEXT, MODULE = threading.Lock(), io.StringIO(), types.ModuleType("made")


class Locked:
    def __init__(self):
        self.lock, self.factor = threading.RLock(), 2

    def guarded(self, x):
        with self.lock:
            return x * self.factor

    def free(self, x):
        return x * self.factor


def test_each_call_takes_a_lock():
    @tracer.trace
    def f(x):
        taken = LOCK.acquire(blocking=False)
        return x * taken

    try:
        assert [f(ONE).item() for _ in range(4)] == [1, 0, 0, 0]
    finally:
        LOCK.release()
    assert "lock" in f.explain()


def test_a_lock_of_an_object():
    counted = Locked()
    f, g = tracer.trace(counted.guarded), tracer.trace(counted.free)
    for _ in range(3):
        assert f(ONE).item() == g(ONE).item() == 2
    assert "eager: it uses a lock" in f.explain()
    assert g.cache_info().replays == 2


class Shared:
    guard = threading.Lock()


def in_argument(x, lock):
    with lock:
        return x * 2


def in_class(x):
    with Shared.guard:
        return x * 2


def by_name(x):
    with getattr(Shared, "guard"):  # noqa: B009
        return x * 2


def by_methods(x, acquire=Shared.guard.acquire, release=Shared.guard.release):
    acquire()
    try:
        return x * 2
    finally:
        release()


@pytest.mark.parametrize("dtype", [tracer.float32, tracer.int64], ids=str)
@pytest.mark.parametrize(
    "function",
    [
        in_class,
        by_name,
        by_methods,
        lambda x, lock=Shared.guard: in_argument(x, lock),
        lambda x, locks=(Shared.guard,): in_argument(x, locks[0]),
        functools.partial(in_argument, lock=Shared.guard),
    ],
    ids=["class", "name", "methods", "default", "container", "argument"],
)
def test_a_call_waits_for_a_lock_wherever_it_is(function, dtype):
    f, x, done = tracer.trace(function), tracer.ones(1, dtype=dtype), threading.Event()
    f(x), f(x)
    with Shared.guard:
        thread = threading.Thread(target=lambda: (f(x), done.set()))
        thread.start()
        assert not done.wait(0.2)
    thread.join()
    assert done.is_set()


def test_whether_a_lock_is_taken():
    f = tracer.trace(lambda x: x * 2 if LOCK.locked() else x)
    before = [f(ONE).item(), f(ONE).item()]
    with LOCK:
        assert [*before, f(ONE).item(), f(ONE).item()] == [1, 1, 2, 2]


def test_text_in_memory():
    @tracer.trace
    def f(x):
        TEXT.write("s")
        return x * len(TEXT.getvalue())

    before = len(TEXT.getvalue())
    assert [f(ONE).item() - before for _ in range(4)] == [1, 2, 3, 4]


def test_text_in_memory_that_the_function_makes_is_replayed():
    @tracer.trace
    def f(x):
        text = io.StringIO()
        text.write("ab")
        return x * len(text.getvalue())

    assert [f(ONE).item() for _ in range(3)] == [2, 2, 2]
    assert f.cache_info().replays == 2


def test_a_new_attribute_of_a_module():
    @tracer.trace
    def f(x, value):
        MODULE.value = value
        return x

    seen = []
    for value in (0.0, 0.5, 1.0, 2.0):
        f(ONE, value)
        seen.append(MODULE.value)
    assert seen == [0.0, 0.5, 1.0, 2.0]


def test_the_level_of_a_logger():
    @tracer.trace
    def f(x):
        logging.getLogger("test_trace_hidden_state").setLevel(10)
        return x

    logger = logging.getLogger("test_trace_hidden_state")
    for _ in range(3):
        logger.setLevel(30)
        f(ONE)
        assert logger.level == 10


def test_the_context_of_decimal_numbers():
    @tracer.trace
    def f(x):
        decimal.getcontext().prec = 7
        return x

    with decimal.localcontext():
        for _ in range(3):
            decimal.getcontext().prec = 20
            f(ONE)
            assert decimal.getcontext().prec == 7


def test_classes_registered_with_an_abstract_one():
    class Shape(abc.ABC):  # noqa: B024
        pass

    f = tracer.trace(lambda x: x * (2 if isinstance(3, Shape) else 1))
    before = [f(ONE).item() for _ in range(3)]
    Shape.register(int)
    assert [*before, *(f(ONE).item() for _ in range(3))] == [1, 1, 1, 2, 2, 2]
    assert f.cache_info().replays >= 3


def test_the_limit_of_recursion():
    f = tracer.trace(lambda x: x * (sys.getrecursionlimit() % 7))
    limit = sys.getrecursionlimit()
    try:
        for k in range(3):
            sys.setrecursionlimit(limit + k)
            assert f(ONE).item() == (limit + k) % 7
    finally:
        sys.setrecursionlimit(limit)


# Captured tensors that are not contiguous: each run copies their elements.

STRIDED = {
    "transposed": lambda: tracer.arange(12.0).reshape(4, 3).T,
    "every second column": lambda: tracer.arange(24.0).reshape(3, 8)[:, ::2],
    "expanded": lambda: tracer.arange(3.0).reshape(3, 1).expand(3, 4),
    "of NumPy": lambda: tracer.from_numpy(np.arange(12, dtype=np.float32).reshape(4, 3).T),
    "parameter": lambda: tracer.nn.Parameter(tracer.arange(12.0).reshape(4, 3).T),
}


@pytest.mark.parametrize("kind", STRIDED)
def test_a_captured_tensor_that_is_not_contiguous_is_replayed(kind):
    matrix = STRIDED[kind]()
    f = tracer.trace(lambda x: (x @ matrix).sum())
    for k in range(4):
        x = tracer.arange(6.0).reshape(2, 3) * k
        assert f(x).item() == (x @ matrix).sum().item()
        with tracer.no_grad():
            if kind != "expanded":
                matrix.mul_(2)
    assert f.cache_info() == (3, 1, 0, 1, f.cache_info().bytes)


def test_a_captured_transposed_tensor_is_changed_in_place():
    total = tracer.zeros(4, 3).T

    @tracer.trace
    def f(x):
        total.add_(x)
        return total.sum()

    assert [f(ONE).item() for _ in range(4)] == [12, 24, 36, 48]


def test_a_transposed_parameter_is_trained():
    def step_of(w):
        optimizer = tracer.optim.SGD([w], lr=0.1)

        def step(x):
            optimizer.zero_grad()
            loss = (x @ w).square().mean()
            loss.backward()
            optimizer.step()
            return loss

        return step

    start = tracer.arange(12.0).reshape(4, 3) / 10
    eager, traced = step_of(tracer.nn.Parameter(start.T)), tracer.trace(step_of(tracer.nn.Parameter(start.clone().T)))
    for k in range(5):
        x = tracer.arange(6.0).reshape(2, 3) - k
        assert traced(x).item() == pytest.approx(eager(x).item(), rel=1e-5)
    assert traced.cache_info().replays >= 3


# Extents that depend on how many elements a mask selects.


def test_a_row_of_the_selected_elements():
    def f(t):
        t = t[t[:, 0] > 0.3]
        c = t.T[1]
        return t.sum() * c.shape[0]

    traced = tracer.trace(f)
    for k in range(4):
        t = tracer.linspace(0, 1, 30).reshape(5, 6).roll(k, 0)
        assert traced(t).item() == pytest.approx(f(t).item(), rel=1e-6)


def test_the_extent_of_what_is_not_selected():
    def f(p, labels):
        e = tracer.zeros(2, 1, 2)[:, :, 0] + p
        e[labels == -1] += 1.0
        return e.sum() + e.size(0)

    traced = tracer.trace(f)
    for labels in ([[0, 1, 1, -1], [0, 0, 1, -1]], [[0, 1, 1, 0], [0, 0, 1, -1]]):
        args = tracer.ones(2, 4), tracer.tensor(labels)
        assert [traced(*args).item() for _ in range(2)] == [f(*args).item()] * 2


# Numbers and gradients.


def test_a_rate_that_numpy_computes_from_a_list():
    w = tracer.nn.Parameter(tracer.ones(2))
    optimizer = tracer.optim.SGD([w], lr=0.1)
    state = types.SimpleNamespace(n=0)

    @tracer.trace
    def step(x):
        optimizer.zero_grad()
        (x * w).sum().backward()
        state.n += 1
        for group in optimizer.param_groups:
            group["lr"] = 0.1 * np.min([state.n**-0.5, state.n * 0.3])
        optimizer.step()

    expected = 1.0
    for n in range(1, 12):
        step(tracer.ones(2))
        expected -= 0.1 * min(n**-0.5, n * 0.3)
    assert w[0].item() == pytest.approx(expected, rel=1e-5)
    assert step.cache_info().recordings <= 4


def test_gradients_are_detached_and_set_to_zero():
    layer = tracer.nn.Linear(4, 3)
    optimizer = tracer.optim.SGD(layer.parameters(), lr=0.1)

    @tracer.trace
    def step(x):
        for p in layer.parameters():
            if p.grad is not None:
                p.grad.detach_()
                p.grad.zero_()
        loss = layer(x).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    losses = [step(tracer.ones(2, 4)).item() for _ in range(8)]
    assert losses == sorted(losses, reverse=True)
    assert step.cache_info().replays >= 5


def test_logged_tensors_in_numeric_formats(caplog):
    log = logging.getLogger("test_trace_hidden_state.formats")

    @tracer.trace
    def f(x):
        log.warning("loss %.2f, %s, %d", x.sum(), x.sum(), x.sum())
        return x

    for k in range(3):
        f(ONE * 1.5 * k)
    assert [r.getMessage() for r in caplog.records] == [
        "loss 0.00, tensor(0.), 0",
        "loss 1.50, tensor(1.5000), 1",
        "loss 3.00, tensor(3.), 3",
    ]
    assert f.cache_info().replays == 2


def test_partial_functions_are_called_with_their_arguments():
    scaled = functools.partial(lambda x, k: x * k, k=3)
    f = tracer.trace(lambda x: scaled(x))
    assert [f(ONE).item() for _ in range(3)] == [3, 3, 3]


@pytest.mark.parametrize("as_array", [False, True])
def test_an_assignment_found_by_scipy(as_array):
    from scipy.optimize import linear_sum_assignment

    w = tracer.nn.Parameter(tracer.eye(3))

    def loss(x, targets):
        p = x @ w
        with tracer.no_grad():
            cost = tracer.cdist(p, targets)
            rows, columns = linear_sum_assignment(cost.numpy() if as_array else cost)
        assert len(rows) == 2
        return (p[tracer.as_tensor(rows)] - targets[tracer.as_tensor(columns)]).abs().sum()

    traced = tracer.trace(loss)
    rng = np.random.default_rng(0)
    for _ in range(5):
        args = (
            tracer.from_numpy(rng.standard_normal((4, 3), np.float32)),
            tracer.from_numpy(rng.standard_normal((2, 3), np.float32)),
        )
        assert traced(*args).item() == pytest.approx(loss(*args).item(), rel=1e-5)
    assert traced.cache_info().recordings <= 2
    for _ in range(2):
        with pytest.raises(ValueError, match="invalid numeric"):
            traced(tracer.full((4, 3), float("nan")), tracer.zeros(2, 3))


# C code that takes no dynamic numbers or arrays: what the run has changed is taken back, and it runs eagerly.


def test_an_array_whose_memory_c_code_reads():
    f = tracer.trace(lambda a: tracer.tensor(float(len(b"".join([a])))))
    assert [f(np.zeros(3, np.uint8)).item() for _ in range(3)] == [3, 3, 3]
    assert "bytes-like" in f.explain()


@pytest.mark.parametrize(
    "use", [lambda n: int.bit_length(n), lambda n: pow(n, 2, 5), lambda n: len(collections.deque([1, 2], maxlen=n))]
)
def test_a_number_that_c_code_does_not_take(use):
    calls = types.SimpleNamespace(count=0, last=None)

    @tracer.trace
    def f(x):
        calls.count += 1
        n = int(x.sum().item())
        calls.last = n
        return x * use(n)

    for k in range(1, 4):
        assert f(ONE * k).item() == k * use(k)
        assert (calls.count, calls.last) == (k, k)


def test_an_error_of_the_function_is_raised_once():
    raised = types.SimpleNamespace(count=0)

    @tracer.trace
    def f(x, scale):
        raised.count += 1
        return x * scale + "no"

    for k in range(1, 4):
        with pytest.raises(TypeError):
            f(ONE, 1.0 + k)
        assert raised.count == k
