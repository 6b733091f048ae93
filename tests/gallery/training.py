"""Training loops as in tutorials and projects."""

import copy
import math
import random
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


@program(runs=6, programs=9, order=0)
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


@program(runs=3, programs=3, order=0)
def gan(wrap):
    generator = nn.Sequential(nn.Linear(2, 8), nn.LeakyReLU(0.2), nn.Linear(8, 2))
    critic = nn.Sequential(nn.Linear(2, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1))
    g_optimizer = optim.Adam(generator.parameters(), lr=1e-3, betas=(0.5, 0.999))
    d_optimizer = optim.Adam(critic.parameters(), lr=1e-3, betas=(0.5, 0.999))
    bce, log = nn.BCEWithLogitsLoss(), []

    @wrap
    def step(real):
        n = real.size(0)
        d_optimizer.zero_grad()
        d_real = bce(critic(real), tracer.ones(n, 1))
        fake = generator(tracer.randn(n, 2))
        d_fake = bce(critic(fake.detach()), tracer.zeros(n, 1))
        (d_real + d_fake).backward()
        d_optimizer.step()
        g_optimizer.zero_grad()
        g_loss = bce(critic(fake), tracer.ones(n, 1))
        g_loss.backward()
        g_optimizer.step()
        log.append((d_real.item() + d_fake.item(), g_loss.item()))
        return log[-1]

    return step, [(tracer.randn(5, 2),) for _ in range(6)]


@program(runs=6, programs=4, order=0)
def gan_that_trains_the_generator_every_third_step(wrap):
    generator, critic = nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))
    g_optimizer = optim.RMSprop(generator.parameters(), lr=1e-3)
    d_optimizer = optim.RMSprop(critic.parameters(), lr=1e-3)

    @wrap
    def step(i, real):
        for p in critic.parameters():
            p.data.clamp_(-0.3, 0.3)
        d_optimizer.zero_grad()
        fake = generator(tracer.randn(5, 2)).detach()
        loss = critic(fake).mean() - critic(real).mean()
        loss.backward()
        d_optimizer.step()
        if i % 3 == 2:
            g_optimizer.zero_grad()
            (-critic(generator(tracer.randn(5, 2))).mean()).backward()
            g_optimizer.step()
        return loss.item()

    return step, [(i, tracer.randn(5, 2)) for i in range(12)]


@program(runs=3, programs=3, order=0)
def gradient_penalty(wrap):
    critic = nn.Sequential(nn.Linear(3, 6), nn.Softplus(), nn.Linear(6, 1))
    optimizer = optim.Adam(critic.parameters(), lr=1e-3)

    @wrap
    def step(real, fake):
        optimizer.zero_grad()
        alpha = tracer.rand(real.size(0), 1)
        mixed = (alpha * real + (1 - alpha) * fake).requires_grad_(True)
        score = critic(mixed)
        (g,) = tracer.autograd.grad(score, mixed, tracer.ones_like(score), create_graph=True, retain_graph=True)
        penalty = ((g.norm(2, dim=1) - 1) ** 2).mean()
        loss = critic(fake).mean() - critic(real).mean() + 10 * penalty
        loss.backward()
        optimizer.step()
        return {"loss": loss.item(), "penalty": penalty.item()}

    return step, [(tracer.randn(4, 3), tracer.randn(4, 3)) for _ in range(5)]


@program(runs=3, programs=3, order=0)
def sharpness_aware_minimisation(wrap):
    model = net()
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

    @wrap
    def step(x, y):
        F.cross_entropy(model(x), y).backward()
        with tracer.no_grad():
            norm = tracer.stack([p.grad.norm() for p in model.parameters()]).norm()
            moves = [p.grad * (0.05 / (norm + 1e-12)) for p in model.parameters()]
            for p, e in zip(model.parameters(), moves, strict=True):
                p.add_(e)
        model.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        with tracer.no_grad():
            for p, e in zip(model.parameters(), moves, strict=True):
                p.sub_(e)
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    return step, [batch() for _ in range(5)]


@program(runs=3, programs=3, order=0)
def lookahead_every_four_steps(wrap):
    model = net()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    slow = [p.detach().clone() for p in model.parameters()]
    count = [0]

    @wrap
    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        count[0] += 1
        if count[0] % 4 == 0:
            with tracer.no_grad():
                for s, p in zip(slow, model.parameters(), strict=True):
                    s += 0.5 * (p - s)
                    p.copy_(s)
        return loss.item()

    return step, [batch() for _ in range(14)]


@program(runs=2, programs=2, order=0)
def meta_learning_of_second_order(wrap):
    w = tracer.randn(3, 1, requires_grad=True)
    optimizer = optim.SGD([w], lr=0.05)

    @wrap
    def step(tasks):
        optimizer.zero_grad()
        total = 0.0
        for x, y in tasks:
            fast = w
            for _ in range(2):
                inner = ((x @ fast - y) ** 2).mean()
                (g,) = tracer.autograd.grad(inner, fast, create_graph=True)
                fast = fast - 0.1 * g
            total = total + ((x @ fast - y) ** 2).mean()
        total.backward()
        optimizer.step()
        return total.detach()

    def task():
        return [(tracer.randn(4, 3), tracer.randn(4, 1)) for _ in range(2)]

    return step, [(task(),) for _ in range(5)]


