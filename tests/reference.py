"""Recorded results of PyTorch: optimizers' trajectories, schedulers, modules. ``test_reference`` compares this package with
them.

python tests/reference.py      # with PyTorch installed: records anew into reference.json
"""

import json
from pathlib import Path

import numpy as np

FILE = Path(__file__).with_name("reference.json")

OPTIMIZERS = [
    ("SGD", {"lr": 0.05}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "dampening": 0.1, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True, "maximize": True}),
    ("Adam", {"lr": 0.02, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.02, "amsgrad": True}),
    ("AdamW", {"lr": 0.02, "weight_decay": 0.1}),
    ("NAdam", {"lr": 0.02}),
    ("NAdam", {"lr": 0.02, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RAdam", {"lr": 0.02, "weight_decay": 0.1}),
    ("Adamax", {"lr": 0.02, "weight_decay": 0.1}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.01, "initial_accumulator_value": 0.1}),
    ("Adadelta", {"lr": 1.0, "weight_decay": 0.1}),
    ("RMSprop", {"lr": 0.01}),
    ("RMSprop", {"lr": 0.01, "alpha": 0.9, "centered": True, "momentum": 0.5, "weight_decay": 0.1}),
    ("Adafactor", {"lr": 0.05}),
    ("Adafactor", {"lr": 0.02, "weight_decay": 0.1, "maximize": True, "eps": (1e-8, 1e-2), "d": 2.0}),
    ("ASGD", {"lr": 0.05, "t0": 10}),
    ("Rprop", {"lr": 0.01}),
    ("LBFGS", {"lr": 0.5, "max_iter": 3, "history_size": 5}),
    ("LBFGS", {"max_iter": 5, "line_search_fn": "strong_wolfe"}),
]

SCHEDULES = [
    ("StepLR", {"step_size": 7, "gamma": 0.5}),
    ("MultiStepLR", {"milestones": [3, 10, 10], "gamma": 0.5}),
    ("ConstantLR", {"factor": 0.5, "total_iters": 6}),
    ("LinearLR", {"start_factor": 0.2, "total_iters": 9}),
    ("ExponentialLR", {"gamma": 0.9}),
    ("PolynomialLR", {"total_iters": 12, "power": 2.0}),
    ("CosineAnnealingLR", {"T_max": 8, "eta_min": 0.01}),
    ("CosineAnnealingWarmRestarts", {"T_0": 4, "T_mult": 2}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 4, "mode": "triangular2"}),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": 31}),
]

# Name, arguments, shapes of the inputs; an integer input is given as (shape, limit).
MODULES = [
    ("Bilinear", [3, 4, 2], [(5, 3), (5, 4)]),
    ("Conv1d", [2, 4, 3, 2, 1], [(2, 2, 7)]),
    ("Conv3d", [2, 2, 2], [(1, 2, 3, 4, 3)]),
    ("ConvTranspose2d", [2, 4, 3, 2, 1, 1, 2], [(2, 2, 3, 3)]),
    ("MaxPool2d", [2, 1, 1], [(1, 2, 4, 4)]),
    ("AvgPool2d", [3, 2, 1], [(1, 2, 5, 5)]),
    ("AdaptiveAvgPool2d", [3], [(1, 2, 5, 7)]),
    ("AdaptiveMaxPool1d", [3], [(2, 2, 8)]),
    ("LPPool2d", [2, 2], [(1, 2, 4, 4)]),
    ("BatchNorm1d", [4], [(6, 4)]),
    ("BatchNorm2d", [3], [(4, 3, 2, 2)]),
    ("InstanceNorm1d", [3], [(2, 3, 5)]),
    ("GroupNorm", [2, 4], [(3, 4, 3)]),
    ("LayerNorm", [[3, 2]], [(4, 3, 2)]),
    ("RMSNorm", [4], [(3, 4)]),
    ("Embedding", [7, 3, 2], [((4, 2), 7)]),
    ("EmbeddingBag", [7, 3], [((4, 2), 7)]),
    ("RNN", [3, 4, 2], [(5, 2, 3)]),
    ("LSTM", [3, 4, 2, True, True], [(2, 5, 3)]),
    ("GRU", [3, 4], [(5, 2, 3)]),
    ("LSTMCell", [3, 4], [(2, 3)]),
    ("GRUCell", [3, 4], [(2, 3)]),
    ("MultiheadAttention", [8, 2], [(4, 2, 8), (5, 2, 8), (5, 2, 8)]),
    ("TransformerEncoderLayer", [8, 2, 16, 0.0], [(4, 2, 8)]),
    ("TransformerDecoderLayer", [8, 2, 16, 0.0], [(4, 2, 8), (3, 2, 8)]),
    ("PReLU", [3], [(2, 3, 4)]),
    ("Hardswish", [], [(3, 4)]),
    ("GELU", ["tanh"], [(3, 4)]),
    ("Softplus", [2.0], [(3, 4)]),
    ("GLU", [], [(3, 4)]),
    ("ReflectionPad2d", [[1, 2, 0, 1]], [(1, 1, 3, 4)]),
    ("Upsample", [None, 2.0, "bilinear"], [(1, 2, 3, 3)]),
    ("PixelShuffle", [2], [(1, 8, 2, 2)]),
    ("Unfold", [2], [(1, 2, 3, 3)]),
    ("CosineSimilarity", [], [(3, 4), (3, 4)]),
    ("CrossEntropyLoss", [], [(5, 4), ((5,), 4)]),
    ("SmoothL1Loss", [None, None, "sum", 0.5], [(3, 4), (3, 4)]),
    ("HuberLoss", [], [(3, 4), (3, 4)]),
    ("BCEWithLogitsLoss", [], [(3, 4), (3, 4)]),
    ("KLDivLoss", [None, None, "batchmean", True], [(3, 4), (3, 4)]),
    ("TripletMarginLoss", [], [(3, 4), (3, 4), (3, 4)]),
]


