"""NumPy arrays among a call's arguments, and on the memory of computed tensors: inputs and results, like tensors.

While a function is recorded, a ``RuntimeArray`` stands for an array. If it becomes a tensor, each call reads the array's
memory; the same holds for parts, other shapes and other dtypes of it. If NumPy computes with the elements, the trace is
valid only for these elements.
"""

from __future__ import annotations

import operator
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.context import context
from ..core.tensor import Tensor
from ..ir import ops as P
from ..ir.types import dtype_of
from ..runtime.support.objects import references
from .substitutes import register_later

if TYPE_CHECKING:
    from .recorder import Recorder


_CONTENTS = 8  # successive contents of an array that may be part of a key
MANY = 1 << 16  # bytes that are compared in every call


class Changeable(Exception):
    """An array's elements cannot be part of a key; the message says why."""


class Elements:
    """An array's elements as part of a key. Raises Changeable if they keep changing, or are too many."""

    def __init__(self) -> None:
        self._seen: set[bytes] = set()

    def token(self, a: np.ndarray) -> bytes:
        """A token for the elements."""
        if a.nbytes > MANY:
            raise Changeable(f"NumPy array of {a.nbytes} bytes")
        elements = a.tobytes()
        self._seen.add(elements)
        if len(self._seen) > _CONTENTS:
            raise Changeable("NumPy array that keeps changing")
        return elements


def is_input(x: Any) -> bool:
    """True for an array from which a tensor can be created."""
    if type(x) is not np.ndarray:
        return False
    try:
        dtype_of(x.dtype)
    except TypeError:
        return False
    return x.dtype.isnative


def is_kept(array: weakref.ref[np.ndarray], data: np.ndarray) -> bool:
    """True if something refers to an array, other than views of its memory."""
    return references(array()) > _ALONE if data.base is not None and data.base is array() else array() is not None


def _references_of_a_base() -> int:
    array = np.empty(1)
    data, ref = array.view(), weakref.ref(array)
    del array
    return references(ref()) if data.base is ref() else 0


_ALONE = _references_of_a_base()


