"""Optimizers, compared with values recorded from PyTorch 2.13 in float64."""

import pickle

import pytest
from values import flat, leaf

import tracer
from tracer import nn, optim, tensor
from tracer.nn import functional as F


def problem():
    """Two parameters, and a function that sets their gradients."""
    x = leaf([[1, 2, -1], [0.5, -1, 2], [-2, 0.25, 1], [0, 1, 1]]).detach()
    y = leaf([1, -1, 0.5, 2]).detach()
    w, b = leaf([1, -2, 0.5]), leaf([0.25])

    def differentiate():
        w.grad = b.grad = None
        ((tracer.tanh(x @ w + b) - y) ** 2).mean().backward()

    return [w, b], differentiate


# Optimizer, settings, and the parameters after 1, 2 and 20 steps.
# fmt: off
TRAJECTORIES = [
    (optim.SGD, {"lr": 0.1},
     [0.9840836408, -1.9565961617, 0.5470969468, 0.2985151567], [0.9637145093, -1.9029211231, 0.6060090209, 0.3589939485],
     [0.9236438399, -0.79123469, 1.2052594682, 1.3593237124]),
    (optim.SGD, {"lr": 0.1, "momentum": 0.9},
     [0.9840836408, -1.9565961617, 0.5470969468, 0.2985151567], [0.9493897861, -1.8638576686, 0.648396273, 0.4026575895],
     [0.6208804169, 2.9129828854, 2.984252837, 4.6854216621]),
    (optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True},
     [0.9697589176, -1.9175327072, 0.5894841988, 0.3421787976], [0.9089245005, -1.7606036667, 0.7625126576, 0.5196428372],
     [0.8313481244, 2.371614269, 2.4786545999, 4.0938369571]),
    (optim.SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.5},
     [0.9840836408, -1.9565961617, 0.5470969468, 0.2985151567], [0.9595743518, -1.8906951879, 0.6189402359, 0.3724181936],
     [0.6767562228, 1.4573424787, 2.3518397677, 3.4115885784]),
    (optim.SGD, {"lr": 0.1, "weight_decay": 0.1},
     [0.9740836408, -1.9365961617, 0.5420969468, 0.2960151567], [0.9433647801, -1.862445271, 0.5967594548, 0.3548118565],
     [0.8574313713, -0.3013968956, 0.8820584685, 1.3202764874]),
    (optim.SGD, {"lr": 0.05, "momentum": 0.8, "weight_decay": 0.01, "nesterov": True},
     [0.9847752768, -1.9591365455, 0.5419372521, 0.293438641], [0.960535699, -1.8954321492, 0.6083393199, 0.3620018053],
     [1.0693447713, 0.2605793493, 1.3097773615, 2.0620404474]),
    (optim.SGD, {"lr": 0.1, "maximize": True, "weight_decay": 0.1},
     [1.0059163592, -2.0234038383, 0.4479030532, 0.1989848433], [1.0086056723, -2.0386519167, 0.4055234789, 0.1577027119],
     [0.9462166344, -1.9936546552, 0.0972119475, -0.1478356742]),
    (optim.Adam, {"lr": 0.1},
     [0.9000000063, -1.9000000023, 0.5999999979, 0.3499999979], [0.8038975279, -1.8012118281, 0.6983513478, 0.4484257828],
     [0.2634659863, -0.307945446, 1.7581534796, 1.7667990339]),
    (optim.Adam, {"lr": 0.05, "betas": (0.8, 0.9), "eps": 0.001},
     [0.9503121808, -1.9501149324, 0.5498940609, 0.2998971514], [0.9008582139, -1.9002077347, 0.5997683534, 0.3497822653],
     [0.3782076254, -1.0780107015, 1.366208214, 1.1337444316]),
    (optim.Adam, {"lr": 0.1, "weight_decay": 0.1},
     [0.9000000039, -1.9000000016, 0.5999999976, 0.3499999978], [0.8015045699, -1.8003922934, 0.6980769253, 0.4483609631],
     [0.1499585457, -0.2667625983, 1.5665398748, 1.6392050969]),
    (optim.Adam, {"lr": 0.1, "maximize": True},
     [1.0999999937, -2.0999999977, 0.4000000021, 0.1500000021], [1.1914695949, -2.1958487769, 0.3050233896, 0.0547910781],
     [1.970099278, -3.1332690134, -0.2789989139, -0.6561824024]),
]
# fmt: on


