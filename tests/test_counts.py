"""Traced functions that select elements by masks: calls with other numbers of selected elements replay one program."""

import numpy as np
import pytest

import tracer
from tracer.ir.ops import flat_nonzero, index_add
from tracer.ir.parse import parse_graph
from tracer.ir.passes.masks import compute_at_masks
from tracer.nn import functional as F

N = 60


def put_back(x, y, w):
    z = x.clone()
    z[y > 0] = z[y > 0] * w
    return z.square().sum()


def normalized(x, y, w):
    a = x[y > 0] * w
    return ((a - a.mean()) / (a.std() + 1e-8)).square().mean()


def relative_depth(x, y, w):
    d = (x.abs()[y > 0] * w).log() - y[y > 0].log()
    return (d.square().mean() - 0.5 * d.mean() ** 2).sqrt()


def two_masks(x, y, w):
    return (x[y > 0] * w).mean() + (y[x < 0.2] * w).exp().sum()


def scores_of_rows(x, y, w):
    rows, mask = (x * w).reshape(20, 3), y[:20] > 0
    return F.cross_entropy(rows[mask], (y[:20][mask] > 1).long())


def added_at_positions(x, y, w):
    where = (y > 0).nonzero().squeeze(1)
    return tracer.zeros(N, dtype=x.dtype).index_add(0, where, x[y > 0] * w).square().sum()


def routed(x, y, w, add):
    """Experts for the rows that choose them, with products and biases."""
    rows, scores = (x * w).reshape(15, 4), y.reshape(15, 4)
    out, chosen = rows * 0.5, scores[:, :2].argmax(1)
    layers = [tracer.arange(16, dtype=x.dtype).reshape(4, 4) * 0.1 - k for k in (1.0, 2.0)]
    for k, layer in enumerate(layers):
        at = (chosen == k).nonzero(as_tuple=True)[0]
        found = tracer.tanh(rows[at, :] @ layer + rows[0]) * scores[at, 2, None]
        out = add(out, at, found)
    return out.square().sum()


def written_rows(out, at, rows):
    out = out.clone()
    out[at, :] = rows
    return out


def changed_rows(out, at, rows):
    out = out.clone()
    out[at] += rows
    return out


def of_two_axes(x, y, w):
    """Rows that are selected once for each of their elements."""
    rows, out = (x * w).reshape(15, 4), tracer.zeros(15, 4, dtype=x.dtype)
    at, which = tracer.where(y.reshape(15, 4) > 0.4)
    out.index_add_(0, at, rows[None, at].reshape(-1, 4) * y.reshape(15, 4)[at, which, None])
    return out.square().sum()


def written_last(x, y, w):
    """Of rows that are selected several times the last one stays."""
    rows = (x * w).reshape(15, 4)
    at, which = tracer.where(y.reshape(15, 4) > 0.4)
    out = rows.clone()
    out[at] = rows[at] * which[:, None]
    return (out * out).sum()


def parts_of_rows(x, y, w):
    a = (x * w).reshape(15, 4)[y[:15] > 0]
    both = tracer.cat([a[:, 1:3].exp(), a[:, :2]], 1).view(-1, 2, 2).transpose(1, 2).sum(1)
    best = a.argsort(1).flip(1)[:, :2]
    return (
        both[:, tracer.tensor([1, 0, 1])].mean(0).square().sum() + (a.T @ a).sum() + (a.gather(1, best).cumsum(1) * 0.5).sum()
    )


