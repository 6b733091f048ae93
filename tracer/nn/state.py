"""The state of modules by dotted names: saving, loading, and hooks on both."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from ..autograd.hooks import RemovableHandle
from ..autograd.modes import no_grad
from ..core.tensor import Tensor
from ..tracing.announce import AnnouncingDict
from .parameter import Parameter, is_lazy

EXTRA = "_extra_state"  # the last part of the name of what ``get_extra_state`` returns


class IncompatibleKeys(NamedTuple):
    """The names that ``load_state_dict`` found on one side only."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


class Stateful:
    """The methods of a module that concern its state."""

    _parameters: AnnouncingDict
    _buffers: AnnouncingDict
    _modules: AnnouncingDict
    _tracer_transient: AnnouncingDict  # the names of buffers that are not part of the state
    _version = 1  # of the state's names, which ``_load_from_state_dict`` gets in its metadata

    @property
    def _non_persistent_buffers_set(self) -> set[str]:
        return set(self._tracer_transient)

    def __own_state(self) -> Iterator[tuple[str, Tensor]]:
        """The tensors of this module without its children's."""
        for table in (self._parameters, self._buffers):
            for name, value in table.items():
                if value is not None and not (table is self._buffers and name in self._tracer_transient):
                    yield name, value

    def state_dict(
        self, *args: Any, destination: dict[str, Any] | None = None, prefix: str = "", keep_vars: bool = False
    ) -> dict[str, Any]:
        """Parameters and buffers by dotted name, sharing memory with the module; the tensors themselves if ``keep_vars``.

        The arguments may also be given by position.
        """
        given: Any = (*args, *(destination, prefix, keep_vars)[len(args) :])
        state: Any = OrderedDict() if given[0] is None else given[0]
        prefix, keep_vars = given[1:]
        if given[0] is None:
            state._metadata = OrderedDict()
        metadata = {"version": self._version}
        if hasattr(state, "_metadata"):
            state._metadata[prefix[:-1]] = metadata
        for hook in _hooks_on(self, "saving"):
            hook(self, prefix, keep_vars)
        self._save_to_state_dict(state, prefix, keep_vars)
        for name, module in self._modules.items():  # a module that is reached by two names is saved under both
            if module is not None:
                module.state_dict(destination=state, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        for hook in _hooks_on(self, "saved"):
            replaced = hook(self, state, prefix, metadata)
            state = state if replaced is None else replaced
        return state

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        """Adds this module's own tensors. Subclasses may override it."""
        for name, value in self.__own_state():
            destination[prefix + name] = value if keep_vars or is_lazy(value) else value.detach()
        if type(self).get_extra_state is not Stateful.get_extra_state:
            destination[prefix + EXTRA] = self.get_extra_state()

    def get_extra_state(self) -> Any:
        """Subclasses return what their state holds beside tensors, and define ``set_extra_state``."""
        raise RuntimeError(f"{type(self).__name__} has no extra state")

    def set_extra_state(self, state: Any) -> None:
        """Subclasses restore the result of their ``get_extra_state``."""
        raise RuntimeError(f"{type(self).__name__} has no extra state")

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> IncompatibleKeys:
        """Copies values to this module's tensors of the same names; if ``assign``, replaces the tensors. Parameters without a
        shape take those of the values.

        Raises RuntimeError if shapes differ, or, if ``strict``, if names are missing or unexpected.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
        state: Any = OrderedDict(state_dict)  # hooks may change it
        metadata = getattr(state_dict, "_metadata", None)
        if metadata is not None:
            state._metadata = metadata
        keys = IncompatibleKeys([], [])
        problems: list[str] = []
        _load(self, state, "", metadata or {}, assign, keys, problems)
        if strict:
            for what, names in (("Unexpected", keys.unexpected_keys), ("Missing", keys.missing_keys)):
                if names:
                    problems.insert(0, f"{what} key(s) in state_dict: {', '.join(map(repr, names))}. ".replace("'", '"'))
        if problems:
            joined = "\n\t".join(problems)
            raise RuntimeError(f"Error(s) in loading state_dict for {type(self).__name__}:\n\t{joined}")
        return keys

    def _load_from_state_dict(
        self,
        state_dict: Any,
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Copies this module's own tensors, and appends to the lists. Subclasses may override it."""
        for hook in _hooks_on(self, "loading"):
            hook(state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)
        own = dict(self.__own_state())
        for name, held in own.items():
            if prefix + name in state_dict:
                assign = local_metadata.get("assign_to_params_buffers", False)
                problem = self.__load_tensor(name, held, prefix + name, state_dict[prefix + name], assign)
                error_msgs += [problem] if problem else []
            elif strict:
                missing_keys.append(prefix + name)
        extra = prefix + EXTRA
        has_extra = type(self).set_extra_state is not Stateful.set_extra_state
        if has_extra and extra in state_dict:
            self.set_extra_state(state_dict[extra])
        elif has_extra and strict:
            missing_keys.append(extra)
        if not strict:
            return
        for key in state_dict:
            if key.startswith(prefix) and not (has_extra and key == extra):
                first, dot, _ = key[len(prefix) :].partition(".")
                if first not in (self._modules if dot else own):
                    unexpected_keys.append(key)

    def __load_tensor(self, name: str, held: Any, key: str, value: Any, assign: bool) -> str:
        """Copies one value, or sets it. Returns what is wrong with it, if anything."""
        if not isinstance(value, Tensor):
            return (
                f'While copying the parameter named "{key}", expected tracer.Tensor or Tensor-like object from '
                f"checkpoint but received {type(value)}"
            )
        if is_lazy(held) and is_lazy(value) and not assign:
            return ""
        if not is_lazy(held) and held.ndim == 0 and tuple(value.shape) == (1,):
            value = value[0]
        if not is_lazy(held) and held.shape != value.shape:
            return (
                f"size mismatch for {key}: copying a param with shape {value.shape} from checkpoint, "
                f"the shape in current model is {held.shape}."
            )
        if assign:
            if isinstance(held, Parameter):
                value = value if isinstance(value, Parameter) else Parameter(value, held.requires_grad)
                value.requires_grad_(held.requires_grad)
            setattr(self, name, value)
            return ""
        if is_lazy(held):
            held.materialize(value.shape)
        try:
            with no_grad():
                held.copy_(value)
        except RuntimeError as e:
            return (
                f'While copying the parameter named "{key}", whose dimensions in the model are {held.shape} and whose '
                f"dimensions in the checkpoint are {value.shape}, an exception occurred: {e}"
            )
        return ""

    # Hooks.

    def __add_state_hook(self, event: str, hook: Callable[..., Any]) -> RemovableHandle:
        table: Any = self.__dict__.setdefault("_tracer_state_hooks", {}).setdefault(event, OrderedDict())
        handle = RemovableHandle(table)
        table[handle._number] = hook
        return handle

    def register_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Calls ``hook(module, prefix, keep_vars)`` before the module's state is saved."""
        return self.__add_state_hook("saving", hook)

    def register_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Calls ``hook(module, state_dict, prefix, metadata)`` after the module's state was saved; it may change the dict."""
        return self.__add_state_hook("saved", hook)

    _register_state_dict_hook = register_state_dict_post_hook

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Calls ``hook(module, state_dict, prefix, metadata, strict, missing, unexpected, errors)`` before loading; it may
        change the dict and the lists.
        """
        return self._register_load_state_dict_pre_hook(hook, with_module=True)

    def _register_load_state_dict_pre_hook(self, hook: Callable[..., Any], with_module: bool = False) -> RemovableHandle:
        return self.__add_state_hook("loading", (lambda *args: hook(self, *args)) if with_module else hook)

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Calls ``hook(module, incompatible_keys)`` after loading; it may change the lists of names."""
        return self.__add_state_hook("loaded", hook)


def _hooks_on(module: Stateful, event: str) -> list[Callable[..., Any]]:
    return list(module.__dict__.get("_tracer_state_hooks", {}).get(event, {}).values())


def _load(
    module: Stateful,
    state: Any,
    prefix: str,
    metadata: Mapping[str, Any],
    assign: bool,
    keys: IncompatibleKeys,
    problems: list[str],
) -> None:
    """Loads a module and its children. ``state`` holds the names that start with ``prefix``."""
    local = dict(metadata.get(prefix[:-1], {}))
    if assign:
        local["assign_to_params_buffers"] = True
    module._load_from_state_dict(state, prefix, local, True, keys.missing_keys, keys.unexpected_keys, problems)
    for name, child in module._modules.items():
        if child is not None:
            below = f"{prefix}{name}."
            part = OrderedDict((key, value) for key, value in state.items() if key.startswith(below))
            _load(child, part, below, metadata, assign, keys, problems)
    for hook in _hooks_on(module, "loaded"):
        hook(module, keys)
