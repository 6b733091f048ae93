"""The cost of a traced function's call in an ``@njit`` loop, compared with hand-written Numba and JAX, in nanoseconds.

python -m benchmarks.numba_calls
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

import tracer

_REPETITIONS = 21
_SIZE = 10

_rng = np.random.default_rng(0)
_root = _rng.normal(size=(_SIZE, _SIZE))
PRECISION, MEAN = _root @ _root.T / _SIZE + np.eye(_SIZE), _rng.normal(size=_SIZE)
precision, mean = tracer.tensor(PRECISION), tracer.tensor(MEAN)


@tracer.trace
def tiny(x: Any) -> Any:
    return x * 0.5 + 1.0


@tracer.trace
def gaussian(x: Any) -> Any:
    d = x - mean
    return -0.5 * (d @ (precision @ d))


@numba.njit
def tiny_by_hand(x):  # type: ignore[no-untyped-def]
    return x * 0.5 + 1.0


@numba.njit
def gaussian_by_hand(x):  # type: ignore[no-untyped-def]
    n, value = x.size, 0.0
    gradient = np.empty(n)
    for i in range(n):
        t = 0.0
        for j in range(n):
            t += PRECISION[i, j] * (x[j] - MEAN[j])
        gradient[i] = -t
        value -= 0.5 * (x[i] - MEAN[i]) * t
    return value, gradient


def median(function: Callable[[int], Any], calls: int) -> float:
    """Nanoseconds per call in ``function``, the median of repetitions."""
    function(10)
    times = []
    for _ in range(_REPETITIONS):
        begin = time.perf_counter()
        function(calls)
        times.append((time.perf_counter() - begin) / calls)
    return statistics.median(times) * 1e9


def looped(function: Any) -> Callable[[int], Any]:
    """Calls ``function`` on its own result."""

    @numba.njit
    def loop(x, n):  # type: ignore[no-untyped-def]
        for _ in range(n):
            x = function(x)
        return x

    return lambda n: loop(np.ones(1), n)


def climbing(function: Any) -> Callable[[int], Any]:
    """Follows the gradient that ``function`` returns with the value."""

    @numba.njit
    def loop(x, n):  # type: ignore[no-untyped-def]
        total = 0.0
        for _ in range(n):
            value, gradient = function(x)
            total += value
            for i in range(x.size):
                x[i] += 1e-3 * gradient[i]
        return total

    return lambda n: loop(np.zeros(_SIZE), n)


def measure() -> list[tuple[str, float, float]]:
    """The call variants, with nanoseconds per call of the tiny function, and of the Gaussian's value and gradient."""
    traced, gradient = tiny.numba(np.ones(1)), gaussian.numba_value_and_grad(np.zeros(_SIZE))
    return [
        ("hand-written Numba", median(looped(tiny_by_hand), 100_000), median(climbing(gaussian_by_hand), 100_000)),
        ("traced, in an @njit loop", median(looped(traced), 100_000), median(climbing(gradient), 100_000)),
        ("traced, from Python", *_from_python(traced, gradient)),
        *_in_jax(),
    ]


def _from_python(traced: Any, gradient: Any) -> tuple[float, float]:
    def repeat(function: Any, x: Any) -> Callable[[int], Any]:
        return lambda n: [function(x) for _ in range(n)][-1]

    return median(repeat(traced, np.ones(1)), 2000), median(repeat(gradient, np.zeros(_SIZE)), 2000)


def _in_jax() -> list[tuple[str, float, float]]:
    try:
        import jax
    except ImportError:
        return []
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    matrix, center = jnp.asarray(PRECISION), jnp.asarray(MEAN)

    def density(x: Any) -> Any:
        d = x - center
        return -0.5 * d @ (matrix @ d)

    def small(x: Any) -> Any:
        return x * 0.5 + 1.0

    both = jax.value_and_grad(density)

    def climb(i: Any, state: Any) -> Any:
        x, total = state
        value, gradient = both(x)
        return x + 1e-3 * gradient, total + value

    one, zeros = jnp.ones(1), jnp.zeros(_SIZE)
    loop = jax.jit(lambda x, n: jax.lax.fori_loop(0, n, lambda i, x: small(x), x))
    loops = jax.jit(lambda x, n: jax.lax.fori_loop(0, n, climb, (x, 0.0)))
    called, both_called = jax.jit(small), jax.jit(both)
    return [
        (
            "JAX, in lax.fori_loop",
            median(lambda n: loop(one, n).block_until_ready(), 100_000),
            median(lambda n: loops(zeros, n)[0].block_until_ready(), 100_000),
        ),
        (
            "JAX, from Python",
            median(lambda n: [called(one) for _ in range(n)][-1].block_until_ready(), 2000),
            median(lambda n: [both_called(zeros) for _ in range(n)][-1][0].block_until_ready(), 2000),
        ),
    ]


def main() -> None:
    rows = measure()
    _, tiny_base, gaussian_base = rows[0]
    print(f"{'ns a call':26} {'x * 0.5 + 1, 1 element':>30} {'Gaussian, 10-d, value and gradient':>38}")
    for name, a, b in rows:
        first, second = f"{a:8.0f} ({a / tiny_base:6.2f} x)", f"{b:8.0f} ({b / gaussian_base:6.2f} x)"
        print(f"{name:26} {first:>30} {second:>38}")
    print(f"more than hand-written Numba, ns: {rows[1][1] - tiny_base:.0f} and {rows[1][2] - gaussian_base:.0f}")


if __name__ == "__main__":
    main()
