"""Docstrings of public functions state shapes, dtypes, errors and the source of formulas, and what they state is so."""

import builtins
import importlib.util
import inspect
import re
from pathlib import Path

import pytest

import tracer
from tracer.ops.contracts import contracts

ROOT = Path(__file__).parent.parent
_spec = importlib.util.spec_from_file_location("reference", ROOT / "docs" / "reference.py")
reference = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reference)

SHAPE = r"[Ss]hape|elementwise|each element|scalar|vector|matri|\bax[ie]s|extent|\([^)]*\b[A-Z]\b[^)]*\)|size|element"
DTYPE = r"dtype|[Ii]nteger|[Ff]loat|[Bb]ool|[Cc]omplex|int64|number"
ERROR = r"[Rr]aise|Error"
# A formula, or an author with a year, or the function that has it.
SOURCE = r"[-+*/^=<>@|]\s|\w\(-?\w|\b(1[6-9]|20)\d\d\b|``\w"
EVERYTHING = dict(reference.everything())
FUNCTIONS = {n: f for n, f in EVERYTHING.items() if not inspect.isclass(f)}


def takes_tensors(function):
    return "Tensor" in str(inspect.signature(function))


def lacking(about, **patterns):
    return [what for what, pattern in patterns.items() if not re.search(pattern, about)]


def test_functions_state_shapes_dtypes_and_errors():
    found = {}
    for name, function in FUNCTIONS.items():
        if takes_tensors(function):
            missing = lacking(inspect.getdoc(function) or "", shape=SHAPE, dtype=DTYPE, error=ERROR)
            if missing:
                found[name] = missing
    assert not found


def test_each_contract_is_about_a_public_function():
    assert [name for name in contracts() if f"tracer.{name}" not in FUNCTIONS] == []


SAMPLES = {
    "bool": tracer.tensor([[True, False], [False, True]]),
    "integer": tracer.tensor([[2, 1], [1, 2]]),
    "floating": tracer.tensor([[0.75, 0.25], [0.25, 0.5]]),
    "complex": tracer.tensor([[0.75 + 0j, 0.25j], [-0.25j, 0.5]]),  # Hermitian and positive definite
}
LIMITS = {"tracer.clamp", "tracer.clip"}  # one of the limits is needed
AXES = {"dropout1d": 3, "dropout2d": 4, "dropout3d": 5, "instance_norm": 3}  # for samples with channels


def statement(name):
    return " ".join((inspect.getdoc(FUNCTIONS[name]) or "").split())


def needed(name):
    """The parameters that a call must give, but for an axis; None unless the first one is a tensor."""
    parameters = list(inspect.signature(FUNCTIONS[name]).parameters.values())
    if not parameters or str(parameters[0].annotation) != "Tensor":
        return None
    return [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


UNARY = [n for n in FUNCTIONS if "A result like ``input``. Takes" in statement(n) and len(needed(n) or ()) == 1]
ALONG = [
    n
    for n in FUNCTIONS
    if "An axis out of range raises IndexError" in statement(n)
    and n != "tracer.repeat_interleave"  # needs numbers
    and "dim" in inspect.signature(FUNCTIONS[n]).parameters
    and len({*(needed(n) or ()), "dim"}) == 2
]


@pytest.mark.filterwarnings("ignore:Implicit dimension")
@pytest.mark.parametrize("name", UNARY)
def test_functions_of_one_tensor_take_the_dtypes_that_they_state(name):
    function, about, short = FUNCTIONS[name], statement(name), name.rpartition(".")[2]
    stated = about[about.index("Takes ") :]
    taken, _, refused = stated.partition(".")[0].partition(";")
    raised = tuple(getattr(builtins, e) for e in re.findall(r"\b\w+Error\b", refused))
    for kind, matrix in SAMPLES.items():
        sample = matrix.expand([2] * AXES.get(short, 2))
        more = {"max": sample} if name in LIMITS else {}
        if "any dtype" in taken or kind in taken:
            result = function(sample, **more)
            result = result if isinstance(result, tracer.Tensor) else result[0]
            assert result.shape == sample.shape
            if "dtype is kept" in stated and not ("give real" in stated and kind == "complex"):
                assert result.dtype is sample.dtype, kind
            if "give the default dtype" in stated and kind in ("integer", "bool"):
                assert result.dtype is tracer.get_default_dtype(), kind
        elif raised:
            with pytest.raises(raised):
                function(sample, **more)


@pytest.mark.parametrize("name", ALONG)
def test_axes_out_of_range_raise_index_errors(name):
    with pytest.raises(IndexError):
        FUNCTIONS[name](SAMPLES["floating"], dim=97)


def test_many_statements_are_checked():
    assert len(UNARY) > 120 and len(ALONG) > 40, (len(UNARY), len(ALONG))


# Modules with formulas that are somebody's, or are not obvious: each docstring has the formula, an author with a year, or the
# function that states it.
FORMULAS = """
    nn.functional.activation nn.functional.attention nn.functional.loss nn.functional.margin nn.functional.normalization
    nn.modules.activation nn.modules.loss nn.modules.normalization nn.init optim special
"""
WITHOUT = {  # no formula to state
    "tracer.nn.functional.one_hot", "tracer.nn.init.fans",
    "tracer.optim.lr_scheduler.ChainedScheduler", "tracer.optim.lr_scheduler.SequentialLR",
}  # fmt: skip


def test_formulas_are_stated_or_have_a_source():
    found = {}
    for name, thing in EVERYTHING.items():
        home = (thing.__module__ if inspect.isclass(thing) else inspect.unwrap(thing).__module__).removeprefix("tracer.")
        about = (inspect.getdoc(thing) or "").partition("\n\nShapes:")[0]
        if home.startswith(tuple(FORMULAS.split())) and not name.endswith("_") and not re.search(SOURCE, about):
            found[name] = about
    assert found.keys() == WITHOUT, found
