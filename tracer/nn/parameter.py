"""Tensors that belong to a module."""

from __future__ import annotations

from ..tensor import Tensor


class Parameter(Tensor):
    """A tensor that registers itself when assigned to a module's attribute. Requires gradients unless told otherwise."""

    def __init__(self, data: Tensor | None = None, requires_grad: bool = True):
        source = Tensor() if data is None else data
        self._data = source._data
        self._counter = source._changes()
        if requires_grad and not (source.is_floating_point() or source.is_complex()):
            raise RuntimeError("Only Tensors of floating point and complex dtype can require gradients")
        self._requires_grad = requires_grad

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"


class Buffer(Tensor):
    """A tensor that becomes a buffer when assigned to a module's attribute; part of its state unless not ``persistent``."""

    def __init__(self, data: Tensor | None = None, *, persistent: bool = True):
        source = Tensor() if data is None else data
        self._data = source._data
        self._counter = source._changes()
        self.persistent = persistent