GENERAL = {
    "routed": lambda x, y, w: routed(x, y, w, written_rows),
    "routed, added": lambda x, y, w: routed(x, y, w, lambda out, at, rows: out.index_add(0, at, rows)),
    "routed, changed": lambda x, y, w: routed(x, y, w, changed_rows),
    "routed, accumulated": lambda x, y, w: routed(x, y, w, lambda out, at, rows: out.index_put((at,), rows, accumulate=True)),
    "of two axes": of_two_axes,
    "written last": written_last,
    "parts of rows": parts_of_rows,
    "any, by shape": lambda x, y, w: x.sum() if x[y > 0].shape[0] == 0 else (x[y > 0] * w).sum(),
    "any, by numel": lambda x, y, w: (x[y > 0] * w).sum() if x[y > 0].numel() > 0 else x.sum(),
    "any, by len": lambda x, y, w: (x[y > 0] * w).sum() if len(x[y > 0]) else x.sum(),
    "none, by size": lambda x, y, w: x.sum() if not x[y > 0].size(0) else (x[y > 0] * w).sum(),
    "halves of rows": lambda x, y, w: F.glu((x * w).reshape(15, 4)[y[:15] > 0].chunk(2, 1)[0]).sum(),
    "numbers": lambda x, y, w: (x[((y > 0).int() * 3).nonzero().squeeze(1)] * w).sum(),
    "mean": lambda x, y, w: (x[y > 0] * w).mean(),
    "a mask written twice": lambda x, y, w: F.smooth_l1_loss(x[y > 0] * w, y[y > 0]),
    "masked_select": lambda x, y, w: (tracer.masked_select(x, y > 0) * w).std(),
    "nonzero": lambda x, y, w: (x[(y > 0).nonzero(as_tuple=True)] * w).norm(),
    "where": lambda x, y, w: (x[tracer.where(y > 0)[0]] * w).sum() / (y > 0).sum(),
    "softmax": lambda x, y, w: (tracer.softmax(x[y > 0] * w, 0) * y[y > 0]).sum(),
    "rows": lambda x, y, w: tracer.softmax((x * w).reshape(20, 3)[y[:20] > 0], 1).square().mean(),
    "extremum": lambda x, y, w: (x[y > 0] * w).amax() - (x[y > 0] * w).amin(),
    "put back": put_back,
    "normalized": normalized,
    "relative depth": relative_depth,
    "two masks": two_masks,
    "scores of rows": scores_of_rows,
    "added at positions": added_at_positions,
}

# Python reads the number, or what is computed depends on it.
PARTICULAR = {
    "shape": lambda x, y, w: (x[y > 0] * w).sum() / x[y > 0].shape[0],
    "size": lambda x, y, w: (x[y > 0] * w).sum() * (x[y > 0].size(0) % 2),
    "a part": lambda x, y, w: (x[y > 0] * w).sum() * (1 + (x[y > 0][1:].shape[0] > 25)),
    "a part, empty": lambda x, y, w: (x[y > 0] * w).sum() * (2 if x[y > 0][25:].shape[0] == 0 else 3),
    "twice": lambda x, y, w: (x[y > 0] * w).sum() * (1 + (tracer.cat([x[y > 0], x[y > 0]]).shape[0] > 55)),
    "ones": lambda x, y, w: (x[y > 0] * w).sum() * (1 + (tracer.ones_like(x[y > 0])[1:].numel() > 25)),
    "the same size": lambda x, y, w: (x[y > 0] * w).sum() * (2 if x[y > 0].is_same_size(x[:30]) else 3),
    "len, compared": lambda x, y, w: (x[y > 0] * w).sum() * (2 if len(x[y > 0]) > 28 else 3),
    "len, after asking": lambda x, y, w: (x[y > 0] * w).sum() * (2 if len(x[y > 0]) and len(x[y > 0]) > 28 else 3),
    "parts of a size": lambda x, y, w: (x[y > 0] * w).sum() * (2 if len(x[y > 0].split(14)) > 2 else 3),
    "equal parts": lambda x, y, w: (x[y > 0] * w).sum() * (2 if len(x[y > 0].chunk(17)) > 14 else 3),
    "equal": lambda x, y, w: (x[y > 0] * w).sum() * (2 if tracer.equal(y[y > 0], y[:30]) else 3),
    "more than one": lambda x, y, w: (x[y > 0] * w).sum() if x[y > 0].shape[0] > 1 else x.sum(),
    "len": lambda x, y, w: (x[y > 0] * w).sum() * len(x[y > 0]),
    "numel": lambda x, y, w: (x[y > 0] * w).sum() if x[y > 0].numel() > 25 else x.sum() * w,
    "tracer.numel": lambda x, y, w: (x[y > 0] * w).sum() * tracer.numel(x[y > 0]),
    "np.size": lambda x, y, w: (x[y > 0] * w).sum() * np.size(x[y > 0]),
    "stride": lambda x, y, w: (x[y > 0] * w).sum() * x.reshape(20, 3)[y[:20] > 0].T.contiguous().stride(0),
    "nbytes": lambda x, y, w: (x[y > 0] * w).sum() * x[y > 0].nbytes,
    "is_same_size": lambda x, y, w: (x[y > 0] * w).sum() * tracer.is_same_size(x[y > 0], tracer.ones(25)),
    "ones_like": lambda x, y, w: (tracer.ones_like(x[y > 0]) * w).sum(),
    "iteration": lambda x, y, w: sum((v * w for v in x[y > 0]), x.sum()),
    "a result": lambda x, y, w: (x[y > 0].cumsum(0) * w).sum(),
}


