"""One sample, run by both libraries."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import tracer

from .convert import DTYPES, Unsupported, array, fresh, given, ours, tensors

# PyTorch seeds before each sample; its function takes 3 ms, because it also seeds devices that do not exist here.
torch.manual_seed = torch.default_generator.manual_seed
# Tolerances between two correct implementations.
TOLERANCE = {"float32": (2e-4, 2e-5), "float64": (1e-6, 1e-8), "float16": (1e-2, 1e-3), "bfloat16": (4e-2, 1e-2)}
TOLERANCE |= {"complex64": TOLERANCE["float32"], "complex128": TOLERANCE["float64"]}
# Normalizing a single element gives 0; PyTorch's rounding error there cannot be matched.
LENIENT = {
    "nn.functional.layer_norm",
    "nn.functional.group_norm",
    "nn.functional.instance_norm",
    "nn.functional.batch_norm",
    "logcumsumexp",
    "cov",
    # PyTorch's values are off by 4e-8 to 2e-7 in float64, and its sums of probabilities by 1e-3 in float32.
    "linspace",
    "nn.functional.ctc_loss",
    "special.bessel_j0",
    "special.bessel_y1",
}
# Results that are determined up to a sign, or not at all: only derived values could be compared.
UNDETERMINED = {"empty", "empty_like", "empty_strided", "empty_permuted", "new_empty", "new_empty_strided"}
# Wrong gradients of PyTorch's: the first operand's gradient is kept where it is overwritten, and 0 elsewhere.
MISTAKEN = {"as_strided_scatter": (0,)}
# At the poles PyTorch's formulas divide by sin(pi x), which rounding makes non-zero. For these, infinity agrees with any number
# larger than 1 / eps.
POLES = ("digamma", "lgamma", "mvlgamma", "polygamma", "special.digamma", "special.gammaln", "special.polygamma", "special.psi")


@dataclass
class Outcome:
    """The verdict on a sample, and the reason.

    ``ok``; ``wrong``: differs; ``missing``: raises; ``crash``: raises only when traced, or cannot be compiled; ``skipped``:
    PyTorch raises, or an argument has no equivalent. ``replayed``: by a trace.
    """

    verdict: str
    reason: str = ""
    replayed: bool = False


class Wrong(Exception):
    """A difference."""


def compare(
    a: np.ndarray,
    b: np.ndarray,
    what: str,
    factor: float = 1.0,
    poles: bool = False,
    exact: Callable[[], np.ndarray | None] = lambda: None,
) -> None:
    """Raises Wrong unless tracer's ``b`` equals PyTorch's ``a`` up to rounding. ``exact`` returns PyTorch's result in the next
    wider type (none for float64); ``b`` may differ from it as much as ``a`` does, element by element.
    """
    if a.dtype != b.dtype:
        raise Wrong(f"{what}: dtype {b.dtype} instead of {a.dtype}")
    if a.shape != b.shape:
        raise Wrong(f"{what}: shape {b.shape} instead of {a.shape}")
    if a.dtype.kind in "fcV":
        rtol, atol = TOLERANCE[a.dtype.name]
        rtol, atol = rtol * factor, atol * factor
        wide = np.complex128 if a.dtype.kind == "c" else np.float64
        x, y = a.astype(wide), b.astype(wide)
        if poles:
            x = np.where(np.isinf(y) & (np.abs(x) > 1 / np.finfo(np.float32 if a.itemsize < 8 else np.float64).eps), y, x)
        scale = float(np.nanmax(np.abs(x[np.isfinite(x)]), initial=0))
        if not np.allclose(y, x, rtol, atol * max(1.0, scale), equal_nan=True):
            w = exact()
            if w is None or not _as_near(y, x, w.astype(wide), rtol, atol, a.itemsize == 2):
                raise Wrong(f"{what}: {summary(y)} instead of {summary(x)}")
    elif not np.array_equal(a, b):
        raise Wrong(f"{what}: {summary(b)} instead of {summary(a)}")


def _as_near(y: np.ndarray, x: np.ndarray, w: np.ndarray, rtol: float, atol: float, overflows: bool) -> bool:
    """True if every element of ``y`` is near ``w``, or no farther from it than that of ``x``. If ``x`` ``overflows`` in an
    intermediate, as 16-bit types do, it does not count.
    """
    with np.errstate(all="ignore"):
        near = np.isclose(y, w, rtol, atol, equal_nan=True) | (np.abs(y - w) <= np.abs(x - w)) | (y == x)
        near |= (np.isnan(x) & np.isnan(y)) | (overflows & ~np.isfinite(x))
    return bool(near.all())


def widened(x: Any, wider: dict[torch.dtype, torch.dtype]) -> Any:
    """The same structure with tensors in wider types."""
    if isinstance(x, torch.Tensor) and x.dtype in wider:
        return x.detach().to(wider[x.dtype]).requires_grad_(x.requires_grad)
    if isinstance(x, torch.dtype):
        return wider.get(x, x)
    if isinstance(x, (list, tuple)):
        items = [widened(item, wider) for item in x]
        return type(x)(*items) if hasattr(x, "_fields") else type(x)(items)
    return {key: widened(value, wider) for key, value in x.items()} if isinstance(x, dict) else x


def _wider(x: Any) -> dict[torch.dtype, torch.dtype]:
    """The wider types for computing a sample with more digits; none for float64."""
    dtypes = {t.dtype for t in tensors(x, torch.Tensor)}
    for halves in (torch.float16, torch.bfloat16):
        if halves in dtypes:
            return {halves: torch.float32}
    return {torch.float32: torch.float64, torch.complex64: torch.complex128}


class _Wide:
    """PyTorch's results for a sample in wider types, computed on first use."""

    def __init__(self, theirs: Any, args: tuple, kwargs: dict, order: int, inplace: bool):
        self._sample = theirs, args, kwargs, order, inplace
        self._found: tuple[list[Any], list[Any]] | None = None

    def _all(self) -> tuple[list[Any], list[Any]]:
        if self._found is None:
            theirs, args, kwargs, order, inplace = self._sample
            wider = _wider([args, kwargs])
            args, kwargs = widened(fresh(args), wider), widened(fresh(kwargs), wider)
            rounded = {_name(wide): _name(narrow) for narrow, wide in wider.items()}
            given = _clone_first(args)[0] if inplace else args
            leaves = [t for t in tensors([args, kwargs], torch.Tensor) if t.requires_grad]
            try:
                torch.manual_seed(0)
                outs = tensors(theirs(*given, **kwargs), torch.Tensor)
                followed = [o for o in outs if o.requires_grad]
                grads = _grads(torch, followed, leaves, order, rounded) if order and followed and leaves else []
            except Exception:  # without a wider result the comparison is stricter
                outs, grads = [], []
            self._found = outs, grads
        return self._found

    def output(self, k: int) -> np.ndarray | None:
        found = self._all()[0]
        return array(found[k]) if k < len(found) else None

    def gradient(self, k: int) -> np.ndarray | None:
        found = self._all()[1]
        return array(found[k]) if k < len(found) and found[k] is not None else None


