"""Linear and logistic regression by gradient descent, with plain tensors.

Shows ``requires_grad``, ``autograd.grad`` and in-place changes under ``no_grad``. Each step is traced: the loss, its
gradient and the update of the weights are one compiled program.

Prints the weights, those of the exact least-squares solution, and the accuracy of the classifier.

    python examples/regression.py --steps 500
    tracer dump examples/regression.py:linear_step --input 'f32[100,3]' --input 'f32[100]' --stage fused
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from common import arguments, save_figure

import tracer
from tracer import Tensor
from tracer.nn import functional as F

linear_weights = tracer.zeros(3, requires_grad=True)
logistic_weights = tracer.zeros(3, requires_grad=True)


@tracer.trace
def linear_step(features: Tensor, y: Tensor) -> Tensor:
    """One step of gradient descent on the mean squared error."""
    loss = F.mse_loss(features @ linear_weights, y)
    (gradient,) = tracer.autograd.grad(loss, linear_weights)
    with tracer.no_grad():
        linear_weights.sub_(0.5 * gradient)
    return loss


@tracer.trace
def logistic_step(features: Tensor, labels: Tensor) -> Tensor:
    """One step of gradient descent on the negative log likelihood of labels 0 and 1."""
    loss = F.binary_cross_entropy_with_logits(features @ logistic_weights, labels)
    (gradient,) = tracer.autograd.grad(loss, logistic_weights)
    with tracer.no_grad():
        logistic_weights.sub_(0.5 * gradient)
    return loss


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    args = arguments(__doc__, argv, steps=500)
    rng = np.random.default_rng(0)

    # A parabola with noise; the features of x are 1, x and x².
    x = tracer.linspace(-1, 1, 100)
    features = tracer.stack([tracer.ones(100), x, x**2], 1)
    y = features @ tracer.tensor([0.5, -1.0, 2.0]) + 0.2 * tracer.from_numpy(rng.standard_normal(100).astype(np.float32))
    squares = [linear_step(features, y).item() for _ in range(args.steps)]
    exact = tracer.linalg.lstsq(features, y[:, None]).solution[:, 0]
    print("weights by gradient descent:", linear_weights.detach())
    print("weights by least squares:   ", exact)

    # Two clouds of points, labelled 0 and 1.
    points = rng.standard_normal((200, 2)).astype(np.float32)
    points[:100] += 1.5
    cloud, labels = tracer.from_numpy(points), (tracer.arange(200) < 100).float()
    inputs = tracer.cat([tracer.ones(200, 1), cloud], 1)
    likelihoods = [logistic_step(inputs, labels).item() for _ in range(args.steps)]
    accuracy = (((inputs @ logistic_weights) > 0) == (labels > 0)).float().mean().item()
    print(f"accuracy of the classifier: {accuracy:.1%}")

    def draw(left: Any, right: Any) -> None:
        left.plot(x, y, ".", color="gray", label="data")
        left.plot(x, (features @ linear_weights).detach(), label="fit")
        left.set(title="linear regression", xlabel="x", ylabel="y")
        left.legend()
        bias, a, b = logistic_weights.tolist()
        right.scatter(*points.T, c=labels, s=8, cmap="coolwarm")
        ends = np.array([-2.5, 4.0])
        right.plot(ends, -(bias + a * ends) / b, "k", label="probability 1/2")
        right.set(title="logistic regression", ylim=(-3, 4.5))
        right.legend()

    save_figure(args.out / "regression.png", draw, columns=2)
    return {"squares": squares, "likelihoods": likelihoods, "exact": exact, "accuracy": accuracy}


if __name__ == "__main__":
    main()
