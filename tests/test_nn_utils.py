"""Module utilities: packed sequences, computed weights, averaged models."""

import copy
import pickle
import warnings

import numpy as np
import pytest

import tracer
from tracer import nn
from tracer.nn import utils
from tracer.nn.utils import parametrizations, parametrize, rnn
from tracer.optim import swa_utils


def sequences(lengths, width=3):
    tracer.manual_seed(1)
    return [tracer.randn(n, width, dtype=tracer.float64) for n in lengths]


@pytest.mark.parametrize("lengths", [[4, 3, 3, 1], [1, 4, 2], [3], [2, 2]])
def test_packing(lengths):
    xs = sequences(lengths)
    packed = rnn.pack_sequence(xs, enforce_sorted=False)
    assert packed.data.shape == (sum(lengths), 3) and packed.batch_sizes.tolist()[0] == len(lengths)
    padded, found = rnn.pad_packed_sequence(packed, batch_first=True, padding_value=-7.0, total_length=max(lengths) + 1)
    assert found.tolist() == lengths and padded.shape == (len(lengths), max(lengths) + 1, 3)
    for row, x, n in zip(padded, xs, lengths, strict=True):
        assert row[:n].tolist() == x.tolist() and bool((row[n:] == -7).all())
    assert all(a.tolist() == b.tolist() for a, b in zip(rnn.unpack_sequence(packed), xs, strict=True))
    left = rnn.pad_sequence(xs, padding_side="left")
    assert left.shape == (max(lengths), len(lengths), 3) and left[-1, 0].tolist() == xs[0][-1].tolist()
    assert all(a.tolist() == b.tolist() for a, b in zip(rnn.unpad_sequence(rnn.pad_sequence(xs), lengths), xs, strict=True))


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("lengths", [[4, 3, 3, 1], [1, 4, 2], [2, 2]])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_recurrent_layers_on_packed_sequences(kind, lengths, bidirectional):
    """Each sequence has the same result as alone, with the same gradients."""
    layer = getattr(nn, kind)(3, 4, 2, bidirectional=bidirectional).double()
    xs = sequences(lengths)
    out, states = layer(rnn.pack_sequence(xs, enforce_sorted=False))
    states = states if kind == "LSTM" else (states,)
    parts = rnn.unpack_sequence(out)
    sum((p**2).sum() for p in parts).backward()
    grads = [p.grad.clone() for p in layer.parameters()]
    layer.zero_grad()
    for k, (x, part) in enumerate(zip(xs, parts, strict=True)):
        alone, ends = layer(x.unsqueeze(1))
        np.testing.assert_allclose(part.detach().numpy(), alone[:, 0].detach().numpy(), rtol=1e-10)
        for state, end in zip(states, ends if kind == "LSTM" else (ends,), strict=True):
            np.testing.assert_allclose(state[:, k].detach().numpy(), end[:, 0].detach().numpy(), rtol=1e-10)
        (alone**2).sum().backward()
    for g, p in zip(grads, layer.parameters(), strict=True):
        np.testing.assert_allclose(g.numpy(), p.grad.numpy(), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: rnn.pack_padded_sequence(tracer.ones(3, 4), [1, 2, 3, 3]), RuntimeError, "sorted"),
        (lambda: rnn.pack_padded_sequence(tracer.ones(3, 4), [3, 2, 1]), RuntimeError, "batch_size"),
        (lambda: rnn.pack_padded_sequence(tracer.ones(3, 4), [3, 2, 1, 0]), RuntimeError, "greater than 0"),
        (lambda: rnn.pad_packed_sequence(rnn.pack_sequence([tracer.ones(3)]), total_length=2), ValueError, "total_length"),
        (lambda: rnn.pad_sequence([tracer.ones(2)], padding_side="x"), RuntimeError, "padding_side"),
        (lambda: nn.LSTM(2, 3)(rnn.pack_sequence([tracer.ones(3, 3)])), RuntimeError, "input_size"),
        (lambda: parametrizations.weight_norm(nn.Linear(2, 2), "none"), ValueError, "none"),
        (lambda: parametrizations.orthogonal(nn.Linear(2, 2), "bias"), ValueError, "matrix"),
        (lambda: parametrizations.orthogonal(nn.Linear(2, 2), orthogonal_map="x"), ValueError, "orthogonal_map"),
        (lambda: parametrize.remove_parametrizations(nn.Linear(2, 2), "weight"), ValueError, "parametrization"),
        (lambda: utils.remove_weight_norm(nn.Linear(2, 2)), ValueError, "weight_norm"),
        (lambda: utils.weight_norm(utils.weight_norm(nn.Linear(2, 2))), RuntimeError, "two weight_norm"),
        (lambda: utils.spectral_norm(nn.Linear(2, 2), n_power_iterations=0), ValueError, "n_power_iterations"),
        (lambda: swa_utils.get_ema_avg_fn(2.0), ValueError, "decay"),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_weight_norm():
    m = nn.Linear(2, 1, bias=False)
    m.weight.data.copy_(tracer.tensor([[3.0, 4.0]]))
    before = copy.deepcopy(m)
    m = utils.weight_norm(m)
    assert (
        m.weight_g.tolist() == [[5.0]]
        and m(tracer.ones(1, 2)).tolist() == [[7.0]]
        and list(m.state_dict()) == ["weight_g", "weight_v"]
    )
    for again in (copy.deepcopy(m), pickle.loads(pickle.dumps(m))):
        assert again(tracer.ones(1, 2)).tolist() == [[7.0]]
    m.weight_g.data.mul_(2)
    assert m.weight.tolist() == [[6.0, 8.0]]
    utils.remove_weight_norm(m)
    assert list(m.state_dict()) == ["weight"] and m.weight.tolist() == [[6.0, 8.0]]
    new = parametrizations.weight_norm(before)
    assert list(new.state_dict()) == ["parametrizations.weight.original0", "parametrizations.weight.original1"]
    assert new(tracer.ones(1, 2)).item() == pytest.approx(7.0)
    new.weight = tracer.tensor([[0.0, 2.0]])
    assert new.parametrizations.weight.original0.tolist() == [[2.0]]
    parametrize.remove_parametrizations(new, "weight")
    assert list(new.state_dict()) == ["weight"] and not parametrize.is_parametrized(new)


