"""One program on one engine, in this process; the parent reads what it writes.

    python -m benchmarks.programs.child ENGINE ROW FOLDER RESULT CLONES

Engines: ``eager`` and ``traced`` are this package's, ``again`` is ``traced`` with the kernels of the last process on disk;
``torch`` and ``inductor`` are PyTorch's. ``eager`` runs first and leaves its modules' states in the folder; the others start
from them. ``torch`` leaves its own states at its end, which ``again`` loads.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import statistics
import sys
import time
import warnings
from pathlib import Path
from typing import Any

STEPS = 20
_libraries: list[Any] = []  # of operators, which exist as long as these
_TIMED_SECONDS, _TIMED_STEPS, _LEAST = 1.0, 100, 5


def main() -> None:
    engine, name, folder, out, clones = sys.argv[1:6]
    os.environ["HF_HUB_OFFLINE"] = "1"
    warnings.simplefilter("ignore")
    if engine in ("eager", "traced", "again"):
        import tracer.as_torch  # noqa: F401
    import torch

    if engine in ("torch", "inductor"):
        operators_of_torchvision()
    torch.set_num_threads(1)
    from . import program

    program.clones = Path(clones)
    import_rows()
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        torch.manual_seed(0)
        result = run(engine, program.ROWS[name].make(), Path(folder))
    result["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    result["torch"] = torch.__version__
    Path(out).write_text(json.dumps(result))


def import_rows() -> None:
    from . import examples, gpts, language, science, vision  # noqa: F401


def operators_of_torchvision() -> None:
    """Declares what torchvision's import needs, if its compiled extension does not fit this PyTorch."""
    import torch

    try:
        import torchvision  # noqa: F401
    except ImportError:
        return
    except RuntimeError:
        for loaded in [m for m in sys.modules if m.partition(".")[0] == "torchvision"]:
            del sys.modules[loaded]
        _libraries.append(torch.library.Library("torchvision", "DEF"))
        for name in ("nms", "qnms"):
            _libraries[-1].define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


def run(engine: str, p: Any, folder: Path) -> dict[str, Any]:
    import torch

    from .program import flat

    start, end = folder / "start.pt", folder / "end.pt"
    result: dict[str, Any] = {}
    if engine == "eager":
        torch.save([m.state_dict() for m in p.modules], start)
        result["start"] = state(p)
    elif start.exists():
        load(p, start)
        result["start"] = state(p)
    step, data = p.step, p.data()
    functions: list[Any] = []
    if engine in ("traced", "again"):
        step = p.compile_step(lambda f: functions.append(torch.compile(f)) or functions[-1]) or p.step
    elif engine == "inductor":
        step = (p.compile_loss or p.compile_step)(torch.compile) or p.step
    losses, calls = [], []
    for _ in range(STEPS):
        begin = time.perf_counter()
        found = step(*next(data))
        calls.append(time.perf_counter() - begin)
        losses.append(flat(found))
    result |= {"losses": losses, "calls": calls[:4]}
    if engine in ("traced", "again"):
        result |= compiled(functions, step, data)
    if engine == "again":
        if end.exists():
            load(p, end)
            result["end"] = state(p)
        return result
    if engine == "torch":
        torch.save([m.state_dict() for m in p.modules], end)
        result["end"] = state(p)
    result["time"] = timed(step, data)
    return result


def load(p: Any, path: Path) -> None:
    import torch

    for module, loaded in zip(p.modules, torch.load(path, weights_only=True), strict=True):
        module.load_state_dict(loaded)


def state(p: Any) -> list[Any]:
    """The name, dtype, shape and sum of each tensor in the states of the modules."""
    found = [entry for module in p.modules for entry in module.state_dict().items()]
    return [[name, str(x.dtype).partition(".")[2], list(x.shape), float(x.double().sum())] for name, x in found]


def timed(step: Any, data: Any) -> float:
    """The median time of a step."""
    times: list[float] = []
    while len(times) < _LEAST or (sum(times) < _TIMED_SECONDS and len(times) < _TIMED_STEPS):
        batch = next(data)
        begin = time.perf_counter()
        step(*batch)
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def compiled(functions: list[Any], step: Any, data: Any) -> dict[str, Any]:
    """Which share of the last calls was replayed, and why others were not."""
    before = [f.cache_info() for f in functions]
    for _ in range(4):
        step(*next(data))
    after = [f.cache_info() for f in functions]
    replays = sum(a.replays - b.replays for a, b in zip(after, before, strict=True))
    others = sum(a.recordings + a.eager - b.recordings - b.eager for a, b in zip(after, before, strict=True))
    reasons = [line.strip() for f in functions for line in f.explain().splitlines() if line.lstrip().startswith("eager")]
    return {"replayed": replays / max(1, replays + others), "recordings": sum(a.recordings for a in after), "reasons": reasons}


if __name__ == "__main__":
    main()
