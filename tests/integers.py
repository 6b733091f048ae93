"""Recorded results of PyTorch for integers and bools: values, dtypes and errors. ``test_integers`` compares this package with
them.

python tests/integers.py      # with PyTorch installed: records anew into integers.json
"""

import json
import warnings
from pathlib import Path

FILE = Path(__file__).with_name("integers.json")
DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64"]

# x and y are vectors of the dtype, z has no zeros, m is a mask, s has no dimensions, A and B are matrices, i is a batch of
# images, w is a float32 vector, b has the dtype's limits. T is the package, F its functional layers.
EXPRESSIONS = """
x + y ; x - y ; x * y ; x / z ; x // z ; x % z ; x ** (z % 4 + 0) ; -x ; +x ; ~x ; abs(x) ; x & y ; x | y ; x ^ y ; x << 1 ; x >> 1
x + 1 ; x + True ; x + 1.5 ; x * 2 ; x * -1 ; x * 0.5 ; x - 1 ; 1 - x ; x / 2 ; x // 2 ; x // -2 ; x % 3 ; x % -3 ; x ** 2 ; x ** 0
x + -3 ; x - 300 ; x * 1000 ; x & 1 ; x | 1 ; x ^ 1 ; x // 2.0 ; x % 1.5 ; x ** 2.0 ; x ** 0.5 ; x ** -1 ; 2 ** x ; 0 ** x ; True + x
2.5 - x ; 7 // z ; 7 % z ; -7 // z ; -7 % z ; 7 / z ; b + b ; b * b ; b - 1 ; b + 1 ; -b ; abs(b) ; b * -1
x == y ; x < y ; x >= y ; x == 1 ; x < 0.5 ; x > -1 ; x != 300 ; x >= 2.5 ; x < -300 ; x == 1.5 ; 1 < x ; -1 < x
x + s ; x * s ; s + s ; x / s ; s * 1.5 ; x + w ; x * w ; s + w ; x ** s ; s ** x ; x + T.tensor(1.5) ; x + T.tensor(2)
x + T.tensor([300]) ; x * T.tensor(True) ; x + T.tensor([1.5], dtype=T.float64) ; s + T.tensor([True]) ; s * T.tensor([2], dtype=T.int16)
T.add(x, y, alpha=2) ; T.add(x, y, alpha=-1) ; T.add(x, 1, alpha=2) ; T.sub(x, y, alpha=3) ; T.add(x, y, alpha=1.5) ; T.rsub(x, 5)
T.add(x, y, alpha=True) ; T.mul(x, True) ; T.div(x, z, rounding_mode='floor') ; T.div(x, z, rounding_mode='trunc') ; T.div(x, 2, rounding_mode='floor')
T.div(x, -2, rounding_mode='trunc') ; T.div(x, 2.5, rounding_mode='floor') ; T.fmod(x, z) ; T.fmod(x, -3) ; T.remainder(x, z) ; T.remainder(x, -2.5)
T.floor_divide(x, 3) ; T.floor_divide(x, y) ; T.fmod(x, y) ; x % y ; T.div(x, y, rounding_mode='trunc') ; x // 0 ; x % 0 ; 1 // x ; 1 % x ; T.fmod(x, 0)
T.pow(x, 3) ; T.pow(x, -1) ; T.pow(x, z) ; T.pow(2, x) ; T.pow(x, 0.5) ; T.pow(-1, x) ; T.pow(x, T.tensor([0, 1, 2, 3, 4, 5])) ; T.float_power(x, 2)
T.square(x) ; T.sqrt(x.abs()) ; T.exp(x) ; T.sin(x) ; T.tanh(x) ; T.sigmoid(x) ; T.reciprocal(z) ; T.rsqrt(z) ; T.log(z) ; T.erf(x) ; T.expm1(x)
T.sign(x) ; T.sgn(x) ; T.signbit(x) ; T.abs(x) ; T.neg(x) ; T.positive(x) ; T.floor(x) ; T.ceil(x) ; T.round(x) ; T.trunc(x) ; T.frac(x) ; T.fix(x)
T.isnan(x) ; T.isinf(x) ; T.isfinite(x) ; T.isposinf(x) ; T.isreal(x) ; T.nan_to_num(x) ; T.logical_not(x) ; T.logical_and(x, y) ; T.logical_xor(x, y)
T.bitwise_left_shift(x, 2) ; T.bitwise_right_shift(x, 1) ; x << y ; x >> y ; T.bitwise_left_shift(b, 8) ; b >> 70 ; b << 70 ; b >> 7 ; x << -1 ; x >> -1 ; 1 << z
T.bitwise_left_shift(1, x.abs()) ; x << 1.5 ; T.bitwise_and(x, 3) ; T.bitwise_not(x) ; T.bitwise_or(x, True) ; T.bitwise_xor(x, y) ; T.gcd(x, y) ; T.lcm(x, y)
T.maximum(x, y) ; T.minimum(x, y) ; T.fmax(x, y) ; T.fmin(x, y) ; T.max(x, y) ; T.max(x, s) ; s.min(x) ; x.min(s) ; T.clamp(x, 0, 2) ; T.clamp(x, 0.5, 2.5) ; T.clamp(x, min=1) ; T.clamp(x, max=-1)
T.clamp(x, 0, 1.5) ; T.clamp(x, min=-5) ; T.clamp(x, max=300) ; x.clamp(z, z + 1) ; T.clamp_min(x, 1) ; T.clamp_max(x, 1) ; T.clamp(x, y) ; T.clip(x, 1, 0)
T.clamp(x, min=T.tensor(0.5)) ; T.clamp_(x.clone(), 0.5, 2.5) ; x.clone().clamp_(min=1) ; T.clamp(x, max=w)
T.heaviside(x, y) ; T.copysign(x, y) ; T.hypot(x, y) ; T.atan2(x, y) ; T.ldexp(x, y) ; T.xlogy(x, z) ; T.logaddexp(x, y) ; T.nextafter(x, y)
T.lerp(x, y, 0.5) ; T.addcmul(x, y, z) ; T.addcmul(x, y, z, value=2) ; T.addcmul(x, y, z, value=1.5) ; T.addcdiv(x, y, z) ; T.deg2rad(x) ; T.logit(x)
T.where(m, x, y) ; T.where(m, x, 1) ; T.where(m, x, 1.5) ; T.where(m, 2, x) ; T.where(m, 1, 2) ; T.where(m, 1.0, 2) ; T.where(m, x, w) ; T.where(m, True, x) ; T.where(m, x, -1)
x.masked_fill(m, 1) ; x.masked_fill(m, 2.5) ; x.masked_fill(m, -1) ; x.masked_fill(m, True) ; x.masked_fill(m, s) ; x.masked_fill(m, T.tensor(2.7)) ; x.masked_fill(m, 300)
x.clone().masked_fill_(m, 2.5) ; x.clone().masked_fill_(m, 10) ; x.masked_select(m) ; x.masked_scatter(m, y)
x.sum() ; x.sum(0) ; A.sum(1) ; x.sum(dtype=D) ; x.sum(dtype=T.float32) ; x.sum(dtype=T.bool) ; x.prod() ; A.prod(1) ; x.prod(dtype=D) ; x.cumsum(0) ; x.cumprod(0) ; x.cumsum(0, dtype=D)
x.cumprod(0, dtype=T.float64) ; x.mean() ; x.mean(dtype=T.float32) ; T.var(x) ; T.std(x) ; x.norm() ; x.float().norm() ; T.linalg.vector_norm(x) ; x.nansum() ; x.nanmean()
x.max() ; x.min() ; x.max(0) ; A.min(1) ; x.amax() ; A.amax(0) ; A.aminmax(dim=1) ; x.argmax() ; A.argmin(1) ; x.median() ; A.median(1) ; x.mode() ; x.sort() ; x.sort(descending=True)
x.argsort(stable=True) ; x.topk(2).values ; x.kthvalue(2).values ; x.unique() ; x.cummax(0) ; x.cummin(0) ; x.all() ; x.any() ; A.all(1) ; x.count_nonzero() ; x.logsumexp(0)
x.softmax(0) ; x.softmax(0, dtype=T.float32) ; T.log_softmax(x, 0) ; x.sum_to_size(1) ; x.sum_to_size(6) ; A.sum_to_size(1, 3) ; x.diff() ; x.trace() ; A.trace() ; T.logcumsumexp(x, 0)
x.bincount() ; T.histc(x, 3) ; T.bucketize(x, T.tensor([0, 2])) ; T.searchsorted(x.sort()[0], y) ; T.isin(x, y) ; T.equal(x, y) ; T.isclose(x, y) ; T.allclose(x, x) ; T.dist(x, y) ; T.quantile(x, 0.5)
T.dot(x, y) ; T.vdot(x, y) ; T.mm(A, B) ; A @ B ; A @ T.ones(3, dtype=D) ; T.mv(A, x[:3]) ; T.bmm(A[None], B[None]) ; T.outer(x, y) ; T.inner(x, y) ; T.einsum('ij,jk->ik', A, B) ; T.tensordot(A, B, 1)
T.addmm(B[:2, :2], A, B[:, :2]) ; T.addmm(B[:2, :2], A, B[:, :2], beta=0.5) ; T.addmm(B[:2, :2], A, B[:, :2], beta=2, alpha=3) ; T.addmm(B[:2, :2], A, B[:, :2], alpha=1.5) ; T.addmm(B[:2, :2], A, B[:, :2], beta=0)
T.addmv(x[:2], A, y[:3]) ; T.addmv(x[:2], A, y[:3], beta=0.5, alpha=2) ; T.addbmm(B[:2, :2], A[None], B[None, :, :2], beta=0.2, alpha=0.6) ; T.baddbmm(B[None, :2, :2], A[None], B[None, :, :2], beta=0.6, alpha=0.2)
T.addr(A, x[:2], y[:3]) ; T.addr(A, x[:2], y[:3], beta=2) ; T.addr(A, x[:2], y[:3], beta=0.5) ; T.addr(A, x[:2], y[:3], beta=0, alpha=2) ; T.addmm(B[:2, :2], A, B[:, :2], beta=-1) ; T.addmm(B[:2, :2], A, B[:, :2], alpha=-2.5)
T.kron(A, A) ; T.cross(A, A, dim=1) ; T.matrix_power(B, 2) ; T.cdist(A, A) ; T.linalg.det(B) ; T.linalg.inv(B) ; T.linalg.norm(x) ; T.cov(A) ; T.corrcoef(A) ; T.linalg.multi_dot([A, B]) ; T.chain_matmul(A, B)
F.relu(x) ; F.relu6(x) ; F.hardtanh(x) ; F.hardtanh(x, 0, 2) ; F.hardtanh(x, -1, 1.5) ; F.leaky_relu(x) ; F.elu(x) ; F.gelu(x) ; F.silu(x) ; F.softplus(x) ; F.threshold(x, 1, 5) ; F.threshold(x, 0.5, -2.5) ; F.softsign(x)
F.hardswish(x) ; F.hardsigmoid(x) ; F.hardshrink(x) ; F.softshrink(x) ; F.logsigmoid(x) ; F.mish(x) ; F.selu(x) ; F.celu(x) ; F.tanhshrink(x) ; F.glu(x) ; F.softmin(x, 0) ; F.normalize(A) ; F.prelu(x, y[:1])
F.one_hot(x.abs().long()) ; F.max_pool1d(i[0], 2) ; F.max_pool2d(i, 2) ; F.max_pool2d(i, 3, 1, 1) ; F.avg_pool1d(i[0], 2) ; F.avg_pool2d(i, 2) ; F.avg_pool2d(i, 3, 2, 1) ; F.avg_pool2d(i, 3, 2, 1, count_include_pad=False) ; F.avg_pool2d(i, 2, divisor_override=3)
F.avg_pool3d(i[None], (1, 2, 2)) ; F.max_pool3d(i[None], (1, 2, 2)) ; F.adaptive_avg_pool2d(i, 2) ; F.adaptive_max_pool2d(i, 2) ; F.lp_pool2d(i, 2, 2) ; F.local_response_norm(i, 2) ; F.pad(i, (1, 1)) ; F.pad(i, (1, 1), value=2.5)
F.pad(i, (1, 1), mode='reflect') ; F.pad(i, (1, 1), value=-1) ; F.interpolate(i, scale_factor=2) ; F.interpolate(i, size=(3, 3), mode='bilinear') ; F.interpolate(i, size=(2, 2), mode='area') ; F.interpolate(i, size=(6, 5), mode='bicubic')
F.interpolate(i, size=(3, 7), mode='bilinear', align_corners=True) ; F.interpolate(i, size=(7, 2), mode='nearest-exact') ; F.unfold(i, 2) ; F.pixel_shuffle(i.reshape(1, 4, 2, 2), 2) ; F.channel_shuffle(i.reshape(1, 4, 2, 2), 2)
F.interpolate(i, scale_factor=1.5, mode='bilinear') ; F.conv1d(A[None], B[None, :, :2]) ; F.conv2d(i, i[:, :, :2, :2]) ; F.linear(A, B.T) ; F.linear(A, B.T, x[:4]) ; F.bilinear(A, A, T.ones(2, 3, 3, dtype=D))
F.embedding(x.abs().long() % 3, B) ; F.mse_loss(x, y) ; F.l1_loss(x, y) ; F.smooth_l1_loss(x, y) ; F.huber_loss(x, y) ; F.cosine_similarity(A, A) ; F.pairwise_distance(A, A) ; F.layer_norm(A, (3,)) ; F.dropout(x, 0.5) ; F.kl_div(x, y)
F.dropout(x, 0.0) ; F.dropout(x, 0.5, training=False) ; F.margin_ranking_loss(x, y, z) ; F.hinge_embedding_loss(x, y) ; F.soft_margin_loss(x, y) ; F.poisson_nll_loss(x, y) ; F.batch_norm(A, None, None, training=True) ; F.group_norm(i, 1)
T.zeros_like(x) ; T.ones_like(x) ; T.full_like(x, 2.7) ; T.full_like(x, -1) ; T.full_like(x, 300) ; x.new_full((2,), 3.9) ; x.new_tensor([1.9, 0]) ; x.new_zeros(2) ; T.full((2,), 3, dtype=D) ; T.full((2,), 2.7, dtype=D) ; T.full((2,), True) ; T.full((2,), 3)
T.full((2,), 300, dtype=D) ; T.full((2,), -1, dtype=D) ; T.full((2,), 1e30, dtype=D) ; T.full((2,), float('nan'), dtype=D) ; T.tensor([1, 0, 2], dtype=D) ; T.tensor([1.9, 0.2, -0.5], dtype=D) ; T.tensor(300, dtype=D) ; T.tensor([-1], dtype=D) ; T.tensor([1, 300], dtype=D)
T.tensor(1e30, dtype=D) ; T.tensor(float('nan'), dtype=D) ; T.tensor(-129, dtype=D) ; T.tensor([[True], [False]], dtype=D) ; T.tensor([s, s]) ; T.tensor([s, 1]) ; T.tensor([1, s]) ; T.tensor([s, 1.5]) ; T.tensor((x[0], x[1]), dtype=T.float32) ; T.as_tensor([1, 2], dtype=D)
T.arange(5, dtype=D) ; T.arange(1, 7, 2, dtype=D) ; T.arange(5, 0, -2, dtype=D) ; T.arange(0.5, 3.5, dtype=D) ; T.arange(1.0, 5.000001, 2.0, dtype=D) ; T.arange(-0.9, 2.1, 2.0, dtype=D) ; T.arange(0, 3, 0.5, dtype=D) ; T.arange(0, 3, 1.5, dtype=D) ; T.arange(3) ; T.arange(0, 1, 0.25) ; T.arange(2.0) ; T.arange(True)
T.linspace(0, 10, 5, dtype=D) ; T.linspace(-4, 4, 4, dtype=D) ; T.linspace(5, 0, 4, dtype=D) ; T.linspace(0.7, 9.3, 7, dtype=D) ; T.linspace(0, 1, 5, dtype=D) ; T.logspace(0, 2, 4, dtype=D) ; T.logspace(0, 3, 5, base=2, dtype=D) ; T.logspace(1, 0, 3, dtype=D) ; T.logspace(0.5, 1.9, 4, dtype=D)
T.eye(2, dtype=D) ; T.zeros(2, dtype=D) ; T.ones(2, dtype=D) ; T.tril(A) ; T.triu_indices(2, 3) ; x.to(T.float32) ; w.to(D) ; T.tensor([2.9, -2.9, 0.5]).to(D) ; T.tensor([300, -1]).to(D) ; x.to(T.bool) ; x.to(T.uint8) ; x.bool() ; x.int() ; x.double() ; x.type(T.int16) ; b.to(T.int8) ; b.to(T.float32)
x.cumsum(0).dtype.is_signed ; T.result_type(x, 1) ; T.result_type(x, 1.5) ; T.result_type(x, True) ; T.result_type(s, 1.5) ; T.result_type(s, x) ; T.result_type(x, s) ; T.result_type(x, w) ; T.result_type(1, 2.5) ; T.result_type(s, w[0]) ; T.result_type(x, T.tensor(3)) ; T.result_type(x, 2j) ; T.result_type(x, T.tensor(1.5, dtype=T.float64)) ; T.promote_types(D, T.uint8) ; T.promote_types(D, T.int16) ; T.promote_types(D, T.float16) ; T.can_cast(T.float32, D) ; T.can_cast(D, T.uint8) ; T.can_cast(D, T.bool)
s.item() ; s.tolist() ; int(s) ; float(s) ; bool(s) ; s.__index__() ; x.tolist() ; [1, 2, 3, 4][s:] ; T.iinfo(D).max ; T.iinfo(D).min
x.clone().add_(1) ; x.clone().add_(1.5) ; x.clone().mul_(2) ; x.clone().mul_(0.5) ; x.clone().div_(2) ; x.clone().div_(2, rounding_mode='floor') ; x.clone().sub_(1) ; x.clone().pow_(2) ; x.clone().floor_divide_(2) ; x.clone().remainder_(2) ; x.clone().add_(w) ; x.clone().add_(T.tensor(3)) ; x.clone().add_(T.tensor([300]))
x.clone().fill_(2) ; x.clone().fill_(2.7) ; x.clone().fill_(-1) ; x.clone().fill_(300) ; x.clone().zero_() ; x.clone().neg_() ; x.clone().abs_() ; x.clone().sign_() ; x.clone().logical_not_() ; x.clone().bitwise_and_(1) ; x.clone().eq_(1) ; x.clone().lt_(2) ; x.clone().exp_() ; x.clone().sqrt_() ; x.clone().cumsum_(0) ; x.clone().copy_(w) ; x.clone().clamp_(0.5, 1.5)
x.clone().__ilshift__(1) ; x.clone().__irshift__(1) ; x.clone().__iand__(1) ; x.clone().__ior__(2) ; x.clone().__ixor__(y) ; x.clone().heaviside_(y) ; x.clone().relu_() ; x.clone().square_() ; x.clone().gcd_(y) ; x.clone().masked_fill_(m, 1.5) ; x.clone().index_fill_(0, T.tensor([0]), 2.5) ; x.clone().round_() ; x.clone().trunc_()
x.index_add(0, T.tensor([0, 1]), y[:2]) ; x.index_add(0, T.tensor([0, 0]), y[:2], alpha=2) ; x.index_copy(0, T.tensor([1]), y[:1]) ; x.index_fill(0, T.tensor([1]), 2.5) ; x.index_fill(0, T.tensor([1]), -1) ; x.scatter(0, T.tensor([0, 1]), y[:2]) ; x.scatter(0, T.tensor([0, 1]), 2.5) ; x.scatter(0, T.tensor([0, 1]), 7)
x.scatter_add(0, T.tensor([0, 0]), y[:2]) ; x.scatter_reduce(0, T.tensor([0, 0]), y[:2], 'sum') ; x.scatter_reduce(0, T.tensor([0, 0]), y[:2], 'mean') ; x.scatter_reduce(0, T.tensor([0, 0]), y[:2], 'amax') ; x.scatter_reduce(0, T.tensor([0, 0]), y[:2], 'prod') ; x.scatter_reduce(0, T.tensor([0, 0]), y[:2], 'amin', include_self=False) ; x.scatter(0, T.tensor([0, 0]), y[:2], reduce='add') ; x.scatter(0, T.tensor([0]), y[:1], reduce='multiply')
x.index_reduce(0, T.tensor([0, 0]), y[:2], 'mean') ; x.index_reduce(0, T.tensor([0, 0]), y[:2], 'amax') ; x.index_put((T.tensor([0, 0]),), y[:2], accumulate=True) ; x.index_put((T.tensor([0]),), T.tensor(2, dtype=D)) ; x.put(T.tensor([0]), y[:1]) ; x.take(T.tensor([0, -1])) ; x.gather(0, T.tensor([1, 0])) ; T.cat([x, y]) ; T.cat([x, w]) ; T.stack([x, y]) ; T.cat([x, T.tensor([1.5])]) ; T.stack([s, T.tensor(1.5)]) ; T.hstack([x, w])
x.repeat_interleave(2) ; x.roll(1) ; x.flip(0) ; x.expand(2, 6) ; T.broadcast_to(s, (2,)) ; T.meshgrid(x[:2], y[:2], indexing='ij')[0] ; T.combinations(x[:3]) ; T.cartesian_prod(x[:2], y[:2]) ; T.trapezoid(x) ; T.block_diag(A, B) ; T.diag(x[:2]) ; T.unique_consecutive(x) ; T.real(x) ; T.imag(x) ; T.conj(x) ; T.angle(x) ; T.complex(x, y) ; T.is_complex(x) ; x.nonzero() ; T.is_floating_point(x) ; T.is_nonzero(s)
T.bernoulli(x.clamp(0, 1)) ; T.multinomial(x.abs(), 1) ; T.randint(0, 1, (2,), dtype=D) ; T.randint(5, 6, (2,), dtype=D) ; T.rand(2, dtype=D) ; T.randn(2, dtype=D) ; T.rand_like(x) ; T.randperm(1, dtype=D) ; T.randint_like(x, 1) ; x.clone().random_(1) ; x.clone().bernoulli_(1.0) ; x.clone().uniform_() ; x.clone().normal_() ; x.requires_grad ; x.clone().requires_grad_()
"""  # noqa: E501


