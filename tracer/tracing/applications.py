"""Operations with a user-defined derivative that a backward pass outside may reach.

Their backward is arbitrary Python code. So a replay enters them into the dynamic graph as the run did, between the programs
before and after. The results of ``forward`` are computed by programs.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from ..autograd.function import Function, FunctionCtx, FunctionNode, _entered
from ..autograd.node import BackwardNode
from ..core.tensor import Tensor, wrap
from ..ir import ops as P
from ..ir.graph import Value
from .kinds import is_static
from .scalars import RuntimeNumber

if TYPE_CHECKING:
    from .follow import PathRun
    from .recorder import Recorder


class Ref(NamedTuple):
    """A tensor: its value in the graph; in a span, its number."""

    value: Any


class Number(NamedTuple):
    """A dynamic number."""

    which: int


class Place(NamedTuple):
    """An argument or an output, by number."""

    number: int


@dataclass(frozen=True, eq=False)
class Application:
    """A call of ``function.apply`` in a run. Python reads no value here.

    args        a ``Ref`` for each tensor, else None
    outputs     a ``Ref``, the ``Place`` of the returned argument, or an object that is not a tensor
    entered     the values of outputs from then on, by output number
    saved       the saved tensors: a ``Ref``, the ``Place`` of an output, or None
    attributes  the user's attributes of ``ctx``: a ``Ref``, a ``Place``, a ``Number``, or a value
    objects     the names of other attributes, which are recreated when the path is complete
    settings    this package's attributes of ``ctx``
    apart       the numbers of the outputs marked as not differentiable
    """

    function: type[Function]
    node: weakref.ref[FunctionNode]
    args: tuple[Any, ...]
    outputs: tuple[Any, ...]
    entered: Mapping[int, Any]
    saved: tuple[Any, ...]
    attributes: Mapping[str, Any]
    objects: tuple[str, ...]
    settings: Mapping[str, Any]
    apart: tuple[int, ...]
    tensors: tuple[tuple[weakref.ref[Tensor], Any, int], ...]  # saved tensors, with their values and versions at that time
    loc: str
    why: str = field(default="")  # why it cannot be repeated
    late = True

    def __eq__(self, other: object) -> bool:
        mine = isinstance(other, Application) and self.function is other.function
        return mine and all(
            getattr(self, name) == getattr(other, name) for name in ("args", "outputs", "entered", "saved", "settings", "apart")
        )

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        return f"{self.function.__name__}.apply at {self.loc}"

    def numbered(self, number: Mapping[Value, int]) -> Application:
        """With numbers for values."""

        def of(x: Any) -> Any:
            return _mapped(x, lambda item: Ref(number[item.value]) if isinstance(item, Ref) else item)

        entered = {k: number[v] for k, v in self.entered.items()}
        parts = {name: of(getattr(self, name)) for name in ("args", "outputs", "saved", "attributes")}
        return replace(self, entered=entered, tensors=(), **parts)

    @property
    def reads(self) -> Iterable[int]:
        """The values that it needs."""
        found: list[int] = []
        for x in (self.args, self.outputs, self.saved, self.attributes):
            _mapped(x, lambda item: found.append(item.value) if isinstance(item, Ref) else None)
        return found

    def enter(self, run: PathRun) -> None:
        """Repeats it: the outputs become tensors of the replay."""

        def tensor(item: Any) -> Any:
            if isinstance(item, Ref):
                return run.tensor(item.value)
            if isinstance(item, Place):
                return outputs[item.number]
            return run.values[item.which] if isinstance(item, Number) else item

        outputs: list[Any] = []
        args = [tensor(a) for a in self.args]
        for x in self.outputs:
            shown = args[x.number] if isinstance(x, Place) else x
            outputs.append(wrap(run.arrays[x.value]) if isinstance(x, Ref) else shown)
        ctx = FunctionCtx()
        vars(ctx).update(self.settings)
        vars(ctx).update(_mapped(self.attributes, tensor))
        ctx._not_differentiable = {id(outputs[k]) for k in self.apart}
        ctx._to_save = tuple(map(tensor, self.saved))
        node = FunctionNode(self.function, ctx, args)
        shown = _entered(node, ctx, outputs, args)
        ctx._keep(shown, node)
        run.contexts.append(ctx)
        for k, value in self.entered.items():
            run.have(value, shown[k])


def _mapped(x: Any, change: Callable[[Any], Any]) -> Any:
    """A copy of nested containers with their contents changed."""
    if isinstance(x, (Ref, Number, Place)):
        return change(x)
    if isinstance(x, Mapping):
        return {key: _mapped(value, change) for key, value in x.items()}
    if type(x) in (tuple, list):
        return type(x)([_mapped(value, change) for value in x])
    return change(x)


def applies(recorder: Recorder, node: FunctionNode, args: Sequence[Any], outputs: Sequence[Any]) -> None:
    """Records an application of a ``Function`` whose outputs have gradients."""
    ctx, why = node.ctx, ""
    kept: list[tuple[weakref.ref[Tensor], Any, int]] = []

    def ref(t: Tensor) -> Ref:
        v = recorder.value(t)
        kept.append((weakref.ref(t), v, t._counter[0]))
        return Ref(recorder.build.bind(P.detach, [v], {}) if v in recorder.sensitive and not t._requires_grad else v)

    def described(x: Any) -> Any:
        if isinstance(x, Tensor):
            return Place(results[id(x)]) if id(x) in results else ref(x)
        return Number(x._index) if isinstance(x, RuntimeNumber) else x

    given = {id(a): i for i, a in enumerate(args) if isinstance(a, Tensor)}
    results = {id(t): k for k, t in enumerate(outputs) if isinstance(t, Tensor)}
    arrays = {id(t._data): k for k, t in enumerate(outputs) if isinstance(t, Tensor)}
    shown, entered = [], {}
    for k, t in enumerate(outputs):
        if not isinstance(t, Tensor):
            shown.append(t)
            continue
        v = recorder.value(t)
        back = t._view[0] if t._view is not None and t._made is not None and t._view[1] is P.reshape else None
        if back is not None and id(back) in given and back._data.shape == t._data.shape:
            shown.append(Place(given[id(back)]))
        else:
            shown.append(Ref(recorder.build.bind(P.detach, [v], {}) if v in recorder.sensitive else v))
        if t._grad_fn is node:
            entered[k] = recorder.build.bind(P.detach, [v], {})
    attributes: dict[str, Any] = {}
    objects: list[str] = []
    saved: list[Any] = []
    own = {*vars(FunctionCtx()), "needs_input_grad"}
    for name, x in vars(ctx).items():
        if name in own:
            continue
        if isinstance(x, (Tensor, RuntimeNumber)) or is_static(x):
            attributes[name] = described(x)
        else:
            objects.append(name)
    for t in ctx._saved:
        of_its_own = t is not None and not isinstance(t, Tensor)
        saved.append(Place(arrays[id(t._data)]) if of_its_own else None if t is None else ref(t))
    if any(not recorder.is_new(t) or t._view is not None for t in ctx._dirty):
        why = f"{node.function.__name__} changes in place what is no result of an operation inside: give it a clone"
    elif any(not is_static(x) for x in outputs if not isinstance(x, Tensor)):
        why = f"{node.function.__name__} returns what is no tensor"
    settings = {"needs_input_grad": ctx.needs_input_grad, "_materialize": ctx._materialize}
    apart = tuple([k for k, t in enumerate(outputs) if id(t) in ctx._not_differentiable])
    inputs = tuple([Ref(recorder.value(a)) if isinstance(a, Tensor) else None for a in args])
    event = Application(
        *(node.function, weakref.ref(node), inputs, tuple(shown), entered, tuple(saved), attributes),
        *(tuple(objects), settings, apart),
        *(tuple(kept), recorder.locations.here(), why),
    )
    recorder.event(event, None)
    for k, v in entered.items():
        recorder.sensitive.add(v)
        recorder.set(outputs[k], v)


def settle(
    recorder: Recorder, reached: set[BackwardNode]
) -> tuple[dict[BackwardNode, Application], list[tuple[int, str, Any]], str]:
    """Keeps the applications that a backward pass outside reaches. Returns them, by their nodes; the objects on their ``ctx``,
    with the application's number and the name; and why one cannot be repeated.
    """
    recorder.events = [s for s in recorder.events if not isinstance(s.event, Application) or s.event.node() in reached]
    applied: dict[BackwardNode, Application] = {}
    objects: list[tuple[int, str, Any]] = []
    for i, event in enumerate([s.event for s in recorder.events if isinstance(s.event, Application)]):
        node = event.node()
        assert node is not None
        applied[node] = event
        own = vars(node.ctx)
        objects += [(i, name, own[name]) for name in event.objects if name in own]
        for ref, value, version in event.tensors:
            t = ref()
            now = None if t is None else recorder.value(t)
            if t is not None and (t._counter[0] != version or (now is not value and now not in event.entered.values())):
                return applied, objects, f"what {event} has kept is changed in place"
        if event.why:
            return applied, objects, f"{event.why}, at {event.loc}"
    return applied, objects, ""
