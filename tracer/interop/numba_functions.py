"""Traced functions for Numba and C: objects callable from ``@njit`` functions, and C function pointers.

Only this file depends on Numba; it is imported on first use. Numba compiles a thin wrapper, which checks arguments,
allocates results and calls the native function (``runtime/native``) with their addresses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from ..core.context import context
from ..ir.types import TensorType
from ..runtime.forks import reentrant_lock
from ..runtime.programs.native import Failure, entry
from ..tracing.exported import Differentiated, Examples, Exported, Parameter, Structure, export, surroundings
from ..tracing.function import TracedFunction

# Created objects, kept as long as the process: compiled code anywhere may hold their address.
_Made = tuple[Exported, dict[str, Any]]  # and the requested objects
_made: dict[Any, _Made] = {}
_replaced: list[_Made] = []
_lock = reentrant_lock()


def numba_function(function: TracedFunction[..., Any], examples: tuple[Any, ...]) -> Any:
    """The result of ``TracedFunction.numba``."""
    return _kept(function, examples, None, "numba", dispatcher)


def numba_value_and_gradient(
    function: TracedFunction[..., Any], examples: tuple[Any, ...], argnums: int | tuple[int, ...]
) -> Any:
    """The result of ``TracedFunction.numba_value_and_grad``."""
    return _kept(function, examples, argnums, "numba", dispatcher)


def c_function(
    function: TracedFunction[..., Any], examples: tuple[Any, ...], signature: str | None, argnums: int | tuple[int, ...] | None
) -> CFunction:
    """The result of ``TracedFunction.cfunc``."""
    form = None if signature is None else _form(signature)
    return _kept(function, examples, argnums, f"cfunc {form}", lambda exported: CFunction(exported, form))  # type: ignore[no-any-return]


def _kept(
    function: TracedFunction[..., Any], given: tuple[Any, ...], argnums: Any, what: str, make: Callable[[Exported], Any]
) -> Any:
    """The object for this function and signature: created on first use, or when what the function captures has moved."""
    examples = Examples(function.function, given)
    differentiated = None if argnums is None else examples.differentiated(argnums)
    with _lock:
        exported, objects = _exported(function, examples, differentiated)
        if what not in objects:
            objects[what] = make(exported)
        return objects[what]


def _exported(function: TracedFunction[..., Any], examples: Examples, differentiated: Differentiated | None) -> _Made:
    def key() -> Any:
        return (
            function,
            surroundings(examples, function.native_environment),
            examples.key,
            differentiated,
            context.default_dtype,
        )

    before = key()
    if before in _made:
        if _made[before][0].current:
            return _made[before]
        _replaced.append(_made.pop(before))
    exported = export(examples, function.native_environment, differentiated)
    # The objects that the function reaches may change in its first run.
    return _made.setdefault(key(), (exported, {}))


# The call.


def _scalar(t: TensorType) -> Any:
    """Numba's type of a tensor's elements."""
    return numba.from_dtype(t.dtype.numpy)


def _invoke(exported: Exported, returned: Sequence[int]) -> Any:
    """A function for Numba code that calls the native one: invoke(inputs, outputs) -> (status, number, *scalars).

    Inputs are a tuple of arrays, pointers and scalars, outputs a tuple of arrays and pointers. The results with numbers in
    ``returned`` are returned as scalars instead.
    """
    pool, count = exported.native.address, len(exported.results)
    scalars = {k: _scalar(exported.results[k]) for k in returned}

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        inputs, outputs = [
            [_pointer(context, builder, t, builder.extract_value(given, i)) for i, t in enumerate(kinds)]
            for given, kinds in zip(args, signature.args, strict=True)
        ]
        slots = {k: cgutils.alloca_once(builder, context.get_data_type(t)) for k, t in scalars.items()}
        arrays = iter(outputs)
        pointers = inputs + [slots[k] if k in slots else next(arrays) for k in range(count)]
        word, byte = ir.IntType(64), ir.IntType(8).as_pointer()
        words = cgutils.alloca_once(builder, word, size=len(pointers) + 1)
        places = [builder.gep(words, [ir.IntType(32)(i)]) for i in range(len(pointers) + 1)]
        for pointer, place in zip(pointers, places, strict=False):
            builder.store(builder.ptrtoint(pointer, word), place)
        function = ir.FunctionType(ir.IntType(32), [byte, byte]).as_pointer()
        # Numba does not cache code with dynamic addresses on disk.
        call = builder.bitcast(context.add_dynamic_addr(builder, entry(), info="tracer"), function)
        at_pool = context.add_dynamic_addr(builder, pool, info="tracer")
        status = builder.call(call, [at_pool, builder.bitcast(words, byte)])
        results = [context.unpack_value(builder, t, slots[k]) for k, t in scalars.items()]
        return context.make_tuple(builder, signature.return_type, [status, builder.load(places[-1]), *results])

    @intrinsic
    def invoke(typing_context: Any, inputs: Any, outputs: Any) -> Any:
        return types.Tuple((types.int32, types.int64, *scalars.values()))(inputs, outputs), generate

    return invoke


def _pointer(context: Any, builder: Any, t: Any, value: Any) -> Any:
    """The address of an argument's elements."""
    if isinstance(t, types.Array):
        return cgutils.create_struct_proxy(t)(context, builder, value).data
    if isinstance(t, types.CPointer):
        return value
    place = cgutils.alloca_once(builder, context.get_data_type(t))
    context.pack_value(builder, t, value, place)
    return place


