"""Training loops as in tutorials and projects."""

import copy
import math
import types

import tracer
import tracer.nn.functional as F
from gallery.harness import program
from tracer import nn, optim
from tracer.optim import lr_scheduler
from tracer.utils.data import DataLoader, TensorDataset


def net(inputs=4, hidden=6, outputs=3, dropout=0.0):
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, outputs))


def batch(n=5, inputs=4, classes=3):
    return tracer.randn(n, inputs), tracer.randint(0, classes, (n,))


@program(runs=3, programs=4, order=0)
def step_with_clipping_by_an_if(wrap):
    model = net()
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    @wrap
    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x) * 3, y)
        loss.backward()
        norm = tracer.sqrt(sum((p.grad**2).sum() for p in model.parameters()))
        if norm > 2.0:
            for p in model.parameters():
                p.grad.mul_(2.0 / norm)
        optimizer.step()
        return loss.item(), norm.item()

    return step, [batch() for _ in range(10)]


@program(runs=5, programs=6, order=0)
def step_that_skips_gradients_that_are_not_finite(wrap):
    model = net()
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    skipped = []

    @wrap
    def step(x, y):
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(model(x), y)
        if tracer.isnan(loss) or tracer.isinf(loss):
            skipped.append(loss.item())
            return None
        loss.backward()
        optimizer.step()
        return loss.detach()

    calls = [batch() for _ in range(9)]
    calls[3] = (calls[3][0] * math.nan, calls[3][1])
    calls[6] = (calls[6][0] * math.nan, calls[6][1])
    return step, calls


@program(runs=6, programs=10, order=0)
def dynamic_loss_scaling(wrap):
    model = net()
    optimizer = optim.SGD(model.parameters(), lr=0.05)
    scaler = types.SimpleNamespace(scale=64.0, good=0)

    @wrap
    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        (loss * scaler.scale).backward()
        grads = [p.grad for p in model.parameters()]
        if any(not g.isfinite().all() for g in grads):
            scaler.scale /= 2
            scaler.good = 0
            return None
        for g in grads:
            g.div_(scaler.scale)
        optimizer.step()
        scaler.good += 1
        if scaler.good == 3:
            scaler.scale, scaler.good = scaler.scale * 2, 0
        return loss.item()

    calls = [batch() for _ in range(14)]
    calls[7] = (calls[7][0] * math.inf, calls[7][1])
    return step, calls


@program(runs=4, programs=4, order=0)
def early_stopping(wrap):
    class EarlyStopping:
        def __init__(self, patience):
            self.patience, self.best, self.bad, self.stopped, self.weights = patience, math.inf, 0, False, None

        def __call__(self, loss, model):
            if loss < self.best - 1e-3:
                self.best, self.bad = loss, 0
                self.weights = {k: v.clone() for k, v in model.state_dict().items()}
            else:
                self.bad += 1
                self.stopped = self.bad >= self.patience

    model = nn.Linear(4, 1)
    optimizer = optim.SGD(model.parameters(), lr=0.05)
    stopping = EarlyStopping(3)
    data, held_out = (tracer.randn(16, 4), tracer.randn(16, 1)), (tracer.randn(16, 4), tracer.randn(16, 1))

    @wrap
    def epoch():
        if stopping.stopped:
            model.load_state_dict(stopping.weights)
            return "stopped"
        optimizer.zero_grad()
        F.mse_loss(model(data[0]), data[1]).backward()
        optimizer.step()
        with tracer.no_grad():
            loss = F.mse_loss(model(held_out[0]), held_out[1]).item()
        stopping(loss, model)
        return loss

    return epoch, [()] * 20


