"""Writes of slices in loops: traced functions, the same code in NumPy, and Numba's loops over elements, in one run.

    python -m benchmarks.slices [--only NAME] [--rounds 12]

A program is one function of arrays, which NumPy and the traced function both run, and a second one with explicit loops for
``numba.njit``. Results are compared; then the contenders are timed alternately. A program with gradients is compared with
NumPy without them: the column shows how many times longer a value with its gradient takes.
"""

from __future__ import annotations

import argparse
import fnmatch
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from rich.console import Console
from rich.table import Table

import tracer


@dataclass
class Program:
    """``function`` takes (zeros, *arrays); ``loops`` takes the arrays. Both return an array; arguments may be changed.

    ``gradients``: the arguments that receive gradients.
    """

    function: Callable[..., Any]
    loops: Callable[..., Any]
    inputs: Callable[[], list[np.ndarray]]
    gradients: tuple[int, ...]


PROGRAMS: dict[str, Program] = {}


Inputs = Callable[[], list[np.ndarray]]


def program(name: str, inputs: Inputs, loops: Callable[..., Any], gradients: tuple[int, ...] = ()) -> Any:
    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        PROGRAMS[name] = Program(function, numba.njit(loops), inputs, gradients)
        return function

    return enter


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape)


def dominant(n: int) -> np.ndarray:
    """A matrix that needs no pivots."""
    return normal(n, n) + 2 * n * np.eye(n)


def rows_by_hand(a):  # type: ignore[no-untyped-def]
    y = np.zeros(a.shape)
    for i in range(1, a.shape[0]):
        for j in range(a.shape[1]):
            y[i, j] = 0.5 * y[i - 1, j] + a[i, j]
    return y


def rows(zeros: Any, a: Any) -> Any:
    y = zeros(a.shape)
    for i in range(1, a.shape[0]):
        y[i] = 0.5 * y[i - 1] + a[i]
    return y


program("rows of a recurrence, 400 x 400", lambda: [normal(400, 400)], rows_by_hand)(rows)
program("rows of a recurrence, with gradients", lambda: [normal(400, 400)], rows_by_hand, (0,))(rows)


def argument_by_hand(a):  # type: ignore[no-untyped-def]
    for i in range(1, a.shape[0]):
        for j in range(a.shape[1]):
            a[i, j] = 0.5 * (a[i, j] + a[i - 1, j])
    return a


@program("rows of an argument, 400 x 400", lambda: [normal(400, 400)], argument_by_hand)
def argument(zeros: Any, a: Any) -> Any:
    for i in range(1, a.shape[0]):
        a[i] = 0.5 * (a[i] + a[i - 1])
    return a


def columns_by_hand(a):  # type: ignore[no-untyped-def]
    y = np.zeros(a.shape)
    for j in range(1, a.shape[1]):
        for i in range(a.shape[0]):
            y[i, j] = 0.5 * y[i, j - 1] + a[i, j]
    return y


@program("columns of a recurrence, 200 x 200", lambda: [normal(200, 200)], columns_by_hand)
def columns(zeros: Any, a: Any) -> Any:
    y = zeros(a.shape)
    for j in range(1, a.shape[1]):
        y[:, j] = 0.5 * y[:, j - 1] + a[:, j]
    return y


def jacobi_by_hand(a, b):  # type: ignore[no-untyped-def]
    n = a.shape[0]
    for _ in range(10):
        for i in range(1, n - 1):
            for j in range(1, n - 1):
                b[i, j] = 0.2 * (a[i, j] + a[i, j - 1] + a[i, j + 1] + a[i + 1, j] + a[i - 1, j])
        for i in range(1, n - 1):
            for j in range(1, n - 1):
                a[i, j] = 0.2 * (b[i, j] + b[i, j - 1] + b[i, j + 1] + b[i + 1, j] + b[i - 1, j])
    return a


