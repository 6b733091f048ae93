"""Maps a loop nest to the threads of a GPU.

The mapping depends only on the nest and its extents, so results do not depend on the device:

- *Elements.* Nested loops without a reduction become one loop over all iterations, divided among the grid's threads.
- *Columns.* If rows are added for each column, a thread takes columns and traverses the rows, with sums in registers.
- *Rows.* If there are loops inside rows, a row of at most 16 elements is assigned to a thread, one of at most 1,024 to a
  warp, a longer one to a block of 256 or 512 threads; also to a block if threads read what others have written. The loops
  over a row's elements, nested ones merged, are divided among the threads of the warp or block; short loops inside these
  stay in a thread. After a loop its reductions are combined.
- *Sequential loops.* Every thread of the block runs a loop whose iterations depend on one another; loops inside it are
  divided.
- *Lanes.* A thread takes as many adjacent elements as 16 bytes hold, if the extent is a multiple of that. Accesses that
  begin at multiples of 16 bytes become vector accesses (``load4``). A loop over a single row leaves a remainder.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

from .affine import accesses, affine, loads
from .nest import Accumulate, Combine, Do, If, Join, Kernel, Let, Loop, Reduce, Statement, Store, Who, renamed, walk

_FEW, _SOME, _MANY = 16, 1024, 8192  # maximum elements of a row: for a thread, for a warp, for a block of 256
WARP, SMALL_BLOCK, LARGE_BLOCK = 32, 256, 512  # threads; larger blocks would leave only 64 registers per thread
_MOST_BLOCKS = 1 << 16
_VECTOR = 16  # bytes of the widest access
_LONG_BODY = 100  # statements: longer bodies for several elements at once need too many registers
_BARRIER = Do("block_barrier()")
_NAME = re.compile(r"[a-z]\d+\b")


@dataclass(frozen=True)
class Launch:
    """The number of blocks and of threads per block."""

    blocks: int
    threads: int


@dataclass
class Mapped:
    """A kernel whose loops say what runs their iterations."""

    kernel: Kernel
    launch: Launch


def mapped(kernel: Kernel) -> Mapped:
    """The same kernel, for the threads of a GPU."""
    return _Mapping(kernel).run()


Predicate = Callable[[Statement], bool]


@dataclass
class _Nest:
    """Perfectly nested parallel loops, the definitions between them, and the innermost body."""

    loops: list[Loop]
    lets: list[Statement]
    body: list[Statement]


def _nest(loop: Loop, pure: Predicate) -> _Nest:
    loops, body = [loop], loop.body
    lets: list[Statement] = []
    carried = _carried(loop)
    while True:
        *before, last = body or [Do("")]
        perfect = isinstance(last, Loop) and not last.sequential and all(map(pure, before))
        if not perfect or _carried(last) - carried:  # type: ignore[arg-type]
            return _Nest(loops, lets, body)
        assert isinstance(last, Loop)
        loops, lets, body = [*loops, last], [*lets, *before], last.body


def _carried(loop: Loop) -> set[str]:
    """The names that the loop's reductions carry from one iteration to the next."""
    inside = _defined(loop.body)
    return {n for s in walk(loop.body) if isinstance(s, Reduce) for n in s.names if n not in inside}


def _defined(body: Sequence[Statement]) -> set[str]:
    """The names that statements define."""
    return {s.name for s in walk(body) if isinstance(s, Let)}


@dataclass
class _Unit:
    """The unit that computes a row, and its threads' name in combining functions."""

    who: Who
    threads: int
    name: str = field(default="block")


