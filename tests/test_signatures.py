"""Parameters have PyTorch's names, and every argument is checked: errors for wrong arguments name them."""

from __future__ import annotations

import inspect
import json
import opcode
import random
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tracer
from tracer.ops.offering import accepted, functions, is_offered, parameters

RECORDED: dict[str, list[str]] = json.loads((Path(__file__).parent / "signatures.json").read_text())
# Arguments about memory, devices and compilation without meaning here, and those that only PyTorch's own code uses.
IGNORED = {
    "capturable", "device", "differentiable", "foreach", "fused", "generator", "has_torch_function", "layout", "memory_format",
    "names", "non_blocking", "out", "out_dtype", "pin_memory", "sparse_grad",
}  # fmt: skip
METHODS = ("Tensor", "Generator", "Module", "Optimizer", "LRScheduler")


def found(path: str) -> Any:
    """The object with a dotted name; None if there is none, or it is not a function or class."""
    thing: Any = tracer
    for part in path.split("."):
        thing = inspect.getattr_static(thing, part, None) if inspect.isclass(thing) else getattr(thing, part, None)
    return thing if callable(thing) else None


def names_of(path: str) -> set[str]:
    """The recorded names of parameters, in all overloads."""
    names = {p.partition("=")[0] for row in RECORDED[path] for p in _split(row)}
    return {n for n in names if n and n[0] not in "*_"} - IGNORED


def _split(row: str) -> list[str]:
    parts: list[str] = []
    for part in row.split(", "):
        if parts and (parts[-1].count("[") > parts[-1].count("]") or parts[-1].count("(") > parts[-1].count(")")):
            parts[-1] += ", " + part
        else:
            parts.append(part)
    return parts


def taken(thing: Any) -> set[str]:
    """The names of the arguments that an object accepts."""
    names = set(inspect.signature(thing).parameters)
    function = thing.__init__ if inspect.isclass(thing) else thing
    while function is not None and not is_offered(function):  # an in-place method stands for the function that it wraps
        function = getattr(function, "__wrapped__", None)
    return names | (accepted(function) if function is not None else set())


HERE = [path for path in RECORDED if found(path) is not None]
# Functions with another meaning here, or arguments of engines that do not exist here; decompositions whose schemas number
# operands.
OTHER = {
    "lu_solve", "nn.utils.rnn.invert_permutation", "orgqr", "ormqr", "triangular_solve", "Tensor.lu_solve",
    "Tensor.orgqr", "Tensor.ormqr",
    "Tensor.triangular_solve",
    "trace", "compile", "load", "save", "enable_grad", "autograd.enable_grad", "autograd.graph.RemovableHandle", "nn.RNNCellBase",  # noqa: E501
    "nn.Hardtanh", "nn.Module.register_forward_hook", "nn.functional.elu_", "utils.data.DataLoader", "Tensor.dim_order",
    "Tensor.qr",
}  # fmt: skip


@pytest.mark.parametrize("path", [path for path in HERE if path not in OTHER])
def test_parameters_have_pytorchs_names(path: str) -> None:
    thing = found(path)
    try:
        ours = taken(thing)
    except ValueError:
        return
    missing = names_of(path) - ours
    if any(p.kind is p.VAR_KEYWORD for p in inspect.signature(thing).parameters.values()):
        return
    assert not missing, (sorted(missing), RECORDED[path])


WRONG = {
    "a list": [1.0, "a"],
    "a number": 1.5,
    "a string": "a",
    "an array": np.ones(2),
    "a dtype": tracer.int8,
    "a type": dict,
    "an object": object(),
}
OFFERED = sorted(functions(), key=lambda f: (f.__module__, f.__name__))


@pytest.mark.parametrize("function", OFFERED, ids=lambda f: f"{f.__module__}.{f.__name__}")
def test_arguments_that_do_not_fit_are_named(function: Any) -> None:
    """Every parameter gets values of other kinds: TypeError, or an error about missing arguments."""
    for name, one in parameters(function).items():
        for what, wrong in WRONG.items():
            fits = True
            try:
                one.read(wrong, "f", None)
            except TypeError:
                fits = False
            if fits or name == "self":
                continue
            with pytest.raises(TypeError, match=rf"argument '{name.rstrip('_')}' must be") as caught:
                function(**{name: wrong})
            assert not any(word in str(caught.value) for word in ("._data", "has no attribute", "object is not")), what


