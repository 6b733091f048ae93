"""What a trace depends on: the call's arguments, and everything else the function can reach.

``Call`` describes the arguments: their structure, the dtype, shape and requires_grad of tensors, which of them are the
same tensor, and the values of everything static. ``Environment`` describes what is reachable through closure cells
and globals. Modules and optimizers announce their changes (``context.Structure``), so they are looked at again only
after one.
"""

from __future__ import annotations

import collections
import functools
import itertools
import weakref
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..context import Structure, structure_changed
from ..runtime.objects import Word
from ..tensor import Tensor, wrap
from .announce import Announcing
from .arrays import Changeable, Elements, is_input
from .changing import Changing
from .effects import Slot, get
from .overlap import overlapping
from .scalars import static
from .unchanged import ANY, unknown, words, written
from .walk import (
    CELL,
    CONTENTS,
    GROWTH,
    MISSING,
    OF_A_TENSOR,
    STATIC,
    Untraceable,
    Walk,
    alive,
    contents,
    is_described,
    is_plain,
    is_trusted,
    items_of,
    slots_of,
    weakened,
)

_OFTEN = 3  # times that nothing has changed, before the question is written out
_MANY_AT_ONCE = 16  # where more numbers and tensors change at once, all was replaced
_KEPT = 64  # descriptions that are remembered, and objects among the arguments


FLATTENED = (list, dict, collections.deque)  # and their subclasses


def storage(data: np.ndarray) -> Any:
    """The object whose memory an array shows."""
    while data.base is not None:
        if not isinstance(data.base, np.ndarray):
            return data.base
        data = data.base
    return data


