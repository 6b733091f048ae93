"""Pruning: a parameter is replaced by itself times a mask of zeros and ones.

The parameter ``weight`` becomes ``weight_orig``, the buffer ``weight_mask`` is added, and ``weight`` is their product, computed
at each read. The method that chose the mask is one of the module's forward pre-hooks, where ``remove`` finds it.
"""

from __future__ import annotations

import numbers
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

from ... import ops
from ...core.tensor import Tensor
from ...random import rand, rand_like
from ..module import Computed, Module
from .convert_parameters import parameters_to_vector

__all__ = [
    "BasePruningMethod",
    "CustomFromMask",
    "Identity",
    "L1Unstructured",
    "LnStructured",
    "PruningContainer",
    "RandomStructured",
    "RandomUnstructured",
    "custom_from_mask",
    "global_unstructured",
    "identity",
    "is_pruned",
    "l1_unstructured",
    "ln_structured",
    "random_structured",
    "random_unstructured",
    "remove",
]


class BasePruningMethod(ABC, Computed):
    """Chooses which elements of a parameter are kept. Subclasses define ``compute_mask``, and ``PRUNING_TYPE``: what
    ``compute_mask`` gets of a parameter that is already pruned. This is the kept elements for "unstructured", the channels with
    kept elements for "structured" (then there must be ``dim``), and the whole parameter for "global".
    """

    PRUNING_TYPE: str
    _tensor_name: str | None = None

    @abstractmethod
    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """Zeros where elements of ``t`` are removed, ones elsewhere; removed ones of ``default_mask`` are to stay removed."""

    def get(self, module: Any) -> Tensor:
        return self.apply_mask(module)

    def __call__(self, module: Any, inputs: Any) -> None:
        """Called before each call of the module. There is nothing to do, as the product is computed when it is read."""

    def apply_mask(self, module: Any) -> Tensor:
        """The parameter times the mask."""
        if self._tensor_name is None:
            raise AssertionError(f"Module {module} has to be pruned")
        mask, orig = getattr(module, self._tensor_name + "_mask"), getattr(module, self._tensor_name + "_orig")
        return mask.to(dtype=orig.dtype) * orig

    @classmethod
    def apply(cls, module: Any, name: str, *args: Any, importance_scores: Tensor | None = None, **kwargs: Any) -> Any:
        """Prunes a parameter by ``cls(*args, **kwargs)``, in addition to methods before. Its elements are compared, or
        ``importance_scores`` of its shape (else AssertionError). Returns the method.
        """
        before = {key: hook for key, hook in module._forward_pre_hooks.items() if _prunes(hook, name)}
        method: BasePruningMethod = cls(*args, **kwargs)
        method._tensor_name = name
        for key, hook in before.items():
            del module._forward_pre_hooks[key]
            container = hook if isinstance(hook, PruningContainer) else PruningContainer(hook)
            container.add_pruning_method(method)
            method = container
        tensor = getattr(module, name)
        if importance_scores is not None and importance_scores.shape != tensor.shape:
            raise AssertionError(f"importance_scores should have the same shape as parameter {name} of {module}")
        mask = getattr(module, name + "_mask").detach().clone() if before else ops.ones_like(tensor)
        chosen = method.compute_mask(tensor if importance_scores is None else importance_scores, default_mask=mask)
        if not before:
            parameter = module._parameters[name]
            delattr(module, name)
            module.register_parameter(name + "_orig", parameter)
        module.register_buffer(name + "_mask", chosen.detach())
        module.compute_attribute(name, method)
        module.register_forward_pre_hook(method)
        return method

    def prune(self, t: Tensor, default_mask: Tensor | None = None, importance_scores: Tensor | None = None) -> Tensor:
        """A tensor with elements replaced by zeros. Raises AssertionError if the scores have another shape."""
        if importance_scores is not None and importance_scores.shape != t.shape:
            raise AssertionError("importance_scores should have the same shape as tensor t")
        mask = ops.ones_like(t) if default_mask is None else default_mask
        return t * self.compute_mask(t if importance_scores is None else importance_scores, default_mask=mask)

    def remove(self, module: Any) -> None:
        """Makes the product the parameter again."""
        name = self._tensor_name
        if name is None:
            raise AssertionError(f"Module {module} has to be pruned before pruning can be removed")
        parameter = module._parameters[name + "_orig"]
        parameter.data = self.apply_mask(module).detach()
        module.compute_attribute(name, None)
        delattr(module, name + "_mask")
        delattr(module, name + "_orig")
        module.register_parameter(name, parameter)