@pytest.mark.parametrize(("kind", "settings", "one", "two", "twenty"), TRAJECTORIES, ids=[str(c[:2]) for c in TRAJECTORIES])
def test_trajectory(kind, settings, one, two, twenty):
    params, differentiate = problem()
    optimizer = kind(params, **settings)
    seen = {}
    for i in range(1, 21):
        differentiate()
        optimizer.step()
        seen[i] = flat(params[0]) + flat(params[1])
    for i, expected in ((1, one), (2, two), (20, twenty)):
        assert seen[i] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam])
def test_single_precision_follows_double(kind):
    settings = {"lr": 0.05, "momentum": 0.9} if kind is optim.SGD else {"lr": 0.05}
    found = []
    for dtype in (tracer.float64, tracer.float32):
        w = tensor([1.0, -2.0], dtype=dtype, requires_grad=True)
        optimizer = kind([w], **settings)
        for _ in range(20):
            optimizer.zero_grad()
            (w * w * tensor([1.0, 3.0], dtype=dtype)).sum().backward()
            optimizer.step()
        assert w.dtype is dtype
        found.append(w.tolist())
    assert found[1] == pytest.approx(found[0], abs=1e-5)


def test_groups():
    a, b, c = leaf([1]), leaf([1]), leaf([1])
    optimizer = optim.SGD([{"params": [a], "lr": 0.5}, {"params": b}], lr=0.25)
    optimizer.add_param_group({"params": [c], "lr": 1.0})
    assert [g["lr"] for g in optimizer.param_groups] == [0.5, 0.25, 1.0]
    assert all(g["momentum"] == 0 for g in optimizer.param_groups)
    (a + b + c).sum().backward()
    optimizer.step()
    assert (a.item(), b.item(), c.item()) == (0.5, 0.75, 0)
    optimizer.param_groups[0]["lr"] = 0.125
    optimizer.step()
    assert a.item() == 0.375
    with pytest.raises(ValueError, match="some parameters appear in more than one parameter group"):
        optimizer.add_param_group({"params": [a]})


def test_parameters_without_gradients_stay():
    a, b = leaf([1]), leaf([1])
    optimizer = optim.Adam(iter([a, b]), lr=0.1)
    a.sum().backward()
    optimizer.step()
    assert a.item() == pytest.approx(0.9)
    assert b.item() == 1
    assert b not in optimizer.state


def test_zero_grad():
    a = leaf([1])
    optimizer = optim.SGD([a], lr=0.1)
    a.sum().backward()
    kept = a.grad
    optimizer.zero_grad(set_to_none=False)
    assert a.grad is kept
    assert kept.item() == 0
    optimizer.zero_grad()
    assert a.grad is None


def test_a_step_keeps_the_parameter_and_its_memory():
    a = leaf([1, 2])
    where = a.data_ptr()
    optimizer = optim.Adam([a], lr=0.1)
    a.sum().backward()
    optimizer.step()
    assert (a.data_ptr(), a.is_leaf, a.requires_grad) == (where, True, True)


def test_step_with_a_closure():
    a = leaf([1])
    optimizer = optim.SGD([a], lr=0.5)

    def closure():
        optimizer.zero_grad()
        loss = (a * a).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 1
    assert a.item() == 0


@pytest.mark.parametrize(
    ("kind", "settings"), [(optim.SGD, {"lr": 0.1, "momentum": 0.9}), (optim.Adam, {"lr": 0.1})], ids=["SGD", "Adam"]
)
def test_state_dict_round_trip(kind, settings):
    """Saved after 5 steps and loaded elsewhere, it continues identically."""

    def steps(optimizer, differentiate, n):
        for _ in range(n):
            differentiate()
            optimizer.step()

    params, differentiate = problem()
    optimizer = kind(params, **settings)
    steps(optimizer, differentiate, 5)
    saved = pickle.loads(pickle.dumps(optimizer.state_dict()))
    others, differentiate_others = problem()
    for p, q in zip(params, others, strict=True):
        q.detach().copy_(p.detach())
    steps(optimizer, differentiate, 5)

    other = kind(others, lr=123.0)
    other.load_state_dict(saved)
    assert other.param_groups[0]["lr"] == 0.1
    steps(other, differentiate_others, 5)
    assert flat(others[0]) + flat(others[1]) == flat(params[0]) + flat(params[1])


