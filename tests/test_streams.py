"""Streams, events, graphs, page-locked memory: on the emulated device, which refuses what nothing orders."""

import gc
import threading

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="needs the extra 'cuda'")

from hypothesis import given
from hypothesis import strategies as st
from marks import needs_two, only_emulated

import tracer
from tracer import nn
from tracer.nn import functional as F
from tracer.runtime import emulator
from tracer.runtime.devices import program
from tracer.runtime.devices.emulated import EmulatedCuda, EmulatedGraph
from tracer.runtime.emulator import Unordered
from tracer.runtime.programs.dependencies import Access, predecessors

pytestmark = [
    pytest.mark.usefixtures("cuda"),
    pytest.mark.filterwarnings("error:(?s).*runs eagerly", "ignore:(?s).*has no kernel for this device"),
]
races = only_emulated("a GPU does not report races")


# Which steps follow which.


def conflict(a, b):
    return any(x.memory == y.memory and (x.written or y.written) and x.low < y.high and y.low < x.high for x in a for y in b)


ACCESSES = st.builds(
    lambda memory, low, length, written: Access(memory, low, low + length, written),
    st.sampled_from("ab"),
    st.integers(0, 6),
    st.integers(1, 4),
    st.booleans(),
)


@given(st.lists(st.lists(ACCESSES, max_size=3), max_size=8))
def test_predecessors(steps):
    found = predecessors(steps)
    reached = []
    for i, before in enumerate(found):
        assert all(j < i and conflict(steps[i], steps[j]) for j in before)
        reached.append({k for j in before for k in (j, *reached[j])})
        assert all(j in reached[i] for j in range(i) if conflict(steps[i], steps[j]))
        for j in before:  # no edge is implied by the others
            assert all(j not in reached[other] for other in before if other != j)


# The order of work.


def bytes_of(*places, size=8):
    mask = np.zeros(size, bool)
    mask[list(places)] = True
    return mask


NOTHING = bytes_of()


def test_the_order_of_work():
    order = emulator.Order()
    a = order.start(1, "a kernel")
    order.access(a, 100, NOTHING, bytes_of(0, 1))
    order.access(order.start(2, "a kernel"), 102, bytes_of(0), NOTHING)  # other bytes
    with pytest.raises(Unordered, match=r"a copy in stream 2 accesses memory that a kernel in stream 1 accesses"):
        order.access(order.start(2, "a copy"), 101, bytes_of(0), NOTHING)
    order.wait(2, order.clock(1))
    order.access(order.start(2, "a copy"), 101, bytes_of(0), NOTHING)
    order.access(order.start(3, "a copy"), 107, bytes_of(0), NOTHING)
    with pytest.raises(Unordered):  # it is read by stream 2
        order.access(order.start(1, "a kernel"), 101, NOTHING, bytes_of(0))
    order.synchronize()
    order.access(order.start(3, "a kernel"), 100, NOTHING, bytes_of(0, 1, 2))
    assert not order.happened(order.clock(3))
    order.wait(emulator.HOST, order.clock(3))
    assert order.happened(order.clock(3))


def test_an_event_orders_what_came_before_it_only():
    order = emulator.Order()
    order.access(order.start(1, "a kernel"), 0, NOTHING, bytes_of(0))
    event = order.clock(1)
    order.access(order.start(1, "a kernel"), 0, NOTHING, bytes_of(1))
    order.wait(2, event)
    order.access(order.start(2, "a kernel"), 0, bytes_of(0), NOTHING)
    with pytest.raises(Unordered):
        order.access(order.start(2, "a kernel"), 0, bytes_of(1), NOTHING)


def test_order_through_a_third_stream():
    order = emulator.Order()
    order.access(order.start(1, "a kernel"), 0, NOTHING, bytes_of(0))
    order.wait(2, order.clock(1))
    order.start(2, "a kernel")
    order.wait(3, order.clock(2))
    order.access(order.start(3, "a kernel"), 0, NOTHING, bytes_of(0))


