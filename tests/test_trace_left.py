"""Objects that traced functions leave: hooks, and dicts whose keys are tensors."""

from collections import defaultdict

import tracer
from tracer import nn, optim
from tracer.nn import functional as F
from tracer.optim.swa_utils import AveragedModel


def test_a_hook_that_refers_to_a_tensor_of_the_run():
    layer = nn.Linear(4, 4)

    def step(x):
        layer.zero_grad()
        z = layer(x)
        z0 = z.detach().requires_grad_()
        z.register_hook(lambda g: g + z0.detach())
        z.sum().backward()
        return z.detach(), layer.weight.grad.clone()

    traced = tracer.trace(step)
    for seed in range(6):
        tracer.manual_seed(seed)
        x = tracer.randn(3, 4)
        for a, b in zip(traced(x), step(x), strict=True):
            assert tracer.allclose(a, b, atol=1e-6)
    assert traced.cache_info().replays >= 4


def test_a_backward_hook_of_the_first_module():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    model[0].register_full_backward_hook(lambda module, inputs, outputs: None)

    @tracer.trace
    def step(x):
        model.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        return loss.detach()

    for _ in range(6):
        step(tracer.randn(3, 4))
    assert step.cache_info().replays == 5


def test_an_averaged_model():
    model = nn.Linear(3, 3)
    averaged = AveragedModel(model)

    @tracer.trace
    def step(x):
        averaged.update_parameters(model)
        return x + 1

    before = []
    for _ in range(8):
        with tracer.no_grad():
            model.weight.add_(1)
        before.append(model.weight.detach().clone())
        step(tracer.ones(2))
    assert step.cache_info().replays == 6
    assert tracer.allclose(averaged.module.weight, tracer.stack(before).mean(0), atol=1e-5)


def test_a_dict_with_tensors_as_keys_changes():
    """Tensors of different shapes, and with equal elements."""
    for shapes in ([(4,), (4,)], [(2, 8), (16,)], [(1,), (1,)]):
        runs = []
        for wrap in (lambda f: f, tracer.trace):
            keys, calls = [tracer.ones(*s) for s in shapes], [0]
            best = dict.fromkeys(keys, 0)

            @wrap
            def f(x):
                calls[0] += 1
                for k, key in enumerate(keys):
                    if calls[0] in (4, 6):
                        best[key] = k + calls[0]
                return [x.mean() * v for v in best.values()]

            runs.append([[t.item() for t in f(tracer.full((3,), float(i)))] for i in range(10)])
        assert runs[0] == runs[1]


class Lookahead:
    def __init__(self, optimizer, every=3):
        self.optimizer, self.every, self.calls = optimizer, every, 0
        self.state = defaultdict(dict)

    @tracer.no_grad()
    def step(self):
        self.optimizer.step()
        self.calls += 1
        if self.calls % self.every == 0:
            for group in self.optimizer.param_groups:
                for p in group["params"]:
                    state = self.state[p]
                    if "slow" not in state:
                        state["slow"] = p.clone()
                    state["slow"].add_(p - state["slow"], alpha=0.5)
                    p.copy_(state["slow"])


def test_an_optimizer_with_a_state_by_parameters():
    losses = []
    for wrap in (lambda f: f, tracer.trace):
        tracer.manual_seed(0)
        model = nn.Linear(4, 2)
        optimizer = Lookahead(optim.SGD(model.parameters(), lr=0.1))

        @wrap
        def step(x, y):
            model.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
            return loss.detach()

        losses.append([step(tracer.randn(8, 4), tracer.randn(8, 2)).item() for _ in range(20)])
    assert step.cache_info().replays >= 12
    assert all(abs(a - b) < 1e-6 for a, b in zip(*losses, strict=True))
