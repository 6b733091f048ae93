"""A neural ordinary differential equation that learns the dynamics of a damped pendulum from noisy observations.

Shows a solver written in Python inside a traced function: the network is called four times in each Runge-Kutta step, and
the gradient goes back through all of them. The loop over time steps is unrolled; the step remains one compiled program.

Prints the loss during training, and the maximum error of a trajectory from another starting point.

    python examples/neural_ode.py --steps 600
    tracer dump examples/neural_ode.py:step --input 'f32[32,2]' --input 'f32[10,32,2]' --stage fused
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from common import arguments, save_figure

import tracer
from tracer import Tensor, nn, optim

DT, AHEAD = 0.1, 10


def truth(y: Tensor) -> Tensor:
    """The true dynamics: the derivatives of the angle and of the angular velocity, along the last axis."""
    angle, velocity = y.unbind(-1)
    return tracer.stack([velocity, -angle.sin() - 0.1 * velocity], -1)


def solve(law: Callable[[Tensor], Tensor], y: Tensor, steps: int) -> Tensor:
    """The classical Runge-Kutta method: states of shape (steps, *y.shape) at times DT, 2 DT, ..."""
    states: list[Tensor] = []
    for _ in range(steps):
        k1 = law(y)
        k2 = law(y + DT / 2 * k1)
        k3 = law(y + DT / 2 * k2)
        k4 = law(y + DT * k3)
        y = y + DT / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        states.append(y)
    return tracer.stack(states)


tracer.manual_seed(0)
model = nn.Sequential(nn.Linear(2, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 2))
optimizer = optim.Adam(model.parameters(), lr=5e-3)
schedule = optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.996)


@tracer.trace
def step(start: Tensor, following: Tensor) -> Tensor:
    """One training step: predicts the following states, and compares them with the observed ones; the loss."""
    optimizer.zero_grad()
    loss = (solve(model, start, len(following)) - following).abs().mean()
    loss.backward()
    optimizer.step()
    return loss


@tracer.trace
@tracer.no_grad()
def trajectory(start: Tensor) -> Tensor:
    """100 states of the learnt dynamics."""
    return solve(model, start, 100)


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    args = arguments(__doc__, argv, steps=600)
    exact = solve(truth, tracer.tensor([2.5, 0.0]), 300)
    observed = exact + 0.02 * tracer.randn_like(exact)
    losses: list[float] = []
    for i in range(args.steps):
        starts = tracer.randint(0, len(observed) - AHEAD, (32,))
        following = observed[starts + tracer.arange(1, AHEAD + 1)[:, None]]
        losses.append(step(observed[starts], following).item())
        schedule.step()
        if i % 100 == 0:
            print(f"step {i:4}   loss {losses[-1]:.4f}")

    start = tracer.tensor([[1.5, 0.0]])
    predicted, expected = trajectory(start)[:, 0], solve(truth, start, 100)[:, 0]
    error = (predicted - expected).norm(dim=-1).max().item()
    print(f"largest error in 100 steps from another start: {error:.3f}")

    def draw(left: Any, right: Any) -> None:
        left.plot(*observed.T, ".", ms=2, color="gray", label="observed")
        left.plot(*expected.T, label="true")
        left.plot(*predicted.T, "--", label="learnt")
        left.set(title="a trajectory from another start", xlabel="angle", ylabel="angular velocity")
        left.legend(fontsize=8)
        axis = tracer.linspace(-2.5, 2.5, 13)
        grid = tracer.cartesian_prod(axis, axis)
        velocity = model(grid).detach()
        right.quiver(*grid.T, *(velocity / velocity.norm(dim=1, keepdim=True)).T, velocity.norm(dim=1).numpy())
        right.set(title="the learnt law", xlabel="angle", ylabel="angular velocity")

    save_figure(args.out / "neural_ode.png", draw, columns=2, height=3.6)
    return {"losses": losses, "error": error}


if __name__ == "__main__":
    main()