class RuntimeArray:
    """An array of the run, which behaves like the array; ``tensor`` has its elements.

    ``root``: the argument, or the tensor, of which it is a part; it is observed when Python or NumPy reads elements.
    """

    __slots__ = ("__weakref__", "_array", "_recorder", "_root", "_tensor")

    def __init__(self, recorder: Recorder, tensor: Tensor, array: np.ndarray, root: Tensor):
        self._recorder, self._tensor, self._array, self._root = recorder, tensor, array, root
        recorder.floats.made.append(weakref.ref(self))  # type: ignore[arg-type]

    @property
    def _value(self) -> np.ndarray:
        return self._array

    def tensor(self) -> Tensor:
        """A tensor on the array's memory."""
        from ..ops import from_numpy

        return self._tensor.detach() if self._is_recording else from_numpy(self._array)

    def pinned(self) -> np.ndarray:
        """The array; the trace will only be replayed for these elements."""
        if self._is_recording:
            self._recorder.look_at_array(self._root, self._array)
        return self._array

    def changed(self) -> np.ndarray:
        """The array, for NumPy to write to: this is not replayed."""
        if self._is_recording:
            self._recorder.give_up(
                "NumPy changes an array of the run (change a tensor instead, made by from_numpy for an argument)"
            )
        return self._array

    @property
    def _is_recording(self) -> bool:
        return context.recorder is self._recorder

    def _part(self, t: Tensor) -> RuntimeArray:
        return RuntimeArray(self._recorder, t, t._data, self._root)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return np.ndarray

    # Properties that do not depend on elements.

    @property
    def shape(self) -> tuple[int, ...]:
        return self._array.shape

    @property
    def dtype(self) -> np.dtype:
        return self._array.dtype

    @property
    def ndim(self) -> int:
        return self._array.ndim

    @property
    def size(self) -> int:
        return self._array.size

    @property
    def itemsize(self) -> int:
        return self._array.itemsize

    @property
    def nbytes(self) -> int:
        return self._array.nbytes

    def __len__(self) -> int:
        return len(self._array)

    # Parts, and other shapes and dtypes.

    def astype(self, dtype: Any, *args: Any, **kwargs: Any) -> Any:
        """The elements in another dtype."""
        new = np.dtype(dtype)
        safe = self.dtype.kind in "biuf" and new.kind in "biuf" and (new.kind == "f" or self.dtype.kind != "f")
        if not self._is_recording or args or kwargs or not safe or not new.isnative or new.char == "g":
            return self.pinned().astype(dtype, *args, **kwargs)
        t = self._tensor.detach().to(dtype_of(new))
        return self._part(t.clone() if t._data.dtype == self.dtype else t)

    def reshape(self, *shape: Any, **kwargs: Any) -> Any:
        """The elements in another shape."""
        if not self._is_recording or kwargs or not self._array.flags.c_contiguous:
            return self.pinned().reshape(*shape, **kwargs)
        return self._part(self._tensor.detach().reshape(self._array.reshape(*shape).shape))

    def copy(self, *args: Any, **kwargs: Any) -> Any:
        """A copy of the elements."""
        if not self._is_recording or args or kwargs:
            return self.pinned().copy(*args, **kwargs)
        return self._part(self._tensor.detach().clone())

    @property
    def T(self) -> Any:
        """The array with its axes reversed."""
        if not self._is_recording:
            return self._array.T
        return self._part(self._tensor.detach().permute(tuple(range(self.ndim))[::-1]))

    def __getitem__(self, index: Any) -> Any:
        parts = index if isinstance(index, tuple) else (index,)
        plain = all(type(p) in (int, slice, type(...), type(None)) for p in parts)
        if not self._is_recording or not plain or any(type(p) is slice and (p.step or 1) < 0 for p in parts):
            return self.pinned()[index]
        if not isinstance(self._array[index], np.ndarray):
            return self.pinned()[index]
        return self._part(self._tensor.detach()[index])

    def __iter__(self) -> Any:
        return iter([self[i] for i in range(len(self))]) if self.ndim > 1 else iter(self.pinned())

    # Everything else reads elements.

    def __getattr__(self, name: str) -> Any:
        return getattr(self.changed() if name in _WRITERS else self.pinned(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in RuntimeArray.__slots__:
            object.__setattr__(self, name, value)
        else:
            setattr(self.changed(), name, value)

    def __setitem__(self, index: Any, value: Any) -> None:
        self.changed()[index] = plain(value)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.pinned(), dtype, copy=True) if copy else np.asarray(self.pinned(), dtype)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if any(isinstance(x, Tensor) for x in inputs):
            inputs = tuple([x.tensor() if is_runtime_array(x) else x for x in inputs])
        if method == "at" or "out" in kwargs:
            inputs = tuple([_written(x) for x in inputs])
            kwargs["out"] = tuple(map(_written, kwargs["out"])) if "out" in kwargs else None
            kwargs = {name: x for name, x in kwargs.items() if x is not None}
        return getattr(ufunc, method)(*map(plain, inputs), **{name: plain(x) for name, x in kwargs.items()})

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        before = self._array.copy()
        result = function(*plain(args), **plain(kwargs))
        if not np.array_equal(before, self._array, equal_nan=before.dtype.kind in "fc"):
            self.changed()
        return result

    def __reduce__(self) -> Any:
        return self.pinned().__reduce__()

    def __copy__(self) -> Any:
        return self.copy()

    def __deepcopy__(self, memo: Any) -> Any:
        return self.copy()

    __hash__ = None  # type: ignore[assignment]


RuntimeArray.__name__ = "numpy.ndarray"  # the name in Python's messages


_WRITERS = frozenset({"fill", "itemset", "partition", "put", "resize", "setfield", "setflags", "sort", "byteswap"})


def _assigned(original: Callable[..., Any]) -> Callable[..., Any]:
    """``scipy.optimize.linear_sum_assignment``: of a matrix that the run computes, each run finds the assignment."""

    def assignment(cost_matrix: Any, maximize: bool = False) -> Any:
        recorder = context.recorder
        cost = cost_matrix.tensor() if is_runtime_array(cost_matrix) else cost_matrix
        if recorder is None or not isinstance(cost, Tensor) or cost.ndim != 2 or cost.requires_grad:
            return original(cost_matrix, maximize)
        try:
            found = P.assignment(cost.detach(), maximize=bool(maximize))
        except RuntimeError:
            return original(cost_matrix, maximize)
        return recorder.array(found[0]), recorder.array(found[1])

    return assignment


register_later("scipy.optimize", "linear_sum_assignment", _assigned)


def is_runtime_array(x: Any) -> bool:
    """True for a ``RuntimeArray``; ``isinstance(x, np.ndarray)`` is true for both kinds."""
    return type(x) is RuntimeArray


def plain(x: Any) -> Any:
    """NumPy's arguments with the arrays themselves."""
    if type(x) is RuntimeArray:
        return x.pinned()
    if type(x) in (list, tuple):
        return type(x)(map(plain, x))
    if type(x) is dict:
        return {name: plain(value) for name, value in x.items()}
    return x


def _written(x: Any) -> Any:
    return x.changed() if type(x) is RuntimeArray else x


def _install() -> None:
    def method(function: Callable[..., Any], reflected: bool) -> Callable[..., Any]:
        def call(self: RuntimeArray, other: Any) -> Any:
            if isinstance(other, Tensor):
                return function(other, self.tensor()) if reflected else function(self.tensor(), other)
            a, b = self.pinned(), plain(other)
            return function(b, a) if reflected else function(a, b)

        return call

    def in_place(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: RuntimeArray, other: Any) -> Any:
            function(self.changed(), plain(other))
            return self

        return call

    def look(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda self, *args: function(self.pinned(), *args)

    for name in ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and_", "or_", "xor", "lshift", "rshift"]:
        own = name.strip("_")
        setattr(RuntimeArray, f"__{own}__", method(getattr(operator, name), reflected=False))
        setattr(RuntimeArray, f"__r{own}__", method(getattr(operator, name), reflected=True))
        setattr(RuntimeArray, f"__i{own}__", in_place(getattr(operator, f"i{own}")))
    for name in ["lt", "le", "gt", "ge", "eq", "ne"]:
        setattr(RuntimeArray, f"__{name}__", method(getattr(operator, name), reflected=False))
    functions: dict[str, Callable[..., Any]] = {"contains": operator.contains, "format": format, "divmod": divmod}
    functions |= {name: getattr(operator, name) for name in ("neg", "pos", "abs", "invert", "index")}
    functions |= {f.__name__: f for f in (bool, int, float, complex, repr, str)}
    for name, function in functions.items():
        setattr(RuntimeArray, f"__{name}__", look(function))


_install()
