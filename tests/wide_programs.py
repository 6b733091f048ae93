"""Random graphs wider than those of ``programs``: every native dtype, longer rows, several axes, scatters, updates."""

import math

import numpy as np

from tracer.ir import ops
from tracer.ir.graph import Builder
from tracer.ir.interp import Build, using
from tracer.ir.ops.reduce import kept_axes
from tracer.ir.types import TensorType, bool_, float32, float64, int8, int16, int32, int64, uint8

FLOATS, INTEGERS = (float32, float64), (int64, int32, int16, int8, uint8)
EXTENTS = (1, 2, 3, 4, 5, 7, 8, 9, 10, 13, 16, 17, 31, 32, 33, 64, 96, 127, 128, 130, 255, 256, 257, 300, 600, 1000, 1024, 1025)
LONG = (2048, 4096, 4099, 8192, 8193)
MOST = 20_000  # elements of a value
SMOOTH = (ops.tanh, ops.sin, ops.sigmoid, ops.neg, ops.abs_, ops.relu, ops.sign, ops.floor, ops.exp, ops.square)
PAIRS = (ops.add, ops.sub, ops.mul, ops.maximum, ops.minimum)
COMPARE = (ops.lt, ops.le, ops.eq, ops.ne)


class WideGraph:
    """Builds a graph operation by operation."""

    def __init__(self, seed, size):
        self.rng = rng = np.random.default_rng(seed)
        self.builder = Builder("f")
        extents = (*EXTENTS, 0) if seed % 10 == 0 else EXTENTS
        rank = int(rng.integers(1, 5))
        base = tuple(int(rng.choice(extents)) for _ in range(rank))
        if rng.random() < 0.3:
            base = (*base[:-1], int(self.some(LONG)))
        while math.prod(base) > MOST:
            k = int(rng.integers(len(base)))
            base = tuple(int(rng.choice(EXTENTS[:12])) if i == k else n for i, n in enumerate(base))
        mains = [self.some(FLOATS), self.some((*FLOATS, *INTEGERS, bool_))]
        self.values = [self.builder.input(TensorType(t, base)) for t in mains]
        for _ in range(rng.integers(1, 4)):
            shape = tuple(n for n in base if rng.random() < 0.6)
            self.values.append(self.builder.input(TensorType(self.some((float32, mains[0], *INTEGERS[:2])), shape)))
        self.state = self.builder.input(TensorType(int64, (2,)))
        self.given = len(self.values)
        names = "unary binary binary compare cast reduce reduce reduce spread reshape permute slice pad concatenate flip "
        names += "windows select scatter gather where uniform counted update softmax argument divide stack"
        with using(Build(self.builder)):
            moves = [getattr(self, n) for n in names.split()]
            for _ in range(size):
                v = self.some(moves)()
                if v is not None and v.type.numel <= MOST and len(v.shape) <= 6:
                    self.values.append(v)

    def finish(self):
        """The graph, with some of its values as results, and inputs that are updated if a value fits."""
        rng = self.rng
        chosen = [self.values[-1], *(self.some(self.values) for _ in range(rng.integers(0, 5)))]
        updates = {}
        with using(Build(self.builder)):
            for i, v in enumerate(self.builder.inputs):
                fitting = [u for u in self.values if u.type == v.type and u is not v]
                if rng.random() < 0.6 and v is not self.state:
                    if fitting and rng.random() < 0.7:
                        new = self.some(fitting)
                    elif v.type.dtype is bool_:
                        new = ops.xor(v, self.as_dtype(self.spread_to(self.some(self.values), v), bool_))
                    else:
                        new = ops.add(v, self.as_dtype(self.spread_to(self.some(self.values), v), v.type.dtype))
                    updates[len(chosen)] = i
                    chosen.append(new)
        return self.builder.finish(chosen, updates)

    # Choices.

    def some(self, items):
        return items[int(self.rng.integers(len(items)))]

    def pick(self, rank=0, floating=False):
        fitting = [v for v in self.values if len(v.shape) >= rank and (not floating or v.type.dtype.kind == "f")]
        if not fitting:
            return None
        return self.some(fitting[-5:] if self.rng.random() < 0.6 else fitting)

    def axis(self, v):
        return int(self.rng.integers(len(v.shape)))

    def as_dtype(self, v, dtype):
        if v.type.dtype is dtype:
            return v
        if v.type.dtype.kind == "f" and dtype.kind in "ui":
            v = ops.where(ops.isnan(v), ops.full(value=0.0, shape=v.shape, dtype=v.type.dtype.short), v)
            v = ops.cast(ops.minimum(ops.maximum(v, 0.0), 100.0), dtype="i32")
        return ops.cast(v, dtype=dtype.short)

    def spread_to(self, w, v):
        """A value with the shape of ``v``: ``w`` if it fits, or a number computed from it."""
        axes, start = [], 0
        for n in w.shape:
            found = next((i for i in range(start, len(v.shape)) if v.shape[i] == n), None)
            if found is None:
                break
            axes.append(found)
            start = found + 1
        if len(axes) == len(w.shape):
            return w if w.shape == v.shape else ops.broadcast(w, shape=v.shape, axes=tuple(axes))
        if w.type.dtype is bool_ or not w.type.numel:
            return ops.full(value=1.0, shape=v.shape, dtype="f32")
        return ops.broadcast(ops.max_(w, axes=tuple(range(len(w.shape)))), shape=v.shape, axes=())

    def partner(self, v):
        w = self.some(self.values)
        return self.as_dtype(self.spread_to(w, v), v.type.dtype)

    # Operations.

    def unary(self):
        v = self.pick(floating=True)
        return None if v is None else self.some(SMOOTH)(self.tame(v))

    def tame(self, v):
        return ops.minimum(ops.maximum(v, -8.0), 8.0)

    def binary(self):
        v = self.pick()
        if v.type.dtype is bool_:
            return self.some((ops.and_, ops.or_, ops.xor))(v, self.partner(v))
        return self.some(PAIRS)(v, self.partner(v))

    def compare(self):
        v = self.pick()
        return self.some(COMPARE)(v, self.partner(v))

    def cast(self):
        return self.as_dtype(self.pick(), self.some((*FLOATS, *INTEGERS)))

    def reduce(self):
        v = self.pick(1)
        if v is None:
            return None
        axes = tuple(a for a in range(len(v.shape)) if self.rng.random() < 0.5)
        kinds = [] if v.type.dtype is bool_ else [ops.sum_]
        if all(v.shape[a] for a in axes):
            kinds += [ops.max_, ops.min_]
        if not axes or not kinds:
            return None
        r = self.some(kinds)(v, axes=axes)
        if self.rng.random() < 0.5 and r.type.dtype is not bool_:
            return self.some(PAIRS)(v, ops.broadcast(r, shape=v.shape, axes=kept_axes(len(v.shape), axes)))
        return r

    def argument(self):
        v = self.pick(1)
        if v is None or v.type.dtype is bool_:
            return None
        a = self.axis(v)
        return self.some((ops.argmax, ops.argmin))(v, axes=(a,)) if v.shape[a] else None

    def softmax(self):
        v = self.pick(1, floating=True)
        if v is None or not len(v.shape):
            return None
        axes = (self.axis(v),) if self.rng.random() < 0.7 else tuple(range(len(v.shape)))
        if not all(v.shape[a] for a in axes):
            return None
        kept = kept_axes(len(v.shape), axes)
        e = ops.exp(ops.sub(v, ops.broadcast(ops.max_(v, axes=axes), shape=v.shape, axes=kept)))
        return ops.div(e, ops.broadcast(ops.sum_(e, axes=axes), shape=v.shape, axes=kept))

    def spread(self):
        v = self.pick()
        at = int(self.rng.integers(0, len(v.shape) + 1))
        n = int(self.some(EXTENTS))
        shape = (*v.shape[:at], n, *v.shape[at:])
        if math.prod(shape) > MOST:
            return None
        return ops.broadcast(v, shape=shape, axes=tuple(i for i in range(len(shape)) if i != at))

    def reshape(self):
        v = self.pick()
        n = v.type.numel
        options = [(n,), (1, *v.shape), tuple(reversed(v.shape))] + [(d, n // d) for d in (2, 3, 4, 16) if n and n % d == 0]
        return ops.reshape(v, shape=self.some(options))

    def permute(self):
        v = self.pick(2)
        return None if v is None else ops.permute(v, axes=tuple(int(a) for a in self.rng.permutation(len(v.shape))))

    def ranges(self, v):
        starts = tuple(int(self.rng.integers(0, n // 2 + 1)) for n in v.shape)
        stops = tuple(
            int(self.rng.integers(a, n + 1)) if self.rng.random() < 0.5 else n for a, n in zip(starts, v.shape, strict=True)
        )
        return {"starts": starts, "stops": stops, "steps": tuple(int(self.rng.integers(1, 4)) for _ in v.shape)}

    def slice(self):
        v = self.pick(1)
        return None if v is None else ops.slice_(v, **self.ranges(v))

    def update(self):
        v = self.pick(1)
        if v is None:
            return None
        where = self.ranges(v)
        return ops.slice_update(v, ops.slice_(self.partner(v), **where), **where)

    def pad(self):
        v = self.pick(1)
        if v is None:
            return None
        amounts = [tuple(int(n) for n in self.rng.integers(0, m, len(v.shape))) for m in (6, 6, 2)]
        return ops.pad(v, low=amounts[0], high=amounts[1], interior=amounts[2], value=True if v.type.dtype is bool_ else 1)

    def concatenate(self):
        v = self.pick(1)
        if v is None:
            return None
        parts = [v, *(self.partner(v) for _ in range(self.rng.integers(1, 6)))]
        return ops.concatenate(*parts, axis=self.axis(v))

    def stack(self):
        v = self.pick()
        at = int(self.rng.integers(0, len(v.shape) + 1))
        shape = (*v.shape[:at], 1, *v.shape[at:])
        return ops.concatenate(*(ops.reshape(self.partner(v), shape=shape) for _ in range(self.rng.integers(2, 7))), axis=at)

    def flip(self):
        v = self.pick(1)
        return None if v is None else ops.flip(v, axes=(self.axis(v),))

    def windows(self):
        v = self.pick(1)
        n = int(self.rng.integers(1, 3))
        if v is None or len(v.shape) < n or min(v.shape[-n:]) < 7 or v.type.dtype is bool_:
            return None
        size, stride, dilation = (
            tuple(int(k) for k in self.rng.integers(low, high, n)) for low, high in ((1, 4), (1, 4), (1, 3))
        )
        w = ops.windows(v, size=size, stride=stride, dilation=dilation)
        if self.rng.random() < 0.4:
            return w
        return ops.fold(self.some(PAIRS)(w, w), extents=v.shape[-n:], stride=stride, dilation=dilation)

    def index(self, shape, extent):
        """Positions below an extent: from a computed value, so that many are equal."""
        v = ops.iota(shape=shape, axis=int(self.rng.integers(len(shape))), dtype="i64") if shape else None
        if v is None:
            return None
        like = self.as_dtype(self.spread_to(self.some(self.values), v), int64)
        return ops.remainder(ops.add(ops.mul(v, int(self.some((0, 1, 3)))), like), max(extent, 1))

    def select(self):
        v = self.pick(1)
        if v is None:
            return None
        a = self.axis(v)
        shape = (int(self.rng.integers(1, 40)),) if self.rng.random() < 0.7 else (2, int(self.rng.integers(1, 9)))
        if not v.shape[a] or v.type.numel // v.shape[a] * math.prod(shape) > MOST:
            return None
        return ops.index_select(v, self.index(shape, v.shape[a]), axis=a)

    def scatter(self):
        v = self.pick(1)
        if v is None or v.type.dtype is bool_ or v.type.numel > 3000:
            return None
        a, extent = self.axis(v), int(self.rng.integers(1, 30))
        if self.rng.random() < 0.5:
            return ops.index_add(v, self.index((v.shape[a],), extent), axis=a, extent=extent)
        shape = tuple(extent if k == a else n for k, n in enumerate(v.shape))
        return ops.scatter_add(v, self.index(v.shape, extent), axis=a, shape=shape)

    def gather(self):
        v = self.pick(1)
        if v is None or not v.type.numel:
            return None
        a = self.axis(v)
        shape = tuple(int(self.rng.integers(1, 30)) if k == a else n for k, n in enumerate(v.shape))
        return ops.gather(v, self.index(shape, v.shape[a]), axis=a) if math.prod(shape) <= MOST else None

    def where(self):
        v = self.pick()
        return ops.where(self.as_dtype(self.partner(v), bool_), v, self.partner(v))

    def uniform(self):
        v = self.pick()
        return ops.uniform(self.state, shape=v.shape, dtype=self.some(("f32", "f64")))

    def counted(self):
        v = self.pick(1)
        return None if v is None else ops.iota(shape=v.shape, axis=self.axis(v), dtype=self.some(("i64", "i32", "f32")))

    def divide(self):
        """Integers divided by non-zero or rarely zero ones."""
        v = self.pick()
        if v.type.dtype.kind not in "ui":
            return None
        divisor = self.partner(v)
        if self.rng.random() < 0.95:
            divisor = ops.maximum(divisor, 1)
        return self.some((ops.floor_divide, ops.remainder))(v, divisor)


def wide_arguments(graph, seed):
    """Values for the inputs; NaN and infinities in some."""
    rng = np.random.default_rng([seed, 1])
    return [_array(rng, v.type, seed % 7 == 0) for v in graph.inputs]


def _array(rng, t, special):
    if t.dtype.kind == "b":
        return rng.random(t.shape) < 0.5
    if t.dtype.kind in "ui":
        return np.asarray(rng.integers(0 if t.dtype.kind == "u" else -50, 100, t.shape)).astype(t.dtype.numpy)
    x = np.asarray(rng.uniform(-1.5, 1.5, t.shape)).astype(t.dtype.numpy)
    if special:
        x[rng.random(t.shape) < 0.01] = rng.choice([np.nan, np.inf, -np.inf, -0.0])
    return x
