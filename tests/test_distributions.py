"""Random numbers of distributions: moments, gradients, traces, and errors."""

import math
import warnings

import numpy as np
import pytest
from distribution_expressions import DISTRIBUTIONS

import tracer
import tracer.distributions as D
from tracer.distributions import constraints

T = tracer


@pytest.fixture(autouse=True)
def doubles():
    tracer.set_default_dtype(tracer.float64)
    yield
    tracer.set_default_dtype(tracer.float32)


def names():
    rng = np.random.default_rng(4)
    m, v = rng.standard_normal((3, 4)), rng.standard_normal(5)
    return {"D": D, "T": tracer, "m": tracer.tensor(m), "v": tracer.tensor(v)}


MADE = [(made, more) for made, _, more in DISTRIBUTIONS]


@pytest.mark.parametrize("made, more", MADE, ids=[m for m, _ in MADE])
def test_samples_have_the_moments(made, more):
    tracer.manual_seed(7)
    d = eval(made, names())
    x = d.sample((20000,))
    assert tuple(x.shape) == (20000, *d.batch_shape, *d.event_shape) and not x.requires_grad
    try:
        support = d.support
    except NotImplementedError:
        support = None
    if support is not None and not constraints.is_dependent(support):
        assert bool(support.check(x).all())
    if "mean" in more.partition("no ")[2] or "Cauchy" in made:
        return
    mean, std = d.mean.numpy(), np.sqrt(d.variance.numpy().clip(0))
    if "VonMises" in made:
        assert abs(np.exp(1j * x.numpy()).mean(0)) == pytest.approx(1 - d.variance.numpy(), abs=0.03)
        return
    known = np.isfinite(mean) & np.isfinite(std)
    heavy = 12 if any(n in made for n in ("Pareto", "LogNormal", "InverseGamma", "Snedecor", "Student")) else 5
    error = np.abs(x.double().numpy().mean(0) - mean) / np.maximum(std, 1e-12) * math.sqrt(20000)
    assert (error[known] < heavy).all()


@pytest.mark.parametrize("made", [m for m, _ in MADE if "VonMises" not in m and "Mixture" not in m])
def test_traced_samples_are_the_eager_ones(made):
    given = names()
    draw = lambda m, v: eval(made, {**given, "m": m, "v": v}).sample((3,))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tracer.manual_seed(3)
        expected = [draw(given["m"], given["v"]).numpy() for _ in range(3)]
        function = tracer.trace(draw)
        tracer.manual_seed(3)
        found = [function(given["m"], given["v"]).numpy() for _ in range(3)]
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)


@pytest.mark.parametrize(
    "made",
    [
        "D.Normal(a, b)",
        "D.Gamma(b, b + 1)",
        "D.Beta(b, b + 1)",
        "D.StudentT(b + 5, a, b)",
        "D.Dirichlet(T.stack([b, b + 1]))",
        "D.LogNormal(a, b / 4)",
        "D.Weibull(b, b + 1)",
        "D.Kumaraswamy(b, b + 1)",
        "D.Laplace(a, b)",
        "D.Exponential(b)",
    ],
)
def test_pathwise_gradients(made):
    """The gradient of the mean of many samples is that of the mean."""
    tracer.manual_seed(11)
    a, b = (tracer.tensor(x, requires_grad=True) for x in (0.3, 1.2))
    d = eval(made, {"D": D, "T": tracer, "a": a, "b": b})
    x = d.rsample((40000,))
    pick = (lambda t: t[..., 0]) if d.event_shape else (lambda t: t)
    found = tracer.autograd.grad(pick(x).mean(), [a, b], allow_unused=True)
    again = eval(made, {"D": D, "T": tracer, "a": a, "b": b})
    expected = tracer.autograd.grad(pick(again.mean), [a, b], allow_unused=True)
    for f, e in zip(found, expected, strict=True):
        assert (0 if f is None else f.item()) == pytest.approx(0 if e is None else e.item(), abs=0.06)


