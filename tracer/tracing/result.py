"""From a finished recording to a replayable one: the objects that the run left behind, and how a replay finds them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..autograd.node import BackwardNode, FreedNode, python_runs, walk, was_freed, was_modified
from ..core.tensor import Tensor
from ..runtime.devices import device_of
from ..runtime.support import objects
from .applications import settle
from .assigned import assigned
from .effects import Change, place
from .ending import Ending, whole
from .escape import escaped
from .kinds import CONTENTS, GROWTH
from .outcome import Results, Unreplayable
from .overlap import is_written_over
from .recorder import Recorder

if TYPE_CHECKING:
    from ..runtime.devices import Device
    from .calls import Call


def finish(
    recorder: Recorder, box: list[Any], allowed: dict[int, Tensor], call: Call, changes: Sequence[Change]
) -> Ending | None:
    """The ending of a recording; None, with ``recorder.reason`` set, if a replay would not do what the run did.

    ``box`` holds the only reference to the run's result. ``allowed`` are the tensors that guards watch, ``changes`` the
    run's changes besides tensors.
    """
    if not objects.tells_references:
        recorder.reason = "this interpreter does not count references, so what the function leaves behind cannot be seen"
        return None
    hooks = recorder.hooks
    try:
        reached = hooks.settle(recorder)
        applied, contexts, unknown = settle(recorder, reached)
        if unknown or (unknown := hooks.enter(recorder, reached, applied)):
            raise Unreplayable(unknown)
        results = Results(recorder, call)
        found = [c.new for c in changes], hooks.functions(recorder), [x for _, _, x in contexts]
        build, *rest = results.describe([box[0], *itertools.chain(*found)])
        del found  # references are counted next
        values = iter(rest)
        effects = [(place(c, call), value) for c, value in zip(changes, values)]  # noqa: B905
        grads = [(recorder.owner(t), results.gradient(t)) for t in recorder.grads_written.values()]
        new_memory = assigned(recorder, results)
        registered = hooks.describe(recorder, results, values)
        on_contexts = [(i, name, build) for (i, name, _), build in zip(contexts, values, strict=True)]
        _check_inputs(recorder, allowed)
        device = _device(recorder, results.tensors)
        if why := recorder.kept_array():
            raise Unreplayable(why)
        mentioned = [t for c in changes for t in _mentioned(c)]
        stray = escaped(recorder, results.leaves, results.tensors, results.of_arrays, mentioned, mentioned)
        if stray is not None:
            kept = (
                f"a tensor of shape {list(stray.shape)} that it makes{_made(recorder, stray)} is kept by something outside it"
            )
            raise Unreplayable(f"{kept} that guards cannot see: return it, or store it in an attribute, a list or a dict")
    except Unreplayable as e:
        recorder.reason = str(e)
        return None
    updates = {
        i: recorder.assigned.left(t) or recorder.value(t) for i, t in enumerate(recorder.inputs) if id(t) in recorder.written
    }
    followed, leaves = [], []
    for k, t in enumerate(results.tensors):
        if t._requires_grad and t._grad_fn is not None and not was_freed(t._grad_fn):
            followed.append(k)
        elif t._requires_grad:
            leaves.append((k, None if t._grad_fn is None else FreedNode(t._grad_fn.name())))
    written = [t for t in recorder.inputs if t._requires_grad and (id(t) in recorder.written or recorder.assigned.has(t))]
    if followed and written:
        at = _made(recorder, written[0])
        recorder.reason = f"it changes a leaf in place{at}, and a backward pass outside may follow: {_DETACH}"
        return None
    for k in followed:
        t = results.tensors[k]
        if was_modified(t._grad_fn):  # type: ignore[arg-type]
            recorder.reason = f"it changes in place what a backward pass outside of its result{_made(recorder, t)} would need"
            return None
        if not _leads_outside(recorder, t._grad_fn):  # type: ignore[arg-type]
            what = f"a backward pass outside of its result{_made(recorder, t)} would end at a leaf that it makes, or nowhere"
            recorder.reason = f"{what}: {_DETACH}"
            return None
    nodes: list[Any] = [results.tensors[k]._grad_fn for k in followed]
    known = applied.keys() | hooks.entered.keys()
    user = next((name for node in nodes if (name := python_runs(node, known, recorder.start)) is not None), None)
    if user is not None:
        recorder.reason = f"a backward pass outside would call {user}"
        return None
    counted = [i for i, t in enumerate(recorder.inputs) if i in updates or recorder.assigned.has(t)]
    changed = [(i, count) for i in counted if (count := _changes(recorder, i))]
    if followed and recorder.flags:
        recorder.reason = "it changes requires_grad of a tensor made outside, and a backward pass outside may follow"
        return None
    flags = [(recorder.owner(t), t._requires_grad) for t, before in recorder.flags.values() if t._requires_grad is not before]
    ending = Ending(
        *(build, results.outputs, followed, updates, changed, grads, leaves, flags, effects, recorder.prints, new_memory),
        *(results.entered_values, registered, on_contexts, device),
        frozenset(i for i in updates if not recorder.inputs[i]._data.flags.c_contiguous),
    )
    if followed and not known and not all(whole(recorder, ending).reached):
        recorder.reason = f"it returns a result whose gradient reaches nothing: {_DETACH}"
        return None
    return ending


def _changes(recorder: Recorder, i: int) -> int:
    """How often the run has changed input ``i``. Views of one tensor count their changes together."""
    t = recorder.inputs[i]
    together = any(other is not t and other._counter is t._counter for other in recorder.inputs)
    return recorder.epochs.get(id(t), 0) if together else t._counter[0] - recorder.versions[i]


def _is_written_over(recorder: Recorder) -> bool:
    """True if something that the run changes shares memory with another tensor that it reads or changes."""
    replaced = [(a, True) for a in recorder.assigned.changed]
    if not is_written_over([*((t._data, id(t) in recorder.written) for t in recorder.inputs), *replaced]):
        return False
    read = {v for op in recorder.builder.ops for v in op.operands}
    rows = []
    for v, t, source in zip(recorder.builder.inputs, recorder.inputs, recorder.sources, strict=True):
        # A view may be read through its base; what is captured has been met by the run.
        if v in read or id(t) in recorder.written or source.kind != "argument" or t._view is not None:
            rows.append((t._data, id(t) in recorder.written))
    return is_written_over([*rows, *replaced])


_DETACH = "return detached results where no gradient is wanted"


def _made(recorder: Recorder, t: Tensor) -> str:
    """The place where a tensor's values were computed, in parentheses; empty if unknown."""
    op = recorder.value(t).op if recorder.knows(t) else None
    return f" ({op.loc})" if op is not None and op.loc else ""


