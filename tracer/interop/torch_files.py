"""PyTorch's files (``torch.save``): a pickle stream beside the memory of its tensors, read as data (``pickled``).

The newer format is a zip archive: ``data.pkl``, and a file in ``data/`` for each storage. The older one is five pickle
streams in a row (a magic number, a version, facts about the machine, the object, the names of its storages), then the storages.
What is described here was read off files that PyTorch 2.13 wrote, and off the source of ``torch/serialization.py``.
"""

from __future__ import annotations

import contextlib
import io
import math
import struct
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import IO, Any

import numpy as np

from ..core.device import device
from ..core.tensor import Size, Tensor, wrap
from ..ir import types
from ..ir.types import DType
from ..nn.parameter import Parameter
from ..tracing.announce import AnnouncingDict, AnnouncingList
from .pickled import Name, NotData, Writer, read

_MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001
_STORAGES: dict[str, DType] = {
    "DoubleStorage": types.float64,
    "FloatStorage": types.float32,
    "HalfStorage": types.float16,
    "BFloat16Storage": types.bfloat16,
    "LongStorage": types.int64,
    "IntStorage": types.int32,
    "ShortStorage": types.int16,
    "CharStorage": types.int8,
    "ByteStorage": types.uint8,
    "BoolStorage": types.bool_,
    "ComplexFloatStorage": types.complex64,
    "ComplexDoubleStorage": types.complex128,
}
_allowed: list[Any] = []


def is_torch_file(head: bytes) -> bool:
    """True if a file with these first bytes is a zip archive or a pickle stream."""
    return head.startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"))


# Classes that users allow.


def add_safe_globals(safe_globals: Sequence[Any]) -> None:
    """Allows files to hold objects of these classes, and these functions. Their state is set without calling ``__init__``."""
    _allowed.extend(safe_globals)


def clear_safe_globals() -> None:
    """Allows no further classes."""
    _allowed.clear()


def get_safe_globals() -> list[Any]:
    """The classes and functions that files may hold beside tensors and plain containers."""
    return list(_allowed)


@contextlib.contextmanager
def safe_globals(safe_globals: Sequence[Any]) -> Iterator[None]:
    """``add_safe_globals`` for the duration of a ``with`` block."""
    before = list(_allowed)
    _allowed.extend(safe_globals)
    try:
        yield
    finally:
        _allowed[:] = before


# Reading.


class _Type:
    """The type of a storage, as a name of the stream."""

    def __init__(self, dtype: DType):
        self.dtype = dtype


def _tensor(
    storage: np.ndarray,
    offset: int,
    size: tuple[int, ...],
    stride: tuple[int, ...],
    requires_grad: bool = False,
    hooks: Any = None,
    metadata: Any = None,
) -> Tensor:
    """A tensor on a storage. Raises NotData if it reaches beyond the storage."""
    numbers = [offset, *size, *stride]
    if len(size) != len(stride) or any(type(n) is not int or n < 0 for n in numbers):
        raise NotData(f"the file has a tensor of shape {size} and strides {stride}")
    if 0 not in size and offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True)) >= len(storage):
        raise NotData(f"the file has a tensor of shape {size} that reaches beyond its memory")
    steps = [s * storage.itemsize for s in stride]
    if 0 in size:
        return wrap(np.zeros(size, storage.dtype)).requires_grad_(bool(requires_grad))
    array = np.ndarray(size, storage.dtype, storage, offset * storage.itemsize, steps)
    return wrap(array).requires_grad_(bool(requires_grad))


def _typed_tensor(
    storage: np.ndarray,
    offset: int,
    size: tuple[int, ...],
    stride: tuple[int, ...],
    requires_grad: bool,
    hooks: Any,
    dtype: DType,
    metadata: Any = None,
) -> Tensor:
    """A tensor on untyped memory (``_rebuild_tensor_v3``), for dtypes without a storage class."""
    if not isinstance(dtype, DType):
        raise NotData("the file has a tensor without a dtype")
    usable = len(storage) // dtype.itemsize * dtype.itemsize
    return _tensor(storage[:usable].view(dtype.numpy), offset, size, stride, requires_grad, hooks)


def _parameter(data: Any, requires_grad: bool = True, hooks: Any = None, state: Any = None) -> Parameter:
    if not isinstance(data, Tensor):
        raise NotData("the file has a parameter that is not a tensor")
    parameter = Parameter(data.detach(), bool(requires_grad))
    if type(state) is dict:
        vars(parameter).update(state)
    return parameter


# NumPy's arrays: a pickle has an empty array, and its dtype, shape and memory as its state.


