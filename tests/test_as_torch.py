"""Programs that import PyTorch, on this package."""

import subprocess
import sys

import pytest
from as_torch_process import run


def test_imports():
    run("""
    import importlib.metadata, importlib.util, pickle
    import torch.backends.cudnn as cudnn, torch.multiprocessing as mp, torch.utils.data as data
    from torch import Tensor, optim
    from torch.nn.modules.utils import _pair
    from torch.nn.modules.batchnorm import _BatchNorm
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.nn.init import _calculate_fan_in_and_fan_out
    from torch.nn.parallel import DistributedDataParallel
    from torch.optim.lr_scheduler import LambdaLR, _LRScheduler
    from torch.utils.checkpoint import checkpoint
    from torch.utils.data.distributed import DistributedSampler
    from torch.utils.tensorboard import SummaryWriter
    from torch.cuda.amp import GradScaler, autocast
    from torch.distributed.fsdp import FullyShardedDataParallel
    from torch.jit.annotations import BroadcastingList2, List
    from torch.fx.node import Node
    from torch.hub import load_state_dict_from_url
    from torch.onnx import symbolic_helper
    from torch.types import Device, Number, _size

    assert torch.nn is tracer.nn and F is tracer.nn.functional and Tensor is tracer.Tensor and optim is tracer.optim
    assert torch.torch is torch and torch.__version__ == importlib.metadata.version("torch") == torch.version.__version__
    assert importlib.util.find_spec("torch") is not None and importlib.util.find_spec("torch.fx") is not None
    assert "torch" in importlib.metadata.packages_distributions()
    assert isinstance(data.Dataset[int], object) and _pair(2) == (2, 2) and cudnn is torch.backends.cudnn
    assert not any(hasattr(torch, name) for name in ("ir", "core", "codegen", "as_torch", "no_such_name"))
    assert torch.trace(torch.ones(2, 2)).item() == 2 and torch.compile(lambda x: x)(3) == 3
    for name in ("torch._six", "torch.no_such_module", "torch.nn.no_such_module"):
        try:
            __import__(name)
        except ModuleNotFoundError as e:
            assert e.name == name
        else:
            raise AssertionError(name)
    """)


def test_pytorch_itself_stays_if_it_was_imported():
    code = """
    import sys, types
    sys.modules["torch"] = types.ModuleType("torch")
    try:
        import tracer.as_torch
    except ImportError as e:
        assert "before torch" in str(e)
    else:
        raise AssertionError
    """
    run(code, head="")


def test_stand_ins():
    run("""
    import torch.distributed as dist
    from torch.distributed.tensor import DTensor
    from torch.fx import GraphModule, Tracer

    assert not dist.is_available() and dist.get_rank() == 0 and dist.get_world_size() == 1
    assert not isinstance(torch.ones(1), (DTensor, GraphModule, torch.nn.SyncBatchNorm, torch.SymInt))

    class Own(Tracer):
        def is_leaf_module(self, m, name): return True

    def sum(x, op=dist.ReduceOp.SUM, *, dtype: "torch.float8_e4m3fn" = None): return x

    assert torch.float8_e4m3fn not in {torch.float32} and torch.finfo(torch.float8_e4m3fn).max == 448
    for call in (lambda: dist.all_reduce(torch.ones(1)), Own, lambda: GraphModule(None, None), lambda: torch.ops.a.b(1)):
        try:
            call()
        except NotImplementedError as e:
            assert "is not supported by tracer" in str(e)
        else:
            raise AssertionError
    try:
        torch.ops.load_library("x.so")
    except OSError:
        pass
    """)


