"""Random IR graphs for differential tests: well typed by construction, with small values by construction."""

import numpy as np

from tracer.ir import ops
from tracer.ir.graph import Builder
from tracer.ir.interp import Build, using
from tracer.ir.ops.reduce import kept_axes
from tracer.ir.types import TensorType, bool_, float64, int64

SMOOTH = (ops.tanh, ops.sin, ops.cos, ops.sigmoid, ops.neg, ops.erf, ops.copy, ops.atan)
KINKED = (ops.abs_, ops.relu, ops.sign, ops.floor, ops.round_)
PAIRS = (ops.add, ops.sub, ops.mul)
EXTENTS = (1, 2, 3, 4, 5)


class RandomGraph:
    """Builds a graph operation by operation. ``smooth`` excludes operations that finite differences cannot check."""

    def __init__(self, seed, size, smooth=False, empty=False):
        self.rng = np.random.default_rng(seed)
        self.smooth = smooth
        self.extents = (0, *EXTENTS) if empty else EXTENTS
        self.builder = Builder("f")
        base = tuple(int(n) for n in self.rng.choice(self.extents, self.rng.integers(1, 4)))
        self.values = [self.builder.input(TensorType(float64, base))]
        for _ in range(self.rng.integers(0, 3)):
            shape = tuple(n for n in base if self.rng.random() < 0.7)
            self.values.append(self.builder.input(TensorType(float64, shape)))
        self.index = self.builder.input(TensorType(int64, (4,)))
        moves = [
            self.unary,
            self.binary,
            self.reduce,
            self.broadcast,
            self.reshape,
            self.permute,
            self.slice,
            self.pad,
            self.matmul,
        ]
        moves += [self.flip, self.concatenate, self.select, self.unary, self.binary, self.windows, self.update]
        if not smooth:
            moves += [self.where, self.integers, self.gather]
        with using(Build(self.builder)):
            for _ in range(size):
                v = moves[self.rng.integers(len(moves))]()
                if v is not None and v.type.numel <= 600:
                    self.values.append(v)

    def finish(self):
        """The graph, with some of its latest values and sometimes an input as outputs, and sometimes an update."""
        rng, inputs = self.rng, self.builder.inputs
        chosen = [self.values[-1], *(self.values[rng.integers(len(self.values))] for _ in range(rng.integers(0, 3)))]
        updates = {}
        if not self.smooth:
            for i, v in enumerate(inputs[:-1]):
                fitting = [u for u in self.values if u.type == v.type and u is not v]
                if fitting and rng.random() < 0.6:
                    updates[len(chosen)] = i
                    chosen.append(fitting[rng.integers(len(fitting))])
        return self.builder.finish(chosen, updates)

    def pick(self, rank=0):
        fitting = [v for v in self.values if len(v.shape) >= rank]
        if not fitting:
            return None
        recent = fitting[-4:] if self.rng.random() < 0.6 else fitting
        return recent[self.rng.integers(len(recent))]

    def some(self, items):
        return items[self.rng.integers(len(items))]

    def unary(self):
        return self.some(SMOOTH if self.smooth else SMOOTH + KINKED)(self.pick())

    def fitting(self, v):
        """A value with the shape of ``v``, broadcast if necessary."""
        same = [u for u in self.values if u.shape == v.shape]
        u = self.some(same)
        smaller = [w for w in self.values if len(w.shape) < len(v.shape) and self.axes_into(w, v)]
        if smaller and self.rng.random() < 0.5:
            w = self.some(smaller)
            return ops.broadcast(w, shape=v.shape, axes=self.axes_into(w, v))
        return u

    def axes_into(self, w, v):
        """Axes of ``v`` to which the axes of ``w`` can be mapped, in order; None if there are none."""
        axes, start = [], 0
        for n in w.shape:
            found = next((i for i in range(start, len(v.shape)) if v.shape[i] == n), None)
            if found is None:
                return None
            axes.append(found)
            start = found + 1
        return tuple(axes) if len(axes) == len(w.shape) and axes else None

    def binary(self):
        v = self.pick()
        return self.some(PAIRS)(v, self.fitting(v))

    def reduce(self):
        v = self.pick(1)
        axes = tuple(a for a in range(len(v.shape)) if self.rng.random() < 0.5) if v is not None else ()
        if not axes:
            return None
        kinds = [ops.sum_]
        if not self.smooth and all(v.shape[a] for a in axes):
            kinds += [ops.max_, ops.min_]
        r = ops.tanh(ops.mul(self.some(kinds)(v, axes=axes), 0.3))
        if self.rng.random() < 0.6:  # broadcast back to the domain, as in a softmax
            spread = ops.broadcast(r, shape=v.shape, axes=kept_axes(len(v.shape), axes))
            return self.some(PAIRS)(v, spread)
        return r

    def broadcast(self):
        v = self.pick()
        if len(v.shape) > 3:
            return None
        at = int(self.rng.integers(0, len(v.shape) + 1))
        shape = (*v.shape[:at], int(self.some(EXTENTS)), *v.shape[at:])
        return ops.broadcast(v, shape=shape, axes=tuple(i for i in range(len(shape)) if i != at))

    def reshape(self):
        v = self.pick()
        n = v.type.numel
        options = [(n,), (1, *v.shape), (*v.shape, 1), tuple(reversed(v.shape))]
        options += [(d, n // d) for d in (2, 3, 4) if n and n % d == 0]
        return ops.reshape(v, shape=self.some(options))

    def permute(self):
        v = self.pick(2)
        return None if v is None else ops.permute(v, axes=tuple(int(a) for a in self.rng.permutation(len(v.shape))))

    def ranges(self, v):
        starts = tuple(int(self.rng.integers(0, n + 1)) for n in v.shape)
        stops = tuple(int(self.rng.integers(a, n + 1)) for a, n in zip(starts, v.shape, strict=True))
        return {"starts": starts, "stops": stops, "steps": tuple(int(self.rng.integers(1, 3)) for _ in v.shape)}

    def slice(self):
        v = self.pick(1)
        return None if v is None else ops.slice_(v, **self.ranges(v))

    def update(self):
        v = self.pick(1)
        if v is None:
            return None
        where = self.ranges(v)
        return ops.slice_update(v, ops.sin(ops.slice_(self.fitting(v), **where)), **where)

    def pad(self):
        v = self.pick(1)
        if v is None:
            return None
        amounts = [tuple(int(n) for n in self.rng.integers(0, 3, len(v.shape))) for _ in range(3)]
        return ops.pad(v, low=amounts[0], high=amounts[1], interior=amounts[2], value=0.5)

    def flip(self):
        v = self.pick(1)
        return None if v is None else ops.flip(v, axes=(int(self.rng.integers(len(v.shape))),))

    def concatenate(self):
        v = self.pick(1)
        return None if v is None else ops.concatenate(v, self.fitting(v), axis=int(self.rng.integers(len(v.shape))))

    def select(self):
        v = self.pick(1)
        axis = int(self.rng.integers(len(v.shape))) if v is not None else 0
        if v is None or v.shape[axis] < 4:
            return None
        picked = ops.index_select(v, self.index, axis=axis)
        return picked if self.rng.random() < 0.5 else ops.index_add(picked, self.index, axis=axis, extent=5)

    def gather(self):
        v = self.pick(1)
        if v is None or v.shape[0] < 4 or len(v.shape) != 1:
            return None
        return ops.tanh(ops.add(ops.gather(v, self.index, axis=0), ops.scatter_add(v, self.index, axis=0, shape=v.shape))) \
            if v.shape == (4,) else ops.gather(v, self.index, axis=0)  # fmt: skip

    def windows(self):
        v = self.pick(1)
        if v is None or v.shape[-1] < 3:
            return None
        w = ops.windows(v, size=(2,), stride=(int(self.rng.integers(1, 3)),), dilation=(1,))
        if self.rng.random() < 0.5:
            return w
        attrs = w.op.attrs
        return ops.fold(ops.sin(w), extents=(v.shape[-1],), stride=attrs["stride"], dilation=attrs["dilation"])

    def matmul(self):
        v = self.pick(2)
        if v is None or len(v.shape) != 2:
            return None
        ta = bool(self.rng.random() < 0.5)
        product = ops.matmul(v, v, ta=ta, tb=not ta)
        return ops.tanh(ops.mul(product, 0.2))

    def where(self):
        v = self.pick()
        u = self.fitting(v)
        return ops.where(self.some((ops.lt, ops.ge, ops.eq))(v, u), u, 0.25)

    def integers(self):
        v = self.pick(1)
        if v is None:
            return None
        n = ops.cast(ops.mul(v, 4.0), dtype="i32")
        n = self.some((ops.add, ops.maximum, ops.mul))(n, ops.iota(shape=v.shape, axis=0, dtype="i32"))
        back = ops.cast(ops.sum_(n, axes=(0,)), dtype="f64")
        return ops.sin(back)


def arguments(graph, seed):
    """Values for the inputs of a random graph."""
    rng = np.random.default_rng([seed, 1])
    kinds = {
        float64: lambda s: rng.uniform(-1.5, 1.5, s),
        int64: lambda s: rng.integers(0, 4, s),
        bool_: lambda s: rng.random(s) < 0.5,
    }
    return [np.asarray(kinds[v.type.dtype](v.shape)) for v in graph.inputs]
