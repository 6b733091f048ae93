"""Indices and bounds that are numbers of a call, or tensors of one integer: views at computed positions, which are not read."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tracer


def drawn(*shape):
    return lambda draw: tracer.tensor(draw.normal(size=shape))


def integers(n, *shape):
    return lambda draw: tracer.tensor(draw.integers(0, n, shape))


def signed(n):
    return lambda draw: tracer.tensor(int(draw.integers(-n, n)))


def number(n, least=0):
    return lambda draw: int(draw.integers(least, n))


def hidden_markov(transitions, emissions, start, seen):
    alpha = start * emissions[:, seen[0]]
    for t in range(1, seen.shape[0]):
        alpha = (alpha @ transitions) * emissions[:, seen[t]]
    return alpha.sum()


def backtrace(pointers, scores):
    k = scores.argmax()
    path = [k]
    for t in range(pointers.shape[0] - 1, 0, -1):
        k = pointers[t][k]
        path.append(k)
    return tracer.stack(path)


def largest(x):
    return x[x.argmax()] * 2


def two_numbers(x, i, j):
    return x[i, j] + x[j][i]


def beside_slices(x, i):
    return x[:, i, None] + x[..., i].sum() + x[1:, i].sum()


def writes(x, i, v):
    x[i] = v
    x[i] += 1
    x[:, i] *= 2
    return x.sum()


def swaps(x, i, j):
    kept = x[i].clone()
    x[i] = x[j]
    x[j] = kept


def counts(h, positions):
    for t in range(positions.shape[0]):
        h[positions[t]] += 1


def elimination(a):
    a = a.clone()
    for c in range(3):
        p = a[c:, c].abs().argmax() + c
        row = a[p].clone()
        a[p] = a[c]
        a[c] = row
        a[c + 1 :] -= a[c + 1 :, c : c + 1] / a[c, c] * a[c]
    return a


def greedy(embedding, h):
    token, tokens = tracer.tensor(0), []
    for _ in range(4):
        h = (h + embedding[token]).tanh()
        token = (embedding @ h).argmax()
        tokens.append(token)
    return tracer.stack(tokens)


def changes_around_a_view(x, i):
    y = x[i]
    x[0] = 7.0
    y.add_(1.0)
    x.mul_(2.0)
    return y * 3 + x.sum()


def gradient(w, i):
    w = w.detach().requires_grad_()
    (w[i] * (w * 2)[i].exp()).sum().backward()
    return w.grad


def batches(x, y, i):
    xs, ys = x[i * 2 : (i + 1) * 2], y[2 * i : 2 * i + 2]
    return ((xs @ x.mT).tanh().sum(1) - ys).square().sum()


def windows(x, i):
    i = i % 4
    return x[i : i + 3] * 2 + x[1:, i : i + 2].sum() + x[None, i + 1 : i + 3, -1].sum()


def drawn_windows(x, positions):
    return tracer.stack([x[i : i + 2] * x[i + 1 : i + 3] for i in positions])


def beside_index_tensors(x, i, at):
    i = i % 3
    y = x[at, i] + x[i, at] + x[at, i : i + 1].sum() + x[i, ..., at] + x[[0, 1, 2], i]
    x[at, i] = 1.0
    x[i : i + 2, [1, 2]] += y[:2]
    return y


def writes_ranges(x, i, v):
    i = i % 3
    x[i : i + 2] = v
    x[:, i : i + 2] *= 3
    x[i + 1 : i + 3] += 1
    y = x[i : i + 1]
    y.mul_(2)
    y[0, 1] = 5.0
    return y.sum() + x.narrow(0, i, 2).sum()


def changes_around_a_range(x, i):
    i = i % 3
    y = x[i : i + 2]
    x[1] = 7.0
    y.add_(1.0)
    z = y[1:]
    x.mul_(2.0)
    z += 1
    return y * 3 + z + x.sum()


def gradient_of_ranges(w, i):
    i = i % 3
    w = w.detach().requires_grad_()
    (w[i : i + 2] * (w * 2)[i : i + 2].exp() + w.select(1, i).sum()).sum().backward()
    return w.grad


PROGRAMS = [
    (hidden_markov, drawn(4, 4), drawn(4, 5), drawn(4), integers(5, 6)),
    (backtrace, integers(4, 5, 4), drawn(4)),
    (largest, drawn(9)),
    (two_numbers, drawn(5, 5), signed(5), signed(5)),
    (beside_slices, drawn(4, 4), signed(4)),
    (writes, drawn(4, 4), signed(4), drawn(4)),
    (swaps, drawn(5, 3), signed(5), signed(5)),
    (counts, drawn(5), integers(5, 4)),
    (elimination, drawn(4, 4)),
    (greedy, drawn(6, 3), drawn(3)),
    (changes_around_a_view, drawn(4, 3), signed(4)),
    (gradient, drawn(5, 3), signed(5)),
    (drawn_windows, drawn(9), integers(7, 5)),
    (beside_index_tensors, drawn(5, 5), integers(5), integers(5, 3)),
]
OF_NUMBERS = [
    (two_numbers, drawn(5, 5), number(5, -5), number(5, -5)),
    (beside_slices, drawn(4, 4), number(4, -3)),
    (writes, drawn(4, 4), number(4, -4), drawn(4)),
    (swaps, drawn(5, 3), number(5, -5), number(5, -5)),
    (changes_around_a_view, drawn(4, 3), number(4, -4)),
    (gradient, drawn(5, 3), number(5, -5)),
    (batches, drawn(12, 5), drawn(12), number(6)),
    (windows, drawn(7, 6), number(4)),
    (beside_index_tensors, drawn(5, 5), number(3), integers(5, 3)),
    (writes_ranges, drawn(5, 5), number(3), drawn(2, 5)),
    (changes_around_a_range, drawn(5, 3), number(3)),
    (gradient_of_ranges, drawn(5, 3), number(3)),
]


def returned(x, i):
    return x[i]


def returned_of_a_new_tensor(x, i):
    return (x * 2)[i]


def changed_while_followed(w, i):
    w = w.detach().requires_grad_()
    h = w * 2
    h[i] += 1
    h[i] = h[i] * 3
    h.sum().backward()
    return w.grad


READ = [(f, drawn(5, 3), signed(5)) for f in (returned, returned_of_a_new_tensor, changed_while_followed)]


def compare(function, makers, calls=6):
    traced = tracer.trace(function)
    for k in range(calls):
        (given, expected) = ([make(draw) for draw in [np.random.default_rng(k)] for make in makers] for _ in range(2))
        result, wanted = traced(*given), function(*expected)
        for x, y in zip([*given, result], [*expected, wanted], strict=True):
            if isinstance(y, tracer.Tensor):
                np.testing.assert_allclose(x.numpy(), y.numpy(), rtol=1e-12, atol=1e-12)
                assert x.dtype is y.dtype and (x._base is None) == (y._base is None)
    return traced


@pytest.mark.parametrize(("function", "makers"), [(f, makers) for f, *makers in PROGRAMS])
def test_one_recording_serves_all_positions(function, makers):
    info = compare(function, makers).cache_info()
    assert info.recordings == 1 and info.replays == 5


@pytest.mark.parametrize(("function", "makers"), [(f, makers) for f, *makers in OF_NUMBERS])
def test_one_recording_serves_all_numbers(function, makers):
    info = compare(function, makers, 12).cache_info()
    assert info.recordings <= 3 and info.replays >= 9  # the first is of constants; a number that did not change is one, too


@pytest.mark.parametrize(("function", "makers"), [(f, makers) for f, *makers in READ])
def test_positions_are_read_where_only_numbers_serve(function, makers):
    traced = compare(function, makers, 12)
    assert traced.cache_info().replays and not traced.eager_reasons


def test_a_view_that_is_returned_shares_the_memory():
    traced = tracer.trace(returned)
    for _ in range(4):
        x = tracer.zeros(3, 2)
        traced(x, tracer.tensor(1)).add_(1)
        assert x.tolist() == [[0, 0], [1, 1], [0, 0]]


@pytest.mark.parametrize("dtype", [tracer.int32, tracer.uint8, tracer.bool])
def test_other_types(dtype):
    def f(x, i):
        return x[i] + 1

    traced = tracer.trace(f)
    for k in (0, 1, 1, 0, 1):
        x, i = tracer.arange(3.0), tracer.tensor(k).to(dtype)
        assert tracer.equal(traced(x, i), f(x, i))


@pytest.mark.parametrize("kind", [int, tracer.tensor])
def test_positions_out_of_range(kind):
    def f(x, i):
        return x[0, i] + 1

    traced = tracer.trace(f)
    for k in (0, 1, 5, 2, -7, -3):
        x = tracer.arange(3.0)[None]
        if -3 <= k < 3:
            assert traced(x, kind(k)).item() == x[0, k].item() + 1
        else:
            with pytest.raises(IndexError, match=f"index {k} is out of bounds for dimension 1 with size 3"):
                traced(x, kind(k))


@pytest.mark.parametrize("kind", [int, tracer.tensor])
def test_ranges_that_do_not_fit(kind):
    def f(x, i):
        return x[i : i + 3].sum() + x[i - 2 : i].sum()

    traced = tracer.trace(f)
    for k in (0, 1, 2, 3, 4, 5, 6, 7, 9, -1, -3, -8, 3, 4, 2):
        x = tracer.arange(7.0)
        assert traced(x, kind(k)) == f(x, k)
    assert not traced.eager_reasons


STATEMENTS = """
x[i] += 1 ; x[i] = y ; y = x[i] ; y = x[j].clone() ; y.mul_(1.5) ; x[0] = x[i] ; x[i] = x[j]
x[i], x[j] = x[j].clone(), x[i].clone() ; s = s + x[i].sum() ; s = s + x[i, j] ; x[i, j] = s * 0.1 ; x[:, i] *= 0.5
z = x[:, j] ; z += 1 ; x.mul_(0.9) ; x = x * 1.0 ; y = x[i][1:] ; y = x[1:, i] ; x[i][k] = 2.0 ; i = (i + 1) % 4
j = x[:, 0].argmax() ; k = (x[1] > 0).sum() % 4 ; if x[i, 0] > 0: x[j] -= 0.5 ; x[1:][k % 3] += 1 ; w = x.T[i]
w -= 0.1 ; s = s + w[k] ; x[2] = 1.0 ; s = s + x[..., k].sum() ; a = [x[t] for t in (i, j)] ; a[0].add_(a[1])
s = s + a[0].sum() ; x[i].zero_() ; x[i].copy_(x[j]) ; u = x[i, None, :2] ; u += 0.25 ; x = x.clone() ; x[j] = 5.0
b = x[i] ; x = x + 1 ; b += 1 ; s = s + b.sum() ; x[j, 1:3] = x[i, :2] ; y = x[i].view(2, 2)[0]
x[i : i + 2] = 1.0 ; s = s + x[k : k + 2].sum() ; x[j : j + 1] *= 2 ; y = x[i : i + 1][0]
z = x[1:, j : j + 2].sum(1) ; x[k : k + 2, i] -= 1 ; u = x[i : i + 1, :2] ; x[:2] = x[i : i + 2]
x[i : i + 1] = x[j : j + 1] ; u[0] = 3.0 ; x[i : i + 2] = x[j : j + 2] ; w = x[i : i + 1, k]
b = x.narrow(0, i % 2, 2)[1] ; x[i:] *= 0.5 ; x[:j] += 1 ; y = x.select(1, k)
s = s + x[[1, 0], i].sum() ; x[[0, 2], j] = 4.0 ; x[i, x[j] > 0] = 1.5 ; s = s + x[x[:, 0] > 0, k].sum()
z = x[j : j + 1, [2, 1]].T ; x[k, x[k] > 0] *= 2
"""


@settings(max_examples=120, deadline=None)
@given(
    st.sampled_from([int, tracer.tensor]),
    st.lists(st.sampled_from([s.strip() for s in re.split(r" ; |\n", STATEMENTS) if s.strip()]), min_size=2, max_size=9),
)
def test_any_statements(kind, lines):
    start = "a = [x[0], x[1]]; b = w = x[0]; u = x[:1]; s = x.sum() * 0; y = x[0].clone(); z = x[:, 0].clone()"
    body = "\n    ".join([start, *lines, "return s, x.clone(), y.clone(), z.clone()"])
    space = {}
    exec(f"def f(x, i, j, k):\n    {body}", space)
    traced = tracer.trace(space["f"])
    for seed in range(5):
        outcomes = []
        for function in (traced, space["f"]):
            draw = np.random.default_rng(seed)
            args = [tracer.tensor(draw.normal(size=(4, 4))), *(kind(int(draw.integers(0, 4))) for _ in range(3))]
            try:
                outcomes.append([t.numpy() for t in (*function(*args), args[0])])
            except RuntimeError as e:
                outcomes.append(str(e))
        given, expected = outcomes
        if isinstance(expected, str):
            assert given == expected
        else:
            for a, b in zip(given, expected, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("first", [0, 1])
def test_a_row_that_is_its_own_at_some_positions(first):
    def f(x, i):
        x[0] = x[i]
        return x.sum()

    traced = tracer.trace(f)
    for k in (first, 2, 0, 1):
        x, y = tracer.arange(9.0).reshape(3, 3), tracer.arange(9.0).reshape(3, 3)
        assert traced(x, tracer.tensor(k)) == f(y, tracer.tensor(k)) and tracer.equal(x, y)


def row_or_sum(x, i):
    try:
        return x[i] + 1
    except IndexError:
        return x.sum()


def write_or_double(x, i):
    try:
        x[i : i + 2, i] = 5.0
    except IndexError:
        x *= 2
    return x.sum()


def quotient_or_sum(x, i):
    try:
        return x * (10 // i)
    except ZeroDivisionError:
        return x.sum()


def message(x, i):
    try:
        return x[i], ""
    except IndexError as e:
        return x, str(e)


def part_of_a_row(x, i, j):
    x[i, :3] = x[i, j : j + 3]
    return x + 0


def part_of_the_memory(x, i, j):
    x[i] = x.view(-1)[j * 2 : j * 2 + 6]
    return x + 0


def of_an_expanded_vector(x, i):
    y = x[0].expand(5, 6)
    y[None, i] -= 1
    y[:2][i % 2 : i % 2 + 2, 2] *= -1
    return x.sum()


def of_numpy_integers(x, i):
    return x[i] + x.select(0, i) + x.narrow(0, i, 1)[0]


def strides_and_offsets(x, i):
    views = x[None, i : i + 2], x.t()[None, i : i + 2], x[i:i], x[-i - 1 : -i + 1], x[i : i + 2, None, -i]
    return [(v.stride(), v.shape, v.storage_offset()) for v in views]


def two_numbers_alone(x, i, j):
    return x[i, j] + 1


def beside_a_wrong_number(x, i):
    return x[i, 9]


def beside_a_wrong_step(x, i):
    return x[i, ::-1]


def of_no_axis(x, i):
    return x[0, 0][i]


def with_shapes_changed_in_place(x, i):
    y, z, w = x[i : i + 2], x[i : i + 1], x[i]
    y.t_()
    y.add_(1)
    z.squeeze_(0)
    z.mul_(2)
    w.unsqueeze_(0)
    return x + w


def shown_to_numpy(x, i, j):
    return x[i:].sum() + x[j].sum() + float(x.numpy().sum())


def kept_numbers(values):
    return [(k,) for k in values]


HOSTILE = [
    (row_or_sum, kept_numbers([7, 8, 1, 2, 9, 3])),
    (write_or_double, kept_numbers([7, 8, 1, 2, 9, 3])),
    (quotient_or_sum, kept_numbers([0, 1, 0, 2, 3, 0, 4])),
    (message, kept_numbers([7, 8, 1, 2, 9, -9, 3])),
    (part_of_a_row, [(0, 0), (1, 1), (2, 0), (3, 2), (4, 3), (1, 3)]),
    (part_of_the_memory, [(0, 0), (1, 1), (2, 0), (3, 2), (4, 3), (0, 6)]),
    (of_an_expanded_vector, kept_numbers(range(5))),
    (of_numpy_integers, kept_numbers(map(np.int8, [1, 2, -3, 4, 0, 9, -9]))),
    (strides_and_offsets, kept_numbers([0, 1, 2, 3, 1])),
    (two_numbers_alone, [(0, 0), (1, 1), (5, 7), (2, 1), (1, 7), (-4, -9)]),
    (beside_a_wrong_number, kept_numbers([0, 1, 7])),
    (beside_a_wrong_step, kept_numbers([0, 1, 7])),
    (of_no_axis, kept_numbers([0, 1, 7])),
    (with_shapes_changed_in_place, kept_numbers([0, 1, 2, 3, 1, 2])),
    (shown_to_numpy, [(2, 4), (0, 0), (2, 0), (0, 2), (1, 1), (2, 3)]),
]


@pytest.mark.parametrize("kind", [lambda n: n, lambda n: tracer.tensor(int(n))])
@pytest.mark.parametrize(("function", "calls"), HOSTILE)
def test_results_and_errors_are_those_of_eager_code(function, calls, kind):
    if function is of_numpy_integers and isinstance(kind(0), tracer.Tensor):
        return

    def outcome(f, numbers):
        x = tracer.arange(30.0).reshape(5, 6)
        try:
            result = f(x, *map(kind, numbers))
        except Exception as e:
            result = f"{type(e).__name__}: {e}"
        return repr(result), x.tolist()

    traced = tracer.trace(function)
    for numbers in calls:
        assert outcome(traced, numbers) == outcome(function, numbers), numbers
    assert not any("please report" in told or "no difference" in told for told in traced.eager_reasons.values())


def test_the_node_of_a_view_at_a_number_has_its_name():
    w = tracer.ones(4, 4, requires_grad=True)
    traced = tracer.trace(lambda i: (w[i].grad_fn.name(), w[i : i + 2].grad_fn.name()))
    assert [traced(i) for i in range(3)] == [("SelectBackward0", "SliceBackward0")] * 3
