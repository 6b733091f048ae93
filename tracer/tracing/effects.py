"""A run's changes to Python objects: the places, their former values, and how a replay writes to them.

A *holder* is a dictionary (of an object, a module, or a plain one), a list, a closure cell, a class, or an object with
``__slots__``; a *place* is a key of one. A place that the function reaches otherwise, and that runs change, becomes a
*slot*: its value is no longer described as part of the surroundings, but passed like an implicit argument.
"""

from __future__ import annotations

import collections
import contextvars
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..autograd.hooks import OF_LEAVES
from ..core.context import structure_changed
from ..core.tensor import Tensor
from ..runtime.support.objects import sets_classes
from .announce import AnnouncingDict, AnnouncingList
from .arrays import MANY
from .growing import Accesses, can_be_tracked
from .kinds import (
    CELL,
    CONTENTS,
    GROWTH,
    MISSING,
    VARIABLES,
    contained,
    contents,
    dictionary_class,
    get_slot,
    is_class_noise,
    is_described,
    items_of,
    put_slot,
    slots_of,
)
from .substitutes import is_of_arrays, substitute_for

if TYPE_CHECKING:
    from .calls import Call
    from .guards import Environment
    from .recorder import Recorder
    from .walk import Walk

_SEQUENCES = (list, collections.deque, set, bytearray)


def get(holder: Any, key: Any) -> Any:
    """A holder's value at a key; ``MISSING`` if there is none."""
    if key is CONTENTS:
        return list(contained(holder))
    if isinstance(holder, dict):
        return dict.get(holder, key, MISSING)
    if isinstance(holder, (list, collections.deque)):
        kind: Any = list if isinstance(holder, list) else collections.deque
        return kind.__getitem__(holder, key) if key < kind.__len__(holder) else MISSING
    if isinstance(holder, VARIABLES):
        return contents(holder)
    if isinstance(holder, (type, Tensor)):
        return vars(holder).get(key, MISSING)
    return get_slot(holder, key)


def put(holder: Any, key: Any, value: Any) -> None:
    """Sets a holder's value at a key, without calling the holder's methods; ``MISSING`` deletes it."""
    if key is CONTENTS:
        _refill(holder, value)
    elif key is GROWTH:
        cls: Any = next(c for c in (dict, list, set, collections.deque) if isinstance(holder, c))
        (cls.update if cls in (dict, set) else cls.extend)(holder, value)
    elif isinstance(holder, dict):
        kind: Any = dictionary_class(holder)
        if value is MISSING:
            kind.pop(holder, key, None)
        else:
            kind.__setitem__(holder, key, value)
    elif isinstance(holder, list):
        list.__setitem__(holder, key, value)
    elif isinstance(holder, collections.deque):
        collections.deque.__setitem__(holder, key, value)
    elif isinstance(holder, contextvars.ContextVar):
        if value is not MISSING:  # Python has no way to remove a value without the token of its assignment
            holder.set(value)
    elif isinstance(holder, type):
        type.__delattr__(holder, key) if value is MISSING else type.__setattr__(holder, key, value)
    elif isinstance(holder, Tensor):
        vars(holder).pop(key, None) if value is MISSING else vars(holder).update({key: value})
    else:
        put_slot(holder, key, value)


def _refill(holder: Any, items: Sequence[Any]) -> None:
    if isinstance(holder, list):
        list.__setitem__(holder, slice(None), items)
    elif isinstance(holder, bytearray):
        holder[:] = bytes(items)
    else:
        cls: Any = next(c for c in (collections.OrderedDict, dict, set, collections.deque) if isinstance(holder, c))
        cls.clear(holder)
        (cls.extend if cls is collections.deque else cls.update)(holder, items)


def fields(holder: Any) -> list[tuple[Any, Any]]:
    """A holder's contents, by key and in order."""
    if isinstance(holder, dict):
        return list(contained(holder))
    if isinstance(holder, list):
        return list(enumerate(list.__iter__(holder)))
    if isinstance(holder, VARIABLES):
        return [(CELL, contents(holder))]
    if isinstance(holder, type):
        own: Any = vars(holder)
        return [(name, value) for name, value in own.items() if not is_class_noise(name)]
    if isinstance(holder, _SEQUENCES):
        return [(CONTENTS, list(contained(holder)))]
    if isinstance(holder, Tensor):
        return [(name, value) for name, value in items_of(holder) if name not in OF_LEAVES]
    return [(name, get_slot(holder, name)) for name in slots_of(type(holder))]


