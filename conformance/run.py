"""All samples of one operation, in one mode and dtype."""

from __future__ import annotations

import collections
import warnings
from typing import Any


def name_of(op: Any) -> str:
    return f"{op.name}/{op.variant_test_name}" if op.variant_test_name else op.name


# Operations that PyTorch's database calls with arguments in another order.
ADAPTERS: dict[str, Any] = {
    "where": lambda t: lambda x, condition, other: t.where(condition, x, other),
    "einsum": lambda t: lambda tensors, equation: t.einsum(equation, tensors),
    "polygamma": lambda t: lambda x, n: t.polygamma(n, x),
    "special.polygamma": lambda t: lambda x, n: t.polygamma(n, x),
    "nn.functional.embedding": lambda t: lambda weight, i, **k: t.nn.functional.embedding(i, weight, **k),
    "nn.functional.embedding_bag": lambda t: lambda weight, i, *a, **k: t.nn.functional.embedding_bag(i, weight, *a, **k),
    "linalg.pinv/singular": lambda t: lambda a, b: t.linalg.pinv(a @ b.mT),
    "normal/in_place": lambda t: t.Tensor.normal_,
    "meshgrid": lambda t: lambda x, *more, **k: t.meshgrid(*(x if isinstance(x, (list, tuple)) else (x, *more)), **k),
}


# Results that are determined up to a sign, or only in part: what is compared of them.
PARTS: dict[str, Any] = {
    "linalg.eig": lambda r: (r[0], abs(r[1])),
    "linalg.eigh": lambda r: (r[0], abs(r[1])),
    "linalg.svd": lambda r: (abs(r[0][..., : r[1].shape[-1]]), r[1], abs(r[2][..., : r[1].shape[-1], :])),
    "svd": lambda r: (abs(r[0][..., : r[1].shape[-1]]), r[1], abs(r[2][..., : r[1].shape[-1]])),
    "linalg.lstsq": lambda r: r[0],
}


# What draws random numbers: ours are others.
RANDOM = {
    "randn",
    "rand",
    "randint",
    "randn_like",
    "rand_like",
    "randint_like",
    "normal",
    "bernoulli",
    "multinomial",
    "nn.functional.rrelu",
    "nn.functional.dropout",
    "nn.functional.dropout2d",
    "nn.functional.dropout3d",
    "nn.functional.alpha_dropout",
    "nn.functional.feature_alpha_dropout",
    "nn.functional.fractional_max_pool2d",
    "nn.functional.fractional_max_pool3d",
}


def resolve(name: str, tracer: Any) -> Any:
    """Our function of the same name; None if there is none."""
    if name in ADAPTERS:
        return ADAPTERS[name](tracer)
    if name.startswith("__") and name.endswith("__"):
        return getattr(tracer.Tensor, name, None)
    found: Any = tracer
    for part in name.split("."):
        found = getattr(found, part, None)
    if name == "trace" or found is None or not callable(found):
        found = getattr(tracer.Tensor, name, None)
        if isinstance(found, property):
            prop = found
            return lambda x: prop.__get__(x)
    return found if callable(found) else None


