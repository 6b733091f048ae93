"""Traced functions that change arguments which are views of tensors that they do not reach."""

import math

import numpy as np
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


def doubled(a):
    a.mul_(2)
    a[0] += 1


def shifted(a):
    a[1:] += a[:-1]
    return a.sum(0)


def centred(a):
    if a.sum() > 0:
        a -= a.mean()
    return a


STRIDED = {
    "transposed": lambda: tracer.arange(12.0).reshape(3, 4).T,
    "columns": lambda: tracer.arange(24.0).reshape(4, 6)[:, 1:4],
    "every second row": lambda: tracer.arange(24.0).reshape(8, 3)[::2],
    "permuted": lambda: tracer.arange(24.0).reshape(2, 3, 4).permute(2, 0, 1),
    "of an array by columns": lambda: tracer.from_numpy(np.asfortranarray(np.arange(12.0).reshape(3, 4))),
    "whole numbers": lambda: tracer.arange(12).reshape(3, 4).T,
    "16 bits": lambda: tracer.arange(12).reshape(3, 4).to(tracer.bfloat16).T,
}


@pytest.mark.parametrize("function", [doubled, shifted, centred])
@pytest.mark.parametrize("name", STRIDED)
def test_memory_that_is_not_contiguous_is_changed_in_place(function, name):
    if function is centred and not STRIDED[name]().is_floating_point():
        return
    traced = tracer.trace(function)
    for _ in range(8):  # also along a joined path
        given, expected = STRIDED[name](), STRIDED[name]()
        result, wanted = traced(given), function(expected)
        assert same(given, expected) and given.stride() == expected.stride()
        assert given._base is None or same(given._base, expected._base)
        assert result is wanted is None or (same(result, wanted) and (result is given) == (wanted is expected))
    assert traced.cache_info().replays >= 6 and not traced.eager_reasons


def test_captured_views_are_changed_in_place():
    grid = tracer.arange(12.0).reshape(3, 4)
    rows = [tracer.zeros(12).view(3, 4)]

    class Running(tracer.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("average", tracer.zeros(3, 4).T)

        def forward(self, x):
            self.average.mul_(0.5).add_(x.T)
            return self.average * 2

    module, eager = Running(), Running()

    def f(x):
        grid.add_(x)
        rows[0][1] += x[1]
        return module(x) + grid.T

    traced = tracer.trace(f)
    total = tracer.arange(12.0).reshape(3, 4)
    for k in range(5):
        x = tracer.full((3, 4), float(k))
        total += x
        assert tracer.equal(traced(x), eager(x) + total.T)
        assert tracer.equal(grid, total) and rows[0][1].tolist() == [k * (k + 1) / 2] * 4
        assert tracer.equal(module.average, eager.average)
    assert not traced.eager_reasons


def a_row(x, i):
    y = x[1]
    y += 1
    return x.sum()


def a_row_at_a_number(x, i):
    x[i].mul_(2.0)
    x[0].add_(x[i])
    return x.sum()


def an_assigned_row(x, i):
    x[2] = x[i] * 3
    return x[0] + 1


def a_row_from_a_scalar(x, i):
    x[i] = x[0, 0] + 1
    return x[1] * 2


def filled_rows(x, i):
    return x.index_fill_(0, i.reshape(1), 5.0).sum()


@pytest.mark.parametrize("function", [a_row, a_row_at_a_number, an_assigned_row, a_row_from_a_scalar, filled_rows])
@pytest.mark.parametrize(
    "make",
    [
        lambda: tracer.ones(1, 4).expand(3, 4),
        lambda: tracer.ones(4, 1).expand(4, 3).T,
        lambda: tracer.arange(6.0).as_strided((3, 3), (1, 1)),
        lambda: tracer.from_numpy(np.lib.stride_tricks.as_strided(np.arange(6.0), (3, 4), (8, 8))),
    ],
    ids=["expanded", "transposed", "windows", "windows of NumPy"],
)
@pytest.mark.filterwarnings("ignore::tracer.TraceWarning")
def test_rows_that_share_memory(function, make):
    traced = tracer.trace(function)
    for k in (0, 1, 2, 0):
        results = []
        for run in (traced, function):
            x = make()
            try:
                results.append([run(x, tracer.tensor(k)).tolist(), x.tolist()])
            except RuntimeError as e:
                results.append([str(e), x.tolist()])
        assert results[0] == results[1]


PARTS = {
    "index_fill": (lambda w, i, v: w.index_fill_(0, i([0]), 7), [7, 7, 7, 3, 4]),
    "index_copy": (lambda w, i, v: w.index_copy_(0, i([0]), v([[6, 6, 6]])), [6, 6, 6, 3, 4]),
    "index_add": (lambda w, i, v: w.index_add_(0, i([0]), v([[1, 1, 1]])), [1, 2, 3, 3, 4]),
    "index_put": (lambda w, i, v: w.index_put_((i([0]), i([2])), v([5])), [0, 1, 5, 3, 4]),
    "scatter": (lambda w, i, v: w.scatter_(1, i([[1]]), 9), [0, 9, 2, 3, 4]),
    "scatter_add": (lambda w, i, v: w.scatter_add_(1, i([[1]]), v([[2]])), [0, 3, 2, 3, 4]),
    "put": (lambda w, i, v: w.put_(i([1]), v([2])), [0, 2, 2, 3, 4]),
    "diagonal": (lambda w, i, v: w.fill_diagonal_(4), [4, 1, 4, 3, 4]),
    "mask": (lambda w, i, v: w.masked_fill_(i([[1, 0, 0], [0, 0, 0], [0, 0, 0]]) > 0, 8), [8, 1, 2, 3, 4]),
}


@pytest.mark.parametrize("dtype", [tracer.float32, tracer.int64])
@pytest.mark.parametrize("name", PARTS)
@pytest.mark.filterwarnings("ignore::tracer.TraceWarning")
def test_changes_of_parts_of_overlapping_windows(name, dtype):
    """The numbers are those of PyTorch 2.13, for windows of three of the numbers 0 to 4."""
    change, expected = PARTS[name]

    def f(w):
        change(w, tracer.tensor, lambda data: tracer.tensor(data, dtype=dtype))
        return w.sum()

    traced = tracer.trace(f)
    for run in (f, traced, traced, traced):
        numbers = tracer.arange(5, dtype=dtype)
        windows = numbers.as_strided((3, 3), (1, 1))
        assert run(windows) == windows.sum() and numbers.tolist() == expected


@pytest.mark.parametrize("value", [5.0, math.nan])
def test_a_row_of_an_expanded_tensor_of_nans(value):
    x = tracer.full((1, 3), math.nan).expand(2, 3)
    x[[0]] = value
    assert tracer.equal(x.isnan(), tracer.full((2, 3), value).isnan())
