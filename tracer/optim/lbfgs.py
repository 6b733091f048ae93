"""L-BFGS."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from ..autograd.modes import enable_grad, no_grad
from ..core.tensor import Tensor
from ..ops import create, shape
from ..ops.complex import view_as_complex, view_as_real
from ..tracing.announce import AnnouncingDict
from ..tracing.callsites import as_float
from .optimizer import Optimizer, options, require


class _Point(NamedTuple):
    """A step length, the loss and gradient there, and the gradient's component along the direction."""

    t: float
    loss: float
    gradient: Tensor
    slope: float


_EVALUATIONS = 25  # per line search


def _dot(a: Tensor, b: Tensor) -> float:
    return (a * b).sum().item()


def _minimum(a: _Point, b: _Point, low: float, high: float) -> float:
    """The minimizer within [low, high] of the cubic through two points with slopes (Nocedal, Wright 2006, eq. 3.59)."""
    if a.t > b.t:
        a, b = b, a
    d = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
    square = d * d - a.slope * b.slope
    if not square >= 0:  # also NaN, for non-finite losses
        return (low + high) / 2
    root = math.sqrt(square)
    if b.slope - a.slope + 2 * root == 0:
        return low if (b.slope + root - d) > 0 else high
    t = b.t - (b.t - a.t) * ((b.slope + root - d) / (b.slope - a.slope + 2 * root))
    return min(max(t, low), high)


def _strong_wolfe(
    evaluate: Callable[[float], _Point],
    start: _Point,
    t: float,
    largest: float,
    tolerance: float,
    limit: int,
    c1: float = 1e-4,
    c2: float = 0.9,
) -> tuple[_Point, int]:
    """A step that satisfies the strong Wolfe conditions (Nocedal, Wright 2006, algorithms 3.5 and 3.6), and the number of
    evaluations.
    """
    previous, new, count = start, evaluate(t), 1
    bracket: list[_Point] = []
    done, tried = False, 0
    while tried < limit:
        if new.loss > start.loss + c1 * new.t * start.slope or (tried > 1 and new.loss >= previous.loss):
            bracket = [previous, new]
            break
        if abs(new.slope) <= -c2 * start.slope:
            bracket, done = [new], True
            break
        if new.slope >= 0:
            bracket = [previous, new]
            break
        low, high = new.t + 0.01 * (new.t - previous.t), new.t * 10
        t = _minimum(previous, new, low, high)
        previous, new = new, evaluate(t)
        count += 1
        tried += 1
    if tried == limit:
        bracket = [start, new]
    stuck = False
    low_end, high_end = (0, 1) if bracket[0].loss <= bracket[-1].loss else (1, 0)
    while not done and tried < limit:
        ends = [p.t for p in bracket]
        if abs(ends[1] - ends[0]) * largest < tolerance:
            break
        t = _minimum(bracket[0], bracket[1], min(ends), max(ends))
        # Not too close to an end twice in a row: the interval must shrink.
        margin = 0.1 * (max(ends) - min(ends))
        if min(max(ends) - t, t - min(ends)) < margin:
            if stuck or t >= max(ends) or t <= min(ends):
                t = max(ends) - margin if abs(t - max(ends)) < abs(t - min(ends)) else min(ends) + margin
                stuck = False
            else:
                stuck = True
        else:
            stuck = False
        new = evaluate(t)
        count += 1
        tried += 1
        if new.loss > start.loss + c1 * new.t * start.slope or new.loss >= bracket[low_end].loss:
            bracket[high_end] = new
            low_end, high_end = (0, 1) if bracket[0].loss <= bracket[1].loss else (1, 0)
        else:
            if abs(new.slope) <= -c2 * start.slope:
                done = True
            elif new.slope * (bracket[high_end].t - bracket[low_end].t) >= 0:
                bracket[high_end] = bracket[low_end]
            bracket[low_end] = new
    return (bracket[low_end] if len(bracket) > 1 else bracket[0]), count


def _real(x: Tensor) -> Tensor:
    return view_as_real(x) if x.is_complex() else x


