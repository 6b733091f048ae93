"""Aliasing among a call's tensors: which are the same object, or share memory, and when that matters.

A recording that only reads tensors does the same whether or not they alias, so aliasing is then not part of a call's key.
It matters for tensors that are changed in place, whose gradients or flags are read or set, and if code compares identities.
If two arguments of a recorded run are one tensor, either may be an operation's operand; *classes* say which ones may.
Another recording, with other aliases, narrows that down.
"""

from __future__ import annotations

import dis
import functools
import types
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from ..core.tensor import Tensor
from .kinds import OF_A_TENSOR
from .overlap import overlapping

if TYPE_CHECKING:
    from ..ir.graph import Value
    from .calls import Call
    from .recorder import Recorder
    from .sources import Source

Classes = Mapping[int, frozenset[int]]  # for each number that is not alone in its class, the class

_MANY = 1024  # remembered structures
_LOADS = ("LOAD_FAST", "LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF")
# Ways to compare identities other than ``is`` and ``in``. (Hashing a tensor is detected when it happens.)
_NAMES = frozenset(["id", "is_", "is_not", "contains", "countOf", "indexOf", "index", "count", "remove", "groupby"])
_OF_MEMORY = frozenset(["shares_memory", "may_share_memory", "byte_bounds"])
_WEAK = frozenset(["weakref", "ref", "proxy", "finalize", "WeakKeyDictionary", "WeakValueDictionary", "WeakSet"])


@functools.lru_cache(4096)
def tells_apart(code: types.CodeType) -> bool:
    """True if code may compare the identities of two objects, neither of them a constant."""
    if not (_NAMES | _OF_MEMORY | _WEAK).isdisjoint(code.co_names):
        return True
    instructions = list(dis.get_instructions(code))
    for i, instruction in enumerate(instructions):
        if instruction.opname not in ("IS_OP", "CONTAINS_OP"):
            continue
        k = i - 1  # of the right operand, or of the left one before it, if that is a constant
        while k > 0 and instructions[k].opname == "LOAD_ATTR":
            k -= 1
        k -= instructions[k].opname in _LOADS
        if instructions[k].opname != "LOAD_CONST" or any(x.is_jump_target for x in instructions[k + 1 : i + 1]):
            return True
    return False


class Apart:
    """The tensors whose identity matters, by number; calls are distinguished by their structure."""

    def __init__(self) -> None:
        self._numbers: dict[tuple, set[int]] = {}
        self._all = False  # of all calls

    def of(self, structure: tuple) -> Collection[int] | None:
        """The numbers; None for all."""
        return None if self._all else self._numbers.get(structure, ())

    def add(self, structure: tuple, numbers: Iterable[int]) -> None:
        self._all |= len(self._numbers) >= _MANY
        self._numbers.setdefault(structure, set()).update(numbers)

    def copy(self, structure: tuple, to: tuple) -> None:
        """Copies the knowledge about calls of one structure to another one."""
        if structure in self._numbers:
            self.add(to, self._numbers[structure])


def is_only_read(t: Tensor) -> bool:
    """True if code that only reads a tensor can depend only on its elements."""
    return not t.requires_grad and t._grad_fn is None and OF_A_TENSOR.issuperset(vars(t))


