"""Tensor attributes about storage and device, and the storage objects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, overload

import numpy as np

from ..ir.ops.movement import strides_of
from ..ir.types import DType
from ..ops.common import one_dim
from .context import COUNTED, context, not_in_traces, shape_is_read
from .device import CPU, device, moved
from .layout import strided
from .pinning import is_pinned, pin_memory, record_stream
from .tensor import Tensor
from .views import base_of


class UntypedStorage:
    """The memory of a tensor and of all its views, as bytes."""

    def __init__(self, owner: Tensor):
        self._owner = owner

    @property
    def _memory(self) -> np.ndarray:
        return self._owner._data

    def data_ptr(self) -> int:
        """The address of the first byte."""
        return self._owner.data_ptr()

    def nbytes(self) -> int:
        """The number of bytes."""
        return int(self._memory.nbytes)

    size = __len__ = nbytes

    @property
    def device(self) -> device:
        return CPU

    def tolist(self) -> list[int]:
        """All bytes as numbers."""
        return list(np.ascontiguousarray(self._memory).tobytes())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UntypedStorage) and hash(self) == hash(other)

    def __hash__(self) -> int:
        if context.recorder is not None:
            context.recorder.give_up("compares memory")
        return id(self._owner)


class TypedStorage(UntypedStorage):
    """The memory of a tensor and of all its views, as elements."""

    def size(self) -> int:
        """The number of elements."""
        return int(self._memory.size)

    __len__ = size

    @property
    def dtype(self) -> Any:
        return self._owner.dtype

    def untyped(self) -> UntypedStorage:
        """The same as bytes."""
        return UntypedStorage(self._owner)

    def tolist(self) -> list[Any]:
        """All elements in order of memory."""
        return list(self._memory.ravel(order="K").tolist())


@overload
def stride(self: Tensor) -> tuple[int, ...]: ...
@overload
def stride(self: Tensor, dim: int) -> int: ...
def stride(self: Tensor, dim: int | None = None) -> Any:
    """The distances, in elements, between neighbours along each axis, or along one."""
    if COUNTED:
        shape_is_read(self)
    strides = tuple([s // self._data.itemsize for s in strides_of(self._data)])
    return strides if dim is None else strides[one_dim(dim, self.ndim)]


def _base(self: Tensor) -> Tensor | None:
    """For a view: its base for autograd."""
    not_in_traces(self, "reads the base of a view made outside")
    return base_of(self)


def _is_view(self: Tensor) -> bool:
    return base_of(self) is not None


def _is_inference(self: Tensor) -> bool:
    """True if it was created in ``inference_mode``; it can never take part in autograd."""
    not_in_traces(self, "reads whether a tensor made outside belongs to inference mode")
    return self._inference


def storage_offset(self: Tensor) -> int:
    """The offset of the first element in the base's memory, in elements."""
    not_in_traces(self, "reads the offset of a tensor made outside in its memory")
    if context.recorder is not None:
        context.recorder.movings.read_offset(context.recorder, self)
    start, root = self._address(), self._root()
    if self._data.size and "_data" in vars(self) and not np.may_share_memory(self._data, root._data):
        return 0  # no shared memory: one of them was given other data
    return (start - root._address()) // self._data.itemsize


def dim_order(self: Tensor) -> tuple[int, ...]:
    """The axes in memory order, outermost first."""
    strides = self.stride()
    return tuple(sorted(range(self.ndim), key=lambda axis: (-strides[axis], axis)))


def _cuda(self: Tensor, device: Any = None, non_blocking: bool = False, memory_format: Any = None) -> Tensor:
    """A copy on a CUDA device; the tensor itself if it is there. Raises RuntimeError if there is no such device."""
    return moved(self, "cuda" if device is None else device, wait=not non_blocking)


def _as_subclass(self: Tensor, cls: type[Tensor]) -> Tensor:
    """A tensor of another class on the same memory, at the same position in the graph."""
    if not (isinstance(cls, type) and issubclass(cls, Tensor)):
        raise TypeError("as_subclass(): argument 'cls' must be a subclass of Tensor")
    out = self.view_as(self)
    out.__class__ = cls
    return out


def _make_subclass(cls: type[Tensor], data: Tensor, require_grad: bool = False) -> Tensor:
    """A leaf of a class on the memory of ``data``, without a call of ``__init__``: for ``__new__`` of subclasses."""
    out = separate(_as_subclass(data.detach(), cls), data)
    return out.requires_grad_() if require_grad else out


def separate(out: Tensor, data: Tensor) -> Tensor:
    """Makes ``out``, which has the memory of ``data``, a tensor that is no view of it. Returns it."""
    from ..ir.ops import detach

    recorder = context.recorder
    if recorder is not None:
        if not recorder.knows(out):
            recorder.record(detach, (data,), {}, out)
        recorder.assigned.share(out, data)
    out._view = None
    return out


