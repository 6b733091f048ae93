"""The question whether anything has changed that a function can reach, written out as one Python expression.

``Environment.key`` asks it of any walk; of one that has been asked about before, the same is asked here without loops over
tables. It may say that something has changed where nothing has (an equal object in another's place), never the other way round.
"""

from __future__ import annotations

import collections
import types
from collections.abc import Callable, Iterable
from operator import is_
from typing import Any

from ..context import Structure
from ..runtime.objects import Word, reader, version_of, word_of
from .kinds import MISSING, contents, is_plain
from .walk import Walk

_MAPPINGS = (dict, types.MappingProxyType, collections.OrderedDict, collections.defaultdict, collections.Counter)
ANY: Any = object()  # the value of a place that may hold any


def unknown() -> int | None:
    """What is said of a walk that has not been asked about often."""
    return None


def written(walk: Walk, live: list[tuple[Any, list[Any]]], epoch: int, key: int) -> Callable[[], int | None]:
    """A function that gives ``key`` if all that the walk of this epoch found is as it was, else None.

    ``live`` are containers and what they held.
    """
    constants: dict[str, Any] = {
        "__name__": __name__,
        "contents": contents,
        "is_": is_,
        "MISSING": MISSING,
        "Structure": Structure,
    }

    def constant(x: Any) -> str:
        name = f"c{len(constants)}"
        constants[name] = x
        return name

    terms = [f"Structure.epoch == {epoch}"]
    for cell, was in walk.cells:
        inside = f"contents({constant(cell)})" if was is MISSING else f"{constant(cell)}.cell_contents"
        terms.append(f"{inside} is {constant(was)}")
    for space, name, was in walk.names:
        if was is MISSING:
            terms.append(f"{name!r} not in {constant(space)}")
        else:
            terms.append(f"{constant(space)}[{name!r}] is {constant(was)}")
    for x, name, was in walk.attributes:
        terms.append(f"{constant(x)}.{name} is {constant(was)}")
    terms += lengths(walk, constant)
    for x, before in live:
        if type(x) in _MAPPINGS:
            terms.append(_mapping(constant(x), before, constant))
        elif type(x) in (list, set):
            terms.append(_sequence(constant(x), before, constant))
        elif is_plain(x):
            terms.append(_mapping(f"{constant(x)}.__dict__", before, constant))
        else:
            return unknown
    lines = ["def same():", "    try:", f"        return {key} if {' and '.join(terms)} else None"]
    lines += ["    except (KeyError, AttributeError, ValueError): return None"]
    exec(compile("\n".join(lines), "<unchanged>", "exec"), constants)
    same: Callable[[], int | None] = constants["same"]
    return same


class Tags:
    """Says whether dictionaries that hardly ever change are as they were: by a call, or by ``words`` of memory. These are None
    where the versions of dictionaries are not known, and the call compares what they hold.
    """

    def __init__(self, spaces: Iterable[dict[Any, Any]]):
        self._spaces = list(spaces)  # kept, for the words are in them
        found = [version_of(space) for space in self._spaces]
        self.words: list[Word] | None = None if None in found else found  # type: ignore[assignment]
        self.readers: list[tuple[Any, int]] | None = None
        if self.words is None:
            self._known = [list(space.items()) for space in self._spaces]
        else:
            self.readers = [(reader(word), word[1]) for word in self.words]

    def __call__(self) -> bool:
        if self.readers is None:
            return all(map(_is_like, self._spaces, self._known))
        return all(where.value == value for where, value in self.readers)


def _is_like(space: dict[Any, Any], known: list[tuple[Any, Any]]) -> bool:
    same = len(space) == len(known) and all(a is b for a, (b, _) in zip(space, known, strict=True))
    return same and all(map(is_, space.values(), [value for _, value in known]))


def lengths(walk: Walk, constant: Callable[[Any], str]) -> list[str]:
    """The expression, if there is one, that says that the dictionaries of ``walk.sizes`` are as long as they were."""
    if not walk.sizes:
        return []
    spaces, known = zip(*walk.sizes, strict=True)
    return [f"[*map(len, {constant(spaces)})] == {constant(list(known))}"]


def words(walk: Walk, live: list[tuple[Any, list[Any]]]) -> list[Word] | None:
    """The same as words of memory, for native code to look at; None where they do not say all.

    They do for functions with closures, as long as the walk is kept. That nothing was announced, and that the dictionaries
    of ``walk.sizes`` are still as long, is for the caller to see.
    """
    if walk.names or live:
        return None
    found = [word_of(cell, "cell_contents", was) for cell, was in walk.cells]
    found += [word_of(x, name, was) for x, name, was in walk.attributes]
    return None if None in found else found  # type: ignore[return-value]


def _mapping(place: str, before: list[tuple[Any, Any]], constant: Callable[[Any], str]) -> str:
    """Whether a dictionary has the same keys in the same order, and the same values."""
    keys, values = [k for k, _ in before], [v for _, v in before]
    same = _sequence(place, keys, constant)
    if any(v is ANY for v in values):
        return " and ".join([same, *(f"{place}[{constant(k)}] is {constant(v)}" for k, v in before if v is not ANY)])
    return f"{same} and all(map(is_, {place}.values(), {constant(values)}))" if before else same


def _sequence(place: str, before: list[Any], constant: Callable[[Any], str]) -> str:
    """Whether a container holds the same in the same order."""
    if any(x is ANY for x in before):
        same = "".join(f" and {place}[{i}] is {constant(x)}" for i, x in enumerate(before) if x is not ANY)
    else:
        same = f" and all(map(is_, {place}, {constant(before)}))" if before else ""
    return f"len({place}) == {len(before)}{same}"
