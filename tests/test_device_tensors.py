"""Tensors on an emulated CUDA device: where they are, moving them, views, errors, memory; and planted faults."""

import copy

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="needs the extra 'cuda'")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from marks import needs_two, only_emulated

import tracer
from tracer import nn
from tracer.ir import ops as P
from tracer.nn import functional as F
from tracer.runtime import emulator
from tracer.runtime.devices import DeviceArray, array, to_host
from tracer.runtime.devices.array import read_bytes, to_device

pytestmark = [pytest.mark.usefixtures("cuda"), pytest.mark.filterwarnings("ignore:(?s).*has no kernel for this device")]

# Tensors.


def test_where_a_tensor_is():
    x = tracer.ones(2, 3)
    y = x.to("cuda")
    assert (x.device.type, y.device, y.get_device(), x.get_device()) == ("cpu", tracer.device("cuda:0"), 0, -1)
    assert y.type() == "torch.cuda.FloatTensor" and y.type("torch.DoubleTensor").type() == "torch.DoubleTensor"
    assert y.is_cuda and not y.is_cpu and x.is_cpu and not x.is_cuda
    assert y.to("cuda") is y and y.cuda() is y and x.cpu() is x and y.to("cuda", copy=True) is not y
    assert x.to(y).device == y.device
    assert y.to(tracer.float64).device == y.device and y.to("cpu", tracer.int64).dtype is tracer.int64
    assert repr(y[0]) == "tensor([1., 1., 1.], device='cuda:0')"
    assert y.tolist() == x.tolist() and y.sum().item() == 6 and bool(y[0, 0] == 1)
    for use in (y.numpy, lambda: np.asarray(y)):
        with pytest.raises(TypeError, match=r"can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu\(\)"):
            use()


@needs_two
def test_a_second_device():
    x = tracer.ones(2, 2, device="cuda")
    assert x.to("cuda:1").device.index == 1 and x.cpu().cuda(1).device.index == 1
    assert tracer.arange(3, device="cuda:1").device.index == 1
    with tracer.device("cuda:1"):
        assert tracer.ones(2).device.index == 1 and tracer.get_default_device() == tracer.device("cuda:1")
        assert tracer.ones(2, device="cpu").is_cpu
    with tracer.cuda.device(1):
        assert tracer.cuda.current_device() == 1 and tracer.ones(2).cuda().device.index == 1
    with pytest.raises(RuntimeError, match="cuda:1 and cuda:0"):
        x + x.to("cuda:1")
    assert tracer.cuda.device_count() >= 2


def test_new_tensors():
    assert tracer.zeros(2, device="cuda").is_cuda
    assert tracer.ones_like(tracer.ones(2).cuda()).is_cuda and tracer.tensor([1, 2], device="cuda").dtype is tracer.int64
    assert tracer.randn(2, device="cuda").cpu().shape == (2,)
    with tracer.device("cuda:0"):
        assert tracer.ones(2).device.index == 0 and tracer.get_default_device() == tracer.device("cuda:0")
        assert tracer.ones(2, device="cpu").is_cpu
    assert tracer.ones(2).is_cpu
    tracer.set_default_device("cuda")
    try:
        assert tracer.ones(2).is_cuda and nn.Linear(2, 2).weight.is_cuda
    finally:
        tracer.set_default_device(None)


@pytest.mark.filterwarnings("error:(?s).*runs eagerly")
@pytest.mark.parametrize("device", ["cuda:0", pytest.param("cuda:1", marks=needs_two)])
def test_traces_follow_the_default_device(device):
    @tracer.trace
    def step(n):
        return tracer.arange(3.0) * n, F.one_hot(tracer.tensor([0, 2]), 3)

    def devices():
        return {str(t.device) for _ in range(2) for t in step(2.0)}

    assert devices() == {"cpu"}
    with tracer.device(device):
        assert devices() == {device}
    assert devices() == {"cpu"}
    tracer.set_default_device("cuda")
    try:
        assert devices() == {"cuda:0"}
        with tracer.device("cpu"):
            assert devices() == {"cpu"}
        tracer.cuda.set_device(device)
        assert devices() == {device}
    finally:
        tracer.cuda.set_device(0)
        tracer.set_default_device(None)
    assert devices() == {"cpu"} and len(step.graphs()) == (4 if device == "cuda:0" else 5)


