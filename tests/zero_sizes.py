"""PyTorch's results for tensors without elements: values, dtypes, gradients, errors. ``test_zero_sizes`` compares this package
with them.

python tests/zero_sizes.py      # with PyTorch installed: records anew into zero_sizes.json
"""

import json
import math
import warnings
from pathlib import Path

FILE = Path(__file__).with_name("zero_sizes.json")

# Expressions, each evaluated on operands x, y, z of each list of shapes: (), (3,) and so on, "i..." of int64 zeros, "b..." of
# bools. T is the package, F its ``nn.functional``.
ONE = """
T.sum(x) ; T.mean(x) ; T.prod(x) ; T.var(x) ; T.std(x) ; T.var(x, correction=-1) ; T.logsumexp(x, 0) ; T.norm(x)
T.norm(x, 1) ; T.amax(x) ; T.max(x) ; T.min(x) ; T.argmax(x) ; T.aminmax(x) ; T.median(x) ; T.nanmedian(x)
T.all(x > 0) ; T.any(x > 0) ; T.count_nonzero(x) ; T.nansum(x) ; T.sum(x, 0) ; T.mean(x, -1) ; T.prod(x, 0)
T.var(x, -1) ; T.max(x, 0) ; T.min(x, -1) ; T.amax(x, 0) ; T.amin(x, -1) ; T.argmin(x, 0) ; T.median(x, 0)
T.nanmedian(x, -1) ; T.mode(x) ; T.mode(x, 0) ; T.kthvalue(x, 1) ; T.kthvalue(x, 2, 0) ; T.topk(x, 0) ; T.topk(x, 1)
T.sort(x) ; T.all(x, 0) ; T.any(x, -1) ; T.any(x, dim=[]) ; T.amax(x, dim=[]) ; T.logsumexp(x, -1) ; T.std(x, 0)
T.norm(x, dim=0) ; T.nanmean(x, 0) ; T.quantile(x, 0.5) ; T.cumsum(x, 0) ; T.cumprod(x, -1) ; T.cummax(x, 0)
T.logcumsumexp(x, 0) ; T.diff(x) ; T.diff(x, dim=0) ; T.trapezoid(x) ; T.argsort(x, 0) ; T.unique(x)
T.unique(x, dim=0) ; T.unique_consecutive(x) ; T.unique_consecutive(x, dim=-1) ; T.nonzero(x) ; T.histc(x, 3)
T.softmax(x, 0) ; T.softmax(x, -1) ; T.softmax(x, 3) ; T.log_softmax(x, 0) ; T.cov(x) ; T.corrcoef(x)
T.renorm(x, 2, 0, 1.0) ; T.linalg.norm(x) ; T.linalg.vector_norm(x, math.inf) ; T.linalg.vector_norm(x, -1, dim=0)
T.linalg.norm(x, math.inf) ; T.exp(x) ; x + 1 ; x * x ; -x ; x.abs() ; x == x ; T.clamp(x, 0, 1)
T.where(x > 0, x, 0.0) ; T.nan_to_num(x) ; T.xlogy(x, 2) ; T.heaviside(x, x) ; x.reshape(-1) ; x.reshape(-1, 0)
x.reshape(0, 7) ; x.flatten() ; x.squeeze() ; x.unsqueeze(0) ; x.transpose(0, -1) ; x.flip(0) ; T.roll(x, 1, 0)
T.roll(x, 2) ; T.cat([x, x]) ; T.cat([x, x], -1) ; T.stack([x, x], 1) ; T.cat([x, T.ones(0)])
T.cat([T.ones(0), x], 0) ; x.repeat(2, 1, 1) ; T.tile(x, (2,)) ; T.repeat_interleave(x, 2)
T.repeat_interleave(x, 2, 0) ; x.chunk(3) ; x.split(2) ; x.split(0) ; T.tensor_split(x, 2) ; x.unbind(0) ; x[0]
x[:0] ; x[1:] ; x[[]] ; x[T.zeros(0, dtype=T.int64)] ; x[x > 0] ; x[..., 0] ; x[None] ; x[T.zeros(2, dtype=T.int64)]
x.narrow(0, 0, 0) ; T.tril(x) ; T.diag(x) ; T.diagonal(x) ; x.trace() ; T.rot90(x) ; T.block_diag(x, x)
x.to(T.float32) ; x.clone().fill_(2) ; x.mT ; x.mH ; x.tolist() ; x.item() ; bool(x) ; x.numel() ; len(x)
T.equal(x, x) ; T.allclose(x, x) ; T.isin(x, T.ones(2)) ; T.bucketize(x, T.arange(3.0)) ; F.relu(x) ; F.gelu(x)
F.glu(x) ; F.softmin(x, 0) ; F.normalize(x, dim=0) ; F.pad(x, (1, 1)) ; F.pad(x, (0, -1)) ; F.dropout(x, 0.5)
F.threshold(x, 0, 1) ; F.layer_norm(x, x.shape[-1:]) ; F.rms_norm(x, x.shape[-1:]) ; F.mse_loss(x, x)
F.l1_loss(x, x, reduction='sum') ; F.huber_loss(x, x) ; F.binary_cross_entropy_with_logits(x, x) ; F.kl_div(x, x)
F.cosine_similarity(x, x, 0) ; T.einsum('...i->...', x) ; T.einsum('...i,...i', x, x)
T.index_select(x, 0, T.zeros(0, dtype=T.int64)) ; T.index_select(x, 0, T.zeros(1, dtype=T.int64))
T.take(x, T.zeros(0, dtype=T.int64)) ; T.take(x, T.zeros(2, dtype=T.int64))
T.gather(x, 0, T.zeros(x.shape, dtype=T.int64)) ; T.masked_select(x, x > 0) ; T.linalg.cond(x) ; T.linalg.vander(x)
x.clone().float_power_(2) ; x.float().float_power_(2)
T.func.vmap(lambda v: v.exp())(x) ; T.func.vmap(lambda v: v.exp(), -1, -1)(x)
"""
SOME = {
    # of operands that are written to, and the written values
    ((3, 2), (0, 2), "i0"): """
        x.index_add(0, z, y) ; x.index_copy(0, z, y) ; x.index_fill(0, z, 2.0) ; x.index_reduce(0, z, y, 'mean')
        x.index_reduce(0, z, y, 'amax') ; x.index_put((z,), y) ; x.index_put((z,), y, accumulate=True)
        x.index_put((z,), y[:, 0]) ; x.put(z, y[:, 0]) ; x.take(z) ; T.take_along_dim(x, z.reshape(0, 1), 0)
        x.index_select(1, z) ; x[z] ; x[:, z] ; x[z, z]""",
    ((3, 2), (0, 2), "i0,2"): """
        x.scatter(0, z, y) ; x.scatter(0, z, 2.0) ; x.scatter_add(0, z, y) ; x.scatter_reduce(0, z, y, 'sum')
        x.scatter_reduce(0, z, y, 'prod') ; x.scatter_reduce(0, z, y, 'amax', include_self=False) ; x.gather(0, z)
        x.gather(1, z) ; F.embedding(z, x) ; T.take_along_dim(x, z, 0)""",
    ((3, 2), (2,), "b3"): """
        x.masked_scatter(z[:, None], y) ; x.masked_fill(z[:, None], 1.0) ; x.masked_select(z[:, None]) ; x[z]
        x.index_put((z,), y) ; x.index_put((z[:2],), y) ; x.index_put((z[:0],), y)""",
    ((3, 4), (2, 3), "i2"): """
        x.index_add(0, z, y) ; x.index_copy(0, z, y) ; x.index_reduce(0, z, y, 'mean') ; x.index_add(1, z[:0], y)
        x.put(z, y) ; x.put(z[:0], y)""",
    ((0, 3), (0, 3), "i0"): """
        F.cross_entropy(x, z) ; F.cross_entropy(x, y) ; F.cross_entropy(x, z, reduction='sum')
        F.cross_entropy(x, z, reduction='none') ; F.nll_loss(x, z) ; F.pairwise_distance(x, y) ; T.cdist(x, y)
        F.embedding(z, T.ones(2, 3)) ; F.one_hot(z, 4) ; F.one_hot(z, 0) ; F.one_hot(z) ; T.bincount(z)
        T.bincount(z, minlength=3) ; T.bincount(z, z) ; T.searchsorted(T.arange(3.0), x)
        T.cov(x[:, 0], aweights=y[:, 0])""",
    # products
    ((2, 0), (0, 3), (2, 3)): """
        x @ y ; T.mm(x, y) ; T.addmm(z, x, y) ; T.addmm(z, x, y, beta=0) ; T.addmm(z[:, :2], x, y)
        T.tensordot(x, y, 1) ; T.einsum('ij,jk->ik', x, y) ; T.einsum('ij,jk', x, y) ; T.einsum('ij,jk->', x, y)
        T.einsum('ij,jk,ik->k', x, y, z) ; T.kron(x, y) ; T.linalg.multi_dot([x, y, z.T]) ; T.cdist(x, y.T[:, :0])
        T.cdist(x, x, p=math.inf) ; F.linear(x, y.T) ; F.linear(x, y.T, z[0]) ; T.addmv(z[:, 0], x, y[:, 0])
        T.mv(x, y[:, 0]) ; T.mv(y[:, 0], y[:, 0]) ; T.dot(y[:, 0], y[:, 0]) ; T.outer(y[:, 0], z[0])
        T.linalg.vecdot(y[:, 0], z[0]) ; T.trapezoid(x, z) ; T.trapezoid(x, x)""",
    ((0, 2, 3), (0, 3, 4), (1, 3, 4)): """
        T.bmm(x, y) ; x @ y ; x @ z ; T.bmm(x, z) ; T.baddbmm(x @ y, x, y) ; T.addbmm((x @ y).sum(0), x, y)
        T.einsum('bij,bjk->bik', x, y) ; T.einsum('bij,bjk->ik', x, y) ; T.einsum('...ij,...jk->...ik', x, z)
        T.bmm(x, z.expand(2, 3, 4)) ; x @ y.transpose(1, 2)""",
    ((0,), (1,), (3,)): """
        x + y ; x + z ; x * y ; T.maximum(x, z) ; T.where(x > 0, x, z) ; T.where(x > 0, x, y)
        T.broadcast_to(y, (0,)) ; T.broadcast_to(x, (3,)) ; T.lerp(x, x, y) ; T.cartesian_prod(x, z)
        T.combinations(x) ; T.meshgrid(x, z) ; T.normal(x, 1.0) ; T.normal(x, z) ; T.dist(x, x) ; T.block_diag(x, x)
        F.cosine_embedding_loss(x, x, x) ; F.margin_ranking_loss(x, x, x) ; T.einsum('i,j->ij', x, z)
        T.einsum('i,i->i', x, y) ; T.einsum('i,i', x, z)""",
    # matrices
    ((0, 0), (2, 0, 0), (0, 3, 3)): """
        T.linalg.det(x) ; T.linalg.det(y) ; T.linalg.det(z) ; T.linalg.inv(x) ; T.linalg.inv(z) ; T.linalg.solve(x, x)
        T.linalg.solve(z, z[..., 0]) ; T.linalg.solve(z, y) ; T.linalg.svdvals(x) ; T.linalg.svdvals(z)
        T.linalg.eigvalsh(y) ; T.linalg.cholesky(x) ; T.linalg.cholesky(z) ; T.linalg.qr(x) ; T.linalg.slogdet(y)
        T.linalg.pinv(x) ; T.linalg.matrix_rank(y) ; T.linalg.matrix_power(z, 2) ; T.linalg.matrix_exp(x)
        T.linalg.cond(y) ; T.linalg.cond(z) ; T.linalg.cond(x, 'fro') ; T.linalg.eigvals(y)
        T.linalg.matrix_norm(x, 1) ; T.linalg.matrix_norm(x, 2) ; T.linalg.matrix_norm(y, math.inf)
        T.linalg.matrix_norm(y, -1) ; T.linalg.matrix_norm(z, 'nuc') ; T.ormqr(z, z[..., 0], z)
        T.ormqr(z, z[..., 0], y) ; T.linalg.tensorinv(x, 1) ; T.cholesky_solve(z, z) ; T.cholesky_solve(z, y)""",
    # images
    ((0, 2, 5, 5), (4, 2, 3, 3), (4,)): """
        F.conv2d(x, y, z) ; F.conv2d(x, y[:, :0]) ; F.conv2d(x[:, :0], y[:, :0], z) ; F.conv2d(x, y[:0])
        F.conv_transpose2d(x[:, :0], y[:0]) ; F.conv2d(x, y, z[:1]) ; F.conv_transpose2d(x, y[:2])
        F.conv_transpose2d(x, y[:2], z) ; F.max_pool2d(x, 2) ; F.avg_pool2d(x, 2) ; F.lp_pool2d(x, 2, 2)
        F.adaptive_avg_pool2d(x, 2) ; F.adaptive_max_pool2d(x, 2) ; F.interpolate(x, size=3)
        F.interpolate(x, size=0) ; F.interpolate(x, size=(3, 3), mode='bilinear')
        F.interpolate(x, scale_factor=2, mode='bicubic') ; F.interpolate(x, size=3, mode='area')
        F.interpolate(x, size=[3]) ; F.pad(x, (1, 1, 1, 1), mode='reflect') ; F.pad(x, (1, 1), mode='replicate')
        F.pad(x, (1, 1, 1, 1), mode='circular') ; F.pad(x, (-6, 2)) ; F.unfold(x, 2)
        F.batch_norm(x, None, None, z[:2], z[2:], True) ; F.batch_norm(x, z[:2], z[2:])
        F.batch_norm(x, None, None, z[:0], None, True) ; F.group_norm(x, 2, z[:2], z[2:]) ; F.group_norm(x, 2, z)
        F.local_response_norm(x, 2) ; F.grid_sample(x, T.zeros(0, 3, 3, 2, dtype=T.float64), align_corners=False)
        F.channel_shuffle(x, 2) ; F.dropout2d(x) ; F.fold(F.unfold(x, 2), (5, 5), 2)
        T.nn.functional.max_pool2d(x, 2, return_indices=True)""",
    ((2, 0, 5), (3, 0, 3), (3,)): """
        F.conv1d(x, y, z) ; F.conv1d(x, y) ; F.max_pool1d(x, 2) ; F.avg_pool1d(x, 2) ; F.adaptive_max_pool1d(x, 2)
        F.interpolate(x, size=3) ; F.interpolate(x, size=3, mode='linear') ; F.pad(x, (1, 1), mode='reflect')
        F.pad(x, (1, 1), mode='circular') ; F.pad(x, (1, 1)) ; F.batch_norm(x, None, None, None, None, True)
        F.layer_norm(x, (5,), None, z) ; F.layer_norm(x, (0, 5)) ; F.instance_norm(x) ; F.cross_entropy(x, x)
        F.cross_entropy(x, x, reduction='none')""",
    ((2, 3, 0), (4, 3, 1), (3,)): """
        F.conv1d(x, y) ; F.conv1d(x, y, padding=1) ; F.conv_transpose1d(x, y[:3]) ; F.max_pool1d(x, 2)
        F.avg_pool1d(x, 2, padding=1) ; F.adaptive_avg_pool1d(x, 2) ; F.adaptive_avg_pool1d(x, 1)
        F.adaptive_max_pool1d(x, 2) ; F.interpolate(x, size=3) ; F.pad(x, (1, 1), mode='replicate') ; F.pad(x, (1, 1))
        F.layer_norm(x, (0,)) ; F.batch_norm(x, z, z) ; F.instance_norm(x, None, None, z, z)""",
    # attention
    ((2, 3, 4), (2, 0, 4), (0, 3, 4)): """
        F.scaled_dot_product_attention(x, y, y) ; F.scaled_dot_product_attention(x, y, y, is_causal=True)
        F.scaled_dot_product_attention(x, y, y, T.ones(3, 0)) ; F.scaled_dot_product_attention(y, x, x)
        F.scaled_dot_product_attention(z, z, z) ; F.scaled_dot_product_attention(x[..., :0], x[..., :0], x)
        F.scaled_dot_product_attention(x, x, x[..., :0]) ; F.scaled_dot_product_attention(x[0, 0], x[0, 0], x[0, 0])""",
}  # fmt: skip
SHAPES = [(0,), (0, 3), (3, 0), (2, 0, 3), (0, 0)]


