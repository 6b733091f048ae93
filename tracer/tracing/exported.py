"""A traced function as a native function: recorded once for examples, with named and typed parameters and results.

Independent of the callers: ``numba_functions`` provides it to Numba and C.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import autograd
from ..autograd.modes import enable_grad
from ..core.context import context
from ..core.tensor import Tensor, wrap
from ..ir import ops as P
from ..ir.types import DType, TensorType, dtype_of
from ..ops import zeros_like
from ..runtime.programs.native import NativeFunction
from ..runtime.programs.planned import planned
from .calls import Call
from .guards import Environment
from .kinds import STATIC, Untraceable
from .recording import Recording
from .replay import Trace
from .result import finish
from .scalars import static

Structure = int | tuple["Structure", ...]  # of a result: the number of a tensor, or a tuple of structures
Differentiated = tuple[tuple[int, ...], bool]  # the numbers of parameters, and whether a tuple of gradients is requested


@dataclass(frozen=True)
class Parameter:
    """A parameter: its name, type, and position among the function's arguments."""

    name: str
    type: TensorType
    position: int


@dataclass(frozen=True)
class Exported:
    """A recorded function as native code.

    results    the types of the result's tensors, in order; ``structure``: the structure of the result
    captured   tensors that the function reaches otherwise, with the arrays whose addresses the native code has
    """

    name: str
    parameters: list[Parameter]
    results: list[TensorType]
    structure: Structure
    native: NativeFunction
    captured: list[tuple[Tensor, np.ndarray]]

    @property
    def current(self) -> bool:
        """True if the captured tensors still have the memory that the native code reads."""
        return all(t._data is data for t, data in self.captured)


class Examples:
    """Example arguments: tensors, arrays and floats are parameters, other plain values are constants."""

    def __init__(self, function: Callable[..., Any], examples: tuple):
        self.function, self.examples = function, examples
        self.name = getattr(function, "__name__", "function").strip("<>")
        names = _names(function, examples)
        found = [
            (i, _as_tensor(x, f"{self.name}: argument '{name}'"))
            for i, (name, x) in enumerate(zip(names, examples, strict=True))
        ]
        self.tensors = {i: t for i, t in found if t is not None}
        self.parameters = [Parameter(names[i], t.type_, i) for i, t in self.tensors.items()]
        constants = tuple((i, static(x)) for i, x in enumerate(examples) if i not in self.tensors)
        self.key = tuple((p.position, p.type) for p in self.parameters), constants

    def call(self, tensors: Sequence[Tensor]) -> Any:
        """The function's result for these tensors, in the parameters' order, and the constants."""
        by_position = dict(zip(self.tensors, tensors, strict=True))
        return self.function(*[by_position.get(i, x) for i, x in enumerate(self.examples)])

    def differentiated(self, argnums: Any) -> Differentiated:
        """The numbers of the parameters in ``argnums``, and whether it is a tuple."""
        several = isinstance(argnums, tuple)
        numbers = [self._parameter_number(n) for n in (argnums if several else (argnums,))]
        if not numbers or len(set(numbers)) < len(numbers):
            raise ValueError(f"argnums must name different arguments, at least one, got {argnums!r}")
        return tuple(numbers), several

    def _parameter_number(self, n: Any) -> int:
        if isinstance(n, bool) or not isinstance(n, int):
            raise TypeError(f"argnums must be an int or a tuple of ints, got {n!r}")
        if not -len(self.examples) <= n < len(self.examples):
            raise ValueError(f"argnums names argument {n}, but there are {len(self.examples)} example inputs")
        position = n % len(self.examples)
        if position not in self.tensors or not self.tensors[position].dtype.is_floating_point:
            raise TypeError(f"argnums names argument {n}, which is not an array of floats or a float: it has no gradient")
        return list(self.tensors).index(position)


def surroundings(examples: Examples, environment: Environment) -> int:
    """A number for the current state of everything that the function reaches. Raises NotImplementedError if guards cannot see
    it.
    """
    try:
        return environment.key()
    except Untraceable as e:
        raise _unsupported(examples.name, str(e)) from None