# Errors, raised from Numba code.


class ShapeError(ValueError):
    """An array's shape differs from the compiled one. The message is formatted when it is raised."""

    def __init__(self, message: str, shape: tuple[int, ...]):
        super().__init__(f"{message}{shape}")


class PositionError(IndexError):
    """A position is out of range in a traced function. The message is formatted when it is raised."""

    def __init__(self, before: str, position: int, after: str):
        super().__init__(f"{before}{position}{after}")


def _raiser(failures: Sequence[Failure]) -> Any:
    """A function for Numba code that raises the exception for a status; the message may contain ``number``."""
    different = list(dict.fromkeys(failures))
    lines = ["k = __which[status - 1]"]
    for k, f in enumerate(different):
        said = (
            f"__PositionError({f.before!r}, number, {f.after!r})"
            if f.numbered
            else f"{f.error.__name__}({f.before + f.after!r})"
        )
        lines.append(f"if k == {k}: raise {said}")
    which = tuple(map(different.index, failures))
    return numba.njit(_compiled("status, number", lines, {"__which": which, "__PositionError": PositionError}))


# Functions for Numba.


def dispatcher(exported: Exported) -> Any:
    """A function that Numba code, and Python code with arrays, calls like the traced function."""
    names = ", ".join(p.name for p in exported.parameters)
    scalars = [k for k, t in enumerate(exported.results) if not t.shape]
    space: dict[str, Any] = {"__np": np, "__invoke": _invoke(exported, scalars), "__ShapeError": ShapeError}
    if exported.native.failures:
        space["__fail"] = _raiser(exported.native.failures)

    def implement(*given: Any) -> Any:
        for p, t in zip(exported.parameters, given, strict=True):
            _check_type(exported.name, p, t)
        return _compiled(names, _body(exported, given), space)

    def typed() -> None:
        raise NotImplementedError

    typed.__name__ = typed.__qualname__ = exported.name
    space["__typed"], space["__implement"] = typed, implement
    overload(typed)(_compiled(names, [f"return __implement({names})"], space))
    function = _compiled(names, [f"return __typed({names})"], space)
    function.__name__ = function.__qualname__ = exported.name
    function.__doc__ = _documented(exported)
    return numba.njit(nogil=True)(function)


def _compiled(parameters: str, lines: Sequence[str], space: dict[str, Any]) -> Any:
    """A Python function with these parameters and lines, whose globals are ``space``."""
    source = f"def __call({parameters}):\n" + "".join(f"    {line}\n" for line in lines)
    space = dict(space)
    exec(compile(source, "<written by tracer>", "exec"), space)
    return space["__call"]


def _check_type(name: str, p: Parameter, given: Any) -> None:
    """Raises TypingError unless values of a Numba type are valid for the argument."""
    given = types.unliteral(given)
    if not p.type.shape and not isinstance(given, types.Array):
        fits = _casts(given, p.type)
    else:
        expected = _scalar(p.type)
        fits = isinstance(given, types.Array) and given.dtype == expected and given.ndim == p.type.rank and given.aligned
    if not fits:
        raise numba.TypingError(f"{name}: argument '{p.name}' must be {_expected(p.type)}, got {given}")


_NUMBERS = {
    numba.from_dtype(np.dtype(name)): np.dtype(name)
    for name in ["bool", "float32", "float64", *(f"{kind}int{bits}" for kind in ("", "u") for bits in (8, 16, 32, 64))]
}


def _casts(given: Any, wanted: TensorType) -> bool:
    """True if a number is accepted for a scalar: by NumPy's safe casting."""
    return given in _NUMBERS and np.can_cast(_NUMBERS[given], wanted.dtype.numpy, "safe")


