"""16-bit floating types: which operations keep them, what is computed in float32, and where results are rounded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracer
import tracer.nn.functional as F
from tracer import nn, optim
from tracer.ir import pipeline
from tracer.ir.interp import evaluate
from tracer.ir.parse import parse_graph
from tracer.ir.passes.widen import widen
from tracer.runtime import dialect
from tracer.runtime.compiler import machine
from tracer.runtime.programs.layout import lay_out
from tracer.runtime.programs.program import Program

HALVES = [tracer.bfloat16, tracer.float16]
halves = pytest.mark.parametrize("dtype", HALVES, ids=lambda d: d.name)
modes = pytest.mark.parametrize("mode", [lambda f: f, tracer.trace], ids=["eager", "traced"])


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.25, 1.75, shape)


def unit(dtype: Any) -> float:
    """The distance from 1 to the next number."""
    return float(tracer.finfo(dtype).eps)


# One tensor (4, 6) to one tensor. All are computed in float32 and rounded once; gradients within a few roundings.
FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "scaled": lambda x: x * 0.1,
    "shifted": lambda x: 1 - x,
    "over": lambda x: 1 / x,
    "cube": lambda x: x**3,
    "exp": lambda x: x.exp(),
    "tanh": lambda x: x.tanh(),
    "sigmoid": lambda x: x.sigmoid(),
    "alpha": lambda x: tracer.add(x, x * 2, alpha=0.3),
    "addcmul": lambda x: tracer.addcmul(x, x, x, value=0.3),
    "lerp": lambda x: tracer.lerp(x, x * 2, 0.3),
    "sum": lambda x: x.sum(1),
    "mean": lambda x: x.mean(0),
    "var": lambda x: x.var(1),
    "std": lambda x: x.std(),
    "norm": lambda x: x.norm(),
    "prod": lambda x: x.prod(1),
    "cumsum": lambda x: x.cumsum(1),
    "logsumexp": lambda x: x.logsumexp(1),
    "softmax": lambda x: x.softmax(1),
    "log_softmax": lambda x: x.log_softmax(1),
    "amax": lambda x: x.amax(1),
    "where": lambda x: tracer.where(x > 1, x, 0.1),
    "clamp": lambda x: x.clamp(0.5, 1.1),
    "matmul": lambda x: x @ x.mT,
    "linear": lambda x: F.linear(x, x, x[:, 0]),
    "gelu": F.gelu,
    "silu": F.silu,
    "softplus": F.softplus,
    "elu": F.elu,
    "layer_norm": lambda x: F.layer_norm(x, (6,), x[0], x[1]),
    "rms_norm": lambda x: F.rms_norm(x, (6,)),
    "group_norm": lambda x: F.group_norm(x[None], 2),
    "batch_norm": lambda x: F.batch_norm(x, None, None, training=True),
    "conv": lambda x: F.conv1d(x[None], x[:2, None, :3].expand(2, 4, 3)),
    "avg_pool": lambda x: F.avg_pool1d(x[None], 2),
    "interpolate": lambda x: F.interpolate(x[None, None], scale_factor=2, mode="bilinear"),
    "mse_loss": lambda x: F.mse_loss(x, x * 0),
    "cross_entropy": lambda x: F.cross_entropy(x, tracer.arange(4)),
    "binary_cross_entropy": lambda x: F.binary_cross_entropy(x / 4, x / 8),
    "attention": lambda x: F.scaled_dot_product_attention(x[None], x[None], x[None]),
    "embedding": lambda x: F.embedding(tracer.tensor([0, 2, 2]), x),
    "gather": lambda x: x.gather(1, tracer.tensor([[0, 1], [2, 2], [3, 0], [5, 5]])),
    "index_add": lambda x: x.index_add(0, tracer.tensor([0, 0, 0, 1]), x),
    "cat": lambda x: tracer.cat([x, x * 0.5]),
    "pad": lambda x: F.pad(x, (1, 2)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@halves
@modes
def test_kept_and_rounded_once(name: str, dtype: Any, mode: Any) -> None:
    """Values and gradients are those of float32, rounded; the dtype is kept."""
    f = FUNCTIONS[name]
    data = tracer.tensor(numbers(4, 6)).to(dtype)
    exact = data.to(tracer.float64).requires_grad_()
    want = f(exact)
    weights = tracer.tensor(numbers(*want.shape, seed=1)).to(dtype)
    want.backward(weights.to(tracer.float64))
    run = mode(f)
    for _ in range(3):
        x = data.clone().requires_grad_()
        y = run(x)
        assert y.dtype is dtype
        y.backward(weights)
        assert x.grad.dtype is dtype
        for got, right, roundings in ((y, want, 2), (x.grad, exact.grad, 6)):
            right = right.detach().numpy()
            room = roundings * unit(dtype) * max(float(abs(right).max()), 1e-3)
            np.testing.assert_allclose(got.detach().to(tracer.float64).numpy(), right, rtol=0, atol=room)


@halves
@modes
@pytest.mark.parametrize("n", [1000, 3000, 70_000])
def test_long_sums(dtype: Any, mode: Any, n: int) -> None:
    ones = tracer.ones(n, dtype=dtype)
    exact = tracer.tensor(float(n)).to(dtype)
    run = mode(lambda x: (x.sum(), x.mean(), (x * x).mean(), x.norm(), x.cumsum(0)[-1], x.dot(x), F.mse_loss(x, x * 0)))
    for _ in range(3):
        total, mean, squares, norm, last, product, loss = run(ones)
        assert total.equal(exact) and last.equal(exact) and product.equal(exact)
        assert mean == 1 and squares == 1 and loss == 1
        assert norm.equal(tracer.tensor(n**0.5).to(dtype))


@pytest.mark.parametrize(
    ("left", "right", "result"),
    [
        ("bfloat16", "bfloat16", "bfloat16"),
        ("float16", "bfloat16", "float32"),
        ("bfloat16", "float32", "float32"),
        ("bfloat16", "float64", "float64"),
        ("float16", "int64", "float16"),
        ("bfloat16", "bool", "bfloat16"),
        ("int32", "bfloat16", "bfloat16"),
        ("float16", "complex64", "complex64"),
    ],
)
@modes
def test_promotion(left: str, right: str, result: str, mode: Any) -> None:
    a, b = tracer.ones(3, dtype=getattr(tracer, left)), tracer.ones(3, dtype=getattr(tracer, right))
    scalar = tracer.ones((), dtype=getattr(tracer, right))
    add = mode(lambda a, b: (a + b, a * b, a / b, tracer.where(a != 0, a, b)))
    for _ in range(3):
        assert {y.dtype.name for y in add(a, b)} == {result}
        # An operand without dimensions matters only by its category.
        outranked = scalar.dtype.category > a.dtype.category
        assert add(a, scalar)[0].dtype.name == (result if outranked else left)


@halves
@modes
def test_numbers_beside_tensors(dtype: Any, mode: Any) -> None:
    x = tracer.tensor([1.0, 2.0, 3.0], dtype=dtype)
    run = mode(lambda x: (x * 0.1, x + 1, 2 - x, 1 / x, x**2, x // 2, x % 2, x == 0.1, -x, x * True))
    for _ in range(2):
        results = run(x)
        assert {y.dtype for y in results} == {dtype, tracer.bool}
        right = tracer.tensor(np.float32([1, 2, 3]) * np.float32(0.1)).to(dtype)  # the number is not rounded first
        assert results[0].equal(right)
        assert (tracer.tensor([0.1], dtype=dtype) == 0.1).all()  # but in comparisons it is


@halves
def test_cotangents_have_the_operands_dtype(dtype: Any) -> None:
    short, long = tracer.ones(3, dtype=dtype, requires_grad=True), tracer.ones(3, requires_grad=True)
    (short * long * 3).sum().backward()
    assert short.grad.dtype is dtype and long.grad.dtype is tracer.float32

    class Double(tracer.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g.float() * 2

    x = tracer.ones(3, dtype=dtype, requires_grad=True)
    Double.apply(x * 1).sum().backward()
    assert x.grad.dtype is dtype


@halves
def test_in_place(dtype: Any) -> None:
    x = tracer.ones(3, dtype=dtype)
    x.mul_(0.1).add_(x, alpha=0.5).sub_(0.25).clamp_(min=-1).div_(3)
    assert x.dtype is dtype
    y = tracer.ones(3, dtype=dtype)
    F.elu(y.sub_(2), inplace=True)
    assert y.dtype is dtype and abs(float(y[0]) - (np.exp(-1.0) - 1)) < 0.01


@halves
def test_random_numbers(dtype: Any) -> None:
    for x in (
        tracer.rand(1000, dtype=dtype),
        tracer.randn(1000, dtype=dtype),
        tracer.rand_like(tracer.ones(1000, dtype=dtype)),
    ):
        assert x.dtype is dtype and bool(x.isfinite().all())
    u = tracer.rand(100_000, dtype=dtype)
    assert u.min() > 0 and u.max() < 1 and abs(float(u.float().mean()) - 0.5) < 0.01
    dropped = F.dropout(tracer.ones(100_000, dtype=dtype), 0.3)
    assert dropped.dtype is dtype and abs(float((dropped == 0).float().mean()) - 0.3) < 0.01


@halves
@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize(
    "make", [lambda p: optim.SGD(p, lr=0.1, momentum=0.9), lambda p: optim.Adam(p, lr=0.1), lambda p: optim.AdamW(p, lr=0.1)]
)
def test_training(dtype: Any, traced: bool, make: Any) -> None:
    """A 16-bit model trains, and its parameters and the optimizer's state keep the dtype."""
    tracer.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, 1)).to(dtype)
    optimizer = make(model.parameters())
    x = tracer.tensor(numbers(32, 8)).to(dtype)
    y = x.sum(1, keepdim=True) / 8

    def step() -> Any:
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    run = tracer.trace(step) if traced else step
    losses = [float(run()) for _ in range(30)]
    assert losses[-1] < losses[0] / 4
    assert {p.dtype for p in model.parameters()} == {dtype}
    states = [t for s in optimizer.state.values() for name, t in s.items() if name != "step" and t is not None]
    assert {t.dtype for t in states} == {dtype}