@pytest.mark.filterwarnings("error:(?s).*runs eagerly")
def test_every_result_is_on_the_device(on_cuda):
    @tracer.trace
    def run(x):
        window = tracer.signal.windows.gaussian(5, dtype=tracer.float64), tracer.hann_window(1, dtype=tracer.float64)
        return *window, *tracer.histogram(x, bins=4, range=(-1.0, 1.0))

    x = tracer.linspace(-1, 1, 5)
    assert all(t.is_cuda and t._base is None for _ in range(3) for t in run(x))


@pytest.mark.filterwarnings("error:(?s).*runs eagerly")
def test_constants_are_made_beside_their_operands():
    @tracer.trace
    def run(v):
        transform = tracer.distributions.CorrCholeskyTransform()
        y = transform(v)
        return y, transform.inv(y), transform.log_abs_det_jacobian(v, y), F.pdist(y), tracer.histogram(v, bins=2).bin_edges

    v = tracer.linspace(-1, 1, 3).cuda()
    assert all(t.is_cuda for _ in range(3) for t in run(v))


def test_random_numbers_are_the_cpus():
    found = []
    for where in ("cpu", "cuda"):
        tracer.manual_seed(1)
        found.append([f(3, 5, device=where).cpu().numpy() for f in (tracer.rand, tracer.randn)])
    assert all(np.array_equal(a, b) for a, b in zip(*found, strict=True))


def test_mixed_devices_are_refused():
    x, y = tracer.ones(2, 2), tracer.ones(2, 2, device="cuda")
    for use in (
        lambda: x + y,
        lambda: y * x,
        lambda: x @ y,
        lambda: tracer.cat([x, y]),
        lambda: F.mse_loss(y, x),
        lambda: y.add_(x),
    ):
        with pytest.raises(
            RuntimeError, match="Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!"
        ):
            use()
    assert (y * tracer.tensor(2.0)).sum().item() == 8  # a number may be on the CPU
    assert y[tracer.tensor([0])].shape == (1, 2) and y.clone().copy_(x).is_cuda


def test_devices_that_do_not_exist():
    for use in (
        lambda: tracer.ones(2, device="cuda:5"),
        lambda: tracer.ones(2).to("cuda:5"),
        lambda: nn.Linear(2, 2).to("cuda:5"),
    ):
        with pytest.raises(RuntimeError, match="invalid device ordinal: 5"):
            use()
    with pytest.raises(RuntimeError, match="no device 'xpu': tensors live on 'cpu'"):
        tracer.ones(2, device="xpu")


def test_gradients_flow_between_devices():
    x = tracer.randn(3, requires_grad=True)
    y = x.cuda() * 2
    (y.cpu() * tracer.arange(3.0)).sum().backward()
    assert x.grad.is_cpu and x.grad.tolist() == [0, 2, 4]
    w = tracer.randn(3, device="cuda", requires_grad=True)
    (w.cpu() ** 2).sum().backward()
    np.testing.assert_allclose(w.grad.cpu().numpy(), 2 * w.detach().cpu().numpy(), rtol=1e-6)
    (g,) = tracer.autograd.grad((w**3).sum(), w, create_graph=True)
    (h,) = tracer.autograd.grad(g.sum(), w)
    np.testing.assert_allclose(h.cpu().numpy(), 6 * w.detach().cpu().numpy(), rtol=1e-5)