def test_state_dict_contents():
    a, b = leaf([1]), leaf([1])
    optimizer = optim.Adam([{"params": [a]}, {"params": [b], "lr": 0.5}], lr=0.1)
    (a + 2 * b).sum().backward()
    optimizer.step()
    state = optimizer.state_dict()
    assert [(g["params"], g["lr"]) for g in state["param_groups"]] == [([0], 0.1), ([1], 0.5)]
    assert list(state["state"]) == [0, 1]
    assert state["state"][1]["step"].item() == 1
    assert state["state"][1]["exp_avg"].item() == pytest.approx(0.2)
    assert state["state"][1]["exp_avg_sq"].item() == pytest.approx(0.004)
    assert optim.SGD([a], lr=0.1).state_dict()["state"] == {}


def test_load_state_dict_errors():
    optimizer = optim.SGD([leaf([1])], lr=0.1)
    with pytest.raises(ValueError, match="loaded state dict has a different number of parameter groups"):
        optimizer.load_state_dict({"state": {}, "param_groups": []})
    with pytest.raises(ValueError, match="loaded state dict contains a parameter group that doesn't match the size of"):
        optimizer.load_state_dict({"state": {}, "param_groups": [{"params": [0, 1]}]})


def test_a_model_learns():
    tracer.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))
    optimizer = optim.Adam(model.parameters(), lr=0.05)
    x, target = tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), tensor([0, 1, 1, 0])
    for _ in range(150):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), target)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05
    assert model(x).argmax(1).tolist() == target.tolist()


@pytest.mark.parametrize("many", [False, True])
def test_averages_count_whatever_the_parameters_are(many):
    """300 is not representable in bfloat16."""
    model, seen = nn.Linear(1, 1).bfloat16(), []
    kind = "multi_avg_fn" if many else "avg_fn"
    averaged = optim.swa_utils.AveragedModel(model, **{kind: lambda a, b, n: seen.append(n.tolist()) or a})
    averaged.update_parameters(model)
    averaged.n_averaged.fill_(299)
    averaged.update_parameters(model)
    assert set(seen) == {299} and averaged.n_averaged.item() == 300


@pytest.mark.parametrize("dtype", [tracer.float32, tracer.bfloat16, tracer.float16])
def test_the_default_epsilon_of_adafactor_is_that_of_the_parameters_dtype(dtype):
    values, scales = [[1.0, 2.0], [0.5, -1.0]], tensor([[1e-2, 1e-3], [1.0, 0.0]], dtype=dtype)
    steps = []
    for eps in (None, tracer.finfo(dtype).eps):
        w = tensor(values, dtype=dtype, requires_grad=True)
        optimizer = optim.Adafactor([w], lr=0.1, eps=(eps, 1e-3))
        for _ in range(3):
            optimizer.zero_grad()
            (w * scales).square().sum().backward()
            optimizer.step()
        steps.append(w.tolist())
    assert steps[0] == steps[1]