def _expected(t: TensorType) -> str:
    return f"an array of {t.dtype.name}, shape {t.shape}" if t.shape else f"a scalar of {t.dtype.name}"


def _body(exported: Exported, given: Sequence[Any]) -> list[str]:
    """The lines of the function for arguments of the given types."""
    lines: list[str] = []
    inputs: list[str] = []
    for p, t in zip(exported.parameters, given, strict=True):
        if not p.type.shape:
            value = f"{p.name}[()]" if isinstance(t, types.Array) else p.name
            inputs.append(value if types.unliteral(t) == _scalar(p.type) else f"__np.{_numpy_name(p.type)}({value})")
            continue
        message = f"{exported.name}: argument '{p.name}' must have the shape {p.type.shape}, got "
        lines.append(f"if {p.name}.shape != {p.type.shape}: raise __ShapeError({message!r}, {p.name}.shape)")
        if t.layout != "C":
            lines.append(f"{p.name} = __np.ascontiguousarray({p.name})")
        inputs.append(p.name)
    arrays = [k for k, t in enumerate(exported.results) if t.shape]
    scalars = [k for k, t in enumerate(exported.results) if not t.shape]
    for k in arrays:
        t = exported.results[k]
        lines.append(f"__r{k} = __np.empty({t.shape}, __np.{_numpy_name(t)})")
    lines.append(f"__out = __invoke({_tuple(inputs)}, {_tuple(f'__r{k}' for k in arrays)})")
    if exported.native.failures:
        lines.append("if __out[0] != 0: __fail(__out[0], __out[1])")
    names = {k: f"__r{k}" for k in arrays} | {k: f"__out[{i + 2}]" for i, k in enumerate(scalars)}
    return [*lines, f"return {_built(exported.structure, names)}"]


def _numpy_name(t: TensorType) -> str:
    return "bool_" if t.dtype.kind == "b" else t.dtype.numpy.name


def _tuple(items: Iterable[str]) -> str:
    return "(" + "".join(f"{item}, " for item in items) + ")"


def _built(structure: Structure, names: dict[int, str]) -> str:
    """The source of a result with this structure."""
    return names[structure] if isinstance(structure, int) else _tuple([_built(s, names) for s in structure])


def _documented(exported: Exported) -> str:
    """The docstring: parameters, results and errors."""
    lines = [f"{exported.name}, compiled for Numba.", "", "Arguments:"]
    lines += [f"    {p.name}: {_expected(p.type)}" for p in exported.parameters]
    lines += ["Returns:", f"    {_built(exported.structure, dict(enumerate(map(_expected, exported.results))))}"]
    if exported.native.failures:
        lines += ["Raises:", *(f"    {f}" for f in exported.native.failures)]
    return "\n".join(lines)


# C functions.

_C_NAMES = {"bool": "bool", "f32": "float", "f64": "double"} | {
    f"{kind}{bits}": f"{'u' if kind == 'u' else ''}int{bits}_t" for kind in "iu" for bits in (8, 16, 32, 64)
}
_FORMS = ("double (double)", "double (double, void *)", "double (int, double *)", "double (int, double *, void *)")


def _form(signature: str) -> str:
    """One of SciPy's forms, in SciPy's spelling. Raises ValueError for others."""
    if not isinstance(signature, str):
        raise TypeError(f"signature must be a string, got {signature!r}")
    for form in _FORMS:
        if signature.replace(" ", "") == form.replace(" ", ""):
            return form
    raise ValueError(f"signature must be one of {', '.join(map(repr, _FORMS))}, got {signature!r}")


class CFunction:
    """A C function pointer to a traced function. It needs neither Python nor the GIL, and any thread may call it.

    address     the function's address, an int
    signature   its C declaration, or SciPy's form of it
    errors      the messages of its errors: a non-zero status n means errors[n - 1]
    ctypes      the function as a ctypes function
    """

    def __init__(self, exported: Exported, form: str | None):
        self.name = exported.name
        self.errors = tuple(map(str, exported.native.failures))
        self.signature = _declaration(exported) if form is None else form
        self._form = form
        self._compiled = _default_form(exported) if form is None else _scipy_form(exported, form)
        self.__doc__ = _documented_for_c(exported, self.signature, form)

    @property
    def address(self) -> int:
        return int(self._compiled.address)

    @property
    def ctypes(self) -> Any:
        return self._compiled.ctypes

    def low_level_callable(self) -> Any:
        """A ``scipy.LowLevelCallable``. Raises TypeError for a function created without ``signature``."""
        if self._form is None:
            raise TypeError(f"SciPy does not support this signature: use cfunc(..., signature={_FORMS[0]!r})")
        from scipy import LowLevelCallable

        return LowLevelCallable(self.ctypes, signature=self._form)

    def __repr__(self) -> str:
        return f"<C function {self.name}: {self.signature}>"


