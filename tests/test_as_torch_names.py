"""Names of PyTorch that programs and packages import, on this package."""

from pathlib import Path

from as_torch_process import run


def test_names_that_packages_import():
    """The names that sixty packages for PyTorch import from its modules, without modules of which everything is a stand-in."""
    run(f"""
    import importlib, json
    for module, names in json.load(open({str(Path(__file__).parent / "imported_names.json")!r})).items():
        for name in names:
            try:
                found = hasattr(importlib.import_module(module), name) or importlib.import_module(f"{{module}}.{{name}}")
            except ImportError:
                found = False
            assert found, (module, name)
    """)


def test_modules_that_programs_import():
    run("""
    import torch.autograd.profiler, torch.functional, torch.nn.grad
    from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors
    from torch.nn.common_types import _size_2_t
    from torch.utils.data._utils.collate import default_collate
    from torch.utils.dlpack import from_dlpack, to_dlpack
    from torch.utils.hooks import RemovableHandle
    assert torch.functional.einsum is torch.einsum and torch.utils.data._utils.collate.default_collate is default_collate
    assert from_dlpack(to_dlpack(torch.arange(3))).tolist() == [0, 1, 2]
    parts = [torch.ones(2, 2), torch.zeros(3)]
    back = _unflatten_dense_tensors(_flatten_dense_tensors(parts), parts)
    assert [t.tolist() for t in back] == [t.tolist() for t in parts]
    x, w = torch.randn(2, 4, 8, 8, requires_grad=True), torch.randn(6, 2, 3, 3, requires_grad=True)
    out = F.conv2d(x, w, None, 2, 1, 1, 2)
    g = torch.randn_like(out)
    to_x, to_w = torch.autograd.grad(out, (x, w), g)
    assert torch.equal(torch.nn.grad.conv2d_input(x.shape, w, g, 2, 1, 1, 2), to_x)
    assert torch.equal(torch.nn.grad.conv2d_weight(x, w.shape, g, 2, 1, 1, 2), to_w)
    t = torch.testing.make_tensor((3, 4), dtype=torch.float32, device="cpu", low=1, high=2)
    assert t.shape == (3, 4) and 1 <= t.min() and t.max() < 2
    torch.backends.cuda.enable_flash_sdp(False)
    assert torch.backends.cuda.math_sdp_enabled()
    """)


def test_profiler(tmp_path):
    run(
        """
    import glob
    from torch.profiler import ProfilerActivity, profile, record_function, schedule, tensorboard_trace_handler
    model, x = nn.Linear(3, 4), torch.randn(2, 3)
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as p:
        with record_function("part"):
            model(x).sum().backward()
    averages = {e.key: e for e in p.key_averages()}
    assert averages["part"].count == 1 and averages["part"].cpu_time_total > averages["part"].self_cpu_time_total > 0
    assert averages["backward"].count == 1
    assert "part" in p.key_averages().table(sort_by="cpu_time_total", row_limit=3)
    steps = schedule(wait=1, warmup=1, active=2, repeat=2)
    with profile(schedule=steps, on_trace_ready=tensorboard_trace_handler("traces")) as p:
        for _ in range(10):
            model(x)
            p.step()
    assert len(glob.glob("traces/*.json")) == 2
    with torch.autograd.profiler.profile() as p:
        model(x)
    assert p.function_events
    """,
        cwd=tmp_path,
    )


def test_tables_of_hooks():
    run("""
    from collections import OrderedDict
    model, seen = nn.Sequential(nn.Linear(2, 2)), []
    handle = model[0].register_forward_hook(lambda m, args, out: seen.append(out))
    assert len(model[0]._forward_hooks) == 1 and not model[0]._forward_pre_hooks and model._get_name() == "Sequential"
    (number,) = model[0]._forward_hooks
    assert callable(model[0]._forward_hooks[number])
    model(torch.ones(1, 2))
    del model[0]._forward_hooks[number]
    model(torch.ones(1, 2))
    model[0].register_forward_hook(lambda m, args, out: seen.append(out))
    model[0]._forward_hooks = OrderedDict()
    model(torch.ones(1, 2))
    assert len(seen) == 1
    """)


def test_names_of_older_programs():
    run("""
    from torch.cuda.amp.grad_scaler import GradScaler
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention
    assert torch.zeros(2, dtype=torch.float64).type(torch.Tensor).dtype is torch.float32
    grads, found, scale = [torch.ones(2), torch.tensor([1.0, float("inf")])], torch.zeros(1), torch.tensor(0.5)
    torch._amp_foreach_non_finite_check_and_unscale_(grads[:1], found, scale)
    assert found == 0 and grads[0].tolist() == [0.5, 0.5]
    torch._amp_foreach_non_finite_check_and_unscale_(grads, found, scale)
    assert found == 1
    """)