@dataclass(eq=False)
class Slot:
    """A place whose value is read in every call. ``is_number``: it has changed from one number to another."""

    holder: Any
    key: Any
    is_number: bool = False
    is_gone: bool = False  # the function does not reach it any more

    @property
    def is_place(self) -> bool:
        """True if the holder still has such a place: an assignment to a class can replace an attribute of ``__slots__``."""
        plain = isinstance(self.holder, (dict, *_SEQUENCES, *VARIABLES, type, Tensor))
        return plain or self.key in slots_of(type(self.holder))

    def get(self) -> Any:
        return self.holder if self.key is CONTENTS or self.key is GROWTH else get(self.holder, self.key)


def is_same_key(a: Any, b: Any) -> bool:
    """True for keys that are one in a dict. Tensors are not compared by their elements: they have different hashes."""
    return a is b or (hash(a) == hash(b) and bool(a == b))


@dataclass(eq=False)
class Change:
    """A change of ``holder[key]`` by a run, from ``old`` to ``new``. ``owner``: the surroundings to which the holder belongs,
    None for an argument's; ``announces``: whether its changes are announced; ``is_read``: whether the function depends on
    it.
    """

    holder: Any
    key: Any
    old: Any
    new: Any
    owner: Environment | None = None
    announces: bool = False
    is_read: bool = True
    is_of_container: bool = True  # not of an object's or a module's dictionary

    @property
    def is_varying(self) -> bool:
        """True if more such changes are expected: not if one setting replaces another."""
        return self.is_read and not (_is_setting(self.old) and _is_setting(self.new))

    @property
    def is_read_anew(self) -> bool:
        """True if every replay reads it anyway, like a learning rate."""
        both_floats = self.old.__class__ is float and self.new.__class__ is float  # also a dynamic one
        return both_floats and self.key in getattr(type(self.holder), "runtime_keys", ())

    @property
    def is_first(self) -> bool:
        """True for the initial state of modules and optimizers."""
        return isinstance(self.holder, (AnnouncingDict, AnnouncingList)) and (self.old is MISSING or self.old is None)

    @property
    def grows(self) -> bool:
        """True if something may have been added to a container with recordable accesses."""
        added = self.key is CONTENTS or (self.old is MISSING and self.is_of_container)
        return added and can_be_tracked(self.holder) and sets_classes

    @property
    def is_numeric(self) -> bool:
        return all(isinstance(x, (int, float, np.number)) and not isinstance(x, bool) for x in (self.old, self.new))

    def name(self) -> str:
        return f"item {self.key!r} of a {type(self.holder).__name__}"


@dataclass(eq=False)
class Place:
    """The target of a replay's write: a slot, a holder that the function reaches otherwise, or object ``index`` of the call."""

    key: Any
    slot: Slot | None = None
    holder: Any = None
    index: int = -1
    announces: bool = False

    @property
    def is_gone(self) -> bool:
        return self.slot is not None and self.slot.is_gone

    def find(self, call: Call) -> Any:
        if self.slot is not None:
            return self.slot.holder
        return self.holder if self.index < 0 else call.objects[self.index]

    def put(self, holder: Any, value: Any) -> None:
        put(holder, self.key, value)
        if self.announces:
            structure_changed()


def place(change: Change, call: Call) -> Place:
    """The place where replays repeat a recorded change."""
    if change.owner is None:
        return Place(change.key, index=next(i for i, x in enumerate(call.objects) if x is change.holder))
    slot = change.owner.slot(change.holder, change.key)
    # Environments know only about replays' writes to slots with a name.
    announces = change.announces and (slot is None or type(change.key) is not str)
    return Place(change.key, slot, None if slot else change.holder, announces=announces)


