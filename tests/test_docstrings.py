"""Docstrings of public functions and classes state arguments, shapes, dtypes, errors and the source of formulas, and what they
state is so.
"""

import builtins
import importlib.util
import inspect
import re
import warnings
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
OF_CLASS = SOURCE.removesuffix(r"|``\w") + r"|([Ss]ee|as in|of|with) ``([A-Z]|nn)"  # arguments, too, are code
EVERYTHING = dict(reference.everything())
FUNCTIONS = {n: f for n, f in EVERYTHING.items() if not inspect.isclass(f)}
CLASSES = {n: f for n, f in EVERYTHING.items() if inspect.isclass(f)}


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


# Classes.

LAYERS = [c for c in CLASSES.values() if issubclass(c, tracer.nn.Module) and c.forward is not tracer.nn.Module.forward]
# Any argument will do.
NEVER_RAISE = {tracer.dtype, tracer.layout, tracer.no_grad, tracer.enable_grad, tracer.inference_mode}


def arguments(cls):
    """The parameters of a constructor that users give."""
    if issubclass(cls, BaseException):
        return []
    found = inspect.signature(cls).parameters.values()
    return [p for p in found if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and p.name[0] != "_"]


def items(about):
    """The sentences, and list items, of a docstring."""
    return re.split(r"(?<=[.:])\s+(?=[A-Z`])|\n- ", about)


def test_classes_state_arguments():
    """Each argument is named, and what None means."""
    found = {}
    for name, cls in CLASSES.items():
        about = inspect.getdoc(cls) or ""
        for p in arguments(cls):
            if f"``{p.name}``" not in about:
                found[f"{name}.{p.name}"] = "not named"
            elif p.default is None and not re.search(r"\bNone\b|no effect|older form", about):
                found[f"{name}.{p.name}"] = "no meaning of None"
    assert not found


def test_classes_state_errors_and_layers_also_shapes_and_dtypes():
    found = {}
    for name, cls in CLASSES.items():
        tensors = cls in LAYERS or issubclass(cls, (tracer.distributions.Distribution, tracer.distributions.Transform))
        patterns = {"shape": SHAPE, "dtype": DTYPE} if tensors else {}
        patterns |= {"dtype": DTYPE} if issubclass(cls, tracer.optim.Optimizer) else {}
        patterns |= {} if cls in NEVER_RAISE or issubclass(cls, BaseException) else {"error": ERROR}
        missing = lacking(inspect.getdoc(cls) or "", **patterns)
        if missing:
            found[name] = missing
    assert not found


def test_what_classes_share_is_not_repeated():
    """The sentences of the tables are in the docstring once."""
    found = {}
    for name, cls in CLASSES.items():
        said = [one for one in items(inspect.getdoc(cls) or "") if len(one) > 60]
        if len(set(said)) < len(said):
            found[name] = said
    assert not found


