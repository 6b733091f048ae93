"""Stand-ins for the parts of PyTorch that a program with one process on one CPU imports but does not use.

A stand-in is a class, so that it can be imported, stand in an annotation, be a base class, and be the second argument of
``isinstance``. Its attributes are stand-ins too. Calling one, or a class made from one, raises NotImplementedError.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

# Packages of which everything is a stand-in that this package does not define.
PACKAGES = frozenset(
    [
        *("_C", "_appdirs", "_classes", "_compile", "_custom_ops", "_decomp", "_dispatch", "_environment", "_export"),
        *("_functorch", "_guards", "_higher_order_ops", "_inductor", "_library", "_linalg_utils", "_lobpcg", "_logging"),
        *("_lowrank", "_meta_registrations", "_ops", "_prims", "_prims_common", "_refs", "_sources", "_subclasses"),
        *("_tensor_docs", "_tensor_str", "_torch_docs", "_utils_internal", "_vmap_internals", "_weights_only_unpickler"),
        *("ao", "classes", "cpu", "distributed", "export", "futures", "fx"),
        *("masked", "monitor", "mtia", "nested", "onnx", "package", "quantization", "return_types", "sparse"),
        *("autograd._functions", "autograd.profiler_legacy", "autograd.profiler_util"),
        *("multiprocessing.pool", "multiprocessing.queue", "multiprocessing.reductions"),
        *("_dynamo.config", "_dynamo.utils", "_dynamo._trace_wrapped_higher_order_op"),
        *("backends.quantized",),
        *("nn.attention.bias", "nn.attention.experimental", "nn.attention.varlen", "nn.backends", "nn.cpp"),
        *("nn.intrinsic", "nn.modules._functions", "nn.qat", "nn.quantizable", "nn.quantized"),
        *("nn.parallel._functions", "nn.parallel.comm", "nn.parallel.parallel_apply", "nn.parallel.replicate"),
        *("nn.parallel.scatter_gather", "nn.utils._deprecation_utils", "nn.utils._expanded_weights"),
        *("optim._functional", "optim._multi_tensor"),
        *("utils._config_module", "utils._cxx_pytree", "utils._debug_mode", "utils._device", "utils._mode_utils"),
        *("utils._python_dispatch", "utils._stats", "utils._sympy", "utils._traceback", "utils._triton", "utils.weak"),
        *("utils._typing_utils", "utils.backcompat", "utils.backend_registration", "utils.collect_env", "utils.deterministic"),
        *("utils.file_baton", "utils.hipify", "utils.mkldnn", "utils.module_tracker", "utils.serialization"),
        *("utils.show_pickle", "utils.throughput_benchmark", "utils.viz"),
        *("nn.utils._named_member_accessor", "nn.utils._per_sample_grad", "utils.data._utils.worker", "utils.data.datapipes"),
        *("utils.data._utils.fetch", "utils.data._utils.pin_memory", "utils.data.graph", "utils.data.graph_settings"),
        *("utils.benchmark", "utils.bundled_inputs", "utils.cpp_extension"),
        *("utils.mobile_optimizer", "utils.tensorboard"),
    ]
)
# Decorators that leave a function as it is.
_DECORATORS = frozenset({"fx.wrap", "onnx.symbolic_helper.parse_args"})


class _Absent(type):
    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        path = next(base.__qualname__ for base in cls.__mro__ if base.__module__ == __name__)
        raise NotImplementedError(f"torch.{path} is not supported by tracer")

    def __getitem__(cls, parameters: Any) -> Any:
        return cls

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__") or cls.__module__ != __name__:
            raise AttributeError(f"type object {cls.__name__!r} has no attribute {name!r}")
        found = absent(f"{cls.__qualname__}.{name}")
        setattr(cls, name, found)
        return found


def absent(path: str) -> Any:
    """The stand-in for ``torch.<path>``."""
    if path in _DECORATORS:
        return as_it_is
    return _Absent(path.rpartition(".")[2], (), {"__module__": __name__, "__qualname__": path})


def rest_of(module: str) -> Callable[[str], Any]:
    """The ``__getattr__`` of the module that stands for ``torch.<module>``: the names that it does not define are stand-ins."""
    known: dict[str, Any] = {}

    def find(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module 'torch.{module}' has no attribute {name!r}")
        if name not in known:
            known[name] = absent(f"{module}.{name}")
        return known[name]

    return find


def fill(module: types.ModuleType, path: str) -> None:
    """Makes a new module one whose names are all stand-ins for those of ``torch.<path>``."""
    module.__path__ = []
    module.__getattr__ = rest_of(path)  # type: ignore[method-assign]


def as_it_is(fn: Any = None, *args: Any, **kwargs: Any) -> Any:
    """A decorator that returns the function; called with other arguments, it returns that decorator."""
    return fn if callable(fn) else as_it_is