def summary(x: np.ndarray) -> str:
    return np.array2string(x.reshape(-1)[:6], precision=4).replace("\n", "")


def cotangent(shape: tuple[int, ...], dtype: str, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.uniform(0.5, 1.5, shape)
    if "complex" in dtype:
        x = x + 1j * rng.uniform(0.5, 1.5, shape)
    if dtype == "bfloat16":
        import ml_dtypes

        return x.astype(ml_dtypes.bfloat16)
    return x.astype(dtype)


def _name(dtype: Any) -> str:
    return str(dtype).split(".")[-1]


def _grads(lib: Any, outs: list[Any], leaves: list[Any], order: int, rounded: Mapping[str, str] | None = None) -> list[Any]:
    """First derivatives, and, for order 2, those of their sum. ``rounded``: the dtypes to which cotangents are rounded."""

    def like(o: Any, seed: int) -> Any:
        dtype = _name(o.dtype)
        data = cotangent(tuple(o.shape), (rounded or {}).get(dtype, dtype), seed).astype(dtype)
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
        if any(t.dtype not in DTYPES for t in tensors(expected, torch.Tensor)):
            return Outcome("skipped", "returns a dtype without an equivalent")
        try:
            exact = _Wide(theirs, args, kwargs, order, inplace)
            outcome = _compare(name, expected, (leaves_of, a_kwargs), mine, args, kwargs, traced, order, inplace, exact)
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
    name: str,
    expected: Any,
    theirs: Any,
    mine: Any,
    args: tuple,
    kwargs: dict,
    traced: bool,
    order: int,
    inplace: bool,
    exact: _Wide,
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
    factor, poles = 50.0 if name in LENIENT else 1.0, name in POLES
    pairs = list(zip(tensors(expected, torch.Tensor), tensors(out, tracer.Tensor), strict=True))
    for k, (a, b) in enumerate(pairs):
        if name in UNDETERMINED:
            continue
        compare(array(a), b.detach().numpy(), f"output {k}", factor, poles, lambda k=k: exact.output(k))
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
            if k % len(leaves) in MISTAKEN.get(name, ()):
                continue
            y = np.where(np.isnan(x) & (y.dtype.kind in "fcV"), x, y)  # where PyTorch gives NaN, a number is accepted
            compare(x, y, what, factor, poles, lambda k=k: exact.gradient(k))
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
