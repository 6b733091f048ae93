"""Attaches the functions of ``tracer.ops`` to ``Tensor`` as methods, operators and in-place methods."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any, overload

import numpy as np

from .. import linalg as matrices
from .. import ops
from ..interop import layers, legacy
from ..ir import ops as P
from ..ir.interp import compute_into
from ..ir.types import (
    DTYPES,
    DType,
    as_dtype,
    bfloat16,
    bool_,
    complex64,
    complex128,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
)
from ..linalg import factorizations
from ..ops import create, index, moving, numeric, pointwise, shape, special, writes
from ..ops.common import to_dtype
from ..ops.contracts import in_place
from ..ops.inquiry import as_number, fitting
from ..ops.offering import is_offered, offered
from ..random import sampling
from ..runtime.devices import copy_later, may_copy_later
from ..signal import spectral
from . import attributes, inplace, reshaping
from .context import context
from .device import beside, moved
from .device import device as Device
from .operators import ARITHMETIC, COMPARISONS, DIRECT, comparison, operator
from .tensor import UNCHANGED, Tensor
from .waiting import WAITING, will_change

# Functions of ``tracer.ops`` whose first argument is a tensor, as methods.
_METHODS = """
    abs absolute acos acosh add addbmm addcdiv addcmul addmm addmv addr adjoint all allclose angle amax amin aminmax any
    arccos arccosh arcsin arcsinh arctan arctan2 arctanh argmax argmin argsort argwhere as_strided asin asinh atan atan2
    atanh baddbmm bincount bitwise_and bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift bitwise_xor bmm
    broadcast_to bucketize ceil chunk conj conj_physical clamp clamp_max clamp_min clip clone contiguous copysign corrcoef
    cos cosh count_nonzero cov cross cummax cummin cumprod cumsum deg2rad diag diag_embed diagflat diagonal
    diagonal_scatter diff digamma dist div divide dot dsplit eq equal erf erfc erfinv exp exp2 expand expand_as expm1 fix
    flatten flip fliplr flipud float_power floor floor_divide fmax fmin fmod frac gather gcd ge greater greater_equal gt
    heaviside histc hsplit hypot i0 index_add index_copy index_fill index_put index_reduce index_select inner isclose
    isfinite isinf isnan isneginf isposinf isreal is_conj is_neg kron resolve_conj resolve_neg kthvalue lcm ldexp le lerp less
    less_equal lgamma log log10 log1p log2 log_softmax logaddexp logaddexp2 logcumsumexp logical_and logical_not
    logical_or logical_xor logit logsumexp lt masked_fill masked_scatter masked_select matmul max maximum mean median min
    minimum mm mode moveaxis movedim msort mul multiply mv mvlgamma nan_to_num nanmean nanmedian nanquantile nansum narrow
    ne neg negative nextafter nonzero norm not_equal outer permute positive pow prod put quantile rad2deg ravel reciprocal
    relu remainder renorm repeat repeat_interleave reshape reshape_as roll rot90 round rsqrt scatter scatter_add
    scatter_reduce select select_scatter sgn sigmoid sign signbit sin sinc sinh slice_scatter softmax sort split sqrt
    square squeeze std sub subtract sum sum_to_size swapaxes swapdims t take take_along_dim tan tanh tensor_split tile
    topk transpose tril triu true_divide trunc unbind unflatten unfold unique unique_consecutive unsqueeze var vdot view
    view_as vsplit xlogy
    as_strided_scatter frexp ger histogram narrow_copy nonzero_static unsafe_chunk unsafe_split unsafe_split_with_sizes
"""
# Functions with an in-place variant.
_IN_PLACE = """
    abs absolute acos acosh add addcdiv addcmul addmm addmv addr arccos arccosh arcsin arcsinh arctan arctan2
    arctanh asin asinh atan atan2 atanh baddbmm bitwise_and bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift
    bitwise_xor ceil clamp clamp_max clamp_min clip copysign cos cosh cumprod cumsum deg2rad digamma div divide eq erf
    erfc erfinv exp exp2 expm1 fix float_power floor floor_divide fmod frac gcd ge greater greater_equal gt heaviside
    hypot i0 index_add index_copy index_fill index_put index_reduce lcm ldexp le lerp less less_equal lgamma log log10
    log1p log2 logical_and logical_not logical_or logical_xor logit lt masked_fill masked_scatter mul multiply mvlgamma
    nan_to_num ne neg negative nextafter not_equal pow put rad2deg reciprocal relu remainder renorm round rsqrt scatter
    scatter_add scatter_reduce sgn sigmoid sign sin sinc sinh sqrt square sub subtract tan tanh tril triu true_divide
    trunc xlogy
    conj_physical
