"""karpathy's nanoGPT, minGPT and makemore, from clones."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import torch

from .program import Program, clone, definitions, imported, integers, row, training

_WORDS, _LENGTH = 65, 32


def _texts(batch: int = 4, length: int = _LENGTH) -> list[Any]:
    return [(integers(_WORDS, batch, length, seed=i), integers(_WORDS, batch, length, seed=i + 9)) for i in range(2)]


def _loss(m: Any, x: Any, y: Any) -> Any:
    return m(x, y)[1]


def _nano() -> Any:
    model = imported(clone("nanoGPT", "model.py"))
    return model.GPT(model.GPTConfig(block_size=_LENGTH, vocab_size=_WORDS, n_layer=3, n_head=3, n_embd=48))


@row("nanoGPT train", clone="nanoGPT")
def nano_train() -> Program:
    model = _nano()
    return training(model, _loss, _texts(), model.configure_optimizers(0.1, 1e-3, (0.9, 0.95), "cpu"), clip=1.0)


@row("nanoGPT generate", "the best word instead of a draw", clone="nanoGPT")
def nano_generate() -> Program:
    model = _nano().eval()
    return Program(lambda x: model.generate(x, 16, top_k=1), [(integers(_WORDS, 1, 4),)], [model])


@row("minGPT train", clone="minGPT")
def mini_train() -> Program:
    sys.path.insert(0, str(clone("minGPT")))
    from mingpt.model import GPT

    config = GPT.get_default_config()
    for name, value in {"n_layer": 3, "n_head": 3, "n_embd": 48, "vocab_size": _WORDS, "block_size": _LENGTH}.items():
        setattr(config, name, value)
    config.model_type = None
    model = GPT(config)
    settings = SimpleNamespace(weight_decay=0.1, learning_rate=1e-3, betas=(0.9, 0.95))
    return training(model, _loss, _texts(), model.configure_optimizers(settings), clip=1.0)


def _makemore(make: Any) -> Program:
    script = definitions(clone("makemore", "makemore.py"))
    model = make(script, script.ModelConfig(block_size=16, vocab_size=_WORDS, n_layer=2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, weight_decay=0.01, betas=(0.9, 0.99), eps=1e-8)
    return training(model, _loss, _texts(8, 16), optimizer)


_KINDS = {
    "Transformer": lambda script, config: script.Transformer(config),
    "BoW": lambda script, config: script.BoW(config),
    "RNN": lambda script, config: script.RNN(config, cell_type="rnn"),
    "GRU": lambda script, config: script.RNN(config, cell_type="gru"),
    "MLP": lambda script, config: script.MLP(config),
    "Bigram": lambda script, config: script.Bigram(config),
}
for _name, _make in _KINDS.items():
    row(f"makemore {_name}", clone="makemore")(lambda make=_make: _makemore(make))
