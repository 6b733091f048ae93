"""In-place initialization, drawn from the default generator."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

from ..autograd.modes import no_grad
from ..core.device import beside
from ..core.tensor import Tensor
from ..ops import create
from ..ops.diagonals import diagonal
from ..ops.offering import offer
from ..ops.pointwise import where
from ..ops.special import erfinv
from ..random import Generator, default_generator, filling, randn, randperm
from ..random.drawing import Draw


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Uniform in [a, b)."""
    with no_grad():
        return filling.uniform_(tensor, a, b, generator=generator)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Normal with the given mean and standard deviation."""
    with no_grad():
        return filling.normal_(tensor, mean, std, generator=generator)


def trunc_normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, generator: Generator | None = None
) -> Tensor:
    """Normal, truncated to [a, b], by the inverse of the distribution function."""
    if a > b:
        raise RuntimeError(f"uniform_ expects to return a [from, to) range, but found from={a} > to={b}")
    if not tensor.is_floating_point():
        raise NotImplementedError(f"\"trunc_normal_\" not implemented for '{tensor.dtype.ctype}'")
    low, high = ((1 + math.erf((x - mean) / std / math.sqrt(2))) / 2 for x in (a, b))

    def between(u: Tensor) -> Tensor:
        return (erfinv(u * (2 * (high - low)) + (2 * low - 1)) * (std * math.sqrt(2)) + mean).clamp(a, b)

    with no_grad():
        return (generator or default_generator).fill(Draw(between, tensor.dtype.wide, tensor.dtype), tensor)


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fills with ``val``."""
    with no_grad():
        return tensor.fill_(val)


def zeros_(tensor: Tensor) -> Tensor:
    """Zeros."""
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """Ones."""
    return constant_(tensor, 1.0)


def eye_(tensor: Tensor) -> Tensor:
    """The identity matrix. Raises ValueError unless the tensor has two dimensions."""
    if tensor.ndim != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    with no_grad():
        return tensor.copy_(create.eye(*tensor.shape, dtype=tensor.dtype, device=beside(tensor)))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """A convolution weight that returns its input, as far as there are channels."""
    if tensor.ndim not in (3, 4, 5):
        raise ValueError("Only tensors with 3, 4, or 5 dimensions are supported")
    out, channels, *kernel = tensor.shape
    if out % groups:
        raise ValueError("dim 0 must be divisible by groups")
    per = out // groups
    with no_grad():
        tensor.zero_()
        for g in range(groups):
            for k in range(min(per, channels)):
                tensor[(g * per + k, k, *(n // 2 for n in kernel))] = 1
    return tensor


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Generator | None = None) -> Tensor:
    """Normal, with a fraction of each column zero (Martens 2010)."""
    if tensor.ndim != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    rows, columns = tensor.shape
    zeros = math.ceil(sparsity * rows)
    with no_grad():
        normal_(tensor, 0, std, generator)
        for j in range(columns):
            tensor[randperm(rows)[:zeros], j] = 0
    return tensor


def fans(tensor: Tensor) -> tuple[int, int]:
    """The numbers of inputs and outputs that a weight connects. Raises ValueError for fewer than two dimensions."""
    if tensor.ndim < 2:
        raise ValueError("Fan in and fan out can not be computed for tensor with fewer than 2 dimensions")
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


_GAINS = {"sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2), "selu": 3 / 4}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The recommended factor of the standard deviation before a nonlinearity (He et al. 2015).

    Raises ValueError for unknown ones.
    """
    if nonlinearity.startswith(("linear", "conv")):
        return 1.0
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        if isinstance(slope, bool) or not isinstance(slope, (int, float)):
            raise ValueError(f"negative_slope {param} not a valid number")
        return math.sqrt(2 / (1 + slope * slope))
    if nonlinearity not in _GAINS:
        raise ValueError(f"Unsupported nonlinearity {nonlinearity}")
    return _GAINS[nonlinearity]


# PyTorch's names, which programs use although they are not public.
_calculate_fan_in_and_fan_out = fans


def _calculate_correct_fan(tensor: Tensor, mode: str) -> int:
    if mode.lower() not in ("fan_in", "fan_out"):
        raise ValueError(f"Mode {mode} not supported, please use one of ['fan_in', 'fan_out']")
    return fans(tensor)[0 if mode.lower() == "fan_in" else 1]


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    return calculate_gain(nonlinearity, a) / math.sqrt(_calculate_correct_fan(tensor, mode))


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Uniform with the variance of He et al. 2015."""
    if 0 in tensor.shape:
        return tensor
    bound = math.sqrt(3) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Normal with the variance of He et al. 2015."""
    return tensor if 0 in tensor.shape else normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity), generator)


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Uniform with the variance of Glorot, Bengio 2010."""
    bound = gain * math.sqrt(6 / sum(fans(tensor)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Normal with the variance of Glorot, Bengio 2010."""
    return normal_(tensor, 0.0, gain * math.sqrt(2 / sum(fans(tensor))), generator)


def orthogonal_(tensor: Tensor, gain: float = 1, generator: Generator | None = None) -> Tensor:
    """A (semi-)orthogonal matrix; the axes after the first are merged (Saxe et al. 2013)."""
    from ..linalg import qr

    if tensor.ndim < 2:
        raise ValueError("Only tensors with 2 or more dimensions are supported")
    if tensor.numel() == 0:
        return tensor
    rows = tensor.shape[0]
    columns = tensor.numel() // rows
    with no_grad():
        flat = randn((max(rows, columns), min(rows, columns)), dtype=tensor.dtype, generator=generator)
        q, r = qr(flat)
        q = q * where(diagonal(r) < 0, -1.0, 1.0)  # uniformly distributed over all such matrices
        return tensor.copy_(((q.T if rows < columns else q) * gain).reshape(tensor.shape))


def _old(function: Any) -> Any:
    """The names before PyTorch 0.4, without an underscore."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Tensor:
        return function(*args, **kwargs)

    call.__name__ = call.__qualname__ = function.__name__[:-1]

    call.__doc__ = f"The old name of ``{function.__name__}``."
    return call


uniform, normal, constant, eye, dirac, sparse = map(_old, (uniform_, normal_, constant_, eye_, dirac_, sparse_))
xavier_uniform, xavier_normal = _old(xavier_uniform_), _old(xavier_normal_)
kaiming_uniform, kaiming_normal, orthogonal = map(_old, (kaiming_uniform_, kaiming_normal_, orthogonal_))

if not TYPE_CHECKING:  # a type checker uses the definitions above
    offer(
        globals(),
        [name for name, value in globals().items() if getattr(value, "__module__", "") == __name__ and name[0] != "_"],
    )
