"""PyTorch's results at special points and ties, with first and second derivatives. ``test_special_points`` compares this
package with them.

python tests/special_points.py      # with PyTorch installed: records anew into special_points.json
"""

import itertools
import json
import math
from pathlib import Path

FILE = Path(__file__).with_name("special_points.json")
INF, NAN = math.inf, math.nan

POINTS = [0.0, -0.0, 1.0, -1.0, 0.5, 2.0, -2.0, 3.0, -3.0, INF, -INF, NAN, 1e-20, 1e20, -0.5, 6.0, 1.5]
PAIRS = list(itertools.product([0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 0.5, INF, -INF, NAN, 1e20], repeat=2))
VECTORS = [
    [1.0, 1.0, 2.0, 0.0, 1.0], [2.0] * 5, [NAN] * 5, [1.0, NAN, 3.0, NAN, 2.0], [INF, INF, 0.0, -INF, -INF], [0.0] * 5,
    [-INF] * 5, [0.0, 2.0, 0.0, 3.0, 1.0], [INF] * 5,
    [-1.0, 1.0, -1.0, 1.0, 0.0], [3.0, 1.0, 2.0, 1.0, 3.0], [NAN, 1.0, 1.0, 0.0, 2.0],
]  # fmt: skip

# Functions of one tensor, of two, and of a vector, as expressions: T is the package, F its ``nn.functional``. For those in
# SECOND second derivatives are compared too.
UNARY = {
    **{
        f"T.{name}(a)": POINTS
        for name in [
            "sqrt",
            "rsqrt",
            "exp",
            "expm1",
            "log",
            "log1p",
            "sin",
            "cos",
            "tan",
            "asin",
            "acos",
            "atan",
            "sinh",
            "cosh",
            "tanh",
            "erf",
        ]
    },
    **{
        f"T.{name}(a)": POINTS
        for name in ["abs", "sign", "sigmoid", "reciprocal", "square", "frac", "relu", "logit", "sinc", "nan_to_num"]
    },
    **{
        f"F.{name}(a)": POINTS
        for name in ["relu6", "hardtanh", "hardswish", "hardsigmoid", "hardshrink", "softshrink", "tanhshrink", "elu", "celu"]
    },
    **{f"F.{name}(a)": POINTS for name in ["leaky_relu", "softplus", "silu", "mish", "gelu", "softsign", "selu", "logsigmoid"]},
    **dict.fromkeys(["T.special.entr(a)", "T.logit(a, eps=0.1)", "T.logit(a, eps=1e-6)", "F.threshold(a, 1.0, 5.0)"], POINTS),
    **dict.fromkeys(["F.hardshrink(a, 1.0)", "F.softshrink(a, 1.0)", "F.hardtanh(a, -2.0, 3.0)", "F.elu(a, 2.0)"], POINTS),
    **dict.fromkeys(["T.clamp(a, -1.0, 1.0)", "T.clamp(a, min=0.0)", "T.clamp(a, max=0.0)", "T.clamp(a, 1.0, -1.0)"], POINTS),
    **{f"a ** {p}": POINTS for p in (0, 1, 2, 3, 0.5, -1, -2, 1.5, 2.5)},
    **{f"T.pow({base}, a)": POINTS for base in (0.0, 1.0, 2.0)},
    **dict.fromkeys(
        ["T.xlogy(0.0, a)", "T.xlogy(a, 0.0)", "T.special.xlog1py(0.0, a)", "a / 0.0", "T.copysign(a, 1.0)"], POINTS
    ),
    **{f"T.div(a, 0.0, rounding_mode={m!r})": POINTS for m in ("trunc", "floor")},
}
BINARY = [
    *(
        f"T.{name}(a, b)"
        for name in [
            "atan2",
            "hypot",
            "maximum",
            "minimum",
            "fmax",
            "fmin",
            "pow",
            "xlogy",
            "logaddexp",
            "logaddexp2",
            "copysign",
        ]
    ),
    *(f"T.{name}(a, b)" for name in ["nextafter", "fmod", "true_divide", "mul", "add", "sub"]),
    *("T.special.xlog1py(a, b)", "T.div(a, b, rounding_mode='trunc')", "T.div(a, b, rounding_mode='floor')"),
    *("T.clamp(a, min=b)", "T.clamp(a, max=b)", "F.l1_loss(a, b, reduction='none')", "F.mse_loss(a, b, reduction='none')"),
    *(f"F.huber_loss(a, b, reduction='none', delta={d})" for d in (1.0, 2.0)),
    *(f"F.smooth_l1_loss(a, b, reduction='none', beta={d})" for d in (0.0, 1.0, 2.0)),
    "F.margin_ranking_loss(a, b, T.ones_like(a), reduction='none')",
]
VECTOR = [
    *(f"T.{name}(a)" for name in ["median", "nanmedian", "max", "min", "amax", "amin", "aminmax", "sum", "mean", "var", "std"]),
    *(
        f"T.{name}(a, 0)"
        for name in ["max", "min", "amax", "amin", "median", "mode", "cummax", "cummin", "cumsum", "softmax", "log_softmax"]
    ),
    *(f"T.quantile(a, {q}, interpolation={i!r})" for q in (0.25, 0.5) for i in ("linear", "lower", "higher", "nearest")),
    *(f"T.linalg.vector_norm(a, {p})" for p in (0, 1, 2)),
    *(f"F.multi_margin_loss(a[:3].reshape(1, 3), T.tensor([1]){more})" for more in ("", ", p=2", ", margin=2.0")),
    "F.multilabel_margin_loss(a.reshape(1, 5), T.tensor([[1, 3, -1, 0, 0]]))",
    "F.embedding_bag(T.tensor([[0, 1, 2], [2, 1, 0]]), a[:3].reshape(3, 1) * 1, mode='max')",
    "F.max_pool1d(a.reshape(1, 1, 5), 2, 1)",
    "F.cross_entropy(a.reshape(1, 5), T.tensor([1]))",
    "F.triplet_margin_loss(a[:2].reshape(1, 2), a[1:3].reshape(1, 2), a[2:4].reshape(1, 2))",
]
NUMBERS = ("F.embedding_bag", "F.max_pool1d")  # the choice among several NaNs of a window is unspecified


