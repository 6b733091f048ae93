"""What ``@tracer.trace`` may decorate, and the type of the result."""

import abc
import copy
import functools
import gc
import inspect
import pickle
import types
import typing
import weakref

import numpy as np
import pytest

import tracer
from tracer import nn, optim, trace


def vec(*values):
    return tracer.tensor(values or (1.0, 2.0, 3.0))


class Net(nn.Module):
    """A small network."""

    count = 0

    def __init__(self, width=4):
        super().__init__()
        self.first = nn.Linear(3, width)
        self.second = nn.Linear(width, 2)
        self.register_buffer("scale", tracer.ones(2))
        self.factor = 2.0

    def forward(self, x, flip=False):
        y = self.second(self.first(x).relu()) * self.scale * self.factor
        return -y if flip else y

    def encode(self, x):
        return self.first(x)

    @property
    def width(self):
        return self.first.out_features

    def explain(self):
        return "mine"


@pytest.fixture
def net():
    tracer.manual_seed(0)
    return Net()


def calls(f, *args, n=3, **kwargs):
    return [f(*args, **kwargs).detach().numpy() for _ in range(n)]


def replays(f):
    return f.cache_info().replays


# Modules.


def test_a_traced_module_is_a_module_of_its_class(net):
    fast = trace(net)
    assert isinstance(fast, Net) and isinstance(fast, nn.Module) and type(fast).__name__ == "Net"
    assert repr(fast) == repr(net) and inspect.getdoc(fast) == "A small network."
    assert [n for n, _ in fast.named_parameters()] == [n for n, _ in net.named_parameters()]
    assert all(a is b for a, b in zip(fast.parameters(), net.parameters(), strict=True))
    assert list(fast.state_dict()) == list(net.state_dict())
    assert [n for n, _ in fast.named_modules()] == [n for n, _ in net.named_modules()]
    x = tracer.randn(5, 3)
    for got in calls(fast, x):
        np.testing.assert_allclose(got, net(x).detach().numpy(), rtol=1e-5)
    assert replays(fast) == 2
    assert inspect.unwrap(fast) is net and trace(fast) is fast
    assert fast.explain() == "mine" and "traces" in fast._tracer_function.explain()


def test_assignments_to_a_traced_module_and_to_its_module_are_the_same(net):
    fast, x = trace(net), tracer.randn(5, 3)
    calls(fast, x)
    fast.factor = 3.0
    assert net.factor == 3.0
    np.testing.assert_allclose(fast(x).detach().numpy(), net(x).detach().numpy(), rtol=1e-5)
    net.second = nn.Linear(4, 2)
    assert fast.second is net.second
    np.testing.assert_allclose(fast(x).detach().numpy(), net(x).detach().numpy(), rtol=1e-5)
    fast.extra = nn.Parameter(tracer.ones(2))
    assert net.extra is fast.extra and "extra" in dict(net.named_parameters())
    del fast.extra
    assert not hasattr(net, "extra") and not hasattr(fast, "extra")
    fast.scale = tracer.full((2,), 5.0)
    np.testing.assert_allclose(fast(x).detach().numpy(), net(x).detach().numpy(), rtol=1e-5)
    assert fast.width == net.width == 4 and fast.encode(x).shape == (5, 4)
    with pytest.raises(AttributeError, match="'Net' object has no attribute 'nothing'"):
        _ = fast.nothing


