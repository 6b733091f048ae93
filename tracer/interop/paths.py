"""PyTorch's import paths as aliases of modules here: ``nn.modules.rnn`` is ``nn.modules.recurrent``."""

from __future__ import annotations

import sys
from typing import Any

_ALIASES = {
    "nn.modules": {
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
    "autograd": {"grad_mode": "modes"},
    "distributions": {
        "bernoulli": "discrete",
        "beta": "gamma",
        "binomial": "discrete",
        "categorical": "discrete",
        "cauchy": "continuous",
        "chi2": "gamma",
        "continuous_bernoulli": "bounded",
        "dirichlet": "gamma",
        "exp_family": "distribution",
        "exponential": "continuous",
        "fishersnedecor": "gamma",
        "generalized_pareto": "bounded",
        "geometric": "discrete",
        "gumbel": "continuous",
        "half_cauchy": "continuous",
        "half_normal": "continuous",
        "independent": "composed",
        "inverse_gamma": "gamma",
        "kumaraswamy": "gamma",
        "laplace": "continuous",
        "lkj_cholesky": "matrices",
        "log_normal": "composed",
        "logistic_normal": "composed",
        "lowrank_multivariate_normal": "multivariate",
        "mixture_same_family": "composed",
        "multinomial": "discrete",
        "multivariate_normal": "multivariate",
        "negative_binomial": "discrete",
        "normal": "continuous",
        "one_hot_categorical": "discrete",
        "pareto": "continuous",
        "poisson": "discrete",
        "relaxed_bernoulli": "relaxed",
        "relaxed_categorical": "relaxed",
        "studentT": "gamma",
        "transformed_distribution": "composed",
        "uniform": "continuous",
        "von_mises": "continuous",
        "weibull": "continuous",
        "wishart": "matrices",
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


def enter(*packages: str) -> None:
    """Registers the paths in these packages with ``import``. Called once, when the packages are imported."""
    root = __name__.partition(".")[0]
    for package in packages:
        parent = sys.modules[f"{root}.{package}"]
        for name, own in _ALIASES[package].items():
            module = sys.modules[f"{root}.{package}.{own}"]
            sys.modules[f"{root}.{package}.{name}"] = module
            if not hasattr(parent, name):
                setattr(parent, name, module)


def enter_layers() -> None:
    """Registers the layer modules that are elsewhere: their base, and attention."""
    root = __name__.partition(".")[0]
    layers: Any = sys.modules[f"{root}.nn.modules"]
    layers.module = sys.modules[f"{root}.nn.modules.module"] = sys.modules[f"{root}.nn.module"]
    layers.activation.MultiheadAttention = layers.MultiheadAttention
    for name, found in vars(sys.modules[f"{root}.nn.hooks"]).items():
        if name.startswith("register_module_"):
            setattr(layers.module, name, found)
    for kind in ("BatchNorm", "Conv", "ConvTranspose", "InstanceNorm", "Linear"):
        for name in (f"Lazy{kind}", *(f"Lazy{kind}{n}d" for n in (1, 2, 3))):
            if hasattr(layers, name):
                setattr(sys.modules[getattr(layers, name.removeprefix("Lazy")).__module__], name, getattr(layers, name))
