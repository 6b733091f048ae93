"""Traced functions that change arguments which are views of tensors that they do not reach."""

import pytest

import tracer


def first_row(a):
    a[0] += 1
    return a[1]


def transposed(a):
    a.T[0] = 5.0
    return a.view(-1)


def through_detach(a):
    a.detach().add_(1)
    return a.sum()


def on_a_condition(a):
    if a.sum() > 3:
        a[1] += 1
    a[2] -= a[1]
    return a


def gradient(a):
    a.requires_grad_()
    (a * a).sum().backward()
    return a.grad


def two(a, b):
    a += b
    b *= 2
    return a.sum() + b.sum()


def grid():
    return [tracer.arange(16.0).reshape(4, 4)]


def detached():
    x = tracer.arange(16.0, requires_grad=True)
    return [(x * 2).detach().view(4, 4)]


def halves():
    x = tracer.arange(16.0)
    return [x[:8], x[8:]]


def separate():
    return [tracer.arange(20.0)[4:12], tracer.arange(8.0)]


CASES = [(f, make) for make in (grid, detached) for f in (first_row, transposed, through_detach, on_a_condition, gradient)]
CASES += [(two, halves), (two, separate)]


def same(x, y):
    return tracer.equal(x.detach(), y.detach()) and x._version == y._version and (x._base is None) == (y._base is None)


@pytest.mark.parametrize(("function", "make"), CASES)
def test_it_is_compiled_and_changes_what_eager_code_changes(function, make):
    traced = tracer.trace(function)
    for _ in range(4):
        given, expected = make(), make()
        assert same(traced(*given), function(*expected))
        assert all(map(same, given, expected))
        bases = [(x._base, y._base) for x, y in zip(given, expected, strict=True) if y._base is not None]
        assert all(same(x, y) for x, y in bases)
    assert traced.cache_info().replays >= 2 and not traced.eager_reasons


def test_calls_with_views_of_one_and_of_two_tensors_share_a_trace():
    traced = tracer.trace(two)
    for make in (halves, separate, halves, separate):
        given, expected = make(), make()
        assert same(traced(*given), two(*expected))
        assert all(map(same, given, expected))


def test_a_base_that_the_function_reaches_is_changed_with_the_view():
    base = tracer.arange(16.0)

    def f(a):
        a.mul_(0.5)
        return base.sum()

    traced = tracer.trace(f)
    for k in range(4):
        assert traced(base.view(4, 4)).item() == 60.0 / 2**k


def test_a_base_that_is_an_argument_is_changed_with_the_view():
    def f(a, b):
        a += 1
        return b * 2

    traced = tracer.trace(f)
    for _ in range(4):
        x, y = tracer.arange(16.0), tracer.arange(16.0)
        assert tracer.equal(traced(x[:8], x), f(y[:8], y)) and tracer.equal(x, y)