def data(call):
    rng = np.random.default_rng(call)
    x, y = (tracer.tensor(rng.standard_normal(N)) for _ in range(2))
    y = {6: -y.abs(), 7: y.abs() + 0.1}.get(call, y)  # nothing is selected; everything is
    if call == 8:
        y = -y.abs()
        y[5] = 1.0
    return x.requires_grad_(), y, tracer.tensor(1.3, dtype=tracer.float64, requires_grad=True)


def outcome(function, arguments):
    try:
        loss = function(*arguments)
    except (IndexError, RuntimeError) as e:
        return [str(e)]
    return [loss.detach().numpy(), *(None if t.grad is None else t.grad.numpy() for t in arguments)]


def compare(function, traced):
    for call in range(12):
        expected, found = (outcome(f, data(call)) for f in (function, traced))
        assert len(expected) == len(found)
        for a, b in zip(expected, found, strict=True):
            if isinstance(a, str) or a is None:
                assert a == b
            else:
                np.testing.assert_allclose(b, a, rtol=1e-9, atol=1e-9, err_msg=f"call {call}")


def stepping(function):
    def step(x, y, w):
        loss = function(x, y, w)
        if loss.requires_grad:
            loss.backward()
        return loss.detach()

    return step


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", GENERAL)
def test_one_program_for_all_counts(name):
    step = stepping(GENERAL[name])
    traced = tracer.trace(step)
    compare(step, traced)
    assert traced.cache_info().recordings <= 5  # two; and those with none and one of the elements, or all
    assert "however many elements its masks select" in traced.explain()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", GENERAL)
def test_one_program_with_a_backward_pass_outside(name):
    traced = tracer.trace(GENERAL[name])
    compare(stepping(GENERAL[name]), stepping(traced))
    assert traced.cache_info().recordings <= 5


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PARTICULAR)
def test_a_program_for_each_count(name):
    step = stepping(PARTICULAR[name])
    traced = tracer.trace(step)
    compare(step, traced)
    assert "however many" not in traced.explain()


@pytest.mark.filterwarnings("ignore")
def test_elements_that_are_not_selected_do_not_reach_derivatives():
    """Neither where a function has no finite derivative there, nor as indices that are out of range."""

    def f(x, y):
        rows = x.reshape(20, 3)
        mask = rows[:, 0] > 0
        return x[x > 0].log().square().sum() + F.cross_entropy(rows[mask].log(), y[mask])

    for function in (f, stepping(lambda x, y, w: f(x, y))):
        traced = tracer.trace(function)
        for call in range(8):
            rng = np.random.default_rng(call)
            values = rng.standard_normal((20, 3)) + 0.3
            values[rng.random((20, 3)) < 0.2] = 0.0
            values[values[:, 0] > 0] = np.abs(values[values[:, 0] > 0]) + 0.1
            labels = np.where(values[:, 0] > 0, rng.integers(0, 3, 20), 77)
            found = []
            for g in (function, traced):
                x = tracer.tensor(values.reshape(-1), requires_grad=True)
                arguments = (x, tracer.tensor(labels))
                loss = g(*arguments) if function is f else g(*arguments, None)
                if loss.requires_grad:
                    loss.backward()
                found.append((loss.item(), x.grad.numpy()))
            (a, ga), (b, gb) = found
            assert np.isfinite(ga).all()
            np.testing.assert_allclose(b, a, rtol=1e-9)
            np.testing.assert_allclose(gb, ga, rtol=1e-9, atol=1e-12)
        assert traced.cache_info().replays >= 4


