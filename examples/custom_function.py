"""A custom ``autograd.Function``: Kepler's equation, differentiated by the implicit function theorem.

The eccentric anomaly E of a body on an ellipse solves E - e sin E = M, here by Newton's method. Backpropagation through the
iterations would store all of them. But the derivatives follow from the solution alone: dE/dM = 1 / (1
- e cos E), and dE/de = sin E / (1 - e cos E).

Shows ``forward`` and ``backward`` traced with their caller, ``gradcheck`` of first and second derivatives, and the fit of
an orbit to observations.

Prints the result of the checks, and the fitted and true elements of the orbit.

    python examples/custom_function.py --steps 600
    tracer dump examples/custom_function.py:step --input 'f64[60]' --input 'f64[60,2]' --stage fused
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from common import arguments, save_figure

import tracer
from tracer import Tensor, optim


class Kepler(tracer.autograd.Function):
    """The eccentric anomaly for eccentricities in [0, 1) and mean anomalies, of the same shape."""

    @staticmethod
    def forward(ctx: Any, eccentricity: Tensor, mean_anomaly: Tensor) -> Tensor:
        anomaly = mean_anomaly + 0.85 * eccentricity * mean_anomaly.sin().sign()
        for _ in range(8):
            residual = anomaly - eccentricity * anomaly.sin() - mean_anomaly
            anomaly = anomaly - residual / (1 - eccentricity * anomaly.cos())
        ctx.save_for_backward(eccentricity, anomaly)
        return anomaly

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        eccentricity, anomaly = ctx.saved_tensors
        slope = gradient / (1 - eccentricity * anomaly.cos())
        return slope * anomaly.sin(), slope


def positions(elements: Tensor, time: Tensor) -> Tensor:
    """Positions (x, y) on an orbit, given its semi-major axis, eccentricity, period and time of the pericentre."""
    axis, eccentricity, period, pericentre = elements
    anomaly = Kepler.apply(eccentricity.expand_as(time), 2 * math.pi * (time - pericentre) / period)
    x = axis * (anomaly.cos() - eccentricity)
    y = axis * (1 - eccentricity**2).sqrt() * anomaly.sin()
    return tracer.stack([x, y], -1)


TRUTH = tracer.tensor([1.5, 0.6, 2.0, 0.3], dtype=tracer.float64)
elements = tracer.tensor([1.2, 0.3, 2.1, 0.2], dtype=tracer.float64, requires_grad=True)
optimizer = optim.Adam([elements], lr=0.01)


@tracer.trace
def step(time: Tensor, observed: Tensor) -> Tensor:
    """One step of the fit; the mean squared distance."""
    optimizer.zero_grad()
    loss = (positions(elements, time) - observed).square().sum(-1).mean()
    loss.backward()
    optimizer.step()
    return loss


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    args = arguments(__doc__, argv, steps=600)
    tracer.manual_seed(0)
    inputs = tuple((scale * tracer.rand(5, dtype=tracer.float64)).requires_grad_() for scale in (0.9, 6))
    checked = tracer.autograd.gradcheck(Kepler.apply, inputs), tracer.autograd.gradgradcheck(Kepler.apply, inputs)
    print("gradients agree with finite differences: first {}, second {}".format(*checked))

    time = 2 * tracer.rand(60, dtype=tracer.float64)
    observed = positions(TRUTH, time)
    observed = observed + 0.02 * tracer.randn_like(observed)
    losses = [step(time, observed).item() for _ in range(args.steps)]
    for name, fitted, true in zip(("axis", "eccentricity", "period", "pericentre"), elements.tolist(), TRUTH, strict=True):
        print(f"{name:12} {fitted:6.3f}, true {true:6.3f}")

    def draw(left: Any, right: Any) -> None:
        left.plot(*observed.T, ".", color="gray", label="observed")
        whole = tracer.linspace(0, 1, 200, dtype=tracer.float64)
        for label, orbit, line in [("fitted", elements.detach(), "-"), ("true", TRUTH, "k:")]:
            left.plot(*positions(orbit, whole * orbit[2]).T, line, label=label)
        left.plot(0, 0, "y*", ms=12)
        left.set(title="orbit", aspect="equal")
        left.legend(fontsize=8)
        right.semilogy(losses)
        right.set(title="mean squared distance", xlabel="step")

    save_figure(args.out / "custom_function.png", draw, columns=2)
    return {"losses": losses, "elements": elements.detach(), "truth": TRUTH, "checked": checked}


if __name__ == "__main__":
    main()
