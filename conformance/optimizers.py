"""PyTorch's samples of optimizers (``optim_db``), and schedulers: the same trajectories, states, errors and ``repr``."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import tracer

from .check import Wrong
from .convert import Unsupported, array, ours
from .run import Job, empty_result, spread

STEPS = 100
TOLERANCE = {"float32": 2e-4, "float64": 1e-9}


def _problem(
    lib: Any, dtype: str, linear: bool = False, matrices: bool = False, seed: int = 0
) -> tuple[list[Any], Callable[[], Any]]:
    """Parameters of a small network and its loss, which is bounded, so that maximizing it is meaningful; or of a linear
    regression.

    ``matrices``: only those parameters that are matrices.
    """
    rng = np.random.default_rng(0)

    def make(*shape: int) -> Any:
        data = rng.standard_normal(shape).astype(dtype)
        return torch.from_numpy(data) if lib is torch else tracer.from_numpy(data)

    p1, p2, p3 = (lib.nn.Parameter(t) for t in (make(4, 6), make(6), make(6, 2)))
    x, y, z = make(64, 4), make(64, 2), make(6, 2)  # more than the network can fit, so that gradients are not near zero

    def loss() -> Any:
        if linear:
            return ((x @ p1 @ z + (p2 * 0.1).sum() - y) ** 2).mean() + (p3**2).mean()
        return ((lib.tanh(lib.tanh(x @ p1 + p2) @ p3) - y) ** 2).mean()

    return [p1, p3] if matrices else [p1, p2, p3], loss


def _advance(optimizer: Any, loss: Callable[[], Any], traced: bool, closure: bool) -> Callable[[], Any]:
    def compute() -> Any:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    def step() -> Any:
        if closure:
            return optimizer.step(compute)
        value = compute()
        optimizer.step()
        return value

    return tracer.trace(step) if traced else step


def _same(theirs: list[Any], mine: list[Any], tolerance: float, what: str) -> None:
    for k, (a, b) in enumerate(zip(theirs, mine, strict=True)):
        x, y = array(a).astype(np.float64), b.detach().numpy().astype(np.float64)
        if not np.allclose(y, x, rtol=tolerance, atol=tolerance * max(1.0, float(np.abs(x).max(initial=0)))):
            raise Wrong(f"{what}: parameter {k} is off by {np.abs(x - y).max():.2e}")


def _state(optimizer: Any) -> dict[str, Any]:
    """A torch optimizer's state, with tracer's tensors."""

    def convert(x: Any) -> Any:
        if isinstance(x, torch.Tensor):
            return tracer.tensor(array(x))
        if isinstance(x, dict):
            return {k: convert(v) for k, v in x.items()}
        return [convert(v) for v in x] if isinstance(x, list) else x

    return convert(copy.deepcopy(optimizer.state_dict()))


def _state_back(optimizer: Any) -> dict[str, Any]:
    def convert(x: Any) -> Any:
        if isinstance(x, tracer.Tensor):
            return torch.from_numpy(x.detach().numpy().copy())
        if isinstance(x, dict):
            return {k: convert(v) for k, v in x.items()}
        return [convert(v) for v in x] if isinstance(x, list) else x

    return convert(optimizer.state_dict())


def _check(name: str, kwargs: dict[str, Any], dtype: str, traced: bool) -> None:
    closure = name == "LBFGS"
    tolerance = TOLERANCE[dtype] * (100 if closure else 1)
    muon = name == "Muon"
    if muon:
        tolerance = 1e-2  # its steps are computed in bfloat16, with rounding errors of 4e-3
    params_a, loss_a = _problem(torch, dtype, closure, muon)
    params_b, loss_b = _problem(tracer, dtype, closure, muon)
    mine_kwargs = {k: ours(v, []) for k, v in kwargs.items()}
    a = getattr(torch.optim, name)(params_a, **kwargs)
    b = getattr(tracer.optim, name)(params_b, **mine_kwargs)
    if not any(isinstance(v, torch.Tensor) for v in kwargs.values()) and repr(a) != repr(b):
        raise Wrong(f"repr is {repr(b)!r} instead of {repr(a)!r}")
    step_a, step_b = _advance(a, loss_a, False, closure), _advance(b, loss_b, traced, closure)
    # Near zero, rounding determines the sign of a gradient, and Rprop uses only signs.
    steps = 10 if name == "Rprop" and dtype == "float32" else STEPS
    for k in range(steps):
        step_a(), step_b()
        if k in (0, 9, steps - 1):
            _same(params_a, params_b, tolerance, f"step {k + 1}")
    if set(a.state_dict()["param_groups"][0]) != set(b.state_dict()["param_groups"][0]):
        difference = set(a.state_dict()["param_groups"][0]) ^ set(b.state_dict()["param_groups"][0])
        raise Wrong(f"the groups' settings differ by {difference}")
    for s, t in zip(a.state_dict()["state"].values(), b.state_dict()["state"].values(), strict=True):
        if set(s) != set(t):
            raise Wrong(f"state has {sorted(t)} instead of {sorted(s)}")
    # Each continues from the other's state.
    params_c, loss_c = _problem(tracer, dtype, closure, muon)
    c = getattr(tracer.optim, name)(params_c, **mine_kwargs)
    params_d, loss_d = _problem(torch, dtype, closure, muon)
    d = getattr(torch.optim, name)(params_d, **kwargs)
    for p, q, r in zip(params_a, params_c, params_d, strict=True):
        q.data = tracer.tensor(array(p))
        r.data = p.detach().clone()
    c.load_state_dict(_state(a))
    d.load_state_dict(_state_back(b))
    step_c, step_d = _advance(c, loss_c, False, closure), _advance(d, loss_d, False, closure)
    for _ in range(10):
        step_a(), step_c(), step_d()
    _same(params_a, params_c, tolerance, "from PyTorch's state")
    for p, q in zip(params_a, params_d, strict=True):
        if not np.allclose(array(p), array(q), rtol=tolerance * 10, atol=tolerance * 10):
            raise Wrong(f"PyTorch from our state is off by {np.abs(array(p) - array(q)).max():.2e}")


def _errors(info: Any, result: dict[str, Any]) -> None:
    from torch.testing._internal.common_optimizers import OptimizerErrorEnum

    name = info.optim_cls.__name__
    for sample in info.optim_error_inputs_func(device="cpu", dtype=torch.float32):
        given = sample.optimizer_error_input
        if any(word in given.kwargs for word in ("fused", "capturable", "foreach")) or sample.error_type is NotImplementedError:
            continue
        known: dict[int, Any] = {}  # identical tensors stay identical

        def convert(x: Any, known: dict[int, Any] = known) -> Any:
            if isinstance(x, torch.Tensor):
                one = known.setdefault(id(x), ours(x, []))
                if x.is_leaf and x.grad is not None:
                    one.grad = ours(x.grad, [])
                return one
            if isinstance(x, dict):
                return {k: convert(v) for k, v in x.items()}
            return type(x)(convert(v) for v in x) if isinstance(x, (list, tuple)) else x

        refused = f"{given.desc} {given.kwargs}"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                made = getattr(tracer.optim, name)(convert(given.params), **{k: ours(v, []) for k, v in given.kwargs.items()})
                if sample.error_on is OptimizerErrorEnum.STEP_ERROR:
                    made.step()
        except Unsupported:
            result["counts"]["errors not comparable"] += 1
        except sample.error_type:
            result["counts"]["ok"] += 1
        except Exception as e:
            result["counts"]["wrong"] += 1
            result["reasons"].append(
                f"wrong: raises {type(e).__name__} ({e}) instead of {sample.error_type.__name__} for {refused}"
            )
        else:
            result["counts"]["wrong"] += 1
            result["reasons"].append(f"wrong: takes what PyTorch refuses with {sample.error_type.__name__}: {refused}")


def run_optimizer(job: Job) -> dict[str, Any]:
    """All samples of one optimizer or scheduler, in one mode and dtype."""
    from torch.testing._internal.common_optimizers import optim_db

    name = job.name
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    result = empty_result(job)
    if name in SCHEDULES:
        samples: list[Any] = SCHEDULES[name]
        check: Any = _check_schedule
    else:
        info = next(o for o in optim_db if o.optim_cls.__name__ == name)
        if not hasattr(tracer.optim, name):
            result["counts"]["absent"] = 1
            return result
        dense = name != "SparseAdam"  # gradients are dense here; PyTorch's refuses them too
        samples = [s.kwargs for s in info.optim_inputs_func(device="cpu")] if dense else []
        check = _check
        if job.mode == "eager" and job.dtype == "float32":
            _errors(info, result)
    for k, kwargs in spread(samples, job.limit):
        try:
            check(name, kwargs, job.dtype, job.mode == "traced")
            result["counts"]["ok"] += 1
        except Wrong as e:
            result["counts"]["wrong"] += 1
            result["reasons"].append(f"wrong: sample {k} {kwargs}: {e}")
        except Exception as e:
            result["counts"]["missing"] += 1
            result["reasons"].append(f"missing: sample {k} {kwargs}: {type(e).__name__}: {str(e)[:140]}")
    return result


# Arguments of schedulers; functions create those that need the library.
SCHEDULES: dict[str, list[Any]] = {
    "LambdaLR": [{"lr_lambda": lambda e: 0.95**e}],
    "MultiplicativeLR": [{"lr_lambda": lambda e: 0.95}],
    "StepLR": [{"step_size": 7}, {"step_size": 3, "gamma": 0.9}],
    "MultiStepLR": [{"milestones": [3, 20, 20, 50], "gamma": 0.5}],
    "ConstantLR": [{}, {"factor": 0.5, "total_iters": 10}],
    "LinearLR": [{}, {"start_factor": 0.1, "end_factor": 0.8, "total_iters": 30}],
    "ExponentialLR": [{"gamma": 0.97}],
    "PolynomialLR": [{}, {"total_iters": 40, "power": 2.0}],
    "CosineAnnealingLR": [{"T_max": 10}, {"T_max": 30, "eta_min": 0.01}],
    "CosineAnnealingWarmRestarts": [{"T_0": 7}, {"T_0": 5, "T_mult": 2, "eta_min": 0.001}],
    "CyclicLR": [
        {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 9},
        {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 5, "step_size_down": 11, "mode": "triangular2"},
        {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 5, "mode": "exp_range", "gamma": 0.99, "cycle_momentum": False},
    ],
    "OneCycleLR": [
        {"max_lr": 0.5, "total_steps": 101},
        {"max_lr": 0.5, "epochs": 11, "steps_per_epoch": 10, "anneal_strategy": "linear", "three_phase": True},
    ],
    "ReduceLROnPlateau": [{}, {"mode": "max", "patience": 3, "cooldown": 2, "factor": 0.5, "threshold_mode": "abs"}],
    "SequentialLR": [{}],
    "ChainedScheduler": [{}],
}


def _schedule(lib: Any, name: str, optimizer: Any, kwargs: dict[str, Any]) -> Any:
    s = lib.optim.lr_scheduler
    if name == "SequentialLR":
        parts = [s.LinearLR(optimizer, total_iters=6), s.CosineAnnealingLR(optimizer, 20), s.ExponentialLR(optimizer, 0.9)]
        return s.SequentialLR(optimizer, parts, milestones=[10, 50])
    if name == "ChainedScheduler":
        return s.ChainedScheduler([s.ConstantLR(optimizer, 0.5, 8), s.ExponentialLR(optimizer, 0.95)])
    return getattr(s, name)(optimizer, **kwargs)


def _check_schedule(name: str, kwargs: dict[str, Any], dtype: str, traced: bool) -> None:
    rates: list[list[float]] = []
    for lib in (torch, tracer):
        params, loss = _problem(lib, dtype)
        optimizer = lib.optim.SGD([{"params": params[:1]}, {"params": params[1:], "lr": 0.02}], lr=0.1, momentum=0.9)
        schedule = _schedule(lib, name, optimizer, kwargs)
        step = _advance(optimizer, loss, traced and lib is tracer, False)
        seen: list[float] = []
        for k in range(STEPS):
            step()
            seen += [float(dict.__getitem__(g, "lr")) for g in optimizer.param_groups]
            seen += [float(g["momentum"]) for g in optimizer.param_groups]
            if k == 40 and name != "ReduceLROnPlateau":  # continue from a saved state
                state = copy.deepcopy(schedule.state_dict())
                schedule.load_state_dict(state)
            if name == "ReduceLROnPlateau":
                schedule.step(abs(((k * 7) % 30) - 15) / 10)
            else:
                schedule.step()
        rates.append(seen)
    if not np.allclose(rates[1], rates[0], rtol=1e-10, atol=1e-14):
        k = int(np.flatnonzero(~np.isclose(rates[1], rates[0], rtol=1e-10, atol=1e-14))[0])
        raise Wrong(f"rate {rates[1][k]} instead of {rates[0][k]} at step {k // 4}")


def names() -> list[str]:
    from torch.testing._internal.common_optimizers import optim_db

    return [*(o.optim_cls.__name__ for o in optim_db), *SCHEDULES]
