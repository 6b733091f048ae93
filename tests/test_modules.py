"""Lazy modules, fractional pooling, and losses over many classes; import paths of modules."""

import importlib
import pickle

import numpy as np
import pytest

import tracer
import tracer.nn.functional as F
from tracer import nn


def draw(*shape, seed=0):
    return tracer.tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


LAZY = {
    "Linear": ((7,), (4, 3), (3,)),
    "Conv1d": ((6, 3), (2, 4, 9), (4,)),
    "Conv2d": ((6, 3), (2, 4, 9, 9), (4,)),
    "Conv3d": ((6, 3), (2, 4, 5, 5, 5), (4,)),
    "ConvTranspose1d": ((6, 3), (2, 4, 9), (4,)),
    "ConvTranspose2d": ((6, 3), (2, 4, 5, 5), (4,)),
    "ConvTranspose3d": ((6, 3), (2, 4, 3, 3, 3), (4,)),
    "BatchNorm1d": ((), (5, 4), (4,)),
    "BatchNorm2d": ((), (5, 4, 3, 3), (4,)),
    "BatchNorm3d": ((), (5, 4, 2, 2, 2), (4,)),
    "InstanceNorm1d": ((), (5, 4, 6), (4,)),
    "InstanceNorm2d": ((), (5, 4, 3, 3), (4,)),
    "InstanceNorm3d": ((), (5, 4, 2, 3, 2), (4,)),
}


@pytest.mark.parametrize("name", LAZY)
def test_lazy(name):
    """The first call determines the shapes; then the module equals an ordinary one."""
    arguments, shape, width = LAZY[name]
    more = {"affine": True, "track_running_stats": True} if "Norm" in name else {}
    lazy = getattr(nn, "Lazy" + name)(*arguments, **more)
    assert isinstance(lazy, getattr(nn, name)) and lazy.has_uninitialized_params()
    x = draw(*shape)
    out = lazy(x)
    assert type(lazy) is getattr(nn, name)
    made = getattr(nn, name)(*width, *arguments, **more)
    assert {k: v.shape for k, v in made.state_dict().items()} == {k: v.shape for k, v in lazy.state_dict().items()}
    made.load_state_dict(lazy.state_dict())
    if "Norm" in name:  # the first call has moved the running means
        made.reset_running_stats()
    assert tracer.allclose(made(x), out)
    out.sum().backward()
    assert all(p.grad.shape == p.shape for p in lazy.parameters())
    assert repr(lazy) == repr(made)


def test_lazy_modules_take_a_state_or_refuse():
    lazy = nn.Sequential(nn.LazyLinear(3), nn.ReLU(), nn.LazyLinear(2))
    done = nn.Sequential(nn.Linear(5, 3), nn.ReLU(), nn.Linear(3, 2))
    with pytest.raises(RuntimeError, match="uninitialized parameter"):
        lazy[0].weight.shape  # noqa: B018
    assert all(nn.parameter.is_lazy(t) for t in lazy.state_dict().values())
    with pytest.raises(RuntimeError, match="uninitialized parameter"):
        done.load_state_dict(lazy.state_dict())
    lazy.load_state_dict(lazy.state_dict())
    lazy.load_state_dict(done.state_dict())
    x = draw(4, 5)
    assert tracer.equal(lazy(x), done(x))
    again = pickle.loads(pickle.dumps(nn.LazyLinear(3)))
    assert again(x).shape == (4, 3)
    f = tracer.trace(lazy)
    for _ in range(3):
        assert tracer.allclose(f(x), done(x))


