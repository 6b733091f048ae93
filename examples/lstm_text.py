"""A character-level LSTM that memorises the Zen of Python.

Shows a recurrent network with truncated backpropagation, gradient clipping, and generation with a state passed from call to
call. Both functions are traced, each as one compiled program with all time steps, their gradients and the optimizer.

Prints the loss during training, and generated text.

    python examples/lstm_text.py --steps 300
    tracer dump examples/lstm_text.py:step --input 'i64[16,33]' --stage fused
"""

from __future__ import annotations

import codecs
import contextlib
import io
from collections.abc import Sequence
from typing import Any

from common import arguments, save_figure

import tracer
from tracer import Tensor, nn, optim
from tracer.nn import functional as F

with contextlib.redirect_stdout(io.StringIO()):  # importing it prints the text
    import this

text = codecs.decode(this.s, "rot13")
alphabet = sorted(set(text))
data = tracer.tensor([alphabet.index(c) for c in text])


class CharacterLSTM(nn.Module):
    """The logits of the next character, after each character of a batch of sequences."""

    def __init__(self, characters: int, hidden: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(characters, 32)
        self.lstm = nn.LSTM(32, hidden, batch_first=True)
        self.output = nn.Linear(hidden, characters)

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        y, after = self.lstm(self.embedding(x), state)
        return self.output(y), after


tracer.manual_seed(0)
model = CharacterLSTM(len(alphabet), 128)
optimizer = optim.Adam(model.parameters(), lr=6e-3)


@tracer.trace
def step(sequences: Tensor) -> Tensor:
    """One training step on sequences of shape (batch, length + 1); the loss."""
    optimizer.zero_grad()
    logits, _ = model(sequences[:, :-1])
    loss = F.cross_entropy(logits.flatten(0, 1), sequences[:, 1:].flatten())
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss


@tracer.trace
@tracer.no_grad()
def advance(character: Tensor, state: tuple[Tensor, Tensor], temperature: float) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """The next character, drawn from the network's distribution, and the state after the given one."""
    logits, state = model(character, state)
    return tracer.multinomial(F.softmax(logits[:, -1] / temperature, -1), 1), state


def write(start: str, length: int, temperature: float = 0.3) -> str:
    """Generated text that continues ``start``."""
    state = (tracer.zeros(1, 1, 128), tracer.zeros(1, 1, 128))
    written = start
    for i in range(length):
        character = tracer.tensor([[alphabet.index(written[i])]])
        following, state = advance(character, state, temperature)
        if i + 1 == len(written):
            written += alphabet[int(following)]
    return written


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    args = arguments(__doc__, argv, steps=300)
    losses: list[float] = []
    for i in range(args.steps):
        starts = tracer.randint(0, len(data) - 33, (16, 1))
        losses.append(step(data[starts + tracer.arange(33)]).item())
        if i % 50 == 0:
            print(f"step {i:4}   loss {losses[-1]:.3f}")
    written = write("Beautiful", 200)
    print(written)

    shown = data[31:111]
    with tracer.no_grad():
        probabilities = F.softmax(model(shown[None, :-1])[0][0], -1).gather(1, shown[1:, None])[:, 0]

    def draw(top: Any, bottom: Any) -> None:
        top.plot(losses)
        top.set(title="loss", xlabel="step")
        bottom.bar(range(len(probabilities)), probabilities.numpy())
        bottom.set_xticks(range(len(probabilities)), [alphabet[i].replace("\n", "↵") for i in shown[1:]], fontsize=7)
        bottom.set(title="probability of each character, given those before", ylim=(0, 1))

    save_figure(args.out / "lstm_text.png", draw, rows=2, height=2.2, width=8)
    return {"losses": losses, "written": written, "text": text}


if __name__ == "__main__":
    main()
