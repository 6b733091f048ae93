"""The NumPy world: NumPy's functions on tensors, and memory shared through DLPack.

``np.sin(t)`` and ``np.sum(t, axis=0)`` are this package's functions, and take part in autograd. NumPy functions that there
are no equivalents of run on the arrays of tensors that require no gradients, and return arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import linalg, ops, special
from .context import context
from .device import require_cpu
from .ops import create
from .tensor import Tensor, wrap

# NumPy's functions and ours of the same meaning, where the names differ.
_UFUNCS = {
    "absolute": "abs",
    "arccos": "acos",
    "arccosh": "acosh",
    "arcsin": "asin",
    "arcsinh": "asinh",
    "arctan": "atan",
    "arctan2": "atan2",
    "arctanh": "atanh",
    "conjugate": "conj",
    "divide": "div",
    "equal": "eq",
    "float_power": "float_power",
    "greater": "gt",
    "greater_equal": "ge",
    "invert": "bitwise_not",
    "left_shift": "bitwise_left_shift",
    "less": "lt",
    "less_equal": "le",
    "multiply": "mul",
    "negative": "neg",
    "not_equal": "ne",
    "power": "pow",
    "right_shift": "bitwise_right_shift",
    "rint": "round",
    "subtract": "sub",
    "true_divide": "div",
}
_FUNCTIONS = {
    **{name: name for name in ("all", "any", "argmax", "argmin", "broadcast_to", "cumsum", "diff", "dot", "flip", "kron")},
    **{name: name for name in ("hstack", "vstack", "dstack", "isclose", "mean", "moveaxis", "nan_to_num", "nanmean", "nansum")},
    **{name: name for name in ("outer", "prod", "ravel", "reshape", "roll", "sum", "swapaxes", "tile", "trapezoid", "tril")},
    **{name: name for name in ("triu", "where", "zeros_like", "ones_like", "full_like", "empty_like", "einsum", "allclose")},
    "amax": "amax",
    "amin": "amin",
    "max": "amax",
    "min": "amin",
    "clip": "clamp",
    "concatenate": "cat",
    "expand_dims": "unsqueeze",
    "stack": "stack",
    "squeeze": "squeeze",
    "take_along_axis": "take_along_dim",
    "array_equal": "equal",
    "cumprod": "cumprod",
    "diagonal": "diagonal",
    "argsort": "argsort",
}
_LINALG = ("cholesky", "det", "eigvalsh", "inv", "matrix_power", "norm", "pinv", "qr", "slogdet", "solve", "svdvals")


def _operand(x: Any) -> Any:
    """An array as a tensor that shares its memory, a NumPy scalar as a number; all else as it is."""
    if isinstance(x, np.ndarray):
        return create.tensor(x) if x.ndim == 0 else create.from_numpy(x)
    return x.item() if isinstance(x, np.generic) else x


def array_ufunc(self: Tensor, ufunc: Any, method: str, *inputs: Any, out: Any = None, **kwargs: Any) -> Any:
    """What ``np.add(a, t)`` and the like call."""
    name = _UFUNCS.get(ufunc.__name__, ufunc.__name__)
    function = getattr(ops, name, None) or getattr(special, name, None)
    into_array = out is not None and not all(isinstance(o, Tensor) for o in out)  # `array += tensor`
    if method != "__call__" or function is None or kwargs or into_array:
        arrays = [x.numpy() if isinstance(x, Tensor) else x for x in inputs]
        target = None if out is None else tuple(o.numpy() if isinstance(o, Tensor) else o for o in out)
        if target is not None:
            kwargs["out"] = target
        return getattr(ufunc, method)(*arrays, **kwargs)
    function = getattr(function, "__wrapped__", function)  # which takes numbers in every place
    result = function(*map(_operand, inputs))
    return result if out is None else out[0].copy_(result)


def array_function(self: Tensor, func: Any, types: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """What ``np.sum(t)`` and the like call."""
    name, module = func.__name__, getattr(func, "__module__", "numpy")
    if module == "numpy.linalg" and name in _LINALG:
        function = getattr(linalg, name)
    else:
        function = getattr(ops, _FUNCTIONS.get(name, ""), None)
    if name == "transpose":
        x, axes = args[0], args[1] if len(args) > 1 else kwargs.get("axes")
        return ops.permute(x, tuple(reversed(range(x.ndim))) if axes is None else tuple(axes))
    if function is not None:
        return function(*_convert(args, _operand), **{key: _convert(value, _operand) for key, value in kwargs.items()})
    plain = _convert(args, lambda x: x.numpy() if isinstance(x, Tensor) else x)
    return func(*plain, **{k: _convert(v, lambda x: x.numpy() if isinstance(x, Tensor) else x) for k, v in kwargs.items()})


def _convert(x: Any, leaf: Any) -> Any:
    if isinstance(x, (list, tuple)) and not hasattr(x, "_fields"):
        return type(x)(_convert(item, leaf) for item in x)
    return leaf(x)


def dlpack(self: Tensor, **kwargs: Any) -> Any:
    """A DLPack capsule of the tensor's memory. Raises BufferError if it requires gradients."""
    if self.requires_grad:
        raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
    kwargs.pop("stream", None)
    return self.numpy().__dlpack__(**kwargs)


def from_dlpack(ext_tensor: Any) -> Tensor:
    """A tensor on the memory of any object with ``__dlpack__``."""
    if context.recorder is not None:
        context.recorder.give_up("makes a tensor from foreign memory")
    array = np.from_dlpack(ext_tensor)
    # What its owner does not let anyone write to is not ours to change.
    return wrap(array if array.flags.writeable else array.copy())


def array_namespace(self: Tensor, *, api_version: str | None = None) -> Any:
    """``tracer.array_api``: the Python array API standard's names and semantics. Raises ValueError for unknown versions."""
    from . import array_api

    if api_version is not None and api_version not in array_api.VERSIONS:
        raise ValueError(f"unknown version of the array API standard: {api_version!r}")
    return array_api


def to_device(self: Tensor, device: Any, /, *, stream: Any = None) -> Tensor:
    """The tensor itself: there is one device."""
    require_cpu(device)
    return self


def attach() -> None:
    """Called once, when ``tracer`` is imported."""
    more: dict[str, Any] = {
        "__array_ufunc__": array_ufunc,
        "__array_function__": array_function,
        "__dlpack__": dlpack,
        "__dlpack_device__": lambda self: (1, 0),
        "__array_namespace__": array_namespace,
        "to_device": to_device,
    }
    for name, value in more.items():
        setattr(Tensor, name, value)
