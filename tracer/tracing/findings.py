"""What a walk collects about the objects that a function can reach."""

from __future__ import annotations

import types
import weakref
from collections.abc import Collection, Mapping
from typing import Any

from ..core.context import Structure
from ..core.tensor import Tensor
from .arrays import Elements
from .kinds import Slots, Untraceable
from .references import line_of
from .watch import Ran


class Findings:
    """The findings of a walk.

    tensors     that were reached, by id
    live        containers and objects to compare in every call
    names       (mapping, key, value) of variables, attributes of modules and classes
    attributes  (object, name, value) of functions and cells
    sizes       (mapping, length): mappings whose values are among the names, or to which an addition would matter
    stored      (mapping, key) of variables that code assigns
    numbers     (mapping, key, value) of attributes of objects that announce changes
    holders     all that can be changed; whether they announce changes; whether they are containers
    bound       ids of objects with a reachable method written in C
    tagged      dictionaries that hardly ever change: of classes, of libraries, of objects that announce changes
    announcing  weak references to objects that announce their changes
    generators  of random numbers
    functions   described functions, or those that may run
    caches      functions that cache results

    Values in ``slots``, keys by the ids of their holders, are not described; ``met`` are the ids of those holders.
    """

    def __init__(
        self,
        identified: Mapping[int, Any] | None = None,
        arrays: Mapping[int, Tensor] | None = None,
        elements: dict[int, Elements] | None = None,
        slots: Slots | None = None,
        ran: Ran | None = None,
    ) -> None:
        self.ran = ran  # all code if None
        self.slots: Slots = slots or {}
        self.holders: list[tuple[Any, bool, bool]] = []
        self.met: set[int] = set()
        self.written: dict[int, set[str]] = {}  # places that replays write to, by the ids of dictionaries
        for slot in Structure.written:
            self.written.setdefault(id(slot.holder), set()).add(slot.key)
        self.has_containers = False
        self.bound: set[int] = set()
        self.stored: list[tuple[dict[str, Any], str]] = []
        self.numbers: list[tuple[dict[str, Any], str, Any]] = []
        self.unread_names: list[tuple[Mapping[str, Any], str, Any]] = []
        self.unread_cells: list[tuple[Any, Any]] = []
        self.identified = identified  # objects whose identity matters; all if None
        self._known_arrays, self._elements = arrays or {}, {} if elements is None else elements
        self.arrays: dict[int, Tensor] = {}
        self.seen: dict[int, int] = {}
        self.placed: dict[int, Any] = {}  # objects by their number, those that announce changes as weak references
        self.kept: list[Any] = []  # identities are compared, so these objects must stay alive
        self.tensors: dict[int, Tensor] = {}
        self.live: list[Any] = []
        self.names: list[tuple[Mapping[str, Any], str, Any]] = []
        self.attributes: list[tuple[Any, str, Any]] = []
        self.cells: list[tuple[Any, Any]] = []
        self.sizes: list[tuple[Any, int]] = []
        # Whether code mentions ``type``, or C functions that accept no dynamic floats or read containers past their methods.
        self.asks_types = False
        self.tagged: dict[int, dict[Any, Any]] = {}
        self.announcing: list[Any] = []
        self.generators: list[Any] = []
        self.functions: list[types.FunctionType] = []
        self.caches: list[Any] = []
        self.others: dict[int, Tensor] = {}
        self.unvisited: set[str] = set()
        self.is_whole = True  # whether all was walked that functions reach which have not run
        self._homes: set[str] = set()  # the packages that the described objects belong to
        self._modules: dict[int, set[tuple[str, ...]]] = {}
        self._codes: set[int] = set()  # described
        self._later: list[types.FunctionType] = []  # have not run
        self._unread = False  # whether nothing counts
        self._weak: list[weakref.ref[Any]] = []
        self.arguments: Mapping[int, int] = {}  # what a call holds beside, by id
        self.written_to: Collection[int] = ()  # ids of containers that replays write to as the objects that they are
        self._looked_up: tuple[types.CodeType, str] | None = None  # the code, and the name in it, that led here

    def _is_slot(self, holder: Any, key: Any, out: list[Any]) -> bool:
        """True if the call brings the holder's value at a key."""
        found = self.slots.get(id(holder))
        if found is None:
            return False
        self.met.add(id(holder))
        if key in found:
            out.append("slot")
        return key in found

    def _note(self, holder: Any, announces: bool = False, container: bool = False) -> None:
        self.has_containers = True
        self.holders.append((holder, announces, container))

    def _refuse(self, what: str, why: str) -> None:
        """``what`` cannot be guarded; ``why``, and what to write instead."""
        if not self._unread:
            place = f" ({line_of(*self._looked_up)})" if self._looked_up is not None else ""
            raise Untraceable(f"{what}{place}, {why}")
