"""One sample, run by both."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import tracer

from .convert import Unsupported, array, fresh, given, ours, tensors

# Values that two correct implementations may differ by.
TOLERANCE = {"float32": (2e-4, 2e-5), "float64": (1e-6, 1e-8), "float16": (1e-2, 1e-3), "bfloat16": (4e-2, 1e-2)}
TOLERANCE |= {"complex64": TOLERANCE["float32"], "complex128": TOLERANCE["float64"]}
# Normalizing a single element is 0; what PyTorch's rounding makes of it is not to be met.
LENIENT = {
    "nn.functional.layer_norm",
    "nn.functional.group_norm",
    "nn.functional.instance_norm",
    "nn.functional.batch_norm",
    "logcumsumexp",
    "cov",
    # PyTorch's own are off by 4e-8 to 2e-7 in float64, and its sums of probabilities by 1e-3 in float32.
    "linspace",
    "nn.functional.ctc_loss",
    "special.bessel_j0",
    "special.bessel_y1",
}
# Results that are determined up to a sign, or not at all: only what is made of them could be compared.
UNDETERMINED = {"empty", "empty_like", "empty_strided", "empty_permuted", "new_empty", "new_empty_strided"}


@dataclass
class Outcome:
    """What came of a sample, and why.

    ``ok``; ``wrong``: differs; ``missing``: raises; ``crash``: raises when traced, or could not be compiled, where eager code
    does not raise; ``skipped``: PyTorch raises, or an argument that there is nothing of ours for. ``replayed``: by a trace.
    """

    verdict: str
    reason: str = ""
    replayed: bool = False


class Wrong(Exception):
    """A difference."""


def compare(a: np.ndarray, b: np.ndarray, what: str, factor: float = 1.0) -> None:
    if a.dtype != b.dtype:
        raise Wrong(f"{what}: dtype {b.dtype} instead of {a.dtype}")
    if a.shape != b.shape:
        raise Wrong(f"{what}: shape {b.shape} instead of {a.shape}")
    if a.dtype.kind in "fcV":
        rtol, atol = TOLERANCE[a.dtype.name]
        rtol, atol = rtol * factor, atol * factor
        wide = np.complex128 if a.dtype.kind == "c" else np.float64
        x, y = a.astype(wide), b.astype(wide)
        scale = float(np.nanmax(np.abs(x[np.isfinite(x)]), initial=0))
        if not np.allclose(y, x, rtol, atol * max(1.0, scale), equal_nan=True):
            raise Wrong(f"{what}: {summary(y)} instead of {summary(x)}")
    elif not np.array_equal(a, b):
        raise Wrong(f"{what}: {summary(b)} instead of {summary(a)}")


def summary(x: np.ndarray) -> str:
    return np.array2string(x.reshape(-1)[:6], precision=4).replace("\n", "")


def _run_torch(function: Callable[..., Any], args: tuple, kwargs: dict, order: int) -> tuple[Any, list[Any], list[Any]]:
    leaves = [t for t in tensors([args, kwargs], torch.Tensor) if t.requires_grad]
    out = function(*args, **kwargs)
    outs = [o for o in tensors(out, torch.Tensor) if o.requires_grad]
    grads = _grads(torch, outs, leaves, order) if outs and leaves else []
    return out, leaves, grads


def cotangent(shape: tuple[int, ...], dtype: str, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.uniform(0.5, 1.5, shape)
    if "complex" in dtype:
        x = x + 1j * rng.uniform(0.5, 1.5, shape)
    if dtype == "bfloat16":
        import ml_dtypes

        return x.astype(ml_dtypes.bfloat16)
    return x.astype(dtype)


def _grads(lib: Any, outs: list[Any], leaves: list[Any], order: int) -> list[Any]:
    """First derivatives, and, of order 2, those of their sum."""

    def like(o: Any, seed: int) -> Any:
        data = cotangent(tuple(o.shape), str(o.dtype).split(".")[-1], seed)
        if lib is torch:
            return given(data)
        return tracer.tensor(data)

    vs = [like(o, k) for k, o in enumerate(outs)]
    first = lib.autograd.grad(outs, leaves, vs, allow_unused=True, create_graph=order > 1)
    if order == 1:
        return list(first)
    again = [g for g in first if g is not None and g.requires_grad]
    if not again:
        return list(first)
    second = lib.autograd.grad(again, leaves, [like(g, 7 + k) for k, g in enumerate(again)], allow_unused=True)
    return [*first, *second]


def check(
    name: str, theirs: Any, mine: Any, args: tuple, kwargs: dict, traced: bool, order: int, inplace: bool = False
) -> Outcome:
    """Runs one sample in both libraries and compares values, and derivatives up to ``order``."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            a_args, a_kwargs = fresh(args), fresh(kwargs)
            if inplace:
                a_args, leaves_of = _clone_first(a_args)
            else:
                leaves_of = a_args
            expected = theirs(*a_args, **a_kwargs)
        except Exception as e:
            return Outcome("skipped", f"PyTorch raises {type(e).__name__}")
        try:
            outcome = _compare(name, expected, (leaves_of, a_kwargs), mine, args, kwargs, traced, order, inplace)
        except Wrong as e:
            return Outcome("wrong", str(e))
        except Unsupported as e:
            return Outcome("skipped", f"takes a {e}")
        except Exception as e:
            reason = f"{type(e).__name__}: {str(e)[:140]}"
            eager = traced and check(name, theirs, mine, args, kwargs, False, order, inplace).verdict != "missing"
            return Outcome("crash" if eager else "missing", reason)
        for w in said:
            if issubclass(w.category, tracer.TraceWarning) and "compile" in str(w.message):
                return Outcome("crash", str(w.message)[:140])
        return outcome