def export(examples: Examples, environment: Environment, differentiated: Differentiated | None) -> Exported:
    """The function's value; or the pair of its value, a scalar, and the gradient or the tuple of gradients.

    Raises NotImplementedError if native code cannot do what the function does, TypeError for unsupported results.
    """
    if context.recorder is not None:
        raise RuntimeError(f"{examples.name} cannot be compiled for other code inside a traced function: do it before")
    compute = examples.call if differentiated is None else _value_and_gradient(examples, differentiated)
    for _ in range(2):  # the first run may fill caches that later runs only read
        trace, structure = _record(examples, environment, compute)
        if trace is not None:
            return _link(examples, trace, structure)
    raise _unsupported(examples.name, "every call changes what it depends on. Pass changing values as arguments")


def _value_and_gradient(examples: Examples, differentiated: Differentiated) -> Callable[[Sequence[Tensor]], Any]:
    numbers, several = differentiated

    def compute(tensors: Sequence[Tensor]) -> Any:
        leaves = [t.detach().requires_grad_() if k in numbers else t for k, t in enumerate(tensors)]
        value = examples.call(leaves)
        if not isinstance(value, Tensor) or value.numel() != 1 or not value.dtype.is_floating_point:
            raise TypeError(
                f"{examples.name} must return one floating-point scalar to have a gradient, not {_described(value)}"
            )
        gradients = _gradients(value, [leaves[k] for k in numbers])
        return value.reshape(()), gradients if several else gradients[0]

    return compute


def _gradients(value: Tensor, leaves: list[Tensor]) -> tuple[Tensor, ...]:
    found = autograd.grad(value, leaves, allow_unused=True) if value.requires_grad else [None] * len(leaves)
    return tuple([zeros_like(t) if g is None else g for g, t in zip(found, leaves, strict=True)])


def _unsupported(name: str, reason: str) -> NotImplementedError:
    return NotImplementedError(f"{name} cannot be called from native code: {reason}")


def _record(examples: Examples, environment: Environment, compute: Callable[..., Any]) -> tuple[Trace | None, Structure]:
    """The trace of one run, and the structure of its result; no trace if the run changed something that the function depends
    on.
    """
    name = examples.name
    structure: list[Structure] = []

    def run(*tensors: Tensor) -> tuple[Tensor, ...]:
        flat: list[Tensor] = []
        structure.append(_flatten(compute(tensors), flat, name))
        # Copies: each result has separate memory, even if it shares memory in an eager run.
        return tuple([P.copy(t.detach()) for t in flat])

    tensors = tuple(examples.tensors.values())
    environment.look_again()
    try:
        call = Call(tensors, {}, environment)
        with Recording(name, call) as recording:
            if not recording.is_alone:
                raise _unsupported(name, "another thread records a function at the same time")
            trace, reason = _traced(recording, environment, run, tensors)
    except Untraceable as e:
        raise _unsupported(name, str(e)) from None
    if reason:
        raise _unsupported(name, reason)
    return trace, structure[0]


def _traced(
    recording: Recording, environment: Environment, run: Callable[..., Any], tensors: tuple[Tensor, ...]
) -> tuple[Trace | None, str]:
    """The trace of a run, or why it has none. Raises Untraceable."""
    recorder = recording.recorder
    with enable_grad():
        box = [recording.run(run, tensors, {})]
    recorder.reason = recorder.reason or recording.watch.refusal
    changes = recording.before.changes()
    recording.before.undo()
    try:
        environment.grow(recording.watch)
        before, call = environment.key(), Call(tensors, {}, environment)
    finally:
        recording.before.redo()
    trace = None
    if before == environment.key() and not changes and not recorder.reason:
        ending = finish(recorder, box, {**environment.tensors, **call.reached}, call, [])
        if recorder.floats.calls:
            recorder.reason = "it draws random numbers, or reads a clock"
        elif recorder.branches:
            recorder.reason = f"it looks at a value: {recorder.events[0].event}"
        elif ending is not None:
            trace = Trace(recorder, ending)
    recording.settle(box.pop())
    return trace, recorder.reason


