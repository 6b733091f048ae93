"""GPU plans, run without a GPU: kernels as emulated PTX, all other steps by the CPU's program.

After each kernel its results are compared with those of the CPU's kernel on the same operands, and replaced by them, so
that differences do not accumulate.
"""

import functools
import itertools

import numpy as np

from tracer.ir import pipeline
from tracer.ir.graph import Builder
from tracer.ir.interp import evaluate
from tracer.ir.parse import parse_graph
from tracer.ir.primitive import Kind
from tracer.runtime import emulator as ptx
from tracer.runtime.compiler.numba_cuda import ptx as ptx_of
from tracer.runtime.programs.layout import Layout, lay_out
from tracer.runtime.programs.program import Program
from tracer.runtime.programs.sharing import changed

BLOCKS = 64  # maximum per launch; grid loops support any number


@functools.lru_cache(maxsize=512)
def read(text):
    """Parsed PTX."""
    return ptx.Kernel(text)


@functools.lru_cache(maxsize=512)
def compiled(source, threads):
    """A kernel's PTX."""
    return ptx_of(source, threads)


class Emulated:
    """A graph as a program for a GPU.

    ``change`` is applied to each kernel's PTX. ``launches`` counts emulated kernels, ``exact`` those bitwise equal to the
    CPU's. ``worst`` is the maximum difference of the others, per reduction of a kernel, in units of the last place of the
    largest element.
    """

    def __init__(self, graph, change=lambda text: text, passes=pipeline.COMPILE_FOR_GRIDS):
        self.layout = Layout(pipeline.run(graph, passes), "cuda")
        self.layout.write()
        self.plan, self.change = self.layout.plan, change
        self.launches = self.exact = 0
        self.worst = 0.0

    def __call__(self, *arrays):
        plan, layout = self.plan, self.layout
        slots = [np.array(a, dtype=t.dtype.numpy, order="C") for a, t in zip(arrays, plan.inputs, strict=True)]
        slots += [_unwritten(plan.outputs[k]) for k in plan.results]
        memory = {"arena": np.full(plan.arena, 255, np.uint8), "constants": np.frombuffer(plan.constants, np.uint8).copy()}

        def view(v):
            base, where, offset = layout.place(v)
            whole = slots[where].reshape(-1).view(np.uint8) if base == "slot" else memory[base][where:]
            return whole[offset : offset + v.type.nbytes].view(v.type.dtype.numpy).reshape(v.shape)

        self.status = np.zeros((max(len(layout.steps), 1), 2), np.int64)
        for i, step in enumerate(layout.steps):
            kind, views = plan.kinds[step.kind], [view(v) for v in step.arrays]
            if not kind.source:
                n = len(step.op.operands)
                _copy(Program(lay_out(parse_graph(kind.fallback)))(*views[:n]), views[n:])
                continue
            operands = [view(v).copy() for v in step.op.operands]
            shared = len(operands) if changed(step.op) else 0
            *results, self.status[i] = self._launch(kind, step.kernel, [*views, self.status[i]], shared)
            _copy(results, views)
            if self.status[i, 0]:
                return None
            if i + 1 == len(layout.steps) or layout.steps[i + 1].op is not step.op:
                self._compare(step.op, operands, [view(v) for v in step.op.results])
        fresh = iter(slots[len(plan.inputs) :])
        return tuple(slots[plan.updates[k]] if k in plan.updates else next(fresh) for k in range(len(plan.outputs)))

    def _launch(self, kind, kernel, views, shared):
        """``shared``: this many arrays may be the memory of arrays in which the kernel writes slices."""
        self.launches += 1
        for (i, a), (_, b) in itertools.combinations(enumerate(views), 2):
            same = i < shared and a.ctypes.data == b.ctypes.data and a.nbytes == b.nbytes
            assert same or not np.shares_memory(a, b), f"{kind.name}: arrays overlap"
        blocks, threads = kind.launch
        text = self.change(compiled(kind.source, threads))
        padded = {a.ctypes.data: _padded(a) for a in views}
        arrays = [padded[a.ctypes.data] for a in views]
        results = ptx.launch(read(text), [*arrays, *kernel.values, 0, kind.domain], min(blocks, BLOCKS), threads)
        return [r[: v.nbytes].view(v.dtype).reshape(v.shape) for r, v in zip(results, views, strict=False)]

    def _compare(self, op, operands, results):
        graph = _alone(op)
        expected = Program(lay_out(graph))(*operands)
        if all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in zip(results, expected, strict=True)):
            self.exact += 1
            return
        name = op.primitive.name if "body" not in op.attrs else str(op.attrs["body"])
        sums = _reductions(op)
        assert sums, f"other bits than the CPU's, and no reduction is reordered:\n{name}"
        eps = _least_exact(op)
        for a, b, c in zip(results, expected, evaluate(graph, *operands), strict=True):
            # The CPU's sums may be less accurate: NumPy's pairwise sums are accepted too.
            found = min(_difference(a, b, operands, name, eps), _difference(a, c, operands, name, eps))
            self.worst = max(self.worst, found / sums)
        _copy(expected, results)


