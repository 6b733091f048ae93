"""Counts the floating-point operations of products, with which those of convolutions and attention are computed."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Self

from ..ir.interp import current, selection
from ..ir.primitive import Primitive
from ..nn.hooks import register_module_forward_hook, register_module_forward_pre_hook
from ..nn.module import Module

__all__ = ["FlopCounterMode"]

_GLOBAL = "Global"


class _Counting:
    """Applies primitives as another interpreter does, and counts."""

    def __init__(self, inner: Any, counter: FlopCounterMode):
        self._inner, self._counter = inner, counter

    def bind(self, primitive: Primitive, args: Sequence[Any], attrs: Mapping[str, Any]) -> Any:
        result = self._inner.bind(primitive, args, attrs)
        if primitive.name in ("matmul", "addmm"):
            a = args[-2] if primitive.name == "addmm" else args[0]
            inner = a.shape[-2 if attrs.get("ta") else -1]
            self._counter._add(primitive.name, 2 * math.prod(result.shape) * inner)
        return result


class FlopCounterMode:
    """In this block, counts the operations of matrix products, two for each multiplication and addition, by the name of the
    module that computes them, but for those of backward passes. Traced functions run eagerly.

    ``depth``: how deep in the hierarchy of modules the table goes. ``display``: whether it is printed at the end. ``mods`` and
    ``custom_mapping`` have no effect.
    """

    def __init__(
        self,
        mods: Any = None,
        depth: int = 2,
        display: bool = True,
        custom_mapping: Mapping[Any, Any] | None = None,
    ):
        self.depth, self.display = depth, display
        self.flop_counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        self._names: list[str] = []  # of the modules that are being called
        self._modules: list[Module] = []

    def _add(self, name: str, count: int) -> None:
        for where in {_GLOBAL, *self._names}:
            self.flop_counts[where][name] += count

    def _entered(self, module: Module, args: Any) -> None:
        outer, path = (self._modules[-1], self._names[-1]) if self._modules else (None, type(module).__name__)
        if outer is not None:
            below = next((name for name, m in outer.named_modules() if m is module), type(module).__name__)
            path = f"{path}.{below}"
        self._modules.append(module)
        self._names.append(path)

    def _left(self, module: Module, args: Any, result: Any) -> None:
        while self._modules and self._modules.pop() is not module:  # one that raised an error
            self._names.pop()
        self._names.pop()

    def __enter__(self) -> Self:
        self.flop_counts.clear()
        self._names.clear()
        self._modules.clear()
        self._before = selection.interpreter
        self._handles = register_module_forward_pre_hook(self._entered), register_module_forward_hook(self._left)
        selection.interpreter = _Counting(current(), self)
        return self

    def __exit__(self, *exception: object) -> None:
        selection.interpreter = self._before
        for handle in self._handles:
            handle.remove()
        if self.display:
            print(self.get_table(self.depth))

    def get_total_flops(self) -> int:
        """The number of all operations."""
        return sum(self.flop_counts[_GLOBAL].values()) if _GLOBAL in self.flop_counts else 0

    def get_flop_counts(self) -> dict[str, dict[str, int]]:
        """The numbers by the name of a module, ``Global`` for all, and by the name of an operation."""
        return {where: dict(counts) for where, counts in self.flop_counts.items()}

    def get_table(self, depth: int | None = None) -> str:
        """The numbers as a table."""
        depth = self.depth if depth is None else depth
        total = max(self.get_total_flops(), 1)
        rows = [(n, sum(c.values())) for n, c in self.flop_counts.items() if n == _GLOBAL or n.count(".") <= depth]
        rows.sort(key=lambda row: (row[0] != _GLOBAL, row[0]))
        width = max([len("Module"), *(len(n) for n, _ in rows)])
        lines = [f"{'Module':<{width}}  {'FLOP':>12}  % Total", "-" * (width + 23)]
        lines += [f"{n:<{width}}  {count:>12}  {100 * count / total:6.2f}%" for n, count in rows]
        return "\n".join(lines)