def _floats() -> np.ndarray:
    """float32 numbers of all magnitudes, including midpoints between adjacent 16-bit numbers, and their neighbours."""
    bits = np.random.default_rng(0).integers(0, 2**32, 200_000, dtype=np.uint32)
    short = np.arange(0x7BFF, dtype=np.uint16)
    middle = (short.view(np.float16).astype(np.float32) + (short + 1).astype(np.uint16).view(np.float16).astype(np.float32)) / 2
    tops = np.arange(65536, dtype=np.uint32) << 16
    near = [np.nextafter(middle, np.float32(0)), np.nextafter(middle, np.float32(np.inf))]
    brain = [(tops + offset).astype(np.uint32).view(np.float32) for offset in (0x7FFF, 0x8000, 0x8001)]
    ends = np.float32([65504, 65519.99, 65520, 65536, 1e38, np.inf, -np.inf, np.nan, 0, -0.0, 2**-24, 2**-25, 2**-26])
    return np.concatenate([bits.view(np.float32), middle, -middle, *near, *brain, ends])


@halves
@pytest.mark.parametrize("cpu", ["host", "x86-64-v2"])
def test_conversions_in_kernels(dtype: Any, cpu: str) -> None:
    """Every 16-bit number to float32, and float32 rounded to nearest even; also on CPUs without such instructions."""
    if machine.selected().arch != "x86_64":
        cpu = "host"
    with machine.selecting(cpu):
        every = np.arange(65536, dtype=np.uint16).view(dtype.numpy)
        (wide,) = _program("%1: f32[65536] = cast %0 {dtype='f32'}", dtype.short, 65536, "f32")(every)
        np.testing.assert_array_equal(wide, every.astype(np.float32))
        x = _floats()
        (short,) = _program(f"%1: {dtype.short}[{x.size}] = cast %0 {{dtype='{dtype.short}'}}", "f32", x.size, dtype.short)(x)
        with np.errstate(all="ignore"):
            right = x.astype(dtype.numpy)
        number = ~np.isnan(x)
        np.testing.assert_array_equal(short.view(np.uint16)[number], right.view(np.uint16)[number])
        assert np.isnan(short[~number].astype(np.float32)).all()


