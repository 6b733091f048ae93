"""Special views: those whose elements are not stored, and those that must not be changed in place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..ir.interp import DIRECT, using
from ..ir.ops import conj, reshape
from ..runtime.devices import Applying, device_of, layout_of
from .context import context
from .tensor import Tensor


def base_of(t: Tensor) -> Tensor | None:
    """The base for autograd of a view; None for other tensors."""
    if t._inference:
        return None
    found = at = t
    while at._view is not None and at._view[1].differentiable:
        at = at._view[0]
        if not any(at is former for former in found._formers):
            found = at
    return None if found is t else found


class LazyView(Tensor):
    """A view through a conjugation. Its elements are computed from its base's at each read."""

    @property  # type: ignore[override]
    def _data(self) -> np.ndarray:
        parent, primitive, attrs = self._viewed()
        seen: Any = parent._data
        if (device := device_of(seen)) is not None:
            return device.apply(primitive, [seen], attrs)  # type: ignore[return-value]
        data = np.asarray(_conjugated(seen) if primitive is conj else primitive.impl(seen, **attrs))
        data.flags.writeable = False
        return data

    @_data.setter
    def _data(self, data: np.ndarray) -> None:
        """Ignored: the base determines the elements."""

    def _address(self) -> int:
        return self._addressed().__array_interface__["data"][0]

    def _addressed(self) -> np.ndarray:
        """An array with the address and strides that the elements would have if they were stored."""
        parent, primitive, attrs = self._viewed()
        seen: Any = parent._addressed() if isinstance(parent, LazyView) else parent._data
        seen = layout_of(seen)
        return seen if primitive is conj else primitive.impl(seen, **attrs)

    def write(self, elements: np.ndarray) -> None:
        """Writes elements to the base's memory, in the form stored there."""
        t: Tensor = self
        device = device_of(t._root()._data)
        with using(DIRECT if device is None else Applying(device)):
            while isinstance(t, LazyView):
                parent, primitive, attrs = t._viewed()
                assert primitive.put is not None
                elements = primitive.put(parent._data, elements, parent.type_, **attrs)
                t = parent
        t._data[...] = elements

    def __deepcopy__(self, memo: dict[Any, Any]) -> Tensor:
        return self.clone().__deepcopy__(memo)

    def __reduce__(self) -> Any:
        return self.detach().clone().__reduce__()


def _conjugated(x: np.ndarray) -> np.ndarray:
    """The conjugates of complex numbers, with the same memory layout."""
    if x.flags.c_contiguous:
        return np.conj(x)
    span = sum((n - 1) * s for n, s in zip(x.shape, x.strides, strict=True)) if x.size else 0
    memory = np.empty(span // x.itemsize + 1, x.dtype)
    return np.conj(x, out=np.ndarray(x.shape, x.dtype, memory, 0, x.strides))


def conjugated(t: Tensor) -> bool:
    """True if a tensor is a view through an odd number of conjugations."""
    odd = False
    while isinstance(t, LazyView):
        t, primitive, _ = t._viewed()
        odd ^= primitive is conj
    return odd


def without_conjugation(t: Tensor) -> Tensor:
    """The conjugate of a conjugated view, as a stored tensor: the same view of the unconjugated base."""
    made = t._made
    steps: list[Any] = []
    while True:
        t, primitive, attrs = t._viewed()
        if primitive is conj:
            break
        steps.append((primitive, attrs))
    if not steps:
        return reshape(t, shape=t._data.shape)
    for primitive, attrs in reversed(steps):
        t = primitive(t, **attrs)
    t._made = made
    return t


class Made(NamedTuple):
    """The origin of a view that must not be changed in place while autograd records.

    kind     ``multiple``: one of several views; ``function``: from a user's ``Function``; ``no_grad`` or ``inference``: from
             such a block
    output   the number of the view
    """

    kind: str
    output: int


IN_NO_GRAD, IN_INFERENCE = Made("no_grad", 0), Made("inference", 0)

_WHY = {
    "multiple": "This view is the output of a function that returns multiple views. Such functions do not allow the output "
    "views to be modified inplace. You should replace the inplace operation by an out-of-place one.",
    "function": "This view was created inside a custom Function (or because an input was returned as-is) and the autograd "
    "logic to handle view+inplace would override the custom backward associated with the custom Function, leading to "
    "incorrect gradients. This behavior is forbidden. You can fix this by cloning the output of the custom Function.",
    "no_grad": "Given that this use case is ambiguous and error-prone, it is forbidden. You can clarify your code by moving "
    "both the view and the inplace either both inside the no_grad block (if you don't want the inplace to be tracked) or both "
    "outside (if you want the inplace to be tracked).",
}
_WHY["inference"] = _WHY["no_grad"].replace("no_grad", "inference_mode")


def refused(t: Tensor, indirect: bool) -> RuntimeError:
    """PyTorch's error for an in-place change, of a view or of memory that it shares, that autograd cannot track."""
    made: Made = t._made  # type: ignore[assignment]
    node = t._grad_fn
    done = "its base or another view of its base has been" if indirect else "is being"
    origin = None if node is None else f"Output {made.output} of {node.name().removesuffix('0').removesuffix('Backward')}"
    mode = "inference" if made.kind == "inference" else "no_grad"
    if origin is None or made.kind == mode:
        how = "A view was created in" if origin is None else f"{origin} is a view of a view which was created in"
        after = "in normal mode" if made.kind == "inference" else "with grad mode enabled"
        return RuntimeError(f"{how} {mode} mode and {done} modified inplace {after}. {_WHY[made.kind]}")
    return RuntimeError(f"{origin} is a view and {done} modified inplace. {_WHY[made.kind]}")


def one_of_several(views: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The results of a function that returns several views."""
    if context.grad_enabled:
        for k, t in enumerate(views):
            if t._view is not None:
                t._made = Made("multiple", k)
    return tuple(views)
