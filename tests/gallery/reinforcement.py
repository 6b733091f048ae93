"""Reinforcement learning, bandits and games."""

import collections
import math
import random

import numpy as np

import tracer
import tracer.nn.functional as F
from gallery.harness import program
from tracer import nn, optim


class Line:
    """A walk along a line; the end is at 3."""

    def __init__(self):
        self.at, self.turns = 0, 0

    def reset(self):
        self.at, self.turns = 0, 0
        return self.state()

    def state(self):
        return tracer.tensor([self.at / 3, 1.0])

    def step(self, action):
        self.at, self.turns = self.at + (1 if action else -1), self.turns + 1
        return self.state(), float(self.at == 3), abs(self.at) == 3 or self.turns >= 6


@program(runs=4, programs=3, order=0)
def q_learning_with_a_replay_buffer(wrap):
    Transition = collections.namedtuple("Transition", "state action next_state reward")
    policy, target = nn.Linear(2, 2), nn.Linear(2, 2)
    target.load_state_dict(policy.state_dict())
    optimizer = optim.SGD(policy.parameters(), lr=0.1)
    memory, counter = collections.deque(maxlen=20), {"steps": 0}

    @wrap
    def optimise(sample):
        batch = Transition(*zip(*sample, strict=True))
        states, actions = tracer.stack(batch.state), tracer.tensor(batch.action)
        q = policy(states).gather(1, actions[:, None])[:, 0]
        with tracer.no_grad():
            expected = tracer.tensor(batch.reward) + 0.9 * target(tracer.stack(batch.next_state)).max(1).values
        loss = F.smooth_l1_loss(q, expected)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_value_(policy.parameters(), 1.0)
        optimizer.step()
        counter["steps"] += 1
        return loss.item()

    line = Line()

    def episode():
        state, done, losses = line.reset(), False, []
        while not done:
            with tracer.no_grad():
                action = random.randrange(2) if random.random() < 0.5 else policy(state).argmax().item()
            after, reward, done = line.step(action)
            memory.append(Transition(state, action, after, reward))
            state = after
            if len(memory) >= 4:
                losses.append(optimise(random.sample(list(memory), 4)))
        for t, p in zip(target.parameters(), policy.parameters(), strict=True):
            t.data.mul_(0.9).add_(p.data, alpha=0.1)
        return losses

    return episode, [()] * 5


@program(runs=6, programs=7, order=0)
def replay_buffer_of_tensors_inside(wrap):
    class Buffer:
        def __init__(self, size):
            self.states, self.rewards, self.size, self.at, self.full = tracer.zeros(size, 2), tracer.zeros(size), size, 0, False

        def push(self, state, reward):
            self.states[self.at], self.rewards[self.at] = state, reward
            self.at += 1
            if self.at == self.size:
                self.at, self.full = 0, True

        def sample(self, n):
            index = tracer.randint(0, self.size if self.full else self.at, (n,))
            return self.states[index], self.rewards[index]

    buffer, value = Buffer(6), nn.Linear(2, 1)
    optimizer = optim.SGD(value.parameters(), lr=0.1)

    @wrap
    def step(state, reward):
        buffer.push(state, reward)
        states, rewards = buffer.sample(3)
        loss = F.mse_loss(value(states)[:, 0], rewards)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step, [(tracer.randn(2), 0.1 * i) for i in range(16)]


@program(runs=4, programs=4, order=0)
def policy_gradient_with_saved_log_probabilities(wrap):
    policy = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 2))
    optimizer = optim.Adam(policy.parameters(), lr=0.01)

    @wrap
    def update(states, actions, rewards):
        returns, total = [], 0.0
        for r in reversed(rewards):
            total = r + 0.9 * total
            returns.insert(0, total)
        returns = tracer.tensor(returns)
        returns = (returns - returns.mean()) / (returns.std() + 1e-6)
        logs = policy(tracer.stack(states)).log_softmax(1)[range(len(actions)), actions]
        loss = -(logs * returns).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    def play():
        return [tracer.randn(2) for _ in range(3)], [random.randrange(2) for _ in range(3)], [random.random() for _ in range(3)]

    return lambda: update(*play()), [()] * 6


@program(runs=2, programs=3, order=0)
def actor_critic_episode_inside(wrap):
    actor, critic = nn.Linear(2, 2), nn.Linear(2, 1)
    optimizer = optim.SGD([*actor.parameters(), *critic.parameters()], lr=0.05)

    @wrap
    def episode(state):
        log_probs, values, rewards = [], [], []
        for _ in range(3):
            distribution = tracer.distributions.Categorical(logits=actor(state))
            action = distribution.sample()
            log_probs.append(distribution.log_prob(action))
            values.append(critic(state)[0])
            state = tracer.stack([state[0] + action * 0.5 - 0.25, state[1]])
            rewards.append(1 - state[0].abs())
        total, loss = tracer.zeros(()), 0.0
        for log, value, reward in zip(log_probs[::-1], values[::-1], rewards[::-1], strict=True):
            total = reward + 0.9 * total
            advantage = total - value
            loss = loss - log * advantage.detach() + advantage**2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return sum(r.item() for r in rewards)

    return episode, [(tracer.tensor([0.1 * i, 1.0]),) for i in range(6)]


