"""Shapes that depend on data: masks, positions, unique values, ragged batches."""

import tracer
import tracer.nn.functional as F
from gallery.harness import program
from tracer import nn


def vector(*values, grad=True):
    return tracer.tensor([float(v) for v in values], requires_grad=grad)


@program(runs=4, programs=7)
def mean_of_the_positive(wrap):
    @wrap
    def f(x):
        return x[x > 0].mean()

    return f, [(vector(1, -2, 3),), (vector(1, 2, 3),), (vector(-1, -2, 3),), (vector(2, 4, 6),), (vector(5, -2, 1),)] * 2


@program(runs=3, programs=5)
def nothing_selected(wrap):
    @wrap
    def f(x):
        kept = x[x > 2]
        return kept.sum() if len(kept) else x.sum() * 0

    return f, [(vector(1, 2),), (vector(3, 2),), (vector(1, 1),), (vector(0, 9),)] * 2


@program(runs=4, programs=5, order=0)
def positions_that_are_not_zero(wrap):
    @wrap
    def f(x):
        rows, columns = x.nonzero(as_tuple=True)
        return x[rows, columns] * (rows + columns), len(rows), tracer.nonzero(x).shape

    a = tracer.tensor([[1, 0, 2], [0, 0, 3]])
    return f, [(a,), (a - 1,), (a,), (a * 0,), (a - 1,), (a,)]


@program(runs=4, programs=6, order=0)
def unique_values_with_counts(wrap):
    @wrap
    def f(x):
        values, inverse, counts = x.unique(return_inverse=True, return_counts=True)
        return values[counts.argmax()], counts[inverse], len(values)

    return f, [(tracer.tensor(v),) for v in ([3, 1, 3, 2], [1, 1, 1, 1], [5, 4, 5, 9], [7, 7, 7, 7])] * 2


@program(runs=4, programs=13, order=0)
def non_maximum_suppression(wrap):
    def overlap(box, boxes):
        low, high = tracer.maximum(box[:2], boxes[:, :2]), tracer.minimum(box[2:], boxes[:, 2:])
        inner = (high - low).clamp(min=0).prod(1)
        area = lambda b: (b[..., 2] - b[..., 0]) * (b[..., 3] - b[..., 1])
        return inner / (area(box) + area(boxes) - inner)

    @wrap
    def nms(boxes, scores):
        order, kept = scores.argsort(descending=True), []
        while order.numel() > 0:
            kept.append(order[0])
            order = order[1:]
            order = order[overlap(boxes[kept[-1]], boxes[order]) < 0.5]
        return tracer.stack(kept)

    boxes = tracer.tensor([[0, 0, 2, 2], [0, 0, 2, 1.9], [3, 3, 5, 5], [3, 3, 5, 4.8]], dtype=tracer.float32)
    apart = boxes + tracer.arange(4)[:, None] * 6
    scores = tracer.tensor([0.9, 0.8, 0.7, 0.6])
    return nms, [(boxes, scores), (apart, scores), (boxes, scores.flip(0))] * 3


@program(runs=4, programs=4, order=0)
def hard_examples_only(wrap):
    model = nn.Linear(3, 2)
    optimizer = tracer.optim.SGD(model.parameters(), lr=0.1)

    @wrap
    def step(x, y):
        loss = F.cross_entropy(model(x), y, reduction="none")
        hard = loss[loss > loss.mean()]
        optimizer.zero_grad()
        hard.mean().backward()
        optimizer.step()
        return hard.detach().sum(), hard.numel()

    return step, [(tracer.randn(6, 3), tracer.randint(0, 2, (6,))) for _ in range(10)]


@program(runs=4, programs=17)
def loss_without_padding(wrap):
    head = nn.Linear(3, 4)

    @wrap
    def loss(h, labels):
        valid = labels != -100
        return F.cross_entropy(head(h[valid]), labels[valid])

    labels = [[1, 2, -100, 0], [-100, 1, -100, 2], [3, 3, 3, -100], [1, 2, 0, 0], [-100, -100, -100, 1]]
    return loss, [(tracer.randn(4, 3), tracer.tensor(v)) for v in labels * 2]


@program(runs=2, programs=3)
def experts_by_tokens(wrap):
    experts, gate = nn.ModuleList(nn.Linear(3, 3) for _ in range(2)), nn.Linear(3, 2)

    @wrap
    def mixture(x):
        scores = gate(x).softmax(1)
        best, chosen = scores.max(1)
        out = tracer.zeros_like(x)
        for i, expert in enumerate(experts):
            mine = (chosen == i).nonzero()[:, 0]
            if mine.numel():
                out = out.index_add(0, mine, best[mine, None] * expert(x[mine]))
        return out

    return mixture, [(tracer.randn(20, 3),) for _ in range(10)]


@program(runs=2, programs=2)
def message_passing(wrap):
    message, update = nn.Linear(4, 2), nn.GRUCell(2, 2)

    @wrap
    def step(h, source, target):
        for _ in range(2):
            m = message(tracer.cat([h[source], h[target]], 1)).relu()
            h = update(tracer.zeros_like(h).index_add(0, target, m), h)
        return h

    edges = tracer.tensor([0, 1, 2, 2]), tracer.tensor([1, 2, 0, 1])
    return step, [(tracer.randn(3, 2), *edges) for _ in range(4)]


