"""Calls of modules with other parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ...core.tensor import Tensor
from ..module import Module


@contextmanager
def _swapped(module: Module, given: Mapping[str, Tensor]) -> Iterator[None]:
    """Replaces tensors in the module's tables, by dotted name, within the context."""
    before: list[tuple[dict[str, Any], str, Any]] = []
    try:
        for path, value in given.items():
            where, _, name = path.rpartition(".")
            owner = module.get_submodule(where)
            table = next((t for t in (owner._parameters, owner._buffers) if name in t), None)
            if table is None:
                raise AttributeError(f"{type(owner).__name__} has no parameter or buffer `{name}`")
            before.append((table, name, table[name]))
            table[name] = value
        yield
    finally:
        for table, name, value in reversed(before):
            table[name] = value


def functional_call(
    module: Module,
    parameters_and_buffers: Mapping[str, Tensor] | Sequence[Mapping[str, Tensor]],
    args: Any = None,
    kwargs: Mapping[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """The result of the module with some of its tensors replaced, by dotted name; any shapes and dtypes.

    ``tie_weights``: tensors with several names are replaced under all of them. ``strict``: raises RuntimeError for missing
    and unexpected names; otherwise unknown names of known modules are ignored. Raises AttributeError for an unknown module.
    """
    if not isinstance(parameters_and_buffers, Mapping):
        parameters_and_buffers = {k: v for part in parameters_and_buffers for k, v in part.items()}
    given = dict(parameters_and_buffers)
    own: dict[str, Any] = {
        **dict(module.named_parameters(remove_duplicate=False)),
        **dict(module.named_buffers(remove_duplicate=False)),
    }
    if strict:
        missing, unexpected = sorted(own.keys() - given.keys()), sorted(given.keys() - own.keys())
        if missing or unexpected:
            raise RuntimeError(f"functional_call: missing keys {missing}, unexpected keys {unexpected}")
    if tie_weights:
        by_tensor = {id(own[name]): value for name, value in given.items() if name in own}
        given.update({name: by_tensor[id(t)] for name, t in own.items() if name not in given and id(t) in by_tensor})
    positional = () if args is None else args if isinstance(args, tuple) else (args,)
    for name in given.keys() - own.keys():
        module.get_submodule(name.rpartition(".")[0])
    with _swapped(module, {name: value for name, value in given.items() if name in own}):
        return module(*positional, **(kwargs or {}))
