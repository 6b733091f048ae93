"""Patterns of published programs for PyTorch that tracing must see through, and not get wrong."""

import abc
import collections
import contextlib
import contextvars
import dataclasses
import functools
import importlib.metadata
import importlib.util
import inspect
import logging
import sys
import threading
import typing
import warnings

import einops
import pytest

import tracer
from tracer import nn

collector = contextvars.ContextVar("collector", default=None)
scale = contextvars.ContextVar("scale")
logger = logging.getLogger(__name__)


def replays(f, *args, calls=4):
    """The results of several calls. At least one is replayed, and none differs from the function's."""
    found = [f(*args) for _ in range(calls)]
    wanted = f.function(*args)
    assert all(tracer.equal(x, wanted) for x in found)
    assert f.cache_info().replays > 0, f.explain()
    return found[-1]


# Context variables.


def captured(forward):
    """Collects intermediate results while ``forward`` runs, as decorators of models do."""

    @functools.wraps(forward)
    def wrapper(self, x):
        token = collector.set({"states": []})
        try:
            y = forward(self, x)
            return y + sum(collector.get()["states"])
        finally:
            collector.reset(token)

    return wrapper


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.layer.register_forward_hook(self.collect)

    @staticmethod
    def collect(module, args, output):
        found = collector.get()
        if found is not None:
            found["states"].append(output)

    @captured
    def forward(self, x):
        return self.layer(x).relu()


def test_a_context_variable_of_one_call():
    model = Model()
    step = tracer.trace(lambda x: model(x))
    replays(step, tracer.ones(3, 2))
    assert collector.get() is None


def test_a_context_variable_is_read_anew():
    f = tracer.trace(lambda x: x * scale.get(2.0))
    x = tracer.ones(2)
    assert replays(f, x).tolist() == [2, 2]
    token = scale.set(3.0)
    assert replays(f, x).tolist() == [3, 3]
    found = []
    thread = threading.Thread(target=lambda: found.append(f(x).tolist()))  # a thread has its own values
    thread.start()
    thread.join()
    assert found == [[2, 2]] and f(x).tolist() == [3, 3]
    scale.reset(token)
    assert f(x).tolist() == [2, 2]


def test_a_context_variable_that_is_set_stays_set():
    @tracer.trace
    def f(x):
        scale.set(x.sum())
        return x + 1

    def run():
        for i in range(5):
            f(tracer.full((2,), float(i)))
            assert scale.get().item() == 2 * i
        assert f.cache_info().replays

    contextvars.copy_context().run(run)
    assert scale.get(None) is None


# Context managers from generator functions, as decorators.

flags = {"fast": False}


@contextlib.contextmanager
def faster(value):
    before, flags["fast"] = flags["fast"], value
    try:
        yield
    finally:
        flags["fast"] = before


class Initialised(nn.Module):
    @faster(True)
    def prepare(self):
        return flags["fast"]

    @faster(True)
    def forward(self, x):
        return x * 2 if flags["fast"] else x


def test_context_managers_as_decorators():
    model = Initialised()
    assert replays(tracer.trace(lambda x: model(x)), tracer.ones(2)).tolist() == [2, 2]
    assert not flags["fast"]


def test_a_context_manager_that_can_be_entered_once():
    manager = faster(True)

    @tracer.trace
    def f(x):
        with manager:
            return x * 2

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        f(tracer.ones(1))
        for _ in range(2):
            with pytest.raises((RuntimeError, AttributeError)):
                f(tracer.ones(1))


# What is installed, and what has been imported.


def test_names_in_sys_modules():
    @tracer.trace
    def f(x):
        return x * 2 if "a_module_of_this_test" in sys.modules else x + 1

    x = tracer.ones(2) * 3
    try:
        assert replays(f, x).tolist() == [4, 4]
        sys.modules["a_module_of_this_test"] = sys
        assert replays(f, x).tolist() == [6, 6]
    finally:
        sys.modules.pop("a_module_of_this_test", None)
    assert f(x).tolist() == [4, 4]


def test_einops():
    f = tracer.trace(lambda x: einops.rearrange(x, "a b -> b a") + einops.repeat(x.sum(1), "a -> b a", b=3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        replays(f, tracer.randn(2, 3), calls=6)


@functools.lru_cache
def is_available(name):
    return importlib.util.find_spec(name) is not None


@functools.lru_cache
def version_of(name):
    return importlib.metadata.version(name) if is_available(name) else "0"


def test_availability_that_is_asked_for_once():
    def f(x):
        if is_available("numpy") and version_of("numpy") >= "2":
            x = x * 2
        return x + 1

    f(tracer.ones(2))
    assert replays(tracer.trace(f), tracer.ones(2)).tolist() == [3, 3]


def test_imports_in_functions():
    @tracer.trace
    def f(x):
        import colorsys
        from math import sqrt

        return x * sqrt(4.0) + colorsys.rgb_to_hsv(0.5, 0.5, 0.5)[2]

    assert replays(f, tracer.ones(1)).tolist() == [2.5]


# Decorators that look at signatures; classes that behave like dicts and tuples.


def defaults(forward):
    @functools.wraps(forward)
    def wrapper(self, *args, **kwargs):
        bound = inspect.signature(forward).bind(self, *args, **kwargs)
        bound.apply_defaults()
        return forward(*bound.args, **bound.kwargs)

    return wrapper


class Output(collections.OrderedDict):
    """A dict whose values are attributes too."""

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __getitem__(self, key):
        return super().__getitem__(key) if isinstance(key, str) else tuple(self.values())[key]


@dataclasses.dataclass
class Config:
    width: int = 2
    act: str = "relu"
    extra: dict = dataclasses.field(default_factory=dict)

    def __getattribute__(self, key):
        return super().__getattribute__({"hidden": "width"}.get(key, key))


class Activation(abc.ABC):
    @abc.abstractmethod
    def __call__(self, x): ...


class Relu(Activation):
    def __call__(self, x):
        return x.relu()


class Kwargs(typing.TypedDict, total=False):
    scale: float


class Decorated(nn.Module):
    config_class = Config

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList([nn.Linear(config.hidden, config.hidden) for _ in range(2)])
        self.act = {"relu": Relu}[config.act]()

    @defaults
    def forward(self, x, scale: float | None = 2.0, **kwargs: typing.Unpack[Kwargs]):
        logger.debug("a call with %s", x.shape)
        for layer in self.layers:
            x = layer(x)
            if isinstance(self.act, Activation):
                x = self.act(x)
        if getattr(self.config, "missing", None) is not None:
            warnings.warn("this is deprecated", FutureWarning, stacklevel=2)
        return Output(logits=x * scale, states=None if not kwargs else (x,))


def test_models_with_decorators():
    model = Decorated(Config())
    optimizer = tracer.optim.Adam(model.parameters())

    @tracer.trace
    def step(x):
        optimizer.zero_grad()
        out = model(x)
        loss = out.logits.square().mean() + out[0].sum() * 0
        loss.backward()
        optimizer.step()
        return loss

    for _ in range(5):
        step(tracer.ones(4, 2))
    assert step.cache_info().replays > 0, step.explain()


def test_a_deprecation_that_is_told_once():
    def f(x):
        warnings.warn("use g", DeprecationWarning, stacklevel=2)
        return x + 1

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("default")
        replays(tracer.trace(f), tracer.ones(1))
    assert sum("use g" in str(w.message) for w in told) <= 2  # one for each calling line