def run_op(job: tuple[str, str, str, int, bool]) -> dict[str, Any]:
    """All samples of one operation, in one mode and dtype."""
    name, dtype_name, mode, limit, halves = job
    warnings.simplefilter("ignore")
    import torch
    from torch.testing._internal.common_methods_invocations import op_db

    import tracer

    from .check import check
    from .convert import halved

    torch.set_num_threads(1)
    op = next(o for o in op_db if name_of(o) == name)
    dtype = getattr(torch, dtype_name)
    result: dict[str, Any] = {"op": name, "dtype": dtype_name, "mode": mode, "counts": collections.Counter(), "reasons": []}
    mine = ADAPTERS[name](tracer) if name in ADAPTERS else resolve(op.name, tracer)
    if mine is None:
        result["counts"]["absent"] = 1
        return result
    if dtype not in op.supported_dtypes("cpu") and dtype_name == "float32":
        dtype, dtype_name = torch.int64, "int64"
    if dtype not in op.supported_dtypes("cpu"):
        result["counts"]["skipped"] = 1
        return result
    differentiable = op.supports_autograd and dtype in op.supported_backward_dtypes("cpu")
    try:
        samples = list(op.sample_inputs("cpu", dtype, requires_grad=differentiable))
    except Exception as e:
        result["reasons"].append(f"no samples: {e}")
        return result
    if mode == "eager" and dtype_name == "float32" and not halves:
        _errors(op, mine, result)
    for k, sample in enumerate(samples[:limit]):
        second = differentiable and op.supports_gradgrad and dtype_name == "float64" and k < 5
        order = 0 if not differentiable else 2 if second else 1
        args, kwargs = (sample.input, *sample.args), sample.kwargs
        if name == "linalg.pinv/hermitian":  # of what is not symmetric, nothing is promised
            args = ((args[0] + args[0].mT).detach().requires_grad_(args[0].requires_grad), *args[1:])
        if halves:
            args, kwargs = halved(args), halved(kwargs)
        kwargs = {
            key: v for key, v in kwargs.items() if key not in ("device", "layout", "pin_memory", "memory_format", "generator")
        }
        if any(kwargs.get(key) for key in ("dropout_p", "dropout")) or (kwargs.get("training") and "dropout" in op.name):
            continue  # random
        if op.name in RANDOM or (op.name.endswith("_") and not op.name.endswith("__")):
            continue
        if op.name == "nn.functional.multi_head_attention_forward":
            kwargs = {**kwargs, "training": False}
        torch.manual_seed(0)
        theirs, ours = op.op, mine
        if halves and op.name == "topk":  # which of several equal elements come first is nobody's promise
            order = 0
            theirs, ours = (lambda *a, **k: torch.topk(*a, **k).values), (lambda *a, **k: tracer.topk(*a, **k).values)
        if op.name in PARTS:
            part = PARTS[op.name]
            theirs, ours = (lambda *a, f=op.op, **k: part(f(*a, **k))), (lambda *a, **k: part(mine(*a, **k)))
        outcome = check(op.name, theirs, ours, args, kwargs, mode == "traced", order)
        result["counts"][outcome.verdict] += 1
        result["counts"]["replayed"] += outcome.replayed
        if outcome.verdict in ("wrong", "missing"):
            result["reasons"].append(f"{outcome.verdict}: sample {k}: {outcome.reason}")
        if mode == "eager" and k < 4 and not halves:
            _variants(op, sample, result, check, order)
    return result


def _errors(op: Any, mine: Any, result: dict[str, Any]) -> None:
    """Bad input: whether what PyTorch refuses is refused with the same type of exception."""
    from .convert import fresh, ours

    try:
        bad = list(op.error_inputs("cpu")) if op.error_inputs_func is not None else []
    except Exception as e:  # PyTorch's own making of them fails, for want of a device
        result["reasons"].append(f"error: no samples of bad input: {e}")
        return
    for error in bad:
        given = error.sample_input
        try:
            args, kwargs = ours((given.input, *given.args), []), ours(given.kwargs, [])
            op.op(*fresh((given.input, *given.args)), **fresh(given.kwargs))
        except error.error_type:
            pass
        except Exception:  # not the error it promises here, or tensors of a kind we have none of
            result["counts"]["errors not comparable"] += 1
            continue
        else:
            result["counts"]["errors not comparable"] += 1
            continue
        try:
            mine(*args, **kwargs)
        except error.error_type:
            result["counts"]["errors agree"] += 1
        except Exception as e:
            result["counts"]["errors of another type"] += 1
            result["reasons"].append(f"error: {type(e).__name__} instead of {error.error_type.__name__}: {str(e)[:80]}")
        else:
            result["counts"]["errors not raised"] += 1


def _variants(op: Any, sample: Any, result: dict[str, Any], check: Any, order: int) -> None:
    import tracer

    for kind, theirs in (("method", op.method_variant), ("in-place", op.inplace_variant)):
        own = getattr(tracer.Tensor, getattr(theirs, "__name__", "?"), None) if theirs is not None else None
        if own is None or op.name.startswith("__") or isinstance(own, property):
            continue
        kwargs = {key: v for key, v in sample.kwargs.items() if key not in ("device", "layout", "pin_memory", "memory_format")}
        first = order and 1
        outcome = check(op.name, theirs, own, (sample.input, *sample.args), kwargs, False, first, inplace=kind == "in-place")
        result["counts"][f"{kind} {outcome.verdict}"] += 1
        if outcome.verdict in ("wrong", "missing"):
            result["reasons"].append(f"{outcome.verdict}: {kind}: {outcome.reason}")