def test_views_and_changes_in_place():
    def program(x):
        y = x.clone()
        y[1] = 5
        y[:, 2] += 1
        y.t()[0] *= 3
        y[y > 4] = -1
        y[[0, 2]] = y[[2, 0]].clone()
        y.view(-1)[3:5].fill_(9)
        y.flip(0)[0].zero_()
        return (
            y,
            y.t().contiguous(),
            y[1:, ::2].reshape(-1),
            y.expand(2, 3, 4)[1],
            y.unfold(1, 2, 1),
            y.diagonal(),
            y[..., None, 1],
        )

    x = tracer.arange(12.0).view(3, 4)
    for a, b in zip(program(x), program(x.cuda()), strict=True):
        assert b.is_cuda and a.tolist() == b.tolist()
    y = x.cuda()
    part = y[1:, 1:]
    part.mul_(0)
    assert y.tolist() == [[0, 1, 2, 3], [4, 0, 0, 0], [8, 0, 0, 0]] and part._base is y


def test_errors_are_those_of_the_cpu():
    for program in (
        lambda x: x[5],
        lambda x: x @ x,
        lambda x: x + tracer.ones(7, device=x.device),
        lambda x: x.view(5),
        lambda x: tracer.gather(x, 1, tracer.tensor([[9]], device=x.device)),
        lambda x: F.embedding(tracer.tensor([7], device=x.device), x),
        lambda x: x.long() // tracer.tensor(0, device=x.device),
    ):
        errors = []
        for where in ("cpu", "cuda"):
            with pytest.raises((RuntimeError, IndexError, ZeroDivisionError)) as e:
                program(tracer.ones(2, 3, device=where)).sum().item()
            errors.append((e.type, str(e.value).split("(")[0]))
        assert errors[0] == errors[1]


def test_modules_and_files(tmp_path):
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).cuda()
    assert all(t.is_cuda for t in (*model.parameters(), *model.buffers()))
    twin = copy.deepcopy(model)
    assert next(twin.parameters()).is_cuda and next(twin.parameters()) is not next(model.parameters())
    tracer.save(model.state_dict(), tmp_path / "state")
    state = tracer.load(tmp_path / "state")
    fresh = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    fresh.load_state_dict(state)
    assert all(t.is_cpu for t in fresh.parameters())
    for a, b in zip(fresh.state_dict().values(), model.state_dict().values(), strict=True):
        assert a.tolist() == b.tolist()
    assert all(t.is_cpu for t in model.cpu().parameters())


# Memory.


def test_memory_is_counted_and_kept():
    used = tracer.cuda.memory_allocated()
    x = tracer.zeros(1000, 1000, device="cuda")
    assert tracer.cuda.memory_allocated() - used == 4_000_256 and tracer.cuda.max_memory_allocated() >= 4_000_256
    where = x.data_ptr()
    view = x[3:]
    del x
    assert tracer.cuda.memory_allocated() - used == 4_000_256
    del view
    assert tracer.cuda.memory_allocated() == used and tracer.cuda.memory_reserved() >= 4_000_256
    assert tracer.ones(1000, 1000, device="cuda").data_ptr() == where  # the same memory again
    tracer.cuda.empty_cache()
    assert tracer.cuda.memory_reserved() < 4_000_256 + used
    assert "memory_allocated" in tracer.cuda.memory_summary()
    free, total = tracer.cuda.mem_get_info()
    assert 0 < free <= total


@only_emulated("it sets the size of the emulated memory")
def test_no_memory_left(cuda, monkeypatch):
    cuda.empty_cache()
    monkeypatch.setattr(cuda, "total_memory", cuda.pool.reserved + (1 << 20))
    kept = [tracer.zeros(1 << 16, device="cuda") for _ in range(3)]
    del kept[:]  # its memory must be released first
    tracer.zeros(200_000, device="cuda")
    with pytest.raises(
        tracer.cuda.OutOfMemoryError, match=r"CUDA out of memory. Tried to allocate 4.00 MiB. GPU 0 has a total"
    ):
        tracer.zeros(1 << 20, device="cuda")