@program("jacobi, 10 steps of 250 x 250", lambda: [normal(250, 250), normal(250, 250)], jacobi_by_hand)
def jacobi(zeros: Any, a: Any, b: Any) -> Any:
    for _ in range(10):
        b[1:-1, 1:-1] = 0.2 * (a[1:-1, 1:-1] + a[1:-1, :-2] + a[1:-1, 2:] + a[2:, 1:-1] + a[:-2, 1:-1])
        a[1:-1, 1:-1] = 0.2 * (b[1:-1, 1:-1] + b[1:-1, :-2] + b[1:-1, 2:] + b[2:, 1:-1] + b[:-2, 1:-1])
    return a


def heat_by_hand(u):  # type: ignore[no-untyped-def]
    n = u.shape[0]
    v = np.empty_like(u)
    for _ in range(10):
        for i in range(1, n - 1):
            for j in range(1, n - 1):
                v[i, j] = u[i, j] + 0.1 * (u[i + 1, j] + u[i - 1, j] + u[i, j + 1] + u[i, j - 1] - 4 * u[i, j])
        for i in range(1, n - 1):
            for j in range(1, n - 1):
                u[i, j] = v[i, j]
    return u


def heat(zeros: Any, u: Any) -> Any:
    for _ in range(10):
        u[1:-1, 1:-1] += 0.1 * (u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2] - 4 * u[1:-1, 1:-1])
    return u


def heat_of_copy(zeros: Any, u: Any) -> Any:
    return heat(zeros, 1 * u)


program("heat in place, 10 steps of 250 x 250", lambda: [normal(250, 250)], heat_by_hand)(heat)
program("heat of a copy, with gradients", lambda: [normal(250, 250)], heat_by_hand, (0,))(heat_of_copy)


def lu_by_hand(a):  # type: ignore[no-untyped-def]
    n = a.shape[0]
    for k in range(n - 1):
        for i in range(k + 1, n):
            a[i, k] /= a[k, k]
            for j in range(k + 1, n):
                a[i, j] -= a[i, k] * a[k, j]
    return a


@program("LU, 100 x 100", lambda: [dominant(100)], lu_by_hand)
def lu(zeros: Any, a: Any) -> Any:
    for k in range(a.shape[0] - 1):
        a[k + 1 :, k] /= a[k, k]
        a[k + 1 :, k + 1 :] -= a[k + 1 :, k, None] * a[k, k + 1 :]
    return a


def adi_by_hand(u):  # type: ignore[no-untyped-def]
    n = u.shape[0]
    v, p, q = np.zeros(u.shape), np.zeros(u.shape), np.zeros(u.shape)
    for _ in range(2):
        for i in range(1, n - 1):
            v[0, i], p[i, 0], q[i, 0] = 1.0, 0.0, 1.0
            for j in range(1, n - 1):
                p[i, j] = 0.3 / (0.3 * p[i, j - 1] + 1.6)
                q[i, j] = (0.2 * u[j, i - 1] + 0.6 * u[j, i] + 0.2 * u[j, i + 1] + 0.3 * q[i, j - 1]) / (
                    0.3 * p[i, j - 1] + 1.6
                )
            v[n - 1, i] = 1.0
            for j in range(n - 2, 0, -1):
                v[j, i] = p[i, j] * v[j + 1, i] + q[i, j]
        for i in range(1, n - 1):
            u[i, 0], p[i, 0], q[i, 0] = 1.0, 0.0, 1.0
            for j in range(1, n - 1):
                p[i, j] = 0.3 / (0.3 * p[i, j - 1] + 1.6)
                q[i, j] = (0.2 * v[i - 1, j] + 0.6 * v[i, j] + 0.2 * v[i + 1, j] + 0.3 * q[i, j - 1]) / (
                    0.3 * p[i, j - 1] + 1.6
                )
            u[i, n - 1] = 1.0
            for j in range(n - 2, 0, -1):
                u[i, j] = p[i, j] * u[i, j + 1] + q[i, j]
    return u