# Calls that raise. The class's docstring, or that of the class that it names, states the exception.
RAISING = """
nn.Hardtanh(1.0, 0.0) | AssertionError
nn.CELU(0.0)(t(3)) | RuntimeError
nn.GLU()(t(3)) | RuntimeError
nn.GELU("x")(t(3)) | RuntimeError
nn.Softshrink(-1.0)(t(3)) | RuntimeError
nn.Softmax2d()(t(3)) | ValueError
nn.MaxPool2d(2, padding=2)(t(1,1,4,4)) | RuntimeError
nn.MaxPool1d(2, padding=2)(t(1,1,4)) | RuntimeError
nn.MaxUnpool1d(2)(t(1,1,2), tensor([[[0,9]]])) | RuntimeError
nn.AvgPool1d(2, padding=2)(t(1,1,4)) | RuntimeError
nn.AvgPool2d(2, padding=2)(t(1,1,4,4)) | RuntimeError
nn.AvgPool2d(2, divisor_override=0)(t(1,1,4,4)) | RuntimeError
nn.FractionalMaxPool2d(2) | ValueError
nn.FractionalMaxPool2d(2, output_ratio=2.0) | ValueError
nn.Fold((3,3),2)(t(1,4,5)) | RuntimeError
nn.Upsample()(t(1,1,4)) | ValueError
nn.Upsample(2, 2)(t(1,1,4)) | ValueError
nn.Upsample(2, align_corners=True)(t(1,1,4)) | ValueError
nn.BatchNorm1d(2)(t(2,2,2,2)) | ValueError
nn.BatchNorm2d(2)(t(2,2)) | ValueError
nn.InstanceNorm1d(3, affine=True)(t(2,2,2)) | ValueError
nn.GroupNorm(2, 3) | ValueError
nn.Conv1d(3, 4, 1, groups=2) | ValueError
nn.Conv1d(3, 4, 1, padding="x") | ValueError
nn.Conv1d(3, 4, 1, padding_mode="x") | ValueError
nn.ConvTranspose1d(3, 4, 1, padding_mode="reflect") | ValueError
nn.Dropout(2.0) | ValueError
nn.Identity()() | TypeError
nn.Bilinear(0, 1, 1) | ValueError
nn.Flatten(5)(t(2,2)) | IndexError
nn.Embedding(3, 2, padding_idx=5) | AssertionError
nn.Embedding(3, 2)(tensor([5])) | IndexError
nn.EmbeddingBag(3, 2)(tensor([[5]])) | IndexError
nn.SmoothL1Loss(beta=-1.0)(t(2), t(2)) | RuntimeError
nn.HuberLoss(delta=0.0)(t(2), t(2)) | RuntimeError
nn.GaussianNLLLoss()(t(2), t(2),-t(2)) | ValueError
nn.TripletMarginLoss(-1.0)(t(2,2), t(2,2), t(2,2)) | ValueError
nn.TripletMarginWithDistanceLoss(margin=-1.0)(t(2,2), t(2,2), t(2,2)) | ValueError
nn.BCELoss()(t(2)+2,t(2)) | RuntimeError
nn.MultiMarginLoss(3) | ValueError
nn.MultiMarginLoss(weight=t(2,2)) | AssertionError
nn.CrossEntropyLoss(label_smoothing=2.0)(t(2,2),tensor([0,1])) | RuntimeError
nn.L1Loss(reduction="x")(t(2), t(2)) | ValueError
nn.KLDivLoss(reduction="x")(t(2), t(2)) | ValueError
nn.CrossEntropyLoss(reduction="x")(t(2,2),tensor([0,1])) | ValueError
nn.CTCLoss(reduction="x")(t(2,1,2),tensor([[1]]),tensor([2]),tensor([1])) | ValueError
nn.LinearCrossEntropyLoss(2,2,reduction="x")(t(2,2),tensor([0,1])) | ValueError
nn.AdaptiveLogSoftmaxWithLoss(4, 10, [5, 3]) | ValueError
nn.AdaptiveLogSoftmaxWithLoss(4, 10, [5])(t(2,4), tensor([0,11])) | RuntimeError
nn.LinearCrossEntropyOptions(x=1) | TypeError
nn.Sequential(3) | TypeError
nn.Sequential(lin)[3] | IndexError
nn.ModuleList(3) | TypeError
nn.ModuleList([lin])[3] | IndexError
nn.ModuleList([lin])(1) | NotImplementedError
nn.ModuleDict({"a": 3}) | TypeError
nn.ModuleDict({"a.b": lin}) | KeyError
nn.ModuleDict({"a": lin})["b"] | KeyError
nn.ModuleDict({"a": lin})(1) | NotImplementedError
nn.ParameterList(3) | TypeError
nn.ParameterList([t(2)])[3] | IndexError
nn.ParameterDict(3) | TypeError
nn.ParameterDict({})["a"] | KeyError
nn.LSTM(2, 0) | ValueError
nn.LSTM(2, 3, proj_size=4) | ValueError
nn.LSTM(2, 3, dropout=2.0) | ValueError
nn.GRU(2, 3)(t(2)) | ValueError
nn.GRU(2, 3)(t(2, 4)) | RuntimeError
nn.RNN(2, 3, nonlinearity="x") | ValueError
nn.RNNCell(2, 3, nonlinearity="x")(t(2)) | RuntimeError
nn.LSTMCell(2, 3)(t(1,1,2)) | ValueError
nn.GRUCell(2, 3)(t(1,5)) | RuntimeError
nn.MultiheadAttention(3, 2) | AssertionError
nn.MultiheadAttention(0, 2) | ValueError
nn.TransformerEncoderLayer(3, 2) | AssertionError
nn.TransformerEncoderLayer(4, 2, activation="x") | RuntimeError
nn.TransformerDecoderLayer(4, 2, activation="x") | RuntimeError
nn.Transformer(4, 2, 1, 1, 4)(t(2,1,5), t(2,1,5)) | RuntimeError
nn.Parameter(tensor([1])) | RuntimeError
nn.Buffer(3) | TypeError
nn.UninitializedParameter().shape | RuntimeError
nn.Module()(1) | NotImplementedError
nn.LazyConv1d(2, 1)(t(2)) | RuntimeError
nn.LazyBatchNorm1d()(t(2)) | ValueError
nn.PixelShuffle(3)(t(1,4,2,2)) | RuntimeError
nn.ChannelShuffle(3)(t(1,4,2,2)) | RuntimeError
nn.ReflectionPad1d(5)(t(1,1,3)) | RuntimeError
nn.CircularPad1d(5)(t(1,1,3)) | RuntimeError
nn.ZeroPad1d(-5)(t(1,1,3)) | RuntimeError
nn.Unflatten(0, (2, 2))(t(3)) | RuntimeError
nn.Linear(2, 2)(t(3)) | RuntimeError
nn.Linear(-2, 2) | RuntimeError
nn.PReLU(3)(t(2,2)) | RuntimeError
nn.LocalResponseNorm(2)(t(2)) | ValueError
nn.AdaptiveAvgPool1d(2)(t(2)) | RuntimeError
nn.LayerNorm(3)(t(2)) | RuntimeError
optim.SGD([]) | ValueError
optim.SGD([3]) | TypeError
optim.SGD(t(2)) | TypeError
optim.SGD(lin.parameters(), -1.0) | ValueError
optim.SGD(lin.parameters(), 1.0, x=2) | TypeError
optim.SGD(lin.parameters(), nesterov=True) | ValueError
optim.Adam(lin.parameters(), betas=(2, .9)) | ValueError
optim.Rprop(lin.parameters(), etas=(2, .9)) | ValueError
optim.Muon([t(2)]) | ValueError
optim.Adafactor(lin.parameters(), d=0.0) | ValueError
optim.LBFGS(lin.parameters()).step() | TypeError
optim.LBFGS([{"params": [t(2)]}, {"params": [t(3)]}]) | ValueError
S.StepLR(3, 1) | TypeError
S.StepLR(opt(), 1, last_epoch=3) | KeyError
S.ConstantLR(opt(), 2.0) | ValueError
S.LinearLR(opt(), 2.0) | ValueError
S.LambdaLR(opt(), [1, 2]) | ValueError
S.CosineAnnealingWarmRestarts(opt(), 0) | ValueError
S.CyclicLR(opt(), 0.1, 1.0, mode="x") | ValueError
S.CyclicLR(optim.Adadelta(lin.parameters()), 0.1, 1.0) | ValueError
S.OneCycleLR(opt(), 1.0) | ValueError
S.OneCycleLR(opt(), 1.0, 10, anneal_strategy="x") | ValueError
S.ChainedScheduler([]) | ValueError
S.SequentialLR(opt(), [], []) | ValueError
S.ReduceLROnPlateau(opt(), factor=2.0) | ValueError
S.ReduceLROnPlateau(opt(), "x") | ValueError
D.Normal(0., -1.) | ValueError
D.Normal(t(2), t(3)) | RuntimeError
D.Normal("x", 1.) | ValueError
D.Normal(0, 1).log_prob(3) | ValueError
D.Bernoulli() | ValueError
D.Bernoulli(2.) | ValueError
D.Categorical(tensor(1.)) | ValueError
D.Dirichlet(tensor(1.)) | ValueError
D.Uniform(1., 0.) | ValueError
D.LKJCholesky(1) | ValueError
D.MultivariateNormal(tracer.zeros(2)) | ValueError
D.Wishart(1, tracer.eye(3)) | ValueError
D.Independent(D.Normal(0.,1.), 2) | ValueError
D.TransformedDistribution(D.Normal(0.,1.), [3]) | ValueError
D.MixtureSameFamily(3, 4) | ValueError
D.VonMises(0., 1.).rsample() | NotImplementedError
D.ExpTransform(3) | ValueError
D.ReshapeTransform((2,), (3,)) | ValueError
D.CorrCholeskyTransform().forward_shape((2,)) | ValueError
D.StackTransform([D.ExpTransform()])(t(3)) | AssertionError
D.CatTransform([D.ExpTransform()])(t(3)) | RuntimeError
D.Transform()(1) | NotImplementedError
U.DataLoader([1], num_workers=-1) | ValueError
U.DataLoader([1], sampler=[0], shuffle=True) | ValueError
U.DataLoader([1], batch_size=0) | ValueError
U.BatchSampler([1], 0, True) | ValueError
U.RandomSampler([]) | ValueError
U.RandomSampler([1], num_samples=0) | ValueError
U.WeightedRandomSampler([1], 0) | ValueError
U.DistributedSampler([1]) | RuntimeError
U.DistributedSampler([1], 2, 3) | ValueError
U.TensorDataset(t(2), t(3)) | AssertionError
U.ConcatDataset([]) | AssertionError
U.StackDataset() | ValueError
U.Dataset()[0] | NotImplementedError
list(U.ChainDataset([[1]])) | AssertionError
list(U.Sampler()) | NotImplementedError
U.SequentialSampler(3).__len__() | TypeError
U.Subset([1], [3])[0] | IndexError
tracer.device("x") | RuntimeError
tracer.device(3) | TypeError
tracer.Generator("cuda") | RuntimeError
tracer.Generator(2**70) | ValueError
tracer.set_grad_enabled(3) | TypeError
tracer.Size(3) | TypeError
tracer.FloatTensor("x") | TypeError
next(iter(U.IterableDataset())) | NotImplementedError
nn.ReflectionPad1d(-5)(t(1, 1, 3)) | RuntimeError
nn.CircularPad1d(1)(t(1)) | NotImplementedError
"""
ELSEWHERE = {  # the facts are those of another class
    "LazyConv1d": "Conv1d", "LazyBatchNorm1d": "BatchNorm1d",
}  # fmt: skip