def learn(before: Before, call: Call) -> bool:
    """Makes slots of places whose changes show that they will change again. Returns True if the run must be recorded again."""
    again = False
    for accesses, owner in before.tracked:
        unknown = [key for key in accesses.read if owner is not None and owner.slot(accesses.holder, key) is None]
        if accesses.is_read or (accesses.read and owner is None):
            again = True
            if owner is None:
                call.reads(accesses.holder)
            else:
                owner.replace(owner.slot(accesses.holder, GROWTH), Slot(accesses.holder, CONTENTS))
        elif unknown and owner is not None:
            again = True
            for key in unknown:
                value = get(accesses.holder, key)
                owner.learn(Slot(accesses.holder, key, type(value) in (int, float)))
    for c in before.changes():
        if c.key is GROWTH:
            continue
        if c.grows and c.owner is None:
            again |= call.grows(c.holder)
            continue
        if c.owner is None or c.owner.slot(c.holder, c.key) is not None or c.is_read_anew:
            continue
        if not c.is_varying:
            again |= isinstance(c.holder, (dict, *_SEQUENCES)) and c.is_of_container and c.owner.identify(c.holder)
            continue
        again = True
        if c.is_first and (id(c.holder), c.key) not in c.owner.first:
            c.owner.first.add((id(c.holder), c.key))
        elif c.grows and c.owner.can_track(c.holder):
            if c.owner.slot(c.holder, GROWTH) is None:
                c.owner.learn(Slot(c.holder, GROWTH))
        else:
            c.owner.learn(Slot(c.holder, c.key, c.is_numeric))
    return again


def changing_slots(call: Call) -> str:
    """The values, besides arguments, that may differ in each call."""
    names = [name for environment in call.environments for slot in environment.slots if (name := _name(slot, environment))]
    return f"the function depends on {', '.join(names[:3])}, which every call changes" if names else ""


def _name(slot: Slot, environment: Environment) -> str:
    """A user's name for a slot whose value is part of a call's key."""
    if slot.key is GROWTH or slot.is_number:
        return ""
    what = "the contents of " if slot.key is CONTENTS else ""
    if isinstance(slot.holder, types.CellType):
        return "a variable of an enclosing function"
    if isinstance(slot.holder, contextvars.ContextVar):
        return f"the context variable {slot.holder.name}"
    return f"{what}{environment.called(slot.holder, '' if slot.key is CONTENTS else slot.key)}"


def _is_setting(x: Any) -> bool:
    """True if a value appears to be one of few."""
    if isinstance(x, tuple):
        return all(map(_is_setting, x))
    if x is MISSING or isinstance(x, (bool, str, bytes, type(None), type)):
        return True
    varying = (Tensor, int, float, complex, np.generic, list, dict, set, collections.deque)
    return not isinstance(x, varying) and not is_described(type(x))


@dataclass
class _Held:
    """The former contents of a holder. ``partly``: only these keys count; ``unread``: those that the function only assigns."""

    holder: Any
    owner: Environment | None
    items: list[tuple[Any, Any]]
    announces: bool = False
    partly: bool = False
    unread: set[Any] = field(default_factory=set)
    is_container: bool = True

    def change(self, key: Any, old: Any, new: Any) -> Change:
        container = self.is_container and not self.partly
        return Change(self.holder, key, old, new, self.owner, self.announces, key not in self.unread, container)


