"""Expressions about probability distributions, for ``expressions``."""

# A distribution, a value in its support, and available properties; unavailable ones follow "no".
MOMENTS = "mode entropy mean variance"
DISTRIBUTIONS = [
    ("D.Normal(v, v.exp())", "v * 2", "cdf icdf"),
    ("D.Laplace(v, v.exp())", "v * 2", "cdf icdf"),
    ("D.Cauchy(v, v.exp())", "v * 2", "cdf icdf"),
    ("D.Gumbel(v, v.exp())", "v + 0.3", "cdf icdf"),
    ("D.LogNormal(v, v.exp())", "v.exp()", "cdf icdf"),
    ("D.HalfNormal(v.exp())", "v.exp()", "cdf icdf"),
    ("D.HalfCauchy(v.exp())", "v.exp()", "cdf icdf"),
    ("D.Uniform(v, v + 1.5)", "v + 0.7", "cdf icdf"),
    ("D.Exponential(v.exp())", "v.exp() * 2", "cdf icdf"),
    ("D.Weibull(v.exp(), v.sigmoid() + 0.5)", "v.exp()", "cdf icdf no mode"),
    ("D.Weibull(v.exp(), v.sigmoid() + 1.5)", "v.exp()", ""),
    ("D.Pareto(v.exp(), v.sigmoid() + 4)", "v.exp() * 1.5", "cdf icdf"),
    ("D.VonMises(v, v.exp())", "v * 2", "no entropy"),
    ("D.Gamma(v.exp(), v.sigmoid())", "v.exp()", ""),
    ("D.Chi2(v.exp())", "v.exp()", ""),
    ("D.InverseGamma(v.exp() + 2, v.sigmoid())", "v.exp()", ""),
    ("D.Beta(v.exp() + 1, v.sigmoid() + 1)", "v.sigmoid()", ""),
    ("D.Kumaraswamy(v.exp() + 1, v.sigmoid() + 1)", "v.sigmoid()", "no mode"),
    ("D.StudentT(v.exp() + 2, v, v.sigmoid())", "v * 2", ""),
    ("D.FisherSnedecor(v.exp() + 3, v.sigmoid() + 5)", "v.exp()", "no entropy"),
    ("D.Dirichlet(m.exp() + 1)", "m.softmax(-1)", ""),
    ("D.Bernoulli(v.sigmoid())", "(v > 0).double()", "enumerate_support"),
    ("D.Bernoulli(logits=v)", "(v > 0).double()", ""),
    ("D.Geometric(v.sigmoid())", "T.arange(5.0)", ""),
    ("D.Binomial(7, v.sigmoid())", "T.arange(5.0)", "enumerate_support"),
    ("D.NegativeBinomial(3.0, logits=v)", "T.arange(5.0)", "no entropy"),
    ("D.Poisson(v.exp())", "T.arange(5.0)", "no entropy"),
    ("D.Categorical(m.exp())", "T.tensor([0, 3, 1])", "enumerate_support no mean variance"),
    ("D.Categorical(logits=m)", "T.tensor([0, 3, 1])", "no mean variance"),
    ("D.OneHotCategorical(logits=m)", "T.eye(4)[:3]", "enumerate_support"),
    ("D.OneHotCategoricalStraightThrough(m.exp())", "T.eye(4)[1:]", ""),
    ("D.Multinomial(5, m.exp())", "T.tensor([1.0, 2.0, 0.0, 2.0])", "no mode"),
    ("D.RelaxedBernoulli(T.tensor(0.7), logits=v)", "v.sigmoid() * 0.8 + 0.1", f"no {MOMENTS}"),
    ("D.RelaxedOneHotCategorical(T.tensor(0.7), logits=m)", "m.softmax(-1)", f"no {MOMENTS}"),
    ("D.MultivariateNormal(v, T.eye(5) + v.outer(v))", "v * 2", ""),
    ("D.MultivariateNormal(v, precision_matrix=T.eye(5) + v.outer(v))", "v * 2", ""),
    ("D.MultivariateNormal(m[:, :2], scale_tril=T.tensor([[1.0, 0.0], [0.3, 2.0]]))", "m[:, 2:]", ""),
    ("D.LowRankMultivariateNormal(v, v.reshape(5, 1), v.exp())", "v * 2", ""),
    ("D.ContinuousBernoulli(v.sigmoid())", "v.sigmoid() * 0.9", "cdf icdf no mode"),
    ("D.ContinuousBernoulli(logits=v * 3)", "v.sigmoid() * 0.9", "cdf icdf no mode"),
    ("D.ContinuousBernoulli(T.tensor([0.4995, 0.5, 0.5009]))", "T.tensor([0.1, 0.5, 1.0])", "cdf no mode"),
    ("D.GeneralizedPareto(v, v.exp(), v.tanh() / 2)", "v + 0.2 * v.exp()", "cdf icdf"),
    ("D.GeneralizedPareto(v, v.exp(), 0.0)", "v + 0.2 * v.exp()", "cdf icdf"),
    ("D.GeneralizedPareto(v, v.exp(), -1.0)", "v + 0.2 * v.exp()", "cdf icdf"),
    ("D.Wishart(v.exp() + 5, T.eye(5) + v.outer(v))", "T.eye(5) * 2 + 3 * v.outer(v)", ""),
    ("D.Wishart(T.tensor([4.0, 5.5]), precision_matrix=T.eye(2) + v[:2].outer(v[:2]))", "T.eye(2) + v[1:3].outer(v[1:3])", ""),
    ("D.Wishart(3.5, scale_tril=T.tensor([[1.0, 0.0], [0.3, 2.0]]))", "T.eye(2) + v[1:3].outer(v[1:3])", ""),
    ("D.LKJCholesky(3, v.exp())", "D.CorrCholeskyTransform()(v[:3])", f"no {MOMENTS}"),
    ("D.LKJCholesky(2, 0.7)", "D.CorrCholeskyTransform()(v[:1])", f"no {MOMENTS}"),
    ("D.Independent(D.Normal(m, m.exp()), 1)", "m * 2", ""),
    (
        "D.TransformedDistribution(D.Normal(v, 1.0), [D.TanhTransform(), D.AffineTransform(1.0, -2.0)])",
        "v.tanh() * -1.5 + 1",
        f"cdf no {MOMENTS}",
    ),
    ("D.TransformedDistribution(D.Normal(m, 1.0), D.StickBreakingTransform())", "T.ones(3, 5) / 5", f"no {MOMENTS}"),
    (
        "D.TransformedDistribution(D.Normal(v, 1.0), [D.SigmoidTransform(), D.PowerTransform(2.0)])",
        "v.sigmoid()",
        f"cdf icdf no {MOMENTS}",
    ),
    ("D.LogisticNormal(v, v.exp())", "T.ones(6) / 6", f"no {MOMENTS}"),
    ("D.MixtureSameFamily(D.Categorical(logits=v), D.Normal(v, v.exp()))", "v.sum()", "cdf no mode entropy"),
    ("D.MixtureSameFamily(D.Categorical(T.ones(3)), D.Independent(D.Normal(m, 1.0), 1))", "v[:4]", "no mode entropy"),
]
DIVERGENCES = """
D.Normal(v, v.exp()), D.Normal(-v, 2.0)
D.HalfNormal(v.exp()), D.HalfNormal(2.0)
D.LogNormal(v, v.exp()), D.LogNormal(-v, T.tensor(2.0))
D.Laplace(v, v.exp()), D.Laplace(-v, 2.0)
D.Laplace(v, v.exp()), D.Normal(-v, 2.0)
D.Cauchy(v, v.exp()), D.Cauchy(-v, 2.0)
D.Gumbel(v, v.exp()), D.Gumbel(-v, 2.0)
D.Exponential(v.exp()), D.Exponential(2.0)
D.Exponential(v.exp()), D.Gamma(v.exp(), 2.0)
D.Gamma(v.exp(), 2.0), D.Gamma(2.0, v.exp())
D.Gamma(v.exp(), 2.0), D.Exponential(v.exp())
D.Beta(v.exp(), 2.0), D.Beta(2.0, v.exp())
D.Dirichlet(m.exp()), D.Dirichlet(T.ones(4))
D.Pareto(v.exp() + 2, v.exp()), D.Pareto(1.0, 2.0)
D.Uniform(v, v + 1), D.Uniform(v - 1, v + 2)
D.Uniform(v, v + 1), D.Normal(v, 2.0)
D.Bernoulli(v.sigmoid()), D.Bernoulli(logits=-v)
D.Binomial(3, v.sigmoid()), D.Binomial(3, logits=-v)
D.Geometric(v.sigmoid()), D.Geometric(logits=-v)
D.Poisson(v.exp()), D.Poisson(2.0)
D.Categorical(logits=m), D.Categorical(T.ones(4))
D.OneHotCategorical(logits=m), D.OneHotCategorical(T.ones(4))
D.MultivariateNormal(v, T.eye(5)), D.MultivariateNormal(-v, T.eye(5) + v.outer(v))
D.Wishart(T.tensor(6.5), T.eye(5)), D.Wishart(T.tensor(7.0), T.eye(5) + v.outer(v))
D.ContinuousBernoulli(v.sigmoid()), D.ContinuousBernoulli(logits=-v)
D.Independent(D.Normal(m, 1.0), 1), D.Independent(D.Normal(-m, m.exp()), 1)
""".strip().split("\n")


