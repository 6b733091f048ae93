"""All samples of one operation, in one mode and dtype."""

from __future__ import annotations

import collections
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple


class Job(NamedTuple):
    """One run: all samples of ``name`` in a suite, or ``limit`` of them, evenly spread."""

    suite: str
    name: str
    dtype: str
    mode: str
    limit: int

    @property
    def halves(self) -> bool:
        """True if samples are rounded to multiples of 0.5."""
        return self.suite == "halves"


def timed(run: Callable[[Job], dict[str, Any]], job: Job) -> dict[str, Any]:
    """The result of a run, with its date and processor time."""
    start = time.process_time()
    return {**run(job), "when": time.strftime("%Y-%m-%d"), "seconds": time.process_time() - start}


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
    **{
        name: lambda t, name=name: getattr(t.Tensor, f"{name}_")
        for name in ("cauchy", "exponential", "geometric", "log_normal", "uniform")
    },
    "meshgrid": lambda t: lambda x, *more, **k: t.meshgrid(*(x if isinstance(x, (list, tuple)) else (x, *more)), **k),
}


def _squares(x: Any) -> Any:
    """Squared magnitudes: their derivatives do not jump where rounding turns a zero into 1e-16."""
    return (x * x.conj()).real


# Results that are determined up to a sign, or only in part, with the comparable part.
PARTS: dict[str, Any] = {
    "linalg.eig": lambda r: (r[0], _squares(r[1])),
    "linalg.eigh": lambda r: (r[0], _squares(r[1])),
    "linalg.svd": lambda r: (_squares(r[0][..., : r[1].shape[-1]]), r[1], _squares(r[2][..., : r[1].shape[-1], :])),
    "svd": lambda r: (_squares(r[0][..., : r[1].shape[-1]]), r[1], _squares(r[2][..., : r[1].shape[-1]])),
    "linalg.lstsq": lambda r: r[0],
}
# On multiples of 0.5, values to eliminate may be 0 up to rounding, which then determines the signs.
PARTS_OF_HALVES: dict[str, Any] = {
    "qr": lambda r: _signed(*r),
    "linalg.qr": lambda r: _signed(*r),
    "geqrf": lambda r: abs(r[0].triu()),
}


def _signed(q: Any, r: Any) -> Any:
    """Q and R with a positive diagonal of R."""
    k = min(r.shape[-2:])
    d = r.detach().diagonal(0, -2, -1).sgn()
    signs = d + (d == 0)
    more = (q[..., k:],) if q.ndim > 1 and q.shape[-1] > k else ()
    return (q[..., :k] * signs.unsqueeze(-2).conj() if q.ndim > 1 else q, r[..., :k, :] * signs.unsqueeze(-1).conj(), *more)


# The index among equal elements is unspecified; the position of ``dim`` among the arguments after the tensor.
CHOOSING = {"topk": 1, "kthvalue": 1, "mode": 0, "sort": 0, "argsort": 0}


def _chosen(function: Callable[..., Any], position: int) -> Callable[..., Any]:
    """The values, the elements at the indices, and the indices' dtype and shape."""

    def call(x: Any, *args: Any, **kwargs: Any) -> Any:
        out = function(x, *args, **kwargs)
        if not x.ndim or kwargs.get("stable"):
            return out
        values, indices = out if isinstance(out, tuple) else (out * 0, out)
        dim = kwargs.get("dim", args[position] if len(args) > position else -1)
        full = indices if indices.ndim == x.ndim else indices.unsqueeze(dim)
        return values, x.detach().gather(dim, full), indices * 0

    return call


# Functions that draw random numbers, which differ.
RANDOM = {
    "randn",
    "rand",
    "randint",
    "randn_like",
    "rand_like",
    "randint_like",
    "normal",
    "bernoulli",
    "cauchy",
    "exponential",
    "geometric",
    "log_normal",
    "multinomial",
    "uniform",
    "nn.functional.rrelu",
    "nn.functional.dropout",
    "nn.functional.dropout2d",
    "nn.functional.dropout3d",
    "nn.functional.alpha_dropout",
    "nn.functional.feature_alpha_dropout",
    "nn.functional.fractional_max_pool2d",
    "nn.functional.fractional_max_pool3d",
    "svd_lowrank",  # by random projections, with errors of several percent
    "pca_lowrank",
}


# Arguments for devices and implementations, which are dropped.
ELSEWHERE = ("device", "layout", "pin_memory", "memory_format", "generator")


def empty_result(job: Job) -> dict[str, Any]:
    return {"op": job.name, "dtype": job.dtype, "mode": job.mode, "counts": collections.Counter(), "reasons": []}


def resolve(name: str, tracer: Any) -> Any:
    """The tracer function of the same name; None if there is none."""
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


