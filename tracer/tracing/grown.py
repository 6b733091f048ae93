"""Updates a traced function when new code has run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .calls import Call
from .kinds import Untraceable

if TYPE_CHECKING:
    from .function import TracedFunction
    from .recording import Recording

_MAX_OLDER = 8  # stored environments


def grow(
    function: TracedFunction, recording: Recording, key: tuple, call: Call, args: tuple, kwargs: dict, learned: bool = False
) -> tuple[tuple, Call] | None:
    """Extends the guards to what that code needs: the key and the call by these guards. Call it while everything is in the
    state before the recorded run.

    Other calls' recordings stay valid by the earlier guards. None if the recording does not apply to such calls, for
    example if it has ``learned`` of a slot that the call did not have, or has run code that the walk had left out.
    """
    known, latest = call.environments[0], function.environment
    if known.ran.has(recording.watch.codes):
        return key, call
    grown = latest.grown(recording.watch)
    if grown is not None:
        if not latest.numbers.isdisjoint(key[1] for key in function.traces):
            function.older.insert(0, latest)
            del function.older[_MAX_OLDER:]
        function.environment = latest = grown
    try:
        surroundings, described = latest.key(), Call(args, kwargs, latest)
    except Untraceable as e:
        recording.recorder.reason = recording.recorder.reason or str(e)
        return key, call
    if learned:
        return None
    owners = {id(e.subject): e for e in described.environments}
    if not known.has_slots_of(latest) or any(id(e.subject) not in owners for e in call.environments):
        function.traces.pop(key, None)
        return None
    for change in recording.before.changes():
        if change.owner is not None:
            change.owner = owners[id(change.owner.subject)]
    described.follow(call)
    new = (described.key, surroundings, *key[2:])
    if key in function.traces:  # these guards imply the former ones
        function.traces[new] = function.traces.pop(key)
    return None if recording.ran_elsewhere(known.ran) else (new, described)


def grow_after_error(
    function: TracedFunction, recording: Recording, key: tuple, call: Call, args: tuple, kwargs: dict
) -> tuple[tuple, Call] | None:
    """The same after a run that has raised an exception, which leaves everything unchanged."""
    recording.recorder.exchange()
    recording.before.undo()
    try:
        return grow(function, recording, key, call, args, kwargs)
    finally:
        recording.before.redo()
        recording.recorder.exchange()