class Call:
    """A call's arguments and the values of slots, flattened: ``key`` says all that a trace of it takes for granted.

    tensors   in order
    floats    in order; they are not part of the key, unless the function asks for their type
    ints      in order; those ``promoted``, by number, are not part of the key
    objects   dictionaries, lists and objects, in order, each once
    reached   tensors that belong to objects among the arguments, by id
    held      ids of what belongs to objects among the arguments
    kept      what the key refers to by identity
    values    of the trace's float program, once one has matched
    arrays    the tensors on NumPy arrays, by the array's id
    growing   objects whose contents are not part of the key: they are only added to
    spaces    ids of the dictionaries of objects
    """

    __slots__ = (
        "_environment",
        "_numbers",
        "arrays",
        "environments",
        "floats",
        "growing",
        "held",
        "ints",
        "kept",
        "key",
        "objects",
        "promoted",
        "reached",
        "spaces",
        "storages",
        "structure",
        "tensors",
        "values",
    )

    def __init__(self, args: tuple, kwargs: dict, environment: Environment):
        self.tensors: list[Tensor] = []
        self.floats: list[float] = []
        self.ints: list[int] = []
        self.objects: list[Any] = []
        self.environments = [environment]
        self.reached: dict[int, Tensor] = {}
        self.held: set[int] = set()
        self.arrays: dict[int, Tensor] = {}
        self.growing: list[Any] = []
        self.spaces: set[int] = set()
        self.kept: list[Any] = []
        self.values: list[Any] = []
        self._environment = environment
        self._numbers: dict[int, int] = {}  # of objects, by id
        self.storages: list[int] = []
        self.promoted: frozenset[int] = frozenset()
        tokens: list[Any] = []
        for a in args:
            self._add(a, tokens)
        if kwargs:
            for name, a in kwargs.items():
                tokens.append(name)
                self._add(a, tokens)
        if environment.slots:
            self._add_slots(environment, tokens)
        if len(set(self.storages)) < len(self.storages):
            ids = [id(t) for t in self.tensors]
            first: dict[int, int] = {}
            for i, t in enumerate(self.tensors):
                first.setdefault(id(t), i)
            different = [*first.values()]
            pairs = overlapping([self.tensors[i]._data for i in different])
            tokens += [tuple(map(first.__getitem__, ids)), ("overlap", *((different[i], different[j]) for i, j in pairs))]
        captured = environment.tensors
        if captured:
            # The recorder could not tell a tensor that the function reaches by itself from the argument.
            for t in self.tensors:
                if id(t) in captured or (t._view is not None and id(t._root()) in captured):
                    tokens += (id(t), id(t._root()))
        self.structure = tuple(tokens)
        self.key: tuple = self.structure
        if self.ints:
            self.settle()

    def settle(self) -> None:
        """Makes the key of the structure, and of the ints that count as constants."""
        self.promoted = self._environment.changing.positions(self.structure, self.ints)
        constants = tuple([None if i in self.promoted else x for i, x in enumerate(self.ints)])
        self.key = self.structure, constants

    def _add(self, a: Any, tokens: list[Any]) -> None:
        if isinstance(a, Tensor):
            data = a._data
            leaf = a._grad_fn is None
            tokens.append((type(a), data.dtype.char, data.shape, a._requires_grad, leaf, data.flags.c_contiguous))
            self.tensors.append(a)
            self.storages.append(id(data) if data.base is None else id(storage(data)))
            if a._view is not None:
                tokens.append(_followed(a))
            if len(vars(a)) > 2 and not OF_A_TENSOR.issuperset(vars(a)):
                self._describe(a, tokens)
        elif type(a) is float and not self._environment.asks_types:
            tokens.append(float)
            self.floats.append(a)
        elif type(a) is int and not self._environment.asks_types:
            tokens.append(int)
            self.ints.append(a)
        elif isinstance(a, STATIC) and not isinstance(a, np.generic):
            tokens.append(static(a))
        elif type(a) is tuple or (isinstance(a, tuple) and hasattr(a, "_fields")):
            tokens.append((type(a), len(a)))
            for item in a:
                self._add(item, tokens)
        elif type(a) is list:
            if self._is_new(a, tokens) and not self._grows(a, tokens):
                tokens.append((list, len(a)))
                for item in a:
                    self._add(item, tokens)
        elif type(a) is dict:
            if self._is_new(a, tokens) and not self._grows(a, tokens):
                tokens.append((dict, tuple(map(static, a))))
                for item in a.values():
                    self._add(item, tokens)
        else:
            self._add_object(a, tokens)

    def _is_new(self, x: Any, tokens: list[Any]) -> bool:
        """Whether an object is met for the first time, and is not one that the function reaches by itself."""
        number = self._numbers.get(id(x))
        if number is not None:
            tokens.append(("again", number))
            return False
        self._numbers[id(x)] = len(self.objects)
        self.objects.append(x)
        known = self._environment.reached.get(id(x))
        if known is not None:
            tokens.append(("captured", known))
        return known is None

    def _grows(self, x: Any, tokens: list[Any]) -> bool:
        """Whether a container is only added to: then what is in it is of no consequence."""
        if len(self.objects) - 1 not in self._environment.growing:
            return False
        tokens.append((type(x), "grows"))
        self.growing.append(x)
        return True

    def grows(self, x: Any) -> bool:
        """From now on an object of such a call may grow. Says whether that is new."""
        environment, number = self._environment, self._numbers[id(x)]
        if not environment.can_hear(x) or number in environment.read or number in environment.growing:
            return False
        environment.growing.add(number)
        return True

    def reads(self, x: Any) -> None:
        """What is in an object of such a call is of consequence."""
        number = self._numbers[id(x)]
        self._environment.growing.discard(number)
        self._environment.read.add(number)

    def _add_object(self, a: Any, tokens: list[Any]) -> None:
        """An object of any class: of a plain one, the class and what it holds."""
        cls = type(a)
        if isinstance(a, Announcing):
            self._add_environment(a, tokens)
        elif is_input(a):
            self._add_array(a, tokens)
        elif isinstance(a, FLATTENED):
            if self._is_new(a, tokens) and not self._grows(a, tokens):
                self._add_class(cls, tokens)
                self._add_items(a, tokens)
                if hasattr(a, "__dict__"):
                    self.spaces.add(id(vars(a)))
                    self._add(vars(a), tokens)
        elif isinstance(a, set):
            if self._is_new(a, tokens) and not self._grows(a, tokens):
                self._add_class(cls, tokens)
                self._describe(tuple(a), tokens)
        elif is_described(cls):
            if self._is_new(a, tokens):
                self._add_class(cls, tokens)
                if hasattr(a, "__dict__"):
                    self.spaces.add(id(vars(a)))
                    self._add(vars(a), tokens)
                for name in slots_of(cls):
                    if hasattr(a, name):
                        tokens.append(name)
                        self._add(getattr(a, name), tokens)
        else:
            self._describe(a, tokens)

    def _add_class(self, cls: type, tokens: list[Any]) -> None:
        tokens.append(cls)
        if not is_trusted(cls.__module__):
            self._add_environment(cls, tokens)

    def _add_items(self, a: Any, tokens: list[Any]) -> None:
        """What a container of another type than list and dict holds."""
        if isinstance(a, dict):
            tokens.append(tuple(map(static, dict.keys(a))))
            if isinstance(a, collections.defaultdict):
                self._add(a.default_factory, tokens)
            for item in dict.values(a):
                self._add(item, tokens)
        else:
            tokens.append((len(a), a.maxlen if isinstance(a, collections.deque) else None))
            for item in a:
                self._add(item, tokens)

    def _add_environment(self, a: Any, tokens: list[Any]) -> None:
        """What an argument reaches that is described as surroundings are, with its slots."""
        environment = self._environment.of(a)
        tokens.append((environment.number, environment.key()))
        self.reached.update(environment.tensors)
        self.held.update(environment.reached)
        if environment not in self.environments:
            self.environments.append(environment)
            if environment.slots:
                self._add_slots(environment, tokens)

    def _add_slots(self, environment: Environment, tokens: list[Any]) -> None:
        for slot in environment.slots:
            value = slot.get()
            if value is MISSING:
                tokens.append("missing")
            elif slot.key is GROWTH:
                pass
            elif slot.key is CONTENTS:
                if id(value) not in self._numbers:
                    self._numbers[id(value)] = len(self.objects)
                    self.objects.append(value)
                    if isinstance(value, FLATTENED):
                        self._add_items(value, tokens)
                    else:
                        self._describe(tuple(value), tokens)
            else:
                if slot.is_number and type(value) is int:
                    self._environment.changing.expect(tokens)
                self._add(value, tokens)

    def _add_array(self, a: np.ndarray, tokens: list[Any]) -> None:
        """A NumPy array: a tensor on its memory, and its elements where NumPy computes with them."""
        t = self.arrays.get(id(a))
        if t is None:
            t = self.arrays[id(a)] = wrap(a)
        tokens.append((np.ndarray, a.dtype.char, a.shape, a.flags.c_contiguous, a.flags.writeable))
        looked_at = self._environment.looked_at
        if len(self.tensors) in looked_at:
            try:
                tokens.append(looked_at[len(self.tensors)].token(a))
            except Changeable as e:
                raise Untraceable(
                    f"NumPy computes with an argument, a {e}: make it a tensor first, by tracer.from_numpy"
                ) from None
        self.tensors.append(t)
        self.storages.append(id(a) if a.base is None else id(storage(a)))

    def looks_at_more(self, looked_at: Iterable[Tensor]) -> bool:
        """From now on the elements of these arrays are part of the key. Says whether they were not."""
        numbers = {i for i, known in enumerate(self.tensors) if any(known is t for t in looked_at)}
        more = numbers.difference(self._environment.looked_at)
        self._environment.looked_at.update({i: Elements() for i in more})
        return bool(more)

    def _describe(self, a: Any, tokens: list[Any]) -> None:
        walk = Walk(self._environment.reached)
        tokens.append(walk.describe(a))
        self.kept += walk.kept
        self.reached.update(walk.tensors)
        self.held.update(walk.seen)
        if isinstance(a, Tensor):
            del self.reached[id(a)]