def _dtype(code: str, align: bool = False, copy: bool = False) -> np.dtype:
    found = np.dtype(code)
    if found.kind not in "biufcSU":
        raise NotData(f"the file has a NumPy array of dtype {code}")
    return np.dtype(code, copy=True)


def _set_dtype(x: np.dtype, state: Any) -> None:
    """Sets the byte order, which is all that the state of a numeric dtype has."""
    if type(state) is not tuple or len(state) < 2 or state[1] not in ("<", ">", "=", "|") or any(state[2:5]):
        raise NotData("the file has a NumPy array of a structured dtype")
    x.__setstate__(state)  # type: ignore[attr-defined]


def _empty_array(cls: Any, shape: Any, code: Any) -> np.ndarray:
    return np.empty(0, np.uint8)


def _set_array(x: np.ndarray, state: Any) -> None:
    match state:
        case (1, tuple(shape), np.dtype() as dtype, bool() | int(), bytes(data)):
            if any(type(n) is not int or n < 0 for n in shape) or math.prod(shape) * dtype.itemsize != len(data):
                raise NotData("the file has a NumPy array whose memory has a wrong size")
            x.__setstate__(state)
        case _:
            raise NotData("the file has a NumPy array of an unknown kind")


def _scalar(dtype: np.dtype, data: bytes) -> Any:
    return np.frombuffer(data, dtype)[0]


def _encoded(text: str, encoding: str) -> bytes:
    """Bytes, which older pickles write as text."""
    if encoding != "latin1":
        raise NotData(f"the file has bytes that are encoded as {encoding!r}")
    return text.encode("latin1")


_STATES = {np.ndarray: _set_array, np.dtype: _set_dtype}


def _names() -> dict[tuple[str, str], Name]:
    found = {
        ("collections", "OrderedDict"): Name(OrderedDict, OrderedDict),
        ("torch._utils", "_rebuild_tensor"): Name(_tensor),
        ("torch._utils", "_rebuild_tensor_v2"): Name(_tensor),
        ("torch._utils", "_rebuild_tensor_v3"): Name(_typed_tensor),
        ("torch._utils", "_rebuild_parameter"): Name(_parameter),
        ("torch._utils", "_rebuild_parameter_with_state"): Name(_parameter),
        ("torch", "Size"): Name(lambda sizes=(): Size(sizes), Size),
        ("torch", "device"): Name(device, device),
        ("torch.storage", "UntypedStorage"): Name(value=_Type(types.uint8)),
        ("torch.nn.parameter", "Parameter"): Name(value=Parameter),
        ("torch", "Tensor"): Name(value=Tensor),
        ("numpy", "dtype"): Name(_dtype, np.dtype),
        ("numpy", "ndarray"): Name(value=np.ndarray),
        ("_codecs", "encode"): Name(_encoded),
    }
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        found |= {(module, "_reconstruct"): Name(_empty_array), (module, "scalar"): Name(_scalar)}
    for module in ("builtins", "__builtin__"):
        for kind in (set, frozenset, list, tuple, dict, complex, bytearray, slice, range, int, float, bool, str):
            found[module, kind.__name__] = Name(kind if kind in (set, frozenset, complex) else None, kind)
        found[module, "bytes"] = Name(lambda: b"", bytes)
    found |= {("torch", name): Name(value=_Type(dtype)) for name, dtype in _STORAGES.items()}
    found |= {("torch", dtype.name): Name(value=dtype) for dtype in vars(types).values() if isinstance(dtype, DType)}
    for x in _allowed:
        name = Name(value=x, cls=x if isinstance(x, type) else None)
        found[x.__module__, x.__qualname__] = name
    return found


def load(file: IO[bytes]) -> Any:
    """The object in a file of PyTorch.

    Raises NotData (a ValueError) for a file with anything but tensors, plain containers, numbers, strings, and objects of the
    classes in ``get_safe_globals``; and for damaged files.
    """
    start = file.read(4)
    file.seek(-len(start), io.SEEK_CUR)
    return _load_archive(file) if start.startswith(b"PK") else _load_streams(file)


