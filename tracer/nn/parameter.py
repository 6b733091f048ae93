"""Tensors that modules register."""

from __future__ import annotations

from typing import Any

from ..core.attributes import separate
from ..core.tensor import Tensor
from ..ir.types import DType
from ..ops import create


def _source(name: str, data: Any) -> Tensor:
    if data is None:
        return Tensor()
    if not isinstance(data, Tensor):
        raise TypeError(f"{name}(): argument 'data' (position 1) must be Tensor, not {type(data).__name__}")
    return data


class Parameter(Tensor):
    """A tensor that registers itself when assigned to a module's attribute; it shares the memory of ``data`` (None is an empty
    tensor). ``requires_grad`` False: no gradient. Raises RuntimeError if a gradient is required of a dtype that is not floating
    or complex.
    """

    def __init__(self, data: Tensor | None = None, requires_grad: bool = True):
        source = _source("Parameter", data)
        self._data = source._data
        self._counter = source._changes()
        if requires_grad and not (source.is_floating_point() or source.is_complex()):
            raise RuntimeError("Only Tensors of floating point and complex dtype can require gradients")
        separate(self, source)
        self._requires_grad = requires_grad

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"


class Buffer(Tensor):
    """A tensor that becomes a buffer when assigned to a module's attribute; part of its state unless not ``persistent``. It
    shares the memory of ``data`` (None is an empty tensor), of any shape and dtype. Raises TypeError for anything but a tensor.
    """

    def __init__(self, data: Tensor | None = None, *, persistent: bool = True):
        source = _source("Buffer", data)
        self._data = source._data
        self._counter = source._changes()
        separate(self, source)
        self.persistent = persistent


class _Uninitialized:
    """It gets its shape later, by ``materialize``; its dtype can be inspected, but reading its shape or computing with it
    raises RuntimeError.
    """

    def materialize(self, shape: Any, device: Any = None, dtype: DType | None = None) -> None:
        """Sets the tensor's shape, and allocates its memory."""
        kept: Any = self
        kind = kept.dtype if dtype is None else dtype
        kept._data = create.zeros(tuple(shape), dtype=kind)._data
        kept.__class__ = self._whole  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    @property
    def shape(self) -> Any:
        raise RuntimeError(
            "Can't access the shape of an uninitialized parameter or buffer. This error usually happens in `load_state_dict` "
            "when trying to load an uninitialized parameter into an initialized one. Call `forward` to initialize the "
            "parameters before accessing their attributes."
        )


class UninitializedParameter(_Uninitialized, Parameter):
    """A parameter without a shape, for lazy modules. ``requires_grad`` False: no gradient. ``device`` None is the CPU,
    ``dtype`` None the default dtype.
    """

    _whole = Parameter

    def __init__(self, requires_grad: bool = True, device: Any = None, dtype: DType | None = None):
        super().__init__(create.zeros(0, dtype=dtype), requires_grad)


class UninitializedBuffer(_Uninitialized, Buffer):
    """A buffer without a shape, for lazy modules; part of the state unless not ``persistent``. ``requires_grad`` has no effect.
    ``device`` None is the CPU, ``dtype`` None the default dtype.
    """

    _whole = Buffer

    def __init__(self, requires_grad: bool = False, device: Any = None, dtype: DType | None = None, persistent: bool = True):
        super().__init__(create.zeros(0, dtype=dtype), persistent=persistent)


def is_lazy(param: Any) -> bool:
    """True if a parameter or buffer has no shape yet."""
    return isinstance(param, _Uninitialized)
