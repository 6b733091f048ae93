"""Recorded results of PyTorch for small expressions. ``test_expressions`` compares this package with them, eager and traced.

python tests/expressions.py      # with PyTorch installed: records anew into expressions.json

``T`` is the library, ``F`` its ``nn.functional``, ``D`` its ``distributions``; ``m``, ``v``, ``z`` are tensors of fixed
numbers, ``i`` one of integers. An expression returns tensors or numbers, or tuples of them. The gradients of the sum of its
floating results' squares are recorded too.
"""

import json
from importlib import import_module
from pathlib import Path

import distribution_expressions
import matrix_expressions
import numpy as np

FILE = Path(__file__).with_name("expressions.json")

EXPRESSIONS = """
T.vander(v.detach(), 3)
T.vander(v.detach(), 4, increasing=True)
T.vander(i)
T.frexp(m)
T.gradient(v)
T.gradient(v, edge_order=2)
T.gradient(m, spacing=[0.5, 2.0])
T.gradient(m, spacing=2.0, dim=0, edge_order=2)
T.gradient(v, spacing=[T.tensor([0.0, 1.0, 3.0, 4.0, 7.0])], edge_order=2)
T.gradient(v, spacing=[T.tensor([0.0, 1.0, 3.0, 4.0, 7.0])])
T.unravel_index(T.tensor([5, 0, 11]), (2, 3, 2))
T.unravel_index(T.tensor(7), 12)
T.histogram(v.detach(), 3)
T.histogram(v.detach(), bins=4, range=(-1.0, 1.0), weight=T.tensor([1.0, 2.0, 3.0, 4.0, 5.0]))
T.histogram(v.detach(), T.tensor([-2.0, -0.5, 0.1, 3.0]), density=True)
T.histogramdd(m.detach(), [2, 3, 2, 1])
T.histogramdd(m.detach()[:, :2], 3, range=[-2.0, 2.0, -1.0, 1.0], density=True)
T.hann_window(5), T.hann_window(5, False), T.hann_window(1), T.hann_window(0)
T.hamming_window(6, True, 0.5, 0.4), T.bartlett_window(5), T.bartlett_window(4, periodic=False)
T.blackman_window(6), T.kaiser_window(6), T.kaiser_window(5, False, 3.0)
T.signal.windows.exponential(5, tau=2.0), T.signal.windows.exponential(5, center=1.0, sym=False)
T.signal.windows.gaussian(5, std=0.7), T.signal.windows.gaussian(4, sym=False)
T.signal.windows.cosine(5), T.signal.windows.cosine(5, sym=False), T.signal.windows.nuttall(6)
T.signal.windows.general_cosine(5, a=[0.3, 0.4, 0.3]), T.signal.windows.general_hamming(4, alpha=0.6)
T.signal.windows.kaiser(5, beta=3.0)
T.signal.windows.bartlett(5), T.signal.windows.hann(4, sym=False), T.signal.windows.hamming(4)
T.signal.windows.blackman(4)
T.nonzero_static(i > 1, size=4), T.nonzero_static(i > 1, size=1, fill_value=7), T.nonzero_static(m > 0, size=5)
T.zeros(3, 5).fill_diagonal_(2.0), T.zeros(5, 2).fill_diagonal_(2.0, wrap=True), T.zeros(2, 2, 2).fill_diagonal_(1)
m.clone().fill_diagonal_(2.0)
T.asarray([1.0, 2.0]), T.asarray(3), T.scalar_tensor(3)
T.frombuffer(bytearray(b"abcd"), dtype=T.uint8, count=2, offset=1)
T.range(1, 3), T.range(1, 2, 0.5), T.fill(m, 3.0), T.constant_pad_nd(m, (1, -1, 0, 2), 0.5)
T.permute_copy(m, (1, 0)), T.select_copy(m, 1, 2), T.unbind_copy(m, 1), T.expand_copy(v, (2, 5))
T.slice_copy(v, 0, 1, 4, 2)
T.ger(v, v[:2]), T.nuclear_norm(m), T.frobenius_norm(m, 1), T.norm_except_dim(m, 2, 0), T.norm_except_dim(m, 2, 1)
T.special.legendre_polynomial_p(v.detach(), 5)
T.special.laguerre_polynomial_l(v.detach(), T.tensor([0.0, 1.0, 2.0, 3.0, 9.0]))
T.special.hermite_polynomial_h(v.detach(), 4), T.special.hermite_polynomial_he(v.detach(), 7)
T.special.chebyshev_polynomial_t(0.3, T.tensor([80.0, 2.0]))
T.special.chebyshev_polynomial_u(v.detach(), 6), T.special.chebyshev_polynomial_v(v.detach(), 6)
T.special.chebyshev_polynomial_w(v.detach(), -1)
T.special.shifted_chebyshev_polynomial_t(v.detach(), 6), T.special.shifted_chebyshev_polynomial_w(v.detach(), 3)
T.layer_norm(m, (4,)), T.group_norm(m, 2), T.embedding(m, i % 3), T.conv1d(z, z[:, :, :2]), T.rms_norm(m, (4,))
T.batch_norm(m, None, None, T.zeros(4), T.ones(4), False, 0.1, 1e-5, True), T.dropout(m, 0.5, False)
T.threshold(m, 0.1, 2.0)
T.kl_div(m, m.exp(), 2), T.binary_cross_entropy_with_logits(m, m.sigmoid(), reduction=1)
T.margin_ranking_loss(v, -v, v.sign(), 0.5, 0)
T.poisson_nll_loss(m, m.exp(), True, False, 1e-8, 1), T.triplet_margin_loss(m, m + 1, m - 1, reduction=1)
T.hinge_embedding_loss(v, v.sign(), reduction=2)
T.cosine_similarity(m, m + 1), T.pairwise_distance(m, m * 2), T.pixel_shuffle(z.reshape(1, 4, 1, 3), 2)
T.conv_tbc(z, z[:2].transpose(1, 2), T.zeros(2))
T.adaptive_max_pool1d(z, 2), T.max_pool1d_with_indices(z, 2), T.native_layer_norm(m, (4,), None, None, 1e-5)
T.native_group_norm(z, None, None, 2, 2, 3, 1, 1e-5), T.native_batch_norm(m, None, None, None, None, True, 0.1, 1e-5)
F.affine_grid(T.tensor([[[0.8, 0.1, 0.2], [-0.3, 1.1, 0.0]]]), [1, 1, 3, 2], align_corners=True)
F.affine_grid(T.tensor([[[0.8, 0.1, 0.2], [-0.3, 1.1, 0.0]]]), [1, 1, 3, 1], align_corners=False)
F.affine_grid(T.ones(1, 3, 4), [1, 1, 2, 3, 2], align_corners=False)
""".strip().split("\n")
EXPRESSIONS += [
    f"F.grid_sample(m.reshape(1, 2, 2, 3), 1.4 * z.reshape(1, 3, 2, 2), {mode!r}, {padding!r}, {align})"
    for mode in ("bilinear", "nearest", "bicubic")
    for padding in ("zeros", "border", "reflection")
    for align in (True, False)
]
EXPRESSIONS += [
    f"F.grid_sample(m.reshape(1, 1, 2, 2, 3), 1.4 * z.reshape(1, 2, 2, 1, 3), {mode!r}, {padding!r}, {align})"
    for mode in ("bilinear", "nearest")
    for padding, align in (("zeros", True), ("border", False), ("reflection", False))
]
EXPRESSIONS += [
    f"F.interpolate({x}, {size}, mode={mode!r}, align_corners={align}, antialias=True)"
    for x, size in (("m[None, None]", "(2, 7)"), ("m.reshape(1, 1, 2, 6)", "(2, 3)"), ("z[None]", "scale_factor=(0.6, 1.7)"))
    for mode in ("bilinear", "bicubic")
    for align in (False, True)
]
EXPRESSIONS += distribution_expressions.EXPRESSIONS
EXPRESSIONS += matrix_expressions.EXPRESSIONS