"""

# Methods of the class that check their arguments.
_OWN = ("backward", "detach_", "register_hook", "register_post_accumulate_grad_hook", "requires_grad_", "size", "stride")


def _in_place(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    primitive = DIRECT.get(getattr(function, "__wrapped__", function))
    ufunc = primitive and primitive.ufunc
    partly = function.__name__ in ("masked_fill", "index_put", "index_fill")
    by_value = function.__name__ in ("masked_fill", "index_fill")  # a number is read from a tensor before anything is written

    @functools.wraps(function)
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if (counter := self._counter) is not UNCHANGED and not by_value:
            for a in (*args, *kwargs.values()) if kwargs else args:
                if isinstance(a, Tensor) and a._counter is counter and a is not self:
                    inplace.require_apart(self, a)
        if ufunc is not None and not kwargs and len(args) == 1 and _overwritable(self, args[0]):
            other = args[0]
            if WAITING:
                will_change(self)
            compute_into(ufunc, self._data, other._data if isinstance(other, Tensor) else other, self._data)
            self._changes()[0] += 1
            return self
        followed = False
        if context.grad_enabled:
            for a in (self, *args, *kwargs.values()):
                followed = followed or (isinstance(a, Tensor) and a.requires_grad)
        # Rules may read the old value, which will be overwritten.
        before = self._snapshot() if followed else self
        return self._become(function(before, *args, **kwargs), partly=partly)

    method.__doc__ = in_place(function.__name__)
    return method


def _overwritable(t: Tensor, other: Any) -> bool:
    """True if NumPy may compute into the memory of ``t``: the change is neither tracked nor recorded, and the result fits."""
    data = t._data
    if data.__class__ is not np.ndarray:
        return False
    if context.recorder is not None or data.dtype.kind != "f" or data.itemsize == 2 or not data.flags.writeable:
        return False
    if t._inference or (context.grad_enabled and (t._requires_grad or t._view is not None)):
        return False
    if isinstance(other, Tensor):
        theirs = other._data
        if (
            theirs.__class__ is not np.ndarray
            or theirs.dtype is not data.dtype
            or (context.grad_enabled and (other._requires_grad or other._view is not None))
        ):
            return False
        return theirs.shape == data.shape or (
            theirs.ndim <= data.ndim
            and all(m in (1, n) for m, n in zip(reversed(theirs.shape), reversed(data.shape), strict=False))
        )
    return type(other) in (float, int)


@overload
def _to(self: Tensor, dtype: DType, non_blocking: bool = False, copy: bool = False, *, memory_format: Any = None) -> Tensor: ...
@overload
def _to(
    self: Tensor,
    device: str | Device | None = None,
    dtype: DType | None = None,
    non_blocking: bool = False,
    copy: bool = False,
    *,
    memory_format: Any = None,
) -> Tensor: ...
@overload
def _to(self: Tensor, other: Tensor, non_blocking: bool = False, copy: bool = False) -> Tensor: ...
def _to(
    self: Tensor,
    *args: Any,
    dtype: DType | None = None,
    device: Any = None,
    non_blocking: bool = False,
    copy: bool = False,
    memory_format: Any = None,
    other: Tensor | None = None,
) -> Tensor:
    """The tensor in another dtype, on another device, or with both of another tensor; the tensor itself if nothing changes,
    unless ``copy``. With ``non_blocking``, copies between page-locked memory and a device are only started.

    ``to(dtype, non_blocking, copy)``, ``to(device, dtype, non_blocking, copy)`` or ``to(other, non_blocking, copy)``.
    """
    flags = [a for a in args if isinstance(a, bool)]
    if flags:
        non_blocking, copy = flags[0], flags[1] if len(flags) > 1 else copy
    where: Any = None
    for a in (*args, device, other):
        if isinstance(a, (DType, type)):
            dtype = as_dtype(a)
        elif isinstance(a, Tensor):
            dtype, where = a.dtype, a.device
        elif isinstance(a, bool) or a is None:
            continue
        elif isinstance(a, (str, int, Device)):
            where = a
        else:
            raise TypeError(f"to() received an invalid combination of arguments - got ({type(a).__name__})")
    dtype = None if dtype is None else as_dtype(dtype)
    here = self if dtype is None or self.dtype is dtype else to_dtype(self, dtype)
    there = here if where is None else moved(here, where, wait=not non_blocking)
    return P.copy(self) if copy and there is self else there


def _copy_(self: Tensor, other: Any, non_blocking: bool = False) -> Tensor:
    """Copies the values of ``other``, broadcast to this shape and cast to this dtype. With ``non_blocking``, a copy between
    page-locked memory and a device is only started.
    """
    src = other
    if not isinstance(src, Tensor):
        src = create.full((), src, dtype=self.dtype)
    src = to_dtype(src, self.dtype)
    if src._data.shape != self._data.shape:
        src = shape.expand(src, self._data.shape)
    inplace.require_apart(self, src)
    later = (lambda data: copy_later(data, src._data)) if non_blocking and may_copy_later(self._data, src._data) else None
    return self._become(src, overwritten=True, write=later)


def _fill_(self: Tensor, value: Any) -> Tensor:
    """Sets every element, of any dtype, to ``value``, a number or a tensor without axes.

    Raises RuntimeError for another tensor.
    """
    number = not isinstance(value, Tensor)
    if value.__class__ in (int, float) and inplace.is_plain(self) and self._data.itemsize != 2:
        self._data.fill(as_number(value, self.dtype))
        self._changes()[0] += 1
        return self
    if isinstance(value, Tensor):
        if value.ndim:
            raise RuntimeError(f"fill_ only supports 0-dimension value tensor but got tensor with {value.ndim} dimensions.")
        value = to_dtype(value, self.dtype)
    else:
        value = create.full((), fitting(value, self.dtype), dtype=self.dtype)
    return self._become(shape.expand(value, self._data.shape), overwritten=True, may_overlap=number)


def _zero_(self: Tensor) -> Tensor:
    """Sets every element, of any dtype, to zero. Raises RuntimeError for a leaf that requires a gradient."""
    return _fill_(self, 0)


def _cast(dtype: DType) -> Callable[..., Any]:
    """``to(dtype)`` as a method."""

    def method(self: Tensor, memory_format: Any = None) -> Tensor:
        return _to(self, dtype=dtype, memory_format=memory_format)

    method.__doc__ = f"``to({dtype})``."
    return method


def _drawn(name: str) -> Callable[..., Any]:
    """A function of ``tracer.random.filling`` as a method."""

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        from ..random import filling

        return getattr(filling, name)(self, *args, **kwargs)

    method.__name__ = name
    method.__doc__ = f"Fills the tensor with random numbers: ``{name}`` of ``tracer.random.filling``."
    return method


@overload
def _type(self: Tensor) -> str: ...
@overload
def _type(self: Tensor, dtype: DType, non_blocking: bool = False) -> Tensor: ...
def _type(self: Tensor, dtype: Any = None, non_blocking: bool = False) -> Any:
    """PyTorch's old name of dtype and device (``torch.cuda.FloatTensor``); or the tensor in a dtype or such a name."""
    if isinstance(dtype, str):
        package, _, name = dtype.rpartition(".")
        found = next((d for d in DTYPES if name == f"{d.ctype}Tensor"), None)
        if found is None or package not in ("torch", "torch.cuda"):
            raise ValueError(f"invalid type: '{dtype}'")
        return _to(self, "cuda" if package == "torch.cuda" else "cpu", found)
    if dtype is Tensor:  # PyTorch's class of the default type
        return _to(self, context.default_dtype)
    if dtype is not None:
        return _to(self, getattr(dtype, "dtype", dtype))
    return f"{'torch.cuda' if self.is_cuda else 'torch'}.{self.dtype.ctype}Tensor"


