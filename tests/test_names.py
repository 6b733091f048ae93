"""Names that programs expect: in-place functions, memory formats, storages, states of generators, random numbers."""

import math
import pickle

import numpy as np
import pytest
from scipy import stats

import tracer


def test_constants():
    assert tracer.inf == math.inf and tracer.pi == math.pi and tracer.e == math.e and math.isnan(tracer.nan)
    assert tracer.ones(2)[tracer.newaxis].shape == (1, 2)


@pytest.mark.parametrize("name", sorted(tracer.core.methods.functions_in_place()))
def test_functions_in_place_are_there(name):
    assert getattr(tracer, name) is not None


def test_functions_in_place():
    x = tracer.tensor([-1.0, 0.0])
    assert tracer.relu_(x) is x and tracer.exp_(x) is x and tracer.neg_(x).tolist() == [-1.0, -1.0]
    assert tracer.fill_(x, 3.0).tolist() == [3.0, 3.0] and tracer.zero_(x).tolist() == [0.0, 0.0]
    assert tracer.selu_(tracer.zeros(2)).tolist() == [0.0, 0.0]
    y = tracer.ones(2, requires_grad=True)
    z = y * 2
    tracer.threshold_(z, 1.0, 0.0)
    z.sum().backward()
    assert y.grad.tolist() == [2.0, 2.0]


def test_memory_formats():
    x = tracer.ones(1, 2, 3, 3)
    for y in (
        x.contiguous(memory_format=tracer.channels_last),
        x.clone(memory_format=tracer.preserve_format),
        x.to(memory_format=tracer.channels_last),
        tracer.empty_like(x, memory_format=tracer.contiguous_format),
    ):
        assert y.shape == x.shape
    assert x.is_contiguous() and x.is_contiguous(memory_format=tracer.contiguous_format)
    assert not x.is_contiguous(memory_format=tracer.channels_last)
    assert x.permute(0, 2, 3, 1).permute(0, 3, 1, 2).is_contiguous() and x.layout is tracer.strided
    assert tracer.ones(1, 3, 3, 2).permute(0, 3, 1, 2).is_contiguous(memory_format=tracer.channels_last)
    assert repr(tracer.channels_last) == "tracer.channels_last" and repr(tracer.strided) == "tracer.strided"
    with pytest.raises(RuntimeError, match="required rank 4"):
        tracer.ones(3).contiguous(memory_format=tracer.channels_last)
    with pytest.raises(TypeError, match="memory_format"):
        tracer.ones(3).clone(memory_format=3)


def test_storages():
    x = tracer.arange(6.0)
    y = x[2:].view(2, 2)
    assert y.storage_offset() == 2 and x.storage_offset() == 0 and y.get_device() == -1
    assert y.untyped_storage().data_ptr() == x.data_ptr() and y.untyped_storage() == x.untyped_storage()
    assert x.untyped_storage().nbytes() == 24 and len(x.storage()) == 6 and y.storage().tolist() == x.tolist()
    assert x.t().dim_order() == (0,) and tracer.ones(2, 3).t().dim_order() == (1, 0)
    assert x.is_cpu and not x.is_cuda and not x.is_sparse and x.pin_memory() is x
    with pytest.raises(RuntimeError, match="cpu"):
        x.cuda()
    assert tracer.empty_strided((2, 3), (1, 2)).stride() == (1, 2)
    assert tracer.empty_permuted((2, 3, 4), (2, 0, 1)).stride() == (3, 1, 6)
    assert tracer.tensor([1.0, 2.0]).apply_(lambda v: v + 1).tolist() == [2.0, 3.0]
    assert tracer.tensor([1.0, 2.0]).map_(tracer.tensor([3.0]), lambda a, b: a * b).tolist() == [3.0, 6.0]


