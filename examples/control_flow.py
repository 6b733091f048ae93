"""Newton's method with a line search: Python's ``while`` and ``if`` in a traced function.

A step of Newton's method depends on values: whether the direction is downhill, and whether the step is short enough. A
replay follows a recorded path as long as the outcomes are known; a new outcome runs the function once in Python and adds a
path. A step has few paths, so nearly all calls are replays. The loop over steps, whose number depends on the starting
point, is outside.

The minimized function is Rosenbrock's valley. Gradient and Hessian are computed by automatic differentiation.

Prints the number of replayed steps, and the report of ``explain``.

    python examples/control_flow.py --steps 200
    tracer dump examples/control_flow.py:newton_step --input 'f64[2]'
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from common import arguments, save_figure

import tracer
from tracer import Tensor


def valley(p: Tensor) -> Tensor:
    """Rosenbrock (1960): the minimum is 0, at (1, 1)."""
    x, y = p.unbind(-1)
    return (1 - x) ** 2 + 20 * (y - x**2) ** 2


def derivatives(p: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient and the Hessian."""
    p = p.detach().requires_grad_()
    (gradient,) = tracer.autograd.grad(valley(p), p, create_graph=True)
    rows = [tracer.autograd.grad(g, p, retain_graph=True)[0] for g in gradient]
    return gradient.detach(), tracer.stack(rows)


@tracer.trace
def newton_step(p: Tensor) -> tuple[Tensor, Tensor]:
    """The next, lower point, and the norm of the gradient at the given one."""
    gradient, hessian = derivatives(p)
    direction = -tracer.linalg.solve(hessian, gradient)
    slope = gradient @ direction
    if slope > 0:  # uphill: the Hessian is not positive definite
        direction, slope = -gradient, -(gradient @ gradient)
    length = 1.0
    while length > 1e-8 and valley(p + length * direction) > valley(p) + 1e-4 * length * slope:  # the Armijo rule
        length /= 2
    return p + length * direction, gradient.norm()


def minimize(p: Tensor) -> list[Tensor]:
    """The points of Newton's method, until the gradient is nearly zero."""
    points = [p]
    while len(points) < 100:
        p, norm = newton_step(p)
        if norm < 1e-8:
            break
        points.append(p)
    return points


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    args = arguments(__doc__, argv, steps=200, unit="starting points")
    tracer.manual_seed(0)
    starts = tracer.empty(args.steps, 2, dtype=tracer.float64).uniform_(-1.5, 1.5)
    runs: list[list[Tensor]] = []
    replayed: list[int] = []
    for start in starts:
        runs.append(minimize(start))
        replayed.append(newton_step.cache_info().replays)
    minima, counts = tracer.stack([points[-1] for points in runs]), [len(points) for points in runs]
    info = newton_step.cache_info()
    print(f"{args.steps} minimizations in {min(counts)} to {max(counts)} steps")
    print(f"steps: {info.replays} replayed, {info.recordings} recorded")
    print(newton_step.explain())

    def draw(left: Any, right: Any) -> None:
        axis = tracer.linspace(-1.5, 1.5, 60, dtype=tracer.float64)
        x, y = tracer.meshgrid(axis, axis, indexing="xy")
        left.contour(x, y, (1 + valley(tracer.stack([x, y], -1))).log(), levels=8, cmap="Greys", linewidths=0.6)
        for points in runs[:6]:
            left.plot(*tracer.stack(points).T, "o-", ms=3, lw=0.8)
        left.plot(1, 1, "k*", ms=10)
        left.set(title="six minimizations", xlabel="x", ylabel="y", xlim=(-1.6, 1.6), ylim=(-1.6, 1.6))
        right.plot(tracer.tensor(counts).cumsum(0), label="calls")
        right.plot(replayed, label="replayed")
        right.set(title="calls of newton_step", xlabel="starting point")
        right.legend()

    save_figure(args.out / "control_flow.png", draw, columns=2)
    return {"minima": minima, "counts": counts}


if __name__ == "__main__":
    main()
