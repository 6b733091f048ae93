"""Files of tensors, in the safetensors format: reading one executes no code.

A mapping of names to tensors is stored directly, and any reader of the format can read it; other structures of dicts,
lists, tuples, numbers, strings and tensors are described in the file's metadata.
"""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from collections.abc import Mapping
from typing import IO, Any

import numpy as np

from .core.device import require_cpu
from .core.tensor import Tensor, wrap
from .ir.types import bfloat16

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


def save(obj: Any, f: str | os.PathLike[str] | IO[bytes]) -> None:
    """Writes tensors, or a structure of them, to a path or an open binary file.

    Raises TypeError for a structure with anything but dicts, lists, tuples, None, bools, numbers, strings and tensors.
    """
    from safetensors.numpy import save as encode

    arrays: dict[str, np.ndarray] = {}
    structure = _describe(obj, "", arrays)
    data = encode(arrays, metadata={_KEY: json.dumps(structure)})
    if isinstance(f, (str, os.PathLike)):
        with open(f, "wb") as file:
            file.write(data)
    else:
        f.write(data)


def _describe(x: Any, path: str, arrays: dict[str, np.ndarray]) -> Any:
    """``x`` as JSON; its tensors are added to ``arrays`` under dotted names."""
    if isinstance(x, Tensor):
        name = path or "tensor"
        array = np.array(x.detach().numpy(), order="C")
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


def load(f: str | os.PathLike[str] | IO[bytes], map_location: Any = None, *, weights_only: bool = True) -> Any:
    """Reads a file of ``save``, or a dict of tensors from any other safetensors file.

    Raises ValueError for a file in another format: pickles, including PyTorch's, are never executed.
    """
    import safetensors

    require_cpu(map_location)
    if isinstance(f, (str, os.PathLike)):
        with open(f, "rb") as file:
            data = file.read()
    else:
        data = f.read()
    try:
        found = safetensors.deserialize(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    except (safetensors.SafetensorError, ValueError) as e:
        raise ValueError(f"not a safetensors file ({e}); other formats, including pickles, are not read") from None
    arrays = {}
    for name, entry in found:
        if entry["dtype"] not in _DTYPES:
            raise ValueError(f"{name!r} has the dtype {entry['dtype']}, which tensors do not support")
        # A copy, because the bytes are read-only.
        array = np.frombuffer(bytearray(entry["data"]), _DTYPES[entry["dtype"]])
        arrays[name] = array.reshape(entry["shape"])
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
