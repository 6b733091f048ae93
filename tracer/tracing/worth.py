"""Which calls are worth recording, where calls keep differing."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

from .effects import changing_slots
from .explain import arguments, described
from .kinds import STATIC

if TYPE_CHECKING:
    from .calls import Call
    from .replay import Trace
    from .tree import Tree

_FREE, _CHEAP = 16, 2.0  # recordings, and seconds that recordings take, before replays must have repaid them
_REPAY = 32  # replays that repay a recording
_MANY = 64  # successive recordings after which the user is told
_TIMED = 1024  # signatures whose eager calls are timed
_OTHERS = "shapes, or values that it receives or reaches, differ in each call"


class Worth:
    """Decides whether to record a call, from the cost of recordings and the number of replays so far.

    While replays have not repaid the recordings, a signature is recorded only when its eager calls have taken as long as a
    recording takes. So the total time is at most about twice that of the better decision: the break-even rule for the
    ski rental problem (Karlin, Manasse, Rudolph, Sleator: Competitive snoopy caching, Algorithmica 3, 1988).
    """

    def __init__(self) -> None:
        # Seconds of eager calls, by the hash of a signature, last used last.
        self._eager: OrderedDict[int, float] = OrderedDict()
        self._recordings = -1  # for which ``_each`` was computed
        self._each = 0.0  # seconds that a recording takes, with compilation; 0 while recordings are made at once
        self._told = False
        self._successive = 0
        self._replays = 0  # at the latest recording
        self._before: _Situation | None = None  # of the latest but one

    def waits(self, key: Any, recordings: int, replays: int, traces: Sequence[Trace | Tree]) -> bool:
        """True if a call with this key runs eagerly for now. ``traces``: those that are kept of the recordings."""
        if recordings - replays / _REPAY < _FREE:
            return False
        if recordings != self._recordings:
            times = [t.recorded_in + sum(f.compiled_in for f in t.functions) for t in traces]
            each = sum(times) / max(sum(t.paths for t in traces), 1)
            self._recordings, self._each = recordings, each if each * recordings >= _CHEAP else 0.0
        return self._each > 0 and self._eager.get(hash(key), 0.0) < self._each

    def run(self, key: Any, function: Callable[[tuple, dict], Any], args: tuple, kwargs: dict) -> Any:
        """A call that waits."""
        start = perf_counter()
        result = function(args, kwargs)
        number = hash(key)
        self._eager[number] = self._eager.pop(number, 0.0) + perf_counter() - start  # last, whatever other threads do
        if len(self._eager) > _TIMED:
            self._eager.popitem(last=False)
        return result

    def recorded(self, key: Any) -> None:
        """The signature has been recorded: what recurs from now on has another path."""
        self._eager.pop(hash(key), None)

    @property
    def reasons(self) -> dict[Any, str]:
        """For ``explain``."""
        n = len(self._eager)
        return {Worth: f"{n} signature{'s' * (n != 1)}, until calls have recurred so often that a recording pays"} if n else {}

    def differing(self, replays: int, function: Callable[..., Any], call: Call, args: tuple, kwargs: dict) -> str:
        """Counts a call that no recording fits; ``replays`` is the current number of replays. Returns a message for the user,
        once, if there are too many; empty otherwise.
        """
        self._successive = self._successive + 1 if replays == self._replays else 0
        self._replays = replays
        if self._told or not (self._each or self._successive >= _MANY - 1):
            return ""
        before, self._before = self._before, _Situation(function, call, args, kwargs)
        if before is None or not (self._each or self._successive >= _MANY):
            return ""
        self._told, now, self._before = True, self._before, None
        said = (
            "recordings have taken longer than replays save, so calls that do not recur often run eagerly"
            if self._each
            else f"{_MANY} calls in a row were recorded and none replayed"
        )
        return f"{said}: {changing_slots(call) or now.differs(before)}"


class _Situation:
    """A call's dependencies, for comparison with another call's."""

    def __init__(self, function: Callable[..., Any], call: Call, args: tuple, kwargs: dict):
        self.arguments = arguments(function, args, kwargs)
        self.names = call.environments[0].values

    def differs(self, before: _Situation) -> str:
        """The differences between this call and an earlier one, as text."""
        pairs = zip(before.arguments, self.arguments, strict=False)
        found = [f"{old}, and then {new.partition(': ')[2]}" for old, new in pairs if old != new]
        for name, old in before.names.items():
            new = self.names.get(name, old)
            if new is not old and (type(new) is not type(old) or not isinstance(new, STATIC) or new != old):
                later = described(new) if described(new) != described(old) else "a different one"
                found.append(f"{name} was {described(old)}, and then {later}")
        return f"in the last two, {'; '.join(found[:3])}" if found else _OTHERS
