"""NumPy's functions on tensors: ``np.sin(t)`` and ``np.sum(t, axis=0)`` take part in autograd and return tensors.

Arguments are bound by the signature of NumPy's function. Functions whose names alone differ from this package's are in a
table here, the others in ``numpy_equivalents``. Functions without an equivalent run on the arrays of tensors that require
no gradient, and also return tensors.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import fft, linalg, ops, special
from ..core.tensor import Tensor, wrap
from ..ir.types import dtype_of
from ..ops import create
from ..ops.common import is_number, result_dtype
from . import numpy_equivalents

# NumPy's universal functions and the equivalents in this package, where the names differ.
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
    "degrees": "rad2deg",
    "divide": "div",
    "equal": "eq",
    "fabs": "abs",
    "greater": "gt",
    "greater_equal": "ge",
    "invert": "bitwise_not",
    "left_shift": "bitwise_left_shift",
    "less": "lt",
    "less_equal": "le",
    "mod": "remainder",
    "multiply": "mul",
    "negative": "neg",
    "not_equal": "ne",
    "power": "pow",
    "radians": "deg2rad",
    "right_shift": "bitwise_right_shift",
    "rint": "round",
    "sign": "sgn",
    "subtract": "sub",
    "true_divide": "div",
}
# The equivalents of methods of universal functions.
_REDUCED = {
    "add": "sum",
    "bitwise_and": "all",
    "bitwise_or": "any",
    "logical_and": "all",
    "logical_or": "any",
    "maximum": "amax",
    "minimum": "amin",
    "multiply": "prod",
}
_ACCUMULATED = {"add": "cumsum", "maximum": "cummax", "minimum": "cummin", "multiply": "cumprod"}
# Functions with the same parameters as this package's, apart from names.
_SAME = """
    all amax amin angle any argmax argmin broadcast_to column_stack corrcoef diagflat diagonal diff dstack empty_like fix fliplr
    flipud full_like hstack i0 isin isneginf isposinf isreal kron moveaxis nan_to_num nansum ones_like ravel real reshape rot90
    sinc sum swapaxes tensordot tril triu vander vstack zeros_like
"""
_FUNCTIONS = {
    **{name: name for name in _SAME.split()},
    "argwhere": "nonzero",
    "array_equal": "equal",
    "copy": "clone",
    "cumprod": "cumprod",
    "cumsum": "cumsum",
    "cumulative_prod": "cumprod",
    "cumulative_sum": "cumsum",
    "max": "amax",
    "min": "amin",
    "permute_dims": "permute",
    "unstack": "unbind",
}
_FLAT = ("cumprod", "cumsum")  # without an axis, of the flattened tensor
# This package's names for NumPy's parameters: the first one that the function has.
_NAMES = {
    "axes": ("dims", "dim"),
    "axis": ("dim", "dims"),
    "axis1": ("dim0", "dim1"),
    "axis2": ("dim2", "dim1"),
    "b": ("other", "vec2"),
    "a2": ("other",),
    "B": ("other",),
    "N": ("N",),
    "k": ("diagonal", "offset", "k"),
    "keepdims": ("keepdim",),
    "newshape": ("shape",),
    "shape": ("size", "shape"),
    "x2": ("other",),
}
# NumPy parameters for memory layout, or for behaviour that is the default here.
_MEANINGLESS = {"order": (None, "C", "K", "A"), "subok": (True, False), "copy": (None, True, False), "casting": ("same_kind",)}
# Functions that only inspect their arguments, so that gradients do not matter.
_QUESTIONS = """
    array2string array_repr array_str can_cast common_type may_share_memory min_scalar_type result_type shares_memory
"""


def _operand(x: Any) -> Any:
    """An array as a tensor that shares its memory, a NumPy scalar as a number; others unchanged."""
    if isinstance(x, np.ndarray):
        return create.tensor(x) if x.ndim == 0 else create.from_numpy(x)
    return x.item() if isinstance(x, np.generic) else x


def _convert(x: Any, leaf: Callable[[Any], Any]) -> Any:
    if isinstance(x, (list, tuple)) and not hasattr(x, "_fields"):
        return type(x)(_convert(item, leaf) for item in x)
    return leaf(x)


def _plain(name: str, x: Any) -> Any:
    """A tensor's array. Raises RuntimeError if it requires a gradient, which would be lost."""
    if isinstance(x, Tensor):
        if x.requires_grad:
            raise RuntimeError(
                f"numpy.{name}() has no equivalent that supports autograd, so it can't take a Tensor that requires grad. "
                "Use tensor.detach() instead."
            )
        return x.numpy()
    return x


def _wrapped(x: Any) -> Any:
    """NumPy's results as tensors, where tensors support them."""
    if isinstance(x, (list, tuple)) and not hasattr(x, "_fields"):
        return type(x)(map(_wrapped, x))
    if isinstance(x, (np.ndarray, np.number)) and x.dtype.kind in "buifc":
        return wrap(np.asarray(x))
    return x