def test_modes_dtypes_and_states_of_a_traced_module(net):
    fast, x = trace(nn.Sequential(net, nn.Dropout(0.5), nn.BatchNorm1d(2))), tracer.randn(6, 3)
    plain = inspect.unwrap(fast)
    assert fast.eval() is fast and not net.training
    for _ in range(3):
        np.testing.assert_allclose(fast(x).detach().numpy(), plain(x).detach().numpy(), rtol=1e-5)
    assert fast.train() is fast and net.training
    for _ in range(3):
        state, before = tracer.get_rng_state(), {k: v.clone() for k, v in plain.state_dict().items()}
        got, after = fast(x), {k: v.clone() for k, v in plain.state_dict().items()}
        tracer.set_rng_state(state)
        plain.load_state_dict(before)
        np.testing.assert_allclose(got.detach().numpy(), plain(x).detach().numpy(), rtol=1e-4, atol=1e-6)
        for k, v in plain.state_dict().items():
            np.testing.assert_allclose(after[k].numpy(), v.numpy(), rtol=1e-5, atol=1e-6)
    fast.eval()
    assert fast.double() is fast and next(fast.parameters()).dtype is tracer.float64
    assert fast(x.double()).dtype is tracer.float64
    assert fast.to(tracer.float32) is fast
    other = trace(nn.Sequential(Net(), nn.Dropout(0.5), nn.BatchNorm1d(2)).eval())
    other.load_state_dict(fast.state_dict())
    np.testing.assert_allclose(other(x).detach().numpy(), fast(x).detach().numpy(), rtol=1e-5)
    fast.requires_grad_(False)
    assert not fast(x).requires_grad
    fast.zero_grad()


@pytest.mark.parametrize("container", ["sequential", "list", "dict", "attribute"])
def test_a_traced_module_is_a_child_of_others(net, container):
    fast = trace(net)
    make = {
        "sequential": lambda m: nn.Sequential(m, nn.Tanh()),
        "list": lambda m: nn.ModuleList([m]),
        "dict": lambda m: nn.ModuleDict({"a": m}),
        "attribute": lambda m: Holder(m),
    }[container]
    outer, plain = make(fast), make(net)
    assert list(outer.state_dict()) == list(plain.state_dict())
    assert [type(m).__name__ for m in outer.modules()] == [type(m).__name__ for m in plain.modules()]
    outer.eval()
    assert not net.training
    x = tracer.randn(5, 3)
    if container in ("sequential", "attribute"):
        whole = trace(outer)
        for _ in range(3):
            want = plain(x)
            np.testing.assert_allclose(outer(x).detach().numpy(), want.detach().numpy(), rtol=1e-5)
            np.testing.assert_allclose(whole(x).detach().numpy(), want.detach().numpy(), rtol=1e-5)
        assert replays(fast) == 2 and replays(whole) == 2
        net.factor = 7.0
        np.testing.assert_allclose(whole(x).detach().numpy(), plain(x).detach().numpy(), rtol=1e-5)


class Holder(nn.Module):
    def __init__(self, m):
        super().__init__()
        self.m = m

    def forward(self, x):
        return self.m(x).tanh()


@pytest.mark.parametrize("how", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_traced_module_is_copied_and_pickled(net, how):
    fast, x = trace(net), tracer.randn(5, 3)
    calls(fast, x)
    other = how(fast)
    assert isinstance(other, Net) and other.cache_info() == (0, 0, 0, 0, 0)
    assert other.first is not fast.first and inspect.unwrap(other) is not net
    want = fast(x).detach().numpy()
    for got in calls(other, x):
        np.testing.assert_allclose(got, want, rtol=1e-5)
    assert replays(other) == 2
    with tracer.no_grad():
        other.first.weight.zero_()
    np.testing.assert_allclose(fast(x).detach().numpy(), want, rtol=1e-5)
    pair = how([net, fast])
    assert inspect.unwrap(pair[1]) is pair[0] and pair[1].first is pair[0].first


def test_a_shallow_copy_of_a_traced_module_shares_its_parts(net):
    other = copy.copy(trace(net))
    assert isinstance(other, Net) and other.first is net.first
    other.factor = 9.0
    assert net.factor == 2.0


def test_a_traced_module_trains(net):
    fast, plain = trace(copy.deepcopy(net)), net
    optimizers = [optim.Adam(m.parameters(), lr=0.01) for m in (fast, plain)]
    for _ in range(5):
        x = tracer.randn(5, 3)
        for m, optimizer in zip((fast, plain), optimizers, strict=True):
            optimizer.zero_grad()
            m(x).square().sum().backward()
            optimizer.step()
    for p, q in zip(fast.parameters(), plain.parameters(), strict=True):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-4, atol=1e-6)
    assert replays(fast) >= 3


