"""Files of tensors: reading one executes no code.

``save`` writes the safetensors format. A mapping of names to tensors is stored directly, and any reader of the format can read
it; other structures of dicts, lists, tuples, numbers, strings and tensors are described in the file's metadata. PyTorch's files
are written on request, and read (``interop/torch_files.py``).
"""

from __future__ import annotations

import io
import json
import os
from collections import OrderedDict
from collections.abc import Mapping
from typing import IO, Any, Literal

import numpy as np

from .core.device import memory_of, moved
from .core.tensor import Tensor, wrap
from .interop import torch_files
from .interop.torch_files import add_safe_globals, clear_safe_globals, get_safe_globals, safe_globals
from .ir.types import bfloat16

__all__ = ["add_safe_globals", "clear_safe_globals", "get_safe_globals", "load", "safe_globals", "save"]

_KEY = "tracer"  # key of the structure in the metadata
_SCALARS = (type(None), bool, int, float, str)
_DTYPES: dict[str, Any] = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": bfloat16.numpy,
    "C64": np.complex64,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U8": np.uint8,
    "BOOL": np.bool_,
}


def save(obj: Any, f: str | os.PathLike[str] | IO[bytes], *, format: Literal["safetensors", "torch"] = "safetensors") -> None:
    """Writes tensors, or a structure of them, to a path or an open binary file.

    The structure consists of dicts, lists, tuples, None, bools, numbers, strings and tensors. The format ``"torch"`` is that
    of PyTorch's ``torch.save``; it also stores sets, dtypes, devices, and objects by their attributes, which ``load`` reads
    only if their class is allowed (``add_safe_globals``).

    Raises TypeError for a structure with anything else, and ValueError for an unknown format.
    """
    if format not in ("safetensors", "torch"):
        raise ValueError(f"save() has the formats 'safetensors' and 'torch', not {format!r}")
    file = io.BytesIO()
    if format == "torch":
        torch_files.save(obj, file)
    else:
        file.write(_encode(obj))
    if isinstance(f, (str, os.PathLike)):
        with open(f, "wb") as out:
            out.write(file.getbuffer())
    else:
        f.write(file.getvalue())


def _encode(obj: Any) -> bytes:
    from safetensors.numpy import save as encode

    arrays: dict[str, np.ndarray] = {}
    structure = _describe(obj, "", arrays)
    return encode(arrays, metadata={_KEY: json.dumps(structure)})


def _describe(x: Any, path: str, arrays: dict[str, np.ndarray]) -> Any:
    """``x`` as JSON; its tensors are added to ``arrays`` under dotted names."""
    if isinstance(x, Tensor):
        name = path or "tensor"
        array = np.array(x.detach().cpu().numpy(), order="C")
        wide = array.dtype == np.complex128  # not in the format: stored as pairs of parts
        arrays[name] = np.stack([array.real, array.imag], -1) if wide else array
        return {"tensor": name, "complex": True} if wide else {"tensor": name}
    if isinstance(x, np.generic):
        x = x.item()
    if isinstance(x, _SCALARS):
        return {"value": x}
    if isinstance(x, Mapping):
        items = []
        for key, value in x.items():
            if not isinstance(key, _SCALARS):
                raise TypeError(f"cannot save a dict with a key of type {type(key).__name__}: {key!r}")
            items.append([key, _describe(value, f"{path}.{key}" if path else str(key), arrays)])
        return {"ordered" if isinstance(x, OrderedDict) else "dict": items}
    if type(x) in (list, tuple):
        kind = "list" if type(x) is list else "tuple"
        return {kind: [_describe(v, f"{path}.{i}" if path else str(i), arrays) for i, v in enumerate(x)]}
    raise TypeError(f"cannot save a {type(x).__name__}{f' (at {path})' if path else ''}: save its state_dict() instead")


def load(
    f: str | os.PathLike[str] | IO[bytes],
    map_location: Any = None,
    pickle_module: Any = None,
    *,
    weights_only: bool | None = None,
    mmap: bool | None = None,
) -> Any:
    """Reads a file of ``save``, a dict of tensors from any other safetensors file, or a file of PyTorch's ``torch.save``.

    No code of the file is executed: a file of PyTorch may hold tensors, plain containers, numbers, strings, and objects of the
    classes that ``add_safe_globals`` allows. Tensors are on the CPU, or where
    ``map_location`` says. ``pickle_module``, ``weights_only`` and ``mmap`` have no
    effect.

    Raises ValueError for a file in another format, a damaged one, or one that holds anything else, which the message names; and
    RuntimeError for another device.
    """
    where = map_location.get("cpu") if isinstance(map_location, dict) else None if callable(map_location) else map_location
    memory_of(where)  # which must exist
    if isinstance(f, (str, os.PathLike)):
        with open(f, "rb") as file:
            return _placed(_load(file), where)
    return _placed(_load(f), where)


def _placed(x: Any, where: Any) -> Any:
    """An object of a file, with its tensors on a device; None is the CPU."""
    if where is None:
        return x
    if isinstance(x, Tensor):
        return moved(x.detach(), where).requires_grad_(x.requires_grad)
    if isinstance(x, dict):
        for key, value in x.items():
            x[key] = _placed(value, where)
    elif type(x) in (list, tuple):
        return type(x)(_placed(y, where) for y in x)
    return x


def _load(file: IO[bytes]) -> Any:
    head = file.read(4)
    rest = io.BytesIO(head + file.read()) if not file.seekable() else file
    if rest is file:
        file.seek(-len(head), io.SEEK_CUR)
    if torch_files.is_torch_file(head):
        return torch_files.load(rest)
    return _decode(rest.read())


def _decode(data: bytes) -> Any:
    import safetensors

    try:
        found = safetensors.deserialize(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    except (safetensors.SafetensorError, ValueError) as e:
        raise ValueError(f"neither a safetensors file ({e}) nor one of ``torch.save``; other formats are not read") from None
    arrays = {}
    for name, entry in found:
        if entry["dtype"] not in _DTYPES:
            raise ValueError(f"{name!r} has the dtype {entry['dtype']}, which tensors do not support")
        # A copy, because the bytes are read-only.
        arrays[name] = np.frombuffer(entry["data"], _DTYPES[entry["dtype"]]).copy().reshape(entry["shape"])
    structure = header.get("__metadata__", {}).get(_KEY)
    if structure is None:
        return {name: wrap(array) for name, array in arrays.items()}
    return _rebuild(json.loads(structure), arrays)


def _rebuild(x: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> Any:
    kind = next(iter(x))
    if kind == "tensor":
        array = arrays[x["tensor"]]
        return wrap(array.view(np.complex128)[..., 0].copy() if x.get("complex") else array)
    if kind == "value":
        return x["value"]
    if kind in ("dict", "ordered"):
        pairs = [(key, _rebuild(value, arrays)) for key, value in x[kind]]
        return OrderedDict(pairs) if kind == "ordered" else dict(pairs)
    if kind in ("list", "tuple"):
        items = [_rebuild(value, arrays) for value in x[kind]]
        return items if kind == "list" else tuple(items)
    raise ValueError(f"unknown structure {kind!r}")