@program(runs=2, programs=4, order=0)
def epoch_loop_as_in_the_quickstart(wrap):
    x, y = batch(24)
    train = DataLoader(TensorDataset(x, y), batch_size=8, shuffle=True)
    test = DataLoader(TensorDataset(*batch(16)), batch_size=8)
    model, loss_fn = net(), nn.CrossEntropyLoss()
    optimizer = optim.SGD(model.parameters(), lr=1e-1)

    @wrap
    def train_step(X, y):
        pred = model(X)
        loss = loss_fn(pred, y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    @wrap
    def test_step(X, y):
        pred = model(X)
        return loss_fn(pred, y).item(), (pred.argmax(1) == y).type(tracer.float).sum().item()

    def epoch():
        size = len(train.dataset)
        model.train()
        for i, (X, y) in enumerate(train):
            loss = train_step(X, y)
            if i % 2 == 0:
                print(f"loss: {loss:>7f}  [{(i + 1) * len(X):>5d}/{size:>5d}]")
        model.eval()
        test_loss, correct = 0, 0
        with tracer.no_grad():
            for X, y in test:
                found = test_step(X, y)
                test_loss += found[0]
                correct += found[1]
        print(f"Accuracy: {100 * correct / len(test.dataset):>0.1f}%, Avg loss: {test_loss / len(test):>8f}")

    return epoch, [()] * 3


@program(runs=3, programs=3, order=0)
def epoch_loop_with_metrics_inside_one_traced_function(wrap):
    model, optimizer = None, None
    model = net(dropout=0.2)
    optimizer = optim.Adam(model.parameters(), lr=0.02)
    train, test = [batch() for _ in range(3)], [batch() for _ in range(2)]
    history = {"loss": [], "accuracy": []}

    @wrap
    def epoch(number):
        model.train()
        total, seen = 0.0, 0
        for x, y in train:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(x)
            seen += len(x)
        model.eval()
        right = 0
        with tracer.no_grad():
            for x, y in test:
                right += (model(x).argmax(1) == y).sum().item()
        history["loss"].append(total / seen)
        history["accuracy"].append(right / 10)
        print(f"epoch {number}: loss {total / seen:.4f} accuracy {right / 10:.2%}")

    return epoch, [(n,) for n in range(6)]


@program(runs=4, programs=3, order=0)
def gradient_accumulation_by_a_counter(wrap):
    class Trainer:
        def __init__(self):
            self.model = net()
            self.optimizer = optim.SGD(self.model.parameters(), lr=0.1)
            self.micro = 0

        def step(self, x, y):
            loss = F.cross_entropy(self.model(x), y) / 3
            loss.backward()
            self.micro += 1
            if self.micro % 3 == 0:
                self.optimizer.step()
                self.optimizer.zero_grad()
            return loss.item()

    return wrap(Trainer().step), [batch() for _ in range(12)]


@program(runs=3, programs=3, order=0)
def scheduler_stepped_inside(wrap):
    model = net()
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = lr_scheduler.CosineAnnealingLR(optimizer, T_max=20)

    @wrap
    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        scheduler.step()
        return loss.detach(), scheduler.get_last_lr()[0]

    return step, [batch() for _ in range(10)]


@program(runs=3, programs=3, order=0)
def warm_up_of_the_learning_rate_by_hand(wrap):
    model = net()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    state = {"step": 0}

    @wrap
    def step(x, y):
        state["step"] += 1
        for group in optimizer.param_groups:
            group["lr"] = 0.1 * min(1.0, state["step"] / 4)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step, [batch() for _ in range(10)]


@program(runs=2, programs=3, order=0)
def reduce_on_plateau(wrap):
    model = nn.Linear(4, 1)
    optimizer = optim.SGD(model.parameters(), lr=0.5)
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, patience=1, factor=0.5)

    @wrap
    def step(x, y):
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    def epoch(x, y):
        loss = step(x, y)
        scheduler.step(loss.item())
        return optimizer.param_groups[0]["lr"]

    return epoch, [(tracer.randn(5, 4), tracer.randn(5, 1)) for _ in range(10)]


@program(runs=3, programs=3, order=0)
def exponential_moving_average_of_weights(wrap):
    model = net()
    shadow = copy.deepcopy(model).requires_grad_(False)
    optimizer = optim.AdamW(model.parameters(), lr=0.01)

    @wrap
    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        with tracer.no_grad():
            for mine, theirs in zip(shadow.parameters(), model.parameters(), strict=True):
                mine.mul_(0.9).add_(theirs, alpha=0.1)
        return loss.detach()

    return step, [batch() for _ in range(6)]


@program(runs=3, programs=3, order=0)
def exponential_moving_average_as_new_tensors(wrap):
    class Average:
        def __init__(self):
            self.values, self.updates = {}, 0

        def update(self, named):
            self.updates += 1
            decay = min(0.9, (1 + self.updates) / (10 + self.updates))
            for name, p in named:
                old = self.values.get(name, p.detach())
                self.values[name] = decay * old + (1 - decay) * p.detach()

    model, average = nn.Linear(4, 3), Average()
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    @wrap
    def step(x, y):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        average.update(model.named_parameters())

    return step, [batch() for _ in range(8)]


