"""More products: einsum, tensordot, Kronecker and cross products, and products with an added term."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.fused import fused
from ..core.tensor import Tensor
from ..ir import ops as P
from ..ir.interp import joint_shape
from . import pointwise as F
from .common import constant_in, one_dim, result_dtype, to_dtype
from .complex import conj
from .diagonals import diagonal
from .linalg import bmm, dot, matmul, mm, mv, require_one_length
from .moving import movedim, roll
from .opmath import opmath
from .reduce import sum
from .shape import expand, permute, reshape, squeeze, unsqueeze

__all__ = [
    "addbmm",
    "addmm",
    "addmv",
    "addr",
    "baddbmm",
    "cdist",
    "chain_matmul",
    "cross",
    "einsum",
    "inner",
    "kron",
    "matrix_trace",
    "pdist",
    "tensordot",
    "vdot",
]


def einsum(equation: Any, *operands: Any) -> Tensor:
    """Sums of products of tensors with named axes: ``einsum("bij,bjk->bik", a, b)``; also in the form with lists of numbers.

    Operands are contracted two at a time, from the left; each pair is one batched matrix product.
    """
    if not isinstance(equation, (str, Tensor)):
        raise TypeError(f"einsum(): argument 'equation' (position 1) must be str, not {type(equation).__name__}")
    if not isinstance(equation, str):
        equation, operands = _from_lists((equation, *operands))
    xs = list(operands[0]) if len(operands) == 1 and isinstance(operands[0], (list, tuple)) else list(operands)
    for k, x in enumerate(xs):
        if not isinstance(x, Tensor):
            raise TypeError(f"einsum(): argument 'operands' must be Tensors, but element {k} is a {type(x).__name__}")
    inputs, output = _parsed(equation, tuple([x._data.shape for x in xs]))
    parts = [_own_diagonals(x, names) for x, names in zip(xs, inputs, strict=True)]
    dtype = result_dtype(*xs)
    x, names = to_dtype(parts[0][0], dtype), parts[0][1]
    for k, (y, more) in enumerate(parts[1:], 1):
        later = set(output).union(*(n for _, n in parts[k + 1 :]))
        x, names = _pair(x, names, to_dtype(y, dtype), more, later)
    gone = [i for i, n in enumerate(names) if n not in output]
    if gone:
        x, names = sum(x, gone), [n for n in names if n in output]
    return permute(x, [names.index(n) for n in output]) if output else x


def _from_lists(items: tuple[Any, ...]) -> tuple[str, tuple[Any, ...]]:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

    def text(entries: Sequence[Any]) -> str:
        return "".join("..." if e is Ellipsis else letters[e] for e in entries)

    operands, subscripts = items[0 : len(items) // 2 * 2 : 2], items[1::2]
    equation = ",".join(map(text, subscripts))
    return (f"{equation}->{text(items[-1])}" if len(items) % 2 else equation), operands


@functools.lru_cache(4096)
def _parsed(equation: str, shapes: tuple[tuple[int, ...], ...]) -> tuple[list[list[str]], list[str]]:
    """The axis names of operands of such shapes, and of the result; axes of an ellipsis are numbers."""
    left, arrow, right = equation.partition("->")
    terms = [_term(t, f"operand {k}") for k, t in enumerate(left.split(","))]
    if len(terms) != len(shapes):
        more = len(terms) > len(shapes)
        raise RuntimeError(f"einsum(): {'fewer' if more else 'more'} operands were provided than specified in the equation")
    widest = 0
    inputs: list[list[str]] = []
    for k, (term, shape) in enumerate(zip(terms, shapes, strict=True)):
        names = list(term)
        count = len(shape) - (len(names) - names.count("."))
        if count < 0 or ("." not in names and count):
            raise RuntimeError(
                f"einsum(): the number of subscripts in the equation ({len(names) - names.count('.')}) "
                f"{'is more than' if count < 0 else 'does not match'} the number of dimensions ({len(shape)}) for operand {k}"
                + ("" if "." in names or count < 0 else " and no ellipsis was given")
            )
        if "." in names:
            widest = max(widest, count)
            at = names.index(".")
            names[at : at + 1] = [str(-i) for i in range(count, 0, -1)]
        inputs.append(names)
    ellipsis = [str(-i) for i in range(widest, 0, -1)]
    if arrow:
        output = _term(right, "output")
        if "." in output:
            at = output.index(".")
            output[at : at + 1] = ellipsis
        known = {n for names in inputs for n in names}
        for n in output:
            if output.count(n) > 1:
                raise RuntimeError(f"einsum(): output subscript {n} appears more than once in the output")
            if n not in known:
                raise RuntimeError(f"einsum(): output subscript {n} does not appear in the equation for any input operand")
    else:
        every = [n for names in inputs for n in names if n.isalpha()]
        output = ellipsis + sorted(n for n in set(every) if every.count(n) == 1)
    extents: dict[str, int] = {}
    for k, (names, shape) in enumerate(zip(inputs, shapes, strict=True)):
        for n, e in zip(names, shape, strict=True):
            if e != 1 and extents.get(n, 1) not in (1, e):
                raise RuntimeError(
                    f"einsum(): subscript {n} has size {e} for operand {k} which does not broadcast with previously seen size "
                    f"{extents[n]}"
                )
            if e != 1 or n not in extents:
                extents[n] = e if extents.get(n, 1) == 1 else extents[n]
    return inputs, output


def _term(text: str, what: str) -> list[str]:
    """The letters of one operand, or of the output; "." for an ellipsis."""
    names = list(text.replace("...", ".").replace(" ", ""))
    for c in names:
        if c == "." and (names.count(".") > 1 or "..." not in text):
            raise RuntimeError(f"einsum(): found '.' for {what} that is not part of the only ellipsis (...)")
        if c != "." and not (c.isascii() and c.isalpha()):
            raise RuntimeError(f"einsum(): invalid subscript '{c}' for {what}, subscripts must be in [a-zA-Z]")
    return names


def _own_diagonals(x: Tensor, names: list[str]) -> tuple[Tensor, list[str]]:
    """Takes the diagonal for an axis name that occurs twice in one operand."""
    names = list(names)
    for n in dict.fromkeys(names):
        while names.count(n) > 1:
            a = names.index(n)
            b = names.index(n, a + 1)
            if x._data.shape[a] != x._data.shape[b]:
                raise RuntimeError(
                    f"einsum(): subscript {n} is repeated for an operand but the sizes don't match, {x._data.shape[b]} != "
                    f"{x._data.shape[a]}"
                )
            x = movedim(diagonal(x, 0, a, b), -1, a)
            del names[b]
    return x, names


def _pair(x: Tensor, a: list[str], y: Tensor, b: list[str], later: set[str]) -> tuple[Tensor, list[str]]:
    """Contracts two operands, and sums over names that are no longer needed."""
    x, a = _without(x, a, [n for n in a if n not in b and n not in later])
    y, b = _without(y, b, [n for n in b if n not in a and n not in later])
    shared = [n for n in a if n in b]
    # An axis of extent 1 broadcasts, so it is not part of the product.
    for n in list(shared):
        i, j = x._data.shape[a.index(n)], y._data.shape[b.index(n)]
        if i != j:
            if i == 1:
                x = expand(x, tuple(j if m == n else e for m, e in zip(a, x._data.shape, strict=True)))
            else:
                y = expand(y, tuple(i if m == n else e for m, e in zip(b, y._data.shape, strict=True)))
    batch = [n for n in shared if n in later]
    inner = [n for n in shared if n not in later]
    left, right = [n for n in a if n not in shared], [n for n in b if n not in shared]
    sizes = {**dict(zip(a, x._data.shape, strict=True)), **dict(zip(b, y._data.shape, strict=True))}

    if not inner:
        names = batch + left + right
        lhs = reshape(permute(x, [a.index(n) for n in batch + left]), [sizes[n] for n in batch + left] + [1] * len(right))
        rhs = reshape(
            permute(y, [b.index(n) for n in batch + right]),
            [sizes[n] for n in batch] + [1] * len(left) + [sizes[n] for n in right],
        )
        return F.mul(lhs, rhs), names
    if x.dtype.name == "bool":
        raise RuntimeError("\"addmm_impl_cpu_\" not implemented for 'Bool'")
    names = batch + left + right
    rows, terms, columns = (math.prod(sizes[n] for n in some) for some in (left, inner, right))
    count = (math.prod(sizes[n] for n in batch),) if batch else ()
    product = _as_matrices(
        x,
        tuple([a.index(n) for n in batch + left + inner]),
        (*count, rows, terms),
        y,
        tuple([b.index(n) for n in batch + inner + right]),
        (*count, terms, columns),
        tuple([sizes[n] for n in names]),
    )
    return product, names


Numbers = tuple[int, ...]


@fused(by_numpy=True)
def _as_matrices(
    x: Tensor, order: Numbers, size: Numbers, y: Tensor, y_order: Numbers, y_size: Numbers, out: Numbers
) -> Tensor:
    """The product of two tensors, transposed and reshaped to matrices or batches of them, in the shape ``out``."""
    return reshape(P.matmul(reshape(permute(x, order), size), reshape(permute(y, y_order), y_size)), out)


def _without(x: Tensor, names: list[str], gone: list[str]) -> tuple[Tensor, list[str]]:
    if not gone:
        return x, names
    return sum(x, [names.index(n) for n in gone]), [n for n in names if n not in gone]


def _total(x: Tensor, axis: int) -> Tensor:
    """The sums along an axis, which is kept, in the dtype of x."""
    return sum(x, axis, keepdim=True, dtype=x.dtype)


def tensordot(a: Tensor, b: Tensor, dims: Any = 2) -> Tensor:
    """The sum over the last ``dims`` axes of ``a`` and the first of ``b``, or over two lists of axes."""
    if isinstance(dims, Tensor):
        dims = dims.tolist()
    if isinstance(dims, int):
        if dims < 0:
            raise RuntimeError(f"tensordot expects dims >= 0, but got dims={dims}")
        if dims > min(a.ndim, b.ndim):
            raise RuntimeError(f"tensordot expects dims < ndim_a or ndim_b, but got dims={dims}")
        dims_a, dims_b = list(range(a.ndim - dims, a.ndim)), list(range(dims))
    else:
        if not isinstance(dims, (list, tuple)) or len(dims) != 2:
            raise RuntimeError(f"tensordot expects dims to be int or two lists of ints, but got dims={dims}")
        first, second = dims
        dims_a = [first] if isinstance(first, int) else list(first)
        dims_b = [second] if isinstance(second, int) else list(second)
    if len(dims_a) != len(dims_b):
        raise RuntimeError("both dimension lists should have same length")
    dims_a, dims_b = [one_dim(d, a.ndim) for d in dims_a], [one_dim(d, b.ndim) for d in dims_b]
    for i, j in zip(dims_a, dims_b, strict=True):
        m, n = a._data.shape[i], b._data.shape[j]
        if m != n and 1 not in (m, n):
            raise RuntimeError(
                f"contracted dimensions need to match, but first has size {m} in dim {i} and second has size {n} in dim {j}"
            )
        if m != n:
            a, b = (_total(a, i), b) if n == 1 else (a, _total(b, j))
    free_a, free_b = [i for i in range(a.ndim) if i not in dims_a], [j for j in range(b.ndim) if j not in dims_b]
    inner = math.prod(a._data.shape[i] for i in dims_a)
    out = tuple(a._data.shape[i] for i in free_a) + tuple(b._data.shape[j] for j in free_b)
    m = math.prod(a._data.shape[i] for i in free_a)
    n = math.prod(b._data.shape[j] for j in free_b)
    left = reshape(permute(a, free_a + dims_a), (m, inner))
    right = reshape(permute(b, dims_b + free_b), (inner, n))
    return reshape(matmul(left, right), out)


def inner(input: Tensor, other: Tensor) -> Tensor:
    """The sum of products over the last axes."""
    if input.ndim == 0 or other.ndim == 0:
        return F.mul(input, other)
    if input._data.shape[-1] != other._data.shape[-1]:
        raise RuntimeError(
            f"inner() the last dimension must match on both input tensors but got shapes {list(input.shape)} and "
            f"{list(other.shape)}"
        )
    return tensordot(input, other, ([-1], [-1]))


def vdot(input: Tensor, other: Tensor) -> Tensor:
    """The inner product of two vectors; the first is conjugated."""
    return dot(conj(input), other)


def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """The inner products of vectors along an axis; the first is conjugated."""
    if x.ndim == y.ndim == 1:
        require_one_length(x, y)
    return sum(F.mul(conj(x), y), dim)


def kron(input: Tensor, other: Tensor) -> Tensor:
    """The Kronecker product."""
    rank = max(input.ndim, other.ndim)
    a = reshape(input, (1,) * (rank - input.ndim) + input._data.shape)
    b = reshape(other, (1,) * (rank - other.ndim) + other._data.shape)
    left = reshape(a, tuple(n for e in a._data.shape for n in (e, 1)))
    right = reshape(b, tuple(n for e in b._data.shape for n in (1, e)))
    return reshape(F.mul(left, right), tuple(m * n for m, n in zip(a._data.shape, b._data.shape, strict=True)))


def matrix_trace(input: Tensor) -> Tensor:
    """The sum of the diagonal of a matrix."""
    if input.ndim != 2:
        raise RuntimeError("trace: expected a matrix, but got tensor with dim " + str(input.ndim))
    return sum(diagonal(input))


def cross(input: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    """The cross product of 3-vectors along ``dim`` (by default the first axis of extent 3)."""
    if dim is None:
        found = [i for i, n in enumerate(input._data.shape) if n == 3]
        if not found:
            raise RuntimeError("no dimension of size 3 in input")
        dim = found[0]
    return linalg_cross(input, other, dim=dim)


@fused
@opmath
def linalg_cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """The cross product of 3-vectors along ``dim``."""
    if input.ndim != other.ndim:
        raise RuntimeError("linalg.cross: inputs must have the same number of dimensions.")
    axis = one_dim(dim, input.ndim)
    if input._data.shape[axis] != 3 or other._data.shape[axis] != 3:
        raise RuntimeError(
            f"linalg.cross: inputs dimension {dim} must have length 3. Got {input._data.shape[axis]} and "
            f"{other._data.shape[axis]}"
        )
    a1, b2 = roll(input, -1, axis), roll(other, -2, axis)
    a2, b1 = roll(input, -2, axis), roll(other, -1, axis)
    return F.sub(F.mul(a1, b2), F.mul(a2, b1))


@fused
@opmath
def cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str | None = None) -> Tensor:
    """The ``p`` norms of the differences between all pairs of rows of two matrices."""
    if x1.ndim < 2 or x2.ndim < 2:
        raise RuntimeError(f"cdist only supports at least 2D tensors, X{1 if x1.ndim < 2 else 2} got: {min(x1.ndim, x2.ndim)}D")
    if x1._data.shape[-1] != x2._data.shape[-1]:
        raise RuntimeError(f"X1 and X2 must have the same number of columns. X1: {x1._data.shape[-1]} X2: {x2._data.shape[-1]}")
    if p < 0:
        raise RuntimeError("cdist only supports non-negative p values")
    return _distance(F.sub(unsqueeze(x1, -2), unsqueeze(x2, -3)), p)


@opmath
def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """The ``p`` norms of the differences between the rows of a matrix, once per pair."""
    from .create import tensor

    if input.ndim != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {input.ndim}D")
    if p < 0:
        raise RuntimeError("pdist only supports non-negative p values")
    n = input._data.shape[0]
    i, j = np.triu_indices(n, 1)
    rows = P.index_select(input, tensor(i), axis=0), P.index_select(input, tensor(j), axis=0)
    return _distance(F.sub(*rows), p)


def _distance(x: Tensor, p: float) -> Tensor:
    """The ``p`` norm along the last axis; 0 for vectors without elements. Each of several equal maxima has the whole gradient,
    as in PyTorch's distances; PyTorch's norms share it.
    """
    from .reduce import amax
    from .stats import vector_norm

    if not x._data.shape[-1]:
        return vector_norm(x, 1.0, -1)
    if p != math.inf:
        return vector_norm(x, p, -1)
    size = F.abs(x)
    top = amax(size.detach(), -1)
    largest = F.eq(size, unsqueeze(F.where(F.lt(top, math.inf), top, -1.0), -1))
    return F.add(top, sum(F.where(largest, F.sub(size, size.detach()), 0.0), -1))


def _added(input: Any, product: Tensor, beta: Any, alpha: Any) -> Tensor:
    scaled = F.times(product, alpha)
    if input._data.ndim > product._data.ndim or joint_shape(input._data.shape, product._data.shape) != product._data.shape:
        raise RuntimeError(
            f"The expanded size of the tensor ({list(product.shape)}) must match the existing size ({list(input.shape)})"
        )
    if isinstance(beta, (int, float)) and beta == 0:  # the input is ignored, even NaN
        return constant_in(scaled, input)
    return F.add(F.times(input, beta), scaled)


@opmath
def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta * input + alpha * (mat1 @ mat2)."""
    return _added(input, mm(mat1, mat2), beta, alpha)


