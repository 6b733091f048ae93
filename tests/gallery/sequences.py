"""Sequences: recurrent networks, decoding, dynamic programming."""

import math

import tracer
import tracer.nn.functional as F
from gallery.harness import program
from tracer import nn, optim


def bigrams(n=5, seed=0):
    g = tracer.Generator(seed)
    return tracer.randn(n, n, generator=g).log_softmax(1)


@program(runs=3, programs=5, order=0)
def greedy_decoding_until_the_end_token(wrap):
    embed, cell, out = nn.Embedding(6, 4), nn.GRUCell(4, 4), nn.Linear(4, 6)

    @wrap
    def decode(h):
        with tracer.no_grad():
            token, tokens = tracer.tensor([1]), []
            while len(tokens) < 8:
                h = cell(embed(token), h)
                token = out(h).argmax(-1)
                tokens.append(token.item())
                if tokens[-1] == 0:
                    break
        return tokens

    hs = [tracer.randn(1, 4) * 2 for _ in range(2)]
    return decode, [(h,) for h in hs * 4]


@program(runs=4, programs=8, order=0)
def beam_search(wrap):
    table = bigrams(6)

    @wrap
    def search(start, width):
        beams = [(0.0, [start])]
        for _ in range(4):
            candidates = []
            for score, tokens in beams:
                if tokens[-1] == 0:
                    candidates.append((score, tokens))
                    continue
                values, indices = table[tokens[-1]].topk(width)
                for value, token in zip(values.tolist(), indices.tolist(), strict=True):
                    candidates.append((score + value, [*tokens, token]))
            beams = sorted(candidates, key=lambda c: -c[0])[:width]
            if all(tokens[-1] == 0 for _, tokens in beams):
                break
        return beams

    return search, [(s, 2) for s in (1, 2, 3)] * 3


