"""Source locations of operations."""

from __future__ import annotations

import functools
import os
import re


class Location(str):
    """A place in the user's source, ``file:line``, and its ``origin``: what was called there, for example ``softmax``, or
    ``softmax_backward`` for its gradient. Either may be empty.

    ``module`` and ``phase`` are for reports, and not printed: the path of the modules whose calls were running, such as
    ``Net/layers.0``, and the phase of a training step.
    """

    __slots__ = ("module", "origin", "phase")
    origin: str
    module: str
    phase: str  # forward, backward or optimizer

    def __new__(cls, place: str = "", origin: str = "", module: str = "", phase: str = "forward") -> Location:
        loc = super().__new__(cls, place)
        loc.origin, loc.module, loc.phase = origin, module, phase
        return loc


def origin_of(loc: str) -> str:
    """The origin of a location; empty if it is unknown."""
    return loc.origin if isinstance(loc, Location) else ""


def backward_of(loc: str) -> Location:
    """The location of the gradient of an operation."""
    origin, module = origin_of(loc), loc.module if isinstance(loc, Location) else ""
    return Location(loc, f"{origin.removesuffix('_backward')}_backward" if origin else "", module, "backward")


def comment(loc: str, before: str) -> str | None:
    """The comment for an operation at ``loc`` whose predecessor in the text is at ``before``; None if there is none.

    The place is written if it differs from the predecessor's, the origin also if only that differs.
    """
    if loc == before and (not loc or origin_of(loc) == origin_of(before)):
        return None
    origin = f"({origin_of(loc)})" if loc and origin_of(loc) else ""
    if loc == before:
        return origin or relative(loc)
    return f"{relative(loc)} {origin}".strip()


_COMMENT = re.compile(r"(?P<place>.*?) ?(?:\((?P<origin>\w+)\))?$")


def read_comment(text: str, before: str) -> Location:
    """The location that a comment describes: the inverse of ``comment``."""
    match = _COMMENT.match(text)
    assert match is not None
    return Location(match["place"] or (before if match["origin"] else ""), match["origin"] or "")


def relative(place: str) -> str:
    """The place with a path relative to the current folder, if it is in it."""
    return _relative(str(place), os.getcwd())


@functools.lru_cache(4096)
def _relative(place: str, folder: str) -> str:
    return place.removeprefix(folder.rstrip(os.sep) + os.sep)
