"""Cotangents of slices, which the engine adds in place to the cotangent of the whole array."""

import numpy as np

import tracer


def test_parts_of_a_cotangent_are_added_in_place():
    """Also where other operations read the array, or the same part."""
    rows = [(i, slice(None)) for i in range(5)] + [(slice(0, 5, 2), 1), (2, slice(1, 3)), slice(None), 3]
    for first in ("part", "whole"):
        x = tracer.linspace(-1, 1, 20, dtype=tracer.float64).reshape(5, 4).requires_grad_()
        for y, expected in ((x, 1), (x * 1, 2)):  # a leaf, and a node
            total = (y * y).sum() if first == "whole" else 0.0
            for n, at in enumerate(rows):
                total = total + (y[at] * y[at]).sum() * n
            if first == "part":
                total = total + (y * y).sum()
            total.backward()
            weights = np.ones((5, 4))
            for n, at in enumerate(rows):
                weights[at] += n
            np.testing.assert_allclose(x.grad.numpy(), expected * 2 * weights * x.detach().numpy())


def test_a_part_that_is_everything_shares_no_memory_with_another_cotangent():
    x = tracer.ones(3, requires_grad=True)
    g = tracer.tensor([1.0, 2.0, 3.0])
    y = x * 1
    a, b = y[:], y[:]
    tracer.autograd.backward([a, b], [g, g])
    assert g.tolist() == [1, 2, 3]
    assert x.grad.tolist() == [2, 4, 6]
