"""The traced function: when to record, when to replay, when to run eagerly."""

from __future__ import annotations

import contextlib
import functools
import math
import types
from collections import OrderedDict
from collections.abc import Callable, Iterable
from time import perf_counter
from typing import Any, Concatenate, Generic, overload

from ..core.context import context
from ..core.warning import warn
from ..ir.graph import Graph, Value
from ..runtime.forks import reentrant_lock
from . import switches
from .afterwards import learn_from_hooks
from .alike import Classes, classes, left_behind, told_apart
from .applications import Application
from .calls import Call
from .depth import probe_stack
from .effects import learn
from .ending import Ending, is_tree
from .entered import Entered
from .explain import Explanation, arguments, explained
from .express import MISS, Express, express, no_replay, shapes
from .facade import Attributes, CacheInfo, P, Q, R, S, TracedMethod, deferred
from .failure import TraceWarning, describe
from .follow import Left, Uncompiled, Unseen
from .grown import grow, grow_after_error
from .guards import Environment
from .kinds import Untraceable, Wrapper, weakened
from .naming import name_inputs
from .natively import Native
from .recorder import Recorder
from .recording import Recording, is_under_way, signals_apart
from .replay import Refused, Trace
from .result import finish
from .tape import spans
from .tree import Tree, forget_trees
from .world import muted
from .worth import Worth

_MAX_TRACES = 8  # per signature: with more, something changes in every call
_MAX_EXPRESS = 256  # generated replays
_MAX_ALIKE = 16  # of them for arguments of the same shapes: each costs its guards in every call
_ROOM = 50  # frames that recording needs in addition to the function's
_MAX_KEYS = 256  # signatures with stored traces
_MAX_BYTES = 1 << 30  # memory that traces keep between calls
_MAX_REASONS = 1024  # signatures that are known to run eagerly
_MAX_WRITTEN = 4  # times that one trace's replay is generated
_MAX_LEARNED = 32  # runs of a function that are needed to find out what it changes
_MAX_UNSTABLE = 4  # successive calls that change what they depend on


