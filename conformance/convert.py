"""Conversion of PyTorch's values to tracer's, and to NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

import tracer

DTYPES = {
    getattr(torch, name): getattr(tracer, name)
    for name in [
        "bool",
        "uint8",
        "int8",
        "int16",
        "int32",
        "int64",
        "float16",
        "bfloat16",
        "float32",
        "float64",
        "complex64",
        "complex128",
    ]
}


class Unsupported(Exception):
    """A value without an equivalent."""


def ours(x: Any, made: list[tuple[torch.Tensor, tracer.Tensor]]) -> Any:
    """The equivalent value; tensors are copied, with ``requires_grad``, and listed in ``made``."""
    if isinstance(x, torch.Tensor):
        if x.dtype not in DTYPES or x.layout != torch.strided:
            raise Unsupported(str(x.dtype))
        t = tracer.tensor(array(x))
        if x.requires_grad:
            t.requires_grad_()
        made.append((x, t))
        return t
    if isinstance(x, torch.dtype):
        if x not in DTYPES:
            raise Unsupported(str(x))
        return DTYPES[x]
    if isinstance(x, torch.Size):
        return tuple(x)
    if isinstance(x, (torch.device, torch.layout, torch.memory_format, torch.Generator)):
        raise Unsupported(type(x).__name__)
    if isinstance(x, torch.nn.PairwiseDistance):
        return tracer.nn.PairwiseDistance(x.norm, x.eps, x.keepdim)
    if callable(x) and getattr(tracer.nn.functional, getattr(x, "__name__", ""), None) is not None:
        return getattr(tracer.nn.functional, x.__name__)
    if isinstance(x, (list, tuple)):
        items = [ours(item, made) for item in x]
        return type(x)(*items) if hasattr(x, "_fields") else type(x)(items)
    if isinstance(x, dict):
        return {key: ours(value, made) for key, value in x.items()}
    return x


def array(x: torch.Tensor) -> np.ndarray:
    """A copy as a NumPy array."""
    x = x.detach().resolve_conj().resolve_neg()
    if x.dtype == torch.bfloat16:
        import ml_dtypes

        return x.float().numpy().astype(ml_dtypes.bfloat16)
    return np.array(x.numpy(force=True), order="C")


def given(x: np.ndarray) -> torch.Tensor:
    """A copy as a PyTorch tensor."""
    return torch.tensor(x.astype(np.float32)).to(torch.bfloat16) if x.dtype.name == "bfloat16" else torch.tensor(x)


def tensors(x: Any, kind: type) -> list[Any]:
    """The tensors in a structure, in order."""
    if isinstance(x, kind):
        return [x]
    if isinstance(x, dict):
        x = list(x.values())
    return [t for item in x for t in tensors(item, kind)] if isinstance(x, (list, tuple)) else []


def fresh(x: Any) -> Any:
    """A sample's argument with new leaves."""
    if isinstance(x, torch.Tensor):
        return x.detach().clone().requires_grad_(x.requires_grad)
    if isinstance(x, (list, tuple)):
        items = [fresh(item) for item in x]
        return type(x)(*items) if hasattr(x, "_fields") else type(x)(items)
    return {key: fresh(value) for key, value in x.items()} if isinstance(x, dict) else x


def halved(x: Any) -> Any:
    """The same with floating and complex tensors rounded to multiples of 0.5, for ties and exact zeros."""
    if isinstance(x, torch.Tensor) and (x.is_floating_point() or x.is_complex()):
        flat = torch.view_as_real(x.detach().resolve_conj()) if x.is_complex() else x.detach()
        flat = torch.round(flat * 2) / 2
        return (torch.view_as_complex(flat) if x.is_complex() else flat).requires_grad_(x.requires_grad)
    if isinstance(x, (list, tuple)):
        items = [halved(item) for item in x]
        return type(x)(*items) if hasattr(x, "_fields") else type(x)(items)
    return {key: halved(value) for key, value in x.items()} if isinstance(x, dict) else x