def test_names_that_programs_use(cuda):
    assert tracer.cuda.is_available() and tracer.cuda.device_count() >= 1 and tracer.cuda.current_device() == 0
    assert tracer.cuda.get_device_name() == cuda.name
    with tracer.cuda.device(0):
        assert tracer.cuda.current_device() == 0 and tracer.ones(2).cuda().device.index == 0
    tracer.cuda.synchronize()
    tracer.cuda.manual_seed_all(0)


# Planted faults.


def test_the_host_cannot_read_by_accident(cuda):
    x = to_device(np.ones(3), cuda)
    for use in (lambda: np.asarray(x), lambda: np.array(x), lambda: memoryview(x), lambda: float(np.ones(3) @ np.asarray(x))):
        with pytest.raises(TypeError):
            use()


@only_emulated("a fault ends a GPU's context")
def test_a_wrong_address_is_caught(cuda):
    x = to_device(np.ones(3, np.float32), cuda)
    beyond = DeviceArray(cuda.layout(x.address + 4096, (3,), np.dtype(np.float32)), x.memory)
    with pytest.raises((RuntimeError, emulator.Fault), match=r"illegal memory access|out of bounds"):
        to_host(cuda.apply(P.exp, [beyond], {}))
    too_long = DeviceArray(cuda.layout(x.address, (5000,), np.dtype(np.float32)), x.memory)
    with pytest.raises((RuntimeError, emulator.Fault), match=r"illegal memory access|out of bounds"):
        to_host(cuda.apply(P.exp, [too_long], {}))


@only_emulated("a fault ends a GPU's context")
def test_freed_memory_is_caught(cuda):
    x = to_device(np.ones(300_000, np.float32), cuda)
    dangling, owner = x.layout, x.memory
    del x
    address, nbytes = owner.address, owner.nbytes
    del owner
    cuda.empty_cache()
    with pytest.raises(RuntimeError, match="illegal memory access"):
        read_bytes(cuda, address, nbytes)
    assert dangling.shape == (300_000,)


@st.composite
def writes(draw):
    """A shape, an order of its axes, an index, the shape of the value, a dtype."""
    shape = draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))
    axes = draw(st.permutations(range(len(shape))))
    index = []
    for axis in axes:
        start = draw(st.integers(0, shape[axis] - 1))
        stop = draw(st.integers(start + 1, shape[axis]))
        index.append(draw(st.one_of(st.just(start), st.builds(slice, st.just(start), st.just(stop), st.integers(1, 3)))))
    part = np.empty(shape).transpose(axes)[tuple(index)].shape
    value = [n if draw(st.booleans()) else 1 for n in part][draw(st.integers(0, len(part))) :]
    return shape, axes, tuple(index), value, draw(st.sampled_from(["float32", "float64", "int64", "bfloat16", "bool", "int8"]))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(writes())
def test_writes_into_views(cuda, given):
    shape, axes, index, value, dtype = given
    x = tracer.arange(int(np.prod(shape))).reshape(shape).to(getattr(tracer, dtype))
    y, v = x.cuda(), (tracer.rand(value) * 50).to(x.dtype)
    x.permute(axes)[index] = v
    y.permute(axes)[index] = v.cuda()
    assert y.tolist() == x.tolist()


@pytest.mark.filterwarnings("error:(?s).*has no kernel for this device")
def test_gradients_are_accumulated_on_the_device():
    w = tracer.ones(3, device="cuda", requires_grad=True)
    for _ in range(3):
        (w * w).sum().backward()
    assert w.grad.tolist() == [6, 6, 6]
    data = w.detach()._data
    data += data
    assert w.tolist() == [2, 2, 2]


def test_writes_into_views_stay_on_the_device(monkeypatch):
    x, v = tracer.zeros(6, 10, 4, device="cuda"), tracer.ones(4, device="cuda")
    monkeypatch.setattr(array, "read_bytes", lambda *args: pytest.fail("the host reads the array"))
    x[:, 2:9] = v
    x[1] = 5
    x.transpose(0, 2)[::2, 3] += 1
    x[..., 0].fill_(7)
    x[::2].zero_()
    monkeypatch.undo()
    expected = np.zeros((6, 10, 4))
    expected[:, 2:9] = 1
    expected[1] = 5
    expected.T[::2, 3] += 1
    expected[..., 0] = 7
    expected[::2] = 0
    assert x.tolist() == expected.tolist()