# Streams.


def test_streams_with_events():
    a, b = tracer.cuda.Stream(), tracer.cuda.Stream()
    x = tracer.ones(3, device="cuda")
    a.wait_stream(tracer.cuda.current_stream())
    with tracer.cuda.stream(a):
        assert tracer.cuda.current_stream() == a != b
        y = x * 2
        done = a.record_event()
    with tracer.cuda.stream(b):
        done.wait()
        z = y + 1
    tracer.cuda.current_stream().wait_stream(b)
    assert (z * 1).tolist() == [3, 3, 3] and tracer.cuda.current_stream() == tracer.cuda.default_stream()
    b.synchronize()
    assert b.query() and done.query()


def test_each_thread_has_its_stream():
    mine, seen = tracer.cuda.Stream(), {}

    def work():
        seen["before"] = tracer.cuda.current_stream()
        other = tracer.cuda.Stream()
        with tracer.cuda.stream(other):
            x = tracer.arange(1000, device="cuda") * 2
            seen["own"] = tracer.cuda.current_stream() == other
        done = other.record_event()
        done.synchronize()
        seen["x"] = x

    with tracer.cuda.stream(mine):
        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert tracer.cuda.current_stream() == mine
    assert seen["before"] == tracer.cuda.default_stream() and seen["own"]
    assert (seen["x"] + 1).sum().item() == 1000 * 1000


def test_a_stream_waits_for_an_event():
    a, b, done = tracer.cuda.Stream(), tracer.cuda.Stream(), tracer.cuda.Event()
    b.wait_event(done)  # not recorded: no effect
    with tracer.cuda.stream(a):
        x = tracer.ones(5, device="cuda") * 3
        done.record()
    b.wait_event(done)
    with tracer.cuda.stream(b):
        y = x + 1
    b.synchronize()
    assert y.tolist() == [4] * 5


@needs_two
def test_the_streams_of_two_devices():
    first, second = tracer.cuda.Stream("cuda:0"), tracer.cuda.Stream("cuda:1")
    assert first != second and second.device == tracer.device("cuda:1")
    with tracer.cuda.stream(second):
        assert tracer.cuda.current_device() == 1 and tracer.cuda.current_stream() == second
        assert tracer.cuda.current_stream(0) == tracer.cuda.default_stream(0)
        x = tracer.ones(4, device="cuda") * 2
    assert tracer.cuda.current_device() == 0 and x.device == tracer.device("cuda:1")
    done = second.record_event()
    first.wait_event(done)
    done.synchronize()
    assert x.to("cuda:0").tolist() == [2] * 4


def test_the_accelerator():
    """``tracer.accelerator`` names the same devices and streams as ``tracer.cuda``."""
    accelerator, cuda = tracer.accelerator, tracer.cuda
    assert accelerator.is_available() and accelerator.device_count() == cuda.device_count()
    assert accelerator.current_accelerator() == tracer.device("cuda") and accelerator.current_device_index() == 0
    stream = cuda.Stream()
    accelerator.set_stream(stream)
    try:
        assert accelerator.current_stream() == cuda.current_stream() == stream
        x = tracer.ones(3, device=accelerator.current_accelerator()) + 1
        accelerator.synchronize()
        assert x.tolist() == [2] * 3
    finally:
        accelerator.set_stream(cuda.default_stream())
    accelerator.empty_cache()
    last = accelerator.device_count() - 1
    accelerator.set_device_index(last)
    try:
        assert accelerator.current_device_index() == cuda.current_device() == last
    finally:
        accelerator.set_device_index(0)
    with pytest.raises(RuntimeError, match="invalid device ordinal"):
        accelerator.set_device_index(last + 1)