# Values of the right kinds that fit few functions. They are made anew for each call: functions may change them.
VALUES = """
tensor([[1.0, -2.0, 0.5], [0.0, 3.0, 1.0]]) ; tensor([1.0, 2.0, 3.0]) ; tensor(2.0) ; tracer.ones(2, 2, 3) ; tracer.zeros(0, 3)
tracer.ones(1, 2, 3, 3) ; tensor([[1, 0, 2], [3, -1, 7]]) ; tensor([0, 1]) ; tensor(3) ; tensor([True, False])
tensor([1 + 2j])
tracer.ones(2, 2, dtype=tracer.float64) ; tensor([-7, 7]) ; 0 ; 1 ; 2 ; -1 ; 7 ; -7 ; 0.5 ; -1.5 ; float("nan") ; 2 + 1j ; True
False ; "x" ; "mean" ; "reflect" ; [] ; [0] ; [7] ; [0, 0] ; [1, 2] ; [-1, -1] ; [2, 2, 2] ; [0.5, 2.0] ; None ; tracer.float32
tracer.int64 ; tracer.complex64 ; [tensor([1.0, 2.0]), tensor([3.0])] ; [tracer.ones(2, 2)]
"""
MADE = [compile(text.strip(), "<value>", "eval") for text in VALUES.replace("\n", " ; ").split(" ; ") if text.strip()]
# Functions that change the state of the process, or take as many steps as a number says.
WITH_EFFECTS = ("set_", "manual_seed", "seed", "save", "load", "register_", "fork_", "polynomial", "use_", "compile", "share_")
DRAWS = 20  # calls of each function


def value(code: Any) -> Any:
    return eval(code, {"tracer": tracer, "tensor": tracer.tensor, "float": float})


