"""Names of PyTorch's implementation that packages import: they are not public, but they are there."""

from __future__ import annotations

import importlib
from typing import Any

import tracer
from tracer import distributions, nn, ops, serialization, utils
from tracer.core.tensor import Tensor
from tracer.distributions import kl, mapping, transforms
from tracer.nn import parallel, parameter
from tracer.nn.modules import normalization
from tracer.utils import _pytree, checkpoint
from tracer.utils.data import dataloader

from . import _utils, common_types, dlpack, hooks, profiler
from .absent import absent


def _standard_normal(shape: Any, dtype: Any, device: Any) -> Tensor:
    """Samples of the standard normal distribution."""
    return ops.zeros(shape, dtype=dtype, device=device).normal_()


def _clipped_sigmoid(x: Tensor) -> Tensor:
    """The sigmoid, clamped away from 0 and 1."""
    info = ops.finfo(x.dtype)
    return ops.clamp(ops.sigmoid(x), min=info.tiny, max=1.0 - info.eps)


def get_device_states(*args: Any) -> tuple[list[int], list[Tensor]]:
    """The numbers of the devices of tensors, and the states of their generators: none of the CPU."""
    devices = sorted({t.get_device() for t in args if isinstance(t, Tensor) and t.device.type != "cpu"})
    return devices, [tracer.get_rng_state() for _ in devices]


def set_device_states(devices: list[int], states: list[Tensor], *, device_type: Any = None) -> None:
    """Sets the states that ``get_device_states`` returned."""
    for state in states:
        tracer.set_rng_state(state)


def _get_device_module(device: str = "cpu") -> Any:
    """The module of functions for a kind of device."""
    return importlib.import_module(f"torch.{device}")


def _is_structseq(obj: Any) -> bool:
    """False: results of several parts are named tuples."""
    return False


_NAMES: dict[Any, dict[str, Any]] = {
    _utils: {"_get_available_device_type": lambda: None, "_get_device_module": _get_device_module},
    _pytree: {"is_structseq_instance": _is_structseq},
    checkpoint: {"get_device_states": get_device_states, "set_device_states": set_device_states},
    distributions.utils: {"_standard_normal": _standard_normal, "_sum_rightmost": distributions.utils.sum_rightmost},
    kl: {"_KL_REGISTRY": kl._RULES},
    Tensor: {"_cdata": property(id)},  # compared for identity
    nn.modules: {"Module": nn.Module},
    parameter: {"UninitializedTensorMixin": parameter._Uninitialized},
    nn.module: {"_global_parameter_registration_hooks": {}},
    serialization: {"MAP_LOCATION": Any, "DEFAULT_PROTOCOL": 2},
    transforms: {"_InverseTransform": mapping._InverseTransform, "_clipped_sigmoid": _clipped_sigmoid},
    # Modules that programs reach by attributes of others.
    nn: {"common_types": common_types},
    tracer.autograd: {"profiler": profiler},
    utils: {"hooks": hooks, "dlpack": dlpack},
    utils.data: {"_utils": dataloader},
    dataloader: {"collate": dataloader},
}
# Classes that packages name in annotations and in tests of types.
_ABSENT: dict[Any, tuple[str, tuple[str, ...]]] = {
    checkpoint: ("utils.checkpoint", ("CheckpointPolicy", "create_selective_checkpoint_contexts")),
    dataloader: (
        "utils.data.dataloader",
        (
            "_BaseDataLoaderIter",
            "_DatasetKind",
            "_MultiProcessingDataLoaderIter",
            "_SingleProcessDataLoaderIter",
            "_collate_fn_t",
        ),
    ),
    parallel: ("nn.parallel", ("DistributedDataParallel",)),
}


def enter() -> None:
    """Gives the modules these names."""
    for module, names in _NAMES.items():
        for name, found in names.items():
            setattr(module, name, found)
    for module, (path, absent_names) in _ABSENT.items():
        for name in absent_names:
            setattr(module, name, absent(f"{path}.{name}"))
    sync = absent("nn.SyncBatchNorm")
    for module in (nn, nn.modules, normalization):
        module.SyncBatchNorm = sync  # type: ignore[attr-defined]