def _alone(op):
    builder = Builder("alone")
    inputs = [builder.input(v.type) for v in op.operands]
    return builder.finish(builder.add(op.primitive, inputs, op.attrs, [v.type for v in op.results]))


def _reductions(op):
    """The number of an operation's reductions whose terms may be added in another order."""
    body = op.attrs.get("body")
    return 0 if body is None else sum(o.primitive.kind is Kind.REDUCTION for o in body.ops)


def _least_exact(op):
    """The relative spacing of numbers in the narrowest floating dtype that an operation computes in."""
    values = [*op.operands, *op.results, *(o.result for o in op.attrs["body"].ops)]
    return max(float(np.finfo(v.type.dtype.numpy).eps) for v in values if v.type.dtype.kind == "f")


def _difference(a, b, operands, name, eps):
    """The maximum difference of two arrays, in units of the last place of the largest element, including operands."""
    if a.dtype.kind != "f":
        np.testing.assert_array_equal(a, b, name)
        return 0.0
    np.testing.assert_array_equal(np.isnan(a), np.isnan(b), name)
    finite = np.isfinite(b)
    np.testing.assert_array_equal(a[~finite], b[~finite], name)
    if not finite.any():
        return 0.0
    like = [x[np.isfinite(x)] for x in (b, *operands) if x.dtype == a.dtype]
    largest = max([float(np.max(np.abs(x))) for x in like if x.size] + [float(np.finfo(a.dtype).tiny)])
    return float(np.max(np.abs(a[finite] - b[finite]))) / largest / eps


def assert_alike(found, expected):
    """Asserts that a program's results equal those of the CPU's program, except for reordered sums."""
    for a, b in zip(found, expected, strict=True):
        if b.dtype.kind == "f":
            finite = np.isfinite(b)
            np.testing.assert_array_equal(a[~finite], b[~finite])
            np.testing.assert_allclose(a[finite], b[finite], rtol=0, atol=1e-4 * np.max(np.abs(b[finite]), initial=0))
        else:
            np.testing.assert_array_equal(a, b)


def _unwritten(t):
    """Memory filled with ones, so that unwritten results and early reads are detected."""
    return np.full(t.nbytes, 255, np.uint8).view(t.dtype.numpy).reshape(t.shape)


def _copy(values, views):
    for view, value in zip(views, values, strict=False):
        np.copyto(view, value)


def _padded(array):
    """The bytes of an array, padded with ones to a multiple of 16: NVVM may load a whole vector for a part of it."""
    data = np.full(-(-array.nbytes // 16) * 16, 255, np.uint8)
    data[: array.nbytes] = array.reshape(-1).view(np.uint8)
    return data