def cases():
    """The name and the operands of each case."""
    for text, points in UNARY.items():
        yield text, [points]
    for text in BINARY:
        yield text, [[p[0] for p in PAIRS], [p[1] for p in PAIRS]]
    for text in VECTOR:
        for vector in VECTORS:
            if not text.startswith(NUMBERS) or not any(x != x for x in vector):
                yield text, [vector]


def function(package, text):
    return eval(f"lambda a, b=None: ({text})", {"T": package, "F": package.nn.functional})


def numbers(tensor):
    return None if tensor is None else [float(x) for x in tensor.detach().reshape(-1).tolist()]


def observed(package, f, operands):
    """The values, their derivatives with some cotangent, and the derivatives of these; None where there are none."""
    leaves = [package.tensor(x, dtype=package.float64, requires_grad=True) for x in operands]
    y = f(*leaves)
    y = y[0] if isinstance(y, tuple) else y
    if not y.requires_grad:
        return [numbers(y), None, None]
    weights = package.tensor([1.0 + 0.5 * (i % 3) for i in range(y.numel())], dtype=package.float64).reshape(y.shape)
    first = package.autograd.grad(y, leaves, weights, create_graph=True, allow_unused=True)
    second = []
    for g in first:
        if g is None or not g.requires_grad:
            second.append(None)
            continue
        try:
            more = package.autograd.grad(g, leaves, package.ones_like(g), retain_graph=True, allow_unused=True)
            second.append([numbers(x) for x in more])
        except RuntimeError:
            second.append("none")
    return [numbers(y), [numbers(g) for g in first], second]


if __name__ == "__main__":
    import torch

    recorded = [observed(torch, function(torch, text), operands) for text, operands in cases()]
    FILE.write_text(json.dumps(recorded, separators=(",", ":")) + "\n")