def cases():
    """Pairs of an expression and the shapes of its operands."""
    for shape in SHAPES:
        yield from ((e, (shape,)) for e in _split(ONE))
    for shapes, text in SOME.items():
        yield from ((e, shapes) for e in _split(text))


def _split(text):
    return [e.strip() for line in text.strip().split("\n") for e in line.split(" ; ")]


def operand(T, k, shape):
    if isinstance(shape, str):
        sizes = tuple(map(int, shape[1:].split(",")))
        return T.zeros(sizes, dtype=T.int64 if shape[0] == "i" else T.bool)
    n = math.prod(shape)
    return T.tensor([0.25 * i + 0.5 + k for i in range(n)], dtype=T.float64).reshape(shape).requires_grad_()


def function(T, expression):
    names = {"T": T, "F": T.nn.functional, "math": math}
    return eval(f"lambda x, y=None, z=None: {expression}", names)


def plain(T, out):
    """Dtypes, shapes, positions in the graph and values as JSON data."""
    if isinstance(out, T.Tensor):
        values = out.detach().tolist() if out.numel() and not out.is_complex() else None
        return [str(out.dtype).split(".")[-1], list(out.shape), out.requires_grad, _rounded(values)]
    if isinstance(out, (list, tuple)):
        return [plain(T, x) for x in out]
    return out if isinstance(out, (bool, int, float)) else str(out)


