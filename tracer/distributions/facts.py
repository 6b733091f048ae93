"""What the docstrings of distributions and transforms have in common (see ``ops.class_facts``)."""

from __future__ import annotations

# The arguments of constructors that mean the same in all classes that do not say otherwise.
ARGUMENTS = """
validate_args: whether parameters and values are checked; None is the default, see ``set_default_validate_args``.
cache_size: 1 keeps the last argument with its result, for the inverse; 0 keeps nothing.
"""

# Sentences about shapes, dtypes and errors.
SHARED = """
Parameters are numbers or floating tensors that broadcast to the batch shape; values have this shape and the parameters' dtype;
numbers give the default one.
    Normal Laplace Cauchy Gumbel HalfNormal HalfCauchy Uniform Exponential Weibull Pareto VonMises Gamma Chi2 InverseGamma Beta
    StudentT FisherSnedecor Kumaraswamy ContinuousBernoulli GeneralizedPareto Bernoulli Geometric Binomial NegativeBinomial
    Poisson LogNormal RelaxedBernoulli
Parameters are floating tensors; axes before those of one value are the batch shape. Values have the parameters' dtype.
    Dirichlet OneHotCategorical OneHotCategoricalStraightThrough Multinomial LogisticNormal MultivariateNormal
    LowRankMultivariateNormal Wishart LKJCholesky RelaxedOneHotCategorical
Parameters are floating tensors; axes before the last one are the batch shape, which values have.
    Categorical
Shapes and dtypes are those of the given distributions.
    Independent TransformedDistribution MixtureSameFamily
Raises ValueError for parameters outside of their region, and for values outside of the support, unless ``validate_args`` is
False.
    Normal Laplace Cauchy Gumbel HalfNormal HalfCauchy Uniform Exponential Weibull Pareto VonMises Gamma Chi2 InverseGamma Beta
    StudentT FisherSnedecor Kumaraswamy ContinuousBernoulli GeneralizedPareto Bernoulli Geometric Binomial NegativeBinomial
    Poisson LogNormal RelaxedBernoulli Dirichlet OneHotCategorical OneHotCategoricalStraightThrough Multinomial LogisticNormal
    MultivariateNormal LowRankMultivariateNormal Wishart LKJCholesky RelaxedOneHotCategorical Categorical Distribution
    ExponentialFamily Independent TransformedDistribution MixtureSameFamily
Shapes that do not broadcast raise RuntimeError.
    Normal Laplace Cauchy Gumbel Uniform Weibull Pareto VonMises Gamma InverseGamma Beta StudentT FisherSnedecor Kumaraswamy
    GeneralizedPareto Binomial NegativeBinomial LogNormal LogisticNormal MultivariateNormal LowRankMultivariateNormal Wishart
Shapes: (...) gives (...), elementwise. Takes floating tensors; the dtype is kept.
    ExpTransform PowerTransform SigmoidTransform SoftplusTransform TanhTransform AbsTransform AffineTransform
    CumulativeDistributionTransform
Shapes: (..., K) gives (..., K). Takes floating tensors; the dtype is kept.
    SoftmaxTransform
Takes floating tensors; the dtype is kept.
    StickBreakingTransform CorrCholeskyTransform LowerCholeskyTransform PositiveDefiniteTransform ReshapeTransform
Values have the parameters' dtype, if it is floating.
    Distribution ExponentialFamily
Takes floating tensors.
    Transform
Shapes and dtypes are those of the given transforms.
    ComposeTransform IndependentTransform CatTransform StackTransform
Raises ValueError for another ``cache_size``, TypeError for anything but tensors.
    Transform ExpTransform PowerTransform SigmoidTransform SoftplusTransform TanhTransform AbsTransform AffineTransform
    CumulativeDistributionTransform SoftmaxTransform StickBreakingTransform CorrCholeskyTransform LowerCholeskyTransform
    PositiveDefiniteTransform ReshapeTransform ComposeTransform IndependentTransform CatTransform StackTransform
"""
