"""Checkpointing: parts of a model are run again in the backward pass instead of saving their intermediates."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from .. import autograd
from ..autograd.engine import running
from ..autograd.node import Packed
from ..core.context import context
from ..core.tensor import Tensor
from ..random import default_generator

__all__ = ["CheckpointError", "checkpoint", "checkpoint_sequential", "noop_context_fn", "set_checkpoint_early_stop"]

_Contexts = Callable[[], tuple[AbstractContextManager[Any], AbstractContextManager[Any]]]


class CheckpointError(RuntimeError):
    """The second run of a function did not save what the first one had saved: another number of tensors, shapes or dtypes."""


def noop_context_fn() -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    """Two contexts without effect, for the first and the second run."""
    return nullcontext(), nullcontext()


class _EarlyStop:
    forced: bool | None = None


@contextmanager
def set_checkpoint_early_stop(enable: bool) -> Iterator[None]:
    """Sets, in this block, whether functions are run again only until all needed values are computed, or to their end."""
    before, _EarlyStop.forced = _EarlyStop.forced, enable
    try:
        yield
    finally:
        _EarlyStop.forced = before


@contextmanager
def _random_state(state: Tensor | None) -> Iterator[None]:
    """Uses the random state ``state`` in this block."""
    if state is None:
        yield
        return
    with autograd.no_grad():
        now = default_generator.state.clone()
        default_generator.state.copy_(state)
    try:
        yield
    finally:
        with autograd.no_grad():
            default_generator.state.copy_(now)


# With a backward pass inside the backward pass.


class CheckpointFunction(autograd.Function):
    @staticmethod
    def forward(ctx: Any, function: Callable[..., Any], preserve: bool, *args: Any) -> Any:
        ctx.function, ctx.preserve = function, preserve
        ctx.state = default_generator.state.clone() if preserve else None
        ctx.args = [None if isinstance(a, Tensor) else a for a in args]
        ctx.places = [i for i, a in enumerate(args) if isinstance(a, Tensor)]
        ctx.save_for_backward(*[args[i] for i in ctx.places])
        return function(*args)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        engine = running()
        if engine is not None and (engine.inputs is not None or not engine.accumulates):
            raise RuntimeError(
                "When use_reentrant=True, tracer.utils.checkpoint is incompatible with .grad() or passing an `inputs` "
                "parameter to .backward(). To resolve this error, you can either set use_reentrant=False, or call "
                ".backward() without passing the `inputs` argument."
            )
        args = list(ctx.args)
        for i, t in zip(ctx.places, ctx.saved_tensors, strict=True):
            args[i] = t.detach().requires_grad_(t.requires_grad)
        with autograd.enable_grad(), _random_state(ctx.state):
            outputs = ctx.function(*args)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        pairs = [(o, g) for o, g in zip(outputs, grads, strict=True) if isinstance(o, Tensor) and o.requires_grad]
        if not pairs:
            raise RuntimeError("none of output has requires_grad=True, this checkpoint() is not necessary")
        autograd.backward([o for o, _ in pairs], [g for _, g in pairs])
        return (None, None, *(a.grad if isinstance(a, Tensor) else None for a in args))


# With hooks on saved values: the graph of the first run stays, and its saved tensors come from the second run.


class _Place:
    """The placeholder of a saved tensor: its sequence number."""

    __slots__ = ("__weakref__", "index")

    def __init__(self, index: int):
        self.index = index


class _Stop(Exception):
    """The second run has computed all needed values."""


class _Run:
    """A run of a function whose saved tensors are recomputed."""

    def __init__(
        self, function: Callable[[], Any], state: Tensor | None, again: AbstractContextManager[Any], check: bool, stops: bool
    ):
        self.function, self.state, self.again, self.check, self.stops = function, state, again, check, stops
        self.types: list[Any] = []
        self.places: list[weakref.ref[_Place]] = []
        # By backward pass: recomputed values that have not been read yet.
        self.found: weakref.WeakKeyDictionary[Any, dict[int, Tensor]] = weakref.WeakKeyDictionary()

    def pack(self, t: Tensor) -> _Place:
        place = _Place(len(self.types))
        self.types.append(t.type_)
        self.places.append(weakref.ref(place))
        return place

    def unpack(self, place: _Place) -> Tensor:
        engine = running()
        if engine is None:
            return self.compute()[place.index]
        found = self.found.get(engine)
        if found is None or place.index not in found:
            found = self.found[engine] = self.compute()
        t = found.pop(place.index)
        if not found:
            del self.found[engine]
        return t

    def compute(self) -> dict[int, Tensor]:
        """The tensors that the function saves, by sequence number."""
        found: dict[int, Tensor] = {}
        count, needed = 0, len(self.types)
        stops = self.stops if _EarlyStop.forced is None else _EarlyStop.forced

        def pack(t: Tensor) -> Tensor:
            nonlocal count
            index, count = count, count + 1
            if index >= needed:
                raise CheckpointError(
                    "tracer.utils.checkpoint: trying to save more tensors during recomputation than during the original "
                    "forward pass."
                )
            if self.places[index]() is not None:
                found[index] = t.detach()
            if self.check and t.type_ is not self.types[index] and t.type_ != self.types[index]:
                raise CheckpointError(
                    "tracer.utils.checkpoint: Recomputed values for the following tensors have different metadata than during "
                    f"the forward pass.\ntensor at position {index}:\nsaved metadata: {self.types[index]}\n"
                    f"recomputed metadata: {t.type_}"
                )
            if stops and count == needed:
                raise _Stop
            return t

        hooks = autograd.graph.saved_tensors_hooks(pack, lambda t: t)
        try:
            with _random_state(self.state), autograd.enable_grad(), self.again, hooks:
                self.function()
        except _Stop:
            pass
        if count != needed:
            raise CheckpointError(
                "tracer.utils.checkpoint: A different number of tensors was saved during the original forward and "
                f"recomputation.\nNumber of tensors saved during forward: {needed}\nNumber of tensors saved during "
                f"recomputation: {count}."
            )
        return found


def _without_reentrance(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[Any, Any],
    preserve: bool,
    contexts: _Contexts,
    check: bool,
    stops: bool,
) -> Any:
    first, again = contexts()
    if context.recorder is not None or not context.grad_enabled:
        # A trace decides by itself what to recompute.
        with first:
            return function(*args, **kwargs)
    # The arguments are saved like all values of an enclosing function.
    nested = bool(context.saved_tensors_hooks)
    kept = [Packed(a) if nested and isinstance(a, Tensor) else a for a in args]

    def call() -> Any:
        return function(*[a.unpack() if isinstance(a, Packed) else a for a in kept], **kwargs)

    state = default_generator.state.clone() if preserve else None
    run = _Run(call, state, again, check, stops)
    with first, autograd.graph.saved_tensors_hooks(run.pack, run.unpack):
        return function(*args, **kwargs)


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    context_fn: _Contexts = noop_context_fn,
    determinism_check: str = "default",
    debug: bool = False,
    early_stop: bool = True,
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Any:
    """``function(*args, **kwargs)``; its intermediates are not saved but recomputed in the backward pass.

    Random numbers are the same both times unless ``preserve_rng_state`` is False. With ``use_reentrant`` (the default, with
    a warning) a separate backward pass runs inside the backward pass. It needs tensor arguments that require gradients, and
    ``backward()`` without ``inputs``; ``kwargs`` are not allowed. Without it, gradients are those of a plain call, and
    there are options: ``context_fn`` returns two contexts, for both runs; ``determinism_check`` "default" compares shapes
    and dtypes of both runs, "none" does not; the second run stops when all values are computed, unless ``early_stop`` is
    False. ``debug`` is ignored. Raises ValueError for other arguments, and CheckpointError if the runs differ.
    """
    if use_reentrant is None:
        warnings.warn(
            "checkpoint: the use_reentrant parameter should be passed explicitly. use_reentrant=False is recommended; the "
            "default is True.",
            UserWarning,
            stacklevel=2,
        )
        use_reentrant = True
    if determinism_check not in ("default", "none"):
        raise ValueError(f"determinism_check should be one of ['default', 'none'], got {determinism_check}")
    if not use_reentrant:
        check = determinism_check == "default"
        return _without_reentrance(function, args, kwargs, preserve_rng_state, context_fn, check, early_stop)
    if kwargs:
        raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
    if context_fn is not noop_context_fn or debug:
        raise ValueError("Passing `context_fn` or `debug` is only supported when use_reentrant=False.")
    if not any(isinstance(a, Tensor) and a.requires_grad for a in args):
        warnings.warn("None of the inputs have requires_grad=True. Gradients will be None", UserWarning, stacklevel=2)
    return CheckpointFunction.apply(function, preserve_rng_state, *args)


def checkpoint_sequential(functions: Any, segments: int, input: Any, use_reentrant: bool | None = None, **kwargs: Any) -> Any:
    """Runs a sequence of modules in ``segments`` checkpoints, except the last segment.

    ``kwargs``: ``preserve_rng_state``. Raises ValueError for others.
    """
    preserve = kwargs.pop("preserve_rng_state", True)
    if kwargs:
        raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
    modules = list(functions.children()) if hasattr(functions, "children") else list(functions)
    size = len(modules) // segments

    def run(start: int, end: int) -> Callable[[Any], Any]:
        def forward(x: Any) -> Any:
            for module in modules[start:end]:
                x = module(x)
            return x

        return forward

    end = 0
    for start in range(0, size * (segments - 1), size):
        end = start + size
        input = checkpoint(run(start, end), input, use_reentrant=use_reentrant, preserve_rng_state=preserve)
    return run(end, len(modules))(input)