@program(runs=4, programs=4, order=0)
def batches_of_two_sizes(wrap):
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    @wrap
    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step, [batch(n) for n in (8, 8, 8, 3, 8, 8, 3, 8, 3)]


@program(runs=2, programs=3, order=0)
def train_and_eval_inside(wrap):
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 3))

    @wrap
    def step(x):
        model.train()
        noisy = model(x)
        model.eval()
        with tracer.no_grad():
            clean = model(x)
        model.train()
        return F.mse_loss(noisy, clean)

    return step, [(tracer.randn(5, 4),) for _ in range(6)]


@program(runs=2, programs=3, order=0)
def evaluation_restores_the_mode(wrap):
    model = nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.5), nn.Linear(6, 3))

    @wrap
    def accuracy(x, y):
        was = model.training
        model.eval()
        try:
            with tracer.no_grad():
                return (model(x).argmax(-1) == y).float().mean().item()
        finally:
            model.train(was)

    return accuracy, [batch() for _ in range(5)]


@program(runs=5, programs=4, order=0)
def layers_thawed_as_training_goes_on(wrap):
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))
    model[0].requires_grad_(False)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    state = {"steps": 0}

    @wrap
    def step(x, y):
        state["steps"] += 1
        if state["steps"] == 4:
            for p in model[0].parameters():
                p.requires_grad_(True)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step, [batch() for _ in range(10)]


@program(runs=5, programs=5, order=0)
def best_weights_are_kept(wrap):
    model = nn.Linear(4, 3)
    optimizer = optim.SGD(model.parameters(), lr=0.5)
    best = {"loss": float("inf"), "weights": None, "step": -1}

    @wrap
    def step(n, x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        if loss.item() < best["loss"]:
            best.update(loss=loss.item(), weights=copy.deepcopy(model.state_dict()), step=n)
        return loss.item()

    data = batch()
    return step, [(n, *(data if n % 3 else batch())) for n in range(12)]


@program(runs=2, programs=2, order=0)
def many_steps_inside_one_call(wrap):
    @wrap
    def fit(x, y, steps):
        w = tracer.zeros(x.shape[1], requires_grad=True)
        optimizer = optim.Adam([w], lr=0.1)
        losses = []
        for _ in range(steps):
            optimizer.zero_grad()
            loss = ((x @ w - y) ** 2).mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return w.detach(), losses

    return fit, [(tracer.randn(6, 3), tracer.randn(6), 4) for _ in range(5)]


@program(runs=3, programs=3, order=0)
def curriculum_by_an_int_that_grows(wrap):
    model = nn.Linear(6, 1)
    optimizer = optim.SGD(model.parameters(), lr=0.05)

    @wrap
    def step(x, difficulty):
        optimizer.zero_grad()
        target = (x * difficulty).sum(1, keepdim=True) / 10
        loss = F.smooth_l1_loss(model(x), target, beta=1.0 + difficulty)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step, [(tracer.randn(4, 6), n) for n in range(9)]


@program(runs=3, programs=3, order=0)
def clipping_by_the_library(wrap):
    model = nn.LSTM(3, 4, batch_first=True)
    optimizer = optim.RMSprop(model.parameters(), lr=0.01)
    norms = []

    @wrap
    def step(x):
        optimizer.zero_grad()
        out, (h, _) = model(x)
        (out.square().mean() + h.sum()).backward()
        norms.append(nn.utils.clip_grad_norm_(model.parameters(), 0.5).item())
        optimizer.step()

    return step, [(tracer.randn(2, 5, 3),) for _ in range(5)]


@program(runs=4, programs=4, order=0, raises=FloatingPointError)
def abort_by_an_exception_when_loss_explodes(wrap):
    model = nn.Linear(2, 1)
    optimizer = optim.SGD(model.parameters(), lr=0.5)
    tries = [0]

    @wrap
    def step(x):
        tries[0] += 1
        optimizer.zero_grad()
        loss = model(x).square().mean()
        if loss.item() > 50:
            raise FloatingPointError(f"loss {loss.item():.1f} in step {tries[0]}")
        loss.backward()
        optimizer.step()
        return loss.item()

    return step, [(tracer.randn(3, 2) * s,) for s in (1, 1, 1, 100, 1, 1, 100, 1)]