def test_a_write_from_overlapping_memory():
    x = tracer.arange(8.0, device="cuda")
    x[1:] = x[:-1].clone()
    x[::2].copy_(x[1::2].flip(0))
    y = tracer.arange(8.0)
    y[1:] = y[:-1].clone()
    y[::2].copy_(y[1::2].flip(0))
    assert x.tolist() == y.tolist()


# Other libraries, times.


class Other:
    """An array of another library."""

    def __init__(self, t, **more):
        self.__cuda_array_interface__ = {**t.__cuda_array_interface__, **more}
        self.t = t


def test_memory_is_shared_with_other_libraries():
    x = tracer.arange(12.0).view(3, 4).cuda()
    for part in (x, x[1:, 1:], x.t(), x[:, :0]):
        y = tracer.asarray(Other(part))
        assert y.tolist() == part.tolist() and y.device == x.device and y.dtype is x.dtype
    y = tracer.asarray(Other(x.t()))
    y.add_(1)
    assert x.tolist() == (tracer.arange(12.0).view(3, 4) + 1).tolist()
    assert tracer.as_tensor(Other(x), device="cpu").is_cpu
    with pytest.raises(AttributeError, match="non-CUDA tensor"):
        tracer.ones(2).__cuda_array_interface__  # noqa: B018
    with pytest.raises(RuntimeError, match="requires grad"):
        tracer.ones(2, device="cuda", requires_grad=True).__cuda_array_interface__  # noqa: B018
    with pytest.raises(TypeError, match="masked"):
        tracer.asarray(Other(x, mask=1))
    side = tracer.cuda.Stream()
    with tracer.cuda.stream(side):
        z = tracer.asarray(Other(x * 2, stream=1))  # follows the default stream
        assert z.tolist() == (x * 2).tolist()
        other = Other(z * 2)
    assert other.__cuda_array_interface__["stream"] == side.cuda_stream
    assert (tracer.asarray(other) + 0).tolist() == (x * 4).tolist()


def test_as_tensor_leaves_its_argument_alone():
    x, array = tracer.ones(2), np.ones(2)
    for data in (x, array, [1.0, 2.0]):
        y = tracer.as_tensor(data, device="cuda")
        assert y.is_cuda and x.is_cpu and isinstance(array, np.ndarray)
        assert tracer.asarray(data, device="cuda").is_cuda and x.is_cpu
    assert tracer.as_tensor(x) is x and tracer.as_tensor(y) is y and tracer.tensor(x, device="cuda").is_cuda and x.is_cpu
    with tracer.device("cuda"):
        assert tracer.as_tensor(x) is x and tracer.as_tensor(array).is_cuda and tracer.as_tensor([1.0]).is_cuda