@program(runs=3, programs=8, order=0)
def beam_search_by_tensors(wrap):
    table = bigrams(5, 3)

    @wrap
    def search(start):
        tokens, scores = start.reshape(1, 1), tracer.zeros(1)
        for _ in range(5):
            total = scores[:, None] + table[tokens[:, -1]]
            scores, flat = total.flatten().topk(3)
            tokens = tracer.cat([tokens[flat // 5], (flat % 5)[:, None]], 1)
            if (tokens[:, -1] == 0).all():
                break
        return tokens[scores.argmax()].tolist(), scores.max().item()

    return search, [(tracer.tensor([s]),) for s in (1, 2, 1, 2, 1, 2)]


@program(runs=2, programs=3, order=0)
def top_k_sampling(wrap):
    table = bigrams(6, 1)

    @wrap
    def sample(token, k):
        tokens = [token]
        for _ in range(4):
            logits = table[tokens[-1]] / 0.8
            kth = logits.topk(k).values[:, -1:]
            p = logits.masked_fill(logits < kth, -math.inf).softmax(-1)
            tokens.append(tracer.multinomial(p, 1)[:, 0])
        return tracer.cat(tokens)

    return sample, [(tracer.tensor([i % 6]), 3) for i in range(6)]


@program(runs=4, programs=6, order=0)
def nucleus_sampling_with_items(wrap):
    table = bigrams(6, 2)

    @wrap
    def sample(token, p):
        values, order = table[token].exp().sort(descending=True)
        kept = values[: int((values.cumsum(0) < p).sum().item()) + 1]
        choice = tracer.multinomial(kept / kept.sum(), 1)
        return order[choice].item()

    return sample, [(i % 3, 0.7) for i in range(12)]


@program(runs=4, programs=6)
def lstm_over_sequences_of_any_length(wrap):
    cell, head = nn.LSTMCell(3, 4), nn.Linear(4, 2)

    @wrap
    def classify(x):
        h = c = tracer.zeros(1, 4)
        for t in range(x.shape[0]):
            h, c = cell(x[t : t + 1], (h, c))
        return head(h)

    return classify, [(tracer.randn(n, 3),) for n in (2, 4, 5, 2, 4, 5, 2, 4, 5)]


@program(runs=3, programs=5, order=0)
def lstm_with_lengths_as_data(wrap):
    cell = nn.LSTMCell(2, 3)

    @wrap
    def last_states(x, lengths):
        h = c = tracer.zeros(x.shape[0], 3)
        for t in range(int(lengths.max())):
            new_h, new_c = cell(x[:, t], (h, c))
            alive = (t < lengths)[:, None]
            h, c = tracer.where(alive, new_h, h), tracer.where(alive, new_c, c)
        return h

    x = tracer.randn(3, 5, 2)
    lengths = [tracer.tensor(v) for v in ([5, 2, 1], [3, 3, 2], [1, 4, 5], [2, 3, 1])]
    return last_states, [(x, n) for n in lengths * 2]


@program(runs=4, programs=4, order=0)
def packed_sequences(wrap):
    gru = nn.GRU(2, 3, batch_first=True)

    @wrap
    def encode(x, lengths):
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        out, h = gru(packed)
        return nn.utils.rnn.pad_packed_sequence(out, batch_first=True)[0], h

    x = tracer.randn(2, 4, 2)
    return encode, [(x, [4, 2]), (x, [3, 3]), (x + 1, [4, 2]), (x, [3, 3]), (x, [4, 2])]


@program(runs=5, programs=10, order=0)
def teacher_forcing_by_the_flip_of_a_coin(wrap):
    cell, out = nn.RNNCell(3, 3), nn.Linear(3, 3)
    optimizer = optim.SGD([*cell.parameters(), *out.parameters()], lr=0.1)

    @wrap
    def step(target):
        h, x, loss = tracer.zeros(1, 3), tracer.zeros(1, 3), 0.0
        for t in range(2):
            h = cell(x, h)
            y = out(h)
            loss = loss + F.mse_loss(y, target[t : t + 1])
            x = target[t : t + 1] if tracer.rand(1) < 0.5 else y.detach()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step, [(tracer.randn(2, 3),) for _ in range(14)]


@program(runs=5, programs=14)
def viterbi(wrap):
    transition, emission = bigrams(3, 4), bigrams(3, 5)

    @wrap
    def path(observations):
        score, back = emission[:, observations[0]], []
        for o in observations[1:]:
            score, best = (score[:, None] + transition).max(0)
            score = score + emission[:, o]
            back.append(best)
        state = score.argmax()
        states = [state]
        for best in reversed(back):
            states.append(best[states[-1]])
        return tracer.stack(states[::-1]), score.max()

    return path, [(tracer.tensor(o),) for o in ([0, 1, 2, 1], [2, 2, 0, 0], [1, 1, 1, 2], [0, 0, 0, 0])] * 2


@program(runs=1, programs=3, order=2)
def forward_algorithm(wrap):
    @wrap
    def likelihood(transition, emission):
        alpha = emission[0]
        for e in emission[1:]:
            alpha = (alpha[:, None] + transition).logsumexp(0) + e
        return alpha.logsumexp(0)

    calls = [(tracer.randn(3, 3).double().requires_grad_(), tracer.randn(4, 3).double().requires_grad_()) for _ in range(3)]
    return likelihood, calls


@program(runs=3, programs=13, order=0)
def edit_distance(wrap):
    @wrap
    def distance(a, b):
        row = list(range(len(b) + 1))
        for i, x in enumerate(a):
            new = [i + 1]
            for j, y in enumerate(b):
                new.append(min(row[j] + int((x != y).item()), row[j + 1] + 1, new[-1] + 1))
            row = new
        return row[-1]

    pairs = [([1, 2, 3], [1, 3, 3]), ([1, 1], [2, 1])]
    return distance, [(tracer.tensor(a), tracer.tensor(b)) for a, b in pairs * 3]


@program(runs=3, programs=4)
def tree_lstm_by_recursion(wrap):
    leaf, node = nn.Linear(2, 3), nn.Linear(6, 3)

    @wrap
    def encode(tree, words):
        def go(t):
            if isinstance(t, int):
                return leaf(words[t]).tanh()
            return node(tracer.cat([go(t[0]), go(t[1])])).tanh()

        return go(tree)

    trees = [((0, 1), 2), (0, (1, 2))]
    return encode, [(t, tracer.randn(3, 2)) for t in trees * 3]


@program(runs=3, programs=4, order=0)
def stack_machine_driven_by_a_tensor(wrap):
    @wrap
    def run(program, x):
        stack = [x]
        for op in program.tolist():
            if op == 0:
                stack.append(stack[-1].sin())
            elif op == 1:
                stack.append(stack.pop() + stack[-1])
            else:
                stack[-1] = stack[-1] * 2
        return stack[-1], len(stack)

    programs = [tracer.tensor(p) for p in ([0, 1, 2], [0, 0, 1])]
    return run, [(p, tracer.tensor([1.0, 2.0])) for p in programs * 3]


@program(runs=3, programs=6)
def adaptive_computation_time(wrap):
    cell, halt = nn.RNNCell(2, 3), nn.Linear(3, 1)

    @wrap
    def think(x):
        h, total, out, n = tracer.zeros(1, 3), tracer.zeros(1, 1), 0.0, 0
        while n < 6 and (total < 0.95).any():
            h = cell(x, h)
            p = halt(h).sigmoid() * (1 - total)
            out, total, n = out + p * h, total + p, n + 1
        return out, n

    return think, [(x,) for x in (tracer.ones(1, 2), tracer.full((1, 2), -3.0))] * 3


@program(runs=2, programs=4)
def transformer_with_a_causal_mask(wrap):
    layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)

    @wrap
    def encode(x):
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        return layer(x, src_mask=mask, is_causal=True)

    return encode, [(tracer.randn(2, n, 4),) for n in (3, 3, 4, 3, 4)]


@program(runs=5, programs=11, order=0)
def speculative_decoding(wrap):
    small, large = bigrams(5, 6), bigrams(5, 7)

    @wrap
    def decode(token):
        drafted = []
        t = token
        for _ in range(3):
            t = small[t].argmax()
            drafted.append(t)
        accepted = [token]
        for d in drafted:
            wanted = large[accepted[-1]].argmax()
            accepted.append(wanted)
            if wanted != d:
                break
        return tracer.stack(accepted)

    return decode, [(tracer.tensor(i % 5),) for i in range(12)]


@program(runs=2, programs=3)
def ctc_by_hand(wrap):
    @wrap
    def loss(log_probs, labels):
        extended = [0]
        for label in labels:
            extended += [label, 0]
        alpha = [log_probs[0, 0], log_probs[0, extended[1]]] + [tracer.tensor(-1e4)] * (len(extended) - 2)
        for t in range(1, len(log_probs)):
            new = []
            for s, label in enumerate(extended):
                terms = [alpha[s]]
                if s > 0:
                    terms.append(alpha[s - 1])
                if s > 1 and label not in (0, extended[s - 2]):
                    terms.append(alpha[s - 2])
                new.append(tracer.stack(terms).logsumexp(0) + log_probs[t, label])
            alpha = new
        return -tracer.logaddexp(alpha[-1], alpha[-2])

    return loss, [(tracer.randn(4, 3).log_softmax(1).requires_grad_(), [1, 2]) for _ in range(3)]