def test_asarray_shares_memory():
    a, x = np.ones(3), tracer.ones(2, requires_grad=True)
    t = tracer.asarray(a)
    a[0] = 5
    assert t[0].item() == 5 and tracer.asarray(a, copy=True).data_ptr() != t.data_ptr()
    assert tracer.asarray(x) is x and tracer.asarray(x, requires_grad=False).requires_grad is False
    assert tracer.asarray([1, 2.0]).dtype is tracer.float32 and tracer.asarray(np.float64(3)).dtype is tracer.float64
    memory = bytearray(b"abcd")
    b = tracer.frombuffer(memory, dtype=tracer.uint8)
    b[0] = 65
    assert memory == b"Abcd"
    with pytest.raises(ValueError, match="alias"):
        tracer.asarray([1], copy=False)
    with pytest.raises(ValueError, match="alias"):
        tracer.asarray(a, dtype=tracer.float32, copy=False)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: tracer.frombuffer(b"ab", dtype=tracer.int32), ValueError, "multiple of element size"),
        (lambda: tracer.frombuffer(bytearray(), dtype=tracer.int32), ValueError, "must not be 0"),
        (lambda: tracer.frombuffer(bytearray(4), dtype=tracer.int8, offset=9), ValueError, "offset"),
        (lambda: tracer.frombuffer(bytearray(8), dtype=tracer.int32, count=3), ValueError, "requested buffer length"),
        (lambda: tracer.frombuffer(3, dtype=tracer.int8), ValueError, "buffer protocol"),
        (lambda: tracer.unravel_index(tracer.tensor([1.0]), (2, 3)), TypeError, "indices"),
        (lambda: tracer.unravel_index(tracer.tensor([1]), (2, -3)), ValueError, "shape"),
        (lambda: tracer.vander(tracer.ones(2, 2)), RuntimeError, "one-dimensional"),
        (lambda: tracer.vander(tracer.ones(2), -1), RuntimeError, "N must"),
        (lambda: tracer.histogram(tracer.tensor([1, 2]), 2), NotImplementedError, "histogramdd"),
        (lambda: tracer.histogram(tracer.ones(2), 0), RuntimeError, "bins must be"),
        (lambda: tracer.histogram(tracer.tensor([1.0, math.nan]), 2), RuntimeError, "not finite"),
        (lambda: tracer.histogram(tracer.ones(2), 2, range=(3.0, 1.0)), RuntimeError, "min should not exceed max"),
        (lambda: tracer.histogram(tracer.ones(2), 2, weight=tracer.ones(3)), RuntimeError, "weight"),
        (lambda: tracer.histogramdd(tracer.ones(3, 2), [2]), RuntimeError, "size of bins"),
        (lambda: tracer.gradient(tracer.ones(1)), RuntimeError, "edge_order"),
        (lambda: tracer.gradient(tracer.ones(3), edge_order=3), RuntimeError, "edge_order"),
        (lambda: tracer.gradient(tracer.ones(3, 3), spacing=[1.0, 2.0, 3.0]), RuntimeError, "spacing"),
        (lambda: tracer.gradient(tracer.ones(3, 3), dim=[0, 0]), RuntimeError, "multiple times"),
        (lambda: tracer.frexp(tracer.tensor([1])), RuntimeError, "floating-point"),
        (lambda: tracer.hann_window(-1), RuntimeError, "window_length"),
        (lambda: tracer.hann_window(5, dtype=tracer.int64), RuntimeError, "floating point"),
        (lambda: tracer.signal.windows.hann(-1), ValueError, "M="),
        (lambda: tracer.signal.windows.gaussian(3, std=0.0), ValueError, "Standard deviation"),
        (lambda: tracer.zeros(3).fill_diagonal_(1.0), RuntimeError, "dimensions"),
        (lambda: tracer.zeros(2, 2, 3).fill_diagonal_(1.0), RuntimeError, "equal length"),
        (lambda: tracer.ones(2).geometric_(1.5), RuntimeError, "p to be in"),
        (lambda: tracer.ones(2).log_normal_(0, -1), RuntimeError, "std > 0"),
        (lambda: tracer.ones(2).cauchy_(0, -1), RuntimeError, "sigma > 0"),
        (lambda: tracer.poisson(tracer.tensor([-1.0])), RuntimeError, "non-negative"),
        (lambda: tracer.poisson(tracer.tensor([1])), NotImplementedError, "poisson"),
        (lambda: tracer.nn.functional.grid_sample(tracer.ones(1, 1, 2, 2), tracer.ones(1, 2, 2, 3)), RuntimeError, "last dim"),
        (lambda: tracer.nn.functional.grid_sample(tracer.ones(1, 1, 2), tracer.ones(1, 2, 2)), RuntimeError, "4D or 5D"),
        (lambda: tracer.nn.functional.grid_sample(tracer.ones(1, 1, 2, 2), tracer.ones(1, 2, 2, 2), "x"), ValueError, "mode"),
        (lambda: tracer.nn.functional.affine_grid(tracer.ones(1, 2, 2), [1, 1, 2, 2]), ValueError, "affine matrices"),
    ],
)
@pytest.mark.filterwarnings("ignore:Default grid_sample")
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_states_of_generators():
    tracer.manual_seed(3)
    assert tracer.initial_seed() == 3
    tracer.rand(5)
    state = tracer.get_rng_state()
    a = tracer.rand(3).tolist()
    tracer.set_rng_state(state)
    assert tracer.rand(3).tolist() == a
    with tracer.random.fork_rng():
        tracer.rand(100)
        tracer.manual_seed(9)
    b = tracer.rand(2).tolist()
    tracer.set_rng_state(state)
    tracer.rand(3)
    assert tracer.rand(2).tolist() == b
    g = tracer.Generator(device="cpu").manual_seed(7)
    tracer.rand(4, generator=g)
    h = g.clone_state()
    assert g.get_offset() == 4 and tracer.rand(2, generator=g).tolist() == tracer.rand(2, generator=h).tolist()
    assert tracer.seed() == tracer.initial_seed() and g.initial_seed() == 7
    with pytest.raises(TypeError, match="ByteTensor"):
        tracer.set_rng_state(tracer.ones(3))
    with pytest.raises(RuntimeError, match="size"):
        tracer.set_rng_state(tracer.ones(3, dtype=tracer.uint8))
    with pytest.raises(ValueError, match="manual_seed"):
        tracer.manual_seed(2**64)
    tracer.manual_seed(0)


