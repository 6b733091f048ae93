"""A trace's dependencies besides the call's arguments (``calls``): everything that the function can reach.

``Environment`` describes what is reachable through closure cells and globals. Modules and optimizers announce their changes
(``context.Structure``), so they are compared only after one.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import itertools
import weakref
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..core.context import Structure, structure_changed
from ..core.tensor import Tensor
from .alike import Apart
from .announce import Announcing, AnnouncingDict
from .arrays import Elements
from .changing import Changing
from .depth import with_room
from .effects import Slot, get, is_same_key
from .growing import OF_SETS, can_be_tracked
from .kinds import (
    CELL,
    CONTAINERS,
    GROWTH,
    MISSING,
    Untraceable,
    alive,
    contained,
    contents,
    is_plain,
    items_of,
    weakened,
)
from .scalars import static
from .unchanged import ANY, ANY_FLOAT, Announced, Unchanged, facts_of, unknown
from .walk import Walk
from .watch import Ran, Watch

_MANY_AT_ONCE = 16  # if more numbers and tensors change at once, everything was replaced
_KEPT = 64  # stored descriptions, and objects among the arguments
_STATES = 4  # states that are recognized without a walk: training and evaluation, for example


class _State(NamedTuple):
    """What a walk found, and whether that is still so."""

    walk: Walk
    live: list[tuple[Any, list[Any]]]  # plain containers and objects, which do not announce changes
    unchanged: Unchanged


class Environment:
    """Everything that an object can reach. For a function, what the code that has ``ran`` needs; for an argument, whose
    environment is that ``of`` an object, what such code finds in it.
    """

    _numbers = itertools.count()
    _count = itertools.count()

    def __init__(self, root: Any, ran: Ran | None = None):
        self.root = root
        self.ran = Ran() if ran is None else ran
        self._alone = ran is not None  # of an argument
        self.number = next(Environment._numbers)
        self._is_fresh = False  # whether the last walk is newer than the last call of ``look_again``
        self._walk = Walk()
        self._live: list[tuple[Any, list[Any]]] = []
        self._states: list[_State] = []  # of the last walks, that of ``_walk`` first
        self.same: Callable[[], int] = unknown  # returns the key if nothing has changed, else -1, fast
        self._keys: dict[Any, tuple[int, list[Any]]] = {}
        self.latest = -1
        self._elements: dict[int, Elements] = {}  # of the reachable arrays, by id
        self.looked_at: dict[int, Elements] = {}  # array arguments with which NumPy computes, by the tensor's number
        self.slots: list[Slot] = []
        self.first: set[tuple[int, Any]] = set()  # places that a run has filled for the first time
        self._identified: dict[int, Any] = {}  # containers that replays write to, which therefore are no others
        self.changing = Changing()
        self.apart = Apart()
        self.reads_positions = False  # whether indices that are tensors are read as numbers
        self.refusal = ""  # why no call can be described
        self.growing: set[int] = set()  # the numbers of a call's objects that are only added to
        self.read: set[int] = set()  # and of the others
        self._of: collections.OrderedDict[int, Environment] = collections.OrderedDict()

    @property
    def tensors(self) -> dict[int, Tensor]:
        """The reachable tensors, by id."""
        return self._walk.tensors

    @property
    def arrays(self) -> dict[int, Tensor]:
        """Tensors on the reachable NumPy arrays, by the array's id."""
        return self._walk.arrays

    @property
    def captured(self) -> Mapping[int, Tensor]:
        """These, and the tensors that code reaches which has not run."""
        walk = self._walk
        return {**walk.others, **walk.tensors} if walk.others else walk.tensors

    @property
    def generators(self) -> list[Any]:
        """The reachable random generators."""
        return self._walk.generators

    @property
    def reached(self) -> Mapping[int, Any]:
        """The ids of all reachable objects."""
        return self._walk.seen

    def find(self, number: int) -> Any:
        """The object with this number in the walk; None if it no longer exists, or was not kept."""
        x = self._walk.placed.get(number)
        return x() if type(x) is weakref.ref else x

    @property
    def subject(self) -> Any:
        """The object that the environment belongs to."""
        return self.root() if isinstance(self.root, weakref.ref) else self.root

    @property
    def numbers(self) -> set[int]:
        """The numbers that ``key`` has returned."""
        return {number for number, _ in self._keys.values()}

    def has_slots_of(self, other: Environment) -> bool:
        """True if another environment of the same object has the same slots."""
        return [(id(s.holder), s.key) for s in self.slots] == [(id(s.holder), s.key) for s in other.slots]

    @property
    def reaches_containers(self) -> bool:
        """True if a list or a dictionary that is an argument may also be reachable."""
        return self._walk.has_containers

    def can_track(self, holder: Any) -> bool:
        """True if all of the code's accesses to a container would be recorded."""
        return _can_track(self._walk, holder)

    @property
    def names(self) -> list[str]:
        """The names that are looked up: variables, and attributes of modules and classes."""
        code = getattr(self.root, "__code__", None)
        return [*(code.co_freevars if code is not None else ()), *(name for _, name, _ in self._walk.names)]

    def variables(self) -> list[tuple[str, Any]]:
        """The variables, and attributes of modules and classes, that are looked up: names and values."""
        return [(name, value) for _, name, value in self._walk.names if value is not MISSING]

    @property
    def values(self) -> dict[str, Any]:
        """The last known values of these names, and of attributes with known values."""
        walk = self._walk
        items = [row for _, before in self._live for row in before if type(row) is tuple and len(row) == 2]
        named = [(name, value) for _, name, value in (*walk.names, *walk.attributes, *walk.numbers) if value is not MISSING]
        return {str(name): value for name, value in (*items, *named)}

    @property
    def has_caches(self) -> bool:
        """True if cached functions are reachable: the ints that they are called with are constants."""
        return bool(self._walk.caches)

    @property
    def asks_types(self) -> bool:
        """True if some code asks for the type of an object."""
        return self._walk.asks_types

    def told_apart(self, structure: tuple) -> Collection[int] | None:
        """The numbers of the tensors of calls with a structure that are told apart from others; None for all."""
        return None if self.ran.tells_apart else self.apart.of(structure)

    def slot(self, holder: Any, key: Any) -> Slot | None:
        """The slot of a place, if it is one."""
        return next((s for s in self.slots if s.holder is holder and is_same_key(s.key, key)), None)

    def learn(self, slot: Slot) -> None:
        """Makes this place a slot from now on."""
        self._add(slot)
        structure_changed()
        self._forget()

    def identify(self, holder: Any) -> bool:
        """From now on a container is part of the description as the object that it is. Says whether that is new."""
        if id(holder) in self._identified:
            return False
        self._identified[id(holder)] = holder
        structure_changed()
        self._forget()
        return True

    def _forget(self) -> None:
        """Invalidates all walks."""
        self._states, self.same, self._is_fresh = [], unknown, False

    def _add(self, slot: Slot) -> None:
        self.slots.append(slot)
        if isinstance(slot.holder, dict) and type(slot.key) is str:
            Structure.written.add(slot)

    def called(self, holder: Any, key: Any) -> str:
        """A name for an item of a holder, or, without a key, for the holder itself."""
        walk = self._walk
        whole = type(key) is str and not key
        items = [(f"{name}", value) for _, name, value in walk.names if value is not MISSING]
        rows = [row for x, before in self._live for row in before if type(row) is tuple and len(row) == 2]
        keys = [str(key) if isinstance(key, (str, int)) else f"the entry of a {type(key).__name__}" for key, _ in rows]
        items += zip(keys, (value for _, value in rows), strict=True)
        items += [(name, value) for space, name, value in walk.numbers]
        code, closure = getattr(self.subject, "__code__", None), getattr(self.subject, "__closure__", None)
        if code is not None and closure:
            items += [(name, contents(cell)) for name, cell in zip(code.co_freevars, closure, strict=True)]
        for name, value in items:
            if value is holder:
                return f"{name}[{key!r}]" if not whole else str(name)
            if is_plain(value) and vars(value) is holder and not whole:
                return f"{name}.{key}"
        return f"{key!r} of a {type(holder).__name__}" if not whole else f"a {type(holder).__name__}"

    def replace(self, old: Slot | None, new: Slot) -> None:
        """Replaces a slot."""
        self.slots = [slot for slot in self.slots if slot is not old]
        self.learn(new)

    def walk(self) -> Walk:
        """A new walk from the root."""
        slots: dict[int, set[Any]] = {}
        for slot in self.slots:
            slots.setdefault(id(slot.holder), set()).add(slot.key)
        walk = Walk(None, self._walk.arrays, self._elements, slots, self.ran)
        walk.written_to = self._identified.keys()
        return walk

    @with_room
    def described(self) -> tuple[Walk, tuple]:
        """A walk from the root, and its description."""
        walk = self.walk()
        return walk, walk.describe(self.subject, self._alone)

    def look_again(self) -> None:
        """Invalidates ``latest_walk``."""
        self._is_fresh = False
        for child in list(self._of.values()):
            child._is_fresh = False

    def latest_walk(self) -> Walk:
        """A current walk, including code that has not run, which guards do not compare."""
        return self._walk if self._is_fresh else self.described()[0]

    def grown(self, watch: Watch) -> Environment | None:
        """The environment with the additional code that has run; None if there is none."""
        ran = self.ran.grown(watch.codes, self.subject)
        return None if ran is None else self._copy(ran)

    def grow(self, watch: Watch) -> None:
        """Becomes the result of ``grown``."""
        ran = self.ran.grown(watch.codes, self.subject)
        if ran is not None:
            self.ran = ran
            self._forget()
            self._of.clear()

    def _copy(self, ran: Ran) -> Environment:
        copy = Environment(self.root, ran)
        copy._alone = self._alone
        for slot in self.slots:
            copy._add(dataclasses.replace(slot))
        copy.first, copy.changing, copy.growing, copy.read = self.first, self.changing, self.growing, self.read
        copy._identified = dict(self._identified)
        copy.apart = self.apart
        copy._elements, copy.looked_at, copy._walk.arrays = self._elements, self.looked_at, self._walk.arrays
        for at, child in self._of.items():
            x = child.root()
            if x is not None:
                copy._of[at] = child._copy(ran)
                copy._of[at].root = copy._reference(x)
        return copy

    def rest(self) -> None:
        """Releases the findings until the next query."""
        arrays = self._walk.arrays
        self._forget()
        self._walk, self._live = Walk(), []
        self._walk.arrays = arrays
        for child in self._of.values():
            child.rest()

    def _reference(self, x: Any) -> weakref.ref:
        return weakref.ref(x, functools.partial(_drop, self._of, id(x)))

    def of(self, x: Any) -> Environment:
        """The environment of an argument that announces its changes."""
        found = self._of.get(id(x))
        if found is None or found.root() is not x:
            if len(self._of) >= _KEPT:
                self._of.popitem(last=False)
            found = self._of[id(x)] = Environment(self._reference(x), self.ran)
        self._of.move_to_end(id(x))
        return found

    def refuse(self, why: str) -> None:
        """No call can be described from here on."""
        self.refusal, self.same = why, unknown

    def key(self) -> int:
        """A number that is the same while nothing reachable changes. Raises Untraceable."""
        key = self.same()
        if key < 0:
            if self.refusal:
                raise Untraceable(self.refusal)
            if not self._is_known():
                self._learn_from_changes()
                self._look()
            key = self.latest
        return key

    def _is_known(self) -> bool:
        """True if everything is as one of the last walks found it, although ``same`` has not confirmed it."""
        for state in self._states:
            if state.unchanged.again():
                if state is self._states[0]:
                    self.same = state.unchanged.same
                else:
                    self._is_fresh = False
                    self._enter(state)
                return True
        return False

    def _look(self) -> None:
        """Walks, and finds the key of what it describes. Raises Untraceable."""
        epoch = Structure.epoch
        try:
            walk, tokens = self.described()
            if not all(slot.key is not GROWTH or _can_track(walk, slot.holder) for slot in self.slots):
                self.slots = [slot for slot in self.slots if slot.key is not GROWTH or _can_track(walk, slot.holder)]
                walk, tokens = self.described()
        except Untraceable:
            self.rest()  # the function runs: it must not find what only the last walk keeps alive
            raise
        description = tokens, *Structure.settings.values()
        known = self._keys.get(description)
        if known is None or not all(map(alive, known[1])):
            if len(self._keys) >= _KEPT:
                del self._keys[next(iter(self._keys))]
            known = self._keys[description] = (next(self._count), weakened(walk.kept))
        walk.kept = []  # the function keeps what it reaches
        for slot in self.slots:
            slot.is_gone = id(slot.holder) not in walk.met or not slot.is_place
        if any(slot.is_gone for slot in self.slots):
            self._forget()  # what the other walks found does not include what these slots hold
            self.slots = [slot for slot in self.slots if not slot.is_gone]
        live = [(x, _masked(x, walk)) for x in walk.live]
        announcing = [x() for x in walk.announcing]
        announced = Announced([(x, _masked(x, walk)) for x in announcing if x is not None], walk.tensors.values())
        state = _State(walk, live, Unchanged([announced, *facts_of(walk, live)], known[0]))
        if epoch == Structure.epoch and None not in announcing:
            self._enter(state)
        else:  # another thread has changed something
            self._forget()
            self._walk, self._live, self.latest = walk, live, known[0]
        self._is_fresh = True

    def _enter(self, state: _State) -> None:
        """The state is now this one. Earlier ones are kept, unless they keep alive what this one does not reach."""
        walk = state.walk
        states = [state, *(s for s in self._states if s is not state and _reaches(walk, s.walk))][:_STATES]
        key, same = state.unchanged.key, state.unchanged.same
        # No interrupt comes between these.
        self._states, self._walk, self._live, self.latest, self.same = states, walk, state.live, key, same

    def _learn_from_changes(self) -> None:
        """Makes slots of names whose numbers or tensors differ from the last comparison, and of containers that have grown
        or shrunk: a run may not read them.
        """
        walk = self._walk
        found: list[tuple[Any, Any, Any, Any]] = []
        resized: list[Any] = []
        for cell, was in walk.cells:
            found.append((cell, CELL, was, contents(cell)))
        for space, name, was in (*walk.names, *walk.numbers):
            if isinstance(space, dict):
                found.append((space, name, was, dict.get(space, name, MISSING)))
        for x, before in self._live:
            holder = vars(x) if is_plain(x) else x
            if not isinstance(holder, CONTAINERS):
                continue
            if len(contained(holder)) != len(before):
                if can_be_tracked(x) and self.can_track(x):
                    resized.append(x)
            elif isinstance(holder, (dict, list)):
                rows: Any = before if isinstance(holder, dict) else enumerate(before)
                found += [(holder, key, was, get(holder, key)) for key, was in rows if _may_vary(was)]
        changed = [row for row in found if row[2] is not row[3] and _may_vary(row[2]) and _may_vary(row[3])]
        if len(changed) + len(resized) <= _MANY_AT_ONCE:
            for holder, key, was, now in changed:
                numeric = not isinstance(was, Tensor) and not isinstance(now, Tensor)
                if (not numeric or static(was) != static(now)) and self.slot(holder, key) is None:
                    self.learn(Slot(holder, key, numeric))
            for x in resized:
                if all(slot.holder is not x for slot in self.slots):
                    self.learn(Slot(x, GROWTH))