class TracedFunction(Native, Attributes, Wrapper, Generic[P, R]):
    """The result of ``@tracer.trace``: call it like ``function``, with arguments of any shapes and dtypes. It raises what the
    function raises. ``check`` compares every replay with the function, and raises TraceError if they differ. Without ``wait``,
    calls run eagerly while a thread compiles.

    The first call of a signature runs the function eagerly and records it; later calls replay the recorded graph as one
    native program. Code that cannot be replayed runs eagerly, with one warning that says why and where.

    It has the function's attributes, and assigned attributes are the function's.
    """

    __slots__ = (
        "_before",
        "_check",
        "_eager_calls",
        "_ended",
        "_entered",
        "_express",
        "_latest",
        "_learned",
        "_lock",
        "_recorded",
        "_replays",
        "_unstable",
        "_untraceable",
        "_wait",
        "_warned",
        "_worth",
        "_written_for",
        "eager_reasons",
        "environment",
        "function",
        "native_environment",
        "older",
        "traces",
    )

    def __init__(self, function: Callable[P, R], check: bool = False, wait: bool = True):
        self.function = function
        self._check, self._wait = check or switches.CHECKED, wait
        functools.update_wrapper(self, function, updated=())
        self.native_environment = Environment(function)  # dependencies of native code created from the function
        self._lock = reentrant_lock()
        self.clear()
        switches.created(self)

    def clear(self) -> None:
        """Removes all traces, all reasons to run eagerly, and the counts: the next call records."""
        with self._lock:
            self.environment = Environment(self.function)
            self.older: list[Environment] = []  # with less code that has run, for existing traces
            self.traces: OrderedDict[Any, list[Trace | Tree]] = OrderedDict()  # least recently used first
            self.eager_reasons: dict[Any, str] = {}
            # Generated replays, by the shapes of arguments. They keep alive what the function reaches now.
            self._express: dict[tuple, list[Express]] = {}
            self._latest = self._before = no_replay  # the one tried first; the last one found by shapes
            self._written_for: dict[int, int] = {}  # the surroundings that they are for, by the environment's number
            self._recorded = self._eager_calls = 0  # calls
            self._ended = 0  # recordings
            self._entered: set[tuple[str, str | None]] = set()  # operations that have had hooks (``Hooks.places``)
            self._replays = 0  # of removed traces
            self._untraceable = False
            self._unstable = 0
            self._worth = Worth()
            self._learned = 0  # runs that only revealed what changes
            self._warned = False

    @overload
    def __get__(self, instance: None, owner: type) -> TracedFunction[P, R]: ...
    @overload
    def __get__(self: TracedFunction[Concatenate[S, Q], R], instance: S, owner: type | None = None) -> TracedMethod[Q, R]: ...
    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    @property
    def _name(self) -> str:
        return getattr(self.function, "__name__", type(self.function).__name__).replace("<", "").replace(">", "")

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            result = self._latest(args, kwargs)
            if result is not MISS:
                return result
            for replay in self._express.get(shapes(args), ()):
                result = replay(args, kwargs)
                if result is not MISS:
                    self._latest, self._before = replay if replay is self._before else no_replay, replay
                    return result
        except Untraceable:
            pass
        return self._call(args, kwargs)

    def _call(self, args: tuple, kwargs: dict) -> Any:
        if context.recording:
            return self.function(*args, **kwargs)
        recorded = self._ended
        found = None if is_under_way() else self._find(args, kwargs)
        if found is None:  # inlined here: deep in the stack each frame counts
            self._eager_calls += 1
            return self.function(*args, **kwargs)
        trace, key, call = found
        if trace is not None and self._check:
            return self._compared(trace, key, call, args, kwargs)
        if trace is not None:
            return self._replay(trace, key, call, args, kwargs)
        if self._waits(key, call, args, kwargs):
            return self._worth.run(key, self._run_eagerly, args, kwargs)
        with self._lock:  # another thread may have recorded it
            return self._record(key, call, args, kwargs) if self._ended == recorded else self._call(args, kwargs)

    def _compared(self, trace: Trace | Tree, key: tuple, call: Call, args: tuple, kwargs: dict) -> Any:
        """A replay compared with the function, whose result is returned. Raises TraceError if they differ."""
        from .checking import Check

        check = Check(self._name, self.function, call, call.environments[0].tensors)
        replays, muted.on = trace.replays, True
        try:
            result = self._replay(trace, key, call, args, kwargs)
        finally:
            muted.on = False
        if trace.replays == replays:  # it ran eagerly
            return result
        return check.compare(result, args, kwargs, trace.graph if isinstance(trace, Trace) else None)

    def _run_eagerly(self, args: tuple, kwargs: dict) -> Any:
        self._eager_calls += 1
        return self.function(*args, **kwargs)

    def _find(self, args: tuple, kwargs: dict) -> tuple[Trace | Tree | None, tuple, Call] | None:
        """The trace for a call, its key and description; None if such calls run eagerly."""
        if self._untraceable or switches.is_eager():
            return None
        if context.saved_tensors_hooks or context.anomaly:  # both affect single operations
            return None
        try:
            if later := deferred(self.function):
                self._give_up(later)
                return None
            self.environment.look_again()
            try:
                self.environment.key()
            except Untraceable as e:
                self._give_up(str(e))
                return None
            return self._find_trace(args, kwargs)
        except Untraceable as e:
            self._stay_eager(None, str(e))
        except RecursionError:
            self._out_of_room()
        except Exception as e:
            self._not_described(e)
        return None

    def _find_trace(self, args: tuple, kwargs: dict) -> tuple[Trace | Tree | None, tuple, Call] | None:
        """Like ``_find``. Raises Untraceable; RecursionError if the stack is too deep for recording."""
        found = self._look(self.environment, args, kwargs)
        trace, key, _ = found
        if trace is None:
            for environment in list(self.older):
                with contextlib.suppress(Untraceable):
                    older = self._look(environment, args, kwargs)
                    if older[0] is not None:
                        return older
            if key in self.eager_reasons:
                return None
            probe_stack(_ROOM)
        return found

    def _look(self, environment: Environment, args: tuple, kwargs: dict) -> tuple[Trace | Tree | None, tuple, Call]:
        """The trace for a call, if there is one, according to an environment. Raises Untraceable."""
        surroundings = environment.key()
        if surroundings != self._written_for.get(environment.number):
            self._forget_written(environment, surroundings)
        call = Call(args, kwargs, environment)
        key = (call.key, surroundings, context.grad_enabled, context.default_dtype, context.mode)
        return self._matching(key, call), key, call

    def _matching(self, key: tuple, call: Call) -> Trace | Tree | None:
        for trace in self.traces.get(key, ()):
            if trace.matches(call):
                with contextlib.suppress(KeyError):  # another thread may have removed it
                    self.traces.move_to_end(key)
                return trace
        return None

    def _forget_written(self, environment: Environment, surroundings: int) -> None:
        """Drops the generated replays for other surroundings: they may be all that keeps some tensors alive."""
        self._written_for[environment.number] = surroundings
        self._express.clear()
        self._latest = self._before = no_replay
        for older in self.older:
            if older is not environment:
                older.rest()
        for traces in list(self.traces.values()):
            for trace in traces:
                if isinstance(trace, Trace):
                    trace.replayed = trace.replayed and trace.written_out >= _MAX_WRITTEN

    def _make_room(self) -> None:
        """Removes the traces that can never match again, and the least recently used ones if there are too many."""
        if self._recorded % 16 and len(self.traces) < _MAX_KEYS:
            return
        for key, traces in list(self.traces.items()):
            self._drop_dead(traces)
            if not traces:
                self.traces.pop(key, None)
        sizes = {key: sum(trace.nbytes for trace in traces) for key, traces in list(self.traces.items())}
        total = sum(sizes.values())
        enough = len(self.traces) if len(self.traces) < _MAX_KEYS else _MAX_KEYS * 3 // 4
        for key, size in list(sizes.items())[:-1]:
            if len(self.traces) <= enough and total < _MAX_BYTES:
                break
            self._replays += sum(trace.replays for trace in self.traces.pop(key, ()))
            total -= size

    def _drop_dead(self, traces: list[Trace | Tree]) -> None:
        """Removes the traces that can never match again."""
        self._replays += sum(trace.replays for trace in traces if not trace.may_match)
        traces[:] = [trace for trace in traces if trace.may_match]

    def _replay(self, trace: Trace | Tree, key: tuple, call: Call, args: tuple, kwargs: dict) -> Any:
        if isinstance(trace, Tree):
            return self._follow(trace, key, call, args, kwargs)
        if not trace.replayed:
            written = None
            try:  # before anything has changed
                is_ready = trace.function.prepare(self._wait)
                if is_ready:
                    written = self._prepare(trace, key, call, args, kwargs)
            except RecursionError:
                self._out_of_room()
                return self._run_eagerly(args, kwargs)
            except Exception as e:
                self._compilation_failed(trace, key, e, trace.graph)
                return self._run_eagerly(args, kwargs)
            if not is_ready:
                return self._run_eagerly(args, kwargs)
            if written is not None:
                start = perf_counter()
                result = written(args, kwargs)
                if result is not MISS:
                    trace.took(perf_counter() - start)
                    trace.release()
                    return result
        try:
            start = perf_counter()
            result = trace.replay(call)
            trace.took(perf_counter() - start)
            return result
        except Refused:
            return self._run_eagerly(args, kwargs)  # raises the exception where the function does

    def _follow(self, tree: Tree, key: tuple, call: Call, args: tuple, kwargs: dict) -> Any:
        """A replay along the known paths; if the call leaves them, the function runs, and its path is recorded."""
        unseen = None
        try:
            return tree.replay(call)
        except Unseen as e:
            unseen = e.node
        except Uncompiled as e:
            self._compilation_failed(tree, key, e.error, e.graph)
        except RecursionError:
            self._out_of_room()
        except Left:
            pass  # the function raises the error, or continues
        if unseen is None:
            return self._run_eagerly(args, kwargs)
        if reason := tree.missed(unseen):
            self._forget(tree, key)
            self._stay_eager(key, reason)
            return self._run_eagerly(args, kwargs)
        if self._waits(key, call, args, kwargs):
            return self._worth.run(key, self._run_eagerly, args, kwargs)
        with self._lock:
            return self._record(key, call, args, kwargs)

    def _prepare(self, trace: Trace, key: tuple, call: Call, args: tuple, kwargs: dict) -> Express | None:
        """Readies a compiled trace; returns its generated replay, if it is one of the simple ones."""
        written = None
        with signals_apart():
            at = shapes(args)
            room = len(self._express.get(at, ())) < _MAX_ALIKE and sum(map(len, self._express.values())) < _MAX_EXPRESS
            if room and not self._check and trace.written_out < _MAX_WRITTEN:
                trace.written_out += 1
                written = express(trace, call, args, kwargs, call.environments[0], key)
            if written is not None and key[1] in self._written_for.values():
                self._express.setdefault(at, []).append(written)
                self._latest = written
        trace.replayed = True
        return written

    def _record(self, key: Any, call: Call, args: tuple, kwargs: dict) -> Any:
        self._make_room()
        if self._is_full(key) and call.promoted:
            key = self._pin(key, call, call.promoted)
        if self._is_full(key):
            self._stay_eager(key, f"it was recorded {_MAX_TRACES} times for one signature: a number it reads keeps changing")
            return self._run_eagerly(args, kwargs)
        self._worth.recorded(key)
        self._recorded += 1
        with Recording(self._name, call) as recording, recording.excusing(functools.partial(self._stay_eager, key)):
            if recording.is_alone:
                return self._recorded_call(recording, key, call, args, kwargs)
        return self._run_eagerly(args, kwargs)

    def _recorded_call(self, recording: Recording, key: Any, call: Call, args: tuple, kwargs: dict) -> Any:
        """A recorded call, and the result of the recording."""
        recorder, before = recording.recorder, recording.before
        recorder.arrays, recorder.plain_numbers = self.environment.arrays, self.environment.asks_types
        recorder.movings.allowed, recorder.hooks.places = not self.environment.reads_positions, self._entered
        try:
            box = [recording.run(self.function, args, kwargs)]
        except Exception:
            try:
                known = grow_after_error(self, recording, key, call, args, kwargs)
                if known is not None and not recorder.fails:
                    self._leave(*known, recorder)
            except Exception as e:  # of the guards: the function raises its own error
                self._not_described(e)
            self._ended += 1
            raise
        try:
            recorder.exchange()
            try:
                changes = before.changes()
                learned, stable = learn(before, call) or recording.filled_caches(), False
                learned |= learn_from_hooks(recorder.hooks.waiting, call) or recording.needed_exact
                recorder.reason = recorder.reason or recording.watch.refusal or before.refusal()
                before.undo()
                if not learned and not recorder.reason:
                    recorder.reason = self._changed(key, call, args, kwargs)
                    stable = not recorder.reason and call.environments[0].key() == key[1]
                learned |= call.tell_apart(told_apart(recorder, call))
                known = grow(self, recording, key, call, args, kwargs, learned)
                if known is not None:
                    key, call = known
                    allowed = {**call.environments[0].tensors, **call.reached}
            finally:
                before.redo()
                recorder.exchange()
            if learned or known is None:
                self._learned += 1
                if changes and self._learned >= _MAX_LEARNED:
                    self._give_up(f"it changes something different in every call, for example {changes[-1].name()}")
                recorder.events.clear()
            elif stable and not recorder.reason and not call.looks_at_more(recorder.looked_at):
                ending = finish(recorder, box, allowed, call, changes)
                if ending is not None and not call.tell_apart(left_behind(recorder)):
                    name_inputs(recorder, call, self.function, args, kwargs)
                    pinned = self._pin(key, call, recorder.pinned())
                    if pinned is key or not is_tree(recorder, ending):  # a constant number decides nothing in later runs
                        self._keep(pinned, call, recorder, ending)
                self._unstable = 0
        except Exception as e:  # the function has run: whatever is wrong with the recording, its result is valid
            recorder.fail(e)
        if recorder.movings.refused:  # the next recording reads the positions
            self.environment.reads_positions, recorder.reason = True, ""
        if isinstance(recorder.failure, RecursionError):
            self._out_of_room()
        elif recorder.failure is not None:
            self._stay_eager(key, describe(recorder.failure, recorder.builder), always=True)
        elif recorder.reason and not recorder.fails and not self._leave(key, call, recorder):
            self._stay_eager(key, recorder.reason)
        for trace in self._all_traces():
            trace.called_with = trace.called_with or arguments(self.function, args, kwargs)
        self._ended += 1
        return recording.settle(box.pop())

    def _keep(self, key: Any, call: Call, recorder: Recorder, ending: Ending) -> None:
        """Turns a recording into a trace, or one of the paths of a tree."""
        if not is_tree(recorder, ending):
            trace = Trace(recorder, ending)
            trace.kept, trace.recorded_in = weakened(call.kept), perf_counter() - recorder.started
            others = [x for x in self.traces.get(key, ()) if not (isinstance(x, Tree) and x.needs_the_same)]
            self.traces[key] = [trace, *others]
            self._compile_later(trace)
            return
        if recorder.hooks.grew:  # paths that are known do not enter what this one does
            self._replays += forget_trees(self.traces.values())
        number: dict[Value, int] = {}
        found = spans(recorder, number)
        tree = self._tree(key, call)
        tree.recorded_in += perf_counter() - recorder.started
        same = classes(recorder.alike.first)
        if tree.attach(found, ending.numbered(number), same):
            self._compile_later(tree)
        elif not self._tells_apart(tree, key, call, same):
            recorder.reason = "it behaves differently in calls between which guards see no difference"

    def _compile_later(self, trace: Trace | Tree) -> None:
        """Has it compiled in the background, if calls do not wait for that."""
        for function in () if self._wait else trace.recorded_functions():
            function.is_ready()

    def _tells_apart(self, tree: Tree, key: Any, call: Call, same: Classes) -> bool:
        """Two recordings differ. If the same arguments were not the same in both, that matters from now on."""
        if not same and not tree.needs_the_same:
            return False
        self._forget(tree, key)
        call.tell_apart(range(len(call.tensors)))
        return True

    def _leave(self, key: Any, call: Call, recorder: Recorder) -> bool:
        """For a recording that cannot be replayed to its end, stores the path to the last event."""
        recorder.events = [s for s in recorder.events if not isinstance(s.event, (Application, Entered))]
        if not recorder.branches or not recorder.events:
            return False
        if self._tree(key, call).leave(spans(recorder, {}, whole=False), recorder.reason, classes(recorder.alike.first)):
            self._warn(recorder.reason)
            return True
        return False

    def _tree(self, key: Any, call: Call) -> Tree:
        """The tree of a signature."""
        traces = self.traces.setdefault(key, [])
        self._drop_dead(traces)
        tree = next((trace for trace in traces if isinstance(trace, Tree)), None)
        if tree is None:
            traces.append(tree := Tree(self._name, self._wait))
            tree.kept = weakened(call.kept)
        return tree

    def _pin(self, key: tuple, call: Call, positions: Iterable[int]) -> tuple:
        """Makes some ints of such calls constants; returns the call's new key."""
        constants = call.promoted.intersection(positions)
        if not constants:
            return key
        self.environment.changing.pin(call.structure, constants)
        call.settle()
        return (call.key, *key[1:])

    def _waits(self, key: tuple, call: Call, args: tuple, kwargs: dict) -> bool:
        """True if a call that no recording fits runs eagerly, because recording it would not pay yet."""
        traces = self._all_traces()
        replays = self._replays + sum(trace.replays for trace in traces)
        if told := self._worth.differing(replays, self.function, call, args, kwargs):
            self._warn(told, what="keeps recording")
        return self._worth.waits(key, self._recorded, replays, traces)

    def _is_full(self, key: tuple) -> bool:
        """True if the signature has the maximum number of traces."""
        return sum(isinstance(trace, Trace) for trace in self.traces.get(key, ())) >= _MAX_TRACES

    def _changed(self, key: Any, call: Call, args: tuple, kwargs: dict) -> str:
        """The guarded objects that a run has changed, as the reason to discard its trace; empty if none."""
        try:
            surroundings = self.environment.key()
            if surroundings != key[1]:
                # For example, an optimizer created its state. The next call may be stable.
                if self._is_unstable():
                    arrays = ", such as the elements of NumPy arrays" if self.environment.arrays else ""
                    self._give_up(f"every call changes what the function depends on{arrays}: keep changing values in tensors")
                return ""
            if Call(args, kwargs, self.environment).key != call.key:
                return "it changes its arguments"
        except Untraceable as e:
            return str(e)
        return "" if (context.grad_enabled, context.default_dtype, context.mode) == key[2:] else "it changes a mode"

    def _not_described(self, e: Exception) -> None:
        self._give_up(f"guards cannot describe what it reaches ({type(e).__name__}: {e}); please report it")

    def _is_unstable(self) -> bool:
        """True if too many successive calls could not be recorded."""
        self._unstable += 1
        return self._unstable >= _MAX_UNSTABLE

    def _out_of_room(self) -> None:
        """The stack is too deep for more than the function itself. The next call may come from elsewhere."""
        with contextlib.suppress(RecursionError):  # there may be no space for a warning either
            if self._is_unstable():
                self._give_up("it is called from too deep in the stack, or reaches objects that are nested too deeply")

    def _compilation_failed(self, trace: Trace | Tree, key: tuple, error: Exception, graph: Graph) -> None:
        self._forget(trace, key)
        self._stay_eager(key, describe(error, graph), always=True)

    def _forget(self, trace: Trace | Tree, key: tuple) -> None:
        with contextlib.suppress(KeyError, ValueError):  # another thread may have removed it
            self.traces[key].remove(trace)

    def _give_up(self, reason: str) -> None:
        """Runs the function eagerly from now on."""
        self._untraceable = True
        # Nothing is kept alive for guards.
        self._replays += sum(trace.replays for trace in self._all_traces())
        self.environment, self.older = Environment(self.function), []
        self.traces.clear()
        self._express.clear()
        self._latest = self._before = no_replay
        self._stay_eager(None, reason)

    def _stay_eager(self, key: Any, reason: str, always: bool = False) -> None:
        """Runs such calls eagerly from now on. The first reason is reported, and always if ``always``."""
        if len(self.eager_reasons) >= _MAX_REASONS:
            self.eager_reasons.pop(next(iter(self.eager_reasons)), None)
        self.eager_reasons[key] = reason
        self._warn(reason, always)

    def _warn(self, reason: str, always: bool = False, what: str = "runs eagerly") -> None:
        if always or not self._warned:
            self._warned = True
            code = getattr(self.function, "__code__", None)
            where = f" ({code.co_filename}:{code.co_firstlineno})" if code else ""
            warn(f"{self._name}{where} {what}: {reason}", TraceWarning)

    def explain(self) -> Explanation:
        """A report on what is compiled, for which arguments, and what it depends on; and on what is not, and why."""
        reasons = {**self.eager_reasons, **self._worth.reasons}
        return Explanation(explained(self._name, self._all_traces(), self.cache_info(), self.environment, reasons))

    def _repr_html_(self) -> str:
        return self.explain()._repr_html_()

    def cache_info(self) -> CacheInfo:
        """The numbers of replayed, recorded and eager calls, and the stored data."""
        traces = self._all_traces()
        replays = self._replays + sum(trace.replays for trace in traces)
        return CacheInfo(replays, self._recorded, self._eager_calls, len(traces), sum(trace.nbytes for trace in traces))

    def _all_traces(self) -> list[Trace | Tree]:
        return [trace for traces in list(self.traces.values()) for trace in traces]

    def wait_until_compiled(self, timeout: float | None = None) -> bool:
        """Waits until everything that has been recorded is compiled, at most ``timeout`` seconds; False if it is not by then.

        With ``trace(wait=False)`` this sets the call from which compiled code runs; otherwise the next call compiles.
        """
        end = math.inf if timeout is None else perf_counter() + timeout
        for trace in self._all_traces():
            for function in trace.recorded_functions():
                with contextlib.suppress(Exception):  # reported by the call that needs it
                    if not function.is_ready(None if timeout is None else max(end - perf_counter(), 0)):
                        return False
        return True

    def graphs(self) -> list[Graph]:
        """The recorded graphs, one per trace."""
        return [graph for t in self._all_traces() for graph in t.graphs]

    def fused_graphs(self) -> list[Graph]:
        """The compiled graph of each trace, after all passes."""
        return [graph for t in self._all_traces() for graph in t.fused_graphs]