def test_times():
    start, end = (tracer.cuda.Event(enable_timing=True) for _ in range(2))
    with pytest.raises(RuntimeError, match="must be recorded"):
        start.elapsed_time(end)
    side = tracer.cuda.Stream()
    with tracer.cuda.stream(side):
        start.record()
        x = tracer.ones(3, device="cuda") * 2
        end.record()
    end.synchronize()
    assert start.elapsed_time(end) > 0 and end.query() and x.is_cuda
    with pytest.raises(RuntimeError, match="enable_timing"):
        tracer.cuda.Event().elapsed_time(end)
    late = tracer.cuda.Event(enable_timing=True)
    assert late.query()  # not recorded: nothing to wait for
    late.wait()
    late.synchronize()


@races
def test_the_time_of_work_that_has_not_finished():
    events = [tracer.cuda.Event(enable_timing=True) for _ in range(2)]
    x = tracer.ones(3, device="cuda")
    for event in events:
        x = x * 2
        event.record()
    with pytest.raises(RuntimeError, match="must be completed"):
        events[0].elapsed_time(events[1])


@races
@pytest.mark.parametrize("missing", ["event", "host"])
def test_a_missing_synchronisation_is_caught(missing):
    x = tracer.ones(3, device="cuda")
    tracer.cuda.synchronize()
    with tracer.cuda.stream(tracer.cuda.Stream()):
        y = x * 2
    with pytest.raises(Unordered):
        y + 1 if missing == "event" else y.tolist()
    tracer.cuda.synchronize()
    assert (y + 1).tolist() == [3, 3, 3]


def uses_freed(note):
    """Memory of one stream that work in another one reads is deleted, and the first stream allocates."""
    other = tracer.cuda.Stream()
    x = tracer.ones(1000, device="cuda") * 1
    other.wait_stream(tracer.cuda.current_stream())
    with tracer.cuda.stream(other):
        y = x * 2
        if note:
            x.record_stream(other)
    where = x.data_ptr()
    del x
    z = tracer.zeros(1000, device="cuda") + 5
    return other, y, z, where


@races
def test_early_reuse_is_caught():
    with pytest.raises(Unordered):
        uses_freed(note=False)
    tracer.cuda.synchronize()


def test_memory_that_other_streams_use_is_kept():
    other, y, z, where = uses_freed(note=True)
    assert z.data_ptr() != where
    other.synchronize()
    tracer.cuda.synchronize()
    assert y.sum().item() == 2000 and z.sum().item() == 5000
    later = [tracer.ones(1000, device="cuda") for _ in range(3)]
    assert where in {x.data_ptr() for x in later}  # it was given back afterwards
    with pytest.raises(RuntimeError, match="on a CUDA device"):
        tracer.ones(2).record_stream(other)


def test_streams_are_given_in_turn():
    streams = [tracer.cuda.Stream() for _ in range(40)]
    assert len(set(streams)) == 32 and streams[0] == streams[32]
    assert tracer.cuda.Stream(priority=-1) not in streams
    tracer.cuda.set_stream(streams[1])
    assert tracer.cuda.current_stream() == streams[1]
    tracer.cuda.set_stream(tracer.cuda.default_stream())


def test_a_function_that_uses_streams_runs_eagerly():
    side = tracer.cuda.Stream()

    def f(x):
        side.wait_stream(tracer.cuda.current_stream())
        with tracer.cuda.stream(side):
            y = x * 2
        tracer.cuda.current_stream().wait_stream(side)
        return y + 1

    traced, x = tracer.trace(f), tracer.ones(3, device="cuda")
    with pytest.warns(match="uses a stream"):
        assert traced(x).tolist() == [3, 3, 3]
    assert traced(x).tolist() == [3, 3, 3]


def test_a_traced_function_in_a_stream():
    f, side = tracer.trace(lambda x, w: ((x @ w).relu() * 2).sum(-1)), tracer.cuda.Stream()
    x, w = tracer.randn(4, 5, device="cuda"), tracer.randn(5, 6, device="cuda")
    expected = ((x @ w).relu() * 2).sum(-1).tolist()
    for k in range(6):
        side.wait_stream(tracer.cuda.current_stream())
        with tracer.cuda.stream(side if k % 2 else None):
            y = f(x, w)
        tracer.cuda.current_stream().wait_stream(side)
        np.testing.assert_allclose(y.tolist(), expected, rtol=1e-6)
    assert f.cache_info().replays == 5