def test_hooks_of_a_traced_module_run(net):
    fast, x = trace(net), tracer.randn(5, 3)
    calls(fast, x)
    seen = []
    handle = fast.register_forward_hook(lambda module, args, out: seen.append(type(module)) or out * 10)
    want = net(x).detach().numpy()
    for got in calls(fast, x):
        np.testing.assert_allclose(got, want, rtol=1e-5)
    assert len(seen) == 4
    handle.remove()
    np.testing.assert_allclose(fast(x).detach().numpy(), want / 10, rtol=1e-5)


def test_functions_over_the_modules_of_a_traced_module(net):
    fast = trace(net)
    names = []
    assert fast.apply(lambda m: names.append(type(m).__name__)) is fast
    assert names == ["Linear", "Linear", "Net"]
    assert fast.get_submodule("first") is net.first and fast.get_parameter("first.weight") is net.first.weight
    x = tracer.randn(5, 3)
    other = {k: v * 0 for k, v in fast.named_parameters()}
    assert tracer.func.functional_call(fast, other, (x,)).abs().sum() == 0
    assert fast(x).abs().sum() != 0
    assert isinstance(type(fast)(7), Net) and type(fast)(7).width == 7  # the class creates untraced modules


class Registered(nn.Module):
    known: typing.ClassVar[list] = []

    def __init_subclass__(cls, *, tag, **kwargs):
        Registered.known.append(tag)


class One(Registered, tag="one"):
    def forward(self, x):
        return x + 1


class Meta(type):
    made: typing.ClassVar[list] = []

    def __init__(cls, name, bases, names):
        Meta.made.append(name)
        super().__init__(name, bases, names)


class WithMeta(nn.Module, metaclass=Meta):
    def forward(self, x):
        return x + 1


class Abstract(nn.Module, abc.ABC):
    @abc.abstractmethod
    def forward(self, x): ...


class Concrete(Abstract):
    def forward(self, x):
        return x + 1


@pytest.mark.parametrize("cls", [One, WithMeta, Concrete])
def test_no_metaclass_or_init_subclass_runs_for_a_traced_module(cls):
    before = len(Registered.known), len(Meta.made)
    fast = trace(cls())
    assert isinstance(fast, cls) and isinstance(fast, nn.Module) and fast(vec()).tolist() == [2, 3, 4]
    assert isinstance(fast, Abstract) is (cls is Concrete)
    assert (len(Registered.known), len(Meta.made)) == before


def test_lazy_modules_become_what_they_are():
    fast = trace(nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.LazyLinear(2)))
    alone = trace(nn.LazyLinear(2))
    x = tracer.randn(3, 5)
    for _ in range(4):
        assert fast(x).shape == (3, 2) and alone(x).shape == (3, 2)
    assert replays(fast) >= 1 and replays(alone) >= 1


def test_a_traced_module_is_freed_with_its_last_reference():
    fast = trace(nn.Sequential(nn.Linear(3, 4), nn.ReLU()))
    calls(fast, tracer.randn(5, 3))
    ref, weight = weakref.ref(fast), weakref.ref(fast[0].weight)
    gc.collect()
    gc.disable()
    try:
        del fast
        assert ref() is None
    finally:
        gc.enable()
    gc.collect()
    assert weight() is None


def test_a_module_whose_attributes_have_names_of_the_tracer():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.function = nn.Linear(3, 3)
            self.clear = nn.Linear(3, 3)
            self.traces = [1]
            self.graphs = 5

        def forward(self, x):
            return self.clear(self.function(x))

    m = Named()
    fast = trace(m)
    calls(fast, vec())
    assert fast.function is m.function and fast.clear is m.clear and fast.traces == [1] and fast.graphs == 5
    assert replays(fast) == 2


def test_methods_of_a_traced_module_may_be_traced(net):
    net.forward = trace(net.forward)
    net.encode = trace(net.encode)
    x = tracer.randn(5, 3)
    for _ in range(3):
        net(x), net.encode(x)
    assert replays(net.forward) == 2 and replays(net.encode) == 2
    assert list(net.state_dict()) == list(Net().state_dict())