@program(runs=3, programs=6, order=0)
def projected_gradient_attack_with_an_early_exit(wrap):
    model = net().requires_grad_(False)
    model[3].bias.copy_(tracer.tensor([0.3, 0.0, 0.0]))

    @wrap
    def attack(x, y):
        noise = tracer.zeros_like(x)
        for turn in range(6):
            noise.requires_grad_()
            logits = model(x + noise)
            if (logits.argmax(1) != y).all():
                break
            loss = F.cross_entropy(logits, y)
            (g,) = tracer.autograd.grad(loss, noise)
            noise = (noise.detach() + 0.3 * g.sign()).clamp(-1.2, 1.2)
        return (x + noise).detach(), turn

    xs = [(tracer.randn(1, 4), tracer.tensor([k])) for k in (0, 1)]
    return attack, xs * 4


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


@program(runs=2, programs=2, order=0)
def mixup_with_a_number_from_python(wrap):
    model = net()
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    @wrap
    def step(x, y):
        lam = random.betavariate(0.4, 0.4)
        order = tracer.randperm(x.size(0))
        mixed = lam * x + (1 - lam) * x[order]
        optimizer.zero_grad()
        out = model(mixed)
        loss = lam * F.cross_entropy(out, y) + (1 - lam) * F.cross_entropy(out, y[order])
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step, [batch() for _ in range(6)]


@program(runs=3, programs=3, order=0)
def teacher_and_student(wrap):
    teacher, student = net().eval(), net()
    optimizer = optim.SGD(student.parameters(), lr=0.1, momentum=0.5)
    meter = {"sum": 0.0, "count": 0}

    @wrap
    def step(x, y, t):
        with tracer.no_grad():
            soft = (teacher(x) / t).softmax(1)
        out = student(x)
        loss = F.kl_div((out / t).log_softmax(1), soft, reduction="batchmean") * t * t + F.cross_entropy(out, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        meter["sum"] += loss.item() * x.size(0)
        meter["count"] += x.size(0)

    return step, [(*batch(), 2.0 + 0.5 * (i > 3)) for i in range(8)]


@program(runs=5, programs=4, order=0)  # each position in the queue is an index
def contrastive_learning_with_a_queue(wrap):
    encoder, key_encoder = nn.Linear(4, 3), nn.Linear(4, 3).requires_grad_(False)
    optimizer = optim.SGD(encoder.parameters(), lr=0.1)

    class Queue:
        def __init__(self):
            self.items, self.at = F.normalize(tracer.randn(8, 3), dim=1), 0

        def push(self, keys):
            n = len(keys)
            self.items[self.at : self.at + n] = keys
            self.at = (self.at + n) % len(self.items)

    queue = Queue()

    @wrap
    def step(a, b):
        with tracer.no_grad():
            for k, q in zip(key_encoder.parameters(), encoder.parameters(), strict=True):
                k.data = 0.9 * k.data + 0.1 * q.data
            keys = F.normalize(key_encoder(b), dim=1)
        q = F.normalize(encoder(a), dim=1)
        logits = tracer.cat([(q * keys).sum(1, keepdim=True), q @ queue.items.T.clone()], 1)
        loss = F.cross_entropy(logits / 0.2, tracer.zeros(len(a), dtype=tracer.long))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        queue.push(keys)
        return loss.detach()

    return step, [(tracer.randn(2, 4), tracer.randn(2, 4)) for _ in range(12)]


@program(runs=2, programs=3, order=0)
def private_gradients_clipped_per_sample(wrap):
    model = nn.Linear(3, 2)

    @wrap
    def step(x, y, rate):
        sums = [tracer.zeros_like(p) for p in model.parameters()]
        for i in range(len(x)):
            loss = F.cross_entropy(model(x[i : i + 1]), y[i : i + 1])
            grads = tracer.autograd.grad(loss, list(model.parameters()))
            norm = tracer.sqrt(sum(g.square().sum() for g in grads))
            scale = (1.0 / norm).clamp(max=1.0)
            for s, g in zip(sums, grads, strict=True):
                s += g * scale
        with tracer.no_grad():
            for p, s in zip(model.parameters(), sums, strict=True):
                p -= rate * (s + 0.1 * tracer.randn_like(s)) / len(x)

    return step, [(*batch(4, 3, 2), 0.1 * k) for k in range(1, 6)]


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


@program(runs=3, programs=3, order=0)
def variational_autoencoder(wrap):
    encoder, decoder = nn.Linear(5, 4), nn.Linear(2, 5)
    optimizer = optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=0.01)
    stats = {"kl": 0.0, "steps": 0}

    @wrap
    def step(x, beta):
        mean, log = encoder(x).chunk(2, dim=1)
        z = mean + (0.5 * log).exp() * tracer.randn_like(log)
        kl = -0.5 * (1 + log - mean**2 - log.exp()).sum()
        loss = F.binary_cross_entropy_with_logits(decoder(z), x, reduction="sum") + beta * kl
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        stats["kl"] = 0.9 * stats["kl"] + 0.1 * kl.item()
        stats["steps"] += 1
        return loss.item()

    return step, [(tracer.rand(4, 5), min(1.0, 0.2 * i)) for i in range(7)]


@program(runs=2, programs=2, order=0)
def physics_informed_network(wrap):
    model = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = optim.SGD(model.parameters(), lr=0.01)

    @wrap
    def step(t):
        t = t.clone().requires_grad_()
        u = model(t)
        (du,) = tracer.autograd.grad(u.sum(), t, create_graph=True)
        (d2u,) = tracer.autograd.grad(du.sum(), t, create_graph=True)
        loss = ((d2u + u) ** 2).mean() + (model(tracer.zeros(1, 1)) - 1).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step, [(tracer.rand(6, 1),) for _ in range(5)]


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
