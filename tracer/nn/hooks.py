"""Calls of modules with hooks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

from ..autograd.function import Function
from ..autograd.hooks import RemovableHandle
from ..core.context import SPECIAL, context, structure_changed
from ..core.tensor import Tensor
from ..core.warning import warn

KINDS = ("forward_pre", "forward", "backward_pre", "backward", "always")


class Registered(MutableMapping[int, Callable[..., Any]]):
    """A module's hooks of one kind, by number."""

    def __init__(self, module: Any, kind: str):
        self._module, self._kind = module, kind

    def _table(self) -> dict[int, tuple[Callable[..., Any], bool]]:
        if context.recorder is not None:
            context.recorder.give_up("reads the hooks of a module")
        return tables(self._module)[self._kind] if "_tracer_hooks" in self._module.__dict__ else {}

    def __getitem__(self, number: int) -> Callable[..., Any]:
        return self._table()[number][0]

    def __setitem__(self, number: int, hook: Callable[..., Any]) -> None:
        structure_changed()
        tables(self._module)[self._kind][number] = hook, False

    def __delitem__(self, number: int) -> None:
        structure_changed()
        del self._table()[number]

    def __iter__(self) -> Iterator[int]:
        return iter(self._table())

    def __len__(self) -> int:
        return len(self._table())

    def __repr__(self) -> str:
        return repr(OrderedDict(self))


def registered(kind: str) -> property:
    """The attribute for the hooks of one kind. A mapping assigned to it replaces them."""

    def replace(module: Any, new: Mapping[int, Callable[..., Any]]) -> None:
        kept = Registered(module, kind)
        kept.clear()
        kept.update(new)

    return property(lambda module: Registered(module, kind), replace)


def tables(module: Any) -> dict[str, OrderedDict[int, tuple[Callable[..., Any], bool]]]:
    """A module's hooks by kind, each with a flag for keyword arguments."""
    found: dict[str, OrderedDict[int, tuple[Callable[..., Any], bool]]]
    found = module.__dict__.setdefault("_tracer_hooks", {kind: OrderedDict() for kind in KINDS})
    return found


