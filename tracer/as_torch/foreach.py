"""``torch._foreach_*``: operations on lists of tensors, one by one, for optimizers of other packages."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from .. import ops
from ..core.tensor import Tensor
from ..linalg import vector_norm

_NAMES = """abs acos add addcdiv addcmul asin atan ceil clamp_max clamp_min copy cos cosh div erf erfc exp expm1 floor frac
    lerp lgamma log log10 log1p log2 max mul neg norm pow reciprocal round rsqrt sigmoid sign sin sinh sqrt sub tan tanh trunc
    zero""".split()  # noqa: SIM905
# Of which an operand may be a number.
_LIMITS = {"maximum": ("maximum", "clamp_min"), "minimum": ("minimum", "clamp_max")}


def _each(operation: Callable[..., Any]) -> Callable[..., Any]:
    """The function of lists that calls one of tensors. Arguments are lists, or the same for all."""

    def call(self: Sequence[Tensor], *args: Any, **kwargs: Any) -> list[Any]:
        rows = [[x[i] if isinstance(x, (list, tuple)) else x for x in args] for i in range(len(self))]
        return [operation(t, *row, **kwargs) for t, row in zip(self, rows, strict=True)]

    return call


def _limited(of_tensors: Any, of_numbers: Any, in_place: bool, t: Tensor, limit: Any) -> Tensor:
    """The larger or smaller one of a tensor's elements and a limit, a tensor or a number."""
    found: Tensor = (of_tensors if isinstance(limit, Tensor) else of_numbers)(t, limit)
    return t.copy_(found) if in_place else found


def functions() -> dict[str, Callable[..., Any]]:
    """The functions by name: with a final underscore, those that change the tensors of the first list."""
    found = {}
    for name in _NAMES:
        if hasattr(ops, name):
            found[f"_foreach_{name}"] = _each(getattr(ops, name))
        if hasattr(Tensor, f"{name}_"):
            found[f"_foreach_{name}_"] = _each(getattr(Tensor, f"{name}_"))
    for name, spellings in _LIMITS.items():
        of_tensors, of_numbers = (getattr(ops, spelling) for spelling in spellings)
        for end in ("", "_"):
            found[f"_foreach_{name}{end}"] = _each(functools.partial(_limited, of_tensors, of_numbers, bool(end)))
    found["_foreach_norm"] = _each(vector_norm)
    found["_amp_foreach_non_finite_check_and_unscale_"] = _unscale
    return found


def _unscale(self: Sequence[Tensor], found_inf: Tensor, inv_scale: Tensor) -> None:
    """Multiplies gradients by ``inv_scale``; writes 1 to ``found_inf`` if an element is not finite."""
    for t in self:
        found_inf.copy_(ops.maximum(found_inf, (~ops.isfinite(t)).any().to(found_inf.dtype)))
        t.mul_(inv_scale.to(t.dtype))


def _group_tensors_by_device_and_dtype(
    tensorlistlist: Sequence[Sequence[Tensor | None]], with_indices: bool = False
) -> dict[tuple[Any, Any], tuple[list[list[Tensor | None]], list[int]]]:
    """The lists, divided by the device and dtype of the first list's tensors; with the positions if ``with_indices``."""
    groups: dict[tuple[Any, Any], tuple[list[list[Tensor | None]], list[int]]] = {}
    for i, first in enumerate(tensorlistlist[0]):
        assert first is not None
        lists, positions = groups.setdefault((first.device, first.dtype), ([[] for _ in tensorlistlist], []))
        for group, given in zip(lists, tensorlistlist, strict=True):
            if given:
                group.append(given[i])
        if with_indices:
            positions.append(i)
    return groups


def _get_foreach_kernels_supported_devices() -> list[str]:
    """No device: functions of lists call those of tensors."""
    return []


_get_fused_kernels_supported_devices = _get_foreach_kernels_supported_devices


def _has_foreach_support(tensors: Sequence[Tensor], device: Any) -> bool:
    """False."""
    return False


def _device_has_foreach_support(device: Any) -> bool:
    """False."""
    return False
