"""``torch.sparse``: tensors that PyTorch stores sparsely are stored densely here, with the same values."""

from __future__ import annotations

from typing import Any

from .. import nn, ops
from ..core.tensor import Tensor
from .absent import rest_of

__getattr__ = rest_of("sparse")
mm, addmm, sum, softmax, log_softmax = ops.mm, ops.addmm, ops.sum, nn.functional.softmax, nn.functional.log_softmax


def sparse_coo_tensor(
    indices: Any,
    values: Any,
    size: Any = None,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    check_invariants: bool | None = None,
    is_coalesced: bool | None = None,
) -> Tensor:
    """The tensor with these values at the columns of ``indices``, and zeros elsewhere; values for one place are added."""
    places = ops.as_tensor(indices)
    found = ops.as_tensor(values, dtype=dtype, device=device)
    if size is None:
        size = (*(int(n) + 1 for n in places.amax(1)), *found.shape[1:])
    whole = ops.zeros(*size, dtype=found.dtype).index_put(tuple(places), found, accumulate=True)
    return whole.detach().requires_grad_() if requires_grad else whole


def _itself(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """The tensor itself."""
    return input


def _indices(input: Tensor) -> Tensor:
    """The places of the elements that are not zero, as columns."""
    return input.nonzero().T


def _values(input: Tensor) -> Tensor:
    """The elements that are not zero."""
    return input[tuple(_indices(input))]


def enter() -> None:
    """Gives tensors the methods of sparse ones."""
    more: Any = Tensor
    more.to_sparse = more.to_sparse_coo = more.to_sparse_csr = more.coalesce = more.to_dense = _itself
    more.indices = more._indices = _indices
    more.values = more._values = _values