def test_a_step_with_distributions_is_compiled():
    """Checks of parameters do not prevent tracing; replays repeat them."""

    @tracer.trace
    def loss(mu, sigma, x):
        q = D.Normal(mu, sigma)
        z = q.rsample()
        return (D.kl_divergence(q, D.Normal(0.0, 1.0)) - D.Bernoulli(logits=z).log_prob(x)).sum()

    mu, x = tracer.zeros(3, requires_grad=True), tracer.tensor([0.0, 1.0, 1.0])
    for _ in range(3):
        loss(mu, tracer.ones(3), x).backward()
    assert loss.graphs()
    with pytest.raises(ValueError, match="scale"):
        loss(mu, -tracer.ones(3), x)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: D.Normal(0.0, -1.0), "scale"),
        (lambda: D.Bernoulli(1.5), "probs"),
        (lambda: D.Bernoulli(), "probs"),
        (lambda: D.Bernoulli(0.5, 0.1), "probs"),
        (lambda: D.Categorical(T.tensor(1.0)), "one-dimensional"),
        (lambda: D.Uniform(1.0, 0.0), "low"),
        (lambda: D.Gamma(-1.0, 1.0), "concentration"),
        (lambda: D.Exponential(1.0).log_prob(T.tensor(-1.0)), "support"),
        (lambda: D.Normal(T.zeros(3), 1.0).log_prob(T.zeros(2)), "broadcastable"),
        (lambda: D.MultivariateNormal(T.zeros(2)), "Exactly one"),
        (lambda: D.MultivariateNormal(T.zeros(2), T.tensor([[1.0, 2.0], [2.0, 1.0]])), "covariance_matrix"),
        (lambda: D.Independent(D.Normal(0.0, 1.0), 1), "reinterpreted_batch_ndims"),
        (lambda: D.MixtureSameFamily(D.Normal(0.0, 1.0), D.Normal(0.0, 1.0)), "Mixture"),
        (lambda: D.Normal("a", 1.0), "Number"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_unknown_divergences():
    with pytest.raises(NotImplementedError, match="KL"):
        D.kl_divergence(D.Normal(0.0, 1.0), D.Bernoulli(0.5))

    class Mine(D.Normal):
        pass

    p = Mine(0.0, 1.0)
    assert D.kl_divergence(p, D.Normal(1.0, 1.0)).item() == pytest.approx(0.5)

    @D.register_kl(Mine, D.Normal)
    def mine(p, q):
        return tracer.tensor(7.0)

    assert D.kl_divergence(p, D.Normal(1.0, 1.0)).item() == 7.0


@pytest.mark.parametrize("made", [m for m, _ in MADE if not m.startswith("D.LogisticNormal")])
def test_expand(made):
    d = eval(made, names())
    e = d.expand((2, *d.batch_shape))
    assert tuple(e.batch_shape) == (2, *d.batch_shape) and tuple(e.event_shape) == tuple(d.event_shape)
    x = d.sample()
    np.testing.assert_allclose(e.log_prob(x)[0].numpy(), d.log_prob(x).numpy())
    assert tuple(e.sample((3,)).shape) == (3, 2, *d.batch_shape, *d.event_shape)


@pytest.mark.parametrize(
    "region",
    [constraints.real, constraints.positive, constraints.unit_interval, constraints.interval(-1.0, 3.0), constraints.simplex],
    ids=str,
)
def test_maps_onto_regions(region):
    x = tracer.randn(4, 3)
    t = D.biject_to(region)
    y = t(x)
    assert bool(region.check(y).all())
    np.testing.assert_allclose(t.inv(y).numpy(), x.numpy(), atol=1e-9)
    assert bool(region.check(D.transform_to(region)(x)).all())


@pytest.mark.parametrize(
    "t, x",
    [
        (D.ExpTransform(), 0.3),
        (D.SigmoidTransform(), 0.3),
        (D.TanhTransform(), 0.3),
        (D.SoftplusTransform(), 0.3),
        (D.PowerTransform(2.0), 0.7),
        (D.AffineTransform(1.0, -2.0), 0.3),
        (D.ComposeTransform([D.ExpTransform(), D.AffineTransform(1.0, 3.0)]), 0.3),
    ],
    ids=lambda t: type(t).__name__,
)
def test_jacobians(t, x):
    x = tracer.tensor(x, requires_grad=True)
    y = t(x)
    (slope,) = tracer.autograd.grad(y, x)
    assert t.log_abs_det_jacobian(x, y).item() == pytest.approx(math.log(abs(slope.item())))
    assert t.inv(y).item() == pytest.approx(x.item()) and t.inv.inv is t


def test_a_traced_function_follows_the_default_of_checks():
    def f(scale):
        return D.Normal(0.0, scale).log_prob(tracer.ones(()))

    traced, bad = tracer.trace(f), tracer.tensor(-1.0)
    try:
        for _ in range(2):
            D.Distribution.set_default_validate_args(False)
            for _ in range(3):
                assert traced(bad).isnan()
            D.Distribution.set_default_validate_args(True)
            for _ in range(2):
                with pytest.raises(ValueError, match="scale"):
                    traced(bad)
                assert traced(-bad).item() == f(-bad).item()
    finally:
        D.Distribution.set_default_validate_args(__debug__)
    assert len(traced.graphs()) == 2


LOGITS = {
    "Bernoulli": (lambda z: D.Bernoulli(logits=z), 1.0),
    "Binomial": (lambda z: D.Binomial(5, logits=z), 2.0),
    "NegativeBinomial": (lambda z: D.NegativeBinomial(5.0, logits=z), 2.0),
    "Geometric": (lambda z: D.Geometric(logits=z), 2.0),
    "ContinuousBernoulli": (lambda z: D.ContinuousBernoulli(logits=z), 0.3),
    "LogitRelaxedBernoulli": (lambda z: D.RelaxedBernoulli(1.0, logits=z).base_dist, 0.0),
    "kl": (lambda z: D.Bernoulli(logits=z), None),
}


@pytest.mark.parametrize("how", ["eager", "traced"])
@pytest.mark.parametrize("name", LOGITS)
def test_derivatives_at_logits_of_zero(name, how):
    """The logits at which layers begin. A piecewise formula has another derivative there than on either side."""
    made, value = LOGITS[name]
    if value is None:
        f = lambda z: D.kl_divergence(made(z), D.Bernoulli(0.3)) + D.kl_divergence(D.Bernoulli(0.3), made(z))
    else:
        f = lambda z: made(z).log_prob(tracer.tensor(value))
    g = tracer.trace(f) if how == "traced" else f
    for at in (0.0, 1e-9, -1e-9):
        z, h = tracer.tensor(at, requires_grad=True), 1e-6
        for _ in range(2):
            (slope,) = tracer.autograd.grad(g(z), z)
        sides = [f(tracer.tensor(at + d)).item() for d in (h, -h)]
        assert slope.item() == pytest.approx((sides[0] - sides[1]) / (2 * h), abs=1e-6), at


@pytest.mark.parametrize("t", [D.SigmoidTransform(), D.SoftplusTransform(), D.TanhTransform()], ids=lambda t: type(t).__name__)
def test_derivatives_of_maps_at_zero(t):
    at = lambda x: t.log_abs_det_jacobian(x, t(x))
    x = tracer.tensor(0.0, requires_grad=True)
    (slope,) = tracer.autograd.grad(at(x), x)
    assert slope.item() == pytest.approx((at(tracer.tensor(1e-6)) - at(tracer.tensor(-1e-6))).item() / 2e-6, abs=1e-6)


def test_outside_of_the_support():
    """Without validation."""
    x = tracer.tensor([-1.0, 0.0, 1.0, 2.0, math.inf])
    k = D.Kumaraswamy(1.0, 1.0, validate_args=False)
    assert k.log_prob(x).tolist() == [-math.inf, 0.0, 0.0, -math.inf, -math.inf]
    assert k.cdf(x).tolist() == [0.0, 0.0, 1.0, 1.0, 1.0]


def test_classes_of_programs():
    """Programs override what PyTorch's base classes call."""

    class Cubed(D.Transform):
        domain = codomain = D.constraints.real
        bijective, sign = True, 1

        def _call(self, x):
            return x**3

        def _inverse(self, y):
            return y.sign() * y.abs() ** (1 / 3)

        def log_abs_det_jacobian(self, x, y):
            return (3 * x * x).log()

    class Shifted(D.Distribution):
        arg_constraints = {"loc": D.constraints.real}  # noqa: RUF012
        support = D.constraints.real

        def __init__(self, loc, validate_args=None):
            self.loc, self.extra = loc, 2
            super().__init__(loc.shape, validate_args=validate_args)

        def expand(self, batch_shape, _instance=None):
            new = self._get_checked_instance(Shifted, _instance)
            new.loc, new.extra = self.loc.expand(batch_shape), self.extra
            super(Shifted, new).__init__(tracer.Size(batch_shape), validate_args=False)
            new._validate_args = self._validate_args
            return new

    t, x = Cubed(cache_size=1), tracer.tensor([0.5, 2.0])
    assert t.inv(t(x)) is x and tracer.allclose(t.inv(tracer.tensor([8.0])), tracer.tensor([2.0]))
    cubed = D.TransformedDistribution(D.Normal(tracer.zeros(2), 1.0), [t])
    y = x**3
    assert tracer.allclose(cubed.log_prob(y), D.Normal(0.0, 1.0).log_prob(x) - (3 * x * x).log())
    wide = Shifted(tracer.zeros(2)).expand((3, 2))
    assert wide.batch_shape == (3, 2) and wide.extra == 2 and wide.loc.shape == (3, 2)
    assert isinstance(D.HalfCauchy(2.0).base_dist, D.Cauchy) and D.HalfNormal(2.0).base_dist.scale == 2


def test_constraints_are_classes():
    c = D.constraints

    class Softened(type(c.positive)):
        def __init__(self):
            super().__init__(lower_bound=0.0)

    assert (
        isinstance(c.positive, c.greater_than)
        and isinstance(c.unit_interval, c.interval)
        and isinstance(c.real_vector, c.independent)
    )
    assert not isinstance(c.positive, c.less_than) and isinstance(Softened(), c.greater_than)
    assert tracer.equal(Softened().check(tracer.tensor([-1.0, 1.0])), tracer.tensor([False, True]))
    texts = {
        c.interval(0.0, 2.0): "Interval(lower_bound=0.0, upper_bound=2.0)",
        c.real_vector: "IndependentConstraint(Real(), 1)",
    }
    texts |= {
        c.positive_integer: "IntegerGreaterThan(lower_bound=1)",
        c.half_open_interval(0, 1): "HalfOpenInterval(lower_bound=0, upper_bound=1)",
    }
    assert all(repr(constraint) == text for constraint, text in texts.items())
    with pytest.raises(TypeError, match="lower_bound, upper_bound"):
        c.interval(0.0)
    assert c.positive_semidefinite.check(tracer.eye(2)) and not c.positive_semidefinite.check(-tracer.eye(2))
    mixture = c.MixtureSameFamilyConstraint(c.independent(c.positive, 1))
    assert mixture.event_dim == 1 and mixture.check(tracer.tensor([[1.0, 2.0], [1.0, -1.0]])).tolist() == [True, False]
