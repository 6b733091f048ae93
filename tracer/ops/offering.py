"""Public wrappers of functions: argument checks, ``out``, and names of nodes."""

from __future__ import annotations

import functools
import inspect
import opcode
import re
from collections.abc import Callable, Iterable
from types import FunctionType, TracebackType
from typing import Any

from ..core.autocasting import AUTOCAST, cast_operands
from ..core.context import context
from ..core.device import require_one_device
from ..core.inplace import require_apart
from ..core.tensor import Tensor
from ..runtime.devices import USED
from .arguments import ARITHMETIC, OPERAND, Taken, Unfit, combination, of_constructor, taken
from .contracts import stated
from .names import label, separate
from .rows import ROW_MAJOR, write_rows
from .spelling import EXACT, into, regular, spellings

_offered: dict[Callable[..., Any], Callable[[], Signature]] = {}


class _Absent:
    """The type of a missing argument."""


_ABSENT = _Absent()
_RAISE = opcode.opmap["RAISE_VARARGS"]
_REMEMBERED = 200  # type combinations per function


def offer(namespace: dict[str, Any], names: Iterable[str]) -> None:
    """Makes the named functions of a namespace public. Those from another public namespace already are."""
    for name in names:
        function = namespace[name]
        if isinstance(function, FunctionType) and function not in _offered:
            namespace[name] = offered(function, name, namespace["__name__"])


def offer_classes(namespace: dict[str, Any], names: Iterable[str]) -> None:
    """Makes the constructors of the named classes check their arguments as functions do."""
    for name in names:
        cls = namespace[name]
        init = getattr(cls, "__init__", None) if isinstance(cls, type) else None
        while init is not None and is_offered(init):  # an inherited constructor's messages name the class that defines it
            init = init.__wrapped__
        if isinstance(init, FunctionType) and init.__code__.co_argcount > 1:
            cls.__init__ = offered(init, name, cls.__module__)