def array_ufunc(self: Tensor, ufunc: Any, method: str, *inputs: Any, out: Any = None, **kwargs: Any) -> Any:
    """Called by ``np.add(a, t)``, ``np.add.reduce(t)`` and the like."""
    name = ufunc.__name__
    into_array = out is not None and not all(isinstance(o, Tensor) for o in out)  # `array += tensor`
    kwargs = {k: v for k, v in kwargs.items() if not _is_default(v, _USUAL.get(k, np._NoValue))}
    function = None if into_array else _ufunc_function(ufunc, method)
    if function is None:
        arrays = [_plain(name, x) for x in inputs]
        if out is not None:
            kwargs["out"] = tuple(_plain(name, o) for o in out)
        found = getattr(ufunc, method)(*arrays, **kwargs)
        return found if into_array or found is None else _wrapped(found)
    dtype = kwargs.pop("dtype", None)
    for key in kwargs:
        if method not in ("reduce", "accumulate") or key not in ("axis", "keepdims"):
            raise TypeError(f"numpy.{name}(): argument '{key}' is not supported for tensors")
    given = [_operand(x) for x in inputs]
    if method == "__call__" and any(map(is_number, given)):
        common = result_dtype(*given)
        given = [ops.full((), x, dtype=common) if is_number(x) else x for x in given]
    result = function(*given, **kwargs)
    if dtype is not None:
        result = _convert(result, lambda t: t.to(dtype_of(np.dtype(dtype))))
    return result if out is None else out[0].copy_(result)


_USUAL = {"where": True, "initial": None, "casting": "same_kind", "order": "K", "subok": True, "dtype": None}


def _ufunc_function(ufunc: Any, method: str) -> Callable[..., Any] | None:
    """The package's equivalent of a ufunc, or of one of its methods; None if there is none."""
    name = ufunc.__name__
    found = getattr(numpy_equivalents, f"ufunc_{name}", None)
    if found is None:
        ours = _UFUNCS.get(name, name)
        found = getattr(ops, ours, None) or getattr(special, ours, None)
    if method == "__call__" or found is None:
        return found
    if method == "outer":
        return lambda a, b: found(_grown(ops.as_tensor(a), np.ndim(b)), b)
    if method == "reduce" and name in _REDUCED:
        return functools.partial(_reduce, getattr(numpy_equivalents, _REDUCED[name], None) or getattr(ops, _REDUCED[name]))
    if method == "accumulate" and name in _ACCUMULATED:
        return functools.partial(_accumulate, getattr(ops, _ACCUMULATED[name]))
    if method == "at" and name in ("add", "subtract"):
        return functools.partial(_at, 1 if name == "add" else -1)
    return None


def _grown(x: Tensor, rank: int) -> Tensor:
    return x.reshape((*x.shape, *(1,) * rank))


def _reduce(function: Callable[..., Tensor], x: Tensor, axis: Any = 0, keepdims: bool = False) -> Tensor:
    return function(x, axis=axis, keepdims=keepdims)


def _accumulate(function: Callable[..., Any], x: Tensor, axis: int = 0) -> Tensor:
    found = function(x, axis)
    return found if isinstance(found, Tensor) else found[0]


def _at(sign: int, x: Tensor, index: Any, value: Any) -> None:
    items = [i if isinstance(i, Tensor) else ops.as_tensor(i) for i in (index if isinstance(index, tuple) else (index,))]
    x.index_put_(items, ops.as_tensor(value, dtype=x.dtype) * sign, accumulate=True)


@functools.cache
def _signature(function: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(function)


def array_function(self: Tensor, func: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Called by ``np.sum(t)``, ``np.linalg.inv(t)`` and the like."""
    name, space = func.__name__, func.__module__
    function = _equivalent(name, space)
    args = _convert(args, _operand)
    kwargs = {key: _convert(value, _operand) for key, value in kwargs.items()}
    if function is None:
        read = (
            (lambda x: x.detach().numpy() if isinstance(x, Tensor) else x)
            if name in _QUESTIONS.split()
            else functools.partial(_plain, name)
        )
        found = func(*_convert(args, read), **{key: _convert(value, read) for key, value in kwargs.items()})
        return found if name in _QUESTIONS.split() else _wrapped(found)
    try:
        signature = _signature(func)
    except ValueError:  # a C function of an older NumPy
        return function(*args, **kwargs)
    return _bound(signature, name, function, args, kwargs)


def _equivalent(name: str, space: str) -> Callable[..., Any] | None:
    own = getattr(numpy_equivalents, name, None)
    if space == "numpy.linalg":
        return own if name in _LINALG_OWN else getattr(linalg, name, None)
    if space == "numpy.fft":
        return getattr(fft, name, None)
    if space != "numpy":
        return None
    if name == "around":
        return numpy_equivalents.round
    if own is not None and getattr(own, "__module__", "") == numpy_equivalents.__name__ and name not in _LINALG_OWN:
        return own  # type: ignore[no-any-return]
    return getattr(ops, _FUNCTIONS[name]) if name in _FUNCTIONS else None


_LINALG_OWN = ("cholesky", "eigh", "lstsq", "multi_dot", "norm", "qr", "solve", "svd")


def _bound(
    signature: inspect.Signature, name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Calls the equivalent with the arguments for NumPy's function. Raises TypeError for unsupported ones."""
    given = signature.bind(*args, **kwargs).arguments
    places: list[Any] = []
    named: dict[str, Any] = {}
    known = _signature(function).parameters
    for key, value in given.items():
        p = signature.parameters[key]
        if p.kind is p.VAR_POSITIONAL:
            places += value
        elif p.kind is p.VAR_KEYWORD:
            named |= value
        elif not places and not named:
            places.append(value)
        elif not _is_default(value, p.default) and value not in _MEANINGLESS.get(key, ()):
            ours = next((n for n in (key, *_NAMES.get(key, ())) if n in known), None)
            if ours is None:
                raise TypeError(f"numpy.{name}(): argument '{key}' is not supported for tensors")
            named[ours] = dtype_of(np.dtype(value)) if key == "dtype" else value
    if _FUNCTIONS.get(name) in _FLAT and "dim" not in named:
        places[0], named["dim"] = places[0].reshape(-1), 0
    return function(*places, **named)


def _is_default(value: Any, default: Any) -> bool:
    if value is default or value is np._NoValue:
        return True
    return not isinstance(value, (Tensor, list, tuple)) and type(value) is type(default) and value == default