class _Mapping:
    def __init__(self, kernel: Kernel):
        self.kernel = replace(kernel, params=list(kernel.params), values=list(kernel.values))
        self.known = {**dict(zip(kernel.params, kernel.values, strict=True)), "start": 0, "stop": kernel.domain}
        self.written = {s.array for s in walk(kernel.body) if isinstance(s, (Store, Accumulate))}
        self.sizes = {a.name: 1 if a.dtype.short == "bool" else a.dtype.itemsize for a in kernel.arrays}
        self.count = max((int(name[1:]) for s in walk(kernel.body) for name in _names(s)), default=0)
        self.full = all(self._iterations(s) for s in walk(kernel.body) if isinstance(s, Loop))

    def run(self) -> Mapped:
        body = _in_registers(self.kernel.body, self._is_pure) or self.kernel.body
        *before, last = body
        if isinstance(last, Loop) and not last.sequential and not _carried(last) and all(map(self._is_pure, before)):
            nest = _nest(last, self._is_pure)
            outside, inside = self._sunk(before)
            statements, launch = self._rows(_Nest(nest.loops, [*inside, *nest.lets], nest.body))
            self.kernel.body = [*outside, *statements]
        else:
            unit = _Unit(Who.BLOCKS, LARGE_BLOCK)
            self.kernel.body, launch = self._shared(body, unit), Launch(1, unit.threads)
        return Mapped(self.kernel, launch)

    def _is_pure(self, s: Statement) -> bool:
        """True if a statement may be repeated for each iteration of the loop that follows it.

        Error checks must be executed at least once.
        """
        if isinstance(s, If):
            return all(map(self._is_pure, (*s.then, *s.otherwise)))
        return isinstance(s, Let) and s.name[0] in "tj" and (self.full or "check_" not in s.expression)

    def _sunk(self, lets: Sequence[Statement]) -> tuple[list[Statement], list[Statement]]:
        """Definitions that may precede a loop, and those that belong inside.

        Elements of an array that the kernel writes are read by the thread that writes them.
        """
        outside: list[Statement] = []
        inside: list[Statement] = []
        late: set[str] = set()
        for s in lets:
            parts = [x for x in walk([s]) if isinstance(x, (Let, If))]
            text = " ".join(x.expression if isinstance(x, Let) else x.condition for x in parts)
            reads = {array for array, _ in loads(text)}
            if reads & self.written or late & set(_NAME.findall(text)):
                late.update(x.name for x in parts if isinstance(x, Let))
                inside.append(s)
            else:
                outside.append(s)
        return outside, inside

    # Rows.

    def _rows(self, nest: _Nest) -> tuple[list[Statement], Launch]:
        registers = _in_registers(nest.body, self._is_pure)
        if registers is not None:  # column sums, for each row of the nest
            columns = registers[-1]
            assert isinstance(columns, Loop)
            if all(map(self._is_pure, registers[:-1])):
                nest = _Nest([*nest.loops, columns], [*nest.lets, *registers[:-1]], columns.body)
        count = math.prod(self._extent(loop) for loop in nest.loops)
        longest = max((self._iterations(s) for s in nest.body if isinstance(s, (Loop, If))), default=0)
        if registers is not None or longest <= _FEW or not _has_parallel_loop(nest.body):
            statements, lanes = self._flat(nest, Who.GRID)
            return statements, grid_of(-(-count // lanes))
        if longest <= _SOME and count > 1:
            sizes = dict(self.known)
            body = self._shared(nest.body, _Unit(Who.WARPS, WARP, "warp"))
            if not any(s == _BARRIER for s in walk(body)):
                launch = Launch(_blocks(-(-count // (SMALL_BLOCK // WARP))), SMALL_BLOCK)
                return self._one(_Nest(nest.loops, nest.lets, body), Who.WARPS, 1), launch
            self._forget_params(sizes)
        unit = _Unit(Who.BLOCKS, SMALL_BLOCK if longest <= _MANY else LARGE_BLOCK)
        body = self._shared(nest.body, unit)
        return self._one(_Nest(nest.loops, nest.lets, body), Who.BLOCKS, 1), Launch(_blocks(count), unit.threads)

    def _shared(self, body: Sequence[Statement], unit: _Unit, later: Set[str] = frozenset()) -> list[Statement]:
        """The body of a row with its loops divided among the unit's threads. What outer loops carry is combined ``later``."""
        result: list[Statement] = []
        touched = _Touched()
        for s in body:
            new, loop = [s], s if isinstance(s, Loop) else None
            if isinstance(s, If):
                new = [If(s.condition, self._shared(s.then, unit, later), self._shared(s.otherwise, unit, later))]
            elif loop is not None:
                new = self._shared_loop(loop, unit, later)
            if touched.conflict(new):
                result.append(_BARRIER)
                touched = _Touched()
            touched.add(new)
            result += new
        return result

    def _shared_loop(self, loop: Loop, unit: _Unit, later: Set[str]) -> list[Statement]:
        nest = _nest(loop, self._is_pure)
        inner = _has_parallel_loop(nest.body)
        serial = loop.sequential or (inner and math.prod(map(self._extent, nest.loops)) < unit.threads // 2)
        if not serial:
            statements, _ = self._flat(nest, Who.THREADS)
            return [*statements, *_joins([loop], unit, later)]
        body = self._shared(loop.body, unit, later | _carried(loop))
        if not _ends_with_barrier(body) and _Touched().add(body).conflict(body, loop.variable):
            body.append(_BARRIER)
        shared = [s for s in walk(body) if isinstance(s, Loop) and s.who is Who.THREADS]
        return [replace(loop, body=body), *_joins(shared, unit, later | _defined(loop.body))]

    # Loops over all iterations of a nest.

    def _flat(self, nest: _Nest, who: Who) -> tuple[list[Statement], int]:
        """The nest as one loop, or as two if elements are grouped and some remain; and the group size."""
        lanes = self._lanes(nest)
        extent = self._extent(nest.loops[-1])
        if lanes > 1 and extent % lanes:
            if len(nest.loops) > 1 or extent < 64 * lanes:
                return self._one(nest, who, 1), 1
            whole = self._param(extent - extent % lanes)
            (loop,) = nest.loops
            first = _Nest([replace(loop, stop=whole)], nest.lets, nest.body)
            rest = self._one(_Nest([replace(loop, start=whole)], nest.lets, nest.body), who, 1)
            return [*self._one(first, who, lanes), *self._with_own_names(rest)], lanes
        return self._one(nest, who, lanes), lanes

    def _with_own_names(self, statements: Sequence[Statement]) -> list[Statement]:
        """The same statements with new names for their definitions."""
        defined = dict.fromkeys(name for s in walk(statements) for name in _names(s))
        names = {name: self._fresh(name[0]) for name in defined}
        return [renamed(s, names) for s in statements]

    def _one(self, nest: _Nest, who: Who, lanes: int) -> list[Statement]:
        body = self._vectors(nest, [*nest.lets, *nest.body], lanes)
        if len(nest.loops) == 1:
            (loop,) = nest.loops
            return [Loop(loop.variable, loop.start, loop.stop, body, who=who, lanes=lanes)]
        total = math.prod(map(self._extent, nest.loops))
        bits = 32 if total < 1 << 31 else 64
        variable, left = self._fresh("e"), self._fresh("e")
        lets: list[Statement] = [Let(left, f"first({variable})" if lanes > 1 else variable)]
        for k, loop in reversed(list(enumerate(nest.loops))):
            index = left if k == 0 else f"remainder{bits}({left}, {self._size(loop)})"
            lets.append(Let(loop.variable, f"neighbours({index})" if k == len(nest.loops) - 1 and lanes > 1 else index))
            if k:
                before, left = left, self._fresh("e")
                lets.append(Let(left, f"quotient{bits}({before}, {self._size(loop)})"))
        return [Loop(variable, "0", self._param(total), [*lets, *body], who=who, lanes=lanes)]

    def _lanes(self, nest: _Nest) -> int:
        """The number of adjacent elements per thread: as many as 16 bytes hold of the widest array with vector accesses."""
        body = [*nest.lets, *nest.body]
        if sum(1 for _ in walk(body)) > _LONG_BODY:
            return 1
        if any(isinstance(s, Reduce) and s.combine.is_pair for s in walk(body)):
            return 1
        inside = self._varying(nest, body)
        for lanes in (16, 8, 4, 2):
            aligned = self._aligned(nest, body, lanes)
            fit = bool(aligned) and lanes == _VECTOR // max(self.sizes[array] for array in aligned)
            if fit and all(offset in aligned.get(array, ()) for array, offset in inside):
                return lanes
        return 1

    def _varying(self, nest: _Nest, body: Sequence[Statement]) -> set[tuple[str, str]]:
        """The accesses in loops inside a nest that differ between adjacent iterations."""
        defined = {s.name: s.expression for s in walk(body) if isinstance(s, Let) and s.name[0] in "tj"}
        found = {access for s in body if isinstance(s, Loop) for access in accesses(s.body)}
        variable = nest.loops[-1].variable
        return {(array, at) for array, at in found if self._depends(_NAME.findall(at), variable, defined)}

    def _aligned(self, nest: _Nest, body: Sequence[Statement], lanes: int) -> dict[str, set[str]]:
        """The arrays with vector-aligned accesses, and their offsets."""
        variable = nest.loops[-1].variable
        defined = {s.name: s.expression for s in walk(body) if isinstance(s, Let) and s.name[0] in "tj"}
        found: dict[str, set[str]] = {}
        for array, offset in accesses(body):
            form = affine(offset, self.known, defined)
            if form is None or form.terms.get(variable) != 1 or form.constant % lanes:
                continue
            others = {n: k for n, k in form.terms.items() if n != variable}
            if all(k % lanes == 0 for k in others.values()) and not self._depends(others, variable, defined):
                found.setdefault(array, set()).add(offset)
        return found

    def _depends(self, names: Iterable[str], variable: str, defined: Mapping[str, str]) -> bool:
        """True if any of the names is computed from the variable."""
        work, seen = list(names), set()
        while work:
            name = work.pop()
            if name == variable:
                return True
            if name in defined and name not in seen:
                seen.add(name)
                work += _NAME.findall(defined[name])
        return False

    def _vectors(self, nest: _Nest, body: Sequence[Statement], lanes: int) -> list[Statement]:
        """The body with vector accesses."""
        if lanes == 1:
            return list(body)
        aligned = self._aligned(nest, body, lanes)

        def load(text: str) -> str:
            for array, offsets in aligned.items():
                for offset in offsets:
                    text = text.replace(f"load({array}, {offset})", f"load{lanes}({array}, {offset})")
            return text

        def new(s: Statement) -> Statement:
            if isinstance(s, Let):
                return Let(s.name, load(s.expression))
            if isinstance(s, Store):
                whole = s.offset in aligned.get(s.array, ())
                return Store(s.array, s.offset, load(s.value), lanes if whole else 1)
            if isinstance(s, Reduce):
                return replace(s, values=tuple(map(load, s.values)))
            if isinstance(s, Loop):
                return replace(s, body=[new(x) for x in s.body])
            return s  # branches stay: their elements are accessed one by one

        return [new(s) for s in body]

    # Extents.

    def _extent(self, loop: Loop) -> int:
        return self._value(loop.stop) - self._value(loop.start)

    def _value(self, text: str) -> int:
        return self.known[text] if text in self.known else int(text)

    def _size(self, loop: Loop) -> str:
        return loop.stop if loop.start in ("0", "start") else f"{loop.stop} - {loop.start}"

    def _iterations(self, s: Statement) -> int:
        """The maximum number of executions of the innermost statement of a loop."""
        if isinstance(s, If):
            return max((self._iterations(x) for x in (*s.then, *s.otherwise)), default=0)
        if not isinstance(s, Loop):
            return 1
        return self._extent(s) * max((self._iterations(x) for x in s.body if isinstance(x, (Loop, If))), default=1)

    def _param(self, value: int) -> str:
        name = f"n{len(self.kernel.params)}"
        self.kernel.params.append(name)
        self.kernel.values.append(value)
        self.known[name] = value
        return name

    def _forget_params(self, known: dict[str, int]) -> None:
        """Removes the integers that were added since ``known`` was copied."""
        kept = [name in known for name in self.kernel.params]
        self.kernel.values = [v for v, keep in zip(self.kernel.values, kept, strict=True) if keep]
        self.kernel.params = [n for n, keep in zip(self.kernel.params, kept, strict=True) if keep]
        self.known = known

    def _fresh(self, letter: str) -> str:
        self.count += 1
        return f"{letter}{self.count}"


def _ends_with_barrier(body: Sequence[Statement]) -> bool:
    """True if all accesses of a loop's body are followed by a barrier."""
    last = body[-1] if body else None
    return last == _BARRIER or (isinstance(last, Loop) and last.sequential and _ends_with_barrier(last.body))


def grid_of(units: int) -> Launch:
    """The launch for that many threads."""
    return Launch(_blocks(-(-units // SMALL_BLOCK)), SMALL_BLOCK)


def _blocks(wanted: int) -> int:
    return max(1, min(wanted, _MOST_BLOCKS))


def _names(s: Statement) -> list[str]:
    """The names that a statement defines."""
    if isinstance(s, Let):
        return [s.name]
    return [s.variable] if isinstance(s, Loop) else []


def _has_parallel_loop(body: Sequence[Statement]) -> bool:
    return any(isinstance(s, Loop) and not s.sequential for s in walk(body))


def _joins(loops: Sequence[Loop], unit: _Unit, others: Set[str]) -> list[Statement]:
    """The statements that combine the threads' reductions, except ``others``."""
    found: dict[tuple[str, ...], Combine] = {}
    for loop in loops:
        inside = _defined(loop.body)
        for s in walk(loop.body):
            if isinstance(s, Reduce) and s.names[0] not in inside | others:
                found[s.names] = s.combine
    return [Join(combine, names, unit.name) for names, combine in found.items()]


class _Touched:
    """The memory accesses of loops since the last barrier: ranges and offsets by array."""

    def __init__(self) -> None:
        self.reads: dict[str, set[tuple]] = {}
        self.writes: dict[str, set[tuple]] = {}

    def add(self, statements: Sequence[Statement]) -> _Touched:
        for kind, array, where in _effects(statements):
            (self.writes if kind == "w" else self.reads).setdefault(array, set()).add(where)
        return self

    def conflict(self, statements: Sequence[Statement], variable: str | None = None) -> bool:
        """True if threads would access elements that other threads write; accesses by the same thread do not conflict.

        ``variable``: between iterations of the loop over it.
        """
        for kind, array, where in _effects(statements):
            earlier = self.writes.get(array, set()) | (self.reads.get(array, set()) if kind == "w" else set())
            if any(e != where for e in earlier):
                return True
            if variable is not None and earlier and re.search(rf"\b{variable}\b", where[-1]):
                return True
        return False


def _effects(statements: Sequence[Statement], ranges: tuple = (), names: Mapping[str, str] | None = None) -> Iterable[tuple]:
    """(``r`` or ``w``, array, (loops around, offset)) of each access. Loop variables are numbered: equal loops are equal."""
    names = dict(names or {})
    shared = any(who is Who.THREADS for _, _, who, _ in ranges)

    def plain(text: str) -> str:
        for _ in range(8):  # names of offsets stand for their definitions
            new = _NAME.sub(lambda m: names.get(m.group(), m.group()), text)
            if new == text:
                break
            text = new
        return text

    for s in statements:
        if isinstance(s, Loop):
            inner = {**names, s.variable: f"<{len(ranges)}>"}
            yield from _effects(s.body, (*ranges, (s.start, s.stop, s.who, s.lanes)), inner)
            continue
        if isinstance(s, If):
            yield from _effects(s.then, ranges, names)
            yield from _effects(s.otherwise, ranges, names)
            continue
        if isinstance(s, Let):
            texts: Sequence[str] = (s.expression,)
        elif isinstance(s, (Store, Accumulate)):
            texts = (s.offset, s.value)
        else:
            texts = s.values if isinstance(s, Reduce) else ()
        for text in texts:
            for array, offset in loads(re.sub(r"\bload\d+\(", "load(", text)):
                yield "r", array, (ranges if shared else "by all threads", plain(offset))
        if isinstance(s, (Store, Accumulate)):
            yield "w", s.array, (ranges, plain(s.offset)) if shared else ("by the first thread", "")
        if isinstance(s, Let) and s.name[0] in "ej" and "load" not in s.expression:
            names[s.name] = f"({s.expression})"


def _in_registers(body: Sequence[Statement], pure: Predicate) -> list[Statement] | None:
    """Turns a loop that initialises column sums in memory, and one over rows that adds to them, into one loop over columns.

    Each sum is then in a register. None if the statements do not have that form.
    """
    loops = [s for s in body if isinstance(s, Loop)]
    if len(loops) != 2 or loops[1] is not body[-1]:
        return None
    first, rows = loops
    around: list[Loop] = []
    while rows.sequential:
        around.append(rows)
        *lets, last = rows.body
        if not isinstance(last, Loop) or not all(map(pure, lets)):
            return None
        rows = last
    begun = [s for s in first.body if isinstance(s, Store)]
    names = {s.array: f"s{k}" for k, s in enumerate(begun)}
    inner = _with_registers(rows, names, first.variable, pure)
    if not around or (first.start, first.stop) != (rows.start, rows.stop) or len(begun) < len(first.body) or inner is None:
        return None
    for loop in reversed(around):
        inner = [replace(loop, body=[*loop.body[:-1], *inner])]
    columns = [*(Let(names[s.array], s.value) for s in begun), *inner]
    columns += [Store(s.array, s.offset, names[s.array]) for s in begun]
    return [*(s for s in body if not isinstance(s, Loop)), Loop(first.variable, first.start, first.stop, columns)]


def _with_registers(rows: Loop, names: Mapping[str, str], variable: str, pure: Predicate) -> list[Statement] | None:
    """The body of a loop over a row's elements, adding to registers, with ``variable`` for the column."""
    if any(array in names for array, _ in accesses(rows.body)):
        return None
    result: list[Statement] = []
    for s in (renamed(s, {rows.variable: variable}) for s in rows.body):
        if isinstance(s, Accumulate):
            result.append(Reduce(s.combine, (names[s.array],), (s.value,), s.dtype))
        elif isinstance(s, Store) or pure(s):
            result.append(s)
        else:
            return None
    return result