@program("ADI, 2 steps of 60 x 60", lambda: [normal(60, 60)], adi_by_hand)
def adi(zeros: Any, u: Any) -> Any:
    n = u.shape[0]
    v, p, q = zeros(u.shape), zeros(u.shape), zeros(u.shape)
    for _ in range(2):
        v[0, 1:-1], p[1:-1, 0], q[1:-1, 0] = 1.0, 0.0, 1.0
        for j in range(1, n - 1):
            p[1:-1, j] = 0.3 / (0.3 * p[1:-1, j - 1] + 1.6)
            q[1:-1, j] = (0.2 * u[j, :-2] + 0.6 * u[j, 1:-1] + 0.2 * u[j, 2:] + 0.3 * q[1:-1, j - 1]) / (
                0.3 * p[1:-1, j - 1] + 1.6
            )
        v[n - 1, 1:-1] = 1.0
        for j in range(n - 2, 0, -1):
            v[j, 1:-1] = p[1:-1, j] * v[j + 1, 1:-1] + q[1:-1, j]
        u[1:-1, 0], p[1:-1, 0], q[1:-1, 0] = 1.0, 0.0, 1.0
        for j in range(1, n - 1):
            p[1:-1, j] = 0.3 / (0.3 * p[1:-1, j - 1] + 1.6)
            q[1:-1, j] = (0.2 * v[:-2, j] + 0.6 * v[1:-1, j] + 0.2 * v[2:, j] + 0.3 * q[1:-1, j - 1]) / (
                0.3 * p[1:-1, j - 1] + 1.6
            )
        u[1:-1, n - 1] = 1.0
        for j in range(n - 2, 0, -1):
            u[1:-1, j] = p[1:-1, j] * u[1:-1, j + 1] + q[1:-1, j]
    return u


def cavity_by_hand(u, v, p):  # type: ignore[no-untyped-def]
    n, h, dt, nu = u.shape[0], 0.05, 0.001, 0.1
    b, un, vn, pn = np.zeros(u.shape), np.empty_like(u), np.empty_like(u), np.empty_like(u)
    for _ in range(3):
        for i in range(1, n - 1):
            for j in range(1, n - 1):
                ux, vy = (u[i, j + 1] - u[i, j - 1]) / (2 * h), (v[i + 1, j] - v[i - 1, j]) / (2 * h)
                uy, vx = (u[i + 1, j] - u[i - 1, j]) / (2 * h), (v[i, j + 1] - v[i, j - 1]) / (2 * h)
                b[i, j] = (ux + vy) / dt - ux * ux - 2 * uy * vx - vy * vy
        for _ in range(10):
            pn[:] = p
            for i in range(1, n - 1):
                for j in range(1, n - 1):
                    p[i, j] = 0.25 * (pn[i, j + 1] + pn[i, j - 1] + pn[i + 1, j] + pn[i - 1, j]) - 0.25 * h * h * b[i, j]
            p[:, -1] = p[:, -2]
            p[0, :] = p[1, :]
            p[:, 0] = p[:, 1]
            p[-1, :] = 0
        un[:] = u
        vn[:] = v
        for i in range(1, n - 1):
            for j in range(1, n - 1):
                a, c = un[i, j], vn[i, j]
                lu = un[i, j + 1] + un[i, j - 1] + un[i + 1, j] + un[i - 1, j] - 4 * a
                lv = vn[i, j + 1] + vn[i, j - 1] + vn[i + 1, j] + vn[i - 1, j] - 4 * c
                du = a * (a - un[i, j - 1]) + c * (a - un[i - 1, j])
                dv = a * (c - vn[i, j - 1]) + c * (c - vn[i - 1, j])
                u[i, j] = a - dt / h * du - dt / (2 * h) * (p[i, j + 1] - p[i, j - 1]) + nu * dt / (h * h) * lu
                v[i, j] = c - dt / h * dv - dt / (2 * h) * (p[i + 1, j] - p[i - 1, j]) + nu * dt / (h * h) * lv
        u[0, :] = 0
        u[:, 0] = 0
        u[:, -1] = 0
        u[-1, :] = 1
        v[0, :] = 0
        v[-1, :] = 0
        v[:, 0] = 0
        v[:, -1] = 0
    return u


