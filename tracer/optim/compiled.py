"""Optimizers in eager mode: the update of a parameter as one function, of a large one as one compiled kernel.

Adam's update is twenty primitives. The optimizer's code is recorded once for a parameter's type and the group's settings,
with the learning rate as an operand, and the function changes parameter and state in place. A step that creates state runs the
code itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.context import context
from ..core.fused import CALLS, Compiled, Recorded, is_observed, plain, recorded
from ..core.tensor import Tensor, wrap
from ..core.waiting import WAITING, will_change
from ..runtime.devices import device_of
from ..runtime.support.objects import address

if TYPE_CHECKING:
    from .optimizer import Optimizer, ParamGroup

_LARGE = 64  # elements: for a parameter with fewer, NumPy does what the code does, with the same rounding, after some steps
_MOST = 1024  # signatures of a class of optimizers: large networks have hundreds of shapes
_PLAIN = (int, float, bool, str, type(None))
_UNUSED = ("params", "param_names", "lr")
_PACKAGE = __name__.rpartition(".")[0]
_MODULES = {f"{_PACKAGE}.{name}" for name in ("adafactor", "adam", "adaptive", "sgd")}  # whose code is known to be pure

_known: dict[type, Compiled] = {}  # the updates of each class of optimizers


def update(optimizer: Optimizer, group: ParamGroup, params: Sequence[Tensor]) -> None:
    """``optimizer._tracer_update_group(group, params)``."""
    rate: Any = dict.get(group, "lr")
    code = getattr(optimizer._tracer_update_group, "__func__", None)
    is_ours = _MODULES.issuperset([type(optimizer).__module__, getattr(code, "__module__", "")])
    settings = _settings(group, code) if is_ours and rate.__class__ is float and not is_observed() else None
    if settings is None or any(device_of(p._data) is not None for p in params):
        optimizer._tracer_update_group(group, list(params))
        return
    compiled, lr = _known.setdefault(type(optimizer), Compiled(_MOST)), wrap(np.array(rate, np.float64))
    for p in params:
        if not _updated(compiled, optimizer, group, settings, p, lr):
            optimizer._tracer_update_group(group, [p])


def _settings(group: ParamGroup, code: Any) -> tuple[Any, ...] | None:
    """The code and the group's settings besides the learning rate; None unless these are plain values."""
    found: list[Any] = [code]
    for name in group:
        if name not in _UNUSED:
            value = dict.__getitem__(group, name)
            values = value if value.__class__ is tuple else (value,)
            if not all(v.__class__ in _PLAIN for v in values):
                return None
            found += [name, len(values), *map(plain, values)]
    return tuple(found)


def _updated(
    compiled: Compiled, optimizer: Optimizer, group: ParamGroup, settings: tuple[Any, ...], p: Tensor, lr: Tensor
) -> bool:
    """Updates a parameter by its kernel. False, without having changed anything, if there is none."""
    g, state = p._grad, optimizer.state.get(p, {})
    assert g is not None
    signature: list[Any] = [settings, context.default_dtype]
    tensors = [p, g, lr]
    for name, x in state.items():
        if isinstance(x, Tensor):
            tensors.append(x)
            signature.append(name)
        elif x.__class__ in _PLAIN:
            signature.append((name, plain(x)))
        else:
            return False
    owners = set()
    for t in tensors:
        data = t._data
        if t._view is not None or t._requires_grad is not (t is p) or not data.flags.c_contiguous or not data.flags.writeable:
            return False
        signature.append((data.dtype, data.shape))
        owners.add(id(data if data.base is None else data.base))
    if len(owners) < len(tensors):  # they may share memory
        return False
    small = p._data.size < _LARGE
    found = compiled.get(tuple(signature), lambda: _recorded(optimizer, group, state, tensors), CALLS if small else 0)
    if found is None:
        return False
    arrays, function = [t._data for t in tensors], found.function
    results: Any = function.plain(*arrays) if small else ()  # type: ignore[arg-type]
    if WAITING:
        for i in found.changes:
            will_change(tensors[i])
    for i, count in found.changes.items():
        tensors[i]._changes()[0] += count
    if small:
        for k, i in function.recorded.updates.items():  # no optimizer moves the old value of one to another
            arrays[i][...] = results[k]
    else:
        function.plain.program.run([address(a) for a in arrays])
    return True


def _recorded(optimizer: Optimizer, group: ParamGroup, state: Mapping[str, Any], tensors: Sequence[Tensor]) -> Recorded | None:
    """The optimizer's code for such a parameter, gradient, learning rate and state."""

    def run(given: Sequence[Tensor]) -> None:
        p, g, lr, *values = given
        p._grad = g
        left = iter(values)
        mine = {name: next(left) if isinstance(x, Tensor) else x for name, x in state.items()}
        before = dict(mine)
        twin = object.__new__(type(optimizer))
        vars(twin).update(vars(optimizer), state={p: mine})
        twin._tracer_update_group({**group.copy(), "params": [p], "lr": lr}, [p])  # type: ignore[arg-type]
        if vars(twin)["state"][p] != before or any(before[k] is not v for k, v in mine.items()) or p._grad is not g:
            raise NotImplementedError("it replaces state")

    small = tensors[0]._data.size < _LARGE
    found = recorded(type(optimizer).__name__, tensors, run, changes=True, is_small=small)
    if found is None or 1 in found.changes:
        return None
    if small:
        return found
    program = found.function.plain.program
    return None if program.may_fail or program.unsafe else found