class LBFGS(Optimizer):
    """The limited-memory method of Broyden, Fletcher, Goldfarb and Shanno (Liu, Nocedal 1989).

    ``step`` needs a closure that computes the loss and its gradients, else TypeError; it is called several times. A step has up
    to ``max_iter`` iterations and ``max_eval`` calls; None is 5/4 of the iterations. It ends when the gradient's greatest
    element is at most ``tolerance_grad``, or the change is at most ``tolerance_change``. ``history_size``: the number of
    changes that approximate the Hessian. ``line_search_fn``: None, or "strong_wolfe"; another one raises RuntimeError in a
    step. There can be one group of parameters only, else ValueError.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
        **more: Any,
    ):
        require("learning rate", lr, lr >= 0)
        settings = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        super().__init__(params, settings | options("", more))
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")

    @property
    def _params(self) -> list[Tensor]:
        return self.param_groups[0]["params"]

    def _gradient(self) -> Tensor:
        """The gradients' elements; complex ones as pairs of real numbers."""
        flat = [_real(create.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in self._params]
        return shape.cat(flat, 0).detach().clone()

    def _set(self, at: list[Tensor], direction: Tensor, t: float) -> None:
        """Sets the parameters to ``at`` plus ``t`` times the direction."""
        offset = 0
        for p, before in zip(self._params, at, strict=True):
            real = _real(before)
            n = real.numel()
            moved = real + direction[offset : offset + n].reshape(real.shape) * t
            p.copy_(view_as_complex(moved) if p.is_complex() else moved)
            offset += n

    @staticmethod
    def _direction(state: dict[str, Any], gradient: Tensor, history_size: int) -> Tensor:
        """Minus the inverse Hessian times the gradient, by the two-loop recursion over the history."""
        q = -gradient
        steps, changes, ro = state["old_stps"], state["old_dirs"], state["ro"]
        factors = []
        for s, y, r in zip(reversed(steps), reversed(changes), reversed(ro), strict=True):
            a = (s * q).sum() * r
            factors.append(a)
            q = q - y * a
        q = q * state["H_diag"]
        factors.reverse()
        for s, y, r, a in zip(steps, changes, ro, factors, strict=True):
            q = q + s * (a - (y * q).sum() * r)
        state["al"] = [*factors, *[None] * (history_size - len(factors))]
        return q

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Up to ``max_iter`` iterations. Returns the loss before them. Raises TypeError without a closure."""
        if closure is None:
            raise TypeError("LBFGS.step() missing 1 required positional argument: 'closure'")
        group = self.param_groups[0]
        lr = as_float(group["lr"])
        state = self.state.setdefault(self._params[0], AnnouncingDict(func_evals=0, n_iter=0))
        with no_grad():
            first = self._evaluate(closure)
            loss, gradient = as_float(first), self._gradient()
            evaluations = 1
            state["func_evals"] += 1
            if gradient.abs().max().item() <= group["tolerance_grad"]:
                return first
            n = 0
            while n < group["max_iter"]:
                n += 1
                state["n_iter"] += 1
                direction = self._update(state, gradient, group)
                state["prev_flat_grad"], state["prev_loss"] = gradient, loss
                slope = _dot(gradient, direction)
                t = min(1.0, 1.0 / gradient.abs().sum().item()) * lr if state["n_iter"] == 1 else lr
                if slope > -group["tolerance_change"]:
                    state["t"] = t
                    break
                at = [p.detach().clone() for p in self._params]
                calls = 0
                if group["line_search_fn"] is not None:
                    if group["line_search_fn"] != "strong_wolfe":
                        raise RuntimeError("only 'strong_wolfe' is supported")

                    def evaluate(t: float) -> _Point:
                        self._set(at, direction, t)
                        value = as_float(self._evaluate(closure))
                        g = self._gradient()
                        return _Point(t, value, g, _dot(g, direction))

                    start = _Point(0.0, loss, gradient, slope)
                    largest = direction.abs().max().item()
                    limit = min(_EVALUATIONS, group["max_eval"] - evaluations)
                    best, calls = _strong_wolfe(evaluate, start, t, largest, group["tolerance_change"], limit)
                    t, loss, gradient = best.t, best.loss, best.gradient
                    self._set(at, direction, t)
                else:
                    self._set(at, direction, t)
                    if n != group["max_iter"]:
                        loss = as_float(self._evaluate(closure))
                        gradient = self._gradient()
                        calls = 1
                evaluations += calls
                state["func_evals"] += calls
                state["d"], state["t"] = direction, t
                if n == group["max_iter"] or evaluations >= group["max_eval"]:
                    break
                # Both are computed before Python looks at either.
                largest_gradient, largest_step = gradient.abs().max().item(), (direction * t).abs().max().item()
                if (
                    largest_gradient <= group["tolerance_grad"]
                    or largest_step <= group["tolerance_change"]
                    or abs(loss - state["prev_loss"]) < group["tolerance_change"]
                ):
                    break
        return first

    @staticmethod
    def _evaluate(closure: Callable[[], Any]) -> Any:
        with enable_grad():
            return closure()

    def _update(self, state: dict[str, Any], gradient: Tensor, group: Any) -> Tensor:
        """The next direction; stores the last change of the gradient."""
        if state["n_iter"] == 1:
            state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1)
            return -gradient
        y = gradient - state["prev_flat_grad"]
        s = state["d"] * state["t"]
        ys = (y * s).sum()
        if ys > 1e-10:  # positive curvature
            for name, value in (("old_dirs", y), ("old_stps", s), ("ro", 1.0 / ys)):
                if len(state[name]) == group["history_size"]:
                    state[name].pop(0)
                state[name].append(value)
            state["H_diag"] = ys / (y * y).sum()
        return self._direction(state, gradient, group["history_size"])
