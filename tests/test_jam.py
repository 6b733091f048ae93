"""Loop fusion over the same range, where it is valid."""

import numpy as np

import tracer
from tracer.codegen.jam import jam
from tracer.codegen.nest import Do, Let, Loop, Store


def loop(variable, *body, stop="n0"):
    return Loop(variable, "0", stop, list(body))


def total(variable, accumulator="a1", array="p0", stop="n0"):
    """A sum over an array, in a loop."""
    x = f"t{variable[1:]}"
    text = f"accumulate({accumulator}, {x})"
    return loop(variable, Let(x, f"load({array}, {variable})"), Let(accumulator, text), stop=stop)


def copy(variable, to="p1", array="p0", more=()):
    x = f"t{variable[1:]}"
    return loop(variable, Let(x, f"load({array}, {variable})"), *more, Store(to, variable, x))


START = Let("a1", "f32(0.0)")


def test_what_both_read_is_read_once():
    start, joined = jam([START, total("r2"), copy("r3")])
    assert start is START
    assert joined.body == [Let("t2", "load(p0, r2)"), Let("a1", "accumulate(a1, t2)"), Store("p1", "r2", "t2")]


def test_two_sums():
    second = Let("a4", "f32(0.0)")
    assert [type(s) for s in jam([START, total("r2"), second, total("r3", "a4")])] == [Let, Let, Loop]


def test_a_loop_that_needs_the_sum_stays():
    uses = copy("r3", more=[Let("t9", "t3 / a1")])
    assert len(jam([START, total("r2"), uses])) == 3
    through = [Let("t8", "a1 * a1"), copy("r3", more=[Let("t9", "t3 / t8")])]
    assert len(jam([START, total("r2"), *through])) == 4


def test_what_it_needs_and_the_sum_does_not_goes_first():
    result = jam([START, total("r2"), Let("t8", "n1 * n1"), copy("r3", more=[Let("t9", "t3 / t8")])])
    assert [type(s) for s in result] == [Let, Let, Loop]
    assert result[1] == Let("t8", "n1 * n1")


def test_a_sum_that_is_made_between_is_not_taken_for_its_beginning():
    """The second loop needs the first's maximum, the fourth the third's minimum, which joins the second."""
    starts = [Let("a1", "f64(-inf)"), Let("a2", "f64(0.0)"), Let("a3", "f64(inf)"), Let("a4", "f64(0.0)")]

    def count(variable, accumulator, extremum):
        x = f"t{variable[1:]}"
        text = f"accumulate({accumulator}, {x} == {extremum})"
        return loop(variable, Let(x, f"load(p0, {variable})"), Let(accumulator, text))

    loops = [total("r5", "a1"), count("r6", "a2", "a1"), total("r7", "a3"), count("r8", "a4", "a3")]
    result = jam([s for pair in zip(starts, loops, strict=True) for s in pair])
    joined = [s for s in result if isinstance(s, Loop)]
    assert len(joined) == 3
    made = [{s.name for s in one.body if isinstance(s, Let) and s.name[0] == "a"} for one in joined]
    assert made == [{"a1"}, {"a2", "a3"}, {"a4"}]


def test_extrema_differentiated_from_outside():
    f = tracer.trace(lambda x: tuple(tracer.aminmax(x)))
    data = np.random.default_rng(0).standard_normal((5, 5, 5))
    for _ in range(3):
        x = tracer.from_numpy(data.copy()).requires_grad_()
        (g,) = tracer.autograd.grad([o * 1.0 for o in f(x)], [x], [tracer.tensor(2.0).double()] * 2, create_graph=True)
        assert g.sum().item() == 4


def test_other_ranges_and_other_arrays_stay():
    assert len(jam([START, total("r2"), copy("r3"), copy("r4", array="p2")])) == 3
    assert len(jam([START, total("r2", stop="n1"), copy("r3")])) == 3


def test_memory_keeps_its_order():
    """A result that replaces the operand may be written in the same iteration; not elsewhere, and not if it is read later."""
    assert len(jam([START, total("r2"), copy("r3", to="p0")])) == 2
    moved = loop("r3", Let("t3", "load(p0, r3)"), Store("p0", "n1 - r3", "t3"))
    assert len(jam([START, total("r2"), moved])) == 3
    between = [START, total("r2"), Let("t7", "load(p1, 0)"), copy("r3")]
    assert len(jam(between)) == 4
    assert len(jam([copy("r2", to="p0", array="p2"), copy("r3")])) == 2
    assert len(jam([START, total("r2"), Do("gemm_f32(p0)"), copy("r3")])) == 4


def test_inside_of_loops():
    (outer,) = jam([Loop("i0", "start", "stop", [START, total("r2"), copy("r3")])])
    assert len(outer.body) == 2


def test_a_value_and_its_derivatives_agree_with_eager():
    def program(x, y):
        loss = (tracer.sigmoid(x) * tracer.exp(-y) + tracer.log1p(y * y)).sum(1)
        loss.sum().backward()
        return loss

    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((50, 300)).astype(np.float32) for _ in range(2)]
    results = []
    for f in (program, traced := tracer.trace(program), traced):
        x, y = (tracer.from_numpy(a.copy()).requires_grad_() for a in arrays)
        results.append([f(x, y).detach().numpy(), x.grad.numpy(), y.grad.numpy()])
    for got in results[1:]:
        for a, b in zip(got, results[0], strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-5)