def _link(examples: Examples, trace: Trace, structure: Structure) -> Exported:
    name = examples.name
    if trace.graph.updates:
        raise _unsupported(name, _why_updates(examples, trace))
    if trace.all_grads:
        raise _unsupported(name, "it sets the gradient of a tensor. Use numba_value_and_grad, which returns the gradient")
    captured: list[tuple[Tensor, np.ndarray]] = []
    for source in trace.sources[len(examples.parameters) :]:
        if source.kind != "captured":
            what = "the gradient of a tensor" if source.kind == "grad" else "a float of an object"
            raise _unsupported(name, f"it reads {what}. Pass it as an argument")
        data = source.holder._data
        if not data.flags.c_contiguous:
            shape = list(source.holder.shape)
            raise _unsupported(
                name, f"it reads a tensor of shape {shape} that is not contiguous. Make it so by .contiguous() first"
            )
        captured.append((source.holder, data))
    results = [v.type for v in trace.graph.outputs]
    try:
        native = NativeFunction(planned(trace.graph), [data for _, data in captured])
    except NotImplementedError as e:
        raise _unsupported(name, str(e)) from None
    return Exported(name, examples.parameters, results, structure, native, captured)


def _why_updates(examples: Examples, trace: Trace) -> str:
    """The input that a function changes in place, and what to do instead."""
    for i in trace.written:
        source = trace.sources[i]
        if source.kind == "argument":
            return f"it changes its argument '{examples.parameters[i].name}' in place. Return the new value instead"
        if any(op.primitive is P.uniform and trace.graph.inputs[i] in op.operands for op in trace.graph.ops):
            return "it draws random numbers. Draw them in the calling code and pass them as an argument"
    shape = list(trace.types[trace.written[0]].shape)
    return f"it changes a tensor of shape {shape} in place. Return the new value instead; modules can be put in evaluation mode"


def _names(function: Callable[..., Any], examples: tuple) -> list[str]:
    """The names of the arguments for the examples. Raises TypeError if the function does not accept them."""
    try:
        signature = inspect.signature(function)
    except ValueError:  # a function without a signature
        return [f"arg{i}" for i in range(len(examples))]
    names: list[str] = []
    for name, x in signature.bind(*examples).arguments.items():
        several = signature.parameters[name].kind is inspect.Parameter.VAR_POSITIONAL
        names += [f"{name}{i}" for i in range(len(x))] if several else [name]
    return names


def _as_tensor(x: Any, what: str) -> Tensor | None:
    """A tensor with separate memory for an example of a parameter; None for a constant."""
    if isinstance(x, Tensor):
        array = x._data
    elif isinstance(x, (np.ndarray, np.generic)):
        array = np.asarray(x)
    elif isinstance(x, float):
        array = np.array(x, np.float64)
    elif isinstance(x, STATIC):
        return None
    else:
        kinds = "tensors, NumPy arrays, floats, and as constants ints, bools, strings and None"
        raise TypeError(f"{what} is a {type(x).__name__}, but native functions take {kinds}")
    dtype = dtype_of(array.dtype)
    if not _is_passed(dtype):
        raise TypeError(f"{what} has the dtype {dtype.name}, in which no native code computes")
    return wrap(np.array(array, order="C"))


def _is_passed(dtype: DType) -> bool:
    """True if native callers support arrays of the dtype: Numba has no 16-bit floating arrays on a CPU."""
    return dtype.is_native and not dtype.is_half


def _flatten(x: Any, flat: list[Tensor], name: str) -> Structure:
    """The structure of a result; its tensors are appended to ``flat``."""
    if isinstance(x, Tensor):
        if not _is_passed(x.dtype):
            raise TypeError(f"{name} returns a tensor of dtype {x.dtype.name}, in which no native code computes")
        flat.append(x)
        return len(flat) - 1
    if isinstance(x, (tuple, list)):
        return tuple([_flatten(item, flat, name) for item in x])
    raise TypeError(f"{name} must return a tensor or a tuple of tensors, not {_described(x)}")


def _described(x: Any) -> str:
    return f"a {x.dtype.name} tensor of shape {list(x.shape)}" if isinstance(x, Tensor) else f"a {type(x).__name__}"