def _rounded(x):
    if isinstance(x, list):
        return [_rounded(v) for v in x]
    return x if isinstance(x, (bool, int)) or x is None else "nan" if x != x else float(f"{x:.6g}")


def tensors(T, out):
    if isinstance(out, T.Tensor):
        return [out] if out.requires_grad else []
    return [t for x in out for t in tensors(T, x)] if isinstance(out, (list, tuple)) else []


def outcome(T, f, shapes):
    """The function's result for operands of these shapes, and their gradients; or the type of the exception, as a string."""
    operands = [operand(T, k, s) for k, s in enumerate(shapes)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            T.manual_seed(0)
            out = f(*operands)
        except Exception as e:
            return type(e).__name__
        leaves = [x for x in operands if x.requires_grad]
        results = tensors(T, out)
        if not results:
            return [plain(T, out)]
        try:
            found = T.autograd.grad(results, leaves, [T.ones_like(r) for r in results], allow_unused=True)
        except Exception as e:
            return [plain(T, out), type(e).__name__]
    return [plain(T, out), [None if g is None else plain(T, g.detach()) for g in found]]


def main():
    import torch

    records = [outcome(torch, function(torch, e), shapes) for e, shapes in cases()]
    FILE.write_text("[\n" + ",\n".join(json.dumps(r, separators=(",", ":")) for r in records) + "\n]\n")


if __name__ == "__main__":
    main()