def _expressions():
    for made, at, more in DISTRIBUTIONS:
        known, _, unknown = more.partition("no ")
        yield f"{made}.log_prob({at})"
        yield from (f"{made}.{name}" for name in ("mean", "variance", "mode") if name not in unknown.split())
        if "entropy" not in unknown:
            yield f"{made}.entropy()"
        if "cdf" in known.split():
            yield f"{made}.cdf({at})"
        if "icdf" in known.split():
            yield f"{made}.icdf(T.tensor([0.1, 0.3, 0.5, 0.8, 0.95]))"
        if "enumerate_support" in known:
            yield f"{made}.enumerate_support()"
    for pair in DIVERGENCES:
        yield f"D.kl_divergence({pair})"


EXPRESSIONS = [
    *_expressions(),
    "D.CorrCholeskyTransform()(m[:, 1:]), D.CorrCholeskyTransform().inv(D.CorrCholeskyTransform()(m[:, :3]))",
    "D.CorrCholeskyTransform().log_abs_det_jacobian(v[:3], D.CorrCholeskyTransform()(v[:3]))",
    "D.TransformedDistribution(D.Normal(v, 1.0), D.CumulativeDistributionTransform(D.Normal(-v, 2.0))).log_prob(v.sigmoid())",
    "D.TransformedDistribution(D.LogNormal(v[:3], 1.0), D.ExpTransform().inv).log_prob(v[:3])",
    "D.transform_to(D.constraints.corr_cholesky)(v[:3])[2, 1], D.biject_to(D.constraints.corr_cholesky)(v[:1])[1, 0]",
    "D.constraints.corr_cholesky.check(D.CorrCholeskyTransform()(v[:3])), D.constraints.corr_cholesky.check(T.eye(3) * 2)",
]