def test_names_of_the_implementation():
    run("""
    import dataclasses, warnings
    from torch._C._nn import _parse_to
    from torch.distributions.utils import _standard_normal, _sum_rightmost
    from torch.nn.modules.batchnorm import _NormBase
    from torch.nn.modules.dropout import _DropoutNd
    from torch.nn.parallel.distributed import DistributedDataParallel
    from torch.quasirandom import SobolEngine
    from torch.utils._pytree import SUPPORTED_NODES, _get_node_type
    from torch.autograd.variable import Variable
    from torch.nn._reduction import get_enum, legacy_get_string
    from torch.nn.modules.conv import LazyConv2d, _ConvNd, _ConvTransposeNd
    from torch.nn.modules.linear import LazyLinear
    from torch.nn.modules.module import register_module_forward_hook
    from torch.nn.modules.padding import _ReflectionPadNd
    from torch.nn.modules.pooling import _AdaptiveAvgPoolNd, _MaxPoolNd
    from torch.utils._contextlib import _DecoratorContextManager
    from torch.utils.checkpoint import get_device_states, set_device_states
    assert isinstance(nn.Conv1d(1, 1, 1), _ConvNd) and isinstance(nn.ConvTranspose2d(1, 1, 1), _ConvTransposeNd)
    assert isinstance(nn.ReflectionPad2d(1), _ReflectionPadNd) and not isinstance(nn.ZeroPad2d(1), _ReflectionPadNd)
    assert isinstance(nn.AdaptiveAvgPool2d(1), _AdaptiveAvgPoolNd)
    assert not isinstance(nn.AdaptiveMaxPool2d(1), _AdaptiveAvgPoolNd)
    assert isinstance(torch.ones(1), Variable) and not isinstance(1, Variable) and Variable(torch.ones(2), True).requires_grad
    assert get_enum("sum") == 2 and legacy_get_string(False, None, emit_warning=False) == "sum"
    assert "NumPy" in torch.__config__.show()

    class counted(_DecoratorContextManager):
        calls = 0
        def __enter__(self): type(self).calls += 1
        def __exit__(self, *exception): pass

    twice = counted()(lambda x: 2 * x)
    assert [twice(1), twice(2)] == [2, 4] and counted.calls == 2
    from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter
    assert _parse_to("cpu", torch.float64) == (torch.device("cpu"), torch.float64, False, None)
    assert _parse_to(torch.ones(1, dtype=torch.int32))[1] == torch.int32 and _parse_to(dtype=torch.half)[0] is None
    assert isinstance(nn.BatchNorm2d(3), _NormBase) and isinstance(nn.Dropout(), _DropoutNd)
    assert not isinstance(nn.Linear(1, 1), DistributedDataParallel) and not isinstance(iter([]), _MultiProcessingDataLoaderIter)
    assert _standard_normal((3, 2), torch.float64, "cpu").dtype == torch.float64
    assert _sum_rightmost(torch.ones(2, 3, 4), 2).tolist() == [12, 12]
    set_device_states(*get_device_states(torch.ones(1)))
    points = SobolEngine(3).draw(4)
    assert points.tolist() == [[0, 0, 0], [0.5, 0.5, 0.5], [0.75, 0.25, 0.25], [0.25, 0.75, 0.75]]
    engine = SobolEngine(2, scramble=True, seed=1)
    first = engine.draw(4)
    assert torch.equal(engine.reset().fast_forward(2).draw(2), first[2:]) and engine.num_generated == 4
    assert engine.draw_base2(2).shape == (4, 2) and repr(engine) == "SobolEngine(dimension=2, scramble=True, seed=1)"
    for wrong in (lambda: SobolEngine(0), lambda: engine.draw_base2(1)):
        try:
            wrong()
        except ValueError:
            continue
        raise AssertionError
    assert torch.__name__ == "torch" and not dataclasses.is_dataclass(torch.float32)
    config = dataclasses.make_dataclass("Config", ["dtype", "n"])(torch.bfloat16, 3)
    assert dataclasses.asdict(config) == {"dtype": torch.bfloat16, "n": 3}
    Future = torch.futures.Future[int]
    """)