# Methods.


class Scaler:
    shift = 1.0

    def __init__(self, k):
        self.k = k

    @trace
    def scale(self, x, *, more: float = 0.0) -> "tracer.Tensor":
        """Scales."""
        return x * self.k + more

    @staticmethod
    @trace
    def double(x):
        return x * 2

    @trace
    @staticmethod
    def triple(x):
        return x * 3

    @classmethod
    @trace
    def moved(cls, x):
        return x + cls.shift

    @trace
    @classmethod
    def moved_too(cls, x):
        return x + cls.shift

    @property
    @trace
    def tensor(self):
        return vec() * self.k

    @trace
    def __call__(self, x):
        return x - self.k


class Lesser(Scaler):
    shift = -1.0

    def scale(self, x):
        return super().scale(x) / 2


def test_a_traced_method_is_a_bound_method():
    s = Scaler(2)
    method = s.scale
    assert isinstance(method, types.MethodType) and inspect.ismethod(method)
    assert method.__self__ is s and method.__func__ is Scaler.scale and method.__name__ == "scale"
    assert method.__doc__ == "Scales." and list(inspect.signature(method).parameters) == ["x", "more"]
    assert method == s.scale and hash(method) == hash(s.scale)
    for _ in range(3):
        assert method(vec()).tolist() == [2, 4, 6]
    assert "traces" in method.explain() and method.cache_info().replays == 2 and len(method.graphs()) == 1
    s.k = 5
    assert method(vec()).tolist() == [5, 10, 15]
    assert pickle.loads(pickle.dumps(s)).scale(vec()).tolist() == [5, 10, 15]
    assert Scaler(3).scale(vec()).tolist() == [3, 6, 9]
    assert Lesser(4).scale(vec()).tolist() == [2, 4, 6]
    assert weakref.WeakMethod(method)() == method


def test_static_and_class_methods_in_either_order():
    s = Scaler(2)
    for _ in range(3):
        for owner in (Scaler, s):
            assert owner.double(vec()).tolist() == [2, 4, 6] and owner.triple(vec()).tolist() == [3, 6, 9]
        assert s.moved(vec()).tolist() == s.moved_too(vec()).tolist() == [2, 3, 4]
        assert Lesser.moved(vec()).tolist() == Lesser.moved_too(vec()).tolist() == [0, 1, 2]
        assert s.tensor.tolist() == [2, 4, 6] and s(vec()).tolist() == [-1, 0, 1]
    assert isinstance(inspect.getattr_static(Scaler, "triple"), staticmethod)
    assert isinstance(inspect.getattr_static(Scaler, "moved_too"), classmethod)
    assert replays(Scaler.double) >= 4 and replays(Scaler.triple) >= 4 and replays(s.moved) >= 4 and replays(s.moved_too) >= 4


def test_methods_of_objects_and_callable_objects():
    class Power:
        """Powers."""

        def __init__(self, n):
            self.n, self.name = n, "p"

        def __call__(self, x):
            return x**self.n

        def inverse(self, x):
            return 1 / x**self.n

    p = Power(2)
    fast, inverse = trace(p), trace(p.inverse)
    for _ in range(3):
        assert fast(vec()).tolist() == [1, 4, 9] and inverse(vec(2.0)).tolist() == [0.25]
    assert fast.n == 2 and fast.name == "p" and fast.__doc__ == "Powers." and inverse.__self__ is p
    fast.n = 3
    assert p.n == 3 and fast(vec()).tolist() == [1, 8, 27]
    assert inverse(vec(2.0)).tolist() == [0.125]
    other = copy.copy(fast)
    other.n = 1
    assert p.n == 3 and other(vec()).tolist() == [1, 2, 3]
    with pytest.raises(AttributeError):
        _ = fast.nothing


