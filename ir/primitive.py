"""The record that defines an operation, and the registry of all records.

A differentiation rule is a function whose *parameter names* say what it reads:

    g               the cotangent of the result
    y               the result
    x, a, b, ...    an operand, by the name the record gives it
    x_type          the type of an operand
    axes, shape ... an attribute

so the engines, which are independent of operations, save exactly what the rule reads:

    tanh = elementwise("tanh", np.tanh, "tanh({x})", vjp=(lambda g, y: g * (1 - y * y),))
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import interp
from .halves import WideTypes, narrowed, widened
from .types import DType, TensorType, bool_


class Kind(enum.Enum):
    """What code generation knows about an operation. There are few kinds and many operations."""

    ELEMENTWISE = "elementwise"  # result[i] = scalar(operands[i])
    REDUCTION = "reduction"  # over the attribute `axes`
    MOVEMENT = "movement"  # result[i] = operand[map(i)]
    SOURCE = "source"  # result[i] = f(i), or random bits
    CONTRACTION = "contraction"  # a matrix product, or one of strided views
    INDEXING = "indexing"  # read or write positions are data
    SCAN = "scan"  # along the attribute `axis`: elements depend on those before, or on all
    FUSION = "fusion"  # a body of other operations, one kernel
    HOST = "host"  # no kernel: a program calls the NumPy implementation


class Rule:
    """A differentiation rule with the list of its arguments (see the module's docstring)."""

    __slots__ = ("_arranged", "function", "holomorphic", "reads", "reads_types", "saves_operands", "saves_result", "widens")

    def __init__(self, function: Callable[..., Any], operands: tuple[str, ...], holomorphic: bool = True, narrow: bool = False):
        self.function = function
        self.holomorphic = holomorphic
        self.reads: tuple[tuple[str, Any], ...] = tuple(
            _reading(name, operands) for name in function.__code__.co_varnames[: function.__code__.co_argcount]
        )
        self.saves_result = ("y", None) in self.reads
        self.saves_operands = tuple(i for what, i in self.reads if what == "operand")
        self.reads_types = {i for what, i in self.reads if what == "type"}
        # A rule that reads only the cotangent is a single operation, which already rounds once.
        self.widens = not narrow and (self.saves_result or bool(self.saves_operands))
        self._arranged: Callable[..., Any] | None = None

    def _arrange(self) -> Callable[..., Any]:
        """The function's call with its arguments, generated as source: small backward passes consist mostly of these."""
        places = {"operand": "operands[{!r}]", "type": "types[{!r}]", "attr": "attrs[{!r}]", "g": "g", "y": "y"}
        arguments = ", ".join(places[what].format(key) for what, key in self.reads)
        self._arranged = eval(f"lambda f, g, y, operands, types, attrs: f({arguments})")
        return self._arranged

    def __call__(self, g: Any, y: Any, operands: Sequence[Any], types: Sequence[TensorType], attrs: Mapping[Any, Any]) -> Any:
        call = self._arranged or self._arrange()
        if self.holomorphic and g.dtype.kind == "c":
            # g * conj(dy/dx), PyTorch's convention, from a rule for g * dy/dx.
            from .ops import conj

            return conj(call(self.function, conj(g), y, operands, types, attrs))
        if g.dtype.itemsize == 2:
            return self._of_halves(g, y, operands, types, attrs)
        return call(self.function, g, y, operands, types, attrs)

    def _of_halves(self, g: Any, y: Any, operands: Sequence[Any], types: Sequence[TensorType], attrs: Mapping[Any, Any]) -> Any:
        """The rule for 16-bit cotangents: rules of several operations are computed in float32 and rounded once."""
        call, now = self._arranged, interp.current()
        assert call is not None
        with interp.using(interp.EVALUATE if now is interp.DIRECT else now):
            if not self.widens:
                return call(self.function, g, y, operands, types, attrs)
            wide = widened(g), widened(y), [widened(x) for x in operands], WideTypes(types)
            return narrowed(call(self.function, *wide, attrs), g)


def _reading(name: str, operands: tuple[str, ...]) -> tuple[str, Any]:
    if name in ("g", "y"):
        return name, None
    if name in operands:
        return "operand", operands.index(name)
    if name == "types":
        raise ValueError("a rule of a variadic operation is given as vjp_all")
    if name.endswith("_type") and name[:-5] in operands:
        return "type", operands.index(name[:-5])
    return "attr", name


@dataclass(frozen=True)
class Piece:
    """One case of a movement, as source text over index variables.

    If ``when`` holds (None: always, only for the last piece), the element is operand number ``operand`` at ``index``;
    operand None means the number ``value``. If a piece's condition holds, so do those of all later pieces. Integers that
    depend on shapes go through ``param``, so that a kernel's text does not depend on them.
    """

    operand: int | None
    index: tuple[str, ...] = ()
    when: str | None = None
    value: Any = 0


@dataclass(frozen=True, eq=False)
class Primitive:
    """An operation.

    name      as printed in the IR
    kind      how code is generated for it
    operands  names of the operands; one name beginning with ``*`` takes any number
    infer     (types..., **attrs) -> the result's type; raises what PyTorch raises for bad operands
    impl      (arrays..., **attrs) -> array: the meaning, in NumPy. Also the eager implementation, ``eager``, unless
              ``compute_eagerly_by`` says otherwise. Its caller silences NumPy's floating-point warnings
              (``interp.silence``): 1/0 is inf here, as everywhere else.
    scalar    Python source of one element, for elementwise operations, operands in braces;
              or a function (operand types, attrs) -> source
    vjp       a rule for each operand, None where no gradient flows; None if not differentiable.
              A variadic operation has one function (g, types, attrs) -> cotangents instead, in vjp_all.
    pieces    for movements: the origin of each element of the result (see Piece):
              (index, operand types, attrs, param) -> pieces, the first whose condition holds
    put       for views of their operand: (base, view, base_type, **attrs) -> base with the
              view's elements replaced
    lazy      a view, though its elements are not in memory: they are computed from those of the operand each time they are
              read, and ``put`` computes back
    error     what compiled code raises where the scalar source has a check: exception type and message
    defaults  attributes that need not be given or printed
    in_format whether operands of 16 bits are left in their format: it moves numbers, or is about the format
    real      whether complex operands are refused: it orders or rounds numbers, or is defined for real ones alone
    """

    name: str
    kind: Kind
    operands: tuple[str, ...]
    infer: Callable[..., TensorType]
    impl: Callable[..., Any]
    scalar: str | Callable[..., str] | None = None
    vjp: tuple[Rule | None, ...] | None = None
    vjp_all: Callable[..., tuple[Any, ...]] | None = None
    pieces: Callable[..., list[Piece]] | None = None
    put: Callable[..., Any] | None = None
    lazy: bool = False
    error: tuple[type[Exception], str] | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    torch_name: str = ""
    in_format: bool = False
    real: bool = False

    @functools.cached_property
    def keeps_format(self) -> bool:
        """True if 16-bit operands are not converted to float32 (see ``halves``)."""
        return self.in_format or self.kind in (Kind.MOVEMENT, Kind.SOURCE)

    @functools.cached_property
    def is_elementwise(self) -> bool:
        return self.kind is Kind.ELEMENTWISE

    @functools.cached_property
    def has_kernel(self) -> bool:
        """True if kernels can be generated for it."""
        return self.kind is not Kind.HOST and (self.kind is not Kind.ELEMENTWISE or self.scalar is not None)

    @functools.cached_property
    def differentiable(self) -> bool:
        return self.vjp is not None or self.vjp_all is not None

    @functools.cached_property
    def eager(self) -> Callable[..., Any]:
        """The implementation that eager runs call."""
        return self.impl

    def compute_eagerly_by(self, function: Callable[..., Any]) -> None:
        """Makes eager runs call ``function``; the graph interpreter keeps ``impl``."""
        self.__dict__["eager"] = function

    @functools.cached_property
    def attributes(self) -> dict[str, bool]:
        """The names of its attributes; True for those that must be given."""
        from .attributes import attributes_of

        return attributes_of(self)

    @functools.cached_property
    def ufunc(self) -> np.ufunc | None:
        """The NumPy function that is the whole implementation, and can write into given memory; None if there is none."""
        return self.impl if isinstance(self.impl, np.ufunc) else None

    @functools.cached_property
    def makes_views(self) -> bool:
        """True if a result may share its operand's memory."""
        return self.put is not None

    def require_real(self, dtype: DType) -> None:
        """Raises NotImplementedError with PyTorch's message for a complex operand if only real ones are supported."""
        if self.real and dtype.is_complex:
            raise NotImplementedError(f"\"{self.name}_cpu\" not implemented for '{dtype.ctype}'")

    def infer_types(self, types: Sequence[TensorType], attrs: Mapping[str, Any]) -> tuple[TensorType, ...]:
        if self.real:
            for t in types:
                self.require_real(t.dtype)
        result = self.infer(*types, **attrs)
        return result if isinstance(result, tuple) else (result,)

    def __call__(self, *args: Any, **attrs: Any) -> Any:
        if self.defaults:
            attrs = {**self.defaults, **attrs}
        interpreter = interp.current()
        if interpreter is interp.DIRECT:
            return self.impl(*args, **attrs)
        return interpreter.bind(self, args, attrs)

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"


PRIMITIVES: dict[str, Primitive] = {}


def primitive(
    name: str,
    kind: Kind,
    operands: str,
    *,
    infer: Callable[..., Any],
    impl: Callable[..., Any],
    vjp: Sequence[Callable[..., Any] | None] | None = None,
    torch_name: str = "",
    holomorphic: bool = True,
    **more: Any,
) -> Primitive:
    """Makes a record and enters it in the registry. ``operands`` is a string of names.

    Rules compute g * dy/dx. For complex numbers the engine conjugates around them, unless the record is not
    ``holomorphic``: then its rules give the cotangent in PyTorch's convention directly.
    """
    names = tuple(operands.split())
    more.setdefault("real", infer is floating)
    narrow = more.get("in_format", False) or kind in (Kind.MOVEMENT, Kind.SOURCE, Kind.CONTRACTION)
    rules = None if vjp is None else tuple(r and Rule(r, names, holomorphic, narrow) for r in vjp)
    shown = torch_name or name.title().replace("_", "")
    record = Primitive(name, kind, names, infer, impl, vjp=rules, torch_name=f"{shown}Backward0", **more)
    if name in PRIMITIVES:
        raise ValueError(f"primitive {name!r} is defined twice")
    PRIMITIVES[name] = record
    return record


def underivable(name: str) -> Callable[..., Any]:
    """The rule of an operation without a derivative: raises NotImplementedError."""

    def rule(g: Any) -> Any:
        raise NotImplementedError(f"the derivative for '{name}' is not implemented.")

    return rule


def host(
    name: str,
    impl: Callable[..., Any],
    operands: str = "x",
    *,
    infer: Callable[..., Any] | None = None,
    vjp: Sequence[Callable[..., Any] | None] | None = None,
    torch_name: str = "",
    **more: Any,
) -> Primitive:
    """An operation that NumPy or SciPy computes, in compiled programs too."""
    return primitive(name, Kind.HOST, operands, infer=infer or same_type, impl=impl, vjp=vjp, torch_name=torch_name, **more)


def scan(
    name: str,
    impl: Callable[..., Any],
    operands: str = "x",
    *,
    infer: Callable[..., Any],
    vjp: Sequence[Callable[..., Any] | None] | None = None,
    **more: Any,
) -> Primitive:
    """An operation along one axis."""
    return primitive(name, Kind.SCAN, operands, infer=infer, impl=impl, vjp=vjp, **more)


def elementwise(
    name: str,
    impl: Callable[..., Any],
    scalar: str | Callable[..., str] | None,
    operands: str = "x",
    *,
    vjp: Sequence[Callable[..., Any] | None] | None = None,
    infer: Callable[..., TensorType] | None = None,
    torch_name: str = "",
    **more: Any,
) -> Primitive:
    """An elementwise operation; all operands have one shape and, unless ``infer`` says more, one dtype."""
    return primitive(
        name,
        Kind.ELEMENTWISE,
        operands,
        impl=impl,
        scalar=scalar,
        vjp=vjp,
        infer=infer or same_type,
        torch_name=torch_name,
        **more,
    )


def same_shape(*types: TensorType) -> tuple[int, ...]:
    for t in types[1:]:
        if t.shape != types[0].shape:
            raise ValueError(f"operands have different shapes: {', '.join(map(str, types))}")
    return types[0].shape


def same_type(*types: TensorType, **attrs: Any) -> TensorType:
    same_shape(*types)
    for t in types[1:]:
        if t.dtype is not types[0].dtype:
            raise TypeError(f"operands have different dtypes: {', '.join(map(str, types))}")
    return types[0]


def numeric(*types: TensorType) -> TensorType:
    result = same_type(*types)
    if result.dtype is bool_:
        raise TypeError(f"needs a number, got {result}")
    return result


def floating(*types: TensorType) -> TensorType:
    result = same_type(*types)
    if not result.dtype.is_floating_point:
        raise TypeError(f"needs a floating dtype, got {result}")
    return result


def inexact(*types: TensorType) -> TensorType:
    """Floating or complex."""
    result = same_type(*types)
    if not (result.dtype.is_floating_point or result.dtype.is_complex):
        raise TypeError(f"needs a floating dtype, got {result}")
    return result


def predicate(*types: TensorType) -> TensorType:
    return same_type(*types).with_dtype(bool_)
