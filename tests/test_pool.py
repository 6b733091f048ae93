"""The allocator of a device's memory, by itself: against a model, with threads."""

import threading

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from tracer.runtime.devices.pool import Pool

TOTAL = 16 * 512  # bytes of the driver


class Driver:
    """Memory that is reserved and released; no address is given twice at a time."""

    def __init__(self, total=TOTAL):
        self.total, self.reserved, self.next = total, {}, 1 << 20

    def reserve(self, nbytes):
        if sum(self.reserved.values()) + nbytes > self.total:
            raise MemoryError
        self.next += nbytes
        self.reserved[self.next] = nbytes
        return self.next

    def release(self, address, nbytes):
        assert self.reserved.pop(address) == nbytes


class Model(RuleBasedStateMachine):
    """Allocations are disjoint, keep to their streams, and wait for the events of other streams."""

    arrays = Bundle("arrays")

    def __init__(self):
        super().__init__()
        self.driver, self.happened = Driver(), set()
        self.pool = Pool(self.driver.reserve, self.driver.release, self.happened.__contains__)
        self.live, self.stream_of, self.waits = {}, {}, {}
        self.events = 0

    @rule(target=arrays, nbytes=st.integers(0, 1100), stream=st.integers(0, 2))
    def allocate(self, nbytes, stream):
        try:
            address = self.pool.allocate(nbytes, stream)
        except MemoryError:
            size = -(-max(nbytes, 1) // 512) * 512
            assert sum(self.driver.reserved.values()) + size > TOTAL
            return None
        assert address in self.driver.reserved and address not in self.live
        assert nbytes <= self.driver.reserved[address]
        assert self.stream_of.setdefault(address, stream) == stream
        assert self.waits.pop(address, set()) <= self.happened
        self.live[address] = self.driver.reserved[address]
        return address, nbytes, stream

    @rule(array=consumes(arrays), others=st.integers(0, 2))
    def free(self, array, others):
        if array is None:
            return
        address, nbytes, stream = array
        events = list(range(self.events, self.events + others))
        self.events += others
        del self.live[address]
        self.waits[address] = set(events)
        self.pool.free(address, nbytes, stream, events)

    @rule(which=st.randoms(use_true_random=False))
    def happen(self, which):
        if self.events:
            self.happened.add(which.randrange(self.events))

    @rule()
    def empty(self):
        self.pool.empty()
        waiting = {a for a, events in self.waits.items() if not events <= self.happened}
        assert set(self.driver.reserved) == set(self.live) | waiting
        for address in set(self.stream_of) - set(self.driver.reserved):
            del self.stream_of[address]
            self.waits.pop(address, None)

    @invariant()
    def counts(self):
        assert self.pool.allocated == sum(self.live.values()) <= self.pool.most_allocated
        assert self.pool.reserved == sum(self.driver.reserved.values()) <= self.pool.most_reserved <= TOTAL


Model.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
test_model = Model.TestCase


def test_threads():
    """No memory is given to two threads at a time, and nothing is lost."""
    driver, lock, owners, wrong = Driver(1 << 30), threading.Lock(), {}, []
    pool = Pool(driver.reserve, driver.release, lambda event: True)

    def work(name):
        for i in range(400):
            address = pool.allocate(512 * (1 + i % 3), i % 2)
            with lock:
                wrong.extend([name] if address in owners else [])
                owners[address] = name
            if i % 50 == 0:
                pool.empty()
            with lock:
                del owners[address]
            pool.free(address, 512 * (1 + i % 3), i % 2, ["an event"] if i % 5 == 0 else [])

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pool.empty()
    assert not wrong and not driver.reserved and pool.allocated == pool.reserved == 0


def test_a_failed_allocation_changes_no_number():
    driver = Driver()
    pool = Pool(driver.reserve, driver.release, lambda event: True)
    addresses = [pool.allocate(512), pool.allocate(1024)]
    pool.free(addresses[0], 512)
    with pytest.raises(MemoryError):
        pool.allocate(TOTAL)
    pool.empty()
    assert pool.reserved == pool.allocated == 1024 and list(driver.reserved) == [addresses[1]]