FACTORIES = """
T.hann_window(5, device=d) ; T.kaiser_window(5, device=d) ; T.signal.windows.gaussian(5, std=1.0, device=d)
T.fft.fftfreq(5, device=d) ; T.linspace(0, 1, 4, device=d) ; T.logspace(0, 1, 4, device=d) ; T.eye(3, device=d)
T.arange(3, device=d) ; T.range(0, 3, device=d) ; T.full((2,), 1.0, device=d) ; T.empty(2, device=d)
T.empty_strided((2, 2), (1, 2), device=d) ; T.empty_permuted((2, 2), (1, 0), device=d) ; T.scalar_tensor(1.0, device=d)
T.rand(2, device=d) ; T.randint(0, 3, (2,), device=d) ; T.randperm(4, device=d) ; T.normal(0.0, 1.0, (2,), device=d)
T.rand_like(T.ones(2), device=d) ; T.randint_like(T.ones(2), 0, 3, device=d) ; T.tril_indices(3, 3, device=d)
T.ones(2).new_zeros(2, device=d) ; T.ones(2).new_tensor([1.0], device=d) ; T.asarray([1.0], device=d)
T.zeros(2, dtype=T.complex64, device=d) ; T.frombuffer(b"abcd", dtype=T.uint8).to(d or "cuda")
"""
OF_A_TENSOR = """
T.multinomial(x.abs(), 2) ; T.bernoulli(x.sigmoid()) ; T.poisson(x.abs()) ; T.normal(x, 1.0) ; F.dropout(x) ; T.rand_like(x)
F.gumbel_softmax(x) ; F.rrelu(x, training=True) ; T.topk(x, 2).indices ; T.unique_consecutive(x > 0) ; T.histogram(x[0], 3)[1]
T.bucketize(x, x[0].sort().values) ; T.combinations(x[0]) ; T.linalg.svd(x)[1] ; T.tensor(x) ; T.quantile(x, 0.5)
F.ctc_loss(x.repeat(3, 1)[:, None].log_softmax(-1), T.ones(1, 2, dtype=T.long), T.tensor([9]), T.tensor([2]))
T.distributions.Normal(x, 1.0).sample() ; T.distributions.Categorical(logits=x).sample() ; T.func.jacrev(lambda a: a * 2)(x[0])
T.distributions.Gamma(x.exp(), 1.0).rsample() ; T.func.vmap(lambda a: a.sum())(x) ; T.func.hessian(lambda a: (a**3).sum())(x[0])
"""


def programs(text):
    return [part.strip() for line in text.strip().splitlines() for part in line.split(" ; ")]


@pytest.mark.parametrize("text", programs(FACTORIES))
def test_factories(text):
    make = eval(f"lambda d: {text}", {"T": tracer})
    assert make("cuda").is_cuda
    with tracer.device("cuda"):
        assert make(None).is_cuda


@pytest.mark.parametrize("text", programs(OF_A_TENSOR))
def test_what_is_made_of_a_tensor(text):
    make = eval(f"lambda x: {text}", {"T": tracer, "F": F})
    x = tracer.arange(12.0).view(3, 4).sin()
    y = make(x.cuda())
    assert y.is_cuda and y.shape[1:] == make(x).shape[1:]


def test_gradcheck_on_a_device():
    x = tracer.randn(2, 3, dtype=tracer.float64, device="cuda", requires_grad=True)
    assert tracer.autograd.gradcheck(lambda x: (x * x).tanh(), x)


def test_an_operation_that_does_not_compile_is_the_hosts(cuda, monkeypatch):
    def fails(self, source, launch):
        raise ArithmeticError("planted")

    monkeypatch.setattr(type(cuda), "prepare", fails)
    x = tracer.arange(7.0).cuda()
    with pytest.warns(UserWarning, match="log1p has no kernel"):
        y = x.log1p()
    assert y.is_cuda
    np.testing.assert_allclose(y.cpu().numpy(), np.log1p(np.arange(7.0)), rtol=1e-6)


def test_states_follow_their_parameters(tmp_path):
    layer = nn.Linear(3, 2)
    optimizer = tracer.optim.Adam(layer.parameters())
    layer(tracer.ones(1, 3)).sum().backward()
    optimizer.step()
    moved = nn.Linear(3, 2).cuda()
    moved.load_state_dict(layer.state_dict())
    other = tracer.optim.Adam(moved.parameters())
    other.load_state_dict(optimizer.state_dict())
    moved(tracer.ones(1, 3).cuda()).sum().backward()
    other.step()
    assert all(state["exp_avg"].is_cuda for state in other.state.values()) and moved.weight.is_cuda
    tracer.save(moved.state_dict(), tmp_path / "state")
    for where in ("cuda", tracer.device("cuda"), {"cpu": "cuda"}):
        assert all(t.is_cuda for t in tracer.load(tmp_path / "state", map_location=where).values())
    assert all(t.is_cpu for t in tracer.load(tmp_path / "state", map_location="cpu").values())


