"""Connectionist temporal classification (Graves, Fernandez, Gomez and Schmidhuber 2006)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ... import autograd
from ...autograd.function import Function
from ...autograd.modes import enable_grad
from ...core.context import context
from ...core.fused import is_observed
from ...core.tensor import Tensor, wrap
from ...ir import ops as P
from ...ir.types import float64, int64
from ...ops import mean, sum
from ...ops import pointwise as F
from ...ops import shape as S
from ...ops.common import to_dtype, within
from ...ops.create import fixed
from ...ops.special import logaddexp
from ...runtime.devices import device_of
from .loss import reduced

__all__ = ["ctc_loss"]

_NEVER = -1e30  # the logarithm of a probability of zero


def _numbers(x: Any) -> list[int]:
    if isinstance(x, Tensor):
        return x.reshape(-1).tolist()
    return [x] if isinstance(x, int) else list(x)


def _lengths(x: Any, most: int, message: str) -> Tensor:
    """Lengths of a batch as a tensor. Raises RuntimeError with the message, which gets the length, for those above ``most``."""
    lengths = S.reshape(to_dtype(x, int64), (-1,)) if isinstance(x, Tensor) else fixed(np.array(_numbers(x), np.int64))
    return within(lengths, most + 1, message) if lengths.numel() else lengths


def _labels(targets: Tensor, target_lengths: Any) -> Tensor:
    """Concatenated label sequences as the rows of a matrix, where elements after the end of a sequence do not matter."""
    lengths = _numbers(target_lengths)
    starts = np.cumsum([0, *lengths])[:-1]
    places = np.minimum(starts[:, None] + np.arange(max(lengths, default=0)), max(len(targets) - 1, 0))
    return S.reshape(P.index_select(targets, fixed(places.reshape(-1)), axis=0), places.shape)


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """The negative log-likelihood of label sequences over all alignments (Graves et al. 2006), by the forward recursion for a
    batch at once. Scores are ``[time, batch, classes]`` or ``[time, classes]``, targets ``[batch, labels]``, or all sequences
    one after another. Raises RuntimeError for lengths that do not fit.
    """
    single = log_probs.ndim == 2
    lp = to_dtype(S.unsqueeze(log_probs, 1) if single else log_probs, float64)  # sums of many mostly tiny probabilities
    time, batch, _ = lp._data.shape
    checking = "(while checking arguments for ctc_loss)"
    message = f"Expected input_lengths to have value at most {time}, but got value {{}} {checking}"
    steps = S.reshape(_lengths(input_lengths, time, message), (batch, 1))
    flat, there = to_dtype(targets, int64), targets._data.shape[-1]
    message = f"Expected tensor to have size at least {{}} at dimension {targets.ndim - 1}, but got size {there} for argument "
    message += f"#2 'targets' {checking}"
    if targets.ndim == 1:
        needed = math.fsum(_numbers(target_lengths))
        if needed > there:
            raise RuntimeError(message.format(int(needed)))
        labels = _labels(flat, target_lengths)
    else:
        labels = flat
    sizes = S.reshape(_lengths(target_lengths, there, message), (batch, 1))
    count = labels._data.shape[1]
    places = P.iota(shape=(batch, count), axis=1, dtype="i64")
    labels = F.where(F.lt(places, sizes), labels, blank)
    # Each label with a blank before it, and one at the end.
    blanks = P.full(value=blank, shape=(batch, count + 1), dtype="i64")
    pairs = S.reshape(S.stack([S.narrow(blanks, 1, 0, count), labels], -1), (batch, 2 * count))
    extended = S.cat([pairs, S.narrow(blanks, 1, 0, 1)], 1)
    if is_observed() or device_of(lp._data) is not None or not _has_steps(steps):
        loss = _by_operations(lp, extended, steps, sizes)
    else:
        loss = _Alignments.apply(lp, extended, steps, sizes)
    losses = F.where(F.gt(loss, 1e20), 0.0 if zero_infinity else math.inf, loss)
    out = to_dtype(losses, log_probs.dtype)
    if reduction == "mean":
        return mean(F.div(out, P.cast(F.clamp(S.reshape(sizes, (batch,)), min=1), dtype=out.dtype.short)))
    if reduction == "none" and single:
        return S.squeeze(out, 0)
    return reduced(out, reduction)


def _has_steps(steps: Tensor) -> bool:
    return bool(steps._data.size) and int(steps._data.min()) > 0


def _by_operations(lp: Tensor, extended: Tensor, steps: Tensor, sizes: Tensor) -> Tensor:
    """The negative log-likelihoods, by operations on tensors: for programs and higher derivatives."""
    time, batch, _ = lp._data.shape
    n = extended._data.shape[1]
    scores = P.gather(lp, S.expand(extended, (time, batch, n)), axis=2)

    def at(i: int) -> Tensor:
        return S.reshape(S.narrow(scores, 0, i, 1), (batch, n))

    def behind(x: Tensor, by: int, value: float) -> Tensor:
        return S.pad(S.narrow(x, 1, 0, max(n - by, 0)), (min(by, n), 0), value)

    # Between different labels the blank may be left out.
    allowed = F.ne(extended, behind(extended, 2, -1))
    start = F.lt(P.iota(shape=(batch, n), axis=1, dtype="i64"), 2)
    alpha = F.where(start, at(0), _NEVER)
    for i in range(1, time):
        one, two = behind(alpha, 1, _NEVER), F.where(allowed, behind(alpha, 2, _NEVER), _NEVER)
        later = F.add(logaddexp(logaddexp(alpha, one), two), at(i))
        alpha = F.where(F.gt(steps, i), later, alpha)
    last = F.mul(sizes, 2)
    end = P.gather(alpha, last, axis=1)
    end = F.where(F.gt(sizes, 0), logaddexp(end, P.gather(alpha, F.clamp(F.sub(last, 1), min=0), axis=1)), end)
    # PyTorch's gradient is with respect to logits before a log-softmax, so it includes the softmax.
    moments = P.iota(shape=(time, batch, 1), axis=0, dtype="i64")
    mass = sum(F.where(F.lt(moments, steps), F.exp(lp), 0.0), (0, 2))
    return F.add(F.neg(S.reshape(end, (batch,))), F.sub(mass, mass.detach()))


class _Alignments(Function):
    """The same in NumPy, with the gradient by the backward recursion: a step of the recursion is eight array operations."""

    @staticmethod
    def forward(ctx: Any, lp: Tensor, extended: Tensor, steps: Tensor, sizes: Tensor) -> Tensor:
        ctx.save_for_backward(lp, extended, steps, sizes)
        labels, counts = extended._data, steps._data[:, 0]
        time, batch, _ = lp._data.shape
        n = labels.shape[1]
        rows = np.arange(batch)
        with np.errstate(all="ignore"):
            scores = lp._data[:, rows[:, None], labels]
            allowed = _may_skip(labels)
            alpha = np.full((time, batch, n + 2), -np.inf)
            alpha[0, :, 2 : min(n, 2) + 2] = scores[0, :, :2]
            for i in range(1, time):
                before = alpha[i - 1]
                found = np.logaddexp(before[:, 2:], before[:, 1:-1])
                np.logaddexp(found, np.where(allowed, before[:, :-2], -np.inf), out=found)
                np.add(found, scores[i], out=alpha[i, :, 2:])
            ends = 2 * sizes._data[:, 0]
            last = alpha[counts - 1, rows]
            final = np.where(ends > 0, last[rows, ends + 1], -np.inf)  # the last label; else the blank behind it
            loss = -np.logaddexp(last[rows, ends + 2], final)
        ctx.alpha, ctx.scores, ctx.allowed, ctx.loss = alpha, scores, allowed, loss
        return wrap(np.where(np.isinf(loss), -_NEVER, loss))

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> Any:
        lp, extended, steps, sizes = ctx.saved_tensors
        if context.grad_enabled:  # of a pass with ``create_graph``
            with enable_grad():
                loss = _by_operations(lp, extended, steps, sizes)
            return *autograd.grad(loss, lp, cotangent, create_graph=True), None, None, None
        time, batch, classes = lp._data.shape
        labels, counts, ends = extended._data, steps._data[:, 0], 2 * sizes._data[:, 0]
        n, rows = labels.shape[1], np.arange(batch)
        allowed = np.zeros((batch, n), bool)
        allowed[:, :-2] = ctx.allowed[:, 2:]
        final = np.full((batch, n), -np.inf)
        final[rows, ends] = 0.0
        final[rows[ends > 0], ends[ends > 0] - 1] = 0.0
        beta = np.empty((time, batch, n))  # of what follows a moment
        after = np.full((batch, n + 2), -np.inf)
        with np.errstate(all="ignore"):
            for i in range(time - 1, -1, -1):
                if i < time - 1:
                    np.add(beta[i + 1], ctx.scores[i + 1], out=after[:, :n])
                    found = np.logaddexp(after[:, :n], after[:, 1 : n + 1])
                    np.logaddexp(found, np.where(allowed, after[:, 2:], -np.inf), out=found)
                    beta[i] = np.where((counts == i + 1)[:, None], final, found)
                else:
                    beta[i] = np.where((counts == time)[:, None], final, -np.inf)
            posterior = np.exp(ctx.alpha[:, :, 2:] + beta + ctx.loss[:, None])
            posterior[~np.isfinite(posterior)] = 0.0  # there is no alignment
            places = (np.arange(time)[:, None, None] * batch + rows[:, None]) * classes + labels
            summed = np.bincount(places.ravel(), posterior.ravel(), time * batch * classes).reshape(lp._data.shape)
            inside = (np.arange(time)[:, None] < counts)[:, :, None]
            found = np.where(inside, np.exp(lp._data) - summed, 0.0) * cotangent._data[:, None]
        return wrap(found), None, None, None


def _may_skip(labels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Whether the blank before a label may be left out: between different labels."""
    allowed = np.ones(labels.shape, bool)
    allowed[:, 2:] = labels[:, 2:] != labels[:, :-2]
    return allowed
