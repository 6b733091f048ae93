"""Orthogonal polynomials at ``input`` of degree ``n``; both broadcast, and one of them may be a number."""

from __future__ import annotations

from typing import Any

from ..core.tensor import Tensor
from ..ir import ops as P
from .common import match
from .moving import broadcast_tensors

__all__: list[str] = []  # exported only by ``special``

_NAMES = {
    "chebyshev_polynomial_t": ("chebyshev_t", "Chebyshev's polynomial of the first kind"),
    "chebyshev_polynomial_u": ("chebyshev_u", "Chebyshev's polynomial of the second kind"),
    "chebyshev_polynomial_v": ("chebyshev_v", "Chebyshev's polynomial of the third kind"),
    "chebyshev_polynomial_w": ("chebyshev_w", "Chebyshev's polynomial of the fourth kind"),
    "shifted_chebyshev_polynomial_t": ("shifted_chebyshev_t", "Chebyshev's polynomial of the first kind, at 2 x - 1"),
    "shifted_chebyshev_polynomial_u": ("shifted_chebyshev_u", "Chebyshev's polynomial of the second kind, at 2 x - 1"),
    "shifted_chebyshev_polynomial_v": ("shifted_chebyshev_v", "Chebyshev's polynomial of the third kind, at 2 x - 1"),
    "shifted_chebyshev_polynomial_w": ("shifted_chebyshev_w", "Chebyshev's polynomial of the fourth kind, at 2 x - 1"),
    "hermite_polynomial_h": ("hermite_h", "Hermite's polynomial of the physicists"),
    "hermite_polynomial_he": ("hermite_he", "Hermite's polynomial of the probabilists"),
    "laguerre_polynomial_l": ("laguerre_l", "Laguerre's polynomial"),
    "legendre_polynomial_p": ("legendre_p", "Legendre's polynomial"),
}


def _polynomial(name: str, family: str, what: str) -> Any:
    def f(input: Any, n: Any) -> Tensor:
        a, b = match(input, n, floating=True)
        like = a if isinstance(a, Tensor) else b
        x, degree = (v if isinstance(v, Tensor) else P.full(value=float(v), shape=(), dtype=like.dtype.short) for v in (a, b))
        return P.orthogonal_polynomial(*broadcast_tensors(x, degree), family=family)

    f.__name__ = f.__qualname__ = name
    f.__doc__ = f"{what} of degree ``n``, elementwise; 0 for negative degrees. Not differentiable."
    return f


for _name, (_family, _what) in _NAMES.items():
    globals()[_name] = _polynomial(_name, _family, _what)
NAMES = tuple(_NAMES)