@program(runs=2, programs=4, order=0)
def proximal_policy_with_an_early_stop(wrap):
    policy = nn.Linear(3, 2)
    optimizer = optim.SGD(policy.parameters(), lr=2.0)

    @wrap
    def update(states, actions, advantages):
        with tracer.no_grad():
            old = policy(states).log_softmax(1).gather(1, actions[:, None])[:, 0]
        for epoch in range(5):
            new = policy(states).log_softmax(1).gather(1, actions[:, None])[:, 0]
            ratio = (new - old).exp()
            kl = (old - new).mean().item()
            if kl > 0.015:
                break
            loss = -tracer.min(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return epoch, kl

    data = [(tracer.randn(6, 3), tracer.randint(0, 2, (6,)), tracer.randn(6)) for _ in range(2)]
    return update, data * 4


@program(runs=6, programs=6, order=0)
def epsilon_greedy_with_pythons_generator(wrap):
    q = nn.Linear(3, 2)

    @wrap
    def act(state, epsilon):
        if random.random() < epsilon:
            return random.randrange(2)
        with tracer.no_grad():
            return q(state).argmax().item()

    return act, [(tracer.randn(3), 0.5) for _ in range(16)]


@program(runs=6, programs=6, order=0)
def epsilon_greedy_with_numpys_generator(wrap):
    q, rng = nn.Linear(3, 2), np.random.default_rng(0)

    @wrap
    def act(state):
        if rng.random() < 0.5:
            return int(rng.integers(2))
        return q(state).argmax().item()

    return act, [(tracer.randn(3),) for _ in range(16)]


@program(runs=5, programs=5, order=0)
def upper_confidence_bandit(wrap):
    counts, sums, turn = tracer.zeros(3), tracer.zeros(3), [0]
    means = tracer.tensor([0.1, 0.5, 0.9])

    @wrap
    def pull():
        turn[0] += 1
        scores = tracer.where(
            counts > 0, sums / counts.clamp(min=1) + (2 * math.log(turn[0]) / counts.clamp(min=1)).sqrt(), 1e9
        )
        arm = int(scores.argmax())
        reward = means[arm] + 0.1 * tracer.randn(())
        counts[arm] += 1
        sums[arm] += reward
        return arm, reward.item()

    return pull, [()] * 14


@program(runs=3, programs=4, order=0)
def value_iteration_to_convergence(wrap):
    @wrap
    def solve(p, r, gamma):
        v = tracer.zeros(p.shape[1], dtype=p.dtype)
        sweeps = 0
        while True:
            new = (r + gamma * (p @ v)).max(0).values
            sweeps += 1
            if (new - v).abs().max() < 1e-3:
                return new, sweeps
            v = new

    p = tracer.rand(2, 4, 4, dtype=tracer.float64)
    p = p / p.sum(-1, keepdim=True)
    r = tracer.rand(2, 4, dtype=tracer.float64)
    return solve, [(p, r, 0.5), (p, r * 2, 0.5), (p, r, 0.5), (p, r * 2, 0.5), (p, r, 0.5)]


@program(runs=5, programs=6, order=0)
def table_of_q_values(wrap):
    table = tracer.zeros(4, 2)

    @wrap
    def learn(state, action, reward, after):
        best = table[after].max()
        table[state, action] += 0.5 * (reward + 0.9 * best - table[state, action])
        return table[state].argmax()

    calls = [(i % 4, i % 2, float(i % 3 == 0), (i + 1) % 4) for i in range(12)]
    return learn, calls


@program(runs=3, programs=3, order=0)
def prioritised_replay(wrap):
    priorities = tracer.ones(5)
    values = tracer.randn(5, 2)
    model = nn.Linear(2, 1)

    @wrap
    def step(beta):
        index = tracer.multinomial(priorities / priorities.sum(), 3)
        weights = (priorities[index] / priorities.sum() * 5) ** -beta
        error = model(values[index])[:, 0] - 1
        loss = (weights / weights.max() * error**2).mean()
        priorities[index] = error.detach().abs() + 1e-3
        return loss

    return step, [(0.4 + 0.1 * k,) for k in range(6)]


@program(runs=9, programs=7, order=0)
def evolution_strategy_keeps_the_better(wrap):
    class Population:
        def __init__(self):
            self.best, self.fitness, self.generation = tracer.ones(3), -math.inf, 0

    population = Population()

    @wrap
    def generation(sigma):
        children = population.best + sigma * tracer.randn(4, 3)
        scores = -((children - 0.5) ** 2).sum(1)
        i = scores.argmax()
        population.generation += 1
        if scores[i].item() > population.fitness:
            population.best, population.fitness = children[i].clone(), scores[i].item()
        return population.fitness

    return generation, [(0.5,)] * 12


@program(runs=4, programs=10, order=0)
def noughts_and_crosses(wrap):
    @wrap
    def winner(board):
        lines = [*board, *board.T, board.diag(), board.flip(1).diag()]
        for line in lines:
            total = line.sum().item()
            if abs(total) == 3:
                return "x" if total > 0 else "o"
        return "draw" if (board != 0).all() else None

    boards = [[[1, 1, 1], [-1, -1, 0], [0, 0, 0]], [[-1, 1, 0], [1, -1, 0], [0, 1, -1]], [[0, 1, 0], [0, 0, 0], [0, 0, 0]]]
    return winner, [(tracer.tensor(b),) for b in boards * 3]
