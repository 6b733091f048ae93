"""Composite functions in eager mode: one function instead of many primitives.

A layer norm is ten primitives. On large tensors it is one kernel forward and one backward, as in a traced function. On small
ones NumPy computes the operations as eager code does, after some calls, but without a tensor and a node for each of them.
Whether a tensor is large depends on its shape alone, so equal calls give bitwise equal results at any time.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, overload

from numpy import ndarray

from ..ir.interp import selection
from ..ir.types import DType
from ..runtime.devices import DeviceError, device_of
from .context import SPECIAL, context
from .device import CHOSEN
from .size import Size
from .tensor import Tensor, wrap

if TYPE_CHECKING:
    from ..tracing.graph_function import GraphFunction

F = TypeVar("F", bound=Callable[..., Any])

LEAST = 512  # elements of the largest argument: with fewer, a function would rarely repay the 6 ms of a new signature
_MOST = 256  # signatures of a function, 250 KB each; calls with others are not compiled
_SHAPES = 16  # signatures that differ in shapes of data, as batches of sentences do: one takes 10 ms, an uncompiled call 1
_HUGE = 1 << 18  # elements with which a single compiled call saves that time
_MOST_SMALL = 256  # of small tensors, 30 KB each
CALLS = 4  # with a signature of small tensors, before the 2 ms of its recording
_BYTES = 1 << 28  # memory that the programs of a function keep between calls
_PLAIN = (int, float, bool, str, type(None))
_SEQUENCES = (tuple, list, Size)
_KINDS = "fiubV"  # of dtypes: not complex ones


@overload
def fused(function: F, /) -> F: ...
@overload
def fused(*, any_strides: bool = False, by_numpy: bool = False) -> Callable[[F], F]: ...
def fused(function: Any = None, /, *, any_strides: bool = False, by_numpy: bool = False) -> Any:
    """Decorates a pure function of tensors and plain values that returns a tensor, or a tuple of tensors. It uses no random
    numbers, changes no argument, warns of nothing, and its results are neither arguments nor views of them.

    Its code runs, operation by operation, where something observes single operations (a recording, anomaly mode, hooks on
    saved tensors), and to raise an error. It also runs for arguments that are not contiguous, whose strides a result may have,
    unless ``any_strides``. ``by_numpy``: NumPy computes large tensors too.
    """
    if function is None:
        return functools.partial(fused, any_strides=any_strides, by_numpy=by_numpy)
    known, known_small = Compiled(_MOST), Compiled(_MOST_SMALL)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if is_observed():
            return function(*args, **kwargs)
        tensors: list[Tensor] = []
        signature: list[Any] = [context.default_dtype, *kwargs]
        if SPECIAL or CHOSEN:
            signature.append(context.mode)
        large, where = False, None
        for x in args if not kwargs else (*args, *kwargs.values()):
            if isinstance(x, Tensor):
                if x._inference and not context.inference:  # autograd must not save it
                    return function(*args, **kwargs)
                if x._view is not None and x._followed() is not x._requires_grad:  # made where nothing was recorded
                    return function(*args, **kwargs)
                data = x._data
                if data.__class__ is not ndarray:
                    if where is not None and where is not data.device:
                        return function(*args, **kwargs)
                    where, large = data.device, True
                    signature.append(where)
                tensors.append(x)
                signature += data.dtype, data.shape, x._requires_grad, any_strides or data.flags.c_contiguous
                large = large or data.size >= LEAST
            elif x.__class__ in _PLAIN:
                signature.append(plain(x))
            elif x.__class__ is DType:
                signature.append(x)
            elif x.__class__ in _SEQUENCES and all(i.__class__ is int for i in x):
                signature.append((x.__class__, tuple(x)))
            else:
                return function(*args, **kwargs)
        compiled, key = large and (where is not None or not by_numpy), tuple(signature)
        table = known if compiled else known_small
        found: Any = table.known.get(key, table)
        if found is table:
            make = functools.partial(new, args, kwargs, tensors, compiled)
            alike = _alike(key, tensors) if compiled and where is None else None
            found = table.get(key, make, 0 if compiled else CALLS, alike) if fits(tensors, compiled) else None
        if found is not None:
            try:
                out = found.function(tensors)
                return tuple(out) if found.several else out[0]
            except DeviceError:
                raise
            except (IndexError, RuntimeError, MemoryError):  # the code raises it, with its own words
                pass
        return function(*args, **kwargs)

    def fits(tensors: Sequence[Tensor], compiled: bool) -> bool:
        arrays = [t._data for t in tensors]
        return all(a.dtype.kind in _KINDS and (any_strides or a.flags.c_contiguous) for a in arrays) and (
            compiled or not any(a.itemsize == 2 for a in arrays)
        )

    def new(args: Sequence[Any], kwargs: dict[str, Any], tensors: Sequence[Tensor], compiled: bool) -> Recorded | None:
        """The function for such arguments; None if it cannot be recorded."""

        def run(given: Sequence[Tensor]) -> Any:
            values = iter(given)
            new = [next(values) if isinstance(x, Tensor) else x for x in args]
            return function(*new, **{k: next(values) if isinstance(x, Tensor) else x for k, x in kwargs.items()})

        return recorded(function.__name__.strip("_"), tensors, run, is_small=not compiled)

    return call


def is_observed() -> bool:
    """True if something observes single operations."""
    if context.recorder is not None or selection.interpreter is not None:
        return True
    return bool(SPECIAL) and bool(context._anomaly or context._saved_tensors_hooks or _switches().is_eager())


@functools.cache
def _switches() -> Any:
    from ..tracing import switches

    return switches


def plain(x: Any) -> tuple[Any, ...]:
    """A token for a plain value: equal ones of different types, and 0.0 and -0.0, have different tokens."""
    return x.__class__, x or str(x)


def _alike(key: tuple[Any, ...], tensors: Sequence[Tensor]) -> tuple[Any, ...] | None:
    """What signatures have in common that differ in the shapes of data: all but the extents of the first tensor, and those that
    other tensors share with it. Its second extent may be a number of channels, which weights share. None for huge tensors.
    """
    if max([t._data.size for t in tensors]) >= _HUGE:
        return None
    first = tensors[0]._data.shape
    varying = {*first[:1], *first[2:]}
    shapes = {t._data.shape for t in tensors}

    def fixed(shape: tuple[int, ...]) -> tuple[int | None, ...]:
        if shape == first[: len(shape)]:
            return (None,) * len(shape)
        return tuple([None if n in varying else n for n in shape])

    return tuple([fixed(x) if x.__class__ is tuple and x in shapes else x for x in key])


@dataclass(frozen=True)
class Recorded:
    """A compiled function of tensors.

    several  whether it returns a tuple
    changes  by the number of an input: how often it is changed in place
    """

    function: GraphFunction
    several: bool
    changes: dict[int, int]


class Compiled:
    """Compiled functions by signature, of which there are at most ``most``. None stands for code that cannot be compiled."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.known: dict[tuple[Any, ...], Recorded | None] = {}
        self._calls: dict[tuple[Any, ...], int] = {}  # of signatures that are not compiled yet
        self._alike: dict[tuple[Any, ...], set[tuple[Any, ...]]] = {}  # compiled signatures, also removed ones

    def get(
        self,
        key: tuple[Any, ...],
        make: Callable[[], Recorded | None],
        after: int = 0,
        alike: tuple[Any, ...] | None = None,
    ) -> Recorded | None:
        """The function with a signature: made in the first call with it, or once there have been ``after`` calls.

        Of the signatures with the same ``alike``, the first ones are compiled, and the others never: the results of equal calls
        are bitwise equal.
        """
        if key in self.known:
            return self.known[key]
        if alike is not None:
            signatures = self._alike.get(alike, set())
            if key not in signatures:
                if len(signatures) >= _SHAPES or sum(map(len, self._alike.values())) >= self.most:
                    return None
                self._alike[alike] = {*signatures, key}
        elif len(self.known) >= self.most:
            return None
        if after:
            calls = self._calls.get(key, 0)
            if calls < after:
                if len(self._calls) >= self.most:
                    self._calls.clear()
                self._calls[key] = calls + 1
                return None
            del self._calls[key]
        while sum(f.function.nbytes for f in [*self.known.values()] if f is not None) > _BYTES:  # other threads add some
            self.known.pop(next(iter(self.known)))
        self.known[key] = made = make()
        return made