class PruningContainer(BasePruningMethod):
    """Methods for one parameter, in order. Each sees what the ones before have left of it."""

    def __init__(self, *args: BasePruningMethod):
        self._pruning_methods: tuple[BasePruningMethod, ...] = ()
        if args:
            self._tensor_name = args[0]._tensor_name
        for method in args:
            self.add_pruning_method(method)

    def add_pruning_method(self, method: BasePruningMethod | None) -> None:
        """Adds a method. Raises TypeError for anything else, ValueError if it is for another parameter."""
        if method is None:
            return
        if not isinstance(method, BasePruningMethod):
            raise TypeError(f"{type(method)} is not a BasePruningMethod subclass")
        if self._tensor_name != method._tensor_name:
            raise ValueError(
                "Can only add pruning methods acting on the parameter named "
                f"'{self._tensor_name}' to PruningContainer {self}. Found '{method._tensor_name}'"
            )
        self._pruning_methods += (method,)

    def __len__(self) -> int:
        return len(self._pruning_methods)

    def __iter__(self) -> Any:
        return iter(self._pruning_methods)

    def __getitem__(self, i: Any) -> Any:
        return self._pruning_methods[i]

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """The mask after the last method."""
        method = self._pruning_methods[-1]
        seen: Any
        if method.PRUNING_TYPE == "unstructured":
            seen = default_mask == 1
        elif method.PRUNING_TYPE == "structured":
            dim = _checked_axis(t, method.dim)  # type: ignore[attr-defined]
            kept = default_mask.sum(dim=[d for d in range(t.ndim) if d != dim]) != 0
            seen = tuple(kept if d == dim else slice(None) for d in range(t.ndim))
        elif method.PRUNING_TYPE == "global":
            seen = (slice(None),) * t.ndim
        else:
            raise ValueError(f"Unrecognized PRUNING_TYPE {method.PRUNING_TYPE}")
        mask = default_mask.to(dtype=t.dtype, copy=True)
        mask[seen] = method.compute_mask(t[seen], default_mask=default_mask[seen]).to(dtype=mask.dtype)
        return mask


class Identity(BasePruningMethod):
    """Removes nothing, but adds a mask of ones."""

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """The given mask."""
        return default_mask


class _Amount(BasePruningMethod):
    """Removes ``amount`` elements or channels: a number of them, or a fraction in [0, 1]. Raises TypeError for anything that is
    no number, ValueError for one outside its range or, when applied, above what there is.
    """

    def __init__(self, amount: Any):
        if not isinstance(amount, numbers.Real):
            raise TypeError(f"Invalid type for amount: {amount}. Must be int or float.")
        self.amount: int | float = int(amount) if isinstance(amount, numbers.Integral) else float(amount)
        if self.amount < 0 or (isinstance(self.amount, float) and self.amount > 1):
            raise ValueError(f"amount={amount} should either be a float in the range [0, 1] or a non-negative integer")

    def _count(self, of: int) -> int:
        if isinstance(self.amount, float):
            return round(self.amount * of)
        if self.amount > of:
            raise ValueError(f"amount={self.amount} should be smaller than the number of parameters to prune={of}")
        return self.amount


class _Unstructured(_Amount):
    PRUNING_TYPE = "unstructured"

    def _scores(self, t: Tensor) -> Tensor:
        raise NotImplementedError

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """Zeros for the elements with the lowest scores."""
        n, mask = self._count(t.numel()), default_mask.clone()
        if n:
            mask.view(-1)[self._scores(t).reshape(-1).topk(n, largest=False).indices] = 0
        return mask


class RandomUnstructured(_Unstructured):
    """Removes elements at random."""

    def _scores(self, t: Tensor) -> Tensor:
        return rand_like(t)


class L1Unstructured(_Unstructured):
    """Removes the elements with the lowest absolute values."""

    def _scores(self, t: Tensor) -> Tensor:
        return t.abs()


class _Structured(_Amount):
    """Removes channels along ``dim``. Raises ValueError for vectors, IndexError for an axis that does not exist."""

    PRUNING_TYPE = "structured"

    def __init__(self, amount: Any, dim: int = -1):
        super().__init__(amount)
        self.dim = dim

    def _scores(self, t: Tensor) -> Tensor:
        raise NotImplementedError

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """Zeros for the channels with the lowest scores."""
        if t.ndim <= 1:
            raise ValueError(
                "Structured pruning can only be applied to multidimensional tensors. "
                f"Found tensor of shape {t.shape} with {t.ndim} dims"
            )
        dim = _checked_axis(t, self.dim)
        n = self._count(t.shape[dim])
        if not n:
            return default_mask
        kept = ops.ones(t.shape[dim], dtype=default_mask.dtype, device=t.device)
        kept[self._scores(t).topk(n, largest=False).indices] = 0
        return default_mask * kept.view([-1 if d == dim else 1 for d in range(t.ndim)])


class RandomStructured(_Structured):
    """Removes channels along ``dim`` at random."""

    def _scores(self, t: Tensor) -> Tensor:
        return rand(t.shape[self.dim], device=t.device)