def test_decorators_and_modes():
    run("""
    @torch.jit.script
    def f(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    @torch.jit.ignore(drop=False)
    @torch.jit.unused
    @torch.fx.wrap
    @torch.compiler.disable
    def g(x): return f(x)

    assert g(torch.ones(1)).item() == 2 and not torch.jit.is_scripting() and not torch.compiler.is_compiling()
    assert torch.jit.annotate(list, [1]) == [1] and not torch.cuda.is_available() and torch.cuda.device_count() == 0
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with torch.autocast("cuda"), torch.cuda.amp.autocast(False), torch.amp.autocast("cpu", enabled=False):
            pass
    assert len(told) == 1 and "not available" in str(told[0].message)
    scaler = torch.amp.GradScaler()
    p = torch.ones(1, requires_grad=True)
    optimizer = torch.optim.SGD([p], lr=0.5)
    scaler.scale(p.sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    assert p.item() == 0.5
    with torch.device("cpu"), torch.device("meta"):
        assert torch.ones(2).sum().item() == 2

    class Late(nn.Module):
        # Fills its buffer where tensors have memory, as transformers do: at once, or after loading.
        def __init__(self):
            super().__init__()
            self.register_buffer("at", torch.arange(3), persistent=False)
            self.filled = torch.tensor([]).device != torch.device("meta")

    assert Late().filled and torch.get_default_device() == torch.device("cpu")
    with torch.device("meta"):
        late, default = Late(), torch.get_default_device()
        assert late.at.to(late.at.device).tolist() == [0, 1, 2]
    assert not late.filled and default == torch.device("meta") and late.at.device == torch.device("cpu")
    made = [torch.empty(2, 3, dtype=torch.int8, device="meta"), torch.zeros_like(p, device=torch.device("meta"))]
    made += [torch.tensor([1.0], device="meta"), nn.Parameter(torch.empty(2, device="meta"))]
    made += [torch.randn(2, device="meta"), nn.Linear(2, 3, device="meta").weight]
    assert all(t.device.type == "cpu" for t in made)
    for device in ("cuda", "mps:0"):
        try:
            torch.empty(2, device=device)
        except RuntimeError as e:
            assert device in str(e)
        else:
            raise AssertionError(device)
    torch._assert(True, "")
    torch._check(True, lambda: "")
    try:
        torch._check(False, lambda: "no")
    except RuntimeError as e:
        assert str(e) == "no"
    """)


def test_operators_of_a_program():
    run("""
    @torch.library.custom_op("mine::cube", mutates_args=())
    def cube(x: torch.Tensor) -> torch.Tensor:
        return x.detach() ** 3

    @cube.register_fake
    def _(x): return torch.empty_like(x)

    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * 3 * x**2

    cube.register_autograd(backward, setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs))
    x = torch.tensor([2.0], requires_grad=True)
    torch.ops.mine.cube(x).backward()
    assert x.grad.item() == 12 and cube(x).item() == 8
    """)


def test_sparse_tensors_are_dense():
    run("""
    x = torch.sparse_coo_tensor([[0, 1, 1], [2, 0, 0]], [3.0, 4.0, 5.0], (2, 3))
    assert x.to_dense().tolist() == [[0, 0, 3], [9, 0, 0]] and torch.spmm(x, torch.ones(3, 1)).tolist() == [[3], [9]]
    assert x.coalesce().indices().tolist() == [[0, 1], [2, 0]] and x.values().tolist() == [3, 9]
    assert torch.sparse.mm(torch.eye(2).to_sparse(), x).shape == (2, 3)
    """)


def test_files(tmp_path):
    run(
        """
    torch.save({"model": nn.Linear(2, 1).state_dict()}, "x.pt")
    assert open("x.pt", "rb").read(2) == b"PK" and list(torch.load("x.pt", weights_only=True)["model"]) == ["weight", "bias"]
    import os
    os.environ["TORCH_HOME"] = "."
    os.makedirs("hub/checkpoints")
    os.rename("x.pt", "hub/checkpoints/model.pth")
    assert "model" in torch.hub.load_state_dict_from_url("https://example.org/model.pth")
    try:
        torch.hub.load_state_dict_from_url("https://example.org/other.pth")
    except FileNotFoundError as e:
        assert "nothing is downloaded" in str(e)
    import safetensors.torch
    safetensors.torch.save_file({"w": torch.arange(6.0).reshape(2, 3)}, "x.safetensors")
    with safetensors.safe_open("x.safetensors", framework="pt") as file:
        assert file.get_tensor("w").tolist() == file.get_slice("w")[:].tolist() == [[0, 1, 2], [3, 4, 5]]
    """,
        cwd=tmp_path,
    )