@program(runs=3, programs=8, order=0)
def groups_of_rows(wrap):
    @wrap
    def means(x, group):
        return {int(k): x[group == k].mean(0) for k in group.unique()}

    groups = [tracer.tensor(v) for v in ([0, 1, 0, 1], [2, 2, 2, 2], [1, 0, 1, 0])]
    return means, [(tracer.randn(4, 2), g) for g in groups * 2]


@program(runs=3, programs=6)
def ragged_batch_as_a_list(wrap):
    layer = nn.Linear(2, 2)

    @wrap
    def encode(parts):
        lengths = [len(p) for p in parts]
        packed = layer(tracer.cat(parts)).tanh()
        return tracer.stack([p.mean(0) for p in packed.split(lengths)])

    sizes = [(1, 2), (3, 1), (1, 2), (2, 2)]
    return encode, [([tracer.randn(n, 2) for n in s],) for s in sizes * 2]


@program(runs=3, programs=4)
def padding_to_the_longest(wrap):
    @wrap
    def pad(parts):
        longest = max(p.shape[0] for p in parts)
        rows = [F.pad(p, (0, longest - len(p))) for p in parts]
        return tracer.stack(rows).cumsum(1)

    sizes = [(1, 3), (2, 2), (1, 3)]
    return pad, [([tracer.randn(n, requires_grad=True) for n in s],) for s in sizes * 2]


@program(runs=4, programs=22)
def masked_assignment(wrap):
    @wrap
    def f(x, y):
        out = x.clone()
        mask = x > y
        out[mask] = (y * 2)[mask]
        out[~mask] += 1
        return out

    return f, [(vector(1, 5, 3), vector(2, 2, 2)), (vector(9, 5, 3), vector(2, 2, 2)), (vector(0, 0, 9), vector(2, 2, 2))] * 3


@program(runs=4, programs=5, order=0)
def confusion_matrix_and_metrics(wrap):
    matrix = tracer.zeros(3, 3, dtype=tracer.int64)

    @wrap
    def update(predicted, target):
        matrix.add_(tracer.bincount(target * 3 + predicted, minlength=9).reshape(3, 3))
        right = matrix.diag().float()
        recall = right / matrix.sum(1).clamp(min=1)
        seen = matrix.sum(1) > 0
        return recall[seen].mean().item(), matrix.sum().item()

    return update, [(tracer.tensor(p), tracer.tensor(t)) for p, t in (([0, 1], [0, 0]), ([1, 1], [1, 0]), ([2, 0], [2, 2]))] * 3


@program(runs=3, programs=4, order=0)
def patches_dropped_by_score(wrap):
    @wrap
    def keep(x, ratio):
        n = max(1, int(x.shape[0] * ratio))
        index = x.norm(dim=1).topk(n).indices.sort().values
        return x[index]

    return keep, [(tracer.randn(4, 2), r) for r in (0.5, 0.6, 0.75, 0.5, 0.55, 0.75, 0.5)]


@program(runs=3, programs=6, order=0)
def connected_components(wrap):
    @wrap
    def components(adjacency):
        labels = tracer.arange(len(adjacency))
        while True:
            spread = tracer.where(adjacency, labels, len(labels)).min(1).values.minimum(labels)
            if tracer.equal(spread, labels):
                return labels, labels.unique().numel()
            labels = spread

    a = tracer.tensor([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]).bool()
    b = tracer.tensor([[0, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 1], [0, 0, 1, 0]]).bool()
    return components, [(a,), (b,)] * 4


@program(runs=2, programs=3)
def shapes_that_are_constants(wrap):
    @wrap
    def f(x):
        i, j = tracer.eye(3).nonzero(as_tuple=True)
        k = int(tracer.arange(5)[2])
        lower = tracer.ones(3, 3).tril() == 1
        return x[i, j] * k, x[lower][:k].sum()

    return f, [(tracer.randn(3, 3, requires_grad=True),) for _ in range(4)]


@program(runs=2, programs=2)
def selection_of_a_random_subset(wrap):
    @wrap
    def f(x):
        chosen = tracer.randperm(len(x))[:3]
        return x[chosen].sum() * 2

    return f, [(tracer.randn(6, requires_grad=True),) for _ in range(4)]


@program(runs=5, programs=6, order=0)
def dropout_that_removes_rows(wrap):
    @wrap
    def f(x):
        kept = x[tracer.rand(len(x)) > 0.4]
        return kept.sum(0) / max(1, kept.shape[0])

    return f, [(tracer.randn(4, 2),) for _ in range(20)]


@program(runs=3, programs=3, order=0)
def many_batch_sizes(wrap):
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))

    @wrap
    def f(x):
        return model(x).sum() / x.shape[0]

    return f, [(tracer.randn(n, 2),) for n in (3, 4, 3, 4, 3)]


@program(runs=3, programs=6, order=0)
def histogram_equalisation(wrap):
    @wrap
    def equalise(image):
        counts = tracer.bincount(image.flatten(), minlength=4)
        cdf = counts.cumsum(0)
        low = cdf[cdf > 0].min()
        total = image.numel()
        if low == total:
            return image
        return ((cdf - low).float() / (total - low) * 3).round().long()[image]

    return equalise, [(tracer.tensor(v),) for v in ([[0, 1], [1, 3]], [[2, 2], [2, 2]], [[0, 0], [1, 2]])] * 3
