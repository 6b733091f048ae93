"""Physics-informed networks and neural differential equations (torchdiffeq)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .program import Program, numbers, row, training


@row("PINN, Burgers' equation")
def pinn() -> Program:
    net = nn.Sequential(nn.Linear(2, 20), nn.Tanh(), nn.Linear(20, 20), nn.Tanh(), nn.Linear(20, 1))

    def loss(m: Any, points: Any) -> Any:
        t, x = points[:, :1].detach().requires_grad_(), points[:, 1:].detach().requires_grad_()
        u = m(torch.cat([t, x], 1))
        one = torch.ones_like(u)
        u_t, u_x = torch.autograd.grad(u, (t, x), one, create_graph=True)
        (u_xx,) = torch.autograd.grad(u_x, x, one, create_graph=True)
        inside = u_t + u * u_x - 0.01 / torch.pi * u_xx
        start = m(torch.cat([torch.zeros_like(x), x], 1)) + torch.sin(torch.pi * x)
        return inside.pow(2).mean() + start.pow(2).mean()

    return training(net, loss, [(numbers(64, 2, seed=i).tanh(),) for i in range(2)])


class _Field(nn.Module):
    """The right-hand side in torchdiffeq's demonstration of neural equations."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 50), nn.Tanh(), nn.Linear(50, 2))

    def forward(self, t: Any, y: Any) -> Any:
        return self.net(y**3)


def _equation(**options: Any) -> Program:
    from torchdiffeq import odeint

    times = torch.linspace(0.0, 1.0, 6)

    def loss(m: Any, y0: Any, y: Any) -> Any:
        return (odeint(m, y0, times, **options) - y).abs().mean()

    data = [(numbers(8, 2, seed=i).tanh(), numbers(6, 8, 2, seed=i + 9)) for i in range(2)]
    return training(_Field(), loss, data)


@row("neural ODE, fixed steps (torchdiffeq rk4)")
def fixed() -> Program:
    return _equation(method="rk4")


@row("neural ODE, adaptive steps (torchdiffeq dopri5)")
def adaptive() -> Program:
    return _equation(method="dopri5", rtol=1e-4, atol=1e-5)