def spread(items: list[Any], limit: int) -> list[tuple[int, Any]]:
    """At most ``limit`` of the items, evenly spread, with their positions; 0: all."""
    n = len(items)
    at = range(n) if not limit or n <= limit else [k * n // limit for k in range(limit)]
    return [(k, items[k]) for k in at]


def run_op(job: Job) -> dict[str, Any]:
    """The samples of one operation, in one mode and dtype."""
    warnings.simplefilter("ignore")
    import torch
    from torch.testing._internal.common_methods_invocations import op_db

    import tracer

    from .check import check
    from .convert import halved

    torch.set_num_threads(1)
    op = next(o for o in op_db if name_of(o) == job.name)
    dtype = getattr(torch, job.dtype)
    result = empty_result(job)
    mine = ADAPTERS[job.name](tracer) if job.name in ADAPTERS else resolve(op.name, tracer)
    if mine is None:
        result["counts"]["absent"] = 1
        return result
    if dtype not in op.supported_dtypes("cpu"):
        return result
    differentiable = op.supports_autograd and dtype in op.supported_backward_dtypes("cpu")
    torch.manual_seed(0)
    try:
        samples = list(op.sample_inputs("cpu", dtype, requires_grad=differentiable))
    except Exception as e:
        result["reasons"].append(f"no samples: {e}")
        return result
    if job.mode == "eager" and job.dtype == "float32" and not job.halves:
        _errors(op, mine, result)
    if op.name in RANDOM or (op.name.endswith("_") and not op.name.endswith("__")):
        return result
    for k, sample in spread(samples, job.limit):
        second = differentiable and op.supports_gradgrad and job.dtype == "float64" and k < 5
        order = 0 if not differentiable else 2 if second else 1
        args, kwargs = (sample.input, *sample.args), sample.kwargs
        if job.name == "linalg.pinv/hermitian":  # unspecified for matrices that are not symmetric
            args = ((args[0] + args[0].mH).detach().requires_grad_(args[0].requires_grad), *args[1:])
        if job.halves:
            args, kwargs = halved(args), halved(kwargs)
        kwargs = {key: v for key, v in kwargs.items() if key not in ELSEWHERE}
        if any(kwargs.get(key) for key in ("dropout_p", "dropout")) or (kwargs.get("training") and "dropout" in op.name):
            continue  # random
        if op.name == "nn.functional.multi_head_attention_forward":
            kwargs = {**kwargs, "training": False}
        theirs, ours = _comparable(op.name, op.op, job.halves), _comparable(op.name, mine, job.halves)
        if op.name in (*CHOOSING, "msort") and (job.halves or dtype.itemsize < 4):  # with ties
            order = 0
        torch.manual_seed(0)
        if job.halves and op.name in ("scatter_reduce", "index_reduce") and not kwargs.get("include_self", True):
            # PyTorch counts excluded elements among the equal extrema that share the gradient.
            order = 0
        if op.name == "linalg.lstsq" and job.halves and kwargs.get("driver") == "gelsy" and not _solved(args, kwargs):
            continue
        outcome = check(op.name, theirs, ours, args, kwargs, job.mode == "traced", order)
        result["counts"][outcome.verdict] += 1
        result["counts"]["replayed"] += outcome.replayed
        if outcome.verdict in ("wrong", "missing", "crash"):
            result["reasons"].append(f"{outcome.verdict}: sample {k}: {outcome.reason}")
        if job.mode == "eager" and k < 4 and not job.halves:
            _variants(op, sample, result, check, order)
    return result


def _comparable(name: str, function: Callable[..., Any], halves: bool = False) -> Callable[..., Any]:
    """The function, or the determined part of its results."""
    if name in CHOOSING:
        return _chosen(function, CHOOSING[name])
    parts = {**PARTS, **PARTS_OF_HALVES} if halves else PARTS
    if name in parts:
        return lambda *a, **k: parts[name](function(*a, **k))
    return function


def _solved(args: tuple, kwargs: dict) -> bool:
    """True if PyTorch's least-squares solution is valid: its default driver loses rows of matrices with many zeros."""
    import torch

    a, b = (x.detach() for x in args[:2])
    b = b.unsqueeze(-1) if a.ndim - 1 == b.ndim and a.shape[:-1] == b.shape else b
    x = torch.linalg.lstsq(a, b, *args[2:], **kwargs).solution
    return torch.allclose(a.mH @ (a @ x), a.mH @ b, 1e-3, 1e-3)


def _errors(op: Any, mine: Any, result: dict[str, Any]) -> None:
    """Checks that bad input raises the same type of exception as in PyTorch."""
    from .convert import fresh, ours

    try:
        bad = list(op.error_inputs("cpu")) if op.error_inputs_func is not None else []
    except Exception as e:  # PyTorch cannot create these samples without a device
        result["reasons"].append(f"error: no samples of bad input: {e}")
        return
    for error in bad:
        given = error.sample_input
        try:
            args, kwargs = ours((given.input, *given.args), []), ours(given.kwargs, [])
            op.op(*fresh((given.input, *given.args)), **fresh(given.kwargs))
        except error.error_type:
            pass
        except Exception:  # another error than promised, or unsupported kinds of tensors
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
        kwargs = {key: v for key, v in sample.kwargs.items() if key not in ELSEWHERE}
        args, first, inplace = (sample.input, *sample.args), order and 1, kind == "in-place"
        given, own = _comparable(op.name, theirs), _comparable(op.name, own)
        outcome = check(op.name, given, own, args, kwargs, False, first, inplace)
        result["counts"][f"{kind} {outcome.verdict}"] += 1
        if outcome.verdict in ("wrong", "missing"):
            result["reasons"].append(f"{outcome.verdict}: {kind}: {outcome.reason}")
