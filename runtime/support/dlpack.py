"""DLPack capsules: memory, shape and dtype of an array, for other libraries, on any device.

The structures of dlpack.h, versions 0.8 and 1.x (https://dmlc.github.io/dlpack). NumPy reads and writes capsules of the CPU;
these are for memory that it must not touch.
"""

from __future__ import annotations

import ctypes
import itertools
from ctypes import POINTER, Structure, c_int32, c_int64, c_uint8, c_uint16, c_uint32, c_uint64, c_void_p
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from .objects import address

CPU, CUDA, CUDA_HOST = 1, 2, 3  # kinds of devices
_CODES = {"i": 0, "u": 1, "f": 2, "c": 5, "b": 6}
_BFLOAT = 4
_READ_ONLY = 1


class _Tensor(Structure):
    _fields_ = (
        ("data", c_void_p),
        ("device_type", c_int32),
        ("device_id", c_int32),
        ("ndim", c_int32),
        ("code", c_uint8),
        ("bits", c_uint8),
        ("lanes", c_uint16),
        ("shape", POINTER(c_int64)),
        ("strides", POINTER(c_int64)),
        ("byte_offset", c_uint64),
    )


class _Managed(Structure):
    _fields_ = (("tensor", _Tensor), ("context", c_void_p), ("deleter", c_void_p))


class _Versioned(Structure):
    _fields_ = (
        ("major", c_uint32),
        ("minor", c_uint32),
        ("context", c_void_p),
        ("deleter", c_void_p),
        ("flags", c_uint64),
        ("tensor", _Tensor),
    )


_DELETER = ctypes.CFUNCTYPE(None, c_void_p)
_DESTRUCTOR = ctypes.PYFUNCTYPE(None, c_void_p)
_api = ctypes.pythonapi
_new = ctypes.PYFUNCTYPE(ctypes.py_object, c_void_p, ctypes.c_char_p, _DESTRUCTOR)(("PyCapsule_New", _api))
_name = ctypes.PYFUNCTYPE(ctypes.c_char_p, ctypes.py_object)(("PyCapsule_GetName", _api))
_pointer = ctypes.PYFUNCTYPE(c_void_p, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_GetPointer", _api))
_rename = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_SetName", _api))
_is_named = ctypes.PYFUNCTYPE(ctypes.c_int, c_void_p, ctypes.c_char_p)(("PyCapsule_IsValid", _api))
_pointer_in = ctypes.PYFUNCTYPE(c_void_p, c_void_p, ctypes.c_char_p)(("PyCapsule_GetPointer", _api))

_NEW, _OLD = b"dltensor_versioned", b"dltensor"
_USED = {_NEW: b"used_dltensor_versioned", _OLD: b"used_dltensor"}  # these live on: capsules keep the pointers
_FORMS: dict[bytes, type[Structure]] = {_NEW: _Versioned, _OLD: _Managed}

_exported: dict[int, Any] = {}  # structures that consumers have, by address, with what must live as long


@_DELETER
def _delete(where: int) -> None:
    _exported.pop(where, None)


@_DESTRUCTOR
def _drop(capsule: int) -> None:
    """Called when a capsule is deleted. If the name is unchanged, no consumer took the structure, so it is released."""
    for name in _FORMS:
        if _is_named(capsule, name):
            _exported.pop(_pointer_in(capsule, name), None)


def capsule(layout: np.ndarray[Any, Any], device: tuple[int, int], owner: object, versioned: bool) -> Any:
    """A capsule of the array's memory, which ``owner`` keeps alive. ``layout`` has its address, shape, strides and dtype.

    Raises BufferError for a dtype that DLPack does not know.
    """
    dtype = layout.dtype
    code = _BFLOAT if dtype == ml_dtypes.bfloat16 else _CODES.get(dtype.kind)
    if code is None:
        raise BufferError(f"DLPack has no dtype {dtype}")
    extents = (c_int64 * layout.ndim)(*layout.shape)
    steps = (c_int64 * layout.ndim)(*(s // dtype.itemsize for s in layout.strides))
    name = _NEW if versioned else _OLD
    made: Any = _FORMS[name]()
    t = made.tensor
    t.data, (t.device_type, t.device_id), t.ndim = address(layout), device, layout.ndim
    t.code, t.bits, t.lanes = code, 8 * dtype.itemsize, 1
    t.shape, t.strides = ctypes.cast(extents, POINTER(c_int64)), ctypes.cast(steps, POINTER(c_int64))
    made.deleter = ctypes.cast(_delete, c_void_p)
    if versioned:
        made.major, made.minor = 1, 0
    where = ctypes.addressof(made)
    _exported[where] = made, extents, steps, owner
    return _new(where, name, _drop)


class Opened(NamedTuple):
    """The contents of a capsule. Strides are in bytes. ``owner`` keeps the memory alive."""

    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype[Any]
    device: tuple[int, int]
    read_only: bool
    owner: object


class _Owner:
    """A structure that was taken from a capsule: it is given back when nothing refers to its memory."""

    def __init__(self, deleter: int | None, where: int):
        self._deleter, self._where = deleter, where

    def __del__(self) -> None:
        if self._deleter:
            _DELETER(self._deleter)(self._where)


def opened(given: Any) -> Opened:
    """Takes the array out of a capsule, once. Raises TypeError for anything but an unused capsule, BufferError for a dtype that
    NumPy does not know.
    """
    if type(given).__name__ != "PyCapsule" or (name := _name(given)) not in _FORMS:
        raise TypeError("expected a DLPack capsule, which can be used once")
    where = _pointer(given, name)
    made: Any = _FORMS[name].from_address(where)
    t = made.tensor
    dtype = _dtype(t)
    shape = tuple(t.shape[: t.ndim]) if t.ndim else ()
    if t.ndim and t.strides:
        strides = tuple(s * dtype.itemsize for s in t.strides[: t.ndim])
    else:
        strides = tuple(itertools.accumulate(shape[:0:-1], lambda a, n: a * n, initial=dtype.itemsize))[::-1] if t.ndim else ()
    read_only = name == _NEW and bool(made.flags & _READ_ONLY)
    _rename(given, _USED[name])
    owner = _Owner(made.deleter, where)
    return Opened((t.data or 0) + t.byte_offset, shape, strides, dtype, (t.device_type, t.device_id), read_only, owner)


def _dtype(t: _Tensor) -> np.dtype[Any]:
    if t.code == _BFLOAT and t.bits == 16 and t.lanes == 1:
        return np.dtype(ml_dtypes.bfloat16)
    kind = next((kind for kind, code in _CODES.items() if code == t.code), None)
    if kind is None or t.lanes != 1 or t.bits % 8:
        raise BufferError(f"unsupported dtype in a DLPack capsule: code {t.code}, {t.bits} bits, {t.lanes} lanes")
    try:
        return np.dtype(bool if kind == "b" else f"{kind}{t.bits // 8}")
    except TypeError:
        raise BufferError(f"unsupported dtype in a DLPack capsule: code {t.code}, {t.bits} bits") from None
