"""Parametrizations: module attributes computed from other parameters."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from ...autograd.modes import no_grad
from ...core.tensor import Tensor
from ..module import Computed, Module
from ..modules.container import ModuleDict, ModuleList
from ..parameter import Parameter

_cache: dict[tuple[int, str], Tensor] = {}
_caching = 0


@contextlib.contextmanager
def cached() -> Iterator[None]:
    """A context in which each parametrized tensor is computed once."""
    global _caching
    _caching += 1
    try:
        yield
    finally:
        _caching -= 1
        if not _caching:
            _cache.clear()


class ParametrizationList(ModuleList):
    """The maps of one tensor, in order, and their inputs: ``original``, or ``original0``, ``original1`` and so on.

    The maps' ``right_inverse`` methods compute the inputs for a given tensor; without them the input is the tensor.
    """

    def __init__(self, modules: list[Module], original: Tensor, unsafe: bool = False):
        if not modules:
            raise ValueError("ParametrizationList requires one or more modules.")
        super().__init__(modules)
        self.unsafe = unsafe
        with no_grad():
            value = self._inverse(original, strict=False)
        self.is_tensor = isinstance(value, Tensor)
        wrap = Parameter if isinstance(original, Parameter) else None
        if self.is_tensor:
            self._keep("original", value, original, wrap)
        else:
            self.ntensors = len(value)
            for i, part in enumerate(value):
                self._keep(f"original{i}", part, original, wrap)
        if not unsafe:
            self._check(self(), original)

    def _keep(self, name: str, value: Tensor, original: Tensor, wrap: Any) -> None:
        if wrap is None:
            self.register_buffer(name, value)
        else:
            parameter = value if isinstance(value, Parameter) and value is original else None
            self.register_parameter(name, Parameter(value.detach(), original.requires_grad) if parameter is None else parameter)

    @staticmethod
    def _check(value: Tensor, original: Tensor) -> None:
        if not isinstance(value, Tensor):
            raise ValueError(f"A parametrization must return a tensor. Got {type(value).__name__}.")
        if value.dtype is not original.dtype or value.shape != original.shape:
            raise ValueError(
                "Registering a parametrization may not change the dtype or the shape of the tensor, unless the `unsafe` flag "
                f"is enabled: from {original.dtype}, {tuple(original.shape)} to {value.dtype}, {tuple(value.shape)}"
            )

    def _inverse(self, value: Any, strict: bool = True) -> Any:
        """The maps' inputs for a result. Unless ``strict``, a map without an inverse takes its result."""
        for module in reversed(list(self)):
            if hasattr(module, "right_inverse"):
                try:
                    value = module.right_inverse(value)
                except NotImplementedError:
                    if strict:
                        raise
        return value

    def originals(self) -> list[Tensor]:
        """The maps' inputs."""
        return [self.original] if self.is_tensor else [getattr(self, f"original{i}") for i in range(self.ntensors)]

    def right_inverse(self, value: Tensor) -> None:
        """Sets the maps' inputs so that the result is ``value``."""
        with no_grad():
            found = self._inverse(value)
            for own, new in zip(self.originals(), [found] if self.is_tensor else found, strict=True):
                own.copy_(new)

    def forward(self) -> Tensor:
        first, *rest = list(self)
        x = first(*self.originals())
        for module in rest:
            x = module(x)
        return x


class _Parametrized(Computed):
    """The attribute computed by a ``ParametrizationList``."""

    def __init__(self, name: str):
        self.name = name

    def get(self, module: Module) -> Tensor:
        if not _caching:
            return module.parametrizations[self.name]()
        key = (id(module), self.name)
        if key not in _cache:
            _cache[key] = module.parametrizations[self.name]()
        return _cache[key]

    def set(self, module: Module, value: Tensor) -> None:
        module.parametrizations[self.name].right_inverse(value)


def register_parametrization(module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False) -> Module:
    """Replaces a parameter or buffer of ``module`` by ``parametrization`` of another one; returns the module.

    An assignment goes through its ``right_inverse``. Maps can be chained. Raises ValueError for an unknown name, or a map
    that changes shape or dtype, unless ``unsafe``.
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        maps = module.parametrizations[tensor_name]
        before = getattr(module, tensor_name)
        maps.append(parametrization)
        if not (unsafe or maps.unsafe):
            ParametrizationList._check(maps(), before)
        maps.unsafe |= unsafe
        if hasattr(parametrization, "right_inverse"):
            maps.right_inverse(before)
        return module
    if tensor_name not in module._parameters and tensor_name not in module._buffers:
        raise ValueError(
            f"Module '{module}' does not have a parameter, a buffer, or a parametrized element with name '{tensor_name}'"
        )
    maps = ParametrizationList([parametrization], getattr(module, tensor_name), unsafe)
    delattr(module, tensor_name)
    if "parametrizations" not in module._modules:
        module.parametrizations = ModuleDict()
    module.parametrizations[tensor_name] = maps
    module.compute_attribute(tensor_name, _Parametrized(tensor_name))
    return module


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """True if the module has parametrized tensors, or the named one is."""
    maps = module._modules.get("parametrizations")
    if not isinstance(maps, ModuleDict):
        return False
    return len(maps) > 0 if tensor_name is None else tensor_name in maps


def remove_parametrizations(module: Module, tensor_name: str, leave_parametrized: bool = True) -> Module:
    """Turns a parametrized tensor into a parameter: with its current value, or with the maps' input."""
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"Module {module} does not have a parametrization on {tensor_name}")
    maps = module.parametrizations[tensor_name]
    if not leave_parametrized and not maps.is_tensor:
        raise ValueError(
            "Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is parametrized in terms of a sequence of "
            "tensors."
        )
    original = maps.originals()[0]
    with no_grad():
        value = getattr(module, tensor_name) if leave_parametrized else original
    module.compute_attribute(tensor_name, None)
    del module.parametrizations[tensor_name]
    if not len(module.parametrizations):
        del module.parametrizations
    if not isinstance(original, Parameter):
        module.register_buffer(tensor_name, value.detach() if leave_parametrized else original)
    elif maps.is_tensor:
        if leave_parametrized:
            original.data = value.detach()
        module.register_parameter(tensor_name, original)
    else:
        module.register_parameter(tensor_name, Parameter(value.detach(), original.requires_grad))
    return module


def type_before_parametrizations(module: Module) -> type:
    """The module's type; here parametrizations do not change it."""
    return type(module)