def test_comparisons():
    run("""
    torch.testing.assert_close(torch.ones(2), torch.ones(2) + 1e-7)
    torch.testing.assert_close({"a": [1.0, (2,)]}, {"a": [1.0, (2,)]})
    for x, y in ((torch.ones(2), torch.zeros(2)), (torch.ones(2), torch.ones(3)), (torch.ones(1), torch.ones(1).double())):
        try:
            torch.testing.assert_close(x, y, msg=lambda m: "mine: " + m)
        except AssertionError as e:
            assert str(e).startswith("mine: ")
        else:
            raise AssertionError
    """)


def test_optimizers_of_other_packages():
    run("""
    from torch.optim.optimizer import Optimizer, required

    class Momentum(Optimizer):
        def __init__(self, params, lr=required):
            super().__init__(params, dict(lr=lr))

        def __setstate__(self, state):
            super().__setstate__(state)

        @torch.no_grad()
        def step(self, closure=None):
            for group in self.param_groups:
                for p in group["params"]:
                    state = self.state[p]
                    if len(state) == 0:
                        state["step"], state["average"] = 0, torch.zeros_like(p)
                    state["step"] += 1
                    state["average"].mul_(0.9).add_(p.grad)
                    p.add_(state["average"], alpha=-group["lr"])

    try:
        Momentum([torch.ones(1, requires_grad=True)])
    except ValueError as e:
        assert "didn't specify a value of required" in str(e)
    found = []
    for wrap in (lambda f: f, tracer.trace):
        p = torch.ones(2, requires_grad=True)
        optimizer = Momentum([p], lr=0.1)
        @wrap
        def step(x):
            optimizer.zero_grad()
            loss = ((p - x) ** 2).sum()
            loss.backward()
            optimizer.step()
            return loss
        found.append([step(torch.full((2,), float(i))).item() for i in range(6)])
        assert optimizer.state[p]["step"] == 6
    assert found[0] == found[1] and step.cache_info().replays, step.explain()
    """)


def test_replaced_functions_are_noticed(tmp_path):
    """As with any function that a traced function reads: a replay never uses the one before."""
    (tmp_path / "package.py").write_text(
        "import torch\nimport torch.nn.functional as F\nfrom torch import nn\n"
        "def a(x): return torch.relu(x)\ndef b(x): return F.relu(x)\ndef c(x): return x.relu()\n"
        "class Net(nn.Module):\n    def forward(self, x): return torch.nn.functional.relu(torch.sigmoid(x))\n"
    )
    run(
        """
    sys.path.insert(0, ".")
    import package
    x = torch.tensor([-1.0, 2.0])
    own = lambda x: x * 10
    places = [(torch, "relu", package.a), (F, "relu", package.b), (torch.Tensor, "relu", package.c),
              (F, "relu", package.Net()), (torch, "sigmoid", package.Net())]
    for holder, name, function in places:
        traced = tracer.trace(function)
        for _ in range(3):
            traced(x)
        before = getattr(holder, name)
        setattr(holder, name, own)
        changed = [traced(x) for _ in range(3)]
        assert all(torch.allclose(y, function(x)) for y in changed), (name, changed)
        setattr(holder, name, before)
        assert torch.allclose(traced(x), function(x)) and not torch.allclose(traced(x), changed[0])
    """,
        cwd=tmp_path,
    )