def _followed(view: Tensor) -> bool | None:
    """Whether autograd follows a view, its place in the graph looked up; None if it has lost sight of it."""
    try:
        return view._followed()
    except RuntimeError:
        return None


def is_settled(view: Tensor) -> bool:
    """Whether a view's place in the graph needs no looking up."""
    return view._history == view._counter[0] or not view.requires_grad


class Environment:
    """What an object, a function for one, can reach."""

    _numbers = itertools.count()

    def __init__(self, root: Any):
        self.root = root
        self.number = next(Environment._numbers)
        self.epoch = -1
        self._walk = Walk()
        self._live: list[tuple[Any, list[Any]]] = []
        self._asked = 0  # how often nothing had changed since the last walk
        self.same = unknown  # gives the key if nothing has changed, or None, fast
        self._keys: dict[Any, tuple[int, list[Any]]] = {}
        self._count = itertools.count()
        self.latest = -1
        self._elements: dict[int, Elements] = {}  # of the arrays that can be reached, by id
        self.looked_at: dict[int, Elements] = {}  # arguments that are arrays NumPy computes with, by the tensor's number
        self.slots: list[Slot] = []
        self.first: set[tuple[int, Any]] = set()  # places that were filled for the first time, by a run
        self.changing = Changing()
        self.growing: set[int] = set()  # the numbers of a call's objects that are only added to
        self.read: set[int] = set()  # and of those that are not
        self._of: collections.OrderedDict[int, Environment] = collections.OrderedDict()

    @property
    def tensors(self) -> dict[int, Tensor]:
        """The tensors that can be reached, by id."""
        return self._walk.tensors

    @property
    def arrays(self) -> dict[int, Tensor]:
        """Tensors on the NumPy arrays that can be reached, by the array's id."""
        return self._walk.arrays

    @property
    def reached(self) -> Mapping[int, Any]:
        """The ids of all objects that can be reached."""
        return self._walk.seen

    def find(self, number: int) -> Any:
        """The object that the walk has numbered so; None if it is gone, or not kept."""
        x = self._walk.placed.get(number)
        return x() if type(x) is weakref.ref else x

    @property
    def reaches_containers(self) -> bool:
        """Whether some of that could be a list or a dictionary that is an argument, too."""
        return self._walk.has_containers

    def can_hear(self, holder: Any) -> bool:
        """Whether all that code does to a container would be heard."""
        return not self._walk.asks_types and id(holder) not in self._walk.bound

    @property
    def names(self) -> list[str]:
        """The names that are looked up: variables, and attributes of modules and classes."""
        code = getattr(self.root, "__code__", None)
        return [*(code.co_freevars if code is not None else ()), *(name for _, name, _ in self._walk.names)]

    @property
    def asks_types(self) -> bool:
        """Whether some code asks for the type of an object."""
        return self._walk.asks_types

    def slot(self, holder: Any, key: Any) -> Slot | None:
        """The slot of a place, if it is one."""
        return next((s for s in self.slots if s.holder is holder and (s.key is key or s.key == key)), None)

    def learn(self, slot: Slot) -> None:
        """From now on this is a slot."""
        self.slots.append(slot)
        if isinstance(slot.holder, dict) and type(slot.key) is str:
            Structure.written.setdefault(id(slot.holder), set()).add(slot.key)
        structure_changed()
        self.epoch, self.same = -1, unknown

    def called(self, holder: Any, key: Any) -> str:
        """How code may call an item of a holder, or, without a key, the holder itself."""
        walk = self._walk
        items = [(f"{name}", value) for _, name, value in walk.names if value is not MISSING]
        items += [(row[0], row[1]) for x, before in self._live for row in before if type(row) is tuple and len(row) == 2]
        items += [(name, value) for space, name, value in walk.numbers]
        for name, value in items:
            if value is holder:
                return f"{name}[{key!r}]" if key != "" else str(name)
            if is_plain(value) and vars(value) is holder and key != "":
                return f"{name}.{key}"
        return f"{key!r} of a {type(holder).__name__}" if key != "" else f"a {type(holder).__name__}"

    def replace(self, old: Slot | None, new: Slot) -> None:
        """From now on another slot takes the place of one."""
        self.slots = [slot for slot in self.slots if slot is not old]
        self.learn(new)

    def walk(self, noted: bool = False) -> Walk:
        """Describes the root anew."""
        slots: dict[int, set[Any]] = {}
        for slot in self.slots:
            slots.setdefault(id(slot.holder), set()).add(slot.key)
        return Walk(None, self._walk.arrays, self._elements, slots, noted)

    def describe(self, walk: Walk) -> tuple:
        """What a walk says of the root."""
        return walk.describe(self.root() if isinstance(self.root, weakref.ref) else self.root)

    def of(self, x: Any) -> Environment:
        """The environment of an argument that announces its changes."""
        found = self._of.get(id(x))
        if found is None or found.root() is not x:
            if len(self._of) >= _KEPT:
                self._of.popitem(last=False)
            root = weakref.ref(x, functools.partial(_drop, self._of, id(x)))
            found = self._of[id(x)] = Environment(root)
        self._of.move_to_end(id(x))
        return found

    def words(self) -> tuple[Walk, list[Word]] | None:
        """What ``unchanged.words`` says, if it does, of the walk given. It holds for every walk of the same key."""
        found = words(self._walk, self._live)
        return None if found is None else (self._walk, found)

    def key(self) -> int:
        """A number that is the same as long as nothing that can be reached has changed. Raises Untraceable."""
        key = self.same()
        if key is not None:
            return key
        if self.epoch != Structure.epoch or self._changed():
            self._learn_numbers()
            epoch, walk = Structure.epoch, self.walk()
            description = self.describe(walk), *Structure.settings.values()
            known = self._keys.get(description)
            if known is None or not all(map(alive, known[1])):
                if len(self._keys) >= _KEPT:
                    del self._keys[next(iter(self._keys))]
                self._keys[description] = (next(self._count), weakened(walk.kept))
            walk.kept = []  # the function keeps what it reaches
            for slot in self.slots:
                slot.is_gone = id(slot.holder) not in walk.met
            # Plain containers and objects change without saying so.
            live = [(x, _masked(x, walk)) for x in walk.live]
            key = self._keys[description][0]
            # No interrupt comes between these.
            self.latest, self._walk, self._live, self.epoch, self._asked, self.same = key, walk, live, epoch, 0, unknown
            self.slots = [slot for slot in self.slots if not slot.is_gone]
        return self.latest

    def _learn_numbers(self) -> None:
        """Numbers, and tensors that a name stands for, that are others than when last looked at become slots."""
        walk = self._walk
        found: list[tuple[Any, Any, Any, Any]] = []
        for cell, was in walk.cells:
            found.append((cell, CELL, was, contents(cell)))
        for space, name, was in (*walk.names, *walk.numbers):
            if isinstance(space, dict):
                found.append((space, name, was, dict.get(space, name, MISSING)))
        for x, before in self._live:
            holder = vars(x) if is_plain(x) else x
            if isinstance(holder, (dict, list)) and len(holder) == len(before):
                rows: Any = before if isinstance(holder, dict) else enumerate(before)
                found += [(holder, key, was, get(holder, key)) for key, was in rows if _may_vary(was)]
        changed = [row for row in found if row[2] is not row[3] and _may_vary(row[2]) and _may_vary(row[3])]
        if len(changed) <= _MANY_AT_ONCE:
            for holder, key, was, now in changed:
                numeric = not isinstance(was, Tensor) and not isinstance(now, Tensor)
                if (not numeric or static(was) != static(now)) and self.slot(holder, key) is None:
                    self.learn(Slot(holder, key, numeric))

    def _changed(self) -> bool:
        """Whether a name means something else than it did, or a container or object holds something else."""
        walk = self._walk
        for cell, was in walk.cells:
            if contents(cell) is not was:
                return True
        for space, name, was in walk.names:
            now = space.get(name, MISSING)
            if now is not was and _differs(now, was):
                return True
        for x, name, was in walk.attributes:
            if getattr(x, name) is not was:
                return True
        for space, length in walk.sizes:
            if len(space) != length:
                return True
        for x, before in self._live:
            items = items_of(x)
            if len(items) != len(before):
                return True
            for item, was in zip(items, before, strict=True):
                if item is not was and _differs(item, was):
                    return True
        self._asked += 1
        if self._asked == _OFTEN:
            self.same = written(walk, self._live, self.epoch, self.latest)
        return False


def _may_vary(x: Any) -> bool:
    """Whether this is what becomes an argument where it is another one in each call."""
    return isinstance(x, Tensor) or type(x) in (int, float) or isinstance(x, np.number)


def _masked(x: Any, walk: Walk) -> list[Any]:
    """What a container or object holds, with ``ANY`` for slots."""
    items = list(items_of(x))
    space = vars(x) if hasattr(x, "__dict__") and not isinstance(x, (dict, list)) else x
    slots = walk.slots.get(id(space), ())
    if not slots:
        return items
    if isinstance(space, dict):
        return [(key, ANY if key in slots else value) for key, value in items]
    return [ANY if i in slots else item for i, item in enumerate(items)]


def _drop(environments: dict[int, Environment], at: int, root: weakref.ref) -> None:
    """Forgets the environment of an object that is gone."""
    found = environments.get(at)
    if found is not None and found.root is root:
        del environments[at]


def _differs(now: Any, was: Any) -> bool:
    """Whether an item of a container, or a (name, value) pair, is another one."""
    if now is was or was is ANY:
        return False
    if type(now) is tuple and type(was) is tuple and len(now) == len(was):
        return any(map(_differs, now, was))
    return not isinstance(now, STATIC) or static(now) != static(was)