@program("cavity flow, 3 steps of 101 x 101", lambda: [0.1 * normal(101, 101) for _ in range(3)], cavity_by_hand)
def cavity(zeros: Any, u: Any, v: Any, p: Any) -> Any:
    h, dt, nu = 0.05, 0.001, 0.1
    b = zeros(u.shape)
    for _ in range(3):
        ux, vy = (u[1:-1, 2:] - u[1:-1, :-2]) / (2 * h), (v[2:, 1:-1] - v[:-2, 1:-1]) / (2 * h)
        uy, vx = (u[2:, 1:-1] - u[:-2, 1:-1]) / (2 * h), (v[1:-1, 2:] - v[1:-1, :-2]) / (2 * h)
        b[1:-1, 1:-1] = (ux + vy) / dt - ux * ux - 2 * uy * vx - vy * vy
        for _ in range(10):
            p[1:-1, 1:-1] = 0.25 * (p[1:-1, 2:] + p[1:-1, :-2] + p[2:, 1:-1] + p[:-2, 1:-1]) - 0.25 * h * h * b[1:-1, 1:-1]
            p[:, -1] = p[:, -2]
            p[0, :] = p[1, :]
            p[:, 0] = p[:, 1]
            p[-1, :] = 0
        un, vn = 1 * u, 1 * v
        a, c = un[1:-1, 1:-1], vn[1:-1, 1:-1]
        lu = un[1:-1, 2:] + un[1:-1, :-2] + un[2:, 1:-1] + un[:-2, 1:-1] - 4 * a
        lv = vn[1:-1, 2:] + vn[1:-1, :-2] + vn[2:, 1:-1] + vn[:-2, 1:-1] - 4 * c
        du = a * (a - un[1:-1, :-2]) + c * (a - un[:-2, 1:-1])
        dv = a * (c - vn[1:-1, :-2]) + c * (c - vn[:-2, 1:-1])
        u[1:-1, 1:-1] = a - dt / h * du - dt / (2 * h) * (p[1:-1, 2:] - p[1:-1, :-2]) + nu * dt / (h * h) * lu
        v[1:-1, 1:-1] = c - dt / h * dv - dt / (2 * h) * (p[2:, 1:-1] - p[:-2, 1:-1]) + nu * dt / (h * h) * lv
        u[0, :] = 0
        u[:, 0] = 0
        u[:, -1] = 0
        u[-1, :] = 1
        v[0, :] = 0
        v[-1, :] = 0
        v[:, 0] = 0
        v[:, -1] = 0
    return u


def thomas_by_hand(a, b, c, d):  # type: ignore[no-untyped-def]
    n, m = d.shape
    cp, x = np.zeros(n), np.zeros((n, m))
    cp[0] = c[0] / b[0]
    for j in range(m):
        x[0, j] = d[0, j] / b[0]
    for i in range(1, n):
        w = b[i] - a[i] * cp[i - 1]
        cp[i] = c[i] / w
        for j in range(m):
            x[i, j] = (d[i, j] - a[i] * x[i - 1, j]) / w
    for i in range(n - 2, -1, -1):
        for j in range(m):
            x[i, j] -= cp[i] * x[i + 1, j]
    return x