def recorded(
    name: str,
    tensors: Sequence[Tensor],
    run: Callable[[Sequence[Tensor]], Any],
    changes: bool = False,
    is_small: bool = False,
) -> Recorded | None:
    """``run`` for such tensors, as a graph; None if it raises an error, or does more than apply operations to them.

    With ``changes`` it may change them in place, outside autograd, and its result does not matter. If ``is_small``, NumPy
    computes it, with bitwise the same results.
    """
    from ..autograd.node import walk
    from ..tracing.graph_function import GraphFunction
    from ..tracing.numpy_function import NumpyFunction
    from ..tracing.placement import Placement
    from ..tracing.recorder import Recorder
    from ..tracing.sources import Source

    recorder = Recorder(name)
    given = [wrap(t._data.copy() if changes else t._data) for t in tensors]
    for i, (new, t) in enumerate(zip(given, tensors, strict=True)):
        new._requires_grad = not changes and t.requires_grad
        recorder.grads_written[id(new)] = new  # gradients are arguments
        recorder.input(new, Source("argument", i))
    inputs = list(recorder.builder.inputs)
    mode = context.grad_enabled, context.inference
    try:
        context.grad_enabled, context.inference, context.recorder = not changes, False, recorder
        out = run(given)
        outs = [] if changes else list(out) if isinstance(out, tuple) else [out]
        results = [recorder.value(t) for t in outs]
        after = [recorder.value(t) for t in given]
    except Exception:  # nothing was computed: the caller runs the code itself, which raises its own error
        return None
    finally:
        context.recorder = None
        context.grad_enabled, context.inference = mode
    changed = [i for i, v in enumerate(after) if v is not inputs[i]]
    if recorder.failure or recorder.reason or recorder.events or len(recorder.inputs) > len(given) or (changed and not changes):
        return None
    outputs = [k for k, t in enumerate(outs) if t._requires_grad]
    active = [i for i, t in enumerate(given) if t._requires_grad] if outputs else []
    updates = {len(results) + j: i for j, i in enumerate(changed)}
    graph = recorder.builder.finish([*results, *(after[i] for i in changed)], updates)
    devices = [device_of(t._data) for t in tensors]
    where = next((d for d in devices if d is not None), None)
    if where is not None and any(device_of(t._data) is not where for t in outs):
        return None
    if is_small and any(v.dtype.is_half for op in graph.ops for v in op.results):
        return None  # eager code rounds numbers in such operations less often than a graph says
    function = (NumpyFunction if is_small else GraphFunction)(graph, active, outputs, placement=Placement.of(devices, where))
    if outputs:
        nodes = [outs[k]._grad_fn for k in outputs]
        function.node_name = nodes[0].name()  # type: ignore[union-attr]
        function.keeps_nothing = not any(getattr(n, "keeps", True) for node in nodes for n in walk(node))  # type: ignore[arg-type]
    return Recorded(function, isinstance(out, tuple), {i: given[i]._counter[0] for i in changed})