class Sharing:
    """Which of a call's tensors are the same, and which others share memory. ``arrays``: the ids of those on NumPy arrays."""

    def __init__(self, tensors: Sequence[Tensor], arrays: Collection[int]):
        first: dict[int, int] = {}
        self.same = [first.setdefault(id(t), i) for i, t in enumerate(tensors)]
        different = [*first.values()]
        pairs = overlapping([tensors[i]._data for i in different])
        self.overlap = [(different[i], different[j]) for i, j in pairs]
        self.apart = {i for t, i in zip(map(tensors.__getitem__, different), different, strict=True) if not is_only_read(t)}
        self.apart |= {i for i in different if id(tensors[i]) in arrays}

    def matter(self, told: Collection[int] | None) -> set[int]:
        """The first tensor of each class that matters if the identities of ``told`` matter."""
        if told is None:
            return set(self.same)
        apart = self.apart | {self.same[i] for i in told}
        return apart | {k for pair in self.overlap if not apart.isdisjoint(pair) for k in pair}

    def token(self, told: Collection[int] | None) -> tuple:
        """The part of it that belongs to the call's key."""
        matter = self.matter(told)
        same = [(i, k) for i, k in enumerate(self.same) if i != k and k in matter]
        pairs = [pair for pair in self.overlap if not matter.isdisjoint(pair)]
        return (*same, "overlap", *pairs) if same or pairs else ()

    def loose(self, told: Collection[int] | None) -> dict[int, int]:
        """By number, the first tensor that is the same, for tensors whose identity is not in the key."""
        matter = self.matter(told)
        return {i: k for i, k in enumerate(self.same) if i != k and k not in matter}


class Alike:
    """A recording's data about arguments that are the same tensor.

    first       the number of the first input that is the same, by the numbers of others
    values      the values of those that stand for others
    told_apart  ids of tensors whose identity matters
    fetched     the inputs in the result, or stored ones
    """

    def __init__(self) -> None:
        self.first: dict[int, int] = {}
        self.values: set[Value] = set()
        self.told_apart: set[int] = set()
        self.fetched: set[int] = set()

    def add(self, recorder: Recorder, t: Tensor, source: Source) -> None:
        """Adds an input that is the same tensor as an earlier one, which stands for both."""
        first = next(i for i, known in enumerate(recorder.inputs) if known is t)
        self.first[len(recorder.inputs)] = first
        self.values.add(recorder.builder.inputs[first])
        recorder.builder.input(t.type_)
        recorder.sources.append(source)
        recorder.inputs.append(t)
        recorder.versions.append(t._counter[0])

    def tell_apart(self, t: Tensor) -> None:
        self.told_apart.add(id(t))

    def decides(self, v: Value, inputs: Iterable[Tensor]) -> None:
        """Python reads whether a value is zero. Compared inputs may belong to a comparison of containers, which take identical
        tensors for equal.
        """
        if v.op is not None and v.op.primitive.name == "eq" and all(u.op is None for u in v.op.operands):
            self.told_apart.update(map(id, inputs))


def told_apart(recorder: Recorder, call: Call) -> set[int]:
    """The numbers of a call's tensors that the recorded run has compared by identity, or changed."""
    groups = (recorder.alike.told_apart, recorder.grads_read, recorder.grads_written, recorder.flags, recorder.written)
    ids = {i for group in groups for i in group} | {*recorder.assigned.all}
    return {i for i, t in enumerate(call.tensors) if id(t) in ids or (t._view is not None and id(t._root()) in ids)}


def left_behind(recorder: Recorder) -> set[int]:
    """The numbers of a call's tensors in the result, or stored ones: of identical ones, either may be meant."""
    alike = recorder.alike
    return {recorder.sources[i].index for i in alike.fetched.intersection((*alike.first, *alike.first.values()))}


def classes(same: Mapping[int, int]) -> Classes:
    """The classes of numbers, where each number that is not the first of its class is given with the first."""
    groups: dict[int, set[int]] = {}
    for i, first in same.items():
        groups.setdefault(first, {first}).add(i)
    return {i: frozenset(group) for group in groups.values() for i in group}


def common(a: Classes, b: Classes) -> Classes:
    """The classes of numbers that are in a common class in both."""
    found = {i: its & b[i] for i, its in a.items() if i in b}
    return {i: its for i, its in found.items() if len(its) > 1}


def chosen(k: int, its: Classes, other: int, others: Classes) -> int:
    """The number that ``k`` stands for in one recording, and ``other`` in another one; -1 if there is none."""
    if k == other:
        return k
    return min(its.get(k, frozenset((k,))) & others.get(other, frozenset((other,))), default=-1)