def thomas(zeros: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    n = d.shape[0]
    cp, x = zeros((n,)), zeros(d.shape)
    cp[0] = c[0] / b[0]
    x[0] = d[0] / b[0]
    for i in range(1, n):
        w = b[i] - a[i] * cp[i - 1]
        cp[i] = c[i] / w
        x[i] = (d[i] - a[i] * x[i - 1]) / w
    for i in range(n - 2, -1, -1):
        x[i] -= cp[i] * x[i + 1]
    return x


def system() -> list[np.ndarray]:
    return [normal(200), 10 + normal(200) ** 2, normal(200), normal(200, 300)]


program("tridiagonal systems, 200 x 300", system, thomas_by_hand)(thomas)
program("tridiagonal systems, with gradients", system, thomas_by_hand, (3,))(thomas)


def recurrence_by_hand(a):  # type: ignore[no-untyped-def]
    x = np.zeros(a.shape[0])
    x[0] = a[0]
    for t in range(1, a.shape[0]):
        x[t] = np.sin(x[t - 1]) + a[t]
    return x


def recurrence(zeros: Any, a: Any) -> Any:
    x = zeros(a.shape)
    x[0] = a[0]
    for t in range(1, a.shape[0]):
        x[t] = np.sin(1 * x[t - 1]) + a[t]
    return x


program("numbers of a recurrence, 300", lambda: [normal(300)], recurrence_by_hand)(recurrence)
program("numbers of a recurrence, with gradients", lambda: [normal(300)], recurrence_by_hand, (0,))(recurrence)


def waves_by_hand(e, f, h):  # type: ignore[no-untyped-def]
    n, m = h.shape
    for t in range(10):
        for j in range(m):
            f[0, j] = t
        for i in range(1, n):
            for j in range(m):
                f[i, j] -= 0.5 * (h[i, j] - h[i - 1, j])
        for i in range(n):
            for j in range(1, m):
                e[i, j] -= 0.5 * (h[i, j] - h[i, j - 1])
        for i in range(n - 1):
            for j in range(m - 1):
                h[i, j] -= 0.7 * (e[i, j + 1] - e[i, j] + f[i + 1, j] - f[i, j])
    return h


@program("waves on a staggered grid, 10 steps of 200 x 220", lambda: [normal(200, 220) for _ in range(3)], waves_by_hand)
def waves(zeros: Any, e: Any, f: Any, h: Any) -> Any:
    for t in range(10):
        f[0] = t
        f[1:] -= 0.5 * (h[1:] - h[:-1])
        e[:, 1:] -= 0.5 * (h[:, 1:] - h[:, :-1])
        h[:-1, :-1] -= 0.7 * (e[:-1, 1:] - e[:-1, :-1] + f[1:, :-1] - f[:-1, :-1])
    return h


def forward_substitution_by_hand(a, b):  # type: ignore[no-untyped-def]
    x = np.zeros(b.shape[0])
    for i in range(b.shape[0]):
        total = b[i]
        for k in range(i):
            total -= a[i, k] * x[k]
        x[i] = total / a[i, i]
    return x


@program("forward substitution, 300", lambda: [dominant(300), normal(300)], forward_substitution_by_hand)
def forward_substitution(zeros: Any, a: Any, b: Any) -> Any:
    x = zeros(b.shape)
    for i in range(b.shape[0]):
        x[i] = (b[i] - a[i, :i] @ x[:i]) / a[i, i]
    return x


def covariances_by_hand(x):  # type: ignore[no-untyped-def]
    n, m = x.shape
    out = np.zeros((m, m))
    for i in range(m):
        for k in range(n):
            for j in range(i, m):
                out[i, j] += x[k, i] * x[k, j]
        for j in range(i, m):
            out[j, i] = out[i, j]
    return out


@program("covariances, 200 of 300", lambda: [normal(300, 200)], covariances_by_hand)
def covariances(zeros: Any, x: Any) -> Any:
    out = zeros((x.shape[1], x.shape[1]))
    for i in range(x.shape[1]):
        out[i, i:] = x[:, i] @ x[:, i:]
        out[i:, i] = out[i, i:]
    return out


def forces_by_hand(x):  # type: ignore[no-untyped-def]
    n = x.shape[0]
    v = np.zeros((n, 3))
    for _ in range(10):
        for i in range(n):
            for j in range(n):
                r = (x[i, 0] - x[j, 0]) ** 2 + (x[i, 1] - x[j, 1]) ** 2 + (x[i, 2] - x[j, 2]) ** 2
                if r > 0:
                    w = r**-1.5
                    for a in range(3):
                        v[i, a] += 0.01 * w * (x[j, a] - x[i, a])
        for i in range(n):
            for a in range(3):
                x[i, a] += 0.01 * v[i, a]
    return x


@program("forces between 30 bodies, with masks", lambda: [10 * normal(30, 3)], forces_by_hand)
def forces(zeros: Any, x: Any) -> Any:
    v = zeros((x.shape[0], 3))
    for _ in range(10):
        d = x[None] - x[:, None]
        r = (d * d).sum(-1)
        r[r > 0] = r[r > 0] ** -1.5
        v += 0.01 * (r[..., None] * d).sum(1)
        x += 0.01 * v
    return x


def _zeros(shape: Any) -> Any:
    return tracer.zeros(*shape, dtype=tracer.float64)


def _steps(p: Program) -> tuple[dict[str, Callable[[], Any]], dict[str, float]]:
    """The contenders, each on its own arrays, and the seconds of the traced function's first calls."""
    function = p.function
    traced = tracer.trace(lambda *arrays: function(_zeros, *arrays))
    given = [tracer.tensor(a) for a in p.inputs()]
    if p.gradients:
        leaves = [given[k].requires_grad_() for k in p.gradients]

        def step() -> Any:
            for t in leaves:
                t.grad = None
            y = traced(*given)
            y.sum().backward()
            return y

    else:

        def step() -> Any:
            return traced(*given)

    def fresh() -> None:
        for t, a in zip(given, p.inputs(), strict=True):
            t.data.copy_(tracer.tensor(a))

    firsts = {}
    for k in ("recorded", "compiled"):
        fresh()
        start = time.perf_counter()
        result = step()
        firsts[k] = time.perf_counter() - start
    expected = p.function(np.zeros, *p.inputs())
    np.testing.assert_allclose(result.detach().numpy(), expected, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(p.loops(*p.inputs()), expected, rtol=1e-8, atol=1e-10)
    for_numpy, for_numba = p.inputs(), p.inputs()
    return {
        "traced": step,
        "NumPy": lambda: p.function(np.zeros, *for_numpy),
        "Numba": lambda: p.loops(*for_numba),
    }, firsts


def _seconds(step: Callable[[], Any]) -> float:
    """Seconds per call in a round of some milliseconds."""
    start = time.perf_counter()
    step()
    calls = min(200, max(1, int(0.01 / (time.perf_counter() - start))))
    start = time.perf_counter()
    for _ in range(calls):
        step()
    return (time.perf_counter() - start) / calls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="*", help="a pattern for names of programs")
    parser.add_argument("--rounds", type=int, default=12)
    options = parser.parse_args()
    columns = ("traced, us", "NumPy, us", "Numba, us", "NumPy/traced", "Numba/traced", "recorded, s", "compiled, s")
    table = Table("program", *columns)
    tracer.set_num_threads(1)
    with np.errstate(all="ignore"):
        for name, p in PROGRAMS.items():
            if not fnmatch.fnmatch(name, f"*{options.only}*"):
                continue
            steps, firsts = _steps(p)
            times: dict[str, list[float]] = {k: [] for k in steps}
            for _ in range(options.rounds):
                for k, step in steps.items():
                    times[k].append(_seconds(step))
            best = {k: min(v) for k, v in times.items()}
            ratios = (
                statistics.median(b / a for a, b in zip(times["traced"], times[k], strict=True)) for k in ("NumPy", "Numba")
            )
            row = [f"{best[k] * 1e6:.0f}" for k in steps] + [f"{r:.2f}" for r in ratios]
            table.add_row(name, *row, *(f"{firsts[k]:.2f}" for k in firsts))
            print(name, *row, *(f"{firsts[k]:.2f}" for k in firsts), flush=True)
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
