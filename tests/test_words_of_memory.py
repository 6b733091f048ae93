"""Words of memory that show changes of objects, and the filter of a profile function."""

import sys
import types

import pytest
from test_trace_unchanged import CALLS, Other, Plain, Slotted, X, needs_words

import tracer
from tracer.runtime.support import profile, table, words
from tracer.tracing import watch
from tracer.tracing.unchanged import ANY

# Words of memory.


@needs_words
def test_a_table_says_which_look_differs():
    x, space = [object(), object()], {"a": object(), "b": object()}
    looks = words.items_of_list(x, x, ANY) + words.entries_of(space, space, absent=True)
    looks.append(words.direct(words.version_of(space)))
    found = table.Table(17, looks)
    assert found.same() == 17 and found.differs(0) == -1
    x[1] = None
    assert found.same() == -1 and found.differs(0) == 2 and found.differs(3) == -1
    found.replace(2, words.items_of_list(x, x, ANY)[2:])
    assert found.same() == 17
    space["a"] = None
    assert found.differs(0) == 7 and found.differs(8) == len(looks) - 1
    space["c"] = None
    assert found.differs(0) in (3, 5)


@needs_words
def test_words_of_objects():
    x, y = Plain(a=1.0), Slotted(2.0)
    assert all(words.holds(words.direct(w)) for w in (words.dictionary_of(x), words.class_of(x), words.member_of(y, "a", y.a)))
    assert words.member_of(y, "b") is not None and words.member_of(y, "b", 1.0) is None and words.member_of(x, "a") is None
    seen = words.direct(words.dictionary_of(x))
    x.__dict__ = {"a": 1.0}
    assert not words.holds(seen)
    seen = words.direct(words.class_of(x))
    x.__class__ = Other
    assert not words.holds(seen)
    assert words.word_of(Plain, "__mro__", Plain.__mro__) is not None
    assert words.word_of(types.SimpleNamespace(), "__class__", int) is None


# The filter of a profile function's events.


def test_a_filter_tells_what_is_new_once():
    if not profile.is_available():
        pytest.skip("the interpreter's object layout is unknown, so Python code watches calls")
    told = []

    def callback(frame, event, arg):
        told.append((event, frame.f_code.co_name if event == "call" else arg.__name__))
        seen.remember(frame.f_code if event == "call" else arg, profile.DESCRIBED)

    def inner(k):
        return len([k]) + abs(k)

    def outer():
        return sum(inner(k) for k in range(100))

    seen = profile.Filter(callback)
    for k in range(1000):  # the table grows
        seen.remember(compile(f"{k}", "", "eval"), profile.QUIET)
    kept = [compile(f"{k} + 1", "", "eval") for k in range(1000)]
    for code in kept:
        seen.remember(code, profile.QUIET)
    seen.start()
    outer()
    is_set = sys.getprofile() is seen.key
    sys.setprofile(None)
    assert is_set
    assert [name for event, name in told if event == "call"] == ["outer", "<genexpr>", "inner"]
    assert {name for event, name in told if event == "c_call"} >= {"sum", "len", "abs"} and len(told) < 10


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("hooked", [True, False])
def test_what_a_recorded_run_calls_is_seen(monkeypatch, native, hooked):
    """Also code that runs while nodes are created, in backward passes, and after unwatched code of this package."""
    if not native:
        monkeypatch.setattr(watch.profile, "is_available", lambda: False)
    factors = {"pack": 1.0, "function": 1.0, "hook": 1.0, "late": 1.0}

    def pack(x):
        return x * factors["pack"]

    class Double(tracer.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2 * factors["function"]

        @staticmethod
        def backward(ctx, g):
            return g * 2 * factors["function"]

    def run(trace):
        def f(x):
            x = x.detach().requires_grad_()
            x.register_hook(lambda g: g * factors["hook"])
            if hooked:
                with tracer.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
                    y = x * x
            else:
                y = x * x
            y = Double.apply(y)
            y.sum().backward()
            return x.grad * sum(factors["late"] for _ in range(2))

        f = trace(f)
        results = []
        for name in (None, *factors):
            if name is not None:
                factors[name] = 3.0
            results += [f(X).tolist() for _ in range(CALLS)]
        factors.update(dict.fromkeys(factors, 1.0))
        return results

    assert run(tracer.trace) == run(lambda f: f)