DRAWS = {
    "cauchy": (lambda: tracer.empty(20000, dtype=tracer.float64).cauchy_(1.0, 2.0), stats.cauchy(1.0, 2.0)),
    "log_normal": (lambda: tracer.empty(20000).log_normal_(0.3, 0.5), stats.lognorm(0.5, scale=math.exp(0.3))),
    "exponential": (lambda: tracer.empty(20000).exponential_(2.0), stats.expon(scale=0.5)),
    "geometric": (lambda: tracer.empty(20000).geometric_(0.3), stats.geom(0.3)),
    "poisson": (lambda: tracer.poisson(tracer.full((20000,), 3.7)), stats.poisson(3.7)),
    "large poisson": (lambda: tracer.poisson(tracer.full((20000,), 2e5, dtype=tracer.float64)), stats.poisson(2e5)),
    "binomial": (lambda: tracer.binomial(tracer.full((20000,), 40.0), tracer.full((20000,), 0.3)), stats.binom(40, 0.3)),
    "gamma": (
        lambda: tracer.random.sampling.standard_gamma(tracer.full((20000,), 0.4, dtype=tracer.float64)),
        stats.gamma(0.4),
    ),
}


@pytest.mark.parametrize("name", DRAWS)
def test_draws_follow_their_distribution(name):
    tracer.manual_seed(12)
    draw, law = DRAWS[name]
    x = draw().numpy().astype(np.float64)
    if hasattr(law, "pmf"):
        low, high = law.ppf(1e-3), law.ppf(1 - 1e-3)
        edges = np.unique(np.linspace(low, high, 12).round())
        seen = np.histogram(x, [-np.inf, *(edges + 0.5), np.inf])[0]
        expected = np.diff([0, *law.cdf(edges), 1]) * len(x)
        keep = expected > 5
        assert stats.chisquare(seen[keep], expected[keep] * seen[keep].sum() / expected[keep].sum()).pvalue > 1e-4
    else:
        assert stats.kstest(x, law.cdf).pvalue > 1e-4


@pytest.mark.parametrize("name", DRAWS)
def test_traced_draws_are_the_eager_ones(name):
    draw, _ = DRAWS[name]
    tracer.manual_seed(5)
    expected = [draw().tolist() for _ in range(3)]
    function = tracer.trace(draw)
    tracer.manual_seed(5)
    np.testing.assert_allclose([function().tolist() for _ in range(3)], expected, rtol=1e-5)
    assert function.graphs()


