"""Objects that a run leaves behind without the recorder's knowledge: tensors and floats that something outside refers to.

This compares CPython's reference counts. If an interpreter does not have them, functions run eagerly (``result.finish``).
"""

from __future__ import annotations

import collections
import contextlib
import functools
import gc
import types
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..autograd.function import FunctionNode
from ..core.tensor import Tensor
from ..runtime.support.objects import references
from .arrays import is_runtime_array
from .kinds import contained, dictionary_class, get_slot, put_slot, slots_of
from .scalars import FloatProgram, RuntimeNumber
from .substitutes import original

if TYPE_CHECKING:
    from .recorder import Recorder


def escaped(recorder: Recorder, leaves: Sequence[Tensor], *holders: Sequence[Tensor]) -> Tensor | None:
    """A tensor created by the run that something outside refers to: a replay would not renew it.

    ``leaves`` are the tensors of the result, once for each occurrence; ``holders`` are internal lists that refer to
    tensors.
    """
    if _find(recorder, leaves, holders) is None:
        return None
    gc.collect()  # reference cycles that the function left do not count; nor does a variable here
    return _find(recorder, leaves, holders)


def _find(recorder: Recorder, leaves: Sequence[Tensor], holders: Sequence[Sequence[Tensor]]) -> Tensor | None:
    alive = recorder.alive()
    counts = _references(recorder, alive, [leaves, leaves, *holders])
    for t in alive:
        if references(t) > counts[id(t)] + _BASE:
            return t
    return None


def _refcount_in_a_loop() -> int:
    """The number of references that a loop over a list, and the query itself, add."""
    for t in [object()]:
        return references(t) - 1
    raise AssertionError


_BASE = _refcount_in_a_loop()


def _references(recorder: Recorder, alive: Sequence[Tensor], holders: Sequence[Sequence[Tensor]]) -> Counter[int]:
    """The number of references to each tensor from ``alive``, the recorder, the dynamic graph, views and gradients."""
    found: list[Any] = []
    for tensors in (alive, recorder.written.values(), recorder.grads_written.values(), *holders):
        found += tensors
    found += [t for read in recorder.grads_read.values() for t in read]
    arrays: list[Any] = [x for x in (ref() for ref in recorder.floats.made) if is_runtime_array(x)]
    found += [t for x in arrays for t in (x._tensor, x._root)]
    owners = {id(t): t for t in (*alive, *recorder.inputs, *recorder.grads_written.values())}
    for t in owners.values():
        found += [t._grad, t._view[0] if t._view is not None else None, *t._formers]
    nodes: dict[int, Any] = {}
    work: list[Any] = [t._grad_fn for t in alive if t._grad_fn is not None]
    while work:
        node = work.pop()
        if id(node) in nodes:
            continue
        nodes[id(node)] = node
        targets = node.edges[::3]
        work += [t for t in targets if t is not None and not isinstance(t, Tensor)]
        found += targets
        found += _closed_over(node)
        if isinstance(node, FunctionNode):
            found += _inside(vars(node.ctx))
        else:
            found += getattr(node, "saved", None) or getattr(node, "inputs", None) or ()
    return Counter(id(t) for t in found if isinstance(t, Tensor))


def _closed_over(node: Any) -> list[Tensor]:
    """The tensors in the variables of a node's hooks that nothing but the node refers to."""
    extras = node.extras
    if extras is None:
        return []
    cells: dict[int, types.CellType] = {}
    for hooks in (*extras.hooks.values(), extras.prehooks, extras.posthooks):
        for hook in hooks.values():
            if isinstance(hook, types.FunctionType) and references(hook) <= _BASE + 1:
                cells.update((id(cell), cell) for cell in hook.__closure__ or ())
    contents = [cell.cell_contents for cell in cells.values() if cell != types.CellType()]
    return [t for t in contents if isinstance(t, Tensor)]


def _inside(x: Any) -> list[Any]:
    """The tensors in nested containers, once for each occurrence."""
    found: list[Any] = []
    work, seen = [x], {id(x)}
    while work:
        container = work.pop()
        for item in container.values() if isinstance(container, dict) else container:
            if isinstance(item, Tensor):
                found.append(item)
            elif isinstance(item, (list, tuple, dict)) and id(item) not in seen:
                seen.add(id(item))
                work.append(item)
    return found


