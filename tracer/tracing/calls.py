"""A call's arguments, described by the properties that a trace depends on."""

from __future__ import annotations

import collections
import enum
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..autograd.hooks import RemovableHandle
from ..core.tensor import Tensor, wrap
from ..runtime.devices import Memory, Part, Pinned
from .alike import Sharing
from .announce import Announcing
from .arrays import Changeable, Elements, is_input
from .depth import with_room
from .kinds import CONTENTS, GROWTH, MISSING, OF_A_TENSOR, Untraceable, contained, get_slot, is_described, is_static, slots_of
from .known import is_library
from .scalars import is_number, static
from .walk import Walk

if TYPE_CHECKING:
    from .guards import Environment

FLATTENED = (list, dict, collections.deque)  # and their subclasses
_MANY = 5_000  # objects that calls are compared by: more take longer than most functions

FOREIGN = object()  # one owner for all memory of other packages: their objects do not show which memory they share
_OWNERS = (Memory, Part, Pinned)


def storage(data: np.ndarray) -> Any:
    """The object that owns an array's memory; ``FOREIGN`` if it is no array and was not made here."""
    while data.base is not None:
        if not isinstance(data.base, np.ndarray):
            return data.base if isinstance(data.base, _OWNERS) else FOREIGN
        data = data.base
    return data