# Graphs.


def network():
    tracer.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.LayerNorm(16), nn.Linear(16, 4)).cuda()
    optimizer = tracer.optim.Adam(model.parameters(), 1e-2)

    @tracer.trace
    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    data = [(tracer.randn(6, 8).cuda(), tracer.randint(0, 4, (6,)).cuda()) for _ in range(4)]
    return lambda: [step(x, y).item() for x, y in data]


@pytest.fixture
def graphs(monkeypatch):
    """The graphs that are made, and the edges that were left out of them: graphs' numbers, and pairs of steps."""
    made, without = [], []
    original = EmulatedCuda.graph

    def graph(self, tasks, spans, after):
        after = [[j for j in before if (len(made), i, j) not in without] for i, before in enumerate(after)]
        made.append((original(self, tasks, spans, after), after))
        return made[-1][0]

    monkeypatch.setattr(EmulatedCuda, "graph", graph)
    return made, without


@races
def test_every_edge_of_a_graph_is_needed(graphs):
    made, without = graphs
    expected = network()()
    pairs = [(k, i, j) for k, (_, edges) in enumerate(made) for i, before in enumerate(edges) for j in before]
    assert len(pairs) >= 10
    for pair in pairs:
        made.clear()
        without[:] = [pair]
        with pytest.raises(Unordered):
            network()()
        tracer.cuda.synchronize()
        gc.collect()
    without.clear()
    np.testing.assert_allclose(network()(), expected)


def test_steps_that_are_independent_are_not_ordered(graphs):
    f = tracer.trace(lambda a, b, w: (a @ w, b @ w))
    a, b, w = (tracer.randn(4, 4, device="cuda") for _ in range(3))
    for _ in range(3):
        f(a, b, w)
    if graphs[0]:  # on the emulated device
        ((_, edges),) = graphs[0]
        assert edges == [[], []]


@races
def test_a_stale_argument_is_caught(graphs, monkeypatch):
    f = tracer.trace(lambda x, w: (x @ w) + 1)
    x, w = tracer.randn(4, 4, device="cuda"), tracer.randn(4, 4, device="cuda")
    kept = [f(x, w) for _ in range(3)]
    bind = EmulatedGraph.bind
    monkeypatch.setattr(EmulatedGraph, "bind", lambda self, words: None if self.bound is not None else bind(self, words))
    with pytest.raises(RuntimeError, match="arguments of an earlier call"):
        f(x, w)
    assert len(kept) == 3 and graphs[0]


def test_results_are_not_overwritten():
    f = tracer.trace(lambda x: ((x * 2) @ x, x.sum(0)))
    given, kept = [tracer.randn(4, 4, device="cuda") for _ in range(5)], []
    for x in given:
        kept.append(f(x))
        f(given[0])  # its results are free at once
    for x, (product, total) in zip(given, kept, strict=True):
        np.testing.assert_allclose(product.tolist(), ((x * 2) @ x).tolist(), rtol=1e-5)
        np.testing.assert_allclose(total.tolist(), x.sum(0).tolist(), rtol=1e-5)
    assert f.cache_info().replays == 9


def test_a_graph_is_made_in_the_second_run(graphs):
    f = tracer.trace(lambda x, w: F.softmax(x @ w, -1))
    x, w = tracer.randn(4, 4, device="cuda"), tracer.randn(4, 4, device="cuda")
    runs = []
    for _ in range(4):
        f(x, w)
        runs.append(len(graphs[0]))
    assert runs in ([0, 0, 1, 1], [0, 0, 0, 0])  # recorded, run, run as a graph; a real GPU has its own