@pytest.mark.parametrize(
    "name, shape", [("2d", (2, 3, 9, 11)), ("2d", (3, 8, 7)), ("3d", (2, 3, 7, 6, 9)), ("3d", (2, 6, 7, 8))]
)
@pytest.mark.parametrize("how", [{"output_size": 4}, {"output_ratio": 0.6}])
def test_fractional_pooling(name, shape, how):
    """Results are maxima of ordered windows; gradients go to the indices."""
    axes = int(name[0])
    x = draw(*shape).requires_grad_()
    pool = getattr(nn, f"FractionalMaxPool{name}")(2, return_indices=True, **how)
    out, where = pool(x)
    sizes = [4] * axes if "output_size" in how else [int(0.6 * n) for n in shape[-axes:]]
    assert tuple(out.shape) == (*shape[:-axes], *sizes) and where.dtype is tracer.int64
    flat = x.detach().reshape(*shape[:-axes], -1)
    assert tracer.equal(flat.gather(-1, where.reshape(*shape[:-axes], -1)), out.detach().reshape(*shape[:-axes], -1))
    places = np.stack(np.unravel_index(where.cpu().numpy(), shape[-axes:]), -1)
    for axis in range(axes):
        along = np.moveaxis(places[..., axis], -axes + axis, -1)
        assert (np.diff(along, axis=-1) >= -1).all() and along.min() >= 0  # windows of 2 overlap by at most 1
        assert along[..., -1].min() >= shape[-axes + axis] - 2  # the last window ends where the axis does
    out.sum().backward()
    counts = np.zeros(flat.shape, np.float32)
    for i, row in enumerate(where.cpu().numpy().reshape(-1, int(np.prod(sizes)))):
        np.add.at(counts.reshape(-1, counts.shape[-1])[i], row, 1)
    assert np.array_equal(x.grad.cpu().numpy().reshape(counts.shape), counts)


def test_fractional_pooling_is_decided_by_its_samples():
    x, samples = draw(2, 3, 9, 9), tracer.rand(2, 3, 2)
    once, again = (F.fractional_max_pool2d(x, 3, output_size=(4, 5), _random_samples=samples) for _ in range(2))
    assert tracer.equal(once, again)
    tracer.manual_seed(0)
    drawn = F.fractional_max_pool2d(x, 3, output_size=4)
    tracer.manual_seed(0)
    assert tracer.equal(F.fractional_max_pool2d(x, 3, output_size=4), drawn)
    for wrong in ({}, {"output_ratio": 1.5}, {"output_size": 9}):
        with pytest.raises((ValueError, RuntimeError)):
            F.fractional_max_pool2d(x, 3, **wrong)


@pytest.mark.parametrize("bias", [False, True])
def test_adaptive_log_softmax(bias):
    """Probabilities sum to 1, and the loss agrees with them."""
    m = nn.AdaptiveLogSoftmaxWithLoss(8, 20, [5, 11], div_value=2.0, head_bias=bias)
    x, classes = draw(6, 8).requires_grad_(), tracer.tensor([0, 4, 5, 12, 19, 10])
    everything = m.log_prob(x)
    assert everything.shape == (6, 20) and tracer.allclose(everything.exp().sum(1), tracer.ones(6))
    expected = everything[tracer.arange(6), classes]
    result = m(x, classes)
    assert tracer.allclose(result.output, expected) and tracer.allclose(result.loss, -expected.mean())
    weights = [x, *m.parameters()]
    for a, b in zip(tracer.autograd.grad(result.loss, weights), tracer.autograd.grad(-expected.mean(), weights), strict=True):
        assert tracer.allclose(a, b, atol=1e-6)
    assert tracer.equal(m.predict(x), everything.argmax(1))
    alone = m(x[3], classes[3])
    assert alone.output.shape == () and tracer.allclose(alone.output, expected[3])
    for wrong in ([1, 1], [0, 3], [3, 20], []):
        with pytest.raises(ValueError, match="cutoffs"):
            nn.AdaptiveLogSoftmaxWithLoss(8, 20, wrong)
    for target in (tracer.tensor([20] * 6), tracer.zeros(2, 2, dtype=tracer.int64), tracer.tensor(1), tracer.tensor([1, 2])):
        with pytest.raises(RuntimeError):
            m(x, target)


@pytest.mark.parametrize("sizes, bias", [((), False), ((), True), ((4, 3), True)])
def test_linear_cross_entropy(sizes, bias):
    loss = nn.LinearCrossEntropyLoss(5, 10, out_features=sizes, bias=bias, label_smoothing=0.1, weight=tracer.arange(10.0) + 1)
    x = draw(2, 5)
    target = tracer.tensor(np.random.default_rng(1).integers(0, 10, (2, *sizes)))
    logits = (x @ loss.linear.weight.T + (loss.linear.bias if bias else 0)).reshape(2, 10, *sizes)
    assert tracer.allclose(loss(x, target), F.cross_entropy(logits, target, loss.weight, label_smoothing=0.1))
    assert list(loss.state_dict()) == ["weight", "linear.weight", *(["linear.bias"] if bias else [])]
    assert "num_classes=10" in repr(loss)
    with pytest.raises(RuntimeError, match="ignore_index"):
        nn.LinearCrossEntropyLoss(5, 10, ignore_index=1)(x, tracer.ones(2, 10) / 10)


