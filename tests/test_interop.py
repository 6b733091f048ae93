"""NumPy's functions on tensors, shared memory, files, copies, einops."""

import copy
import io
import pickle

import einops
import numpy as np
import pytest

import tracer
from tracer import nn


def leaf(values):
    return tracer.tensor(values, requires_grad=True)


def test_arrays_of_tensors():
    t = tracer.tensor([1.0, 2.0])
    a = np.asarray(t)
    a[0] = 7
    assert t[0].item() == 7 and np.shares_memory(a, t.numpy())
    with pytest.raises(RuntimeError, match="requires grad"):
        np.asarray(leaf([1.0]))


def test_numpy_functions_give_tensors_with_gradients():
    x = leaf([1.0, 2.0])
    y = np.sin(x) * np.array([2.0, 3.0], np.float32) + np.float64(1.5)
    assert isinstance(y, tracer.Tensor) and y.dtype is tracer.float32
    np.sum(y).backward()
    assert x.grad.tolist() == pytest.approx([2 * np.cos(1.0), 3 * np.cos(2.0)], rel=1e-6)


@pytest.mark.parametrize(
    "call",
    [
        lambda a: np.add(a, np.ones((2, 3))),
        lambda a: np.ones((2, 3)) - a,
        lambda a: np.multiply(a, a),
        lambda a: np.ones((2, 3)) < a,
        lambda a: np.mean(a, axis=0),
        lambda a: np.sum(a, axis=1, keepdims=True),
        lambda a: np.concatenate([a, a], axis=1),
        lambda a: np.stack([a, a]),
        lambda a: np.transpose(a),
        lambda a: np.transpose(a, (1, 0)),
        lambda a: np.reshape(a, (3, 2)),
        lambda a: np.where(a > 1, a, 0.0),
        lambda a: np.clip(a, 0.5, 2.0),
        lambda a: np.expand_dims(a, 1),
        lambda a: np.matmul(a, a.T),
        lambda a: np.argmax(a, axis=1),
        lambda a: np.cumsum(a, axis=1),
        lambda a: np.max(a, axis=0),
        lambda a: np.einsum("ij,kj->ik", a, a),
    ],
)
def test_numpy_functions_agree(call):
    a = np.arange(6.0).reshape(2, 3) / 2
    t = tracer.from_numpy(a.copy())
    found = call(t)
    assert isinstance(found, tracer.Tensor)
    np.testing.assert_allclose(found.numpy(), call(a))
    assert found.numpy().dtype == call(a).dtype


def test_other_numpy_functions_run_on_arrays():
    t = tracer.tensor([3.0, 1.0, 2.0])
    assert np.percentile(t, 50) == 2
    assert np.add.reduce(t) == 6
    with pytest.raises(RuntimeError, match="requires grad"):
        np.unwrap(leaf([1.0]))
    a = np.zeros(3)
    a += t
    assert type(a) is np.ndarray and a.tolist() == [3, 1, 2]


def test_dlpack_shares_memory():
    a = np.arange(4.0)
    t = tracer.from_dlpack(a)
    t[0] = 9
    assert a[0] == 9
    b = np.from_dlpack(t)
    b[1] = 8
    assert t[1].item() == 8
    assert t.__dlpack_device__() == (1, 0)
    with pytest.raises(BufferError, match="require gradient"):
        leaf([1.0]).__dlpack__()


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
def test_copies(way):
    t = leaf([1.0, 2.0])
    t.grad = tracer.tensor([5.0, 6.0])
    c = way(t)
    assert c.tolist() == [1, 2] and c.requires_grad and c.is_leaf
    assert type(way(nn.Parameter(tracer.ones(2)))) is nn.Parameter


def test_only_leaves_are_deep_copied():
    with pytest.raises(RuntimeError, match="graph leaves"):
        copy.deepcopy(leaf([1.0]) * 2)


# Files.


