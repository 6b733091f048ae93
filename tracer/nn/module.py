"""Modules: parameters, buffers and submodules by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from ..autograd.hooks import RemovableHandle
from ..autograd.modes import no_grad
from ..core.context import structure_changed
from ..core.device import memory_of, moved
from ..core.tensor import Tensor
from ..ir.types import DType, as_dtype, bfloat16, float16, float32, float64
from ..tracing.announce import Announcing, AnnouncingDict
from . import hooks
from .hooks import ON_ALL
from .parameter import Buffer, Parameter
from .state import EXTRA, IncompatibleKeys, Stateful

M = TypeVar("M", bound="Module")
_IncompatibleKeys, _EXTRA_STATE_KEY_SUFFIX = IncompatibleKeys, EXTRA  # names that programs use


class Computed:
    """A module attribute that is computed at each read: subclasses define ``get``, and may define ``set``."""

    def get(self, module: Module) -> Any:
        """The value."""
        raise NotImplementedError

    def set(self, module: Module, value: Any) -> None:
        """Handles an assignment."""
        raise AttributeError("this attribute is computed from others: assign to those")


_EXPECTED = {
    "_parameters": ("parameter", "tracer.nn.Parameter"),
    "_modules": ("child module", "tracer.nn.Module"),
    "_buffers": ("buffer", "tracer.nn.Buffer, tracer.Tensor"),
}


class Module(Stateful, Announcing):
    """Base of all layers and models. Subclasses assign parameters and submodules in ``__init__``, after that of the base, and
    define ``forward``, which calls of the module run. Parameters may have any shape and dtype. Raises AttributeError for
    parameters assigned before ``Module.__init__``, NotImplementedError for a call without ``forward``.
    """

    training: bool

    def __init__(self) -> None:
        self.__dict__.update(
            training=True,
            _tracer_transient=AnnouncingDict(),  # names of buffers that are not part of the state
            **{table: AnnouncingDict() for table in ("_parameters", "_buffers", "_modules")},
        )

    if TYPE_CHECKING:  # subclasses define it with other parameters, and may decorate it
        forward: Any
    else:

        def forward(self, *args: Any, **kwargs: Any) -> Any:
            raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function')

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if "_tracer_hooks" in self.__dict__ or ON_ALL:
            return hooks.call(self, args, kwargs)
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
        if name in parts.get("_tracer_computed", ()):
            parts["_tracer_computed"][name].set(self, value)
            return
        for kind, table in _TABLES:  # a name keeps its table and its position, unless the value belongs to another table
            if kind is Buffer and isinstance(value, Buffer):
                self.register_buffer(name, value, value.persistent)
            elif isinstance(value, kind):
                self.__forget(name, table)
                parts[table][name] = value
            elif name not in parts[table]:
                continue
            elif value is None or (table == "_buffers" and isinstance(value, Tensor)):
                parts[table][name] = value
            else:
                what, expected = _EXPECTED[table]
                raise TypeError(f"cannot assign '{type(value).__name__}' as {what} '{name}' ({expected} or None expected)")
            return
        object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        for table in ("_parameters", "_modules", "_buffers"):
            found = self.__dict__.get(table, {})
            if name in found:
                return found[name]
        computed = self.__dict__.get("_tracer_computed")
        if computed is not None and name in computed:
            return computed[name].get(self)
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def computed_attributes(self) -> Mapping[str, Computed]:
        """The computed attributes, by name."""
        return self.__dict__.get("_tracer_computed", {})

    def compute_attribute(self, name: str, rule: Computed | None) -> None:
        """Makes a new attribute computed at each read; or, with None, removes it."""
        structure_changed()
        table = self.__dict__.setdefault("_tracer_computed", AnnouncingDict())
        if rule is None:
            table.pop(name, None)
        else:
            table[name] = rule

    def __delattr__(self, name: str) -> None:
        structure_changed()
        if not self.__forget(name):
            object.__delattr__(self, name)

    def __forget(self, name: str, but: str = "") -> bool:
        """Removes a name from the attributes and from all tables except ``but``. Returns True if it was there."""
        if but != "_buffers":
            self._tracer_transient.pop(name, None)
        tables = (self.__dict__, *(self.__dict__[table] for _, table in _TABLES if table != but))
        return sum(t.pop(name, self) is not self for t in tables) > 0

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Registers a tensor that is not learned; part of the state unless not ``persistent``."""
        self.__check_name("_buffers", "buffer", name)
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"cannot assign '{type(tensor).__name__}' object to buffer '{name}' (tracer Tensor or None required)"
            )
        self._buffers[name] = tensor
        self._tracer_transient.pop(name, None)
        if not persistent:
            self._tracer_transient[name] = None

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Registers a parameter under the given name."""
        self.__check_name("_parameters", "parameter", name)
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(
                f"cannot assign '{type(param).__name__}' object to parameter '{name}' (tracer.nn.Parameter or None required)"
            )
        self._parameters[name] = param

    def add_module(self, name: str, module: Module | None) -> None:
        """Registers a submodule under the given name."""
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{type(module).__name__} is not a Module subclass")
        self.__check_name("_modules", "module", name)
        self._modules[name] = module

    register_module = add_module

    def __check_name(self, table: str, kind: str, name: str) -> None:
        """Raises KeyError for an invalid name, or one in use."""
        if "." in name:
            raise KeyError(f'{kind} name can\'t contain "."')
        if not name:
            raise KeyError(f'{kind} name can\'t be empty string ""')
        if hasattr(self, name) and name not in self.__dict__[table]:
            raise KeyError(f"attribute '{name}' already exists")

    # Hooks.

    def __add_hook(
        self, kind: str, hook: Callable[..., Any], prepend: bool, with_kwargs: bool = False, always: bool = False
    ) -> RemovableHandle:
        structure_changed()
        tables = hooks.tables(self)
        table = tables[kind]
        handle = RemovableHandle(table, tables["always"] if always else None)
        table[handle._number] = entry = (hook, with_kwargs)
        if always:
            tables["always"][handle._number] = entry
        if prepend:
            table.move_to_end(handle._number, last=False)
        return handle

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Calls ``hook(module, args)`` before ``forward``; its result, unless None, replaces the arguments."""
        return self.__add_hook("forward_pre", hook, prepend, with_kwargs)

    def register_forward_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False, always_call: bool = False
    ) -> RemovableHandle:
        """Calls ``hook(module, args, output)`` after ``forward``; its result, unless None, replaces the output.

        ``always_call``: also, with None as the output, if ``forward`` raises an error.
        """
        return self.__add_hook("forward", hook, prepend, with_kwargs, always_call)

    def register_full_backward_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Calls ``hook(module, grad_output)`` when the cotangents of the outputs are known; it may return replacements."""
        return self.__add_hook("backward_pre", hook, prepend)

    def register_full_backward_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Calls ``hook(module, grad_input, grad_output)`` when the cotangents of the inputs are known; it may return
        replacements.
        """
        return self.__add_hook("backward", hook, prepend)

    register_backward_hook = register_full_backward_hook

    _forward_pre_hooks = hooks.registered("forward_pre")
    _forward_hooks = hooks.registered("forward")
    _backward_pre_hooks = hooks.registered("backward_pre")
    _backward_hooks = hooks.registered("backward")

    # Traversal.

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module and all its descendants with their dotted names, each once if ``remove_duplicate``."""
        seen = set() if memo is None else memo
        work: list[tuple[str, Module]] = [(prefix, self)]
        while work:
            name, module = work.pop()
            if remove_duplicate and module in seen:
                continue
            seen.add(module)
            yield name, module
            children = [(f"{name}.{k}" if name else k, m) for k, m in module._modules.items() if m is not None]
            work += reversed(children)

    def modules(self, remove_duplicate: bool = True) -> Iterator[Module]:
        """This module and all its descendants, each once if ``remove_duplicate``."""
        return (m for _, m in self.named_modules(remove_duplicate=remove_duplicate))

    def _get_name(self) -> str:
        """The name of the class, for ``repr``."""
        return type(self).__name__

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The direct submodules, each once."""
        seen: set[Module] = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def children(self) -> Iterator[Module]:
        return (m for _, m in self.named_children())

    def __named(self, table: str, prefix: str, recurse: bool, remove_duplicate: bool) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        walked = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate) if recurse else [(prefix, self)]
        for where, module in walked:
            for name, value in module.__dict__[table].items():
                if value is not None and not (remove_duplicate and id(value) in seen):
                    seen.add(id(value))
                    yield f"{where}.{name}" if where else name, value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """The parameters of this module, and of its descendants if ``recurse``, with their dotted names."""
        return self.__named("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        return (p for _, p in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """The buffers of this module, and of its descendants if ``recurse``, with their dotted names."""
        return self.__named("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        return (b for _, b in self.named_buffers(recurse=recurse))

    def get_submodule(self, target: str) -> Module:
        """The module with a dotted name. Raises AttributeError if there is none."""
        module = self
        for name in target.split(".") if target else ():
            if not hasattr(module, name):
                raise AttributeError(f"{type(module).__name__} has no attribute `{name}`")
            module = getattr(module, name)
            if not isinstance(module, Module):
                raise AttributeError(f"`{name}` is not an nn.Module")
        return module

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Replaces the module with a dotted name, or, unless ``strict``, adds one to its parent.

        Raises ValueError for an empty name or a value that is not a module, AttributeError if there is no module to replace.
        """
        if not target:
            raise ValueError("Cannot set the submodule without a target name!")
        if not isinstance(module, Module):
            raise ValueError(f"`module` is not an nn.Module, found {type(module)}")
        path, _, name = target.rpartition(".")
        parent = self.get_submodule(path)
        if strict or hasattr(parent, name):
            parent.get_submodule(name)
        setattr(parent, name, module)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter with a dotted name. Raises AttributeError if there is none."""
        return self.__find(target, "_parameters", "an nn.Parameter")

    def get_buffer(self, target: str) -> Tensor:
        """The buffer with a dotted name. Raises AttributeError if there is none."""
        return self.__find(target, "_buffers", "a buffer")

    def __find(self, target: str, table: str, what: str) -> Any:
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            raise AttributeError(f"{type(module).__name__} has no attribute `{name}`")
        if name not in module.__dict__[table]:
            raise AttributeError(f"`{name}` is not {what}")
        return module.__dict__[table][name]

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._parameters, *self._buffers, *self._modules})

    def train(self: M, mode: bool = True) -> M:
        """Sets training or evaluation mode for this module and all its descendants."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        for m in self.modules():
            if m.training != mode:
                m.training = mode
        return self

    def eval(self: M) -> M:
        """Sets evaluation mode."""
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
        """Removes the parameters' gradients, or sets them to zero."""
        zero_grads(self.parameters(), set_to_none)

    def to(self: M, *args: Any, dtype: Any = None, device: Any = None, **more: Any) -> M:
        """Casts floating parameters and buffers, and moves all, in place: ``to(dtype)``, ``to(device, dtype)``, ``to(tensor)``.

        Raises TypeError for a dtype that is not floating, RuntimeError for a device that tensors cannot be on.
        """
        where = None
        for a in (*args, device):
            if isinstance(a, (DType, type)):
                dtype = a
            elif isinstance(a, Tensor):
                dtype, where = a.dtype, a.device
            elif not isinstance(a, bool):
                memory_of(a)  # which must exist
                where = where if a is None else a
        if dtype is None:
            return self if where is None else self._apply(lambda t: moved(t, where))
        dtype = as_dtype(dtype)
        if not (dtype.is_floating_point or dtype.is_complex):
            raise TypeError(f"nn.Module.to only accepts floating point or complex dtypes, but got desired dtype={dtype}")
        cast = lambda t: t.to(dtype) if t.is_floating_point() or t.is_complex() else t
        return self._apply(cast if where is None else lambda t: moved(cast(t), where))

    def _apply(self: M, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> M:
        """Replaces parameters, their gradients, and buffers by a function's results; parameters stay the same objects."""
        for module in self.modules() if recurse else (self,):
            for p in module._parameters.values():
                if p is not None:
                    with no_grad():
                        made = fn(p)
                        if made is not p:
                            p.data = made
                        if p._grad is not None:
                            p._grad = fn(p._grad)
            for name, buffer in module._buffers.items():
                if buffer is not None:
                    with no_grad():
                        module._buffers[name] = fn(buffer)
        structure_changed()
        return self

    def to_empty(self: M, *, device: Any, recurse: bool = True) -> M:
        """Replaces parameters and buffers by tensors of the same shapes whose elements are arbitrary."""
        from ..ops.create import empty_like

        return self._apply(lambda t: empty_like(t, device=device), recurse)

    def type(self: M, dst_type: Any) -> M:
        """Casts all parameters and buffers."""
        return self._apply(lambda t: t.type(dst_type))

    def share_memory(self: M) -> M:
        """The module itself: tensors are copied to other processes."""
        return self

    def cuda(self: M, device: Any = None) -> M:
        """Moves all parameters and buffers to a CUDA device. Raises RuntimeError if there is none."""
        return self.to("cuda" if device is None else device)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """No effect: call the result of ``tracer.trace(module)`` instead."""

    def float(self: M) -> M:
        """Casts floating parameters and buffers to float32."""
        return self.to(float32)

    def double(self: M) -> M:
        """Casts floating parameters and buffers to float64."""
        return self.to(float64)

    def half(self: M) -> M:
        """Casts floating parameters and buffers to float16."""
        return self.to(float16)

    def bfloat16(self: M) -> M:
        """Casts floating parameters and buffers to bfloat16."""
        return self.to(bfloat16)

    def cpu(self: M) -> M:
        """Moves all parameters and buffers to the CPU."""
        return self.to("cpu")

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


_TABLES: tuple[tuple[type, str], ...] = ((Parameter, "_parameters"), (Module, "_modules"), (Buffer, "_buffers"))


def zero_grads(tensors: Any, set_to_none: bool) -> None:
    """Removes gradients, or sets them to zero in place."""
    for t in tensors:
        if set_to_none:
            t.grad = None
        elif t.grad is not None:
            with no_grad():
                t.grad.zero_()