def test_older_names_of_types():
    x = tracer.ones(2, dtype=tracer.float64)
    y = x.type("torch.cuda.FloatTensor")
    assert y.is_cuda and y.dtype is tracer.float32 and y.type("torch.LongTensor").is_cpu
    with pytest.raises(ValueError, match="invalid type"):
        x.type("torch.cuda.NoTensor")
    generator = tracer.Generator(device="cuda").manual_seed(1)
    assert generator.device.type == "cuda" and tracer.rand(2, generator=generator, device="cuda").is_cuda


def test_halves_of_eight_columns():
    """NVVM fails for vectors of eight halves."""
    x = tracer.arange(24.0).view(3, 8).half()
    bias = tracer.arange(8.0).half()
    assert (x.cuda() + bias.cuda()).tolist() == (x + bias).tolist()


def test_attributes_that_are_equal_and_differ():
    x = tracer.ones(2).cuda()
    padded = [F.pad(x, (1, 0), value=value) for value in (0.0, -0.0)]
    assert [bool(t[0].signbit()) for t in padded] == [False, True]


def test_another_kind_of_device(cuda):
    """It registers; nothing else knows of it."""
    from tracer.runtime.devices import device
    from tracer.runtime.devices.emulated import EmulatedCuda

    with pytest.raises(RuntimeError, match="Invalid device string"):
        tracer.device("simulated")
    device.register("simulated", lambda: [EmulatedCuda(0, "simulated")])
    try:
        layer = nn.Linear(3, 2).to("simulated")
        f = tracer.trace(lambda x: layer(x).tanh().sum())
        for _ in range(3):
            f(tracer.ones(4, 3, device="simulated")).backward()
        assert str(layer.weight.grad.device) == "simulated:0" and f.cache_info().replays == 2
        with pytest.raises(RuntimeError, match="at least two devices, simulated:0 and cuda:0"):
            layer(tracer.ones(4, 3, device="cuda"))
    finally:
        del device._kinds["simulated"]


NEW = {
    "new_zeros": lambda x: x.new_zeros(2),
    "new_ones": lambda x: x.new_ones(2),
    "new_full": lambda x: x.new_full((2,), 3.0),
    "new_tensor": lambda x: x.new_tensor([1.0]),
    "new_empty": lambda x: x.new_empty(2, 2),
    "new_empty_strided": lambda x: x.new_empty_strided((2,), (1,)),
    "new": lambda x: x.new(2),
    "type_as": lambda x: tracer.ones(2).type_as(x),
    "bernoulli": lambda x: tracer.bernoulli(x, 0.5),
    "vander": lambda x: tracer.vander(x, 1),
    "lu without pivots": lambda x: tracer.linalg.lu_factor_ex(x.diag(), pivot=False)[1],
    "ldl": lambda x: tracer.linalg.ldl_factor_ex(x.diag())[2],
    "lstsq": lambda x: tracer.linalg.lstsq(x.diag(), x.diag())[1],
    "nonzero": lambda x: tracer.nonzero_static(x, size=0),
    "a gradient of a sum": None,
    "trapezoid": lambda x: tracer.trapezoid(x[:0]),
    "pooling": lambda x: F.adaptive_max_pool1d(x[None], 0, return_indices=True)[1],
}


@pytest.mark.parametrize("how", ["eager", "traced"])
@pytest.mark.parametrize("name", NEW)
def test_new_tensors_are_beside_their_argument(name, how):
    x = tracer.tensor([1.0, 2.0], device="cuda")
    if name == "a gradient of a sum":
        w = x.clone().requires_grad_()
        function = lambda x: tracer.autograd.grad(w.sum(), w)[0]
    else:
        function = NEW[name]
    run = tracer.trace(function) if how == "traced" else function
    for _ in range(3):
        assert run(x).is_cuda
