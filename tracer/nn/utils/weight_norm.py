"""Normalized weights in PyTorch's older form: computed from additional parameters beside the weight."""

from __future__ import annotations

from typing import Any

from ... import ops
from ...autograd.modes import no_grad
from ...core.tensor import Tensor
from ...ops.numeric import norm_except_dim
from ...random import randn
from .. import functional as F
from ..module import Computed, Module
from ..parameter import Parameter
from .parametrizations import as_matrix, spectral_axis


class _Normalized(Computed):
    """v g / |v|."""

    def __init__(self, name: str, dim: int):
        self.name, self.dim = name, dim

    def get(self, module: Module) -> Tensor:
        g, v = getattr(module, self.name + "_g"), getattr(module, self.name + "_v")
        return v * (g / norm_except_dim(v, 2, self.dim))


def weight_norm(module: Any, name: str = "weight", dim: int | None = 0) -> Any:
    """Computes the weight as v g / |v|, from parameters ``weight_g``, a magnitude for each slice along ``dim``, and
    ``weight_v``.

    Raises RuntimeError if the weight is already normalized. See ``parametrizations.weight_norm``.
    """
    if name in module.computed_attributes():
        raise RuntimeError(f"Cannot register two weight_norm hooks on the same parameter {name}")
    axis = -1 if dim is None else dim
    weight = getattr(module, name)
    delattr(module, name)
    with no_grad():
        size = norm_except_dim(weight, 2, axis)
    module.register_parameter(name + "_g", Parameter(size.detach()))
    module.register_parameter(name + "_v", Parameter(weight.detach()))
    module.compute_attribute(name, _Normalized(name, axis))
    return module


def remove_weight_norm(module: Any, name: str = "weight") -> Any:
    """Turns the weight back into a parameter. Raises ValueError if it is one."""
    return _remove(module, name, _Normalized, ("_g", "_v"), "weight_norm")


class _Spectral(Computed):
    """The weight divided by u' W v."""

    handle: Any  # the hook's

    def __init__(self, name: str, dim: int, steps: int, eps: float):
        self.name, self.dim, self.steps, self.eps = name, dim, steps, eps

    def get(self, module: Module) -> Tensor:
        weight, u, v = (getattr(module, self.name + end) for end in ("_orig", "_u", "_v"))
        return weight / ops.dot(u.clone(), ops.mv(as_matrix(weight, self.dim), v.clone()))

    def __call__(self, module: Module, args: Any) -> None:
        """Called before each call in training: performs steps of power iteration."""
        if module.training:
            self.iterate(module, self.steps)

    def iterate(self, module: Module, n: int) -> None:
        weight, u, v = (getattr(module, self.name + end) for end in ("_orig", "_u", "_v"))
        with no_grad():
            W = as_matrix(weight, self.dim)
            for _ in range(n):
                v.copy_(F.normalize(ops.mv(ops.t(W), u), dim=0, eps=self.eps))
                u.copy_(F.normalize(ops.mv(W, v), dim=0, eps=self.eps))


def spectral_norm(
    module: Any, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Any:
    """Computes the weight as the parameter ``weight_orig`` divided by an estimate of its largest singular value (Miyato et al.
    2018).

    Each call in training improves the estimate. Raises RuntimeError if the weight is already normalized, ValueError for a
    non-positive number of steps. See ``parametrizations.spectral_norm``.
    """
    if name in module.computed_attributes():
        raise RuntimeError(f"Cannot register two spectral_norm hooks on the same parameter {name}")
    if n_power_iterations <= 0:
        raise ValueError(f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}")
    weight = module._parameters[name]
    axis = spectral_axis(module, dim)
    rule = _Spectral(name, axis, n_power_iterations, eps)
    delattr(module, name)
    module.register_parameter(name + "_orig", weight)
    with no_grad():
        W = as_matrix(weight, axis)
        module.register_buffer(name + "_u", F.normalize(randn(W.shape[0], dtype=W.dtype), dim=0, eps=eps))
        module.register_buffer(name + "_v", F.normalize(randn(W.shape[1], dtype=W.dtype), dim=0, eps=eps))
    module.compute_attribute(name, rule)
    rule.handle = module.register_forward_pre_hook(rule)
    return module


def remove_spectral_norm(module: Any, name: str = "weight") -> Any:
    """Turns the weight back into a parameter. Raises ValueError if it is one."""
    return _remove(module, name, _Spectral, ("_orig", "_u", "_v"), "spectral_norm")


def _remove(module: Any, name: str, kind: type, parts: tuple[str, ...], what: str) -> Any:
    rule = module.computed_attributes().get(name)
    if not isinstance(rule, kind):
        raise ValueError(f"{what} of '{name}' not found in {module}")
    with no_grad():
        weight = getattr(module, name)
    module.compute_attribute(name, None)
    for end in parts:
        delattr(module, name + end)
    if hasattr(rule, "handle"):
        rule.handle.remove()
    module.register_parameter(name, Parameter(weight.detach()))
    return module