def _load_archive(file: IO[bytes]) -> Any:
    try:
        end = _remaining(file)
        with zipfile.ZipFile(file) as archive:
            # PyTorch compresses nothing, so no entry is longer than the file.
            entries = {
                e.filename: e for e in archive.infolist() if e.compress_type == zipfile.ZIP_STORED and e.file_size <= end
            }
            main = next((name for name in entries if name.endswith("/data.pkl") or name == "data.pkl"), None)
            if any(name.endswith(".py") for name in entries):
                raise NotData("the archive is a TorchScript program")
            if main is None:
                raise NotData("the archive has no data.pkl")
            root = main.removesuffix("data.pkl")
            order = archive.read(f"{root}byteorder").decode() if f"{root}byteorder" in entries else "little"
            memory: dict[str, np.ndarray] = {}

            def storage(identifier: Any) -> np.ndarray:
                dtype, key, count = _identified(identifier)
                if key not in memory:
                    entry = entries.get(f"{root}data/{key}")
                    if entry is None or entry.file_size != count * dtype.itemsize:
                        raise NotData(f"the memory {key!r} of the archive is missing or of the wrong size")
                    with archive.open(entry) as data:
                        memory[key] = _elements(data, dtype, count, order)
                return _as(memory[key], dtype)

            with archive.open(main) as stream:
                return read(io.BytesIO(stream.read()), _names(), storage, _STATES)
    except NotData:
        raise
    except (zipfile.BadZipFile, EOFError, OSError, RuntimeError, ValueError, OverflowError, struct.error) as e:
        raise NotData(f"the file is damaged ({e})") from None


def _load_streams(file: IO[bytes]) -> Any:
    if read(file, {}) != _MAGIC:
        raise NotData("the file is a pickle, not a file of torch.save")
    version, facts = read(file, {}), read(file, {})
    if version != _VERSION or type(facts) is not dict or not facts.get("little_endian", True):
        raise NotData(f"the file is of an unknown version ({version!r})")
    wanted: dict[str, tuple[DType, np.ndarray]] = {}

    def storage(identifier: Any) -> np.ndarray:
        dtype, key, count = _identified(identifier)
        if key not in wanted:
            if count * dtype.itemsize > _remaining(file):
                raise NotData(f"the memory {key!r} of the file is missing")
            wanted[key] = dtype, np.empty(count, dtype.numpy)
        return _as(wanted[key][1], dtype)

    found = read(file, _names(), storage, _STATES)
    for key in read(file, {}):
        count = int.from_bytes(file.read(8), "little")
        dtype, array = wanted.get(key, (None, None))
        if dtype is None or array is None or count != len(array):
            raise NotData(f"the memory {key!r} of the file is missing or of the wrong size")
        array[:] = _elements(file, dtype, count, "little")
    return found


def _remaining(file: IO[bytes]) -> int:
    at = file.tell()
    end = file.seek(0, io.SEEK_END)
    file.seek(at)
    return end - at


def _identified(identifier: Any) -> tuple[DType, str, int]:
    """The dtype, name and number of elements of a storage, from its persistent identifier."""
    match identifier:
        case ("storage", _Type(dtype=dtype), str(key), str(), int(count), *rest) if count >= 0 and rest in ([], [None]):
            return dtype, key, count
    raise NotData("the file has a storage of an unknown kind")


def _elements(data: Any, dtype: DType, count: int, order: str) -> np.ndarray:
    array = np.empty(count, dtype.numpy)
    view = _bytes(array)
    done = 0
    while done < len(view):
        got = data.readinto(view[done:])
        if not got:
            raise NotData("the file ends early")
        done += got
    return array if order == sys.byteorder else array.byteswap()


def _as(memory: np.ndarray, dtype: DType) -> np.ndarray:
    return memory if memory.dtype == dtype.numpy else memory.view(dtype.numpy)


# Writing.


def save(x: Any, file: IO[bytes]) -> None:
    """Writes a zip archive that PyTorch's ``torch.load`` reads: tensors and plain containers; and objects by their attributes,
    which are read only if their class is allowed (``safe_globals``).

    Raises TypeError for objects that define how they are pickled.
    """
    memory = _Memory()
    stream = Writer(memory.write).finish(x)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        _store(archive, "archive/data.pkl", stream)
        _store(archive, "archive/byteorder", sys.byteorder.encode())
        for key, array in memory.arrays.values():
            _store(archive, f"archive/data/{key}", _bytes(array))
        _store(archive, "archive/version", b"3\n")


def _store(archive: zipfile.ZipFile, name: str, data: Any) -> None:
    entry = zipfile.ZipInfo(name)  # a fixed date: equal objects give equal files
    header, alignment = 30 + len(name), 64  # PyTorch maps storages into memory at multiples of 64
    position = archive.fp.tell() + header if archive.fp is not None else 0
    padding = -(position + 4) % alignment
    entry.extra = b"FB" + padding.to_bytes(2, "little") + b"Z" * padding
    with archive.open(entry, "w", force_zip64=False) as out:
        out.write(data)


def _bytes(array: np.ndarray) -> memoryview:
    """The memory of an array without gaps."""
    flat: Any = array.view(np.uint8).reshape(-1)
    return memoryview(flat)


def _is_plain_object(x: Any) -> bool:
    """True for an object that is pickled by its attributes."""
    cls: Any = type(x)
    return cls.__reduce_ex__ is object.__reduce_ex__ and cls.__reduce__ is object.__reduce__ and hasattr(x, "__dict__")