class LnStructured(_Structured):
    """Removes the channels along ``dim`` with the lowest norms of order ``n``."""

    def __init__(self, amount: Any, n: Any, dim: int = -1):
        super().__init__(amount, dim)
        self.n = n

    def _scores(self, t: Tensor) -> Tensor:
        return ops.norm(t, p=self.n, dim=[d for d in range(t.ndim) if d != self.dim % t.ndim])


class CustomFromMask(BasePruningMethod):
    """Removes what a given mask does not keep. When applied raises AssertionError if it has another shape."""

    PRUNING_TYPE = "global"

    def __init__(self, mask: Tensor):
        self.mask = mask

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """The product of both masks."""
        if default_mask.shape != self.mask.shape:
            raise AssertionError("mask and default_mask must have the same shape")
        return default_mask * self.mask.to(dtype=default_mask.dtype)


def _checked_axis(t: Tensor, dim: int) -> int:
    if not -t.ndim <= dim < t.ndim:
        raise IndexError(f"Invalid index {dim} for tensor of size {t.shape}")
    return dim % t.ndim


def _prunes(hook: Any, name: str) -> bool:
    return isinstance(hook, BasePruningMethod) and hook._tensor_name == name


def identity(module: Any, name: str) -> Any:
    """Adds a mask of ones to the parameter ``name``. Returns the module, as the functions below do."""
    Identity.apply(module, name)
    return module


def random_unstructured(module: Any, name: str, amount: Any) -> Any:
    """Removes ``amount`` random elements of a parameter: a number, or a fraction in [0, 1]. See ``RandomUnstructured``."""
    RandomUnstructured.apply(module, name, amount=amount)
    return module


def l1_unstructured(module: Any, name: str, amount: Any, importance_scores: Tensor | None = None) -> Any:
    """Removes the ``amount`` elements with the lowest absolute values, or scores. See ``L1Unstructured``."""
    L1Unstructured.apply(module, name, amount=amount, importance_scores=importance_scores)
    return module


def random_structured(module: Any, name: str, amount: Any, dim: int) -> Any:
    """Removes ``amount`` random channels along ``dim``. See ``RandomStructured``."""
    RandomStructured.apply(module, name, amount=amount, dim=dim)
    return module


def ln_structured(module: Any, name: str, amount: Any, n: Any, dim: int, importance_scores: Tensor | None = None) -> Any:
    """Removes the ``amount`` channels along ``dim`` with the lowest norms of order ``n``. See ``LnStructured``."""
    LnStructured.apply(module, name, amount=amount, n=n, dim=dim, importance_scores=importance_scores)
    return module


def custom_from_mask(module: Any, name: str, mask: Tensor) -> Any:
    """Removes the elements for which a mask has zeros. See ``CustomFromMask``."""
    CustomFromMask.apply(module, name, mask=mask)
    return module


def global_unstructured(
    parameters: Iterable[tuple[Any, str]],
    pruning_method: type[BasePruningMethod],
    importance_scores: Mapping[tuple[Any, str], Tensor] | None = None,
    **kwargs: Any,
) -> None:
    """Prunes parameters, given as pairs of module and name, as if they were one. ``importance_scores`` has those of some pairs.
    Raises TypeError for anything but pairs, and for methods that are not unstructured.
    """
    if not isinstance(parameters, Iterable):
        raise TypeError("global_unstructured(): parameters is not an Iterable")
    pairs = list(parameters)
    scores = {} if importance_scores is None else importance_scores
    if not isinstance(scores, Mapping):
        raise TypeError("global_unstructured(): importance_scores must be of type dict")
    tensors = [getattr(module, name) for module, name in pairs]
    masks = [getattr(module, name + "_mask", ops.ones_like(t)) for (module, name), t in zip(pairs, tensors, strict=True)]
    method = pruning_method(**kwargs)
    if method.PRUNING_TYPE != "unstructured":
        raise TypeError(
            'Only "unstructured" PRUNING_TYPE supported for the `pruning_method`. '
            f"Found method {pruning_method} of type {method.PRUNING_TYPE}"
        )
    compared = parameters_to_vector(scores.get(pair, t) for pair, t in zip(pairs, tensors, strict=True))
    mask = PruningContainer(method).compute_mask(compared, parameters_to_vector(masks))
    for (module, name), t, part in zip(pairs, tensors, mask.split([t.numel() for t in tensors]), strict=True):
        custom_from_mask(module, name, mask=part.view(t.shape))


def remove(module: Any, name: str) -> Any:
    """Makes the product of parameter and mask the parameter. Raises ValueError if it is not pruned."""
    for key, hook in module._forward_pre_hooks.items():
        if _prunes(hook, name):
            hook.remove(module)
            del module._forward_pre_hooks[key]
            return module
    raise ValueError(f"Parameter '{name}' of module {module} has to be pruned before pruning can be removed")


def is_pruned(module: Module) -> bool:
    """True if a parameter of the module, or of one in it, is pruned."""
    return any(isinstance(hook, BasePruningMethod) for m in module.modules() for hook in m._forward_pre_hooks.values())