def test_trees():
    run("""
    import collections
    from torch.utils import _pytree as pytree
    Pair = collections.namedtuple("Pair", "a b")
    tree = {"x": [1, Pair(2, (3,))], "y": 4}
    assert pytree.tree_map(lambda v: v * 2, tree) == {"x": [2, Pair(4, (6,))], "y": 8}
    paths = pytree.tree_map_with_path(lambda path, v: "".join(map(str, path)) + str(v), tree)
    assert paths == {"x": ["['x'][0]1", Pair("['x'][1][0]2", ("['x'][1][1][0]3",))], "y": "['y']4"}, paths
    added = pytree.tree_map_with_path(lambda path, a, b: (len(path), a + b), [1, [2]], [10, [20]])
    assert added == [(1, 11), [(2, 22)]]
    assert [pytree.keystr(path) for path, _ in pytree.tree_leaves_with_path(tree)][1:3] == ["['x'][1][0]", "['x'][1][1][0]"]
    node = pytree.SUPPORTED_NODES[pytree._get_node_type(Pair(1, 2))]
    assert node.unflatten_fn(*node.flatten_fn(Pair(1, 2))) == Pair(1, 2)
    assert pytree.tree_is_leaf(3) and not pytree.tree_is_leaf(Pair(1, 2)) and pytree.tree_is_leaf([], lambda x: True)
    """)


def test_settings_of_older_programs():
    run("""
    torch.set_default_tensor_type("torch.DoubleTensor")
    assert torch.tensor(1.0).dtype == torch.float64
    torch.set_default_tensor_type(torch.FloatTensor)
    assert torch.tensor(1.0).dtype == torch.float32
    try:
        torch.set_default_tensor_type("torch.LongTensor")
    except TypeError:
        pass
    else:
        raise AssertionError
    torch.testing.assert_allclose(torch.tensor([1.0, 2.0]), [1.0, 2.0000001])
    assert torch.get_device_module() is torch.cpu and not torch.is_warn_always_enabled()
    """)


def test_functions_of_this_package_alone_are_traced():
    run("""
    assert torch.__name__ == "torch" and torch.torch is torch

    @tracer.trace
    def masked(x):
        torch._check(x.ndim == 2, lambda: "rows")
        return torch.where(x > 0, x, torch.finfo(x.dtype).min).softmax(-1)

    for i in range(4):
        masked(torch.randn(2, 3))
    assert masked.cache_info().replays == 3, masked.explain()
    """)


def test_versions_are_compared_by_their_numbers():
    run("""
    from torch.torch_version import TorchVersion
    v = torch.__version__
    assert isinstance(v, str) and isinstance(v, TorchVersion) and v == "2.13.0" and f"{v}".split(".")[0] == "2"
    assert v >= "2.2" and v > "1.13.1+cu117" and v < "2.13.1" and v <= "2.13" and v >= (1, 8) and not v < (2, 4)
    assert v != "2.12" and {v: 1}["2.13.0"] == 1
    """)


def test_modules_below_others_are_found_as_names():
    run("""
    import importlib
    from tracer.as_torch import absent, finder
    for path in sorted({*finder._ALIASES, *absent.PACKAGES} - {""}):
        module = importlib.import_module(f"torch.{path}")
        parent, _, last = f"torch.{path}".rpartition(".")
        scope = {}
        exec(f"from {parent} import {last}", scope)
        assert scope[last] is module or path in ("functional", "_VF"), path
    assert torch.utils.data.distributed.DistributedSampler is torch.utils.data.DistributedSampler
    """)


def test_functions_of_functorch():
    run("""
    from functorch import combine_state_for_ensemble, grad, make_functional, make_functional_with_buffers, vmap
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).eval()
    function, parameters, buffers = make_functional_with_buffers(model)
    x = torch.randn(4, 3)
    assert torch.equal(function(parameters, buffers, x), model(x))
    layers = [nn.Linear(3, 2) for _ in range(3)]
    linear, parameters = make_functional(layers[0])
    assert len(grad(lambda p: linear(p, x).sum())(parameters)) == 2
    together, parameters, buffers = combine_state_for_ensemble(layers)
    out = vmap(together, in_dims=(0, 0, None))(parameters, buffers, x)
    assert torch.allclose(out, torch.stack([layer(x) for layer in layers]), atol=1e-6)
    warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)
    """)


def test_constructors_accept_numbers_as_flags():
    run("""
    assert nn.Linear(2, 3, 0).bias is None and nn.Linear(2, 3, 1).bias is not None
    assert nn.LSTMCell(2, 3, 1).bias_ih.shape == (12,) and nn.MaxPool2d(2, ceil_mode=1).ceil_mode is True
    try:
        nn.Linear(2, 3, "yes")
    except TypeError as e:
        assert "must be bool, not str" in str(e)
    else:
        raise AssertionError
    """)