# Functions of ``tracer.linalg`` that are also methods.
_OF_MATRICES = "cholesky_inverse cholesky_solve det logdet slogdet matrix_power matrix_exp qr"

# In-place functions that PyTorch also has in the top-level namespace.
_AS_FUNCTIONS = """
    abs_ acos_ acosh_ addmv_ alpha_dropout_ arccos_ arccosh_ arcsin_ arcsinh_ arctan_ arctanh_ as_strided_ asin_ asinh_ atan_
    atanh_ ceil_ celu_ clamp_ clamp_max_ clamp_min_ clip_ conj_physical_ cos_ cosh_ deg2rad_ detach_ dropout_ erf_ erfc_ exp2_
    exp_ expm1_ feature_alpha_dropout_ feature_dropout_ fill_ fix_ floor_ frac_ gcd_ i0_ index_put_ lcm_ ldexp_ log10_ log1p_
    log2_ log_ logit_ nan_to_num_ neg_ negative_ rad2deg_ reciprocal_ relu_ resize_as_ round_ rrelu_ rsqrt_ selu_ sigmoid_ sin_
    sinc_ sinh_ sqrt_ square_ tan_ tanh_ threshold_ trunc_ xlogy_ zero_
"""


def functions_in_place() -> dict[str, Callable[..., Tensor]]:
    """The functions whose names end in ``_``, by name: methods, and layers that overwrite their input."""
    found: dict[str, Callable[..., Tensor]] = {}
    for name in _AS_FUNCTIONS.split():
        method = getattr(Tensor, name, None)
        layer = getattr(layers, name[:-1], None)
        if method is not None:
            found[name] = method
        elif layer is not None:
            found[name] = _in_place(layer)
            found[name].__module__, found[name].__name__, found[name].__qualname__ = "tracer", name, name
    return found