def test_sparse_adam_refuses_dense_gradients():
    p = nn.Parameter(tracer.ones(2))
    optimizer = tracer.optim.SparseAdam([p], lr=0.1)
    optimizer.step()
    p.sum().backward()
    with pytest.raises(RuntimeError, match="does not support dense gradients"):
        optimizer.step()
    with pytest.raises(ValueError, match="Invalid learning rate"):
        tracer.optim.SparseAdam([p], lr=-1.0)


PATHS = {
    "nn.modules.rnn": "LSTM GRUCell",
    "nn.modules.linear": "Linear Bilinear Identity",
    "nn.modules.conv": "Conv2d ConvTranspose1d",
    "nn.modules.batchnorm": "BatchNorm2d",
    "nn.modules.instancenorm": "InstanceNorm1d",
    "nn.modules.normalization": "LayerNorm GroupNorm RMSNorm",
    "nn.modules.activation": "ReLU MultiheadAttention GELU",
    "nn.modules.loss": "CrossEntropyLoss MSELoss",
    "nn.modules.pooling": "MaxPool2d AdaptiveAvgPool2d FractionalMaxPool2d",
    "nn.modules.padding": "ZeroPad2d ReflectionPad1d",
    "nn.modules.dropout": "Dropout AlphaDropout",
    "nn.modules.container": "Sequential ModuleList ParameterDict",
    "nn.modules.module": "Module",
    "nn.modules.sparse": "Embedding EmbeddingBag",
    "nn.modules.transformer": "TransformerEncoderLayer",
    "nn.modules.adaptive": "AdaptiveLogSoftmaxWithLoss",
    "nn.modules.upsampling": "Upsample",
    "nn.modules.pixelshuffle": "PixelShuffle",
    "nn.modules.flatten": "Flatten",
    "nn.modules.fold": "Fold",
    "nn.modules.distance": "CosineSimilarity",
    "nn.modules.lazy": "LazyModuleMixin",
    "nn.parameter": "Parameter UninitializedParameter",
    "nn.init": "xavier_uniform_",
    "nn.functional": "relu",
    "nn.utils.rnn": "pack_padded_sequence",
    "nn.utils.clip_grad": "clip_grad_norm_",
    "nn.utils.parametrizations": "weight_norm",
    "nn.utils.parametrize": "register_parametrization",
    "optim.adam": "Adam",
    "optim.adamw": "AdamW",
    "optim.sgd": "SGD",
    "optim.sparse_adam": "SparseAdam",
    "optim.lr_scheduler": "StepLR",
    "optim.optimizer": "Optimizer",
    "optim.swa_utils": "AveragedModel",
    "utils.data.dataloader": "DataLoader default_collate",
    "utils.data.dataset": "Dataset TensorDataset Subset",
    "utils.data.sampler": "RandomSampler",
    "utils.checkpoint": "checkpoint",
    "utils._pytree": "tree_map",
    "autograd.function": "Function",
    "autograd.functional": "jacobian",
    "autograd.grad_mode": "no_grad",
    "autograd.graph": "save_on_cpu",
    "distributions.constraints": "positive",
    "distributions.transforms": "ExpTransform",
    "distributions.kl": "kl_divergence",
    "distributions.utils": "broadcast_all",
    "distributions.normal": "Normal",
    "distributions.multivariate_normal": "MultivariateNormal",
    "distributions.transformed_distribution": "TransformedDistribution",
    "distributions.wishart": "Wishart",
    "distributions.studentT": "StudentT",
    "distributions.relaxed_categorical": "RelaxedOneHotCategorical ExpRelaxedCategorical",
}