def raised_by_a_statement(error: BaseException) -> bool:
    """Whether this package raised an exception, and not a built-in function or NumPy."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    assert last is not None
    instruction = last.tb_frame.f_code.co_code[last.tb_lasti]
    own = last.tb_frame.f_globals["__name__"].startswith("tracer.")
    return own and instruction in (opcode.opmap["RAISE_VARARGS"], opcode.opmap["RERAISE"])


@pytest.mark.parametrize("module", sorted({f.__module__ for f in OFFERED}))
def test_values_that_do_not_fit_are_named(module: str) -> None:
    """What NumPy and Python say of a value inside a function is not all that users read."""
    unnamed = {}
    for function in OFFERED:
        name = function.__name__
        if function.__module__ != module or any(part in name for part in WITH_EFFECTS) or name == "__init__":
            continue
        rng = random.Random(f"{module}.{name}")
        needed = inspect.signature(function).parameters
        fit = {p: [c for c in MADE if fits(one, value(c))] for p, one in parameters(function).items() if p != "out"}
        for _ in range(DRAWS):
            chosen = [
                p for p in fit if fit[p] and (p not in needed or needed[p].default is needed[p].empty or rng.random() < 0.3)
            ]
            arguments = {p: value(rng.choice(fit[p])) for p in chosen}
            try:
                with warnings.catch_warnings(action="ignore"):
                    function(**arguments)
            except Exception as e:
                if not raised_by_a_statement(e):
                    unnamed[name] = f"{type(e).__name__}: {e}", arguments
    assert not unnamed


def fits(one: Any, given: Any) -> bool:
    try:
        one.read(given, "f", None)
    except TypeError:
        return False
    return True


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: tracer.ones(2).repeat_interleave(dim=97), TypeError, "'dim' needs the argument 'repeats'"),
        (lambda: tracer.repeat_interleave(tracer.ones(2)), NotImplementedError, "not implemented for 'Float'"),
        (lambda: tracer.repeat_interleave(tracer.ones(2, 2)), RuntimeError, "only accept 1D vector"),
        (lambda: tracer.trapz(tracer.tensor(1.0)), IndexError, r"trapz\(\): the arguments \(Tensor of shape \[\]\) do not fit"),
    ],
)
def test_messages_about_values(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()


X = tracer.ones(2, 3)
FUNCTIONS: list[tuple[str, Any, str]] = [
    ("exp", lambda: tracer.exp([1.0]), "exp(): argument 'input' (position 1) must be Tensor, not list"),
    ("exp of a number", lambda: tracer.exp(1.0), "exp(): argument 'input' (position 1) must be Tensor, not float"),
    ("add", lambda: tracer.add(X, np.ones(3)), "add(): argument 'other' (position 2) must be Tensor, not numpy.ndarray"),
    ("exponential of a number", lambda: tracer.exp(1), "exp(): argument 'input' (position 1) must be Tensor, not int"),
    ("alpha", lambda: tracer.add(X, 1, alpha="a"), "add(): argument 'alpha' must be Number, not str"),
    (
        "linear",
        lambda: tracer.nn.functional.linear([1.0], X),
        "linear(): argument 'input' (position 1) must be Tensor, not list",
    ),
    (
        "module",
        lambda: tracer.nn.Linear(2, 2)(np.ones((1, 2))),
        "argument 'input' (position 1) must be Tensor, not numpy.ndarray",
    ),
    ("embedding", lambda: tracer.nn.Embedding(2, 2)(1), "embedding(): argument 'input' (position 1) must be Tensor, not int"),
    ("size", lambda: tracer.zeros([2, "a"]), "zeros(): argument 'size' (position 1) must be tuple of ints"),
    ("dtype", lambda: tracer.zeros(2, dtype="float32"), "zeros(): argument 'dtype' must be tracer.dtype, not str"),
    ("cat", lambda: tracer.cat([X, 1]), "cat(): argument 'tensors' (position 1) must be tuple of Tensors"),
    ("method", lambda: X.transpose("a", 1), "argument 'dim0'"),
    ("reshape", lambda: X.reshape("a"), "reshape(): argument 'shape' (position 2) must be tuple of ints, not str"),
    ("keepdim", lambda: X.sum(0, keepdim=1), "sum(): argument 'keepdim' must be bool, not int"),
    ("dim", lambda: X.softmax(1.0), "softmax(): argument 'dim' (position 2) must be int, not float"),
    ("missing", lambda: tracer.exp(), "exp() missing 1 required positional argument: 'input'"),
    ("unexpected", lambda: tracer.exp(X, foo=1), "exp() got an unexpected keyword argument 'foo'"),
    ("constructor", lambda: tracer.nn.Linear("a", 1), "Linear(): argument 'in_features' (position 1) must be int, not str"),
    ("setting", lambda: tracer.nn.Softmax("a"), "Softmax(): argument 'dim' (position 1) must be int, not str"),
    ("optimizer", lambda: tracer.optim.SGD([X], "a"), "SGD(): argument 'lr' (position 2) must be"),
    ("full", lambda: tracer.full((2,), [1, 2]), "full(): argument 'fill_value' (position 2) must be Number, not list"),
    ("copy", lambda: X.copy_([1]), "copy_(): argument 'other'"),
]


@pytest.mark.parametrize(("call", "words"), [row[1:] for row in FUNCTIONS], ids=[row[0] for row in FUNCTIONS])
def test_words(call: Any, words: str) -> None:
    with pytest.raises(TypeError) as caught:
        call()
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "call",
    [
        lambda n: tracer.zeros(n(3)).shape == (3,),
        lambda n: tracer.zeros(n(2), n(3)).shape == (2, 3),
        lambda n: tracer.ones((n(2), n(3))).shape == (2, 3),
        lambda n: tracer.full((n(2),), n(7)).tolist() == [7, 7],
        lambda n: tracer.arange(n(3)).tolist() == [0, 1, 2],
        lambda n: X.sum(dim=n(0)).shape == (3,),
        lambda n: X.sum((n(0), n(1))).shape == (),
        lambda n: X.reshape(n(3), n(2)).shape == (3, 2),
        lambda n: X.permute(n(1), n(0)).shape == (3, 2),
        lambda n: X.repeat(n(2), n(1)).shape == (4, 3),
        lambda n: X[n(0), n(1) :].shape == (2,),
        lambda n: tracer.nn.Linear(n(4), n(2)).weight.shape == (2, 4),
        lambda n: tracer.nn.Conv2d(n(1), n(2), n(3)).weight.shape == (2, 1, 3, 3),
        lambda n: tracer.nn.functional.one_hot(tracer.tensor([0, 1]), n(3)).shape == (2, 3),
        lambda n: X.unsqueeze(n(-1)).shape == (2, 3, 1),
        lambda n: len(X.split(n(1), dim=n(1))) == 3,
        lambda n: tracer.randn(n(2), n(2)).shape == (2, 2),
        lambda n: tracer.topk(X, n(2), n(1)).values.shape == (2, 2),
    ],
)
@pytest.mark.parametrize("n", [np.int64, np.int32, np.uint8, np.array, tracer.tensor], ids=lambda n: n.__name__)
def test_whole_numbers_of_numpy_and_tensors_are_ints(call: Any, n: Any) -> None:
    if n is np.array:
        n = lambda v: np.array(v)[()]
    if n is np.uint8:
        n = lambda v: np.int8(v)
    assert call(n)