# Parameters after 8 steps from [1 + 2j, -0.5 + 0.1j] for the sum of |p - 0.3j|^2, by PyTorch 2.13: real and imaginary parts are
# updated separately, and states are complex.
# fmt: off
COMPLEX = [
    ("SGD", {}, [(0.16777216+0.58521267j), (-0.08388608+0.26644557j)]),
    ("SGD", {"momentum": 0.9}, [(-0.52281566-0.58878662j), (0.26140783+0.40456313j)]),
    ("ASGD", {}, [(0.16776419+0.58518664j), (-0.0838821+0.26643468j)]),
    ("Rprop", {}, [(-0.2915904+0.35009152j), (-0.0064+0.326j)]),
    ("Adagrad", {}, [(0.60410521+1.58592941j), (-0.15441211+0.29809939j)]),
    ("Adagrad", {"initial_accumulator_value": 0.5}, [(0.61448648+1.58985922j), (-0.18262366+0.2731652j)]),
    ("Adadelta", {}, [(0.99732693+1.99732609j), (-0.49732899+0.1026648j)]),
    ("RMSprop", {}, [(0+0.30278049j), (-0.0005887+0.29998631j)]),
    ("RMSprop", {"momentum": 0.9}, [(0.55081976+1.29993483j), (0.53756084+0.92929299j)]),
    ("Adam", {}, [(0.23626372+1.21553259j), (0.15694601+0.33584451j)]),
    ("Adam", {"amsgrad": True}, [(0.23626372+1.21553259j), (0.15694601+0.33584543j)]),
    ("AdamW", {}, [(0.23154808+1.20276653j), (0.15736876+0.3349975j)]),
    ("NAdam", {}, [(0.43778707+1.40207703j), (-0.04014088+0.31228534j)]),
    ("RAdam", {}, [(0.19408386+0.635234j), (-0.09326823+0.26720086j)]),
    ("Adamax", {}, [(0.34336208+1.28599711j), (0.03254951+0.36893014j)]),
    ("LBFGS", {}, [(2.32e-05+0.30003944j), (-1.16e-05+0.29999536j)]),
]
# fmt: on


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize(("name", "settings", "expected"), COMPLEX, ids=[f"{n}{s or ''}" for n, s, _ in COMPLEX])
def test_complex_parameters(name, settings, expected, traced):
    p = nn.Parameter(tensor([1 + 2j, -0.5 + 0.1j], dtype=tracer.complex128))
    optimizer = getattr(optim, name)([p], lr=0.1, **settings)

    def closure():
        optimizer.zero_grad()
        loss = ((p - 0.3j).abs() ** 2).sum()
        loss.backward()
        return loss

    def step():
        return optimizer.step(closure)

    step = tracer.trace(step) if traced else step
    for _ in range(8):
        step()
    assert p.tolist() == pytest.approx(expected, abs=1e-7)
    assert not traced or not step.eager_reasons
    own = [
        k for k in ("exp_avg", "exp_avg_sq", "square_avg", "momentum_buffer", "prev", "sum", "ax") if k in optimizer.state[p]
    ]
    assert all(optimizer.state[p][k].dtype is tracer.complex128 and optimizer.state[p][k].shape == p.shape for k in own)


@pytest.mark.parametrize("kind", [optim.Adafactor, optim.Muon])
def test_optimizers_that_refuse_complex_parameters(kind):
    p = nn.Parameter(tracer.ones(2, 2, dtype=tracer.complex64))
    p.grad = tracer.ones(2, 2, dtype=tracer.complex64)
    with pytest.raises(RuntimeError, match=f"{kind.__name__} does not support complex parameters"):
        kind([p]).step()


@pytest.mark.parametrize(
    "make",
    [
        lambda o: optim.lr_scheduler.ExponentialLR(o, 0.5),
        lambda o: optim.lr_scheduler.CyclicLR(o, 0.5, 1.0, cycle_momentum=False),
        lambda o: optim.lr_scheduler.SequentialLR(
            o, [optim.lr_scheduler.ConstantLR(o), optim.lr_scheduler.ExponentialLR(o, 0.9)], [2]
        ),
        lambda o: optim.lr_scheduler.ReduceLROnPlateau(o, patience=0),
    ],
)
def test_schedules_fill_a_rate_that_is_a_tensor(make):
    def rates(lr):
        optimizer = optim.SGD([leaf([1.0])], lr=lr)
        schedule = make(optimizer)
        found = []
        for _ in range(4):
            optimizer.step()
            schedule.step(*[1.0] * isinstance(schedule, optim.lr_scheduler.ReduceLROnPlateau))
            found.append(float(optimizer.param_groups[0]["lr"]))
            assert not isinstance(lr, tracer.Tensor) or optimizer.param_groups[0]["lr"] is lr
            assert float(schedule.get_last_lr()[0]) == found[-1]
        return found

    assert rates(tensor(1.0)) == pytest.approx(rates(1.0), rel=1e-6)