@pytest.mark.filterwarnings("ignore")
def test_an_index_out_of_range_among_selected_rows():
    def f(x, y):
        return F.cross_entropy(x[y >= 0], y[y >= 0])

    traced = tracer.trace(f)
    for call in range(6):
        rng = np.random.default_rng(call)
        traced(tracer.tensor(rng.standard_normal((20, 3))), tracer.tensor(rng.integers(-2, 3, 20)))
    assert traced.cache_info().replays
    with pytest.raises(IndexError, match="Target 3 is out of bounds"):
        traced(tracer.ones(20, 3), tracer.tensor([-1] * 10 + [3] + [1] * 9))


@pytest.mark.filterwarnings("ignore")
def test_masks_that_select_equally_many_elements_are_kept_apart():
    """Which of them an extent is cannot be seen."""

    def f(x, y):
        return x[y > 0].mean() + 2 * x[y < 0].mean()

    traced = tracer.trace(f)
    for call in range(8):
        rng = np.random.default_rng(call)
        x, y = tracer.tensor(rng.standard_normal(N)), rng.standard_normal(N)
        y[: N // 2] = np.abs(y[: N // 2]) * (1 if call < 4 else rng.choice([-1, 1], N // 2))
        y[N // 2 :] = -np.abs(y[N // 2 :])
        y = tracer.tensor(y)
        np.testing.assert_allclose(traced(x, y).item(), f(x, y).item(), rtol=1e-12)


def test_graph_without_counts():
    graph = parse_graph(
        """func @f(%x: f32[6,4], %m: bool[6], %k: i64[6]) -> f32[] {
  %p: i64[3] = flat_nonzero %m {count=3}
  %r: f32[3,4] = index_select %x, %p {axis=0}
  %a: f32[3] = max %r {axes=(1)}
  %b: f32[3,4] = broadcast %a {shape=(3,4), axes=(0)}
  %c: f32[3,4] = sub %r, %b
  %s: f32[] = sum %c {axes=(0,1)}
  return %s
}"""
    )
    kept, dense = compute_at_masks(graph), compute_at_masks(graph, rows=True)
    assert any(op.primitive is flat_nonzero for op in kept.ops)
    assert not any(op.primitive is flat_nonzero for op in dense.ops)
    assert all(3 not in v.shape for op in dense.ops for v in op.results)


def test_the_adjoint_of_values_put_back():
    """It is the elements at the mask only where all others are zero."""
    text = """func @f(%g: f32[6], %m: bool[6], %z: f32[6]) -> f32[] {
  %k: i64[6] = cast %m {dtype="i64"}
  %s: i64[6] = cumsum %k {axis=0, reverse=False}
  %one: i64[6] = full {value=1, shape=(6), dtype="i64"}
  %r: i64[6] = sub %s, %one
  %zero: i64[6] = full {value=0, shape=(6), dtype="i64"}
  %low: bool[6] = lt %r, %zero
  %a: i64[6] = where %low, %zero, %r
  %most: i64[6] = full {value=2, shape=(6), dtype="i64"}
  %high: bool[6] = gt %a, %most
  %b: i64[6] = where %high, %most, %a
  %n: f32[6] = full {value=0, shape=(6), dtype="f32"}
  %w: f32[6] = OPERATION
  %i: f32[3] = index_add %w, %b {axis=0, extent=3}
  %t: f32[] = sum %i {axes=(0)}
  return %t
}"""
    dense = compute_at_masks(parse_graph(text.replace("OPERATION", "where %m, %g, %n")), rows=True)
    assert not any(op.primitive is index_add for op in dense.ops)
    for other in ("neg %g", "add %g, %z", "where %m, %g, %z"):
        kept = compute_at_masks(parse_graph(text.replace("OPERATION", other)), rows=True)
        assert any(op.primitive is index_add for op in kept.ops)
