"""The tensor: an array with its autograd state.

Methods that compute are the functions of ``tracer.ops``, attached in ``tracer.core.methods``. This file has the tensor's data,
its position in the graph, its gradient, and in-place changes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from ..ir.ops import detach
from ..ir.types import DType, TensorType, array_type, dtype_of
from ..runtime.devices import address, device_of, layout_of
from .context import COUNTED, SPECIAL, context, not_in_traces, shape_is_read, structure_changed
from .device import array_on, device, device_named_for, memory_of
from .layout import is_in_format, is_same_memory, overlaps
from .made import TensorMeta
from .printing import html, show
from .size import Size
from .waiting import WAITING, will_be_assigned, will_be_exposed

if TYPE_CHECKING:
    from ..autograd.hooks import RemovableHandle
    from ..autograd.node import BackwardNode
    from .tensor_methods import TensorMethods
    from .views import Made
else:
    TensorMethods = object  # `methods` attaches them


UNCHANGED = (0,)  # the counter of a tensor that has not been changed and has no views


class Tensor(TensorMethods, metaclass=TensorMeta):
    """A multi-dimensional array that stores how it was computed.

    Created by ``tracer.tensor``, the other factories, and operations. Semantics and names are PyTorch's. The older form
    ``Tensor(2, 3)`` has zeros in this shape, ``Tensor([2, 3])`` has this data; both have the default dtype. Raises TypeError
    for anything else.
    """

    # Most tensors have none of these; class attributes make creation cheap.
    _requires_grad: bool = False
    _grad: Tensor | None = None
    _grad_fn: BackwardNode | None = None
    _output: int = 0  # output number in the node
    _view: tuple[Tensor, Any, Mapping[str, Any]] | None = None  # (viewed tensor, primitive, attributes)
    _history: int = 0  # the memory's version when a view's position in the graph was looked up
    _formers: tuple[Tensor, ...] = ()  # this tensor's former states, before each in-place change of its shape
    _since: int = 0  # for a view: the number of such changes of its base when it was created
    _inference: bool = False  # created in inference mode
    _accumulator: Any = None  # a weak reference to a leaf's AccumulateGrad node
    _made: Made | None = None  # for a view that must not be changed in place with autograd: how it was created
    _data: np.ndarray[Any, Any]
    # The number of in-place changes, in a list shared by the views of one storage, created when first needed (`_changes`).
    _counter: Sequence[int]

    def __init__(self, *args: Any):
        """``Tensor(2, 3)``: with these extents; ``Tensor([2, 3])``: with this data. The dtype is the default one."""
        from ..interop.legacy import construct

        made = construct(args, context.default_dtype)
        self._data, self._counter = made._data, UNCHANGED
        if context.recorder is not None:
            context.recorder.snapshot(made, self)

    # Properties.

    @property
    def shape(self) -> Size:
        """The extents of all axes."""
        if COUNTED:
            shape_is_read(self)
        return Size(self._data.shape)

    @property
    def dtype(self) -> DType:
        """The type of the elements."""
        return dtype_of(self._data.dtype)

    @property
    def type_(self) -> TensorType:
        """The tensor's type in the IR."""
        return array_type(self._data.dtype, self._data.shape)

    @property
    def device(self) -> device:
        """The device of the memory. In the context of ``device("meta")`` this device instead of the CPU."""
        return device_named_for(self._data)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self._data.ndim

    def dim(self) -> int:
        """The number of axes."""
        return self._data.ndim

    @overload
    def size(self) -> Size: ...
    @overload
    def size(self, dim: int) -> int: ...
    def size(self, dim: int | None = None) -> Size | int:
        """The shape, or the extent of one axis. Raises IndexError for an axis that does not exist."""
        if COUNTED:
            shape_is_read(self)
        shape = self._data.shape
        if dim is None:
            return Size(shape)
        if dim.__class__ is int and -len(shape) <= dim < len(shape):
            return shape[dim]
        from ..ops.common import one_dim

        return shape[one_dim(dim, len(shape))]

    def numel(self) -> int:
        """The number of elements."""
        if COUNTED:
            shape_is_read(self)
        return int(self._data.size)

    def element_size(self) -> int:
        """The number of bytes of an element."""
        return int(self._data.itemsize)

    def is_floating_point(self) -> bool:
        """True for float16, bfloat16, float32 and float64."""
        return self._data.dtype.kind == "f" or self.dtype.is_floating_point

    def is_complex(self) -> bool:
        """True for complex64 and complex128."""
        return self._data.dtype.kind == "c"

    def is_contiguous(self, memory_format: Any = None) -> bool:
        """True if the memory is row-major, or channels-last for the corresponding ``memory_format``."""
        if memory_format is None or memory_format.rank is None:
            return layout_of(self._data).flags.c_contiguous
        return is_in_format(self._data.shape, self.stride(), memory_format)

    def data_ptr(self) -> int:
        """The address of the first element; 0 if there is none."""
        if context.recorder is not None:
            context.recorder.give_up("reads an address")
        return self._address() if self._data.size else 0

    def _address(self) -> int:
        return address(self._data)

    def __len__(self) -> int:
        if self._data.ndim == 0:
            raise TypeError("len() of a 0-d tensor")
        if COUNTED:
            shape_is_read(self)
        return len(self._data)

    def __iter__(self) -> Iterator[Tensor]:
        if self._data.ndim == 0:
            raise TypeError("iteration over a 0-d tensor")
        return iter(self.unbind())

    def __hash__(self) -> int:
        if context.recorder is not None:
            context.recorder.alike.tell_apart(self)
        return id(self)

    # Position in the graph.

    def _viewed(self) -> tuple[Tensor, Any, Mapping[str, Any]]:
        """For a view: its base, the primitive and its attributes."""
        assert self._view is not None
        parent, primitive, attrs = self._view
        if self._since < len(parent._formers):
            parent = parent._formers[self._since]
        return parent, primitive, attrs

    def _refresh(self) -> None:
        """Looks up a view's position in the graph again if its memory has changed since.

        It is then a direct view of its current base: hooks on intermediate views do not apply. Raises RuntimeError for a
        view that autograd cannot track.
        """
        if self._history == self._counter[0]:
            return
        base = self._followed_base()
        if base is self or (self._grad_fn is None and not base._requires_grad):
            return
        from .inplace import seen_from
        from .views import refused

        if self._made is not None:
            raise refused(self, True)
        self._follow(seen_from(base, self))

    def _follow(self, node: BackwardNode, output: int = 0) -> None:
        """Sets the new history of a tensor that was changed in place. Its own gradient is now that of the new value."""
        before = self._grad_fn
        if not self._requires_grad:
            structure_changed()
        self._requires_grad, self._grad_fn, self._output, self._history = True, node, output, self._counter[0]
        if before is not None and before.extras is not None:
            from ..autograd.hooks import move_retained

            move_retained(self, before)

    def _followed(self) -> bool:
        """For a view: True if autograd tracks it, after looking up its position in the graph."""
        self._refresh()
        return self._requires_grad or self._followed_base()._requires_grad

    @property
    def requires_grad(self) -> bool:
        """True if autograd records operations on this tensor. May be set on leaves; see ``requires_grad_``."""
        return self._requires_grad or (self._view is not None and self._followed_base()._requires_grad)

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if not isinstance(value, bool):
            raise RuntimeError("requires_grad must be a bool")
        if value and not self.is_leaf:
            raise RuntimeError("you can only change requires_grad flags of leaf variables.")
        if value and self._data.dtype.kind not in "fcV":
            raise RuntimeError("only Tensors of floating point and complex dtype can require gradients")
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Sets whether this leaf requires a gradient. Raises RuntimeError unless it is a floating leaf."""
        if requires_grad and self._data.dtype.kind not in "fcV":
            raise RuntimeError("only Tensors of floating point dtype can require gradients")
        if self._grad_fn is not None and not requires_grad:
            raise RuntimeError(
                "you can only change requires_grad flags of leaf variables. If you want to use a computed variable in a "
                "subgraph that doesn't require differentiation use var_no_grad = var.detach()."
            )
        if self._requires_grad != requires_grad:
            if self._inference and not context.inference:
                raise RuntimeError("Setting requires_grad=True on inference tensor outside InferenceMode is not allowed.")
            if context.recorder is not None:
                context.recorder.becomes_leaf(self)
            structure_changed()
            self._requires_grad = bool(requires_grad)
        return self

    @property
    def grad_fn(self) -> BackwardNode | None:
        """The node of the operation that computed this tensor with autograd; None for leaves."""
        if self._node() is not None:
            not_in_traces(self, "reads the graph of a tensor made outside")
        return self._grad_fn

    def _node(self) -> BackwardNode | None:
        if self._view is not None:
            self._refresh()
        return self._grad_fn

    @property
    def is_leaf(self) -> bool:
        """True for tensors that were not computed by operations that autograd records."""
        return self._node() is None

    @property
    def output_nr(self) -> int:
        """The output number of this tensor in its node."""
        if self._grad_fn is None:
            return 0
        return self._made.output if self._made is not None and self._made.kind == "multiple" else self._output

    @property
    def _version(self) -> int:
        if self._inference:
            raise RuntimeError("Inference tensors do not track version counter.")
        if context.recorder is not None:
            context.recorder.give_up("reads a tensor's version counter")
        return self._counter[0]

    @property
    def grad(self) -> Tensor | None:
        """The gradient accumulated by ``backward``, or None."""
        if context.recorder is not None:
            context.recorder.reads_grad(self)
        if self._grad is None and self._grad_fn is not None and not self.retains_grad:
            warnings.warn(
                "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its .grad attribute won't be "
                "populated during autograd.backward(). If you indeed want the .grad field to be populated for a non-leaf "
                "Tensor, use .retain_grad() on the non-leaf Tensor. If you access the non-leaf Tensor by mistake, make sure "
                "you access the leaf Tensor instead. See github.com/pytorch/pytorch/pull/30531 for more informations.",
                UserWarning,
                stacklevel=2,
            )
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is self:
            raise RuntimeError("can't assign Variable as its own grad")
        if value is not None:
            if not isinstance(value, Tensor):
                raise TypeError(f"assigned grad expected to be a Tensor or None but got grad of type {type(value).__name__}")
            if value.shape != self.shape:
                raise RuntimeError(
                    f"attempting to assign a gradient of size '{list(value.shape)}' to a tensor of size "
                    f"'{list(self.shape)}'. Please ensure that the gradient and the tensor are the same size"
                )
            if value._data.dtype != self._data.dtype:
                raise RuntimeError(
                    f"attempting to assign a gradient with dtype '{value.dtype.ctype.lower()}' to a tensor with grad_dtype "
                    f"'{self.dtype.ctype}'"
                )
        if context.recorder is not None:
            context.recorder.writes_grad(self)
        self._grad = value

    def retain_grad(self) -> None:
        """Stores the gradient of this non-leaf tensor in ``.grad``. Raises RuntimeError if it requires none."""
        from ..autograd.hooks import retain

        retain(self)

    @property
    def retains_grad(self) -> bool:
        """True if ``retain_grad`` was called on this non-leaf tensor."""
        not_in_traces(self, "reads whether a tensor made outside retains its gradient")
        from ..autograd.hooks import retains

        return retains(self)

    def register_hook(self, hook: Callable[[Tensor], Any]) -> RemovableHandle:
        """Calls ``hook(gradient)`` when this tensor's gradient is known; a tensor that it returns replaces the gradient.

        Returns a handle whose ``remove()`` removes the hook. Raises RuntimeError if the tensor requires no gradient.
        """
        from ..autograd.hooks import register

        return register(self, hook)

    def register_post_accumulate_grad_hook(self, hook: Callable[[Tensor], Any]) -> RemovableHandle:
        """Calls ``hook(tensor)`` after this leaf's gradient has been added to ``.grad``."""
        from ..autograd.hooks import register_post_accumulate

        return register_post_accumulate(self, hook)

    def backward(
        self,
        gradient: Tensor | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Tensor | Sequence[Tensor] | None = None,
    ) -> None:
        """Adds this tensor's gradients to the ``.grad`` of the leaves that it depends on. See ``tracer.autograd.backward``."""
        node = self._grad_fn
        plain = gradient is None and inputs is None and not create_graph and self._view is None
        if plain and node is not None and node.run_alone(self, bool(retain_graph)):
            return
        from ..autograd import backward

        backward(self, gradient, retain_graph, create_graph, inputs=inputs)

    def _alias(self) -> Tensor:
        """A tensor on the same memory, without history."""
        out, recorder = self._like(), context.recorder
        out._counter = self._changes()
        source = self if self._grad_fn is None or recorder is not None else self._memory()
        out._view = (source, detach, {})
        if source is self and self._formers:
            out._since = len(self._formers)
        if out._inference is not self._inference:
            out._inference = self._inference
        if recorder is not None:
            recorder.record(detach, (self,), {}, out)
        return out

    def _memory(self) -> Tensor:
        """The same memory and its base, without the graph, so that detached tensors keep no graph alive."""
        out = self._like()
        out._counter = self._changes()
        if self._view is not None:
            parent, primitive, attrs = self._viewed()
            out._view = (parent._memory(), primitive, attrs)
            out._history = self._history
        return out

    def _changes(self) -> list[int]:
        """The change counter, for writing or sharing."""
        if self._counter is UNCHANGED:
            self._counter = [0]
        return self._counter  # type: ignore[return-value]

    def _like(self) -> Tensor:
        """A tensor on the same memory, independent of this one."""
        if "_data" in vars(self):
            return wrap(self._data)
        out: Tensor = object.__new__(type(self))  # a lazy view: its elements are not stored
        out._counter = UNCHANGED
        return out

    def detach(self) -> Tensor:
        """A detached tensor on the same memory."""
        return self._alias()

    def detach_(self) -> Tensor:
        """Detaches this tensor, of any shape and dtype: it becomes a leaf that requires no gradient.

        Raises RuntimeError for views.
        """
        if self._is_view():
            raise RuntimeError(
                "Can't detach views in-place. Use detach() instead. If you are using DistributedDataParallel (DDP) for "
                "training, and gradient_as_bucket_view is set as True, gradients are views of DDP buckets, and hence "
                "detach_() cannot be called on these gradients. To fix this error, please refer to the "
                "Optimizer.zero_grad() function in torch/optim/optimizer.py as the solution."
            )
        recorder = context.recorder
        if recorder is not None and (self._requires_grad or self._grad_fn is not None or recorder.is_new(self)):
            recorder.becomes_leaf(self)
        if self._requires_grad and self._grad_fn is None:
            structure_changed()
        self._requires_grad, self._grad_fn, self._output = False, None, 0
        return self

    @property
    def data(self) -> Tensor:
        """A detached tensor on the same memory; autograd does not detect changes to it."""
        out = self._alias()
        out._counter = UNCHANGED
        return out

    @data.setter
    def data(self, value: Tensor) -> None:
        if not isinstance(value, Tensor):
            raise TypeError(f"Variable data has to be a tensor, but got {type(value).__name__}")
        if self._requires_grad and value._data.dtype.kind not in "fcV":
            raise RuntimeError("data set to a tensor that requires gradients must be floating point or complex dtype")
        if "_data" in vars(self) and is_same_memory(self._data, value._data):  # as after ``t.data -= x``
            if context.recorder is not None:
                context.recorder.alike.tell_apart(self)
            return
        if context.recorder is not None:
            context.recorder.assigns(self, value)
        if WAITING:
            will_be_assigned(self)
        structure_changed()
        if "_data" not in vars(self):
            self.__class__ = Tensor  # a lazy view, whose elements were not stored
        self._data = value._data

    # Values read by Python.

    def _observed(self, how: str, truth: bool = False) -> np.ndarray[Any, Any]:
        """The elements, read by Python; with ``truth`` only the truth of a single element."""
        if context.recorder is not None:
            context.recorder.observe(self, how, truth)
        return self._data

    def item(self) -> Any:
        """The Python number in a tensor of one element. Raises RuntimeError for other sizes."""
        if self._data.size != 1:
            raise RuntimeError(f"a Tensor with {self._data.size} elements cannot be converted to Scalar")
        return self._data.item() if context.recorder is None else context.recorder.item(self)

    def tolist(self) -> Any:
        """The elements as Python numbers in nested lists; a number for a tensor without axes."""
        return self._data.tolist() if context.recorder is None else context.recorder.listed(self)

    def numpy(self, *, force: bool = False) -> np.ndarray[Any, Any]:
        """An array on the tensor's memory. Raises RuntimeError if the tensor requires a gradient, unless ``force``."""
        if self._requires_grad and context.grad_enabled and not force:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
        if device_of(self._data) is not None:
            self._data.__array__()  # says what to do instead
        if WAITING:
            will_be_exposed(self)
        return self._data.view() if context.recorder is None else context.recorder.array(self)  # type: ignore[no-any-return]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __bool__(self) -> bool:
        if self._data.size != 1:
            word = "more than one value" if self._data.size else "no values"
            raise RuntimeError(f"Boolean value of Tensor with {word} is ambiguous")
        return bool(self._observed("bool()", truth=True).item())

    def _single(self) -> Any:
        if self._data.size != 1:
            raise ValueError("only one element tensors can be converted to Python scalars")
        return self.item()

    def __int__(self) -> int:
        return int(self._single())

    def __float__(self) -> float:
        return float(self._single())

    def __index__(self) -> int:
        if self._data.dtype.kind not in "uib":
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(self.item())

    def __delitem__(self, index: Any) -> None:
        raise TypeError("Tensor does not support deleting items")

    def __format__(self, spec: str) -> str:
        if self._data.ndim == 0 and type(self) is Tensor:
            return format(self.item(), spec)
        return object.__format__(self, spec) if context.recorder is None or spec else context.recorder.formatted(self)

    def __complex__(self) -> complex:
        return complex(self._single())

    def __contains__(self, value: Any) -> bool:
        from ..ops.common import is_number

        if not (isinstance(value, Tensor) or is_number(value)):
            raise RuntimeError(f"Tensor.__contains__ only supports Tensor or scalar, but you passed in a {type(value)}.")
        return bool((self == value).any())

    def __repr__(self) -> str:
        return show(self)

    def _repr_html_(self) -> str:
        return html(self)

    # Views.

    def _plain(self) -> bool:
        """True if each element has a separate, writable memory location."""
        return self._data.flags.writeable and not overlaps(self._data)

    def _followed_base(self) -> Tensor:
        """This view's base as far as autograd is concerned: ``detach`` ends a chain of views."""
        t = self
        while t._view is not None and t._view[1].differentiable:
            t = t._viewed()[0]
        return t

    def _root(self) -> Tensor:
        t = self
        while t._view is not None:
            t = t._viewed()[0]
        return t

    # Copies and pickles share no memory with the original.

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if self._grad_fn is not None:
            raise RuntimeError(
                "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the moment."
            )
        out: Tensor = object.__new__(type(self))
        out._data, out._counter = self._data.copy(), UNCHANGED
        out._requires_grad = self._requires_grad
        if context.recorder is not None:
            context.recorder.copies(self, out)
        if self._grad is not None:
            out._grad = self._grad.__deepcopy__(memo)
        memo[id(self)] = out
        return out

    def __reduce__(self) -> Any:
        data = self._observed("a copy or pickle")
        return _rebuild, (type(self), array_on(data, None), self._requires_grad, str(data.device))


def _rebuild(cls: type, data: np.ndarray, requires_grad: bool, where: str = "cpu") -> Tensor:
    out: Any = object.__new__(cls)
    out._data, out._counter, out._requires_grad = array_on(data, memory_of(where)), UNCHANGED, requires_grad
    return out


_new = object.__new__


def wrap(data: Any) -> Tensor:
    """A tensor on the given array, without copying."""
    t = _new(Tensor)
    t._data = data if data.__class__ is np.ndarray or device_of(data) is not None else np.array(data)  # type: ignore[assignment]
    t._counter = UNCHANGED
    if SPECIAL and context.inference:
        t._inference = True
    return t


# Names in a tensor's ``__dict__`` that are not users' attributes.
ATTRIBUTES = [
    *("_data", "_counter", "_requires_grad", "_grad_fn", "_grad", "_view", "_history", "_output"),
    *("_formers", "_since", "_made", "_inference", "_accumulator"),
]
# CPython shares attribute names among instances, but only those of the first instances: a later tensor with another attribute
# has a separate dict.
_first: Any = object.__new__(Tensor)
for _name in ATTRIBUTES:
    setattr(_first, _name, None)
