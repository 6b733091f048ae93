"""Modules: parameters, buffers and submodules by name."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from ..autograd.modes import no_grad
from ..context import structure_changed
from ..ir.types import DType
from ..tensor import Tensor
from ..tracing.announce import Announcing, AnnouncingDict
from .parameter import Parameter

M = TypeVar("M", bound="Module")


class IncompatibleKeys(NamedTuple):
    """What ``load_state_dict`` found on one side only."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module(Announcing):
    """Base of all layers and models. Subclasses assign parameters and submodules in ``__init__`` and define ``forward``."""

    training: bool

    def __init__(self) -> None:
        self.__dict__.update(training=True, **{table: AnnouncingDict() for table in ("_parameters", "_buffers", "_modules")})

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function')

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    def __setattr__(self, name: str, value: Any) -> None:
        parts = self.__dict__
        if "_parameters" not in parts:
            if isinstance(value, (Parameter, Module)):
                what = "parameters" if isinstance(value, Parameter) else "module"
                raise AttributeError(f"cannot assign {what} before Module.__init__() call")
            object.__setattr__(self, name, value)
            return
        structure_changed()
        for kind, table in ((Parameter, "_parameters"), (Module, "_modules")):
            if isinstance(value, kind):
                self._forget(name)
                parts[table][name] = value
                return
        for table in ("_parameters", "_modules", "_buffers"):
            if name in parts[table]:
                if value is not None and not (table == "_buffers" and isinstance(value, Tensor)):
                    expected = {"_parameters": "torch.nn.Parameter", "_modules": "torch.nn.Module", "_buffers": "torch.Tensor"}
                    raise TypeError(
                        f"cannot assign '{type(value).__name__}' as {table[1:-1].replace('module', 'child module')} '{name}' "
                        f"({expected[table]} or None expected)"
                    )
                parts[table][name] = value
                return
        object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        for table in ("_parameters", "_modules", "_buffers"):
            found = self.__dict__.get(table, {})
            if name in found:
                return found[name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __delattr__(self, name: str) -> None:
        structure_changed()
        if not self._forget(name):
            object.__delattr__(self, name)

    def _forget(self, name: str) -> bool:
        tables = (self.__dict__, self._parameters, self._buffers, self._modules)
        return sum(t.pop(name, self) is not self for t in tables) > 0

    def register_buffer(self, name: str, tensor: Tensor | None) -> None:
        """A tensor that belongs to the state but is not learned."""
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"cannot assign '{type(tensor).__name__}' object to buffer '{name}' (torch Tensor or None required)"
            )
        self._enter("_buffers", "buffer", name, tensor)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """A parameter under the given name."""
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(
                f"cannot assign '{type(param).__name__}' object to parameter '{name}' (torch.nn.Parameter or None required)"
            )
        self._enter("_parameters", "parameter", name, param)

    def add_module(self, name: str, module: Module | None) -> None:
        """A submodule under the given name."""
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{type(module).__name__} is not a Module subclass")
        self._enter("_modules", "module", name, module)

    def _enter(self, table: str, kind: str, name: str, value: Any) -> None:
        """Puts a value into one of the tables. Raises KeyError for a name that cannot be, or is something else's."""
        if "." in name:
            raise KeyError(f'{kind} name can\'t contain "."')
        if not name:
            raise KeyError(f'{kind} name can\'t be empty string ""')
        if hasattr(self, name) and name not in self.__dict__[table]:
            raise KeyError(f"attribute '{name}' already exists")
        self.__dict__[table][name] = value

    # Walking.

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module and all below it, each once, with their dotted names."""
        seen: set[int] = set()
        work: list[tuple[str, Module]] = [(prefix, self)]
        while work:
            name, module = work.pop()
            if id(module) in seen:
                continue
            seen.add(id(module))
            yield name, module
            children = [(f"{name}.{k}" if name else k, m) for k, m in module._modules.items() if m is not None]
            work += reversed(children)

    def modules(self) -> Iterator[Module]:
        return (m for _, m in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        return ((k, m) for k, m in self._modules.items() if m is not None)

    def children(self) -> Iterator[Module]:
        return (m for _, m in self.named_children())

    def _named(self, table: str) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        for prefix, module in self.named_modules():
            for name, value in module.__dict__[table].items():
                if value is not None and id(value) not in seen:
                    seen.add(id(value))
                    yield f"{prefix}.{name}" if prefix else name, value

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        return self._named("_parameters")

    def parameters(self) -> Iterator[Parameter]:
        return (p for _, p in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        return self._named("_buffers")

    def buffers(self) -> Iterator[Tensor]:
        return (b for _, b in self.named_buffers())

    # State.

    def state_dict(self) -> OrderedDict[str, Tensor]:
        """Parameters and buffers by dotted name, sharing memory with the module."""
        state: OrderedDict[str, Tensor] = OrderedDict()
        self._save("", state)
        return state

    def _save(self, prefix: str, state: OrderedDict[str, Tensor]) -> None:
        """A module that is reached by two names is saved under both."""
        for table in (self._parameters, self._buffers):
            for name, value in table.items():
                if value is not None:
                    state[prefix + name] = value.detach()
        for name, module in self.named_children():
            module._save(f"{prefix}{name}.", state)

    def load_state_dict(self, state_dict: Mapping[str, Tensor], strict: bool = True) -> IncompatibleKeys:
        """Copies values into this module's tensors of the same names.

        Raises RuntimeError when shapes differ, or, if ``strict``, when names are missing or unexpected.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
        own = self.state_dict()
        missing = [k for k in own if k not in state_dict]
        unexpected = [k for k in state_dict if k not in own]
        problems = []
        if strict and missing:
            problems.append(f"Missing key(s) in state_dict: {', '.join(map(repr, missing))}. ".replace("'", '"'))
        if strict and unexpected:
            problems.append(f"Unexpected key(s) in state_dict: {', '.join(map(repr, unexpected))}. ".replace("'", '"'))
        for name, value in state_dict.items():
            if name in own and not isinstance(value, Tensor):
                problems.append(
                    f'While copying the parameter named "{name}", expected torch.Tensor or Tensor-like object from '
                    f"checkpoint but received {type(value)}"
                )
            elif name in own and own[name].shape != value.shape:
                problems.append(
                    f"size mismatch for {name}: copying a param with shape {value.shape} from checkpoint, "
                    f"the shape in current model is {own[name].shape}."
                )
        if problems:
            joined = "\n\t".join(problems)
            raise RuntimeError(f"Error(s) in loading state_dict for {type(self).__name__}:\n\t{joined}")
        with no_grad():
            for name, value in state_dict.items():
                if name in own:
                    own[name].copy_(value)
        return IncompatibleKeys(missing, unexpected)

    def train(self: M, mode: bool = True) -> M:
        """Training mode, or evaluation mode, for this module and all below it."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        for m in self.modules():
            if m.training != mode:
                m.training = mode
        return self

    def eval(self: M) -> M:
        """Evaluation mode."""
        return self.train(False)

    def apply(self: M, fn: Callable[[Module], Any]) -> M:
        """Calls ``fn`` on every module, children first."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def requires_grad_(self: M, requires_grad: bool = True) -> M:
        for p in self.parameters():
            p.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets the parameters' gradients, or sets them to zero."""
        zero_grads(self.parameters(), set_to_none)

    def to(self: M, dtype: DType) -> M:
        """Casts floating parameters and buffers, in place."""
        for t in (*self.parameters(), *self.buffers()):
            if t.is_floating_point():
                t.data = t.detach().to(dtype)
        structure_changed()
        return self

    def extra_repr(self) -> str:
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr().split("\n") if self.extra_repr() else []
        children = []
        for name, module in self._modules.items():
            first, *rest = repr(module).split("\n")
            children.append("\n".join([f"({name}): {first}", *(f"  {line}" for line in rest)]))
        lines = extra + children
        head = f"{type(self).__name__}("
        if len(extra) == 1 and not children:
            return f"{head}{extra[0]})"
        return head + ("\n  " + "\n  ".join(lines) + "\n" if lines else "") + ")"


def zero_grads(tensors: Any, set_to_none: bool) -> None:
    """Forgets gradients, or sets them to zero in place."""
    for t in tensors:
        if set_to_none:
            t.grad = None
        elif t.grad is not None:
            with no_grad():
                t.grad.zero_()