def plain(x: Any, seen: dict[int, tuple[Any, Any]] | None = None) -> Any:
    """A result with plain numbers instead of dynamic ones; lists and dicts are changed in place.

    ``seen``: the visited containers with their replacements, by id.
    """
    if isinstance(x, RuntimeNumber) or is_runtime_array(x):
        return x._value
    if type(x) is slice and any(isinstance(n, RuntimeNumber) for n in (x.start, x.stop, x.step)):
        return slice(plain(x.start), plain(x.stop), plain(x.step))
    if not isinstance(x, (dict, list, tuple, set, collections.deque)):
        return original(x)
    seen = {} if seen is None else seen
    if id(x) in seen:
        return seen[id(x)][1]
    seen[id(x)] = x, x
    if isinstance(x, dict):
        items = [(plain(key, seen), value) for key, value in contained(x)]
        if any(new is not key for (new, _), (key, _) in zip(items, contained(x), strict=True)):
            dictionary_class(x).clear(x)
            dictionary_class(x).update(x, items)
        for key, value in dict.items(x):
            if (new := plain(value, seen)) is not value:
                dict.__setitem__(x, key, new)
    elif isinstance(x, list):
        for i, value in enumerate(list.__iter__(x)):
            if (new := plain(value, seen)) is not value:
                list.__setitem__(x, i, new)
    elif isinstance(x, tuple):
        items = [plain(value, seen) for value in contained(x)]
        if any(new is not value for new, value in zip(items, contained(x), strict=True)):
            seen[id(x)] = x, type(x)(*items) if hasattr(x, "_fields") else type(x)(items)
    elif isinstance(x, set):
        items = [plain(value, seen) for value in contained(x)]
        if any(new is not value for new, value in zip(items, contained(x), strict=True)):
            set.clear(x)
            set.update(x, items)
    else:
        for i, value in enumerate(list(contained(x))):
            if (new := plain(value, seen)) is not value:
                collections.deque.__setitem__(x, i, new)
    return seen[id(x)][1]


def release(program: FloatProgram) -> None:
    """Replaces dynamic numbers by plain ones where something outside still refers to them.

    A search for referrers visits all objects of the process, so there is one for the numbers, and one for tuples and slices
    with them.
    """
    for _ in range(_ROUNDS):
        kept = [x for x in (ref() for ref in program.made) if x is not None]
        if not kept:
            return
        ours, fixed = set(map(id, kept)), []
        for holder in gc.get_referrers(*kept):
            if isinstance(holder, types.CellType):
                holder.cell_contents = plain(holder.cell_contents)
            elif isinstance(holder, (list, dict, set, collections.deque)):
                if holder is not kept:
                    plain(holder)
            elif type(holder) in (tuple, slice):
                fixed.append(holder)
            elif not isinstance(holder, types.FrameType):
                _release_attributes(holder, ours)
        holder = None
        _replace(fixed)


_ROUNDS = 2  # the second one for the first one's results
_DEPTH = 4  # nested tuples without a known holder


def _replace(fixed: list[Any]) -> None:
    """Replaces tuples and slices with dynamic numbers."""
    seen: dict[int, tuple[Any, Any]] = {}
    for _ in range(_DEPTH):
        if not fixed:
            return
        new, outer = {id(old): plain(old, seen) for old in fixed}, []
        known = {*seen, *map(id, seen.values())}
        for holder in gc.get_referrers(*fixed):
            if isinstance(holder, types.CellType):
                holder.cell_contents = new[id(holder.cell_contents)]
            elif isinstance(holder, dict):
                if any(id(key) in new for key in dict.keys(holder)):
                    plain(holder, seen)
                for key, value in list(dict.items(holder)):
                    if id(value) in new:
                        dict.__setitem__(holder, key, new[id(value)])
            elif isinstance(holder, list):
                for i, value in enumerate(list.__iter__(holder)):
                    if id(value) in new and holder is not fixed:
                        list.__setitem__(holder, i, new[id(value)])
            elif isinstance(holder, set):
                plain(holder, seen)
            elif isinstance(holder, functools.partial) and id(holder.args) in new:
                state = holder.func, new[id(holder.args)], holder.keywords, vars(holder)
                functools.partial.__setstate__(holder, state)  # type: ignore[attr-defined]
            elif type(holder) is tuple and id(holder) not in known:
                outer.append(holder)
        fixed = outer


def _release_attributes(holder: Any, ours: set[int]) -> None:
    own = vars(holder) if hasattr(holder, "__dict__") and isinstance(vars(holder), dict) else {}
    for name, value in list(own.items()):
        if id(value) in ours:
            own[name] = value._value
    for name in slots_of(type(holder)):
        value = get_slot(holder, name)
        if id(value) in ours:
            with contextlib.suppress(AttributeError):  # of an immutable object, where the number still behaves like its value
                put_slot(holder, name, plain(value))
