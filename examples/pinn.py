"""A physics-informed neural network solves the heat equation u_t = k u_xx.

Shows second derivatives through a traced function: u_t, u_x and u_xx are gradients of the network with respect to its
inputs, computed with ``create_graph=True``. The loss computed from them is differentiated with respect to the weights.

Prints the loss during training, and the maximum error compared with the exact solution.

    python examples/pinn.py --steps 2000
    tracer dump examples/pinn.py:step --input 'f32[128]' --input 'f32[128]' --stage fused
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from common import arguments, save_figure

import tracer
from tracer import Tensor, nn, optim

DIFFUSIVITY = 0.2

tracer.manual_seed(0)
model = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
optimizer = optim.Adam(model.parameters(), lr=5e-3)
schedule = optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.998)


def u(x: Tensor, t: Tensor) -> Tensor:
    """The network's solution."""
    return model(tracer.stack([x, t], -1))[..., 0]


def exact(x: Tensor, t: Tensor) -> Tensor:
    """The solution that starts as sin(pi x), and is 0 at both ends."""
    return tracer.sin(math.pi * x) * tracer.exp(-DIFFUSIVITY * math.pi**2 * t)


@tracer.trace
def step(x: Tensor, t: Tensor) -> Tensor:
    """One training step at points in [0, 1] x [0, 1]; the loss."""
    optimizer.zero_grad()
    x, t = x.detach().requires_grad_(), t.detach().requires_grad_()
    value = u(x, t)
    u_x, u_t = tracer.autograd.grad(value.sum(), (x, t), create_graph=True)
    (u_xx,) = tracer.autograd.grad(u_x.sum(), x, create_graph=True)
    equation = (u_t - DIFFUSIVITY * u_xx).square().mean()
    zeros, ones = tracer.zeros_like(x), tracer.ones_like(x)
    start = (u(x, zeros) - exact(x, zeros)).square().mean()
    ends = u(zeros, t).square().mean() + u(ones, t).square().mean()
    loss = equation + 10 * (start + ends)
    loss.backward()
    optimizer.step()
    return loss.detach()


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    args = arguments(__doc__, argv, steps=2000)
    losses: list[float] = []
    for i in range(args.steps):
        losses.append(step(*tracer.rand(2, 128)).item())
        schedule.step()
        if i % 400 == 0:
            print(f"step {i:4}   loss {losses[-1]:.5f}")

    axis = tracer.linspace(0, 1, 50)
    x, t = tracer.meshgrid(axis, axis, indexing="xy")
    solution = u(x, t).detach()
    error = (solution - exact(x, t)).abs().max().item()
    print(f"largest error: {error:.4f}")

    def draw(left: Any, right: Any) -> None:
        for i in (0, 10, 20, 49):
            left.plot(axis, solution[i], label=f"t = {axis[i]:.1f}")
            left.plot(axis, exact(axis, axis[i]), "k:", lw=1)
        left.set(title="solution (dotted: exact)", xlabel="x", ylabel="u")
        left.legend(fontsize=8)
        right.semilogy(losses, lw=0.6)
        right.set(title="loss", xlabel="step")

    save_figure(args.out / "pinn.png", draw, columns=2)
    return {"losses": losses, "error": error}


if __name__ == "__main__":
    main()