def expressions():
    return [e for line in EXPRESSIONS.strip().split("\n") for e in line.split(" ; ")]


def inputs(T, dtype):
    """The values available to an expression, for one dtype."""
    D = getattr(T, dtype)
    numbers = {
        "bool": ([1, 0, 1, 1, 0, 0], [1, 1, 0, 1, 0, 1]),
        "uint8": ([0, 1, 2, 7, 200, 255], [3, 1, 0, 5, 100, 2]),
    }
    xs, ys = numbers.get(dtype, ([-3, -1, 0, 1, 2, 100], [2, -2, 0, 5, -4, 3]))
    limits = {"bool": (0, 1), "uint8": (0, 255)}.get(dtype, (-(2 ** (8 * D.itemsize - 1)), 2 ** (8 * D.itemsize - 1) - 1))

    def of(values, shape=(-1,)):
        return T.tensor(values, dtype=D).reshape(shape)

    return {
        "x": of(xs),
        "y": of(ys),
        "z": of([v or 3 for v in ys]),
        "m": T.tensor([True, False, True, False, False, True]),
        "s": of([xs[4]], ()),
        "A": of(xs, (2, 3)),
        "B": of([*ys, *xs[:3]], (3, 3)),
        "i": of([*xs, *ys, *xs[:4]], (1, 1, 4, 4)),
        "w": T.tensor([0.5, -1.5, 2.0, 0.0, 3.25, 1.0]),
        "b": of([limits[0], limits[1], 1, 0]),
    }


