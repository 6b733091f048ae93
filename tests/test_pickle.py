"""Public functions and objects can be pickled and copied."""

import copy
import pickle
from types import FunctionType

import pytest
from distribution_expressions import DISTRIBUTIONS

import tracer
from tracer import distributions, fft, func, linalg, nn, optim, special
from tracer import distributions as D
from tracer.distributions import constraints
from tracer.optim import lr_scheduler

PLACES = {
    "tracer": tracer,
    "Tensor": tracer.Tensor,
    "functional": nn.functional,
    "linalg": linalg,
    "fft": fft,
    "special": special,
    "func": func,
}


@pytest.mark.parametrize("place", PLACES)
def test_functions(place):
    where = PLACES[place]
    functions = {name: getattr(where, name) for name in dir(where) if name[0] != "_"}
    functions = {name: f for name, f in functions.items() if isinstance(f, FunctionType)}
    assert functions
    for name, f in functions.items():
        assert pickle.loads(pickle.dumps(f)) is f, name
        assert copy.deepcopy(f) is f, name


def optimizers():
    for name in sorted(vars(optim)):
        kind = getattr(optim, name)
        if isinstance(kind, type) and issubclass(kind, optim.Optimizer) and kind is not optim.Optimizer:
            p = nn.Parameter(tracer.ones(2, 2))
            yield name, kind([p], lr=0.1)


def schedulers():
    arguments = {
        "StepLR": {"step_size": 2},
        "MultiStepLR": {"milestones": [1]},
        "ExponentialLR": {"gamma": 0.9},
        "CosineAnnealingLR": {"T_max": 3},
        "CyclicLR": {"base_lr": 0.1, "max_lr": 1.0},
        "OneCycleLR": {"max_lr": 1.0, "total_steps": 10},
        "ReduceLROnPlateau": {},
    }
    for name, keys in arguments.items():
        optimizer = optim.SGD([nn.Parameter(tracer.ones(2))], lr=0.1, momentum=0.9)
        yield name, getattr(lr_scheduler, name)(optimizer, **keys)


def regions():
    for name, value in vars(constraints).items():
        if isinstance(value, constraints.Constraint):
            yield name, value
    yield "interval", constraints.interval(0, tracer.ones(2))
    yield "multinomial", constraints.multinomial(3)


OBJECTS = {
    "dtype": tracer.bfloat16,
    "size": tracer.Size([1, 2]),
    "device": tracer.device("cpu"),
    "generator": tracer.Generator().manual_seed(5),
    "named results": tracer.max(tracer.ones(2, 2), 0),
    "normal": distributions.Normal(tracer.zeros(2), tracer.ones(2)),
    "transformed": distributions.TransformedDistribution(
        distributions.Normal(tracer.zeros(2), tracer.ones(2)), [distributions.ExpTransform()]
    ),
    "inverse": distributions.ExpTransform().inv,
    **dict(optimizers()),
    **dict(schedulers()),
    **dict(regions()),
}


WAYS = {"copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": lambda x: pickle.loads(pickle.dumps(x))}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("name", OBJECTS)
def test_objects(name, way):
    assert type(way(OBJECTS[name])) is type(OBJECTS[name])


def test_a_region_checks_the_same_after_it_was_pickled():
    x = tracer.tensor([-1.0, 0.0, 0.5, 1.0, 2.0, float("nan")])
    names = ["real", "boolean", "positive", "nonnegative", "unit_interval", "nonnegative_integer", "positive_integer"]
    expected = ["111110", "010100", "001110", "011110", "011100", "010110", "000110"]
    for name, bits in zip(names, expected, strict=True):
        region = pickle.loads(pickle.dumps(getattr(constraints, name)))
        assert "".join(str(int(b)) for b in region.check(x).tolist()) == bits, name


MAPS = {
    "AffineTransform": lambda: D.AffineTransform(1.0, tracer.tensor(2.0)),
    "CatTransform": lambda: D.CatTransform([D.ExpTransform(), D.TanhTransform()], 0, [2, 1]),
    "ComposeTransform": lambda: D.ComposeTransform([D.ExpTransform(), D.AffineTransform(1.0, 2.0)]),
    "CumulativeDistributionTransform": lambda: D.CumulativeDistributionTransform(D.Normal(0.0, 1.0)),
    "IndependentTransform": lambda: D.IndependentTransform(D.ExpTransform(), 1),
    "PowerTransform": lambda: D.PowerTransform(2.0),
    "ReshapeTransform": lambda: D.ReshapeTransform((3,), (3, 1)),
    "StackTransform": lambda: D.StackTransform([D.ExpTransform(), D.TanhTransform(), D.ExpTransform()]),
}
MATRICES = ("LowerCholeskyTransform", "PositiveDefiniteTransform")
ALL_MAPS = sorted(n for n in vars(D) if n.endswith("Transform") and n != "Transform")


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("name", ALL_MAPS)
def test_maps(name, way):
    x = tracer.tensor([[0.5, 0.25], [0.25, 0.75]] if name in MATRICES else [0.5, 0.25, 0.75])
    for cache in (0, 1):
        t = MAPS.get(name, getattr(D, name))().with_cache(cache)
        y, back = t(x), t.with_cache(0).inv(t(x))
        copied, inverse = way(t), way(t.inv)
        assert type(copied) is type(t) and type(inverse) is type(t.inv)
        assert tracer.equal(copied(x), y) and tracer.equal(inverse.inv(x), y)
        for other in (copied.inv, inverse):
            assert tracer.allclose(other(y.clone()), back)
        assert copied.inv.inv is copied


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("made, at", [(made, at) for made, at, _ in DISTRIBUTIONS], ids=[made for made, *_ in DISTRIBUTIONS])
def test_distributions(made, at, way):
    """Used or not, and after lazily computed attributes."""
    m, v = tracer.linspace(-1, 1, 12).reshape(3, 4), tracer.linspace(-1, 1, 5)
    names = {"D": D, "T": tracer, "m": m, "v": v}
    made, at = made.replace(".double()", ""), at.replace(".double()", "")
    for used in (False, True):
        d, value = eval(made, names), eval(at, names)
        value = value.float() if value.dtype is tracer.bool else value
        if used:
            expected = d.log_prob(value)
        copied = way(d)
        assert type(copied) is type(d) and copied.batch_shape == d.batch_shape and copied.event_shape == d.event_shape
        assert repr(copied) == repr(d)
        found = copied.log_prob(value)
        assert tracer.allclose(found, expected if used else d.log_prob(value))
        tracer.manual_seed(2)
        drawn = copied.sample((2,))
        tracer.manual_seed(2)
        assert tracer.equal(drawn, d.sample((2,)))