def _beside(self: Tensor, more: dict[str, Any]) -> dict[str, Any]:
    """Arguments of a factory, with this tensor's device if none is given."""
    return more if more.get("device") is not None else {**more, "device": beside(self)}


def _new_zeros(self: Tensor, *size: Any, dtype: DType | None = None, **more: Any) -> Tensor:
    """Zeros, by default of this tensor's dtype and on its device."""
    return create.zeros(*size, dtype=dtype or self.dtype, **_beside(self, more))


def _new_ones(self: Tensor, *size: Any, dtype: DType | None = None, **more: Any) -> Tensor:
    """Ones, by default of this tensor's dtype and on its device."""
    return create.ones(*size, dtype=dtype or self.dtype, **_beside(self, more))


def _new_full(self: Tensor, size: Any, fill_value: Any, dtype: DType | None = None, **more: Any) -> Tensor:
    """A tensor filled with a number, by default of this tensor's dtype and on its device."""
    return create.full(size, fill_value, dtype=dtype or self.dtype, **_beside(self, more))


def _new_tensor(self: Tensor, data: Any, dtype: DType | None = None, **more: Any) -> Tensor:
    """A copy of ``data``, by default in this tensor's dtype and on its device."""
    return create.tensor(data, dtype=dtype or self.dtype, **_beside(self, more))


def _float_power(input: Tensor, exponent: Any) -> Tensor:
    out = special.float_power(input, exponent)
    if out.dtype is not input.dtype:
        raise RuntimeError(
            f"the base given to float_power_ has dtype {input.dtype.ctype} but the operation's result requires dtype "
            f"{out.dtype.ctype}"
        )
    return out


def _polygamma(self: Tensor, n: int) -> Tensor:
    """``polygamma(n, self)``."""
    return special.polygamma(n, self)


def _where(self: Tensor, condition: Tensor, other: Any) -> Tensor:
    """``where(condition, self, other)``."""
    return ops.where(condition, self, other)


