"""Import paths of PyTorch's that lead to modules here: ``nn.modules.rnn`` is ``nn.modules.recurrent``."""

from __future__ import annotations

import sys

_ALIASES = {
    "nn.modules": {
        "adaptive": "linear",
        "batchnorm": "normalization",
        "channelshuffle": "pooling",
        "conv": "convolution",
        "distance": "loss",
        "flatten": "linear",
        "fold": "pooling",
        "instancenorm": "normalization",
        "padding": "pooling",
        "pixelshuffle": "pooling",
        "rnn": "recurrent",
        "sparse": "linear",
        "upsampling": "pooling",
    },
    "optim": {
        "adadelta": "adaptive",
        "adagrad": "adaptive",
        "adamax": "adam",
        "adamw": "adam",
        "asgd": "sgd",
        "nadam": "adam",
        "radam": "adam",
        "rmsprop": "adaptive",
        "rprop": "sgd",
    },
}


def enter() -> None:
    """Makes the paths known to ``import``. Called once, when ``tracer`` is imported."""
    root = __name__.rpartition(".")[0]
    for package, names in _ALIASES.items():
        parent = sys.modules[f"{root}.{package}"]
        for name, own in names.items():
            module = sys.modules[f"{root}.{package}.{own}"]
            sys.modules[f"{root}.{package}.{name}"] = module
            if not hasattr(parent, name):
                setattr(parent, name, module)
    module = sys.modules[f"{root}.nn.module"]
    sys.modules[f"{root}.nn.modules.module"] = module
    sys.modules[f"{root}.nn.modules"].module = module  # type: ignore[attr-defined]