def _program(statement: str, operand: str, n: int, result: str) -> Program:
    statement = statement.replace("'", '"')
    text = f"func @f(%0: {operand}[{n}]) -> {result}[{n}] {{\n  {statement}\n  return %1\n}}"
    return Program(lay_out(pipeline.run(parse_graph(text), pipeline.COMPILE)))


@halves
@pytest.mark.parametrize("m, n, k", [(3, 5, 7), (40, 33, 70), (150, 130, 600), (1, 90, 300), (90, 1, 300), (700, 17, 40)])
@pytest.mark.parametrize("ta", [False, True])
@pytest.mark.parametrize("tb", [False, True])
def test_products_accumulate_in_float32(dtype: Any, m: int, n: int, k: int, ta: bool, tb: bool) -> None:
    a, b = (
        numbers(*((k, m) if ta else (m, k))).astype(dtype.numpy),
        numbers(*((n, k) if tb else (k, n)), seed=1).astype(dtype.numpy),
    )
    d = dtype.short
    inputs = ", ".join(f"%{i}: {d}[{x.shape[0]},{x.shape[1]}]" for i, x in enumerate((a, b)))
    text = f"func @f({inputs}) -> {d}[{m},{n}] {{\n  %2: {d}[{m},{n}] = matmul %0, %1 {{ta={ta}, tb={tb}}}\n  return %2\n}}"
    (found,) = Program(lay_out(pipeline.run(parse_graph(text), pipeline.COMPILE)))(a, b)
    wide = [x.astype(np.float64) for x in (a.T if ta else a, b.T if tb else b)]
    right = wide[0] @ wide[1]
    np.testing.assert_allclose(found.astype(np.float64), right, rtol=unit(dtype) * 0.51)