def test_save_and_load_any_structure(tmp_path):
    state = {
        "model": nn.Linear(2, 3).state_dict(),
        "epoch": 7,
        "best": None,
        "rates": [0.1, (True, "a")],
        3: tracer.arange(4),
        "half": tracer.tensor([1.5, 2.5], dtype=tracer.bfloat16),
        "z": tracer.tensor([1 + 2j], dtype=tracer.complex128),
        "empty": {},
        "scalar": tracer.tensor(2.5),
    }
    path = tmp_path / "checkpoint.safetensors"
    tracer.save(state, path)
    found = tracer.load(path)
    assert list(found) == list(state)
    assert found["rates"] == [0.1, (True, "a")] and (found["epoch"], found["best"], found["empty"]) == (7, None, {})
    assert tracer.equal(found["model"]["weight"], state["model"]["weight"])
    assert found[3].tolist() == [0, 1, 2, 3] and found["scalar"].shape == ()
    assert found["half"].dtype is tracer.bfloat16 and found["half"].tolist() == [1.5, 2.5]
    assert found["z"].dtype is tracer.complex128 and found["z"].tolist() == [1 + 2j]
    found["model"]["weight"].zero_()  # the memory is not shared


def test_an_optimizer_goes_on_from_a_file():
    def make():
        tracer.manual_seed(0)
        model = nn.Linear(2, 1)
        return model, tracer.optim.Adam(model.parameters(), lr=0.1)

    def step(model, optimizer):
        optimizer.zero_grad()
        model(tracer.ones(3, 2)).sum().backward()
        optimizer.step()

    model, optimizer = make()
    step(model, optimizer)
    file = io.BytesIO()
    tracer.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
    step(model, optimizer)
    file.seek(0)
    found = tracer.load(file)
    other, again = make()
    other.load_state_dict(found["model"])
    again.load_state_dict(found["optimizer"])
    step(other, again)
    assert tracer.equal(other.weight, model.weight)


def test_flat_files_are_plain_safetensors(tmp_path):
    from safetensors.numpy import load_file, save_file

    tracer.save({"a": tracer.ones(2, 3)}, tmp_path / "a")
    assert load_file(tmp_path / "a")["a"].shape == (2, 3)
    save_file({"weight": np.ones((3, 2), np.float32), "bias": np.zeros(3, np.float32)}, tmp_path / "b")
    model = nn.Linear(2, 3)
    model.load_state_dict(tracer.load(tmp_path / "b"))
    assert model.weight.sum().item() == 6


class Trap:
    def __reduce__(self):
        return (print, ("executed",))


def test_loading_never_executes(tmp_path, capsys):
    path = tmp_path / "trap"
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ValueError, match="neither a tensor nor a plain container"):
        tracer.load(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="neither a safetensors file"):
        tracer.load(path)
    assert capsys.readouterr().out == ""


def test_what_cannot_be_saved(tmp_path):
    with pytest.raises(TypeError, match="cannot save a Linear"):
        tracer.save(nn.Linear(1, 1), tmp_path / "x")
    with pytest.raises(TypeError, match=r"cannot save a set \(at a.b\)"):
        tracer.save({"a": {"b": {1}}}, tmp_path / "x")
    assert not (tmp_path / "x").exists()


# einops.


def test_einops():
    x = tracer.arange(24, dtype=tracer.float32).reshape(2, 3, 4).requires_grad_()
    assert einops.rearrange(x, "a b c -> b (a c)").shape == (3, 8)
    assert einops.rearrange(x, "a (b1 b2) c -> a b1 b2 c", b1=3).shape == (2, 3, 1, 4)
    total = einops.reduce(x, "a b c -> b", "sum")
    assert total.tolist() == x.detach().numpy().sum((0, 2)).tolist()
    assert einops.repeat(x, "a b c -> a b c d", d=2).shape == (2, 3, 4, 2)
    assert einops.einsum(x, x, "a b c, a d c -> b d").shape == (3, 3)
    total.sum().backward()
    assert x.grad.sum().item() == 24