def _apply_(self: Tensor, callable: Callable[[Any], Any]) -> Tensor:
    """Replaces each element by ``callable(element)``, in place, in Python. Raises RuntimeError if a gradient is required."""
    return _by_python(self, "apply_", callable, self)


def _map_(self: Tensor, tensor: Tensor, callable: Callable[[Any, Any], Any]) -> Tensor:
    """Replaces each element by ``callable(element, other)``, in place, in Python, with ``other`` from ``tensor``."""
    return _by_python(self, "map_", callable, self, tensor.expand(self.shape))


def _by_python(t: Tensor, name: str, function: Callable[..., Any], *operands: Tensor) -> Tensor:
    if any(x.requires_grad for x in operands):
        raise RuntimeError(f"Can't call {name}() on Variable that requires grad. Use var.detach().{name}() instead.")
    from ..ops import create

    if context.recorder is not None:
        context.recorder.give_up(f"calls {name}")
    rows = zip(*(x.reshape(-1).tolist() for x in operands), strict=True)
    return t.copy_(create.tensor([function(*row) for row in rows], dtype=t.dtype).reshape(t.shape))


def _storage(self: Tensor) -> TypedStorage:
    """The memory of the tensor and of all views of it, as elements."""
    not_in_traces(self, "reads the memory of a tensor made outside")
    if COUNTED:
        shape_is_read(self._root())
    return TypedStorage(self._root())


def _untyped_storage(self: Tensor) -> UntypedStorage:
    """The memory of the tensor and of all views of it, as bytes."""
    not_in_traces(self, "reads the memory of a tensor made outside")
    if COUNTED:
        shape_is_read(self._root())
    return UntypedStorage(self._root())


def _get_device(self: Tensor) -> int:
    """The number of the CUDA device; -1 on the CPU."""
    return -1 if (index := self.device.index) is None else index


def _is_cpu(self: Tensor) -> bool:
    """True if the memory is the CPU's."""
    return self.device.type in ("cpu", "meta")


def _is_cuda(self: Tensor) -> bool:
    """True if the memory is a CUDA device's."""
    return self.device.type == "cuda"


def _cuda_array_interface(self: Tensor) -> dict[str, Any]:
    """The tensor's memory for other libraries on CUDA, with the stream of the work on it. Raises AttributeError on the CPU, and
    RuntimeError if a gradient is required.
    """
    data: Any = self._data
    if not self.is_cuda:
        raise AttributeError("Can't get __cuda_array_interface__ on non-CUDA tensor: use tensor.cuda()")
    if self.requires_grad:
        raise RuntimeError("Can't get __cuda_array_interface__ on Variable that requires grad: use var.detach()")
    if context.recorder is not None:
        context.recorder.give_up("shares memory with another package")
    strides = None if data.layout.flags.c_contiguous else data.strides
    said = {"typestr": data.dtype.str, "shape": data.shape, "strides": strides, "data": (data.address, False)}
    return {**said, "version": 3, "stream": data.device.stream or 1}


def _no(self: Tensor) -> bool:
    """False for every tensor."""
    return False


def _share_memory_(self: Tensor) -> Tensor:
    """The tensor itself: memory is not shared between processes."""
    return self


def _to_dense(self: Tensor, dtype: DType | None = None, masked_grad: bool | None = None) -> Tensor:
    """The tensor, in another dtype if one is given: all tensors are dense."""
    return self if dtype is None else self.to(dtype)


# Attributes with the same value for all tensors.
CONSTANTS: dict[str, Any] = {
    "layout": strided,
    "name": None,
    **{
        f"is_{kind}": False
        for kind in [
            "ipu",
            "maia",
            "meta",
            "mkldnn",
            "mps",
            "mtia",
            "nested",
            "quantized",
            "sparse",
            "sparse_csr",
            "vulkan",
            "xla",
            "xpu",
        ]
    },
}
METHODS: dict[str, Any] = {
    "is_cpu": property(_is_cpu),
    "is_cuda": property(_is_cuda),
    "__cuda_array_interface__": property(_cuda_array_interface),
    "_base": property(_base),
    "_is_view": _is_view,
    "is_inference": _is_inference,
    "dim_order": dim_order,
    "storage_offset": storage_offset,
    "stride": stride,
    "storage": _storage,
    "untyped_storage": _untyped_storage,
    "get_device": _get_device,
    "is_pinned": is_pinned,
    "pin_memory": pin_memory,
    "record_stream": record_stream,
    **dict.fromkeys(("is_shared", "is_neg", "is_distributed", "is_coalesced"), _no),
    "share_memory_": _share_memory_,
    "to_dense": _to_dense,
    "cuda": _cuda,
    "as_subclass": _as_subclass,
    "_make_subclass": staticmethod(_make_subclass),
    "apply_": _apply_,
    "map_": _map_,
}
