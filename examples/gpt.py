"""A small character-level GPT, trained on the docstrings of Python's built-in types.

Shows a transformer: causal attention, layer norms, residual connections, weights shared by embedding and output. The
training step is one compiled program, which computes attention without storing the whole score matrix.

Prints the loss on training and validation text, and generated text.

    python examples/gpt.py --steps 500
    tracer dump examples/gpt.py:step --input 'i64[16,65]' --stage fused
"""

from __future__ import annotations

import builtins
import inspect
from collections.abc import Sequence
from typing import Any

from common import arguments, save_figure

import tracer
from tracer import Tensor, nn, optim
from tracer.nn import functional as F

CONTEXT, WIDTH, HEADS, LAYERS = 64, 64, 4, 2

kinds = [x for x in vars(builtins).values() if isinstance(x, type)]
members = [getattr(kind, name) for kind in kinds for name in vars(kind) if not name.startswith("_")]
text = "\n\n".join(dict.fromkeys(filter(None, map(inspect.getdoc, [*kinds, *members]))))
alphabet = sorted(set(text))
data = tracer.tensor([alphabet.index(c) for c in text])
train_data, validation_data = data[: len(data) * 9 // 10], data[len(data) * 9 // 10 :]


class Block(nn.Module):
    """Causal attention, then a small network for each position."""

    def __init__(self) -> None:
        super().__init__()
        self.attention_norm, self.mlp_norm = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.projection = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        heads = self.qkv(self.attention_norm(x)).unflatten(-1, (3, HEADS, WIDTH // HEADS))
        query, key, value = heads.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.projection(attended.transpose(1, 2).flatten(-2))
        return x + self.mlp(self.mlp_norm(x))


class GPT(nn.Module):
    """The logits of the next character, at each position of sequences of ``CONTEXT`` characters."""

    def __init__(self) -> None:
        super().__init__()
        self.characters = nn.Parameter(0.05 * tracer.randn(len(alphabet), WIDTH))
        self.positions = nn.Parameter(0.05 * tracer.randn(CONTEXT, WIDTH))
        self.blocks = nn.Sequential(*[Block() for _ in range(LAYERS)], nn.LayerNorm(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.characters[x] + self.positions) @ self.characters.T

    def loss(self, sequences: Tensor) -> Tensor:
        return F.cross_entropy(self(sequences[:, :-1]).flatten(0, 1), sequences[:, 1:].flatten())


tracer.manual_seed(0)
model = GPT()
optimizer = optim.AdamW(model.parameters(), lr=2e-3)


@tracer.trace
def step(sequences: Tensor) -> Tensor:
    """One training step on sequences of shape (batch, length + 1); the loss."""
    optimizer.zero_grad()
    loss = model.loss(sequences)
    loss.backward()
    optimizer.step()
    return loss


@tracer.trace
@tracer.no_grad()
def extend(context: Tensor) -> Tensor:
    """The context shifted by one character, drawn from the network's distribution."""
    probabilities = F.softmax(model(context)[:, -1] / 0.6, -1)
    return tracer.cat([context[:, 1:], tracer.multinomial(probabilities, 1)], 1)


def sample(source: Tensor, batch: int) -> Tensor:
    """Sequences of the text, at random positions."""
    return source[tracer.randint(0, len(source) - CONTEXT, (batch, 1)) + tracer.arange(CONTEXT + 1)]


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    args = arguments(__doc__, argv, steps=500)
    losses, validation = list[float](), list[tuple[int, float]]()
    for i in range(args.steps):
        losses.append(step(sample(train_data, 16)).item())
        if i % 100 == 0 or i == args.steps - 1:
            with tracer.no_grad():
                validation.append((i, model.loss(sample(validation_data, 64)).item()))
            print(f"step {i:4}   loss {losses[-1]:.3f}   validation {validation[-1][1]:.3f}")
    context = train_data[None, :CONTEXT]
    written = "".join(alphabet[int((context := extend(context))[0, -1])] for _ in range(200))
    print(written)

    def draw(ax: Any) -> None:
        ax.plot(losses, lw=0.8)
        ax.plot(*zip(*validation, strict=True), "o-")
        ax.set(title="loss in training and validation", xlabel="step")

    save_figure(args.out / "gpt.png", draw)
    return {"losses": losses, "written": written}


if __name__ == "__main__":
    main()