@opmath
def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta * input + alpha * (mat @ vec)."""
    if mat.ndim != 2 or vec.ndim != 1:
        raise RuntimeError(f"vector + matrix @ vector expected, got {input.ndim}, {mat.ndim}, {vec.ndim}")
    return _added(input, mv(mat, vec), beta, alpha)


@opmath
def addr(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta * input + alpha * outer(vec1, vec2)."""
    if vec1.ndim != 1 or vec2.ndim != 1:
        raise RuntimeError(f"addr: Expected 1-D argument vec1, but got {vec1.ndim}-D")
    return _added(input, F.mul(unsqueeze(vec1, 1), vec2), beta, alpha)


@opmath
def addbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta * input + alpha * the sum of the products of two batches of matrices."""
    return _added(input, P.sum_(bmm(batch1, batch2), axes=(0,)), beta, alpha)


@opmath
def baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta * input + alpha * the products of two batches of matrices."""
    return _added(input, bmm(batch1, batch2), beta, alpha)


def chain_matmul(*matrices: Tensor) -> Tensor:
    """The product of several matrices, in the optimal order."""
    return multi_dot(matrices)


def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """The product of several matrices (the first and the last may be vectors), in the optimal order.

    The order is found by dynamic programming over the extents (Cormen et al., chapter 15).
    """
    xs = list(tensors)
    if len(xs) < 2:
        raise RuntimeError("multi_dot(): expected at least 2 tensors but got " + str(len(xs)))
    first, last = xs[0].ndim == 1, xs[-1].ndim == 1
    if first:
        xs[0] = unsqueeze(xs[0], 0)
    if last:
        xs[-1] = unsqueeze(xs[-1], 1)
    for k, x in enumerate(xs):
        if x.ndim != 2:
            raise RuntimeError(f"multi_dot(): tensor {k} must be 2D but got {x.ndim}D")
    sizes = [x._data.shape[0] for x in xs] + [xs[-1]._data.shape[1]]
    n = len(xs)
    cost: dict[tuple[int, int], tuple[int, int]] = {(i, i): (0, i) for i in range(n)}
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            cost[i, j] = min(
                (cost[i, k][0] + cost[k + 1, j][0] + sizes[i] * sizes[k + 1] * sizes[j + 1], k) for k in range(i, j)
            )

    def product(i: int, j: int) -> Tensor:
        if i == j:
            return xs[i]
        k = cost[i, j][1]
        return matmul(product(i, k), product(k + 1, j))

    out = product(0, n - 1)
    if first:
        out = squeeze(out, 0)
    return squeeze(out, -1) if last else out