class Call:
    """A call's arguments and the values of slots, flattened: ``key`` contains everything that a trace of it depends on.

    tensors   in order
    floats    in order; not part of the key, unless the function asks for their type
    ints      in order; those ``promoted``, by number, are not part of the key
    objects   dictionaries, lists and objects, in order, each once
    reached   tensors of objects among the arguments, by id
    held      ids of the contents of objects among the arguments
    kept      objects that the key identifies
    generators  of random numbers, among the arguments
    values    of the trace's float program, once one has matched
    arrays    the tensors on NumPy arrays, by the array's id
    growing   objects whose contents are not part of the key: they are only added to
    spaces    ids of the dictionaries of objects
    """

    __slots__ = (
        "_depth",
        "_environment",
        "_inside",
        "_numbers",
        "_sharing",
        "_walk",
        "arrays",
        "environments",
        "floats",
        "generators",
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

    @with_room
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
        self.generators: list[Any] = []
        self.values: list[Any] = []
        self._environment = environment
        self._numbers: dict[int, int] = {}  # of objects, by id
        self.storages: list[int] = []
        self.promoted: frozenset[int] = frozenset()
        self._depth = 0
        self._inside: list[int] = []  # the numbers of the ints in containers
        self._walk: Walk | None = None
        tokens: list[Any] = []
        for a in args:
            self._add(a, tokens)
        if kwargs:
            for name, a in kwargs.items():
                tokens.append(name)
                self._add(a, tokens)
        if environment.slots:
            self._add_slots(environment, tokens)
        if self._walk is not None:
            self._finish(self._walk, tokens)
            self._walk = None
        self._sharing: Sharing | None = None
        if self.is_foreign or len(set(self.storages)) < len(self.storages):
            self._sharing = Sharing(self.tensors, {*map(id, self.arrays.values())})
        captured = environment.captured
        if captured:
            # The recorder could not distinguish the argument from a tensor that the function reaches otherwise.
            for t in self.tensors:
                if id(t) in captured or (t._view is not None and id(t._root()) in captured):
                    tokens += (id(t), id(t._root()))
        self.structure = tuple(tokens)
        self.key: tuple = self.structure
        if self.ints or self._sharing is not None:
            self.settle()

    @property
    def is_foreign(self) -> bool:
        """Whether a tensor is on memory of another package, which others may be on too."""
        return id(FOREIGN) in self.storages

    def settle(self) -> None:
        """Creates the key from the structure, the constant ints, and which tensors are the same."""
        shared = () if self._sharing is None else self._sharing.token(self._environment.told_apart(self.structure))
        if not self.ints:
            self.key = (self.structure, shared) if shared else self.structure
            return
        if not any(environment.has_caches for environment in self.environments):
            self.promoted = self._environment.changing.positions(self.structure, self.ints, self._inside)
        constants = tuple([None if i in self.promoted else x for i, x in enumerate(self.ints)])
        self.key = self.structure, constants, shared

    @property
    def same(self) -> dict[int, int]:
        """By number, the first tensor that is the same, for tensors whose identity is not in the key."""
        return {} if self._sharing is None else self._sharing.loose(self._environment.told_apart(self.structure))

    def tell_apart(self, numbers: Collection[int]) -> bool:
        """Adds the identity of these tensors to the key. Returns True if the key changes."""
        before = self.key
        if numbers:
            self._environment.apart.add(self.structure, numbers)
            self.settle()
        return self.key != before

    def follow(self, other: Call) -> None:
        """Treats the same ints as constants as another description of the call."""
        if self.structure != other.structure:
            self._environment.changing.copy(other.structure, self.structure)
            self._environment.apart.copy(other.structure, self.structure)
            self.settle()

    def _add(self, a: Any, tokens: list[Any]) -> None:
        if isinstance(a, Tensor):
            data = a._data
            leaf = a._grad_fn is None
            order = True if data.flags.c_contiguous else data.strides
            tokens.append((type(a), data.dtype.char, data.shape, a._requires_grad, leaf, order))
            if data.__class__ is not np.ndarray:
                tokens.append(data.device)
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
            self._add_int(a)
        elif isinstance(a, np.number) and not self._environment.asks_types and is_number(a):
            tokens.append(type(a))
            if isinstance(a, np.integer):
                tokens.append(int)
                self._add_int(a)
            else:
                self.floats.append(a)  # type: ignore[arg-type]
        elif is_static(a):
            tokens.append(static(a))
        elif type(a) is tuple or (isinstance(a, tuple) and hasattr(a, "_fields")):
            items = contained(a)
            tokens.append((type(a), len(items)))
            self._add_all(items, tokens)
        elif type(a) is list:
            if self._is_new(a, tokens) and not self._grows(a, tokens):
                tokens.append((list, len(a)))
                self._add_all(a, tokens)
        elif type(a) is dict:
            if self._is_new(a, tokens) and not self._grows(a, tokens):
                tokens.append(dict)
                self._add_keys(a, tokens)
                self._add_all(a.values(), tokens)
        else:
            self._add_object(a, tokens)

    def _add_all(self, items: Iterable[Any], tokens: list[Any]) -> None:
        self._depth += 1
        for item in items:
            self._add(item, tokens)
        self._depth -= 1

    def _add_keys(self, keys: Iterable[Any], tokens: list[Any]) -> None:
        """The keys of a dictionary: values as a rule. Of an object, what it holds may matter, and its hash may change."""
        if all(map(is_static, keys)):
            tokens.append(tuple(map(static, keys)))
        else:
            self._describe(tuple(keys), tokens)

    def _add_int(self, a: Any) -> None:
        if self._depth:
            self._inside.append(len(self.ints))
        self.ints.append(a)

    def _is_new(self, x: Any, tokens: list[Any]) -> bool:
        """True for an object that occurs for the first time, and that the function does not reach otherwise."""
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
        """True if a container is only added to, so that its contents do not matter."""
        if len(self.objects) - 1 not in self._environment.growing:
            return False
        tokens.append((type(x), "grows"))
        self.growing.append(x)
        return True

    def grows(self, x: Any) -> bool:
        """Allows an object of such a call to grow from now on. Returns True if that is new."""
        environment, number = self._environment, self._numbers[id(x)]
        if not environment.can_track(x) or number in environment.read or number in environment.growing:
            return False
        environment.growing.add(number)
        return True

    def reads(self, x: Any) -> None:
        """Makes the contents of an object of such a call part of the key."""
        number = self._numbers[id(x)]
        self._environment.growing.discard(number)
        self._environment.read.add(number)

    def _add_object(self, a: Any, tokens: list[Any]) -> None:
        """Adds an object of any class: for a plain one, its class and contents."""
        cls = type(a)
        if isinstance(a, Announcing):
            self._add_environment(a, tokens)
        elif isinstance(a, RemovableHandle):  # recordings end where one that comes from outside is used
            if self._is_new(a, tokens):
                tokens.append(cls)
        elif is_input(a):
            self._add_array(a, tokens)
        elif isinstance(a, enum.Enum):
            tokens.append(id(a))
            self.kept.append(a)
            self._add_environment(type(a), tokens)
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
                self._describe(tuple(contained(a)), tokens)
        elif is_described(cls):
            if self._is_new(a, tokens):
                self._add_class(cls, tokens)
                if hasattr(a, "__dict__"):
                    self.spaces.add(id(vars(a)))
                    self._add(vars(a), tokens)
                for name in slots_of(cls):
                    if (value := get_slot(a, name)) is not MISSING:
                        tokens.append(name)
                        self._add(value, tokens)
        else:
            self._describe(a, tokens)

    def _add_class(self, cls: type, tokens: list[Any]) -> None:
        tokens.append(cls)
        if not is_library(cls.__module__):
            self._add_environment(cls, tokens)

    def _add_items(self, a: Any, tokens: list[Any]) -> None:
        """Adds the items of a container other than list and dict."""
        if isinstance(a, dict):
            pairs = contained(a)
            self._add_keys([key for key, _ in pairs], tokens)
            if isinstance(a, collections.defaultdict):
                self._add(a.default_factory, tokens)
            for _, item in pairs:
                self._add(item, tokens)
        else:
            items = contained(a)
            tokens.append((len(items), a.maxlen if isinstance(a, collections.deque) else None))
            for item in items:
                self._add(item, tokens)

    def _add_environment(self, a: Any, tokens: list[Any]) -> None:
        """Adds everything that an argument reaches and that is described like surroundings, with its slots."""
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
                        self._describe(tuple(contained(value)), tokens)
            else:
                if slot.is_number and type(value) is int:
                    self._environment.changing.expect(tokens)
                self._add(value, tokens)

    def _add_array(self, a: np.ndarray, tokens: list[Any]) -> None:
        """Adds a NumPy array: a tensor on its memory, and its elements if NumPy computes with them."""
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

    def looks_at_more(self, tensors: Iterable[Tensor]) -> bool:
        """Makes the elements of these arrays part of the key. Returns True if they were not."""
        looked_at = [t._data for t in tensors]  # another description of the call has other tensors
        numbers = {i for i, known in enumerate(self.tensors) if any(known._data is a for a in looked_at)}
        more = numbers.difference(self._environment.looked_at)
        self._environment.looked_at.update({i: Elements() for i in more})
        return bool(more)

    def _describe(self, a: Any, tokens: list[Any]) -> None:
        """Adds an object that is described like surroundings, and what it reaches: one walk for all but tensors."""
        found: list[Any] = []
        if isinstance(a, Tensor):
            walk = self._new_walk()
            walk.add(a, found)
            self._finish(walk, found)
            del self.reached[id(a)]
        else:
            if self._walk is None:
                self._walk = self._new_walk()
            self._walk.add(a, found)
        tokens.append(tuple(found))

    def _new_walk(self) -> Walk:
        walk = Walk(self._environment.reached, ran=self._environment.ran)
        walk.arguments = self._numbers
        return walk

    def _finish(self, walk: Walk, tokens: list[Any]) -> None:
        walk.finish(tokens)
        if len(walk.kept) > _MANY:
            self._environment.refuse(
                f"its arguments, and what it changes, reach more than {_MANY} objects to compare in every call: "
                "pass tensors and numbers"
            )
            raise Untraceable(self._environment.refusal)
        self.kept += walk.kept
        self.generators += walk.generators
        self.reached.update(walk.tensors)
        self.held.update(walk.seen)


def _followed(view: Tensor) -> bool | None:
    """True if autograd tracks a view, after looking up its position in the graph; None if it cannot track it."""
    try:
        return view._followed()
    except RuntimeError:
        return None


def is_settled(view: Tensor) -> bool:
    """True if a view's position in the graph needs no lookup."""
    return view._history == view._counter[0] or not view.requires_grad