def test_gamma_derivative_by_its_shape():
    """Of the mean, which equals the shape, it is 1; and it is the slope of the quantile."""
    tracer.manual_seed(1)
    a = tracer.full((50000,), 1.7, dtype=tracer.float64, requires_grad=True)
    tracer.random.sampling.standard_gamma(a).sum().backward()
    assert abs(a.grad.mean().item() - 1) < 0.02
    for shape in (0.02, 0.3, 1.0, 5.0, 300.0, 1e5):
        u = np.array([0.05, 0.4, 0.9])
        x = stats.gamma.ppf(u, shape)
        h = 1e-4 * shape
        slope = (stats.gamma.ppf(u, shape + h) - stats.gamma.ppf(u, shape - h)) / (2 * h)
        from tracer.ir.ops import gamma_quantile_slope

        with tracer.no_grad():
            found = gamma_quantile_slope(tracer.tensor(x), tracer.full((3,), shape, dtype=tracer.float64))
        np.testing.assert_allclose(found.numpy(), slope, rtol=1e-4)


def test_grid_sample_twice_differentiable():
    x = tracer.randn(1, 2, 3, 4, dtype=tracer.float64, requires_grad=True)
    grid = (tracer.rand(1, 2, 2, 2, dtype=tracer.float64) * 1.6 - 0.8).requires_grad_()
    for mode in ("bilinear", "bicubic"):
        f = lambda a, g, mode=mode: tracer.nn.functional.grid_sample(a, g, mode, "border", align_corners=True)
        assert tracer.autograd.gradcheck(f, (x, grid))
        assert tracer.autograd.gradgradcheck(f, (x, grid))


def test_layouts_pickle():
    assert pickle.loads(pickle.dumps(tracer.channels_last)) is tracer.channels_last
    assert pickle.loads(pickle.dumps(tracer.strided)) is tracer.strided


OLD_FORMS = {
    "x.add(2, y)": "x + 2 * y",
    "T.add(x, 2, y)": "x + 2 * y",
    "x.clone().add_(0.5, y)": "x + 0.5 * y",
    "x.sub(2, y)": "x - 2 * y",
    "T.subtract(x, 2, y)": "x - 2 * y",
    "x.addcmul(0.5, y, y)": "x + 0.5 * y * y",
    "x.clone().addcmul_(2, y, x)": "x + 2 * y * x",
    "x.clone().addcdiv_(-1, y, x + 2)": "x - y / (x + 2)",
    "T.where(m, x, y)": "T.where(m.bool(), x, y)",
}


@pytest.mark.parametrize("call", OLD_FORMS)
def test_old_forms_warn_at_the_users_line(call):
    names = {"x": tracer.tensor([1.0, 2.0]), "y": tracer.tensor([3.0, 5.0]), "T": tracer}
    names["m"] = tracer.tensor([1, 0], dtype=tracer.uint8)
    with pytest.warns(UserWarning, match="deprecated") as said:
        got = eval(call, names)
    assert said[0].filename == "<string>"
    assert got.tolist() == eval(OLD_FORMS[call], names).tolist()


def test_integers_one_by_one_are_a_list():
    x = tracer.ones(2, 6, 1)
    assert [p.shape[1] for p in x.hsplit(2, 3)] == [2, 1, 3] and len(x.vsplit(0, 1)) == 3
    assert x.squeeze(0, 2).shape == (2, 6) and tracer.ones(1, 1, 3).squeeze_(0, 1).shape == (3,)
    assert x.count_nonzero(0, 2).tolist() == [2] * 6
    with pytest.raises(TypeError, match="takes 2 positional arguments but 4 were given"):
        x.add(2, 3, 4)


NUMBERS = [
    "xlogy",
    "special.xlog1py",
    "special.zeta",
    "pow",
    "atan2",
    "add",
    "sub",
    "mul",
    "div",
    "fmod",
    "remainder",
    "maximum",
    "lerp",
]


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("dtype", [tracer.float32, tracer.bfloat16, tracer.float16, tracer.int64, tracer.bool])
def test_numbers_do_not_widen_the_dtype(name, dtype):
    module, _, function = name.rpartition(".")
    f = getattr(getattr(tracer, module) if module else tracer, function)
    x = tracer.tensor([0.5, 2.0]).to(dtype)
    for number in (2, 0.5, True):
        for operands in ((x, number), (number, x)):
            try:
                found = f(*operands).dtype
            except (TypeError, RuntimeError):  # accepts only tensors, or no bools
                continue
            if dtype.is_floating_point:
                assert found is dtype
            elif found.is_floating_point:
                assert found is tracer.float32