def _can_track(walk: Walk, holder: Any) -> bool:
    if walk.asks_types or id(holder) in walk.bound:
        return False
    return type(holder) is not set or walk.ran is None or not walk.ran.names(OF_SETS)


def _reaches(walk: Walk, other: Walk) -> bool:
    """True if a walk has reached all objects of another."""
    return other.seen.keys() <= walk.seen.keys() and other.tensors.keys() <= walk.tensors.keys()


def _may_vary(x: Any) -> bool:
    """True for a value that becomes an argument if it differs in each call."""
    return isinstance(x, Tensor) or type(x) in (int, float) or isinstance(x, np.number)


def _masked(x: Any, walk: Walk) -> list[Any]:
    """The contents of a container or object, with ``ANY`` for values that are compared elsewhere."""
    items = list(items_of(x))
    space = vars(x) if not isinstance(x, CONTAINERS) and hasattr(x, "__dict__") else x
    apart = {*walk.slots.get(id(space), ()), *walk.slots.get(id(x), ())}
    if isinstance(x, (Announcing, AnnouncingDict)):
        apart.update(walk.written.get(id(space), ()))
    if isinstance(x, CONTAINERS) and not isinstance(x, dict):
        return [ANY if i in apart else item for i, item in enumerate(items)] if apart else items
    hidden = getattr(type(x), "runtime_keys", ()) if isinstance(x, dict) else ()
    if hidden:
        items = [(k, ANY_FLOAT if k in hidden and type(value) is float else value) for k, value in items]
    return [(k, ANY if k in apart else value) for k, value in items] if apart else items


def _drop(environments: dict[int, Environment], at: int, root: weakref.ref) -> None:
    """Removes the environment of an object that no longer exists."""
    found = environments.get(at)
    if found is not None and found.root is root:
        del environments[at]
