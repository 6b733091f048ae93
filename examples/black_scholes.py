"""Prices of call options, their greeks by automatic differentiation, and the effect of hedging with them.

Shows first and second derivatives inside a traced function: ``create_graph=True`` keeps the gradient differentiable, and
gamma is the derivative of delta. Prices and all greeks of all paths are computed by a few fused loops.

A trader sells a call option on each of 1,000 simulated paths of a share, and holds delta shares against it, adjusted in
each step.

Prints price and greeks of one option, and the profits with and without the hedge.

    python examples/black_scholes.py --steps 250
    tracer dump examples/black_scholes.py:greeks --input 'f64[1000]' --input 'f64[1000]' --input 0.02 --input 0.2 --stage source
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from common import arguments, save_figure

import tracer
from tracer import Tensor

STRIKE, RATE, VOLATILITY = 100.0, 0.02, 0.25


def normal_cdf(x: Tensor) -> Tensor:
    return 0.5 * (1 + tracer.erf(x / math.sqrt(2)))


def price(spot: Tensor, time: Tensor, rate: Tensor, volatility: Tensor) -> Tensor:
    """The price of European calls with strike ``STRIKE``: Black and Scholes (1973), equation 13."""
    deviation = volatility * time.sqrt()
    d1 = (tracer.log(spot / STRIKE) + (rate + volatility**2 / 2) * time) / deviation
    return spot * normal_cdf(d1) - STRIKE * tracer.exp(-rate * time) * normal_cdf(d1 - deviation)


@tracer.trace
def greeks(spot: Tensor, time: Tensor, rate: float, volatility: float) -> dict[str, Tensor]:
    """The price of each option, and its derivatives."""
    inputs = [spot, time, tracer.full_like(spot, rate), tracer.full_like(spot, volatility)]
    inputs = [x.detach().requires_grad_() for x in inputs]
    prices = price(*inputs)
    delta, decay, rho, vega = tracer.autograd.grad(prices.sum(), inputs, create_graph=True)
    (gamma,) = tracer.autograd.grad(delta.sum(), inputs[0])
    found = {"price": prices, "delta": delta, "gamma": gamma, "vega": vega, "theta": -decay, "rho": rho}
    return {name: x.detach() for name, x in found.items()}


def hedge(paths: int, steps: int) -> tuple[Tensor, Tensor]:
    """The profit of the seller of a call on each path, in one year: without and with a hedge."""
    tracer.manual_seed(0)
    dt = 1 / steps
    spot = tracer.full((paths,), 100.0, dtype=tracer.float64)
    shares = tracer.zeros_like(spot)
    premium = greeks(spot, tracer.ones_like(spot), RATE, VOLATILITY)["price"]
    cash = premium.clone()
    for i in range(steps):
        delta = greeks(spot, tracer.full_like(spot, 1 - i * dt), RATE, VOLATILITY)["delta"]
        cash = (cash - (delta - shares) * spot) * math.exp(RATE * dt)
        shares = delta
        drift, noise = (RATE - VOLATILITY**2 / 2) * dt, VOLATILITY * math.sqrt(dt) * tracer.randn_like(spot)
        spot = spot * (drift + noise).exp()
    payoff = (spot - STRIKE).clamp(min=0)
    return premium * math.exp(RATE) - payoff, cash + shares * spot - payoff


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    args = arguments(__doc__, argv, steps=250, unit="adjustments of the hedge in a year")
    spots = tracer.linspace(60, 140, 81, dtype=tracer.float64)
    found = greeks(spots, tracer.ones_like(spots), RATE, VOLATILITY)
    for name, values in found.items():
        print(f"{name:6} {values[40].item():9.5f}   (spot 100, strike 100, one year)")
    without, hedged = hedge(1000, args.steps)
    for name, profit in [("without hedge", without), ("hedged", hedged)]:
        print(f"profit {name:14} mean {profit.mean().item():6.2f}, standard deviation {profit.std().item():6.2f}")

    def draw(left: Any, middle: Any, right: Any) -> None:
        left.plot(spots, found["price"], label="price")
        left.plot(spots, (spots - STRIKE).clamp(min=0), "k--", label="payoff")
        left.set(title="price", xlabel="spot")
        left.legend()
        for name in ("delta", "gamma", "vega", "theta", "rho"):
            middle.plot(spots, found[name] / found[name].abs().max(), label=name)
        middle.set(title="greeks, divided by their maxima", xlabel="spot")
        middle.legend(fontsize=8)
        right.hist([without.numpy(), hedged.numpy()], bins=40, range=(-40, 20), label=["without hedge", "hedged"])
        right.set(title=f"profit, {args.steps} adjustments")
        right.legend()

    save_figure(args.out / "black_scholes.png", draw, columns=3, height=2.8, width=3.4)
    return {"spots": spots, "greeks": found, "without": without, "hedged": hedged}


if __name__ == "__main__":
    main()
