"""The matrix exponential; compiled programs call it on the host. Batches of matrices are supported."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..primitive import host
from .decompose import _like, _square, t
from .elementwise import abs_, add, detach, div, gt, mul, where
from .movement import broadcast, pad, slice_
from .reduce import max_

_DEGREE = 18


def _matrix_exp(a: Any) -> np.ndarray:
    """Scaling and squaring of a Taylor polynomial (Bader, Blanes, Casas 2019), each matrix by its own norm."""
    a = np.asarray(a)
    n = a.shape[-1]
    flat = a.reshape(-1, n, n)
    size = np.abs(flat).sum(-2).max(-1, initial=0)
    squarings = np.maximum(np.frexp(np.where(np.isfinite(size), size, 0))[1], 0)
    x = flat * np.ldexp(np.ones(1, size.dtype), -squarings)[:, None, None]
    one = np.eye(n, dtype=a.dtype)
    out = np.broadcast_to(one, flat.shape).copy()
    for k in range(_DEGREE, 0, -1):
        out = one + x @ out / a.dtype.type(k)
    for k in range(squarings.max(initial=0)):
        again = squarings > k
        out[again] = out[again] @ out[again]
    return out.reshape(a.shape)


def _matrix_exp_vjp(g: Any, a: Any) -> Any:
    """The corner of the exponential of [[a', g], [0, a']] (Mathias 1996)."""
    *lead, n, _ = a.shape
    none = (0,) * len(lead)

    def placed(x: Any, row: int, column: int) -> Any:
        low = (*none, row * n, column * n)
        high = (*none, n - row * n, n - column * n)
        return pad(x, low=low, high=high, interior=(*none, 0, 0), value=0)

    # The derivative is linear in g, which is normalised so that its norm does not affect the scaling of a.
    size = max_(abs_(detach(g)), axes=(len(lead), len(lead) + 1))
    size = broadcast(where(gt(size, 0), size, 1), shape=tuple(a.shape), axes=tuple(range(len(lead))))
    size = _like(size, g)
    whole = matrix_exp(add(add(placed(t(a), 0, 0), placed(div(g, size), 0, 1)), placed(t(a), 1, 1)))
    corner = slice_(whole, starts=(*none, 0, n), stops=(*lead, n, 2 * n), steps=(1,) * (len(lead) + 2))
    return mul(corner, size)


matrix_exp = host("matrix_exp", _matrix_exp, "a", infer=_square, vjp=(_matrix_exp_vjp,), torch_name="LinalgMatrixExp")

__all__ = ["matrix_exp"]
