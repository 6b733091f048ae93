"""A convolutional network that recognises digits.

Shows the usual training loop: a ``DataLoader``, a module with dropout, ``AdamW`` and a learning-rate schedule. The whole
step is traced: forward, backward and optimizer are one compiled program. The learning rate that the schedule sets in each
step needs no new recording.

Prints the loss during training, and the accuracy on test images.

    python examples/digits.py --steps 300
    tracer dump examples/digits.py:step --input 'f32[64,1,16,16]' --input 'i64[64]' --stage fused
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from common import arguments, digits, save_figure

import tracer
from tracer import Tensor, nn, optim
from tracer.nn import functional as F
from tracer.utils.data import DataLoader, TensorDataset

tracer.manual_seed(0)
model = nn.Sequential(
    nn.Conv2d(1, 8, 3, padding=1),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Conv2d(8, 16, 3, padding=1),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Flatten(),
    nn.Dropout(0.2),
    nn.Linear(16 * 4 * 4, 10),
)
optimizer = optim.AdamW(model.parameters(), lr=4e-3)


@tracer.trace
def step(images: Tensor, labels: Tensor) -> Tensor:
    """One training step; the loss."""
    optimizer.zero_grad()
    loss = F.cross_entropy(model(images), labels)
    loss.backward()
    optimizer.step()
    return loss


@tracer.trace
@tracer.no_grad()
def predict(images: Tensor) -> Tensor:
    """The most probable digit for each image."""
    return model(images).argmax(1)


def batches(images: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless batches, in a new order in each epoch."""
    loader = DataLoader(TensorDataset(images, labels), batch_size=64, shuffle=True, drop_last=True)
    while True:
        yield from loader


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    args = arguments(__doc__, argv, steps=300)
    images, labels = map(tracer.from_numpy, digits(1500))
    test_images, test_labels = images[:300], labels[:300]
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=args.steps)

    losses: list[float] = []
    model.train()
    for i, (inputs, targets) in zip(range(args.steps), batches(images[300:], labels[300:]), strict=False):
        losses.append(step(inputs, targets).item())
        schedule.step()
        if i % 50 == 0:
            print(f"step {i:4}   loss {losses[-1]:.3f}")

    model.eval()
    guesses = predict(test_images)
    accuracy = (guesses == test_labels).float().mean().item()
    print(f"accuracy on {len(test_labels)} other images: {accuracy:.1%}")

    def draw(*axes: Any) -> None:
        wrong = guesses != test_labels
        order = wrong.int().argsort(descending=True)  # mistakes first
        for ax, i in zip(axes, order.tolist(), strict=False):
            ax.imshow(test_images[i, 0], cmap="gray_r")
            ax.set_title(f"{test_labels[i]}, read as {guesses[i]}", fontsize=8, color="red" if wrong[i] else "black")
            ax.axis("off")

    save_figure(args.out / "digits.png", draw, rows=2, columns=5, height=1.3, width=1.4)
    return {"losses": losses, "accuracy": accuracy}


if __name__ == "__main__":
    main()
