"""The models and training functions of pytorch/examples, from a clone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from .program import Program, clone, definitions, images, imported, integers, numbers, row, training, without_chance

_REPOSITORY = "examples"
_CPU = torch.device("cpu")


def _example(name: str, note: str = "") -> Any:
    return row(f"pytorch/examples {name}", note, _REPOSITORY)


def _script(*path: str, **given: Any) -> Any:
    return definitions(clone(_REPOSITORY, *path), **given)


@_example("mnist", "float64")
def mnist() -> Program:
    net = _script("mnist", "main.py").Net().double()
    return training(
        net,
        lambda m, x, y: F.nll_loss(m(x), y),
        images(16, 1, 28, dtype=torch.float64),
        torch.optim.Adadelta(net.parameters(), lr=1.0),
    )


@_example("mnist_rnn", "float64")
def mnist_rnn() -> Program:
    net = _script("mnist_rnn", "main.py").Net().double()
    data = images(16, 1, 28, dtype=torch.float64)
    return training(net, lambda m, x, y: F.nll_loss(m(x), y), data, torch.optim.Adadelta(net.parameters(), lr=0.1))


@_example("forward_forward")
def forward_forward() -> Program:
    args = SimpleNamespace(lr=0.03, threshold=2, epochs=1, log_interval=1000)
    script = _script("mnist_forward_forward", "main.py", args=args, device=_CPU)
    net = script.Net([784, 100, 100])
    x, y, wrong = numbers(64, 784).abs(), integers(10, 64), integers(10, 64, seed=1)

    def step(x: Any, y: Any, wrong: Any) -> Any:
        positive, negative = script.overlay_y_on_x(x, y), script.overlay_y_on_x(x, wrong)
        net.train(positive, negative)
        return net.layers[0](positive).pow(2).mean().detach()

    return Program(step, [(x, y, wrong)], net.layers)


@_example("vae", "the same draws in each step")
def vae() -> Program:
    draws = numbers(16, 20)
    torch.randn_like = lambda x: draws
    script = _script("vae", "main.py")
    data = [(numbers(16, 1, 28, 28, seed=i).sigmoid(),) for i in range(2)]

    def loss(m: Any, x: Any) -> Any:
        recon_batch, mu, logvar = m(x)
        return script.loss_function(recon_batch, x, mu, logvar)

    return training(script.VAE(), loss, data)


@_example("dcgan", "float64")
def dcgan() -> Program:
    script = _script("dcgan", "main.py", ngpu=1, nz=16, ngf=8, ndf=8, nc=1)
    net_g, net_d = script.Generator(1).double(), script.Discriminator(1).double()
    net_g.apply(script.weights_init)
    net_d.apply(script.weights_init)
    criterion = nn.BCELoss()
    optimizer_d = torch.optim.Adam(net_d.parameters(), lr=0.0002, betas=(0.5, 0.999))
    optimizer_g = torch.optim.Adam(net_g.parameters(), lr=0.0002, betas=(0.5, 0.999))

    def step(real: Any, noise: Any) -> Any:
        net_d.zero_grad()
        label = torch.full((real.size(0),), 1, dtype=real.dtype)
        err_real = criterion(net_d(real), label)
        err_real.backward()
        fake = net_g(noise)
        label.fill_(0)
        err_fake = criterion(net_d(fake.detach()), label)
        err_fake.backward()
        optimizer_d.step()
        net_g.zero_grad()
        label.fill_(1)
        err_g = criterion(net_d(fake), label)
        err_g.backward()
        optimizer_g.step()
        return torch.stack([(err_real + err_fake).detach(), err_g.detach()])

    draw = lambda i: (numbers(8, 1, 64, 64, seed=i, dtype=torch.float64), numbers(8, 16, 1, 1, seed=i, dtype=torch.float64))
    return Program(step, [draw(0), draw(1)], [net_g, net_d])


def _recurrent(kind: str) -> Program:
    script = _script("word_language_model", "main.py")
    model = imported(clone(_REPOSITORY, "word_language_model", "model.py")).RNNModel(kind, 100, 32, 32, 2, 0.0)
    criterion, hidden = nn.NLLLoss(), model.init_hidden(8)

    def step(data: Any, targets: Any) -> Any:
        nonlocal hidden
        model.zero_grad()
        hidden = script.repackage_hidden(hidden)
        output, hidden = model(data, hidden)
        loss = criterion(output, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.25)
        for p in model.parameters():
            p.data.add_(p.grad, alpha=-1.0)
        return loss.detach()

    return Program(step, [(integers(100, 16, 8, seed=i), integers(100, 128, seed=i + 9)) for i in range(2)], [model])


for _kind in ("RNN_TANH", "GRU", "LSTM"):
    _example(f"word_language_model {_kind}")(lambda kind=_kind: _recurrent(kind))


@_example("word_language_model Transformer")
def word_transformer() -> Program:
    model = imported(clone(_REPOSITORY, "word_language_model", "model.py")).TransformerModel(100, 32, 2, 32, 2, 0.0)
    data = [(integers(100, 16, 8, seed=i), integers(100, 128, seed=i + 9)) for i in range(2)]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    return training(model, lambda m, x, y: F.nll_loss(m(x).view(-1, 100), y), data, optimizer, clip=0.25)


@_example("time_sequence_prediction", "LBFGS, 20 evaluations in a step")
def time_sequence() -> Program:
    seq = _script("time_sequence_prediction", "train.py").Sequence().double()
    criterion = nn.MSELoss()
    optimizer = torch.optim.LBFGS(seq.parameters(), lr=0.8)
    waves = torch.sin(torch.arange(21, dtype=torch.float64) * 0.3 + numbers(4, 1, dtype=torch.float64))

    def step(input: Any, target: Any) -> Any:
        def closure() -> Any:
            optimizer.zero_grad()
            loss = criterion(seq(input), target)
            print("loss:", loss.item())
            loss.backward()
            return loss

        return optimizer.step(closure).detach()

    return Program(step, [(waves[:, :-1], waves[:, 1:])], [seq])


@_example("super_resolution")
def super_resolution() -> Program:
    net = imported(clone(_REPOSITORY, "super_resolution", "model.py")).Net(upscale_factor=3)
    data = [(numbers(4, 1, 17, 17, seed=i), numbers(4, 1, 51, 51, seed=i + 9)) for i in range(2)]
    return training(net, lambda m, x, y: F.mse_loss(m(x), y), data)


def _policy(name: str, policy: str, memory: str, lr: float, **given: Any) -> Program:
    """Episodes of twenty steps through the script's own functions; the most probable action instead of a draw."""
    script = _script("reinforcement_learning", f"{name}.py", args=SimpleNamespace(gamma=0.99), **given)
    model = script.Policy()
    without_chance(model)
    script.eps = 1e-7
    setattr(script, policy, model)
    script.optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    script.Categorical.sample = lambda self: self.probs.argmax(-1)
    states = numbers(20, 4).numpy()

    def step() -> Any:
        for i, state in enumerate(states):
            model.rewards.append(float(script.select_action(state)) + 0.1 * i)
        chosen = [kept if isinstance(kept, torch.Tensor) else kept[0] for kept in getattr(model, memory)]
        found = torch.stack([p.reshape(()) for p in chosen]).sum().detach()
        script.finish_episode()
        return found

    def compile_parts(compiler: Any) -> None:
        script.select_action, script.finish_episode = compiler(script.select_action), compiler(script.finish_episode)

    return Program(step, [()], [model], compile_parts=compile_parts)


