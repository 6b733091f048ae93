"""A variational autoencoder with two latent variables that generates digits.

Shows random numbers in a traced function: each call, replayed or not, draws new noise for the reparametrization.
``distributions`` computes the divergence of the encoder's distribution from the prior.

Prints the loss during training. The figure shows the decoder's images for points in the latent plane.

    python examples/vae.py --steps 3000
    tracer dump examples/vae.py:step --input 'f32[64,256]' --stage fused
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from common import arguments, digits, save_figure

import tracer
from tracer import Tensor, nn, optim
from tracer.distributions import Normal, kl_divergence
from tracer.nn import functional as F


class VAE(nn.Module):
    """Images of 16x16 pixels, as rows of 256 numbers, and two latent variables."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 4))
        self.decoder = nn.Sequential(nn.Linear(2, 128), nn.ReLU(), nn.Linear(128, 256))

    def encode(self, images: Tensor) -> Normal:
        mean, log_deviation = self.encoder(images).chunk(2, -1)
        return Normal(mean, log_deviation.exp())

    def loss(self, images: Tensor) -> Tensor:
        """The negative evidence lower bound. Kingma and Welling (2013), equation 10."""
        posterior = self.encode(images)
        logits = self.decoder(posterior.rsample())
        reconstruction = F.binary_cross_entropy_with_logits(logits, images, reduction="none").sum(-1)
        return (reconstruction + kl_divergence(posterior, Normal(0.0, 1.0)).sum(-1)).mean()


tracer.manual_seed(0)
model = VAE()
optimizer = optim.Adam(model.parameters(), lr=3e-3)


@tracer.trace
def step(images: Tensor) -> Tensor:
    """One training step; the loss."""
    optimizer.zero_grad()
    loss = model.loss(images)
    loss.backward()
    optimizer.step()
    return loss


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    args = arguments(__doc__, argv, steps=3000)
    arrays = digits(1500)
    images, labels = tracer.from_numpy(arrays[0]).flatten(1), tracer.from_numpy(arrays[1])
    losses: list[float] = []
    for i in range(args.steps):
        losses.append(step(images[tracer.randint(0, len(images), (64,))]).item())
        if i % 500 == 0:
            print(f"step {i:4}   loss {losses[-1]:.2f}")

    with tracer.no_grad():
        means = model.encode(images[:300]).mean
        axis = Normal(0.0, 1.0).icdf(tracer.linspace(0.05, 0.95, 8))
        grid = tracer.cartesian_prod(axis.flip(0), axis).flip(1)
        drawn = model.decoder(grid).sigmoid().reshape(8, 8, 16, 16)

    def draw(left: Any, right: Any) -> None:
        points = left.scatter(*means.T, c=labels[:300], s=5, cmap="tab10")
        left.figure.colorbar(points, ax=left, label="digit")
        left.set(title="latent variables of the images", xlim=(-3, 3), ylim=(-3, 3))
        right.imshow(drawn.transpose(1, 2).reshape(128, 128), cmap="gray_r", interpolation="nearest")
        right.set(title="images of the latent plane")
        right.axis("off")

    save_figure(args.out / "vae.png", draw, columns=2, height=3.0, width=3.8)
    return {"losses": losses}


if __name__ == "__main__":
    main()
