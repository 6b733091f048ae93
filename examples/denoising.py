"""A convolutional network that removes noise from images.

Shows residual blocks with batch normalization, whose running statistics change in each step; replays update them too.
Images and noise are generated for each batch.

Prints the loss during training, and the signal-to-noise ratio before and after, on new images.

    python examples/denoising.py --steps 250
    tracer dump examples/denoising.py:step --input 'f32[16,1,32,32]' --input 'f32[16,1,32,32]' --stage fused
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from common import arguments, save_figure

import tracer
from tracer import Tensor, nn, optim
from tracer.nn import functional as F

SIZE, NOISE = 32, 0.25


class Block(nn.Module):
    """Two convolutions with a residual connection."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.relu(self.norm(self.first(x))))


class Denoiser(nn.Module):
    """Predicts the noise and subtracts it: the network learns a small difference instead of an image."""

    def __init__(self, channels: int = 12) -> None:
        super().__init__()
        self.noise = nn.Sequential(
            nn.Conv2d(1, channels, 3, padding=1),
            nn.ReLU(),
            Block(channels),
            Block(channels),
            nn.Conv2d(channels, 1, 3, padding=1),
        )

    def forward(self, images: Tensor) -> Tensor:
        return images - self.noise(images)


tracer.manual_seed(0)
model = Denoiser()
optimizer = optim.Adam(model.parameters(), lr=4e-3)


@tracer.trace
def step(noisy: Tensor, clean: Tensor) -> Tensor:
    """One training step; the loss."""
    optimizer.zero_grad()
    loss = F.mse_loss(model(noisy), clean)
    loss.backward()
    optimizer.step()
    return loss


@tracer.trace
def pictures(count: int) -> tuple[Tensor, Tensor]:
    """Images of three discs each on a shaded background, of shape (count, 1, SIZE, SIZE), with noise and without."""
    axis = tracer.linspace(-1, 1, SIZE)
    x, y = tracer.meshgrid(axis, axis, indexing="xy")
    image = 0.4 * tracer.rand(count, 1, 1) * x + 0.3
    for _ in range(3):
        center_x, center_y = tracer.empty(2, count, 1, 1).uniform_(-0.8, 0.8)
        radius = tracer.empty(count, 1, 1).uniform_(0.2, 0.5)
        inside = (x - center_x) ** 2 + (y - center_y) ** 2 < radius**2
        image = tracer.where(inside, tracer.rand(count, 1, 1), image)
    clean = image[:, None]
    return clean + NOISE * tracer.randn_like(clean), clean


def psnr(images: Tensor, clean: Tensor) -> float:
    """The peak signal-to-noise ratio in decibels, for images in [0, 1]."""
    return -10 * F.mse_loss(images, clean).log10().item()


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    args = arguments(__doc__, argv, steps=250)
    losses: list[float] = []
    model.train()
    for i in range(args.steps):
        losses.append(step(*pictures(16)).item())
        if i % 50 == 0:
            print(f"step {i:4}   loss {losses[-1]:.4f}")

    model.eval()
    noisy, clean = pictures(64)
    with tracer.no_grad():
        restored = model(noisy)
    before, after = psnr(noisy, clean), psnr(restored, clean)
    print(f"peak signal-to-noise ratio: {before:.1f} dB before, {after:.1f} dB after")

    def draw(*axes: Any) -> None:
        for row, (title, images) in enumerate([("noisy", noisy), ("restored", restored), ("true", clean)]):
            for column in range(4):
                ax = axes[4 * row + column]
                ax.imshow(images[column, 0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
                ax.set(xticks=[], yticks=[], ylabel=title if column == 0 else "")

    save_figure(args.out / "denoising.png", draw, rows=3, columns=4, height=1.0, width=1.0)
    return {"losses": losses, "before": before, "after": after}


if __name__ == "__main__":
    main()