def inputs(lib):
    """The names available to expressions: float64 leaves that require gradients."""
    rng = np.random.default_rng(4)
    arrays = {"m": rng.standard_normal((3, 4)), "v": rng.standard_normal(5), "z": rng.standard_normal((2, 2, 3))}
    leaves = {name: lib.tensor(a.tolist(), dtype=lib.float64, requires_grad=True) for name, a in arrays.items()}
    return leaves, {"i": lib.tensor([3, 1, 0, 2])}


def compute(lib, expression, trace=lambda f: f):
    """The results as nested lists, and the gradients by name."""
    leaves, others = inputs(lib)

    names = {"T": lib, "F": lib.nn.functional, "D": lib.distributions}
    function = trace(eval(f"lambda {', '.join(leaves | others)}: ({expression})", names))
    before = lib.get_default_dtype()
    lib.set_default_dtype(lib.float64)
    try:
        function(**leaves, **others)
        found = flat(lib, function(**leaves, **others))
        followed = [t for t in found if isinstance(t, lib.Tensor) and t.requires_grad]
        grads = {}
        if followed:
            total = sum((t.abs() ** 2).sum() for t in followed)
            for name, g in zip(leaves, lib.autograd.grad(total, list(leaves.values()), allow_unused=True), strict=True):
                if g is not None and float(g.abs().sum()) > 0:
                    grads[name] = numbers(lib, g)
        return {"out": [numbers(lib, t) for t in found], "grads": grads}
    finally:
        lib.set_default_dtype(before)


def flat(lib, result):
    if isinstance(result, (tuple, list)):
        return [t for part in result for t in flat(lib, part)]
    return [result]


def numbers(lib, t):
    """A tensor as [dtype, shape, numbers]; a complex one as its parts."""
    if not isinstance(t, lib.Tensor):
        return t
    t = t.detach()
    name = str(t.dtype).split(".")[-1]
    values = lib.view_as_real(t) if "complex" in name else t
    return [name, list(t.shape), values.reshape(-1).tolist()]


def main():
    import torch

    for name in ("signal", "distributions"):
        import_module(f"torch.{name}")
    recorded, failed = {}, []
    for e in EXPRESSIONS:
        try:
            recorded[e] = compute(torch, e)
        except Exception as error:
            failed.append(f"{e}: {error}")
    if failed:
        raise SystemExit("\n".join(failed))
    FILE.write_text("{\n" + ",\n".join(f"{json.dumps(e)}: {json.dumps(r)}" for e, r in recorded.items()) + "\n}\n")


if __name__ == "__main__":
    main()