def offered(function: Callable[..., Any], name: str, module: str) -> Callable[..., Any]:
    """The public form of a function. It accepts all spellings of arguments, and ``out``; raises TypeError, with PyTorch's
    message, for arguments that do not match its annotations; and gives its nodes PyTorch's names.

    Arguments are checked once per combination of their types; later only lists and the like are inspected.
    """
    signature = functools.cache(lambda: Signature(function, name))  # created on first use, to keep the import fast
    plain: set[tuple[Any, ...]] = set()  # types of up to three positional arguments that fit unchanged
    known: dict[tuple[Any, ...], tuple[Any, ...]] = {}  # other types, with names: which arguments to inspect
    labelled = label(name) or (None if function.__module__.endswith(".pointwise") else separate)
    writes_rows = name in ROW_MAJOR

    # Three separate parameters cost half as much as a tuple of arguments.
    @functools.wraps(function)
    def call(a: Any = _ABSENT, b: Any = _ABSENT, c: Any = _ABSENT, /, *rest: Any, **kwargs: Any) -> Any:
        if USED:
            require_one_device(name, (a, b, c, *rest, *kwargs.values()))
        args = (a, b, c, *rest) if c is not _ABSENT else (a, b) if b is not _ABSENT else (a,) if a is not _ABSENT else ()
        if AUTOCAST and context.autocast:
            return call_anyhow(*cast_operands(name, args, kwargs))
        if kwargs or rest or (type(a), type(b), type(c)) not in plain:
            return call_anyhow(args, kwargs)
        try:
            result = function(*args)
        except _BUILT_IN as e:
            if (better := _explained(e, name, args, kwargs)) is not None:
                raise better from e
            raise
        if labelled is not None:
            labelled(result, args, kwargs)
        if writes_rows:
            write_rows(result)
        return result

    def call_anyhow(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        types = (*map(type, args), *kwargs, *map(type, kwargs.values())) if kwargs else tuple(map(type, args))
        looks, out = known.get(types), None
        if looks is None or (looks and not _fit(looks, args, kwargs)):
            args, kwargs, out, looks = signature().read(args, kwargs)
            if looks is not None:
                if len(known) + len(plain) > _REMEMBERED:
                    known.clear()
                    plain.clear()
                known[types] = looks
                if not kwargs and not looks and len(args) <= 3:
                    plain.add((*types, *[_Absent] * (3 - len(args))))
        if isinstance(out, Tensor):
            for a in args:
                if isinstance(a, Tensor):
                    require_apart(out, a)
        try:
            result = function(*args, **kwargs)
        except _BUILT_IN as e:
            if (better := _explained(e, name, args, kwargs)) is not None:
                raise better from e
            raise
        if labelled is not None:
            labelled(result, args, kwargs)
        if writes_rows:
            write_rows(result)
        return result if out is None else into(out, result, name in EXACT)

    call.__module__, call.__name__ = module, name
    call.__doc__ = stated(call.__doc__, name, module)
    if function.__qualname__.isidentifier():
        call.__qualname__ = name
    _offered[call] = signature
    return call


def functions() -> list[Callable[..., Any]]:
    """All public functions, including constructors and methods."""
    return list(_offered)


def parameters(function: Callable[..., Any]) -> dict[str, Taken]:
    """The parameters of a public function, by name."""
    return dict(_offered[function]().named)


def signature_of(function: Callable[..., Any]) -> Signature | None:
    """The parameters of a public function; None for another one."""
    return _offered[function]() if function in _offered else None


def is_offered(function: Any) -> bool:
    """True for a public function."""
    return function in _offered


def accepted(function: Callable[..., Any]) -> frozenset[str]:
    """The names of a public function's parameters."""
    return _offered[function]().accepts


def _fit(looks: tuple[Any, ...], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """True if the arguments to inspect fit unchanged."""
    try:
        for place, read in looks:
            x = args[place] if type(place) is int else kwargs[place]
            if read(x) is not x:
                return False
    except Unfit:
        return False
    return True


# What Python and NumPy raise for values that do not fit.
_VALUES = (IndexError, ZeroDivisionError, OverflowError, ValueError)
_BUILT_IN = (AttributeError, TypeError, *_VALUES)


def _explained(e: Exception, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Exception | None:
    """The exception to raise instead of one about a function's internals; None if it is about its arguments."""
    if not _raised_inside(e.__traceback__):
        return None
    for kind in _VALUES:
        if isinstance(e, kind):
            given = ", ".join([*map(_shown, args), *(f"{key}={_shown(x)}" for key, x in kwargs.items())])
            return kind(f"{name}(): the arguments ({given}) do not fit: {e}")
    counted = _COUNTED.match(str(e))
    return TypeError(f"{name}() {counted[1]}") if counted else combination(name, args, kwargs)


def _shown(x: Any) -> str:
    if isinstance(x, Tensor):
        return f"Tensor of shape {list(x._data.shape)}"
    text = repr(x)
    return text if len(text) <= 40 else f"{text[:37]}..."


# Python's messages for calls that do not match the parameters.
_COUNTED = re.compile(r"[\w.<>]+\(\) ((missing|takes|got) .*argument.*)", re.DOTALL)


def _raised_inside(traceback: TracebackType | None) -> bool:
    """True if an exception comes from an expression of this package, or from Python code of NumPy or SciPy that it calls; not
    from a ``raise`` in this package, or from users' code.
    """
    last, own = traceback, True
    while last is not None and last.tb_next is not None:
        last = last.tb_next
        own = own and _package_of(last) in (_PACKAGE, *_COMPUTING)
    if last is None or last.tb_lasti < 0 or not own:
        return False
    return _package_of(last) != _PACKAGE or last.tb_frame.f_code.co_code[last.tb_lasti] != _RAISE


def _package_of(traceback: TracebackType) -> str:
    return traceback.tb_frame.f_globals.get("__name__", "").partition(".")[0]


_PACKAGE, _COMPUTING = __name__.split(".")[0], ("numpy", "scipy")


class Signature:
    """The parameters of a function, and the readers of its arguments."""

    def __init__(self, function: Callable[..., Any], name: str):
        parameters = inspect.signature(function).parameters
        self.name = name
        self.takes_more = False
        self.first = int(next(iter(parameters), "") == "self")  # position of the first user-visible parameter
        self.places: list[Taken] = []
        self.rest: Taken | None = None
        self.named: dict[str, Taken] = {}
        for p in parameters.values():
            annotation = str(p.annotation)
            if function.__name__ == "__init__":  # ``self`` is not an argument
                annotation = "object" if p.name == "self" else of_constructor(annotation)
            one = taken(name, p.name, annotation, p.default is None)
            if p.kind is p.VAR_POSITIONAL:
                self.rest = one
            elif p.kind is p.VAR_KEYWORD:
                self.takes_more = True
            else:
                if p.kind is not p.KEYWORD_ONLY:
                    self.places.append(one)
                self.named[p.name] = one
        # Whether one of the operands must be a tensor.
        self.operands = name not in ARITHMETIC and len([one for one in self.named.values() if OPERAND in one.kinds]) > 1
        self.also = spellings(name, self.named if self.rest is None else (*self.named, self.rest.name))
        self.accepts = frozenset((*self.named, *self.also, "out", *([self.rest.name] if self.rest else ())))

    def read(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any], Any, tuple[Any, ...] | None]:
        """The arguments in the function's form, ``out``, and the arguments to inspect for these types, or None if they cannot
        be passed unchanged. Raises TypeError.
        """
        given, as_given = kwargs, True
        if len(args) > len(self.places) and self.rest is None:
            args, number = regular(self.name, args)
            kwargs, as_given = {**kwargs, **number}, False
        if kwargs:
            kwargs = {self.also.get(key, key): value for key, value in kwargs.items()}
            if len(kwargs) < len(given):
                twice = next(key for key in given if self.also.get(key) in given)
                raise TypeError(f"{self.name}() got multiple values for argument '{self.also[twice]}'")
        out = None if "out" in self.named else kwargs.pop("out", None)
        if self.rest is not None and self.rest.name in kwargs:
            args = (*args, kwargs.pop(self.rest.name))
        looks: list[tuple[Any, ...]] = []
        as_given &= out is None and kwargs.keys() == given.keys()
        read: list[Any] = []
        for i, x in enumerate(args):
            one = self.places[i] if i < len(self.places) else self.rest
            if one is None:
                break  # one too many: Python raises the error
            got, look = one.read(x, self.name, i - self.first)
            read.append(got)
            as_given &= got is x
            if look is not None:
                looks.append((i, look))
        named: dict[str, Any] = {}
        for key, x in kwargs.items():
            one = self.named.get(key)
            named[key] = x
            if one is not None:
                named[key], look = one.read(x, self.name, None)
                as_given &= named[key] is x
                if look is not None:
                    looks.append((key, look))
        if self.operands and not any(isinstance(x, Tensor) for x in (*read, *named.values())):
            raise combination(self.name, args, given)
        return (*read, *args[len(read) :]), named, out, tuple(looks) if as_given else None