def test_abstract_methods_stay_abstract():
    class Base(abc.ABC):
        @trace
        @abc.abstractmethod
        def f(self, x): ...

    class Derived(Base):
        @trace
        def f(self, x):
            return x + 1

    with pytest.raises(TypeError, match="abstract"):
        Base()
    assert Derived().f(vec()).tolist() == [2, 3, 4]


# Functions.


def plain(x: "tracer.Tensor", k: int = 2, /, *rest: float, flag: bool = False, **more: int) -> "tracer.Tensor":
    """Its docstring."""
    return x * k


traced_plain = trace(plain)


def test_a_traced_function_looks_like_the_function():
    f = traced_plain
    assert inspect.signature(f) == inspect.signature(plain) and inspect.getdoc(f) == "Its docstring."
    assert (f.__name__, f.__qualname__, f.__module__) == (plain.__name__, plain.__qualname__, plain.__module__)
    assert f.__wrapped__ is plain and inspect.unwrap(f) is plain and f.__annotations__ == plain.__annotations__
    assert f.__defaults__ == (2,) and f.__kwdefaults__ == {"flag": False} and f.__code__ is plain.__code__
    assert typing.get_type_hints(f) == typing.get_type_hints(plain)
    assert inspect.getsource(f) == inspect.getsource(plain) and callable(f) and inspect.isroutine(f)
    assert trace(f) is f


def test_wrappers_of_a_traced_function_and_traced_wrappers():
    @functools.wraps(traced_plain)
    def wrapper(*args, **kwargs):
        return traced_plain(*args, **kwargs)

    assert wrapper.__name__ == "plain" and inspect.signature(wrapper) == inspect.signature(plain)
    assert not hasattr(wrapper, "traces") and copy.deepcopy(wrapper) is wrapper
    again = trace(wrapper)
    for _ in range(3):
        assert again(vec(), 3).tolist() == [3, 6, 9]
    assert replays(again) == 2
    cached = functools.cache(trace(lambda: vec() * 2))
    assert cached() is cached()
    part = functools.partial(traced_plain, vec(), 4)
    assert part().tolist() == part().tolist() == [4, 8, 12]
    single = functools.singledispatch(trace(lambda x: x + 1))
    assert single(vec()).tolist() == [2, 3, 4]


def test_the_decorator_with_and_without_parentheses():
    @trace()
    def f(x):
        return x + 1

    @trace
    def g(x):
        return x + 1

    for h in (f, g, trace()(lambda x: x + 1)):
        for _ in range(3):
            assert h(vec()).tolist() == [2, 3, 4]
        assert h.cache_info()[:4] == (2, 1, 0, 1)


@pytest.mark.parametrize("options", [{"mode": "fast"}, {"fullgraph": True}, {"function": None}])
def test_unknown_options_raise(options):
    with pytest.raises(TypeError, match=r"unexpected keyword|positional-only"):
        trace(**options)
    with pytest.raises(TypeError, match=r"unexpected keyword|positional-only"):
        trace(lambda x: x, **options)


@pytest.mark.parametrize(
    "thing, said",
    [
        (3, "takes a function, got int"),
        ("f", "takes a function, got str"),
        (nn.Linear, "got the class Linear"),
        (property(lambda self: 1), "below @property"),
        (functools.cached_property(lambda self: 1), "below @cached_property"),
    ],
)
def test_what_cannot_be_traced_says_what_to_write(thing, said):
    with pytest.raises(TypeError, match=said):
        trace(thing)


def test_attributes_of_a_traced_function_are_the_functions():
    @trace
    def f(x):
        return x * f.factor

    f.factor = 2
    assert f.__wrapped__.factor == 2
    for _ in range(3):
        assert f(vec()).tolist() == [2, 4, 6]
    f.factor = 3
    for _ in range(3):
        assert f(vec()).tolist() == [3, 6, 9]
    del f.factor
    with pytest.raises(AttributeError):
        f(vec())


def test_arguments_may_have_any_name():
    @trace
    def f(self, args=0, kwargs=0, /, **more):
        return self + args + kwargs + more["self"] + more["args"]

    for _ in range(3):
        assert f(vec(), 1, 2, self=3, args=4).tolist() == [11, 12, 13]