def _split_with_sizes(self: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Parts of the given sizes."""
    return ops.split(self, split_sizes, dim)


def _type_as(self: Tensor, other: Tensor) -> Tensor:
    """The tensor in the dtype of ``other``, on its device."""
    return _to(self, other)


def _cpu(self: Tensor, memory_format: Any = None) -> Tensor:
    """The tensor on the CPU; the tensor itself if it is there."""
    return moved(self, None)


def _h(self: Tensor) -> Tensor:
    """The conjugate transpose of a matrix."""
    if self.ndim not in (0, 2):
        many = " For batches of matrices, consider using tensor.mH" if self.ndim > 2 else ""
        raise RuntimeError(f"tensor.H is only supported on matrices (2-D tensors). Got {self.ndim}-D tensor.{many}")
    return ops.adjoint(self)


def _part(part: Callable[[Tensor], Tensor]) -> property:
    """The real or the imaginary part as a settable attribute."""

    def write(self: Tensor, value: Any) -> None:
        part(self).copy_(value)

    return property(part, write)


def _t(self: Tensor) -> Tensor:
    """The tensor with its axes in reverse order."""
    return P.permute(self, axes=tuple(reversed(range(self.ndim))))


def _nbytes(self: Tensor) -> int:
    """The number of bytes of all elements."""
    return self.element_size() * self.numel()


def _rdiv(self: Tensor, other: Any) -> Tensor:
    """``other / self``."""
    return pointwise.mul(pointwise.reciprocal(self), other)


def _new_empty_strided(
    self: Tensor, size: Sequence[int], stride: Sequence[int], dtype: DType | None = None, **more: Any
) -> Tensor:
    """``empty_strided``, by default of this tensor's dtype and on its device."""
    return ops.empty_strided(size, stride, dtype=dtype or self.dtype, **_beside(self, more))


def _new(self: Tensor, *args: Any) -> Tensor:
    """``new(2, 3)``: with these extents; ``new([2, 3])``: with this data; of this tensor's dtype, on its device."""
    return legacy.construct(args, self.dtype, beside(self))


def attach() -> None:
    """Called once, on import of ``tracer``."""
    for name in _METHODS.split():
        setattr(Tensor, name, getattr(ops, name))
    for name, function in ARITHMETIC.items():
        setattr(Tensor, f"__{name}__", operator(function, False))
        setattr(Tensor, f"__r{name}__", operator(function, True))
    for name, function in COMPARISONS.items():
        setattr(Tensor, f"__{name}__", comparison(function))
    for name in _IN_PLACE.split():
        setattr(Tensor, f"{name}_", _in_place(getattr(ops, name)))
    for name, function in ARITHMETIC.items():
        setattr(Tensor, f"__i{name}__", _in_place(function))
    for name, dtype in (
        ("float", float32),
        ("double", float64),
        ("long", int64),
        ("int", int32),
        ("bool", bool_),
        ("byte", uint8),
        ("short", int16),
        ("char", int8),
        ("half", float16),
        ("bfloat16", bfloat16),
        ("cfloat", complex64),
        ("cdouble", complex128),
    ):
        setattr(Tensor, name, _cast(dtype))
    extra: dict[str, Any] = {
        "__neg__": pointwise.neg,
        "__pos__": special.positive,
        "__abs__": pointwise.abs,
        "__invert__": pointwise.bitwise_not,
        "__getitem__": index.getitem,
        "__setitem__": writes.setitem,
        "trace": ops.matrix_trace,
        "polygamma": _polygamma,
        "index_put": writes.index_put,
        "H": property(_h),
        "mH": property(ops.adjoint),
        "real": _part(ops.real),
        "imag": _part(ops.imag),
        "new_zeros": _new_zeros,
        "new_ones": _new_ones,
        "new_empty": _new_zeros,
        "new_full": _new_full,
        "new_tensor": _new_tensor,
        "__rdiv__": _rdiv,
        "nelement": Tensor.numel,
        "ndimension": Tensor.dim,
        **{name: _drawn(name) for name in ("bernoulli_", "exponential_", "normal_", "random_", "uniform_")},
        "type": _type,
        "where": _where,
        "split_with_sizes": _split_with_sizes,
        "is_signed": ops.is_signed,
        "is_nonzero": ops.is_nonzero,
        "is_same_size": ops.is_same_size,
        "nbytes": property(_nbytes),
        "itemsize": property(Tensor.element_size),
        "svd": legacy.svd,
        "inverse": matrices.inv,
        "pinverse": matrices.pinv,
        **{name: getattr(matrices, name) for name in _OF_MATRICES.split()},
        "hardshrink": layers.hardshrink,
        "prelu": layers.prelu,
        **{name: getattr(factorizations, name) for name in ("cholesky", "geqrf", "orgqr", "ormqr", "qr", "triangular_solve")},
        "lu": factorizations.packed_lu,
        "lu_solve": factorizations.solve_packed,
        "stft": spectral.stft,
        "istft": spectral.istft,
        "T": property(_t),
        "mT": property(moving.matrix_transpose),
        "to": _to,
        "type_as": _type_as,
        "cpu": _cpu,
        "copy_": _copy_,
        "fill_": _fill_,
        "zero_": _zero_,
        "fill_diagonal_": _in_place(numeric.fill_diagonal),
        "polygamma_": _in_place(_polygamma),
        "float_power_": _in_place(_float_power),
        "igamma": special.gammainc,
        "igammac": special.gammaincc,
        "igamma_": _in_place(special.gammainc),
        "igammac_": _in_place(special.gammaincc),
        "new_empty_strided": _new_empty_strided,
        "new": _new,
        **attributes.CONSTANTS,
        **attributes.METHODS,
        **sampling.METHODS,
        **reshaping.METHODS,
        "_become": inplace.become,
        "_snapshot": inplace.snapshot,
    }
    for name, value in extra.items():
        written = isinstance(value, FunctionType) and name[0] != "_" and not is_offered(value)
        setattr(Tensor, name, offered(value, name, Tensor.__module__) if written else value)
    for name in _OWN:
        setattr(Tensor, name, offered(getattr(Tensor, name), name, Tensor.__module__))
    for name, value in vars(Tensor).items():
        if isinstance(value, FunctionType) and name[0] != "_" and not _found(value):
            value.__module__, value.__name__, value.__qualname__ = Tensor.__module__, name, f"Tensor.{name}"


def _found(function: FunctionType) -> bool:
    """True if a function can be found under its name, so that it can be pickled."""
    where: Any = sys.modules[function.__module__]
    for part in function.__qualname__.split("."):
        where = getattr(where, part, None)
    return where is function
