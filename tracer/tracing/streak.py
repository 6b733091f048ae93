"""Successive recordings without a replay: finds the values that differ in each call."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .effects import changing_slots
from .explain import arguments, described
from .kinds import STATIC

if TYPE_CHECKING:
    from .calls import Call

_MANY = 64  # number after which the user is told
_TOO_MANY = 512  # number after which such calls are no longer recorded
_SOME, _TOO_LONG = 16, 5.0  # the same for this number, if their recording took so many seconds
_OTHERS = "shapes, or values that it receives or reaches, differ in each call"


class Streak:
    """Counts successive recordings."""

    def __init__(self) -> None:
        self._n = 0
        self.seconds = 0.0  # of these recordings
        self._replays = 0  # at the latest of them
        self._before: _Situation | None = None  # of the latest but one

    def add(self, replays: int, function: Callable[..., Any], call: Call, args: tuple, kwargs: dict) -> str:
        """Counts one more; ``replays`` is the current number of replays. Returns a message for the user, once; empty
        otherwise.
        """
        if replays == self._replays:
            self._n += 1
        else:
            self._n, self.seconds = 0, 0.0
        self._replays = replays
        if self._n == _MANY - 1:
            self._before = _Situation(function, call, args, kwargs)
        if self._n != _MANY:
            return ""
        changing = changing_slots(call) or _Situation(function, call, args, kwargs).differs(self._before)
        self._before = None
        return f"{_MANY} calls in a row were recorded and none replayed: {changing}"

    @property
    def is_too_long(self) -> bool:
        return self._n >= _TOO_MANY or (self._n >= _SOME and self.seconds >= _TOO_LONG)


class _Situation:
    """A call's dependencies, for comparison with another call's."""

    def __init__(self, function: Callable[..., Any], call: Call, args: tuple, kwargs: dict):
        self.arguments = arguments(function, args, kwargs)
        self.names = call.environments[0].values

    def differs(self, before: _Situation | None) -> str:
        """The differences between this call and an earlier one, as text."""
        if before is None:
            return _OTHERS
        pairs = zip(before.arguments, self.arguments, strict=False)
        found = [f"{old}, and then {new.partition(': ')[2]}" for old, new in pairs if old != new]
        for name, old in before.names.items():
            new = self.names.get(name, old)
            if new is not old and (type(new) is not type(old) or not isinstance(new, STATIC) or new != old):
                later = described(new) if described(new) != described(old) else "a different one"
                found.append(f"{name} was {described(old)}, and then {later}")
        return f"in the last two, {'; '.join(found[:3])}" if found else _OTHERS
