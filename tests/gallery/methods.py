"""Methods of training: adversarial and contrastive losses, several models, derivatives of derivatives."""

import random

import tracer
import tracer.nn.functional as F
from gallery.harness import program
from gallery.training import batch, net
from tracer import nn, optim


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
