"""The loss for label sequences without alignment, against the sum over all alignments."""

import itertools

import numpy as np
import pytest

import tracer
from tracer.nn import functional as F


def collapsed(path, blank):
    return [k for k, _ in itertools.groupby(path) if k != blank]


def by_enumeration(scores, labels, blank):
    """The negative logarithm of the probability of all paths that give the labels."""
    time, classes = scores.shape
    paths = itertools.product(range(classes), repeat=time)
    total = sum(np.exp(sum(scores[t, k] for t, k in enumerate(path))) for path in paths if collapsed(path, blank) == labels)
    return -np.log(total) if total > 0 else np.inf


def drawn(time, batch, classes, seed=0):
    x = tracer.tensor(np.random.default_rng(seed).normal(size=(time, batch, classes)))
    return F.log_softmax(x, -1)


CASES = [
    (5, [5, 4, 3], [2, 1, 2], 0),
    (5, [5, 5, 5], [2, 2, 0], 2),
    (4, [4, 1, 2], [2, 1, 2], 1),
]


@pytest.mark.parametrize(("time", "steps", "sizes", "blank"), CASES)
@pytest.mark.parametrize("form", ["matrix", "concatenated", "lists"])
def test_it_is_the_sum_over_all_alignments(time, steps, sizes, blank, form):
    scores = drawn(time, 3, 3)
    others = [k for k in range(3) if k != blank]
    rows = [[others[0], others[0]], [others[1], others[0]], [others[1], others[1]]]
    labels = [row[:size] for row, size in zip(rows, sizes, strict=True)]
    expected = [by_enumeration(scores[:n, b].numpy(), own, blank) for b, (n, own) in enumerate(zip(steps, labels, strict=True))]
    targets = tracer.tensor(rows) if form != "concatenated" else tracer.tensor([k for own in labels for k in own])
    lengths = (tuple(steps), tuple(sizes)) if form == "lists" else (tracer.tensor(steps), tracer.tensor(sizes))
    loss = F.ctc_loss(scores, targets, *lengths, blank=blank, reduction="none")
    np.testing.assert_allclose(loss.numpy(), expected, rtol=1e-12)
    finite = np.where(np.isfinite(expected), expected, 0.0)
    kept = F.ctc_loss(scores, targets, *lengths, blank=blank, reduction="sum", zero_infinity=True)
    np.testing.assert_allclose(kept.item(), finite.sum(), rtol=1e-12)
    mean = F.ctc_loss(scores, targets, *lengths, blank=blank)
    np.testing.assert_allclose(mean.item(), np.mean(np.array(expected) / np.maximum(sizes, 1)), rtol=1e-12)


def test_labels_and_lengths_of_a_matrix_are_not_part_of_a_trace():
    @tracer.trace
    def step(x, targets, steps, sizes):
        x = x.detach().requires_grad_()
        loss = F.ctc_loss(F.log_softmax(x, -1), targets, steps, sizes)
        loss.backward()
        return loss.detach(), x.grad

    for seed in range(5):
        draw = np.random.default_rng(seed)
        x = tracer.tensor(draw.normal(size=(8, 3, 4)))
        targets = tracer.tensor(draw.integers(1, 4, (3, 3)))
        steps, sizes = tracer.tensor(draw.integers(6, 9, 3)), tracer.tensor(draw.integers(0, 4, 3))
        for given, expected in zip(step(x, targets, steps, sizes), step.function(x, targets, steps, sizes), strict=True):
            np.testing.assert_allclose(given.numpy(), expected.numpy(), rtol=1e-9, atol=1e-12)
    assert step.cache_info().recordings == 1 and step.cache_info().replays == 4


@pytest.mark.parametrize("tensors", [False, True])
def test_lengths_that_do_not_fit(tensors):
    scores, targets = drawn(4, 1, 3), tracer.ones(1, 2, dtype=tracer.int64)
    given = (lambda *n: tracer.tensor(n)) if tensors else lambda *n: n
    with pytest.raises(RuntimeError, match="input_lengths to have value at most 4, but got value 9"):
        F.ctc_loss(scores, targets, given(9), given(1))
    with pytest.raises(RuntimeError, match="at least 5 at dimension 1, but got size 2"):
        F.ctc_loss(scores, targets, given(4), given(5))
    with pytest.raises(RuntimeError, match="at least 3 at dimension 0, but got size 2"):
        F.ctc_loss(scores, targets[0], given(4), given(3))


def test_gradients_of_eager_code_are_those_of_operations():
    """Also where there is no alignment, where a sequence has no label, and of second order."""
    draw = np.random.default_rng(0)
    targets, steps, sizes = tracer.tensor(draw.integers(1, 4, (4, 3))), tracer.tensor([6, 4, 2, 5]), tracer.tensor([3, 0, 3, 2])

    def loss(x):
        return F.ctc_loss(F.log_softmax(x, -1), targets, steps, sizes, reduction="none", zero_infinity=True)

    x = tracer.tensor(draw.normal(size=(6, 4, 4)), requires_grad=True)
    found = tracer.autograd.grad(loss(x).sum(), x)[0]
    with tracer.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t):  # operation by operation
        expected = tracer.autograd.grad(loss(x).sum(), x)[0]
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-10, atol=1e-14)
    assert found[:, 2].abs().sum() == 0 and found[5, 1].abs().sum() == 0
    weights = tracer.tensor(draw.normal(size=x.shape))
    (first,) = tracer.autograd.grad((loss(x) ** 2).sum(), x, create_graph=True)
    (second,) = tracer.autograd.grad((first * weights).sum(), x)
    step = 1e-5
    ahead, behind = (x.detach() + s * step * weights for s in (1, -1))
    sides = [tracer.autograd.grad((loss(y.requires_grad_()) ** 2).sum(), y)[0] for y in (ahead, behind)]
    np.testing.assert_allclose(second.numpy(), ((sides[0] - sides[1]) / (2 * step)).numpy(), rtol=1e-5, atol=1e-7)