@_example("reinforcement_learning reinforce", "the best action instead of a draw")
def reinforce() -> Program:
    return _policy("reinforce", "policy", "saved_log_probs", 1e-2)


@_example("reinforcement_learning actor_critic", "the best action instead of a draw")
def actor_critic() -> Program:
    from collections import namedtuple

    saved = namedtuple("SavedAction", ["log_prob", "value"])
    return _policy("actor_critic", "model", "saved_actions", 3e-2, SavedAction=saved)


def _graph(sparse: bool) -> tuple[Any, Any, Any]:
    near = (numbers(100, 100) > 1.5).float() + torch.eye(100)
    near = near / near.sum(1, keepdim=True)
    return numbers(100, 32), near.to_sparse() if sparse else near, integers(5, 100)


@_example("gat")
def gat() -> Program:
    net = _script("gat", "main.py").GAT(32, 16, 4, 5, concat=True, dropout=0.0)
    loss = lambda m, x, near, y: F.nll_loss(m(x, near)[:60], y[:60])
    return training(net, loss, [_graph(sparse=False)], torch.optim.Adam(net.parameters(), lr=0.005, weight_decay=5e-4))


@_example("gcn")
def gcn() -> Program:
    net = _script("gcn", "main.py").GCN(32, 16, 5, dropout_p=0.0)
    loss = lambda m, x, near, y: F.nll_loss(m(x, near)[:60], y[:60])
    return training(net, loss, [_graph(sparse=True)], torch.optim.Adam(net.parameters(), lr=0.01, weight_decay=5e-4))


