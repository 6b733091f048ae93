"""From a finished recording to something that can be replayed: what the run left behind, and how a replay finds it again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd.modes import unfollowed
from ..autograd.node import BackwardNode, FreedNode, python_runs, walk, was_freed, was_modified
from ..context import context
from ..ir import ops as P
from ..ir.graph import Value
from ..runtime import objects
from ..tensor import Tensor
from .ending import Build, Ending, whole
from .escape import escaped
from .overlap import is_written_over
from .recorder import Recorder
from .replay import Run
from .scalars import RuntimeFloat
from .walk import STATIC


class Unreplayable(Exception):
    """Why a replay would not do what the run did."""


def finish(recorder: Recorder, box: list[Any], allowed: dict[int, Tensor], held: set[int]) -> Ending | None:
    """How a recording ends; None, with ``recorder.reason`` set, where a replay would not do what the run did.

    ``box`` holds the run's result, and is all that does. ``allowed`` are the tensors that guards keep an eye on, ``held`` the
    containers that something outside refers to, by id.
    """
    if not objects.tells_references:
        recorder.reason = "this interpreter does not count references, so what the function leaves behind cannot be seen"
        return None
    try:
        results = _Results(recorder, held)
        build = results.describe(box[0])
        grads = [(recorder.owner(t), results.gradient(t)) for t in recorder.grads_written.values()]
        _check_inputs(recorder, allowed)
        if why := recorder.kept_array():
            raise Unreplayable(why)
        stray = escaped(recorder, results.leaves, results.tensors)
        if stray is not None:
            raise Unreplayable(f"a tensor of shape {list(stray.shape)} made by the function is kept by something outside it")
    except Unreplayable as e:
        recorder.reason = str(e)
        return None
    updates = {i: recorder.value(t) for i, t in enumerate(recorder.inputs) if id(t) in recorder.written}
    followed, leaves = [], []
    for k, t in enumerate(results.tensors):
        if t._requires_grad and t._grad_fn is not None and not was_freed(t._grad_fn):
            followed.append(k)
        elif t._requires_grad:
            leaves.append((k, None if t._grad_fn is None else FreedNode(t._grad_fn.name())))
    if followed and any(t._requires_grad and id(t) in recorder.written for t in recorder.inputs):
        recorder.reason = "it changes a leaf in place, and a backward pass outside may follow"
        return None
    if any(was_modified(results.tensors[k]._grad_fn) for k in followed):  # type: ignore[arg-type]
        recorder.reason = "it changes in place what a backward pass outside would need"
        return None
    if not all(_leads_outside(recorder, results.tensors[k]._grad_fn) for k in followed):  # type: ignore[arg-type]
        recorder.reason = "a backward pass outside would end at a leaf that it makes, or nowhere"
        return None
    why = next((why for k in followed if (why := python_runs(results.tensors[k]._grad_fn)) is not None), None)  # type: ignore
    if why is not None:
        recorder.reason = f"a backward pass outside would call {why}"
        return None
    changes = [t._counter[0] - before for t, before in zip(recorder.inputs, recorder.versions, strict=True)]
    changed = [(i, changes[i]) for i in updates if changes[i]]
    ending = Ending(build, results.outputs, followed, updates, changed, grads, leaves)
    if followed and not all(whole(recorder, ending).reached):
        recorder.reason = "it returns a result whose gradient reaches nothing"
        return None
    return ending


def _leads_outside(recorder: Recorder, node: BackwardNode) -> bool:
    """Whether a backward pass from a node ends at tensors that are there before the call, and there alone."""
    leaves = [t for n in walk(node) for t in n.edges[::3] if isinstance(t, Tensor)]
    return bool(leaves) and not any(recorder.is_new(t) for t in leaves)


def _heard(t: Tensor) -> bool:
    """Whether hooks wait for the gradient of a result, or for the node that made it."""
    if t._grad_fn is None:
        return bool(vars(t).get("_hooks") or vars(t).get("_post_hooks"))
    extras = t._grad_fn.extras
    return extras is not None and bool(any(extras.hooks.values()) or extras.prehooks or extras.posthooks)


def _check_inputs(recorder: Recorder, allowed: dict[int, Tensor]) -> None:
    """Raises Unreplayable for inputs that no guard watches, or that cannot be written to."""
    from ..random import default_generator

    inputs = {id(t) for t in recorder.inputs}
    known = {*allowed, id(default_generator.state)}
    nowhere = "that no argument, closure variable or global leads to"
    for t, source in zip(recorder.inputs, recorder.sources, strict=True):
        if source.kind == "captured" and id(t) not in known:
            raise Unreplayable(f"it reads a tensor of shape {list(t.shape)} {nowhere}")
        if source.kind == "grad" and source.holder is not None and id(source.holder) not in known:
            raise Unreplayable(f"it reads the gradient of a tensor {nowhere}")
        if id(t) in recorder.written and not t._data.flags.c_contiguous:
            raise Unreplayable("it changes a tensor whose memory is not contiguous")
        if id(t) in recorder.written and t._grad_fn is not None:
            raise Unreplayable("it changes in place a tensor that autograd follows")
    owners = [*recorder.grads_written.values(), *(t for t, _ in recorder.grads_read.values())]
    if any(recorder.owner(t).kind == "grad" for t in owners):
        raise Unreplayable("it uses the gradient of a gradient")
    if any(id(t) not in known and id(t) not in inputs for t in recorder.grads_written.values()):
        raise Unreplayable(f"it sets the gradient of a tensor {nowhere}")
    if is_written_over((t._data, id(t) in recorder.written) for t in recorder.inputs):
        raise Unreplayable("it changes a tensor that shares memory with another one it reads")
    new = {id(t) for t in recorder.alive()}
    if any(i not in new and i not in inputs for i in recorder.written):
        raise Unreplayable("it changes, through a view made outside, a tensor it was not given")


class _Results:
    """Says how what a run leaves behind is found again in a replay; collects the graph's outputs for it.

    outputs   the graph's outputs, and ``tensors`` those they are in the run
    leaves    the tensors of the result, once for each place they have in it
    """

    def __init__(self, recorder: Recorder, held: set[int]):
        self.recorder = recorder
        self.held = held
        self.outputs: list[Value] = []
        self.tensors: list[Tensor] = []
        self.leaves: list[Tensor] = []
        self._places: dict[int, Build] = {}
        self._containers: set[int] = set()

    def describe(self, x: Any) -> Build:
        """How ``x`` is built from a replay's outputs."""
        if isinstance(x, Tensor):
            self.leaves.append(x)
            return self._place(x)
        if isinstance(x, RuntimeFloat):
            index = x._index
            return Build(lambda run: run.values[index], lambda writer: writer.value(index))
        if isinstance(x, (*STATIC, np.generic)):
            return Build(lambda run: x, lambda writer: writer.literal(x))
        if isinstance(x, tuple):
            return self._tuple(x)
        if id(x) in self._containers or id(x) in self.held:
            raise Unreplayable("it returns a container that occurs twice in the result, or that something outside refers to")
        self._containers.add(id(x))
        if type(x) is list:
            parts = [self.describe(item) for item in x]
            return Build(lambda run: [p.make(run) for p in parts], lambda writer: f"[{_written(parts, writer)}]")
        if type(x) in (dict, OrderedDict):
            kind, keys = type(x), list(x)
            values = [self.describe(v) for v in x.values()]
            return Build(
                lambda run: kind(zip(keys, [v.make(run) for v in values], strict=True)),
                lambda writer: f"{writer.constant(kind)}(zip({writer.constant(keys)}, [{_written(values, writer)}]))",
            )
        raise Unreplayable(f"it returns a {type(x).__name__}")

    def _tuple(self, x: tuple) -> Build:
        if all(isinstance(item, STATIC) and not isinstance(item, RuntimeFloat) for item in x):
            return Build(lambda run: x, lambda writer: writer.constant(x))
        kind, parts = type(x), [self.describe(item) for item in x]
        if hasattr(x, "_fields"):
            return Build(
                lambda run: kind(*[p.make(run) for p in parts]),
                lambda writer: f"{writer.constant(kind)}({_written(parts, writer)})",
            )
        if kind is not tuple:
            raise Unreplayable(f"it returns a {kind.__name__}")
        return Build(lambda run: tuple([p.make(run) for p in parts]), lambda writer: f"({_written(parts, writer)},)")

    def gradient(self, t: Tensor) -> Build:
        """What becomes of ``t.grad``."""
        return Build(lambda run: None, lambda writer: "None") if t._grad is None else self._place(t._grad)

    def _place(self, t: Tensor) -> Build:
        """How the tensor of a replay is found that ``t`` is in the run."""
        if id(t) not in self._places:
            self._places[id(t)] = self._find(t)
        return self._places[id(t)]

    def _find(self, t: Tensor) -> Build:
        if not self.recorder.knows(t) and t._view is None:
            self.recorder.value(t)  # what was not made in the run is an input of it
        for i, known in enumerate(self.recorder.inputs):
            if known is t:
                return Build(lambda run: run.input(i), lambda writer: writer.fetch(i))
        if _heard(t):
            raise Unreplayable("a backward pass outside would call a hook on a result")
        if t._grad is not None:
            raise Unreplayable("it returns a tensor it made that has a gradient")
        if t._inference is not context.inference:
            raise Unreplayable("it returns a tensor made in another mode of inference than that of the call")
        if t._view is not None:
            return self._view(t)
        if type(t) is not Tensor:
            raise Unreplayable(f"it returns a {type(t).__name__} it made")
        k = len(self.outputs)
        value = self.recorder.value(t)
        self.tensors.append(t)
        if t._data.flags.c_contiguous:
            self.outputs.append(value)
            return Build(lambda run: run.outputs[k], lambda writer: writer.output(k))
        # Eager arithmetic keeps the order of axes in memory; a program's results are contiguous.
        order = sorted(range(t.ndim), key=lambda d: -t._data.strides[d])
        self.outputs.append(self.recorder.build.bind(P.permute, [value], {"axes": tuple(order)}))
        back = tuple(map(order.index, range(t.ndim)))
        return _made_once(id(t), t._requires_grad, lambda run: P.permute(run.outputs[k], axes=back))

    def _view(self, t: Tensor) -> Build:
        """A view of a result or of an input shares its memory: it is made of it again."""
        parent, primitive, attrs = t._viewed()
        made = t._made
        if made is not None and parent.requires_grad and t._history != t._counter[0]:
            raise Unreplayable("it returns a view whose base was changed in place after the view was made")
        t._refresh()
        follows, counted = t._requires_grad, t._counter is parent._counter
        if follows and (
            not primitive.differentiable or t._grad_fn is None or was_freed(t._grad_fn) or not parent.requires_grad
        ):
            raise Unreplayable("it returns a view that requires gradients which cannot flow to its base")
        if follows and getattr(t._grad_fn, "primitive", None) is not primitive:
            raise Unreplayable("it returns a view whose derivative is that of an autograd.Function")
        base = self._place(parent)

        def make(run: Run) -> Tensor:
            if primitive is not P.detach:
                out = primitive(base.make(run), **attrs)
                out._made = made
                return out
            return base.make(run).detach() if counted else base.make(run).data

        return _made_once(id(t), follows, make)


def _made_once(key: int, follows: bool, make: Callable[[Run], Tensor]) -> Build:
    def build(run: Run) -> Tensor:
        if key not in run.made:
            if follows:
                run.made[key] = make(run)
            else:
                with unfollowed():
                    run.made[key] = make(run)
        return run.made[key]

    return Build(build)


def _written(parts: list[Build], writer: Any) -> str:
    return ", ".join([p.write(writer) for p in parts])
