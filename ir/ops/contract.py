"""Products: of matrices, and of strided views of arrays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..primitive import Kind, primitive
from ..types import TensorType, bool_, dtype_of
from .movement import Shape, permute, reshape
from .reduce import sum_
from .summation import product


def _infer(a: TensorType, b: TensorType, ta: bool, tb: bool, wide: bool) -> TensorType:
    if a.dtype is not b.dtype or a.dtype is bool_:
        raise RuntimeError(f"expected two operands of one numeric dtype, got {a.dtype.name} and {b.dtype.name}")
    if min(a.rank, b.rank) < 2 or (a.shape[:-2] != b.shape[:-2] and 2 not in (a.rank, b.rank)):
        raise ValueError(f"matmul needs matrices, or equal batches of them, got {a} and {b}")
    m, k = a.shape[-2:][::-1] if ta else a.shape[-2:]
    k2, n = b.shape[-2:][::-1] if tb else b.shape[-2:]
    if k != k2:
        raise RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({m}x{k} and {k2}x{n})")
    return TensorType(a.dtype.wide if wide else a.dtype, (*(a.shape[:-2] or b.shape[:-2]), m, n), a.device)


def _impl(a: Any, b: Any, ta: bool, tb: bool, wide: bool) -> Any:
    return product(a.swapaxes(-1, -2) if ta else a, b.swapaxes(-1, -2) if tb else b)


def _product(x: Any, y: Any, ta: bool, tb: bool, like: TensorType) -> Any:
    """A product, summed over the batch if it is the cotangent of one matrix for a whole batch.

    If the products are smaller than the operands they are computed and summed; otherwise the matrices are concatenated for
    a single product.
    """
    lead = len(x.shape) - 2
    if like.rank > 2 or not lead:
        return matmul(x, y, ta=ta, tb=tb)
    inner, (m, n) = x.shape[-2 if ta else -1], like.shape
    if m * n <= inner * (m + n):
        return sum_(matmul(x, y, ta=ta, tb=tb), axes=tuple(range(lead)))
    return matmul(_side_by_side(x, ta), _side_by_side(y, not tb), tb=True)


def _side_by_side(x: Any, transposed: bool) -> Any:
    """The matrices of a batch, or their transposes, concatenated along the columns."""
    lead = len(x.shape) - 2
    row, column = (lead + 1, lead) if transposed else (lead, lead + 1)
    x = permute(x, axes=(row, *range(lead), column))
    return reshape(x, shape=(x.shape[0], math.prod(x.shape[1:])))


# C = A' B' with A' = A or its transpose (ta), likewise B. Operands are matrices, or equal batches of matrices, or a matrix and
# a batch. ``wide``: 16-bit operands give a 32-bit result. The cotangents, dA' = G B'^T and dB' = A'^T G, are products of the
# same form: transposes stay flags.
matmul = primitive(
    "matmul",
    Kind.CONTRACTION,
    "a b",
    infer=_infer,
    impl=_impl,
    vjp=(
        lambda g, b, a_type, ta, tb: _product(b, g, tb, True, a_type) if ta else _product(g, b, False, not tb, a_type),
        lambda g, a, b_type, ta, tb: _product(g, a, True, ta, b_type) if tb else _product(a, g, not ta, False, b_type),
    ),
    defaults={"ta": False, "tb": False, "wide": False},
    torch_name="Mm",
)


# addmm: a product of floating-point matrices plus one number for each column, rounded once to the dtype of the operands. A pass
# creates it for devices whose library adds the bias.


def _infer_addmm(a: TensorType, b: TensorType, bias: TensorType, ta: bool, tb: bool) -> TensorType:
    c = _infer(a, b, ta, tb, False)
    if not a.dtype.is_floating_point or bias.dtype is not a.dtype or bias.shape != c.shape[-1:]:
        raise RuntimeError(f"addmm needs floating operands and a bias for each column, got {a}, {b} and {bias}")
    return c


def _addmm(a: Any, b: Any, bias: Any, ta: bool, tb: bool) -> Any:
    wide = dtype_of(a.dtype).wide.numpy
    return (_impl(a.astype(wide), b.astype(wide), ta, tb, False) + bias.astype(wide)).astype(a.dtype)


addmm = primitive("addmm", Kind.CONTRACTION, "a b bias", infer=_infer_addmm, impl=_addmm, defaults={"ta": False, "tb": False})


# contract: a product whose operands and result are strided views of arrays. For all positions i within the extents,
#   c[c_start + sum(i * c_steps)] += a[a_start + sum(i * a_steps)] * b[b_start + sum(i * b_steps)]
# where a, b and c are flat, c is zero before, and ``starts`` are (a_start, b_start, c_start). An axis has steps in all three
# (a batch), in a and c (rows), in b and c (columns) or in a and b (the inner extent). With ``folded`` = n, products of
# different rows and columns may be added to one element within the last n axes of c; otherwise each element is that of one row
# and column. Passes create it, because views that are read in place need no copies: the windows of a convolution, for example.


def roles(a_steps: Shape, b_steps: Shape, c_steps: Shape) -> dict[str, list[int]]:
    """The axes that are batches, rows, columns and inner extents, each from the outermost to the innermost."""
    found: dict[str, list[int]] = {"batch": [], "rows": [], "columns": [], "inner": []}
    for i, steps in enumerate(zip(a_steps, b_steps, c_steps, strict=True)):
        kind = _ROLES.get(tuple(map(bool, steps)))
        if kind is None:
            raise ValueError(f"axis {i} of a contraction has steps {steps}")
        found[kind].append(i)
    return found


_ROLES: dict[tuple[bool, ...], str] = {
    (True, True, True): "batch",
    (True, False, True): "rows",
    (False, True, True): "columns",
    (True, True, False): "inner",
}


_TILES, _CHANNELS, _WASTE = 128, 16, 1.4  # the least, and the most elements computed for one of the result
_MOST_TERMS = 2048  # added in the format of the operands
_MOST_WEIGHTS = 1 << 20  # pairs of channels, each of which takes 16 numbers while a convolution runs


def tiles(lines: int, columns: int) -> int:
    """The number of 2 x 2 tiles of an image."""
    return -(-lines // 2) * -(-columns // 2)


def repays_tiles(rows: int, channels: int, images: int, lines: int, columns: int) -> bool:
    """True if a convolution of 3 x 3 windows with stride 1, whose results have this size, has enough channels and tiles of
    2 x 2 results for Winograd's algorithm.
    """
    count = images * tiles(lines, columns)
    waste = 4 * tiles(lines, columns) / max(lines * columns, 1)
    enough = count >= _TILES and min(rows, channels) >= _CHANNELS
    return enough and waste <= _WASTE and channels <= _MOST_TERMS and rows * channels <= _MOST_WEIGHTS


def _infer_contract(
    a: TensorType,
    b: TensorType,
    shape: Shape,
    extents: Shape,
    a_steps: Shape,
    b_steps: Shape,
    c_steps: Shape,
    starts: Shape,
    folded: int,
    wide: bool,
) -> TensorType:
    if a.dtype is not b.dtype or not a.dtype.is_floating_point:
        raise RuntimeError(f"expected two operands of one floating dtype, got {a.dtype.name} and {b.dtype.name}")
    c = TensorType(a.dtype.wide if wide else a.dtype, tuple(shape), a.device)
    if not len(a_steps) == len(b_steps) == len(c_steps) == len(extents) or len(starts) != 3 or min(extents, default=1) < 1:
        raise ValueError(f"a contraction over {extents} from {starts} by {a_steps}, {b_steps}, {c_steps}")
    roles(a_steps, b_steps, c_steps)
    for x, steps, start in zip((a, b, c), (a_steps, b_steps, c_steps), starts, strict=True):
        reach = [(n - 1) * s for n, s in zip(extents, steps, strict=True)]
        low, high = start + sum(min(r, 0) for r in reach), start + sum(max(r, 0) for r in reach)
        if low < 0 or high >= x.numel:
            raise ValueError(f"a contraction reaches elements {low} to {high} of {x}")
    written = math.prod(n for n, s in zip(extents, c_steps, strict=True) if s)
    if not 0 <= folded <= len(shape) or (not folded and written != c.numel):
        raise ValueError(f"a contraction over {extents} by {c_steps} does not give {c}")
    return c


def _contract(
    a: Any,
    b: Any,
    shape: Shape,
    extents: Shape,
    a_steps: Shape,
    b_steps: Shape,
    c_steps: Shape,
    starts: Shape,
    folded: int,
    wide: bool,
) -> Any:
    kinds = roles(a_steps, b_steps, c_steps)

    def matrices(x: Any, start: int, steps: Shape, *parts: str) -> Any:
        """The elements of a flat array, as an axis for each part."""
        axes = [i for part in parts for i in kinds[part]]
        by = [steps[i] * x.itemsize for i in axes]
        view = np.lib.stride_tricks.as_strided(x[start:], [extents[i] for i in axes], by, writeable=False)
        return view.reshape([math.prod([extents[i] for i in kinds[part]]) for part in parts])

    left = matrices(np.ravel(a), starts[0], a_steps, "batch", "rows", "inner")
    right = matrices(np.ravel(b), starts[1], b_steps, "batch", "inner", "columns")
    terms = product(left, right)
    y = np.zeros(math.prod(shape), terms.dtype)
    np.add.at(y, matrices(np.arange(y.size), starts[2], c_steps, "batch", "rows", "columns"), terms)
    return y.reshape(shape)


contract = primitive(
    "contract",
    Kind.CONTRACTION,
    "a b",
    infer=_infer_contract,
    impl=_contract,
    defaults={"folded": 0, "wide": False},
)