@_example("siamese", "float64")
def siamese() -> Program:
    net = _script("siamese_network", "main.py").SiameseNetwork().double()
    draw = lambda i: numbers(4, 1, 28, 28, seed=i, dtype=torch.float64)
    data = [(draw(i), draw(i + 9), integers(2, 4, seed=i).double()) for i in range(2)]
    loss = lambda m, x1, x2, y: F.binary_cross_entropy(m(x1, x2).squeeze(), y)
    return training(net, loss, data, torch.optim.Adadelta(net.parameters(), lr=1.0))


@_example("language_translation")
def language_translation() -> Program:
    net = imported(clone(_REPOSITORY, "language_translation", "src", "model.py")).Translator(2, 2, 32, 4, 80, 90, 64, 0.0)
    mask = torch.triu(torch.full((9, 9), float("-inf")), diagonal=1)
    none = torch.zeros(12, 12).bool()

    def loss(m: Any, source: Any, target: Any) -> Any:
        source_pad, target_pad = (source == 1).T, (target[:-1] == 1).T
        out = m(source, target[:-1], none, mask, source_pad, target_pad, source_pad)
        return F.cross_entropy(out.reshape(-1, 90), target[1:].reshape(-1), ignore_index=1)

    return training(net, loss, [(integers(80, 12, 4, seed=i), integers(90, 10, 4, seed=i + 9)) for i in range(2)])


@_example("fast_neural_style", "float64; VGG without its downloaded weights")
def fast_neural_style() -> Program:
    from torchvision.models import vgg

    weights = SimpleNamespace(IMAGENET1K_V1=None)
    features = lambda weights: SimpleNamespace(features=vgg.make_layers(vgg.cfgs["D"], batch_norm=False))
    models = SimpleNamespace(vgg16=features, VGG16_Weights=weights)
    describe = _script("fast_neural_style", "neural_style", "vgg.py", models=models).Vgg16().double()
    utils = imported(clone(_REPOSITORY, "fast_neural_style", "neural_style", "utils.py"))
    net = _script("fast_neural_style", "neural_style", "transformer_net.py").TransformerNet().double()
    style = [numbers(1, n, n, seed=n).double() * 0.01 for n in (64, 128, 256, 512)]

    def loss(m: Any, x: Any) -> Any:
        y = utils.normalize_batch(m(x))
        x = utils.normalize_batch(x)
        seen_y, seen_x = describe(y), describe(x)
        content = F.mse_loss(seen_y.relu2_2, seen_x.relu2_2)
        grams = (F.mse_loss(utils.gram_matrix(found), wanted) for found, wanted in zip(seen_y, style, strict=True))
        return 1e3 * content + 1e3 * sum(grams)

    found = training(net, loss, [(numbers(1, 3, 32, 32, seed=i).double().abs() * 80,) for i in range(2)])
    found.modules = [net, describe]
    return found