@halves
def test_kernels_compute_in_float32(dtype: Any) -> None:
    """Intermediates of smooth arithmetic are not rounded; compared values are."""
    d = dtype.short
    text = f"""func @f(%x: {d}[8]) -> {d}[8] {{
      %y: {d}[8] = mul %x, %x
      %m: {d}[8] = exp %y
      %z: bool[8] = gt %m, %y
      %r: {d}[8] = where %z, %m, %y
      return %r
    }}"""
    graph = pipeline.run(parse_graph(text), (widen,))
    assert {op.primitive.name for op in graph.ops if any(v.dtype is dtype for v in (*op.operands, *op.results))} == {"cast"}
    compared = next(op for op in graph.ops if op.primitive.name == "gt")
    assert all(v.op is not None and v.op.operands[0].dtype is dtype for v in compared.operands)


def test_plain_numba_compiles_kernels_of_halves() -> None:
    source = """def kernel(args, start, stop):
    p0 = buffer_bf16(args, 0, 2)
    p1 = buffer_f16(args, 1, 2)
    for i0 in range(start, stop):
        x = load(p0, i0)
        store(p1, i0, f16(f32(x) * f32(0.1)))
"""
    x = numbers(50).astype(tracer.bfloat16.numpy)
    y = np.zeros(50, np.float16)
    dialect.call(dialect.compiled(source), [x, y], [], 0, 50)
    np.testing.assert_array_equal(y, (x.astype(np.float32) * np.float32(0.1)).astype(np.float16))


@halves
def test_kernels_for_gpus(dtype: Any) -> None:
    pytest.importorskip("numba_cuda", reason="needs the extra 'cuda'")
    from emulated import Emulated

    d = dtype.short
    graph = parse_graph(f"""func @f(%0: {d}[40,72]) -> ({d}[40,72], {d}[72], {d}[40], {d}[72,40]) {{
      %1: {d}[40,72] = exp %0
      %2: {d}[40,72] = mul %1, %0
      %3: {d}[72] = sum %2 {{axes=(0)}}
      %4: {d}[40] = sum %1 {{axes=(1)}}
      %5: {d}[72,40] = permute %2 {{axes=(1,0)}}
      return %2, %3, %4, %5
    }}""")
    x = numbers(40, 72).astype(dtype.numpy)
    for found, right in zip(Emulated(graph)(x), evaluate(graph, x), strict=True):
        np.testing.assert_allclose(found.astype(np.float64), right.astype(np.float64), rtol=2 * unit(dtype))


CONVERTED = {
    "float32": lambda x: (x * 1.7).float(),
    "float64": lambda x: (x * 1.7).double(),
    "another format": lambda x: (x * 1.7).float().half().float(),
    "positions": lambda x: F.fractional_max_pool2d(
        x.reshape(1, 1, 40, 25), 2, output_size=(17, 11), _random_samples=x[:2].abs().view(1, 1, 2) % 1
    ),
}


@pytest.mark.parametrize("dtype", [tracer.bfloat16, tracer.float16])
@pytest.mark.parametrize("name", CONVERTED)
def test_what_leaves_the_format_has_been_rounded(name, dtype):
    """Extra digits of a 16-bit result in a kernel's registers are visible only to its arithmetic."""
    f = CONVERTED[name]
    traced = tracer.trace(f)
    for seed in range(4):
        x = tracer.from_numpy(np.random.default_rng(seed).standard_normal(1000).astype(np.float32)).to(dtype)
        np.testing.assert_array_equal(traced(x).double().numpy(), f(x).double().numpy())
