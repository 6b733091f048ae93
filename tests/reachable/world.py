"""Libraries, modes, random numbers."""

from . import thing

thing(
    "library",
    """
    tag = 1.5
    from_library, table_of_functions = tracer.sin, {"f": tracer.cos, "g": math.sqrt}
""",
    "variable - tag",
    """
    tracer.tanh(x)
    x.tanh()
    tracer.sin(x)
    from_library(x)
    x * math.cbrt(tag)
    x * math.tau
    x.sum() + x
    table_of_functions["f"](x)
    x * getattr(tracer, "extra", 0.5)
    x * (2.0 if hasattr(x, "extra") else 3.0)
    x * len(operator.concat("a", "b"))
    x * abs(tag)
    x * len(list(itertools.pairwise([1, 2, 3])))
    x * len(textwrap.dedent("  a"))
    Doubling.apply(x)
    x * getattr(random, "extra", 2.0)
""",
    """
    tracer.tanh = lambda x: x * 2
    tracer.Tensor.tanh = lambda self: self * 3
    tracer.Tensor.__mul__ = lambda self, other: tracer.add(self, other)
    tracer.Tensor.sum = lambda self, *args, **kwargs: self.mean()
    tracer.sin = tracer.cos
    tracer.extra = 2.5
    tracer.Tensor.extra = 1
    random.extra = 4.0
    math.cbrt = lambda x: 0.25
    math.tau = 3
    operator.concat = lambda a, b: b
    itertools.pairwise = lambda a: [1]
    textwrap.dedent = lambda text: "abcd"
    from_library = tracer.cos
    from_library = lambda x: x * 4
    from_library = F.relu
    from_library = tracer.Tensor.exp
    table_of_functions["f"] = tracer.sin
    table_of_functions["f"] = lambda x: x * 5
    Doubling.forward = staticmethod(lambda ctx, x: x * 3)
    Doubling.backward = staticmethod(lambda ctx, g: g * 4)
    Doubling.slope = Doubling.slope + 1
    restored()
    globals()["abs"] = lambda x: 0.125
    globals()["len"] = lambda x: 4
""",
)
thing(
    "modes",
    "mode_of_calls = 'plain'",
    "",
    """
    x * (2.0 if tracer.is_grad_enabled() else 3.0)
    x * (2.0 if tracer.get_default_dtype() is f64 else 3.0)
    x + tracer.ones(3)
    x * tracer.tensor(0.1)
    x * tracer.get_num_threads()
    x * len(str(x[0, 0]))
    x * (2.0 if tracer.is_inference_mode_enabled() else 3.0)
    (x * 1).requires_grad_(x.requires_grad) * 2
    tracer.no_grad()(lambda: x * 2)() + x
""",
    """
    tracer.set_default_dtype(f64)
    tracer.set_default_dtype(tracer.float32)
    tracer.set_num_threads(2)
    tracer.set_num_threads(1)
    tracer.set_grad_enabled(False)
    tracer.set_grad_enabled(True)
    mode_of_calls = "no_grad"
    mode_of_calls = "inference"
    mode_of_calls = "saved"
    mode_of_calls = "anomaly"
    mode_of_calls = "plain"
    tracer.manual_seed(5)
    random.seed(3)
    np.random.seed(3)
""",
)
thing(
    "random",
    """
    g, rng, nprng = tracer.Generator(3), random.Random(3), np.random.default_rng(3)
""",
    "",
    """
    x + tracer.rand(2, 3, dtype=f64)
    x + tracer.randn(3, dtype=f64, generator=g)
    F.dropout(x, 0.5)
    x * tracer.randperm(3, generator=g)
    x * (tracer.rand(2, 3) > 0.5)
""",
    """
    g.manual_seed(7)
    g = tracer.Generator(3)
    tracer.manual_seed(2)
    g.set_state(tracer.Generator(9).get_state())
    tracer.rand(3)
    tracer.rand(3, generator=g)
""",
)
