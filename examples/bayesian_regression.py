"""Bayesian logistic regression, sampled by Hamiltonian Monte Carlo.

Shows a use other than training: a complete transition of a sampler, with its random numbers, sixteen gradients and the
choice between old and new positions, is one compiled program. Eight chains are the rows of one tensor.

Prints the posterior mean and standard deviation of each weight, the most probable weights, and the share of accepted
proposals.

    python examples/bayesian_regression.py --steps 1000
    tracer dump examples/bayesian_regression.py:transition --input 'f64[8,3]' --stage fused
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from common import arguments, save_figure

import tracer
from tracer import Tensor, optim
from tracer.nn import functional as F

CHAINS, LEAPS, STEP = 8, 15, 0.1
TRUTH = (0.5, 1.5, -1.0)

# Points with two coordinates and a constant, and labels drawn from the model.
tracer.manual_seed(0)
features = tracer.cat([tracer.ones(200, 1), tracer.randn(200, 2)], 1).double()
labels = tracer.bernoulli((features @ tracer.tensor(TRUTH, dtype=tracer.float64)).sigmoid())


def energy(weights: Tensor) -> Tensor:
    """The negative logarithm of the posterior density, up to a constant, for each row of weights. The prior is normal."""
    logits = weights @ features.T
    losses = F.binary_cross_entropy_with_logits(logits, labels.expand_as(logits), reduction="none")
    return losses.sum(-1) + 0.5 * (weights / 5).square().sum(-1)


def force(weights: Tensor) -> Tensor:
    weights = weights.detach().requires_grad_()
    (gradient,) = tracer.autograd.grad(energy(weights).sum(), weights)
    return -gradient


@tracer.trace
def transition(position: Tensor) -> tuple[Tensor, Tensor]:
    """The next position of each chain, and the mask of accepted proposals.

    Neal, MCMC using Hamiltonian dynamics (2011), figure 2.
    """
    start = tracer.randn_like(position)
    proposal, momentum = position, start + 0.5 * STEP * force(position)
    for i in range(LEAPS):
        proposal = proposal + STEP * momentum
        momentum = momentum + (STEP if i < LEAPS - 1 else 0.5 * STEP) * force(proposal)
    before = energy(position) + 0.5 * start.square().sum(-1)
    after = energy(proposal) + 0.5 * momentum.square().sum(-1)
    accepted = tracer.rand_like(before).log() < before - after
    return tracer.where(accepted[:, None], proposal, position), accepted


def most_probable() -> Tensor:
    """The maximum of the posterior density, by L-BFGS."""
    weights = tracer.zeros(1, 3, dtype=tracer.float64, requires_grad=True)
    optimizer = optim.LBFGS([weights], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = energy(weights).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return weights.detach()[0]


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    args = arguments(__doc__, argv, steps=1000, unit="transitions of each chain")
    position = tracer.randn(CHAINS, 3, dtype=tracer.float64)
    visited: list[Tensor] = []
    rates: list[Tensor] = []
    for _ in range(args.steps):
        position, accepted = transition(position)
        visited.append(position)
        rates.append(accepted.double().mean())
    samples = tracer.stack(visited)[args.steps // 5 :]  # the first fifth is burn-in
    mean, deviation, best = samples.mean((0, 1)), samples.std((0, 1)), most_probable()
    for i in range(3):
        print(f"weight {i}: {mean[i]:6.3f} ± {deviation[i]:.3f}, most probable {best[i]:6.3f}, true {TRUTH[i]:4.1f}")
    rate = tracer.stack(rates).mean().item()
    print(f"accepted: {rate:.0%}")

    def draw(left: Any, right: Any) -> None:
        for i in range(3):
            left.plot(samples[:200, 0, i], lw=0.8, label=f"weight {i}")
        left.set(title="one chain", xlabel="transition")
        left.legend(fontsize=8)
        right.plot(*samples[::8, :, 1:].reshape(-1, 2).T, ".", ms=1.5, alpha=0.4)
        right.plot(*best[1:], "r*", ms=12, label="most probable")
        right.plot(*TRUTH[1:], "k+", ms=12, label="true")
        right.set(title="posterior", xlabel="weight 1", ylabel="weight 2")
        right.legend()

    save_figure(args.out / "bayesian_regression.png", draw, columns=2)
    return {"mean": mean, "deviation": deviation, "best": best, "rate": rate}


if __name__ == "__main__":
    main()