def tensor(lib, array):
    return lib.from_numpy(np.ascontiguousarray(array))


def trajectory(lib, name, settings, steps=100, trace=lambda f: f):
    """The parameters of a small network after 100 steps."""
    rng = np.random.default_rng(0)
    params = [lib.nn.Parameter(tensor(lib, rng.standard_normal(shape))) for shape in ((4, 3), (3,), (3, 2))]
    x, y = tensor(lib, rng.standard_normal((32, 4))), tensor(lib, rng.standard_normal((32, 2)))
    optimizer = getattr(lib.optim, name)(params, **settings)

    def compute():
        optimizer.zero_grad()
        a, b, c = params
        if name == "LBFGS":  # on a convex loss, because others amplify rounding errors
            loss = ((x @ a + b) ** 2).mean() + ((x[:, :3] @ c - y) ** 2).mean()
        else:
            loss = ((lib.tanh(lib.tanh(x @ a + b) @ c) - y) ** 2).mean()
        loss.backward()
        return loss

    def step():
        if name == "LBFGS":
            return optimizer.step(compute)
        loss = compute()
        optimizer.step()
        return loss

    step = trace(step)
    for _ in range(steps):
        step()
    return [v for p in params for v in p.detach().reshape(-1).tolist()]


def rates(lib, name, settings, steps=30):
    """The learning rates of 30 epochs."""
    optimizer = lib.optim.SGD([lib.nn.Parameter(lib.ones(1))], lr=0.1, momentum=0.9)
    schedule = getattr(lib.optim.lr_scheduler, name)(optimizer, **settings)
    seen = []
    for _ in range(steps):
        optimizer.step()
        seen.append(float(optimizer.param_groups[0]["lr"]))
        schedule.step()
    return seen


def outcome(lib, name, arguments, shapes, trace=lambda f: f):
    """A module's first result, and the gradients of its sum of squares, with fixed numbers as parameters and inputs."""
    rng = np.random.default_rng(1)
    module = getattr(lib.nn, name)(*arguments).to(lib.float64)
    for p in module.parameters():
        p.data = tensor(lib, rng.standard_normal(tuple(p.shape)) * 0.5)
    inputs = []
    for shape in shapes:
        if isinstance(shape[0], (tuple, list)):
            inputs.append(tensor(lib, rng.integers(0, shape[1], tuple(shape[0]))))
        else:
            inputs.append(tensor(lib, rng.standard_normal(tuple(shape))).requires_grad_())

    def call(*xs):
        out = module(*xs)
        return out[0] if isinstance(out, tuple) else out

    out = trace(call)(*inputs)
    (out * out).sum().backward()
    grads = [t.grad for t in (*inputs, *module.parameters()) if t.grad is not None]
    return {"out": out.detach().reshape(-1).tolist(), "grads": [float(g.abs().sum()) for g in grads]}


def main():
    import torch

    recorded = {
        "torch": torch.__version__,
        "optimizers": [trajectory(torch, *case) for case in OPTIMIZERS],
        "schedules": [rates(torch, *case) for case in SCHEDULES],
        "modules": [outcome(torch, *case) for case in MODULES],
    }
    FILE.write_text(json.dumps(recorded) + "\n")


if __name__ == "__main__":
    main()
