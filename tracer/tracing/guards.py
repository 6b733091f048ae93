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

from ..context import Structure
from ..runtime.objects import Word
from ..tensor import Tensor, wrap
from .announce import Announcing
from .arrays import Changeable, Elements, is_input
from .overlap import overlapping
from .scalars import static
from .unchanged import unknown, words, written
from .walk import MISSING, OF_A_TENSOR, STATIC, Untraceable, Walk, alive, contents, items_of, weakened

_OFTEN = 3  # times that nothing has changed, before the question is written out
_KEPT = 64  # descriptions that are remembered, and objects among the arguments


def storage(data: np.ndarray) -> Any:
    """The object whose memory an array shows."""
    while data.base is not None:
        if not isinstance(data.base, np.ndarray):
            return data.base
        data = data.base
    return data


class Call:
    """A call's arguments, flattened: ``key`` says all that a trace of it takes for granted.

    tensors   in order
    floats    in order; they are not part of the key, unless the function asks for their type
    reached   tensors that belong to objects among the arguments, by id
    held      ids of what belongs to objects among the arguments
    kept      what the key refers to by identity
    values    of the trace's float program, once one has matched
    arrays    the tensors on NumPy arrays, by the array's id
    """

    __slots__ = ("_environment", "arrays", "floats", "held", "kept", "key", "reached", "storages", "tensors", "values")

    def __init__(self, args: tuple, kwargs: dict, environment: Environment):
        self.tensors: list[Tensor] = []
        self.floats: list[float] = []
        self.reached: dict[int, Tensor] = {}
        self.held: set[int] = set()
        self.arrays: dict[int, Tensor] = {}
        self.kept: list[Any] = []
        self.values: list[Any] = []
        self._environment = environment
        self.storages: list[int] = []
        tokens: list[Any] = []
        for a in args:
            self._add(a, tokens)
        if kwargs:
            for name, a in kwargs.items():
                tokens.append(name)
                self._add(a, tokens)
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
        self.key = tuple(tokens)

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
        elif isinstance(a, STATIC) and not isinstance(a, np.generic):
            tokens.append(static(a))
        elif type(a) in (list, tuple) or (isinstance(a, tuple) and hasattr(a, "_fields")):
            tokens.append((type(a), len(a)))
            for item in a:
                self._add(item, tokens)
        elif type(a) is dict:
            tokens.append((dict, tuple(map(static, a))))
            for item in a.values():
                self._add(item, tokens)
        elif is_input(a):
            self._add_array(a, tokens)
        else:
            self._describe(a, tokens)

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
        if isinstance(a, Announcing):
            environment = self._environment.of(a)
            tokens.append((environment.number, environment.key()))
            self.reached.update(environment.tensors)
            self.held.update(environment.reached)
            return
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
    def asks_types(self) -> bool:
        """Whether some code asks for the type of an object."""
        return self._walk.asks_types

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
            epoch, walk = Structure.epoch, Walk(arrays=self._walk.arrays, elements=self._elements)
            reached = walk.describe(self.root() if isinstance(self.root, weakref.ref) else self.root)
            description = reached, *Structure.settings.values()
            known = self._keys.get(description)
            if known is None or not all(map(alive, known[1])):
                if len(self._keys) >= _KEPT:
                    del self._keys[next(iter(self._keys))]
                self._keys[description] = (next(self._count), weakened(walk.kept))
            walk.kept = []  # the function keeps what it reaches
            # Plain containers and objects change without saying so.
            live = [(x, list(items_of(x))) for x in walk.live]
            key = self._keys[description][0]
            # No interrupt comes between these.
            self.latest, self._walk, self._live, self.epoch, self._asked, self.same = key, walk, live, epoch, 0, unknown
        return self.latest

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


def _drop(environments: dict[int, Environment], at: int, root: weakref.ref) -> None:
    """Forgets the environment of an object that is gone."""
    found = environments.get(at)
    if found is not None and found.root is root:
        del environments[at]


def _differs(now: Any, was: Any) -> bool:
    """Whether an item of a container, or a (name, value) pair, is another one."""
    if now is was:
        return False
    if type(now) is tuple and type(was) is tuple and len(now) == len(was):
        return any(map(_differs, now, was))
    return not isinstance(now, STATIC) or static(now) != static(was)