class _Watch(Function):
    """The identity on several tensors; passes all their cotangents to a function, which may replace them."""

    @staticmethod
    def forward(ctx: Any, seen: Callable[[tuple[Any, ...]], tuple[Any, ...]], *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.seen = seen
        ctx.set_materialize_grads(False)
        return tuple(t.view_as(t) for t in tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        return (None, *ctx.seen(grads))


def _watch(values: Any, seen: Callable[[tuple[Any, ...]], tuple[Any, ...]]) -> Any:
    """A value, or a tuple of values, whose tensors that require gradients are watched."""
    many = isinstance(values, tuple)
    listed = list(values) if many else [values]
    count = len(listed)
    places = [i for i, v in enumerate(listed) if isinstance(v, Tensor) and v.requires_grad]
    if not places:
        return values

    def placed(grads: tuple[Any, ...]) -> tuple[Any, ...]:
        whole: list[Any] = [None] * count
        for i, g in zip(places, grads, strict=True):
            whole[i] = g
        after = seen(tuple(whole))
        return tuple(after[i] for i in places)

    for i, t in zip(places, _Watch.apply(placed, *(listed[i] for i in places)), strict=True):
        listed[i] = t
    return tuple(listed) if many else listed[0]


def _tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


class _Backward:
    """One call of a module with backward hooks: stores the cotangents of its outputs until those of its inputs are known."""

    def __init__(self, module: Any, pre: list[Callable[..., Any]], hooks: list[Callable[..., Any]]):
        self.module, self.pre, self.hooks = module, pre, hooks
        self.outputs: tuple[Any, ...] | None = None  # None: no backward pass has reached the outputs
        self.followed = False  # whether an input requires a gradient
        self.count = 0  # number of inputs

    def watch_inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        self.count = len(args)
        self.followed = any(isinstance(a, Tensor) and a.requires_grad for a in args)
        return _watch(args, self._inputs_seen) if self.followed and self.hooks else args

    def watch_outputs(self, result: Any) -> Any:
        return _watch(result, self._outputs_seen)

    def _outputs_seen(self, grads: tuple[Any, ...]) -> tuple[Any, ...]:
        for hook in self.pre:
            replaced = hook(self.module, grads)
            if replaced is not None:
                grads = _tuple(replaced)
        if self.followed:
            self.outputs = grads
        else:
            for hook in self.hooks:
                if hook(self.module, (None,) * self.count, grads) is not None:
                    raise RuntimeError("Backward hooks for Modules where no input requires gradient should always return None.")
        return grads

    def _inputs_seen(self, grads: tuple[Any, ...]) -> tuple[Any, ...]:
        if self.outputs is None:  # the gradient did not come through the module, for example a second derivative
            return grads
        outputs, self.outputs = self.outputs, None
        for hook in self.hooks:
            replaced = hook(self.module, grads, outputs)
            if replaced is not None:
                if len(_tuple(replaced)) != len(grads):
                    raise RuntimeError(
                        f"Backward hook returned an invalid number of grad_input, got {len(_tuple(replaced))}, but expected "
                        f"{len(grads)}"
                    )
                grads = _tuple(replaced)
        return grads


def call(module: Any, args: tuple[Any, ...], kwargs: dict[Any, Any]) -> Any:
    """``module.forward`` between the hooks of all modules and its own. Each is stored with a flag for keyword arguments.

    After an error, forward hooks that are also among the ``always`` ones, and have not run, are called with None as the output.
    """
    own = module.__dict__.get("_tracer_hooks", {})
    after_errors = {**_EVERYWHERE["always"], **own.get("always", {})}
    if not after_errors:
        return _call(module, args, kwargs, own, [])
    called: list[Any] = []
    try:
        return _call(module, args, kwargs, own, called)
    except Exception:
        present = {**_EVERYWHERE["forward"], **own.get("forward", {})}
        for number, entry in after_errors.items():
            if number in present and not any(entry is known for known in called):
                hook, with_kwargs = entry
                try:
                    hook(module, args, kwargs, None) if with_kwargs else hook(module, args, None)
                except Exception as e:
                    warn(f"a forward hook with always_call=True raised {e!r} after another error was raised in forward")
        raise


def _call(module: Any, args: tuple[Any, ...], kwargs: dict[Any, Any], own: Mapping[str, Any], called: list[Any]) -> Any:
    """``called`` receives the forward hooks that have been called."""

    def of(kind: str) -> list[tuple[Callable[..., Any], bool]]:
        return [*_EVERYWHERE[kind].values(), *own.get(kind, {}).values()]

    for hook, with_kwargs in of("forward_pre"):
        if with_kwargs:
            replaced = hook(module, args, kwargs)
            if replaced is not None:
                if not (isinstance(replaced, tuple) and len(replaced) == 2):
                    raise RuntimeError(
                        f"forward pre-hook must return None or a tuple of (new_args, new_kwargs), but got {replaced}."
                    )
                args, kwargs = replaced
        else:
            replaced = hook(module, args)
            if replaced is not None:
                args = _tuple(replaced)
    backward, before, after = None, of("backward_pre"), of("backward")
    if before or after:
        backward = _Backward(module, [h for h, _ in before], [h for h, _ in after])
        args = backward.watch_inputs(args)
    result = module.forward(*args, **kwargs)
    for entry in of("forward"):
        hook, with_kwargs = entry
        called.append(entry)
        replaced = hook(module, args, kwargs, result) if with_kwargs else hook(module, args, result)
        if replaced is not None:
            result = replaced
    return result if backward is None else backward.watch_outputs(result)


# Hooks on all modules. While there are some, traced functions run eagerly.

ON_ALL: list[Any] = []  # one entry for each


class _OnAll(OrderedDict[int, tuple[Callable[..., Any], bool]]):
    """The hooks of one kind on all modules."""

    observes_modules = True

    def __setitem__(self, number: int, hook: tuple[Callable[..., Any], bool]) -> None:
        super().__setitem__(number, hook)
        ON_ALL.append(self)
        SPECIAL.append(self)

    def pop(self, number: int, default: Any = None) -> Any:
        if number not in self:
            return default
        ON_ALL.pop()
        SPECIAL.remove(self)
        return super().pop(number)

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = None  # type: ignore[assignment]


_EVERYWHERE = {kind: _OnAll() for kind in KINDS}


def _register(kind: str, hook: Callable[..., Any], with_kwargs: bool = False, always: bool = False) -> RemovableHandle:
    if context.recorder is not None:
        context.recorder.give_up("registers a hook on all modules")
    handle = RemovableHandle(_EVERYWHERE[kind], _EVERYWHERE["always"] if always else None)
    _EVERYWHERE[kind][handle._number] = entry = hook, with_kwargs
    if always:
        _EVERYWHERE["always"][handle._number] = entry
    return handle


def register_module_forward_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Calls ``hook(module, args)`` before the ``forward`` of each module; its result, unless None, replaces the arguments."""
    return _register("forward_pre", hook)


def register_module_forward_hook(
    hook: Callable[..., Any], *, with_kwargs: bool = False, always_call: bool = False
) -> RemovableHandle:
    """Calls ``hook(module, args, output)`` after the ``forward`` of each module; its result, unless None, replaces the output.

    ``always_call``: also, with None as the output, if ``forward`` raises an error.
    """
    return _register("forward", hook, with_kwargs, always_call)


def register_module_full_backward_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Calls ``hook(module, grad_output)`` when the cotangents of a module's outputs are known."""
    return _register("backward_pre", hook)


def register_module_full_backward_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Calls ``hook(module, grad_input, grad_output)`` when the cotangents of a module's inputs are known."""
    return _register("backward", hook)