def function(T, dtype, expression):
    """The expression as a function of its inputs by name."""
    names = list(inputs(T, dtype))
    return eval(f"lambda {', '.join(names)}: {expression}", {"T": T, "F": T.nn.functional, "D": getattr(T, dtype)})


def plain(out):
    """Values and dtypes as JSON data."""
    if hasattr(out, "tolist"):
        values = out.tolist()
        if str(out.dtype).split(".")[-1].startswith("complex"):
            values = str(values)
        return [str(out.dtype).split(".")[-1], _rounded(values)]
    if isinstance(out, (list, tuple)):
        return [plain(x) for x in out]
    return out if isinstance(out, (bool, int, float)) else str(out).split(".")[-1]


def _rounded(values):
    if isinstance(values, list):
        return [_rounded(v) for v in values]
    return float(f"{values:.5g}") if isinstance(values, float) else values


def outcome(T, dtype, expression, trace=None):
    """The expression's result, or "refused"; if traced, of the second call."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            f = function(T, dtype, expression)
            if trace is not None:
                f = trace(f)
                f(*inputs(T, dtype).values())
            return plain(f(*inputs(T, dtype).values()))
        except Exception as e:
            return "refused" if trace is None else f"refused: {type(e).__name__}: {e}"


def main():
    import torch

    record = {d: {e: outcome(torch, d, e) for e in expressions()} for d in DTYPES}
    FILE.write_text(json.dumps(record, separators=(",", ":")).replace('"],"', '"],\n"') + "\n")


if __name__ == "__main__":
    main()