def test_started_processes_find_it_too(tmp_path):
    (tmp_path / "main.py").write_text(
        "import torch\nimport torch.multiprocessing as mp\n"
        "def work(i, queue): queue.put((i, torch.ones(i + 1).sum().item()))\n"
        "if __name__ == '__main__':\n"
        "    queue = mp.get_context('spawn').SimpleQueue()\n"
        "    mp.spawn(work, args=(queue,), nprocs=2)\n"
        "    print(sorted(queue.get() for _ in range(2)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "tracer", "run", "main.py"], capture_output=True, text=True, cwd=tmp_path, timeout=300
    )
    assert done.returncode == 0 and done.stdout == "[(0, 1.0), (1, 2.0)]\n", done.stderr


PROGRAM = """
import argparse, sys
import torch
import torch.nn as nn

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=1)
steps = parser.parse_args().steps
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.1), nn.Linear(8, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for i in range(steps):
    optimizer.zero_grad()
    loss = (model(torch.randn(16, 4)) ** 2).mean()
    loss.backward()
    optimizer.step()
    print(f"{loss.item():.4f}")
sys.exit(3)
"""


@pytest.mark.parametrize("options", [[], ["--trace", "auto"]])
def test_the_command(tmp_path, options):
    (tmp_path / "main.py").write_text(PROGRAM)

    def command(*given):
        arguments = [sys.executable, "-m", "tracer", "run", *given]
        return subprocess.run(arguments, capture_output=True, text=True, cwd=tmp_path, timeout=300)

    done = command(*options, "main.py", "--steps", "8")
    assert done.returncode == 3 and not done.stderr, done.stderr
    assert done.stdout == command("main.py", "--steps", "8").stdout and len(done.stdout.split()) == 8