def test_steps_on_the_host_divide_a_program():
    f = tracer.trace(lambda x: tracer.argsort(x * 2, descending=True) + 1)
    x = tracer.randn(3, 9, device="cuda")
    expected = (x.cpu().argsort(descending=True) + 1).tolist()
    for _ in range(4):
        assert f(x).tolist() == expected
    kinds = {type(part).__name__ for program_ in programs() for part in (*program_._checked, *program_._then)}
    assert kinds == {"_OnDevice", "_OnHost"}


def programs():
    return [x for x in gc.get_objects() if isinstance(x, program.DeviceProgram)]


# Page-locked memory.


def test_pinned_memory():
    x = tracer.arange(6.0).view(2, 3)
    y = x.pin_memory()
    assert y.is_pinned() and not x.is_pinned() and y.tolist() == x.tolist() and y.pin_memory() is y and y[1:].is_pinned()
    assert tracer.ones(3, pin_memory=True).is_pinned() and not (y + 1).is_pinned()
    with pytest.raises(RuntimeError, match=r"cannot pin 'torch\.cuda\.FloatTensor'|cannot pin .*cuda"):
        x.cuda().pin_memory()
    w = x.clone().requires_grad_()
    (w.pin_memory() * 2).sum().backward()
    assert w.grad.tolist() == [[2] * 3] * 2


def test_copies_that_are_not_waited_for():
    x = tracer.arange(6.0).pin_memory()
    y = x.to("cuda", non_blocking=True)
    z = (y * 2).to("cpu", non_blocking=True)
    assert z.is_pinned()
    tracer.cuda.synchronize()
    assert z.tolist() == (x * 2).tolist()
    out = tracer.zeros(6).pin_memory()
    out.copy_(y, non_blocking=True)
    tracer.cuda.current_stream().synchronize()
    assert out.tolist() == x.tolist() and out.is_pinned()
    back = tracer.zeros(6, device="cuda")
    back.copy_(out, non_blocking=True)
    assert back.tolist() == x.tolist()
    assert tracer.ones(3).cuda(non_blocking=True).tolist() == [1, 1, 1]  # not page-locked: it is waited for


@races
def test_what_a_copy_has_not_brought_is_not_there():
    y = (tracer.arange(6.0, device="cuda") + 1).to("cpu", non_blocking=True)
    assert y.tolist() != [1, 2, 3, 4, 5, 6]
    tracer.cuda.synchronize()
    assert y.tolist() == [1, 2, 3, 4, 5, 6]


@races
def test_memory_changed_before_it_was_copied_is_caught():
    x = tracer.arange(6.0).pin_memory()
    x.to("cuda", non_blocking=True)
    x.add_(1)
    with pytest.raises(RuntimeError, match="was changed before the copy"):
        tracer.cuda.synchronize()


def test_page_locked_memory_is_used_again_after_its_copies(cuda):
    x = tracer.ones(1000).pin_memory()
    where = x.data_ptr()
    y = x.to("cuda", non_blocking=True)
    del x
    if isinstance(cuda, EmulatedCuda):
        assert tracer.zeros(1000).pin_memory().data_ptr() != where
    tracer.cuda.synchronize()
    assert tracer.zeros(1000).pin_memory().data_ptr() == where and y.sum().item() == 1000


def test_batches_in_pinned_memory():
    from tracer.utils.data import DataLoader, TensorDataset

    data = TensorDataset(tracer.arange(6.0).view(6, 1), tracer.arange(6))
    for x, y in DataLoader(data, batch_size=2, pin_memory=True):
        assert x.is_pinned() and y.is_pinned() and x.to("cuda", non_blocking=True).is_cuda
    packed = nn.utils.rnn.pack_sequence([tracer.ones(2), tracer.ones(1)]).pin_memory()
    assert packed.is_pinned() and packed.cuda().is_cuda and packed.cuda().sorted_indices is packed.sorted_indices