class _Memory:
    """The storages of a file: one for each block of memory that its tensors share."""

    def __init__(self) -> None:
        self.arrays: dict[int, tuple[str, np.ndarray]] = {}

    def storage(self, array: np.ndarray) -> tuple[str, np.ndarray, int, tuple[int, ...]]:
        """The key and elements of an array's memory, and the array's offset and strides in it, in elements."""
        owner = array
        while isinstance(owner.base, np.ndarray) and owner.base.dtype == array.dtype:
            owner = owner.base
        steps = [s // array.itemsize for s in array.strides]
        if not array.size or not owner.flags.c_contiguous or any(s < 0 for s in steps) or owner.size > 2 * array.size:
            owner, steps = array.copy(order="C"), []  # only this part of the memory
        start = owner.__array_interface__["data"][0]
        if start not in self.arrays or self.arrays[start][1].size != owner.size:
            self.arrays[start] = str(len(self.arrays)), owner.reshape(-1)
        key, elements = self.arrays[start]
        if not steps:
            return key, elements, 0, tuple(math.prod(max(n, 1) for n in array.shape[i + 1 :]) for i in range(array.ndim))
        return key, elements, (array.__array_interface__["data"][0] - start) // array.itemsize, tuple(steps)

    def write(self, writer: Writer, x: Any) -> bool:
        """Appends a tensor or another object that is not plain data. False if it cannot be written."""
        if isinstance(x, Tensor):
            self._tensor(writer, x)
        elif isinstance(x, Size):
            writer.call("torch", "Size", tuple(x))
        elif isinstance(x, DType):
            writer.name("torch", x.name)
        elif isinstance(x, device):
            writer.call("torch", "device", *([x.type] if x.index is None else [x.type, x.index]))
        elif isinstance(x, (AnnouncingDict, AnnouncingList)):
            writer.write(dict(x) if isinstance(x, dict) else list(x))
        elif isinstance(x, np.generic):
            writer.write(x.item())
        elif isinstance(x, np.ndarray):
            self._array(writer, x)
        elif isinstance(x, bytes):
            writer.call("_codecs", "encode", x.decode("latin1"), "latin1")
        elif isinstance(x, complex):
            writer.call("builtins", "complex", x.real, x.imag)
        elif isinstance(x, type) or (callable(x) and hasattr(x, "__qualname__") and hasattr(x, "__globals__")):
            writer.name(x.__module__, x.__qualname__)
        elif _is_plain_object(x):
            writer.name(type(x).__module__, type(x).__qualname__)
            writer.parts.append(b")\x81")
            writer.put(x)
            writer.build(x.__getstate__())
        else:
            return False
        return True

    def _array(self, writer: Writer, x: np.ndarray) -> None:
        if x.dtype.kind not in "biufcSU":
            raise TypeError(f"cannot save a NumPy array of dtype {x.dtype}")
        writer.name("numpy._core.multiarray", "_reconstruct")
        writer.parts.append(b"(")
        writer.name("numpy", "ndarray")
        writer.write((0,))
        writer.write("b")
        writer.parts.append(b"tR")
        writer.put(x)
        writer.parts.append(b"(")
        writer.write(1)
        writer.write(x.shape)
        writer.call("numpy", "dtype", x.dtype.str, False, True)
        writer.write(False)
        writer.write(np.ascontiguousarray(x).tobytes())
        writer.parts.append(b"tb")

    def _tensor(self, writer: Writer, x: Tensor) -> None:
        array = x.detach().cpu().numpy()
        key, elements, offset, strides = self.storage(array)
        kind = next((name for name, dtype in _STORAGES.items() if dtype is x.dtype), None)
        if kind is None:
            raise TypeError(f"cannot save a tensor of {x.dtype} in PyTorch's format")
        is_parameter = isinstance(x, Parameter)
        if is_parameter:
            writer.name("torch._utils", "_rebuild_parameter")
            writer.parts.append(b"(")
        writer.name("torch._utils", "_rebuild_tensor_v2")
        writer.parts.append(b"((")
        writer.write("storage")
        writer.name("torch", kind)
        for part in (key, "cpu", len(elements)):
            writer.write(part)
        writer.parts.append(b"tQ")
        rest: list[Any] = [offset, tuple(x.shape), strides, x.requires_grad and not is_parameter, OrderedDict()]
        for value in rest:
            writer.write(value)
        writer.parts.append(b"tR")
        if is_parameter:
            writer.write(x.requires_grad)
            writer.write(OrderedDict())
            writer.parts.append(b"tR")
        writer.put(x)