@dataclass
class Before:
    """The contents of everything that a run can change, before it ran."""

    held: dict[int, _Held] = field(default_factory=dict)
    tracked: list[tuple[Accesses, Environment | None]] = field(default_factory=list)
    _arrays: list[tuple[np.ndarray, bytes]] = field(default_factory=list)
    _put: list[tuple[Any, Any, Any, Any]] = field(default_factory=list)
    _assigned: set[tuple[int, Any]] = field(default_factory=set)
    _changes: list[Change] = field(default_factory=list)

    def look_at(self, walk: Walk, owner: Environment) -> None:
        """Stores the contents of a walk's holders."""
        growing = {id(slot.holder) for slot in owner.slots if slot.key is GROWTH}
        for slot in owner.slots:
            if slot.key is GROWTH:
                self._track(slot.holder, owner)
        for holder, announces, container in walk.holders:
            if id(holder) not in growing:
                self._note(holder, owner, announces, container)
        names: list[tuple[Any, str, Any]] = [*walk.names, *walk.unread_names]
        cells = [*walk.cells, *walk.unread_cells]
        read = {(id(space), name) for space, name, _ in names} | {(id(s.holder), s.key) for s in owner.slots}
        for space, name in walk.stored:
            if (id(space), name) not in read:
                self._note_key(space, name, owner, read=False)
        for cell, _ in cells:
            self._note(cell, owner)
        for place, name, _ in names:
            if isinstance(place, dict):
                self._note_key(place, name, owner)
        for slot in owner.slots:
            if slot.key is GROWTH:
                continue
            if slot.key is CONTENTS or not isinstance(slot.holder, dict) or id(slot.holder) in self.held:
                self._note(slot.holder, owner)
            else:
                self._note_key(slot.holder, slot.key, owner)

        self._arrays += [(t._data, t._data.tobytes()) for t in walk.arrays.values() if t._data.nbytes <= MANY]

    def refusal(self) -> str:
        """Why the run's changes cannot be replayed; empty if they can."""
        if all(array.tobytes() == was for array, was in self._arrays):
            return ""
        return "NumPy changes an array that it reaches: change a tensor instead, made outside by tracer.from_numpy"

    def look_at_arguments(self, call: Call) -> None:
        growing = {id(x) for x in call.growing}
        for x in call.growing:
            self._track(x, None, next(i for i, known in enumerate(call.objects) if known is x))
        for x in call.objects:
            if id(x) in growing:
                continue
            if isinstance(x, (dict, *_SEQUENCES)) or slots_of(type(x)):
                self._note(x, None, container=id(x) not in call.spaces)

    def look_at_growing(self, call: Call) -> None:
        """Also stores the contents of the containers that are only added to."""
        for x in call.growing:
            self._note(x, None)
        for owner in call.environments:
            for slot in owner.slots:
                if slot.key is GROWTH:
                    self._note(slot.holder, owner)

    def _track(self, holder: Any, owner: Environment | None, index: int = -1) -> None:
        if all(accesses.holder is not holder for accesses, _ in self.tracked):
            self.tracked.append((Accesses(holder, index), owner))

    def _note(self, holder: Any, owner: Environment | None, announces: bool = False, container: bool = True) -> None:
        known = self.held.get(id(holder))
        if known is None or known.partly:
            self.held[id(holder)] = _Held(holder, owner, fields(holder), announces, is_container=container)

    def _note_key(self, holder: Any, key: Any, owner: Environment, read: bool = True) -> None:
        known = self.held.setdefault(id(holder), _Held(holder, owner, [], partly=True))
        if known.partly and all(k != key for k, _ in known.items):
            known.items.append((key, get(holder, key)))
            if not read:
                known.unread.add(key)

    # Dynamic numbers.

    def put(self, holder: Any, key: Any, value: Any) -> None:
        """Replaces a place's value while the function runs, for example by a dynamic number."""
        self._put.append((holder, key, value, get(holder, key)))
        put(holder, key, value)

    def put_rates(self, recorder: Recorder) -> None:
        """Dynamic numbers for values that optimizers read in every step, however they are read."""
        for known in list(self.held.values()):
            for key in getattr(type(known.holder), "runtime_keys", ()) if isinstance(known.holder, dict) else ():
                value = dict.get(known.holder, key)
                if type(value) is float:
                    self.put(known.holder, key, recorder.rate(known.holder, key, value))

    def put_substitutes(self, of_numbers: bool) -> None:
        """Functions that accept dynamic numbers and arrays, in place of references to the originals; unless ``of_numbers`` only
        those of arrays.
        """
        for known in list(self.held.values()):
            for key, value in known.items:
                stand_in = substitute_for(value)
                if (
                    stand_in is not None
                    and (of_numbers or is_of_arrays(stand_in))
                    and not isinstance(known.holder, type)
                    and get(known.holder, key) is value
                ):
                    self.put(known.holder, key, stand_in)

    def track(self) -> None:
        """Starts recording the accesses to growing containers."""
        for accesses, _ in self.tracked:
            accesses.begin()

    def cover(self) -> None:
        """Hides the values of places that the function only assigns, so that an assignment of the same value is detected."""
        for known in self.held.values():
            for key, value in known.items:
                if key in known.unread and value is not MISSING:
                    self.put(known.holder, key, object())

    def take_out(self) -> None:
        """Restores values that the run has not changed, and stops recording accesses."""
        for accesses, _ in self.tracked:
            accesses.end()
        replaced = self._replaced()
        for holder, key, value, old in reversed(self._put):
            if id(holder) not in replaced and get(holder, key) is value:
                put(holder, key, old)
            else:
                self._assigned.add((id(holder), key))
        self._put.clear()

    def _replaced(self) -> set[int]:
        """The ids of containers whose contents are a change as a whole: what remains in its place is part of it."""
        placed: dict[int, dict[Any, Any]] = {}
        for holder, key, value, _ in self._put:
            placed.setdefault(id(holder), {})[key] = value
        return {at for at, values in placed.items() if at in self.held and _is_replaced(self.held[at], values)}

    # Changes.

    def changes(self) -> list[Change]:
        """The differences from the stored contents."""
        if not self._changes:
            self._changes = [c for accesses, owner in self.tracked for c in _growth(accesses, owner)]
            self._changes += [c for known in self.held.values() for c in _differences(known, self._assigned)]
        return self._changes

    def undo(self) -> None:
        for c in reversed(self._changes):
            if c.key is not GROWTH:
                put(c.holder, c.key, c.old)

    def redo(self) -> None:
        for c in self._changes:
            if c.key is not GROWTH:
                put(c.holder, c.key, c.new)
        if any(c.announces for c in self._changes):
            structure_changed()


