"""Pruning of parameters. Expected masks are those of PyTorch."""

import copy

import pytest

import tracer
from tracer import nn
from tracer.nn.utils import prune

F = nn.functional


def linear(rows=3, columns=4):
    layer = nn.Linear(columns, rows, dtype=tracer.float64)
    with tracer.no_grad():
        layer.weight.copy_((tracer.arange(rows * columns, dtype=tracer.float64) - 4.5).view(rows, columns))
    return layer


def test_names_and_removal():
    layer = prune.l1_unstructured(linear(), "weight", amount=0.5)
    assert [n for n, _ in layer.named_parameters()] == ["bias", "weight_orig"]
    assert [n for n, _ in layer.named_buffers()] == ["weight_mask"] and list(layer.state_dict()) == [
        "bias",
        "weight_orig",
        "weight_mask",
    ]
    assert layer.weight_mask.tolist() == [[1, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]] and layer.weight.grad_fn is not None
    assert prune.is_pruned(nn.Sequential(layer)) and not prune.is_pruned(linear())
    prune.remove(layer, "weight")
    assert isinstance(layer.weight, nn.Parameter) and layer.weight.is_leaf and not prune.is_pruned(layer)
    assert layer.weight.tolist() == [[-4.5, -3.5, 0, 0], [0, 0, 0, 0], [3.5, 4.5, 5.5, 6.5]]
    with pytest.raises(ValueError, match="has to be pruned"):
        prune.remove(layer, "weight")


def test_methods():
    assert prune.ln_structured(linear(), "weight", 1, n=2, dim=0).weight_mask.sum(1).tolist() == [4, 0, 4]
    assert prune.ln_structured(linear(), "weight", 0.5, n=1, dim=-1).weight_mask.sum(0).tolist() == [0, 0, 3, 3]
    assert prune.random_structured(linear(), "weight", 2, dim=1).weight_mask.sum(0).sort()[0].tolist() == [0, 0, 3, 3]
    assert prune.random_unstructured(linear(), "weight", 0.25).weight_mask.sum() == 9
    assert prune.identity(linear(), "bias").bias_mask.tolist() == [1, 1, 1]
    mask = tracer.tensor([1.0, 0, 1])
    assert prune.custom_from_mask(linear(), "bias", mask).bias_mask.tolist() == [1, 0, 1]
    scores = -linear().weight.detach().abs()
    assert prune.l1_unstructured(linear(), "weight", 2, importance_scores=scores).weight_mask.sum() == 10


def test_methods_one_after_the_other():
    layer = prune.l1_unstructured(linear(), "weight", amount=6)
    prune.ln_structured(layer, "weight", amount=0.5, n=2, dim=0)  # of the two channels that are left
    (method,) = layer._forward_pre_hooks.values()
    assert [type(m) for m in method] == [prune.L1Unstructured, prune.LnStructured]
    assert layer.weight_mask.sum(1).tolist() == [0, 0, 4]


def test_global_pruning():
    a, b = linear(), linear(2, 5)
    pairs = [(a, "weight"), (b, "weight")]
    prune.global_unstructured(pairs, prune.L1Unstructured, amount=0.5)
    assert (a.weight_mask.sum().item(), b.weight_mask.sum().item()) == (6, 5)
    prune.global_unstructured(pairs, prune.L1Unstructured, amount=0.5)
    assert a.weight_mask.sum() + b.weight_mask.sum() == 5  # half of those that were left, rounded to even


def test_a_method_of_the_user():
    class Odd(prune.BasePruningMethod):
        PRUNING_TYPE = "unstructured"

        def compute_mask(self, t, default_mask):
            mask = default_mask.clone()
            mask.view(-1)[::2] = 0
            return mask

    layer = linear()
    Odd.apply(layer, "bias")
    assert layer.bias_mask.tolist() == [0, 1, 0]
    assert copy.deepcopy(layer).bias.tolist() == layer.bias.tolist()


@pytest.mark.parametrize("compiled", [False, True])
def test_training(compiled):
    """Gradients reach the kept elements alone, and changes of the parameter are seen."""
    layer = prune.l1_unstructured(linear(), "weight", amount=0.5)
    optimizer = tracer.optim.SGD(layer.parameters(), lr=0.1)
    x = tracer.randn(5, 4, dtype=tracer.float64)

    def step(x):
        optimizer.zero_grad()
        loss = layer(x).square().mean()
        loss.backward()
        optimizer.step()
        return loss.detach()

    other, before = copy.deepcopy(layer.state_dict()), layer.weight_orig.detach().clone()
    run = tracer.trace(step) if compiled else step
    losses = [run(x).item() for _ in range(5)]
    kept = layer.weight_mask == 1
    assert (layer.weight_orig != before)[kept].all() and (layer.weight_orig == before)[~kept].all()
    assert losses[-1] < losses[0]
    layer.load_state_dict(other)
    assert run(x).item() == pytest.approx(losses[0])
    prune.remove(layer, "weight")
    optimizer = tracer.optim.SGD(layer.parameters(), lr=0.1)
    assert step(x).item() == pytest.approx(losses[1])


@pytest.mark.parametrize(
    ("run", "error", "words"),
    [
        (lambda: prune.l1_unstructured(linear(), "weight", 13), ValueError, "amount=13 should be smaller than the number"),
        (lambda: prune.l1_unstructured(linear(), "weight", -1), ValueError, "amount=-1 should either be a float"),
        (lambda: prune.l1_unstructured(linear(), "weight", 1.5), ValueError, "amount=1.5 should either be a float"),
        (lambda: prune.l1_unstructured(linear(), "weight", "all"), TypeError, "Invalid type for amount: all"),
        (lambda: prune.ln_structured(linear(), "bias", 1, 2, 0), ValueError, "can only be applied to multidimensional"),
        (lambda: prune.ln_structured(linear(), "weight", 1, 2, 5), IndexError, "Invalid index 5 for tensor of size"),
        (lambda: prune.global_unstructured(3, prune.L1Unstructured, amount=1), TypeError, "not an Iterable"),
        (
            lambda: prune.global_unstructured([(linear(), "weight")], prune.RandomStructured, amount=1),
            TypeError,
            'Only "unstructured" PRUNING_TYPE supported',
        ),
        (lambda: prune.custom_from_mask(linear(), "weight", tracer.ones(2)), AssertionError, "the same shape"),
    ],
)
def test_errors(run, error, words):
    with pytest.raises(error, match=words):
        run()


def test_nothing_changes_if_a_method_fails():
    layer = linear()
    with pytest.raises(ValueError, match="smaller"):
        prune.l1_unstructured(layer, "weight", 13)
    assert list(layer.state_dict()) == ["weight", "bias"] and not prune.is_pruned(layer)