def _used(recorder: Recorder, i: int) -> str:
    """The place where input ``i`` was read first, in parentheses."""
    v = recorder.builder.inputs[i]
    return next((f" ({op.loc})" for op in recorder.builder.ops if v in op.operands and op.loc), "")


def _leads_outside(recorder: Recorder, node: BackwardNode) -> bool:
    """True if a backward pass from a node ends only at tensors that exist before the call."""
    leaves = [t for n in walk(node) for t in n.edges[::3] if isinstance(t, Tensor)]
    return bool(leaves) and not any(recorder.is_new(t) for t in leaves)


def _device(recorder: Recorder, results: Sequence[Tensor]) -> Device | None:
    """The device on which a replay computes; None for the CPU. Raises Unreplayable if it would have to compute on several."""
    read, made = ({device_of(t._data) for t in tensors} for tensors in (recorder.inputs, results))
    devices = (read | made) - {None}
    if not devices:
        return None
    if len(devices) > 1:
        raise Unreplayable(f"it computes on several devices: {', '.join(sorted(map(str, devices)))}")
    if None in made:
        raise Unreplayable("it computes on a device and returns a tensor on the CPU")
    if recorder.events and read <= {None}:
        raise Unreplayable("it makes tensors on a device, reads values, and is given no tensor on the device")
    return devices.pop()


def _check_inputs(recorder: Recorder, allowed: dict[int, Tensor]) -> None:
    """Raises Unreplayable for inputs that no guard watches, or that are not writeable."""
    from ..random import default_generator

    inputs = {id(t) for t in recorder.inputs}
    known = {*allowed, id(default_generator.state)}
    nowhere = "that no argument, closure variable or global leads to"
    for i, (t, source) in enumerate(zip(recorder.inputs, recorder.sources, strict=True)):
        if source.kind == "captured" and id(t) not in known:
            raise Unreplayable(
                f"it reads a tensor of shape {list(t.shape)}{_used(recorder, i)} {nowhere}: pass it as an argument"
            )
        if source.kind == "grad" and source.holder is not None and id(source.holder) not in known:
            raise Unreplayable(
                f"it reads the gradient{_used(recorder, i)} of a tensor {nowhere}: pass the tensor as an argument"
            )
        if id(t) in recorder.written and device_of(t._data) is not None and not t._data.flags.c_contiguous:
            raise Unreplayable(
                f"it changes a tensor{_made(recorder, t)} whose memory on a device is not contiguous: pass t.contiguous()"
            )
        if id(t) in recorder.written and t._grad_fn is not None:
            raise Unreplayable(
                f"it changes in place{_made(recorder, t)} a tensor that autograd follows: change a copy, or t.detach()"
            )
    owners = [
        *recorder.grads_written.values(),
        *(t for t, _ in recorder.flags.values()),
        *(t for t, _ in recorder.grads_read.values()),
    ]
    if any(recorder.owner(t).kind == "grad" for t in owners):
        raise Unreplayable("it uses the gradient of a gradient")
    if any(id(t) not in known and id(t) not in inputs for t in recorder.grads_written.values()):
        raise Unreplayable(f"it sets the gradient of a tensor {nowhere}")
    if _is_written_over(recorder):
        raise Unreplayable("it changes a tensor that shares memory with another one it reads")
    new = {id(t) for t in recorder.alive()}
    if any(i not in new and i not in inputs for i in recorder.written):
        raise Unreplayable("it changes, through a view made outside, a tensor it was not given")


def _mentioned(change: Change) -> list[Tensor]:
    """The tensors to which a change refers, besides the changed place."""
    whole = change.key is CONTENTS or change.key is GROWTH
    found = change.new if whole else [change.new]
    if isinstance(change.holder, dict) and whole:
        found = [x for pair in found for x in pair]
    return [x for x in found if isinstance(x, Tensor)]