def _growth(accesses: Accesses, owner: Environment | None) -> Iterable[Change]:
    """Additions to a container, except for keys that are slots."""
    added = accesses.added
    if owner is not None and isinstance(accesses.holder, dict):
        added[:] = [pair for pair in added if owner.slot(accesses.holder, pair[0]) is None]
    if added:
        yield Change(accesses.holder, GROWTH, None, added, owner)


def _is_replaced(known: _Held, placed: Mapping[Any, Any]) -> bool:
    """True if the contents changed in number or order, apart from the values that were ``placed`` before the run."""
    holder, before = known.holder, known.items
    if isinstance(holder, list):
        return list.__len__(holder) != len(before)
    if isinstance(holder, collections.deque):
        was = [placed.get(i, x) for i, x in enumerate(before[0][1])]
        return len(was) != len(holder) or any(a is not b for a, b in zip(contained(holder), was, strict=True))
    return isinstance(holder, dict) and not known.partly and _is_reordered(before, fields(holder))


def _is_reordered(before: Sequence[tuple[Any, Any]], now: Sequence[tuple[Any, Any]]) -> bool:
    """True if the keys that remain have another order, or are not the first."""
    has = {id(key) for key, _ in now}
    kept = [id(key) for key, _ in before if id(key) in has]
    return [id(key) for key, _ in now][: len(kept)] != kept


def _differences(known: _Held, assigned: set[tuple[int, Any]]) -> Iterable[Change]:
    holder, before = known.holder, known.items
    if known.partly:
        now = [(key, get(holder, key)) for key, _ in before]
    else:
        now = fields(holder)
    in_order = isinstance(holder, list) or all(a is b for (a, _), (b, _) in zip(now, before, strict=False))
    if isinstance(holder, list) and len(now) != len(before):
        yield known.change(CONTENTS, [x for _, x in before], [x for _, x in now])
        return
    if len(now) == len(before) and in_order:
        for (key, old), (_, new) in zip(before, now, strict=True):
            if key is CONTENTS:
                differs = len(new) != len(old) or any(x is not y for x, y in zip(new, old, strict=True))
                differs |= any(at == id(holder) for at, _ in assigned)
            else:
                differs = new is not old or (id(holder), key) in assigned
            if differs:
                yield known.change(key, old, new)
        return
    if _is_reordered(before, now):
        yield known.change(CONTENTS, before, now)
        return
    was = {id(key) for key, _ in before}
    values = {id(key): value for key, value in now}
    for key, old in before:
        new = values.get(id(key), MISSING)
        if new is not old or (id(holder), key) in assigned:
            yield known.change(key, old, new)
    for key, new in now:
        if id(key) not in was:
            yield known.change(key, MISSING, new)
