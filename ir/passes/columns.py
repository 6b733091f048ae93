"""Column sums inside the kernel that computes the rows: gradients of scales and biases beside those of what they scale.

A row kernel (such as a layer norm and its gradient) computes or reads a matrix whose columns another kernel sums. Reading
the matrix again, or storing it for that alone, costs as much as all the rest. So the rows are processed in blocks. The
kernel adds each block's rows to one row of partial sums, and the other kernel adds the partial sums. The blocks depend only
on the shape, and so does the order of addition.
"""

from __future__ import annotations

from typing import Any

from ..graph import Builder, Graph, Op, Rewriter, Value
from ..ops import broadcast, full, fusion, max_, min_, reshape, sum_
from ..primitive import Kind

_SMALLEST = 1 << 16  # elements: a smaller matrix stays in the cache between two kernels
_BLOCKS, _ROWS = 64, 48  # this many blocks, or more of this many rows: few enough to add sequentially


def partial_columns(graph: Graph) -> Graph:
    position = {op: i for i, op in enumerate(graph.ops)}
    users = graph.users()
    outputs = set(graph.outputs)
    wanted: dict[Op, list[Op]] = {}  # the sums that a row kernel takes over
    for op in graph.ops:
        v = _column_sum(op)
        if v is None:
            continue
        hosts = [v.op] if v.op is not None else []
        hosts += [u for u in users.get(v, ()) if position[u] < position[op]]
        host = next((h for h in hosts if _is_host(h, v.shape)), None)
        if host is not None:
            wanted.setdefault(host, []).append(op)
    rewriter = Rewriter(graph)
    partial: dict[Op, Value] = {}
    for op in graph.ops:
        if op in wanted:
            sums = wanted[op]
            alone = {v for v in op.results if v not in outputs and all(u in sums for u in users[v])}
            partial |= _blocked(rewriter, op, sums, alone)
        elif op in partial:
            _total(rewriter, op, partial[op])
        else:
            rewriter.copy(op)
    return rewriter.finish()


def _column_sum(op: Op) -> Value | None:
    """The matrix whose rows an operation sums, if the operation does nothing else."""
    if op.primitive is not fusion or len(op.attrs["body"].ops) != 1 or not op.operands:
        return None
    (inner,) = op.attrs["body"].ops
    v = op.operands[0]
    fits = inner.primitive is sum_ and len(v.shape) == 2 and inner.attrs["axes"] == (0,) and v.type.dtype.is_floating_point
    return v if fits and v.type.numel >= _SMALLEST and _blocks(v.shape[0]) else None


def _blocks(rows: int) -> int:
    """The number of equal blocks of several rows; 0 if there is none."""
    return next((n for n in range(min(max(_BLOCKS, rows // _ROWS), rows // 4), 3, -1) if rows % n == 0), 0)


def _is_host(op: Op, shape: tuple[int, ...]) -> bool:
    """True if a kernel works on rows of matrices of this shape, and is simple enough to process in blocks."""
    if op.primitive is not fusion or shape[0] == shape[1]:
        return False
    rows, columns = shape
    body = op.attrs["body"]
    values = [*body.inputs, *(o.result for o in body.ops)]
    reductions = [o for o in body.ops if o.primitive.kind is Kind.REDUCTION]
    return (
        bool(reductions)
        and all(v.shape in (shape, (rows,), (columns,), ()) for v in values)
        and all(o.operands[0].shape == shape and o.attrs["axes"] == (1,) for o in reductions)
        and all(o.primitive in (sum_, max_, min_) for o in reductions)
        and all(o.primitive.kind in (Kind.ELEMENTWISE, Kind.REDUCTION) or o.primitive in (broadcast, full) for o in body.ops)
    )


def _blocked(rewriter: Rewriter, op: Op, sums: list[Op], alone: set[Value]) -> dict[Op, Value]:
    """Appends the row kernel in blocks, with the partial sums, and without results that nothing else reads."""
    body, outer = op.attrs["body"], rewriter.builder
    outer.loc = op.loc
    rows, columns = sums[0].operands[0].shape
    count = _blocks(rows)
    whole, row = (count, rows // count, columns), (count, rows // count)
    shapes = {(rows, columns): whole, (rows,): row}
    axes = {(0,): (0, 1), (1,): (2,), (): (), (0, 1): (0, 1, 2)}

    inner = Builder(body.name)
    new = {v: inner.input(v.type.with_shape(shapes.get(v.shape, v.shape)), v.name) for v in body.inputs}
    for o in body.ops:
        attrs: dict[str, Any] = dict(o.attrs)
        if o.primitive is broadcast:
            to_rows = attrs["shape"] == (rows,)
            attrs["axes"] = (0, 1) if to_rows and attrs["axes"] else axes[attrs["axes"]]
        elif "axes" in attrs:
            attrs["axes"] = axes[attrs["axes"]]
        if "shape" in attrs:
            attrs["shape"] = shapes.get(attrs["shape"], attrs["shape"])
        (new[o.result],) = inner.append(o.primitive, [new[v] for v in o.operands], attrs, o.loc)
    given: dict[Value, Value] = dict(zip([*op.operands, *op.results], [*body.inputs, *body.outputs], strict=True))
    partials = [inner.append(sum_, [new[given[s.operands[0]]]], {"axes": (1,)}, s.loc)[0] for s in sums]
    left = [v for v in op.results if v not in alone]
    operands = []
    for v, x in zip(op.operands, body.inputs, strict=True):
        mapped = rewriter.map[v]
        operands.append(outer.append(reshape, [mapped], {"shape": new[x].shape})[0] if new[x].shape != v.shape else mapped)
    made = outer.append(fusion, operands, {"body": inner.finish([*partials, *(new[given[v]] for v in left)])})
    for v, result in zip(left, made[len(sums) :], strict=True):
        rewriter.map[v] = outer.append(reshape, [result], {"shape": v.shape})[0] if result.shape != v.shape else result
    return dict(zip(sums, made, strict=False))


def _total(rewriter: Rewriter, op: Op, partial: Value) -> None:
    """The sum of the partial sums."""
    body = Builder(op.attrs["body"].name)
    x = body.input(partial.type)
    (y,) = body.append(sum_, [x], {"axes": (0,)}, op.loc)
    rewriter.builder.loc = op.loc
    (rewriter.map[op.result],) = rewriter.builder.append(fusion, [partial], {"body": body.finish([y])})