def _clone_first(args: tuple) -> tuple[tuple, tuple]:
    return (args[0].clone(), *args[1:]), args


def _compare(
    name: str, expected: Any, theirs: Any, mine: Any, args: tuple, kwargs: dict, traced: bool, order: int, inplace: bool
) -> Outcome:
    made: list[tuple[torch.Tensor, tracer.Tensor]] = []
    call: Callable[..., Any] = mine
    if inplace:

        def call(x: Any, *more: Any, **keys: Any) -> Any:
            return mine(x.clone(), *more, **keys)

    function = tracer.trace(call) if traced else call
    b_args, b_kwargs = ours(args, made), ours(kwargs, made)
    out = function(*b_args, **b_kwargs)
    replayed = False
    if traced:
        made.clear()
        b_args, b_kwargs = ours(args, made), ours(kwargs, made)
        out = function(*b_args, **b_kwargs)
        replayed = bool(function.graphs())
    _same_structure(expected, out)
    pairs = list(zip(tensors(expected, torch.Tensor), tensors(out, tracer.Tensor), strict=True))
    for k, (a, b) in enumerate(pairs):
        if name in UNDETERMINED:
            continue
        compare(array(a), b.detach().numpy(), f"output {k}", 50.0 if name in LENIENT else 1.0)
        if a.requires_grad != b.requires_grad:
            raise Wrong(f"output {k}: requires_grad {b.requires_grad} instead of {a.requires_grad}")
    leaves = [t for t in tensors(list(theirs), torch.Tensor) if t.requires_grad]
    followed = [(a, b) for a, b in pairs if a.requires_grad]
    if leaves and followed and order:
        try:
            grads = _grads(torch, [a for a, _ in followed], leaves, order)
        except Exception:
            return Outcome("ok", replayed=replayed)
        mine_leaves = [b for a, b in made if a.requires_grad]
        found = _grads(tracer, [b for _, b in followed], mine_leaves, order)
        for k, g in enumerate(grads):
            h = found[k] if k < len(found) else None
            what = f"gradient {k}" if k < len(leaves) else f"second derivative {k - len(leaves)}"
            like = leaves[k % len(leaves)]
            x = np.zeros(tuple(like.shape), array(like).dtype) if g is None else array(g)
            y = np.zeros(x.shape, x.dtype) if h is None else h.detach().numpy()
            y = np.where(np.isnan(x) & (y.dtype.kind == "f"), x, y)  # where PyTorch's is not a number, ours may be one
            compare(x, y, what, 50.0 if name in LENIENT else 1.0)
    return Outcome("ok", replayed=replayed)


def _same_structure(a: Any, b: Any) -> None:
    if isinstance(a, torch.Tensor):
        if not isinstance(b, tracer.Tensor):
            raise Wrong(f"a {type(b).__name__} instead of a tensor")
    elif isinstance(a, (list, tuple)):
        if not isinstance(b, (list, tuple)) or len(a) != len(b):
            raise Wrong(
                f"{type(b).__name__} of {len(b) if hasattr(b, '__len__') else '?'} instead of {type(a).__name__} of {len(a)}"
            )
        for x, y in zip(a, b, strict=True):
            _same_structure(x, y)
    elif isinstance(a, (bool, int, float, str)) and a == a and a != b:
        raise Wrong(f"{b!r} instead of {a!r}")