@pytest.mark.parametrize("path", PATHS)
def test_paths(path):
    """Modules are found under PyTorch's paths, and are the same objects."""
    module = importlib.import_module(f"tracer.{path}")
    where = tracer
    for part in path.split("."):
        where = getattr(where, part)
    assert where is module
    package = importlib.import_module("tracer." + path.rpartition(".")[0])
    for name in PATHS[path].split():
        found = getattr(module, name)
        assert not isinstance(found, type) or getattr(package, name, found) is found


@pytest.mark.parametrize("name", ["Adafactor", "Muon"])
def test_complex_parameters_are_refused(name):
    p = nn.Parameter(tracer.ones(2, 2, dtype=tracer.complex64))
    optimizer = getattr(tracer.optim, name)([p])
    p.grad = tracer.ones_like(p)
    with pytest.raises(RuntimeError, match=f"{name} does not support complex parameters"):
        optimizer.step()


# Private names of PyTorch's Module, which programs override; others are free for programs to use.
PRIVATE = {
    *("_apply", "_backward_hooks", "_backward_pre_hooks", "_buffers", "_forward_hooks", "_forward_pre_hooks", "_get_name"),
    *("_load_from_state_dict", "_modules", "_non_persistent_buffers_set", "_parameters", "_register_load_state_dict_pre_hook"),
    *("_register_state_dict_hook", "_save_to_state_dict", "_version"),
}


def test_attributes_of_programs_do_not_meet_private_ones():
    layer = nn.Linear(2, 2)
    layer.register_forward_hook(lambda *args: None)
    layer.register_state_dict_pre_hook(lambda *args: None)
    nn.utils.parametrizations.weight_norm(layer)
    names = {name for name in (*dir(nn.Module), *vars(layer)) if name.startswith("_") and not name.startswith("__")}
    assert {n for n in names - PRIVATE if not n.startswith(("_tracer_", "_Module__", "_Stateful__"))} == set()


@pytest.mark.parametrize("traced", [False, True])
def test_a_module_with_its_own_hooks(traced):
    class Recorder(nn.Module):
        def __init__(self):
            super().__init__()
            self._hooks, self._computed, self._transient, self._state_hooks = [], None, None, 3
            self.layer, self._forget = nn.Linear(2, 2), nn.Linear(2, 2)

        def _find(self):
            return self.layer

        _named = _add_hook = _check_name = _own_state = _find

        def forward(self, x):
            return self._forget(self._find()(x))

    m = Recorder()
    f = tracer.trace(m) if traced else m
    x = tracer.ones(3, 2)
    for _ in range(3):
        assert tracer.allclose(f(x), m._forget(m.layer(x)))
    handle = m.register_forward_hook(lambda module, args, out: out * 2)
    assert tracer.allclose(m(x), 2 * m._forget(m.layer(x)))
    handle.remove()
    assert m._hooks == [] and list(m.state_dict()) == ["layer.weight", "layer.bias", "_forget.weight", "_forget.bias"]
    m.double()
    assert m.layer.weight.dtype == tracer.float64 and len(list(m.named_parameters())) == 4


def test_optimizers_and_schedules_with_attributes_of_their_own():
    class Schedule(tracer.optim.lr_scheduler.LRScheduler):
        def __init__(self, optimizer):
            self._rates, self._set = [], set()
            super().__init__(optimizer)

        def get_lr(self):
            self._rates.append(0.5)
            return [0.5 for _ in self.optimizer.param_groups]

    class Optimizer(tracer.optim.Adam):
        def __init__(self, params, lr):
            super().__init__(params, lr)
            self._state, self._hooks, self._update_group, self._call_hooks = {}, [], None, None

    def trained(make, schedule, dtype, wrap):
        p = tracer.ones(2, dtype=dtype, requires_grad=True)
        optimizer = make([p], 0.5 if schedule is None else 0.1)
        schedule = schedule(optimizer) if schedule is not None else None

        def step():
            optimizer.zero_grad()
            (p * p).sum().backward()
            optimizer.step()

        f = wrap(step)
        for _ in range(3):
            f()
            if schedule is not None:
                schedule.step()
        return p.detach(), schedule

    for dtype in (tracer.float32, tracer.float64):
        for wrap in (lambda f: f, tracer.trace):
            found, schedule = trained(Optimizer, Schedule, dtype, wrap)
            assert tracer.equal(found, trained(tracer.optim.Adam, None, dtype, wrap)[0]) and len(schedule._rates) == 4