@pytest.mark.parametrize("line", RAISING.strip().splitlines())
def test_classes_raise_what_they_state(line):
    call, expected = line.split(" | ")
    linear = tracer.nn.Linear(2, 2)
    names = {
        "tracer": tracer, "nn": tracer.nn, "optim": tracer.optim, "D": tracer.distributions, "S": tracer.optim.lr_scheduler,
        "U": tracer.utils.data, "t": tracer.rand, "lin": linear, "tensor": tracer.tensor,
        "opt": lambda: tracer.optim.SGD(linear.parameters(), momentum=0.9),
    }  # fmt: skip
    with warnings.catch_warnings(), pytest.raises(getattr(builtins, expected)) as raised:
        warnings.simplefilter("ignore")
        eval(call, names)
    assert type(raised.value).__name__ == expected
    cls = eval(re.search(r"\b(?:nn|optim|D|S|U|tracer)\.([A-Z]\w*|device|set_grad_enabled)", call)[0], names)
    about = inspect.getdoc(getattr(tracer.nn, ELSEWHERE.get(cls.__name__, ""), cls))
    assert expected in about, about


# Modules with formulas that are somebody's, or are not obvious: each docstring has the formula, an author with a year, or the
# function that states it.
FORMULAS = """
    nn.functional.activation nn.functional.attention nn.functional.ctc nn.functional.loss nn.functional.margin
    nn.functional.normalization
    nn.modules.activation nn.modules.loss nn.modules.normalization nn.modules.convolution nn.modules.dropout
    nn.modules.recurrent nn.modules.transformer nn.init optim special
    distributions.continuous distributions.gamma distributions.discrete distributions.bounded distributions.matrices
    distributions.multivariate distributions.relaxed distributions.composed distributions.transforms
"""
WITHOUT = {  # no formula to state
    "tracer.nn.functional.one_hot", "tracer.nn.init.fans",
    "tracer.nn.RNNCellBase", "tracer.distributions.Independent", "tracer.distributions.CatTransform",
    "tracer.distributions.StackTransform", "tracer.optim.lr_scheduler.LRScheduler",
    "tracer.optim.lr_scheduler.ChainedScheduler", "tracer.optim.lr_scheduler.SequentialLR",
}  # fmt: skip


def test_formulas_are_stated_or_have_a_source():
    found = {}
    for name, thing in EVERYTHING.items():
        home = (thing.__module__ if inspect.isclass(thing) else inspect.unwrap(thing).__module__).removeprefix("tracer.")
        about = re.split(r"\n\n(?:Shapes:|- )", inspect.getdoc(thing) or "")[0]
        source = OF_CLASS if inspect.isclass(thing) else SOURCE
        if home.startswith(tuple(FORMULAS.split())) and not name.endswith("_") and not re.search(source, about):
            found[name] = about
    assert found.keys() == WITHOUT, found