def test_the_command_for_wrong_programs(tmp_path):
    (tmp_path / "main.py").write_text("import torch\ntorch.ones(1) + 'x'\n")
    arguments = [sys.executable, "-m", "tracer", "run"]
    done = subprocess.run([*arguments, "main.py"], capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 1 and "TypeError" in done.stderr
    done = subprocess.run([*arguments, "other.py"], capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode and "there is no file or module 'other.py'" in done.stderr


def test_automatic_tracing():
    run("""
    from tracer.as_torch import auto
    auto.enter()
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    reference = [model.forward(torch.ones(2, 3) * i) for i in range(6)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = [model(torch.ones(2, 3) * i) for i in range(6)]
    assert all(torch.equal(x, y) for x, y in zip(found, reference))
    entries = [entry for entry in nn.Module.__call__.__closure__]
    assert any(e.cell_contents.known[id(model)][2].cache_info().replays for e in entries if hasattr(e.cell_contents, "known"))
    """)


def test_lists_of_tensors():
    run("""
    x, y = [torch.ones(2), torch.full((3,), 2.0)], [torch.ones(2), torch.ones(3)]
    torch._foreach_mul_(x, 3.0)
    torch._foreach_addcmul_(x, y, y, value=2.0)
    assert [t.tolist() for t in torch._foreach_add(x, y, alpha=2)] == [[7, 7], [10, 10, 10]]
    assert [t.item() for t in torch._foreach_norm(y)] != [0, 0]
    torch._foreach_maximum_(y, 2.5)
    assert [t.tolist() for t in torch._foreach_minimum(y, [torch.tensor(2.0), torch.tensor(3.0)])] == [[2, 2], [2.5] * 3]
    torch._foreach_zero_(x)
    assert all(t.sum() == 0 for t in x) and [t.tolist() for t in torch._foreach_sigmoid(x)] == [[0.5] * 2, [0.5] * 3]
    from torch.utils._foreach_utils import _group_tensors_by_device_and_dtype
    z = torch.ones(1, dtype=torch.int32)
    groups = _group_tensors_by_device_and_dtype([[x[0], z, x[1]], [None] * 3], with_indices=True)
    (a, first), (b, second) = groups.values()
    assert first == [0, 2] and second == [1] and a[0][1] is x[1] and b == [[z], [None]]
    assert list(groups) == [(torch.device("cpu"), torch.float32), (torch.device("cpu"), torch.int32)]
    """)


def test_classes_of_tensors_that_make_themselves():
    run("""
    class Point(torch.nn.Parameter):
        def __new__(cls, data, name=None, requires_grad=True):
            made = torch.Tensor._make_subclass(cls, data, requires_grad)
            made.name = name
            return made

    class Tagged(torch.Tensor):
        @staticmethod
        def __new__(cls, x, tag):
            return torch.Tensor._make_subclass(cls, x)

        def __init__(self, x, tag):
            self.tag = tag

    data = torch.ones(3)
    p, t = Point(data, name="p"), Tagged(data, 4)
    assert type(p) is Point and p.name == "p" and p.is_leaf and p.requires_grad and type(t) is Tagged and t.tag == 4
    (p * t).sum().backward()
    assert p.grad.tolist() == [1, 1, 1]
    net = nn.Module()
    net.p = p
    assert list(net.state_dict()) == ["p"]
    data += 1
    assert p.tolist() == [2, 2, 2] and torch.Tensor(2, 3).shape == (2, 3) and nn.Parameter(data).requires_grad
    """)


def test_operators_of_torchvision():
    """Non-maximum suppression, and means over cells of boxes, with samples outside of the image."""
    run("""
    from tracer.as_torch.vision import nms, roi_align
    torch.ops.load_library("/somewhere/torchvision/_C.so")
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 1, 10, 10], [20, 20, 30, 30]])
    assert torch.ops.torchvision.nms(boxes, torch.tensor([0.5, 0.9, 0.1]), 0.5).tolist() == [1, 2]
    assert nms(boxes[:0], torch.zeros(0), 0.5).tolist() == [] and torch.ops.torchvision._cuda_version() == -1

    def slow(image, box, scale, height, width, ratio, aligned):
        import math
        size, shift = image.shape, 0.5 if aligned else 0.0
        x1, y1, x2, y2 = (v * scale - shift for v in box[1:])
        w, h = x2 - x1, y2 - y1
        if not aligned:
            w, h = max(w, 1.0), max(h, 1.0)
        ny, nx = (ratio, ratio) if ratio > 0 else (math.ceil(h / height), math.ceil(w / width))
        out = [[0.0] * width for _ in range(height)]
        for p in range(height):
            for q in range(width):
                for i in range(ny):
                    for j in range(nx):
                        y, x = y1 + (p + (i + 0.5) / ny) * h / height, x1 + (q + (j + 0.5) / nx) * w / width
                        if not (-1 <= y <= size[0] and -1 <= x <= size[1]):
                            continue
                        y, x = min(max(y, 0.0), size[0] - 1.0), min(max(x, 0.0), size[1] - 1.0)
                        a, b = int(y), int(x)
                        c, d = min(a + 1, size[0] - 1), min(b + 1, size[1] - 1)
                        v = (1 - y + a) * ((1 - x + b) * image[a][b] + (x - b) * image[a][d])
                        v += (y - a) * ((1 - x + b) * image[c][b] + (x - b) * image[c][d])
                        out[p][q] += v.item() / (ny * nx)
        return out

    torch.manual_seed(0)
    images = torch.randn(2, 1, 5, 6, dtype=torch.float64, requires_grad=True)
    rois = torch.tensor([[0, 1.0, 2, 5, 4], [1, -3, -3, 9, 9], [1, 3.3, 3.4, 3.5, 3.6]], dtype=torch.float64)
    for ratio in (2, 0):
        for aligned in (False, True):
            found = roi_align(images, rois, 0.9, 2, 3, ratio, aligned)
            wanted = [[slow(images[int(box[0]), 0], box.tolist(), 0.9, 2, 3, ratio, aligned)] for box in rois]
            torch.testing.assert_close(found, torch.tensor(wanted, dtype=torch.float64))
            assert torch.autograd.gradcheck(lambda x: roi_align(x, rois, 0.9, 2, 3, ratio, aligned), (images,))
    """)