@pytest.mark.parametrize(
    "make",
    [
        utils.weight_norm,
        utils.spectral_norm,
        parametrizations.weight_norm,
        parametrizations.spectral_norm,
        parametrizations.orthogonal,
    ],
)
def test_computed_weights_are_trained_in_traces(make):
    def run(trace):
        tracer.manual_seed(2)
        m = make(nn.Linear(3, 3).double())
        optimizer = tracer.optim.SGD(m.parameters(), lr=0.1)

        @trace
        def step(x):
            optimizer.zero_grad()
            loss = (m(x) ** 2).sum()
            loss.backward()
            optimizer.step()
            return loss

        x = tracer.ones(2, 3, dtype=tracer.float64)
        return [step(x).item() for _ in range(4)]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.testing.assert_allclose(run(tracer.trace), run(lambda f: f), rtol=1e-9)


@pytest.mark.parametrize("orthogonal_map", ["matrix_exp", "cayley", "householder"])
@pytest.mark.parametrize("shape", [(3, 3), (5, 3), (2, 4)])
def test_orthogonal(orthogonal_map, shape):
    m = parametrizations.orthogonal(nn.Linear(*shape).double(), orthogonal_map=orthogonal_map)
    w = m.weight.detach().numpy()
    np.testing.assert_allclose(w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w, np.eye(min(shape)), atol=1e-9)
    q, _ = tracer.linalg.qr(tracer.randn(max(shape), min(shape), dtype=tracer.float64))
    target = q if w.shape[0] >= w.shape[1] else q.T
    m.weight = target
    np.testing.assert_allclose(m.weight.detach().numpy(), target.numpy(), atol=1e-9)


def test_spectral_norm():
    m = parametrizations.spectral_norm(nn.Linear(4, 3))
    for _ in range(60):
        m(tracer.ones(1, 4))
    assert tracer.linalg.svdvals(m.weight)[0].item() == pytest.approx(1.0, abs=1e-4)
    m.eval()
    before = m.parametrizations.weight[0]._u.tolist()
    m(tracer.ones(1, 4))
    assert m.parametrizations.weight[0]._u.tolist() == before


class Symmetric(nn.Module):
    def forward(self, x):
        return x.triu() + x.triu(1).transpose(-1, -2)

    def right_inverse(self, x):
        return x.triu()


class Doubled(nn.Module):
    def forward(self, x):
        return 2 * x

    def right_inverse(self, x):
        return x / 2


def test_own_parametrizations():
    m = nn.Linear(3, 3)
    parametrize.register_parametrization(m, "weight", Symmetric())
    parametrize.register_parametrization(m, "weight", Doubled())
    assert tracer.equal(m.weight, m.weight.T) and parametrize.is_parametrized(m, "weight")
    target = tracer.ones(3, 3)
    m.weight = target
    np.testing.assert_allclose(m.weight.detach().numpy(), target.numpy())
    with parametrize.cached():
        assert m.weight is m.weight
    assert [n for n, _ in m.named_parameters()] == ["bias", "parametrizations.weight.original"]

    class Flat(nn.Module):
        def forward(self, x):
            return x.reshape(-1)

    with pytest.raises(ValueError, match="shape"):
        parametrize.register_parametrization(nn.Linear(2, 2), "weight", Flat())


def test_fused_batch_norm():
    for layer, norm, x in [
        (nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), tracer.randn(2, 2, 4, 4)),
        (nn.Conv1d(2, 3, 2, bias=False), nn.BatchNorm1d(3), tracer.randn(2, 2, 4)),
    ]:
        norm.running_mean.uniform_()
        norm.running_var.uniform_(0.5, 2)
        layer.eval(), norm.eval()
        np.testing.assert_allclose(
            utils.fuse_conv_bn_eval(layer, norm)(x).detach().numpy(), norm(layer(x)).detach().numpy(), atol=1e-5
        )


def test_averaged_models():
    m = nn.Linear(2, 1)
    averaged = swa_utils.AveragedModel(m)
    ema = swa_utils.AveragedModel(m, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.9))
    values = []
    for k in range(4):
        m.weight.data.fill_(float(k))
        averaged.update_parameters(m)
        ema.update_parameters(m)
        values.append(k)
    assert averaged.module.weight.tolist() == [[1.5, 1.5]] and averaged.n_averaged.item() == 4
    expected = 0.0
    for k in values[1:]:
        expected = 0.9 * expected + 0.1 * k
    assert ema.module.weight[0, 0].item() == pytest.approx(expected)
    assert averaged(tracer.ones(1, 2)).shape == (1, 1)
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    data = [tracer.randn(6, 2) for _ in range(3)]
    swa_utils.update_bn(data, model)
    expected = np.mean([model[0](x).detach().numpy().mean(0) for x in data], 0)
    np.testing.assert_allclose(model[1].running_mean.numpy(), expected, atol=1e-6)