def _declaration(exported: Exported) -> str:
    inputs = [f"const {_C_NAMES[p.type.dtype.short]} *{p.name}" for p in exported.parameters]
    outputs = [f"{_C_NAMES[t.dtype.short]} *{name}" for name, t in zip(_result_names(exported), exported.results, strict=True)]
    return f"int32_t {exported.name}({', '.join(inputs + outputs)})"


def _result_names(exported: Exported) -> list[str]:
    count = len(exported.results)
    return ["out"] if count == 1 else [f"out{k}" for k in range(count)]


def _documented_for_c(exported: Exported, signature: str, form: str | None) -> str:
    if form is not None:
        lines = [f"{exported.name} as {signature}.", "", "NaN stands for an error." if exported.native.failures else ""]
        return "\n".join(lines).strip()
    lines = [signature, "", "Contiguous memory, row by row, that results share with nothing else:"]
    named = [(p.name, p.type) for p in exported.parameters] + list(zip(_result_names(exported), exported.results, strict=True))
    lines += [f"    {name}: {t.dtype.name}, shape {t.shape}" for name, t in named]
    lines += ["Returns 0, or the number of an error:", *(f"    {n}: {f}" for n, f in enumerate(exported.native.failures, 1))]
    return "\n".join(lines if exported.native.failures else [*lines[:-1], "Returns 0."])


def _default_form(exported: Exported) -> Any:
    """A pointer for each parameter, then for each result; returns the status."""
    inputs, outputs = [f"__p{i}" for i in range(len(exported.parameters))], [f"__r{k}" for k in range(len(exported.results))]
    lines = [f"return __invoke({_tuple(inputs)}, {_tuple(outputs)})[0]"]
    function = _compiled(", ".join(inputs + outputs), lines, {"__invoke": _invoke(exported, ())})
    pointers = [types.CPointer(_scalar(t)) for t in (*(p.type for p in exported.parameters), *exported.results)]
    return numba.cfunc(types.int32(*pointers))(function)


def _scipy_form(exported: Exported, form: str) -> Any:
    """A double from a double, or from a vector of doubles; NaN for an error."""
    if len(exported.results) != 1 or exported.results[0].shape or exported.results[0].dtype.kind != "f":
        raise ValueError(f"{exported.name} must return one floating-point scalar for the signature {form!r}")
    vector, data = "int" in form, "void" in form
    inputs, length = _elements(exported, form) if vector else (_numbers(exported, form, ["__x"]), 1)
    lines = [f"if __n != {length}: return __np.nan"] if vector else []
    lines += [f"__out = __invoke({_tuple(inputs)}, ())", "return __np.float64(__out[2]) if __out[0] == 0 else __np.nan"]
    arguments = (["__n", "__x"] if vector else ["__x"]) + ["__data"] * data
    function = _compiled(", ".join(arguments), lines, {"__np": np, "__invoke": _invoke(exported, (0,))})
    given = ([types.intc, types.CPointer(types.float64)] if vector else [types.float64]) + [types.voidptr] * data
    return numba.cfunc(types.float64(*given))(function)


def _elements(exported: Exported, form: str) -> tuple[list[str], int]:
    """The arguments in a vector ``__x``, and its length."""
    shapes = [p.type.shape for p in exported.parameters]
    if len(shapes) == 1 and len(shapes[0]) == 1 and exported.parameters[0].type.dtype.short == "f64":
        return ["__x"], shapes[0][0]
    return _numbers(exported, form, [f"__x[{i}]" for i in range(len(shapes))]), len(shapes)


def _numbers(exported: Exported, form: str, doubles: list[str]) -> list[str]:
    """The arguments for floating-point scalar parameters."""
    kinds = [p.type for p in exported.parameters]
    if len(kinds) != len(doubles) or any(t.shape or t.dtype.kind != "f" for t in kinds):
        wanted = "floating-point scalars, or one vector of float64," if "int" in form else "one floating-point scalar"
        raise ValueError(f"{exported.name} must take {wanted} for the signature {form!r}")
    return [f"__np.{_numpy_name(t)}({x})" for t, x in zip(kinds, doubles, strict=True)]
