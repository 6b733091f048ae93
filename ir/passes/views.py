"""Products that read and write strided views in place.

Windows, permutations, slices and reshapes of an array are views of it: an element's position is linear in the indices of some
axes. A product of such views becomes a ``contract`` of the arrays, and so they are not copied. The same holds for what is done
with its result: a permutation, a sum over a batch, or the sum of overlapping windows. So a convolution, which is a product
with windows, needs no memory for them, nor do its gradients.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field

from ..graph import Graph, Op, Rewriter, Value
from ..ops import broadcast, contract, flip, fold, matmul, pad, permute, reshape, slice_, strided, sum_, windows
from ..ops.contract import repays_tiles, roles
from ..types import float32
from .dce import dce

_AXES = 4  # in memory, of the rows, columns or terms of a product
_TINY = 1 << 12  # multiplications, which take a few loops
_LITTLE = 1 << 15  # multiplications that do not repay the preparation, unless windows would be stored
_SPARSE = 4  # an array of at most that many times the elements is read in place
_FEW_IMAGES = (16, 20, 24, 12, 18, 14, 10, 8)  # about as many as the rows of a tile
_NARROW = 16  # columns: fewer than the widest vector holds
_DEEP = 2048  # terms of a float32 sum that another pass writes more accurately
_MOST_IN_WINDOW = 64  # elements whose products are added for a vector of positions

Part = tuple[int, int]  # an extent and a step in memory


def contract_views(graph: Graph) -> Graph:
    products = [op for op in graph.ops if op.primitive is matmul and op.operands[0].dtype.is_floating_point]
    if not products:
        return graph
    users, outputs = graph.users(), set(graph.outputs)
    by_result: dict[Value, _Contraction] = {}
    for op in products:
        if (c := _contraction(op, users, outputs, by_result)) is not None:
            by_result[c.result] = c
    if not by_result:
        return graph
    rewriter = Rewriter(graph)
    for op in graph.ops:
        c = by_result.get(op.results[0])
        if c is None:
            rewriter.copy(op)
        else:
            operands = [rewriter.map[v] for v in c.operands]
            if c.padding is not None:
                operands[1:] = rewriter.builder.append(pad, operands[1:], c.padding, c.loc)
            (rewriter.map[c.result],) = rewriter.builder.append(contract, operands, c.attrs, c.loc)
    return dce(rewriter.finish())


@dataclass
class _View:
    """A value as a view of another: for each axis the parts, from the outermost to the innermost."""

    root: Value
    start: int
    axes: list[list[Part]]
    windows: bool = False
    moves: bool = False  # another movement than a reshape


@dataclass(eq=False)
class _Axis:
    extent: int
    a: int
    b: int
    c: int = 0

    def split(self, inner: int) -> tuple[_Axis, _Axis]:
        return _Axis(self.extent // inner, self.a * inner, self.b * inner), _Axis(inner, self.a, self.b)


@dataclass
class _Contraction:
    result: Value
    operands: list[Value]
    attrs: dict
    loc: str
    padding: dict | None = None  # of the second operand


def _view(v: Value, stored: Container[Value]) -> _View:
    """The value as a view of the value that has to be in memory, or of one that is ``stored`` by another contraction."""
    chain: list[Op] = []
    views = [_whole(v)]
    x = v
    while x not in stored and x.op is not None and x.op.primitive in _MOVES:
        chain.append(x.op)
        x = x.op.operands[0]
    # The longest chain whose movements can all be expressed; a shorter one if one of them cannot.
    for k in range(len(chain), 0, -1):
        root = chain[k - 1].operands[0]
        if root.op is not None and root.type.numel > _SPARSE * v.type.numel:
            continue
        view: _View | None = _whole(root)
        for op in reversed(chain[:k]):
            view = _moved(view, op) if view is not None else None
        if view is not None:
            views.append(view)
            break
    return views[-1]


def _is_scattered(view: _View) -> bool:
    """True if the matrices of a batch lie between each other in memory: elements of one are not adjacent."""
    batch, matrix = ([abs(s) for parts in axes for _, s in parts] for axes in (view.axes[:-2], view.axes[-2:]))
    return not view.windows and bool(batch and matrix) and min(batch) < min(matrix)


def _whole(v: Value) -> _View:
    return _View(v, 0, [[(n, s)] if n != 1 else [] for n, s in zip(v.shape, _strides(v.shape), strict=True)])


def _moved(view: _View, op: Op) -> _View | None:
    """A movement of the view."""
    attrs, p = op.attrs, op.primitive
    if p is reshape:
        axes = _regrouped(_merged([part for parts in view.axes for part in parts]), op.result.shape)
        return None if axes is None else _View(view.root, view.start, axes, view.windows, view.moves)
    if p is permute:
        return _View(view.root, view.start, [view.axes[a] for a in attrs["axes"]], view.windows, True)
    if p is broadcast:
        axes = [[(n, 0)] if n != 1 else [] for n in op.result.shape]
        for a, parts in zip(attrs["axes"], view.axes, strict=True):
            axes[a] = parts
        return _View(view.root, view.start, axes, view.windows, True)
    single = [_single(parts) for parts in view.axes]
    start, new = view.start, list[list[Part]]()
    if p is windows:
        n = len(attrs["size"])
        lead, last = view.axes[: len(single) - n], single[len(single) - n :]
        if None in last:
            return None
        steps = [part[1] for part in last if part is not None]
        counts = op.result.shape[-n:]
        inside = [_part(k, s * d) for k, s, d in zip(attrs["size"], steps, attrs["dilation"], strict=True)]
        across = [_part(k, s * d) for k, s, d in zip(counts, steps, attrs["stride"], strict=True)]
        return _View(view.root, start, [*lead, *inside, *across], True, True)
    if p is strided:
        if single[0] is None:
            return None
        new = [_part(n, s * single[0][1]) for n, s in zip(op.result.shape, attrs["strides"], strict=True)]
        return _View(view.root, start + attrs["offset"] * single[0][1], new, view.windows, True)
    for a, (parts, part, n) in enumerate(zip(view.axes, single, op.result.shape, strict=True)):
        by = (attrs["starts"][a], attrs["steps"][a]) if p is slice_ else (n - 1, -1) if a in attrs["axes"] else (0, 1)
        if by == (0, 1) and math.prod(e for e, _ in parts) == n:
            new.append(parts)
        elif part is None:
            return None
        else:
            start += by[0] * part[1]
            new.append(_part(n, by[1] * part[1]))
    return _View(view.root, start, new, view.windows, True)


_MOVES = (reshape, permute, broadcast, windows, strided, slice_, flip)


def _strides(shape: Sequence[int]) -> list[int]:
    """The steps of the axes of an array."""
    return [math.prod(shape[a + 1 :]) for a in range(len(shape))]


def _part(extent: int, step: int) -> list[Part]:
    return [(extent, step)] if extent != 1 else []


def _single(parts: list[Part]) -> Part | None:
    """The axis as one part, if it is."""
    merged = _merged(parts)
    return (1, 0) if not merged else merged[0] if len(merged) == 1 else None


def _merged(parts: Iterable[Part]) -> list[Part]:
    found: list[Part] = []
    for extent, step in parts:
        if found and found[-1][1] == extent * step:
            found[-1] = (found[-1][0] * extent, step)
        else:
            found.append((extent, step))
    return found


def _regrouped(parts: Sequence[Part], shape: Sequence[int]) -> list[list[Part]] | None:
    """The parts as those of axes with the given extents, if no axis ends within a part in a way that cannot be expressed."""
    left, axes = list(reversed(parts)), list[list[Part]]()
    for n in shape:
        axes.append([])
        while n > 1:
            extent, step = left.pop()
            if n % extent == 0:
                axes[-1].append((extent, step))
                n //= extent
            elif extent % n == 0:
                axes[-1].append((n, step * (extent // n)))
                left.append((extent // n, step))
                n = 1
            else:
                return None
    return axes


def _paired(left: list[Part] | None, right: list[Part] | None) -> list[_Axis] | None:
    """The axes that both operands have, or one of them."""
    if left is None or right is None:
        return [_Axis(n, *((s, 0) if right is None else (0, s))) for n, s in (left or right or [])]
    ours, theirs, found = list(reversed(left)), list(reversed(right)), list[_Axis]()
    while ours and theirs:
        (m, s), (n, t) = ours.pop(), theirs.pop()
        extent = min(m, n)
        if max(m, n) % extent:
            return None
        if m > extent:
            ours.append((m // extent, s))
        if n > extent:
            theirs.append((n // extent, t))
        found.append(_Axis(extent, s * (m // extent), t * (n // extent)))
    return found


def _contraction(op: Op, users: dict[Value, list[Op]], outputs: set[Value], stored: Container[Value]) -> _Contraction | None:
    """The contraction that replaces a product and the operations around it, if that saves windows, sums over a batch, or copies
    that take as long as the product.

    Other permutations are left to the kernels before and after a product, which write and read in any order.
    """
    if 0 in (op.result.type.numel, *(v.type.numel for v in op.operands)):
        return None
    a, b = (_view(v, stored) for v in op.operands)
    inner = op.operands[0].shape[-2 if op.attrs["ta"] else -1]
    thin = 1 in (*op.result.shape[-2:], inner)
    if thin:
        a, b = (_whole(v) if _is_scattered(view) else view for v, view in zip(op.operands, (a, b), strict=True))
    m, k = (-1, -2) if op.attrs["ta"] else (-2, -1)
    k2, n = (-1, -2) if op.attrs["tb"] else (-2, -1)
    lead = len(op.result.shape) - 2
    batch = [_paired(*(v.axes[i] if len(v.axes) > 2 else None for v in (a, b))) for i in range(lead)]
    terms = _paired(a.axes[k], b.axes[k2])
    dims = [*batch, _paired(a.axes[m], None), _paired(None, b.axes[n])]
    if terms is None or any(d is None for d in dims):
        return None
    result = _Result(op.result, [d for d in dims if d is not None], terms, thin)
    while result.value not in outputs and len(users.get(result.value, ())) == 1 and result.absorb(users[result.value][0]):
        pass
    turned = _turned(result, op, (a, b), users, outputs)
    if turned is not None:
        return turned
    special = a.windows or b.windows or result.folded
    useful = special or result.sums or (a.moves and b.moves and len(terms) > 1)
    multiplications = math.prod(op.result.shape if special else op.result.shape[-2:]) * math.prod(x.extent for x in terms)
    if useful and multiplications > (_TINY if special else _LITTLE):
        return result.finish(op, a, b)
    of_vectors = 1 in op.result.shape[-2:] and (a.moves or b.moves)
    if not of_vectors or (op.result.dtype is float32 and inner > _DEEP):
        return None
    found = result.finish(op, a, b)
    return found if found is not None and _is_by_vectors(found.attrs) else None


def _is_by_vectors(attrs: dict) -> bool:
    """True for products of matrices and vectors with one step along each axis, which are computed without packing."""
    kinds = roles(attrs["a_steps"], attrs["b_steps"], attrs["c_steps"])
    return len(kinds["rows"]) + len(kinds["columns"]) == len(kinds["inner"]) == 1 and not attrs["folded"]


def _turned(
    result: _Result, op: Op, views: Sequence[_View], users: dict[Value, list[Op]], outputs: set[Value]
) -> _Contraction | None:
    """The sum of overlapping windows with stride 1, the gradient of a convolution's images, as a convolution of the padded
    cotangent with the weights turned by 180 degrees: for depthwise convolutions, which then add in registers instead of in
    memory, and where Winograd's algorithm applies.

    The padding gives only the part of the sum that is read.
    """
    if result.folded != 2 or not op.result.dtype.is_native or op.result.dtype.itemsize == 2 or op.attrs["wide"]:
        return None
    *lead, down, across, lines, columns = result.dims
    if any(len(d) != 1 for d in (down, across, lines, columns)) or len(result.terms) > 1 or any(len(d) > 1 for d in lead):
        return None
    (i,), (j,), (y,), (x,) = down, across, lines, columns
    if result.steps[-4:] != result.steps[-2:] * 2 or result.steps[-1] != 1:  # the stride or the dilation is not 1
        return None
    own, other = ("a", "b") if i.a else ("b", "a")  # the steps of the weights and of the cotangent
    weights, image = views if own == "a" else views[::-1]
    n, m, root = y.extent, x.extent, image.root
    value, (low, high) = _cut(result.value, (i.extent, j.extent), users, outputs)
    if root.shape[-2:] != (n, m) or (getattr(y, other), getattr(x, other), image.start) != (m, 1, 0) or min(*low, *high) < 0:
        return None
    height, width = n + low[0] + high[0], m + low[1] + high[1]
    size = height - i.extent + 1, width - j.extent + 1  # of the result
    strides = _strides(value.shape)
    kinds: dict[tuple[bool, bool], list[tuple[int, int, int, int]]] = {}  # extents and steps, by those of a and b
    covered = n * m
    for z, stride in (
        *((d[0], stride) for d, stride in zip(lead, strides, strict=False) if d),
        *((z, 0) for z in result.terms),
    ):
        mine, theirs = getattr(z, own), getattr(z, other)
        if theirs % (n * m):
            return None
        covered *= z.extent if theirs else 1
        plane = theirs // (n * m) * height * width
        kinds.setdefault((mine != 0, theirs != 0), []).append((z.extent, mine, plane, stride))
    both = kinds.get((True, True), [])
    groups, terms = [z for z in both if z[3]], [z for z in both if not z[3]]
    rows, images = kinds.get((True, False), []), kinds.get((False, True), [])
    if root.type.numel != covered or len(images) > 1 or (False, False) in kinds:
        return None
    if not rows and not terms:
        suits = bool(groups) and i.extent * j.extent <= _MOST_IN_WINDOW
    else:
        suits = not groups and len(rows) == len(terms) == 1 and (i.extent, j.extent) == (3, 3)
        suits = suits and repays_tiles(rows[0][0], terms[0][0], math.prod(z[0] for z in images), *size)
    if not suits:
        return None
    turn = (i.extent, -getattr(i, own), width, 0), (j.extent, -getattr(j, own), 1, 0)
    axes = [*groups, *rows, *images, (size[0], 0, width, strides[-2]), (size[1], 0, 1, 1), *terms, *turn]
    last = (i.extent - 1) * getattr(i, own) + (j.extent - 1) * getattr(j, own)
    attrs = {
        "shape": value.shape,
        "extents": tuple(z[0] for z in axes),
        **{f"{name}_steps": tuple(z[k] for z in axes) for k, name in enumerate("abc", 1)},
        "starts": (weights.start + last, 0, 0),
        "folded": 0,
        "wide": False,
    }
    nothing = (0,) * (len(root.shape) - 2)
    padding = {"low": (*nothing, *low), "high": (*nothing, *high), "interior": (*nothing, 0, 0), "value": 0}
    return _Contraction(value, [weights.root, root], attrs, op.loc, padding)


def _cut(
    v: Value, window: tuple[int, int], users: dict[Value, list[Op]], outputs: set[Value]
) -> tuple[Value, tuple[Sequence[int], Sequence[int]]]:
    """The part of a value that is read, if only its last two axes are cut, and how far the windows around it reach beyond the
    windows' positions.
    """
    reach, readers = [n - 1 for n in window], users.get(v, ())
    if v not in outputs and len(readers) == 1 and readers[0].primitive is slice_:
        starts, stops, steps = (readers[0].attrs[k] for k in ("starts", "stops", "steps"))
        whole = all(a == 0 and b == n for a, b, n in zip(starts[:-2], stops[:-2], v.shape, strict=False))
        if whole and set(steps) == {1}:
            low = [r - a for r, a in zip(reach, starts[-2:], strict=True)]
            high = [r - (n - b) for r, n, b in zip(reach, v.shape[-2:], stops[-2:], strict=True)]
            return readers[0].result, (low, high)
    return v, (reach, reach)


@dataclass
class _Result:
    """What is known of a product's result: the axes of each of its dimensions, and those that are summed."""

    value: Value
    dims: list[list[_Axis]]
    terms: list[_Axis]
    thin: bool  # whether the matrices are vectors: the loops are vectorised along their axes
    folded: int = 0
    sums: bool = False
    steps: list[int] = field(default_factory=list)  # in memory, of the dimensions

    def absorb(self, op: Op) -> bool:
        """Includes an operation on the result, if it can be expressed."""
        dims: list[list[_Axis]] | None
        if self.folded:
            return False
        if op.primitive is reshape:
            dims = self._reshaped(op.result.shape)
            if dims is None:
                return False
        elif op.primitive is permute:
            dims = [self.dims[i] for i in op.attrs["axes"]]
            if self.thin and all(x.a and x.b for x in next((d for d in reversed(dims) if d), [])):
                return False
        elif op.primitive is sum_:
            summed = [x for i in op.attrs["axes"] for x in self.dims[i]]
            if not all(x.a and x.b for x in summed) or op.result.dtype is not self.value.dtype:
                return False
            self.terms = [*summed, *self.terms]
            dims = [d for i, d in enumerate(self.dims) if i not in op.attrs["axes"]]
        elif op.primitive is fold and not any(x.a and x.b for d in self.dims[-2 * len(op.attrs["extents"]) :] for x in d):
            self.folded, dims = len(op.attrs["extents"]), self.dims
            steps = _strides(op.result.shape)
            lead, spatial = steps[: -self.folded], steps[-self.folded :]
            for by in ("dilation", "stride"):
                lead += [s * d for s, d in zip(spatial, op.attrs[by], strict=True)]
            self.steps = lead
        else:
            return False
        self.sums |= op.primitive is sum_
        self.value, self.dims = op.result, dims
        return True

    def _reshaped(self, shape: Sequence[int]) -> list[list[_Axis]] | None:
        left, dims = [x for d in reversed(self.dims) for x in reversed(d)], list[list[_Axis]]()
        for n in shape:
            dims.append([])
            while n > 1:
                x = left.pop()
                if x.extent > n and x.extent % n == 0:
                    x, rest = x.split(x.extent // n)
                    left.append(rest)
                elif n % x.extent:
                    return None
                dims[-1].append(x)
                n //= x.extent
        return dims

    def finish(self, op: Op, a: _View, b: _View) -> _Contraction | None:
        for dim, step in zip(self.dims, self.steps or _strides(self.value.shape), strict=True):
            for x in reversed(dim):
                x.c = step
                step *= x.extent
        image = math.prod(self.value.shape[len(self.value.shape) - self.folded :])
        axes = [*(x for d in self.dims for x in d), *self.terms]
        if any((x.a != 0) + (x.b != 0) + (x.c != 0) < 2 for x in axes):
            return None
        batch = [x for x in axes if x.a and x.b and x.c]
        rows, columns = [x for x in axes if not x.b], [x for x in axes if not x.a]
        operands, starts = [a, b], [a.start, b.start]
        count = [math.prod(x.extent for x in part) for part in (rows, columns)]
        if self.folded:  # columns are windows, not positions within a window
            across = any(x in rows for d in self.dims[-self.folded :] for x in d)
        else:
            nearest = [min((x.c for x in part), default=math.inf) for part in (rows, columns)]
            across = nearest[0] < nearest[1]
        if across or count[1] < min(count[0], _NARROW):
            operands, starts, rows, columns = operands[::-1], starts[::-1], columns, rows
            for x in axes:
                x.a, x.b = x.b, x.a
        rows.sort(key=lambda x: -x.c)
        if self.folded:
            rows = _interleaved(rows, image)
        columns.sort(key=lambda x: -x.c)
        rows, columns, terms = (_joined(part, image if self.folded else 0) for part in (rows, columns, self.terms))
        if max(map(len, (rows, columns, terms))) > _AXES:
            return None
        axes = [*batch, *rows, *columns, *terms]
        attrs = {
            "shape": self.value.shape,
            "extents": tuple(x.extent for x in axes),
            **{f"{name}_steps": tuple(getattr(x, name) for x in axes) for name in "abc"},
            "starts": (*starts, 0),
            "folded": self.folded,
            "wide": op.attrs["wide"],
        }
        return _Contraction(self.value, [v.root for v in operands], attrs, op.loc)


def _interleaved(rows: list[_Axis], image: int) -> list[_Axis]:
    """Rows in an order in which adjacent ones are not added to the same elements, and the operand is read nearly in order.

    That is a few images at a time: each position within a window, for each of these images.
    """
    lead, inside = [x for x in rows if x.c >= image], [x for x in rows if x.c < image]
    if not lead or not inside:
        return rows
    few = next((n for n in _FEW_IMAGES if lead[-1].extent % n == 0), lead[-1].extent)
    outer, inner = lead[-1].split(few)
    outer.c, inner.c = lead[-1].c * few, lead[-1].c
    return [*lead[:-1], *([outer] if outer.extent > 1 else []), *inside, inner]


def _joined(axes: Iterable[_Axis], image: int) -> list[_Axis]:
    """Axes that are one in all arrays, as one; axes of images, which are so large, and axes inside stay apart."""
    found: list[_Axis] = []
    for x in axes:
        last = found[-1] if found else None
        if (
            last is not None
            and (last.c >= image) == (x.c >= image)
            and (last.a, last.b, last.c) == (x.extent * x.a, x.extent * x.b, x.extent * x.c)
        ):
            found[-1] = _Axis(last.extent * x.extent, x.a, x.b, x.c)
        else:
            found.append(x)
    return found
