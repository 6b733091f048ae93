"""Runs the plan of a program in Python: kernels are executed as the Python that their text is, in any order of iterations.

So the memory plan and the order of reads and writes are tested without a compiler, in milliseconds.
"""

from __future__ import annotations

import random

import numpy as np

from tracer.runtime.programs.plan import Plan


class Buffer:
    """An array of a kernel: elements in a common memory, from an address."""

    def __init__(self, memory, address, dtype):
        self.elements = memory.view(dtype)
        self.start, rest = divmod(address, self.elements.itemsize)
        assert rest == 0

    def at(self, offset):
        assert self.start + offset >= 0
        return self.start + offset


def run(plan: Plan, arrays, seed: int | None = None):
    """The outputs of a plan for integers. ``seed``: the iterations of each loop in a random order; None: in order.

    Inputs that are not updated must be unchanged at the end.
    """
    generator = random.Random(seed)
    sizes = [*(t.nbytes for t in plan.inputs), *(plan.outputs[k].nbytes for k in plan.results)]
    bases, end = {}, 64
    for name, size in [
        *enumerate(sizes),
        ("arena", plan.arena),
        ("constants", len(plan.constants)),
        ("status", 16 * len(plan.steps)),
    ]:
        bases[name] = end
        end += -(-size // 64) * 64 + 64
    memory = np.full(end, 0xA5, np.uint8)

    def array(slot, t):
        return memory[bases[slot] : bases[slot] + t.nbytes].view(t.dtype.numpy).reshape(t.shape)

    for i, (a, t) in enumerate(zip(arrays, plan.inputs, strict=True)):
        array(i, t)[...] = a
    memory[bases["constants"] : bases["constants"] + len(plan.constants)] = np.frombuffer(plan.constants, np.uint8)
    words = list(plan.words)
    for base, places in plan.relocations.items():
        for place in places:
            words[place] += bases[base]
    for place, slot, further in plan.patches:
        words[place] = bases[slot] + further

    def iterations(start, stop):
        order = list(range(start, stop))
        if seed is not None:
            generator.shuffle(order)
        return order

    def store(p, offset, value):
        p.elements[p.at(offset)] = value

    names = {"range": iterations, "store": store, "load": lambda p, offset: p.elements[p.at(offset)]}
    names |= {"minimum": min, "maximum": max}
    names |= {"i64": np.int64, "bool": np.bool_, "accumulate": lambda a, b: a + b}
    names |= {
        f"buffer_{short}": lambda args, k, n, dtype=dtype: Buffer(memory, args[k], dtype)
        for short, dtype in {"i64": np.int64, "f64": np.float64, "bool": np.bool_}.items()
    }
    kernels = {}
    for number, start in zip(plan.steps, plan.starts, strict=True):
        kind = plan.kinds[number]
        if kind.source not in kernels:
            scope = dict(names)
            exec(kind.source, scope)
            kernels[kind.source] = scope["kernel"]
        kernels[kind.source](words[start:], 0, kind.domain)
    for i, (a, t) in enumerate(zip(arrays, plan.inputs, strict=True)):
        if i not in plan.updates.values():
            np.testing.assert_array_equal(array(i, t), a, err_msg=f"input {i} was written")
    slots = {k: len(plan.inputs) + j for j, k in enumerate(plan.results)} | plan.updates
    return [array(slots[k], t).copy() for k, t in enumerate(plan.outputs)]
