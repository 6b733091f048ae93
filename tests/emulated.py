"""Plans for a GPU, run without one: kernels as emulated PTX, all other steps by the CPU's program."""

import functools

import numpy as np
import ptx

from tracer.ir.parse import parse_graph
from tracer.runtime.layout import Layout, lay_out
from tracer.runtime.program import Program


@functools.lru_cache(maxsize=256)
def compiled(source, threads):
    """The kernel as PTX that the emulator has read."""
    from tracer.runtime.numba_cuda import ptx as made

    return ptx.Kernel(made(source, threads))


class Emulated:
    """A fused graph as a program for a GPU. ``launches`` counts emulated kernels."""

    def __init__(self, graph, change=lambda text: text):
        self.layout = Layout(graph, "cuda")
        self.layout.write()
        self.plan = self.layout.plan
        self.change = change
        self.launches = 0

    def __call__(self, *arrays):
        plan, layout = self.plan, self.layout
        slots = [np.array(a, dtype=t.dtype.numpy, order="C") for a, t in zip(arrays, plan.inputs, strict=True)]
        slots += [np.zeros(plan.outputs[k].shape, plan.outputs[k].dtype.numpy) for k in plan.results]
        arena = np.zeros(plan.arena, np.uint8)
        constants = np.frombuffer(plan.constants, np.uint8).copy()

        def memory(v):
            base, where, offset = layout.place(v)
            whole = slots[where].reshape(-1).view(np.uint8) if base == "slot" else (arena if base == "arena" else constants)
            start = offset if base == "slot" else where + offset
            t = v.type
            return whole[start : start + t.nbytes].view(t.dtype.numpy).reshape(t.shape)

        self.status = np.zeros((max(len(layout.steps), 1), 2), np.int64)
        for i, step in enumerate(layout.steps):
            kind = plan.kinds[step.kind]
            views = [memory(v) for v in step.arrays]
            if not kind.source:
                self._interpret(parse_graph(kind.fallback), views)
                continue
            results = self._launch(kind, step.kernel, views, self.status[i])
            for view, result in zip(views, results, strict=False):
                np.copyto(view, result)
            np.copyto(self.status[i], results[len(views)])
        fresh = iter(slots[len(plan.inputs) :])
        return tuple(slots[plan.updates[k]] if k in plan.updates else next(fresh) for k in range(len(plan.outputs)))

    def _launch(self, kind, kernel, views, status):
        self.launches += 1
        blocks, threads = kind.launch
        arguments = [*map(_padded, [*views, status]), *kernel.values, 0, kind.domain]
        results = ptx.launch(compiled(kind.source, threads), arguments, min(blocks, 64), threads)
        return [r[: v.nbytes].view(v.dtype).reshape(v.shape) for r, v in zip(results, [*views, status], strict=False)]

    @staticmethod
    def _interpret(graph, views):
        """By the CPU's program: products then have its bits."""
        n = len(graph.inputs)
        for view, value in zip(views[n:], Program(lay_out(graph))(*views[:n]), strict=True):
            np.copyto(view, value)


def _padded(array):
    """The bytes of an array, and ones up to a multiple of 16: NVVM may load a vector where only a part of it is used."""
    data = np.full(-(-array.nbytes // 16) * 16, 255, np.uint8)
    data[: array.nbytes] = array.reshape(-1).view(np.uint8)
    return data
