"""PyTorch's samples of modules (``module_db``): the same construction, state, results, gradients and ``repr``."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import torch

import tracer

from .check import Wrong, compare, cotangent, widened
from .convert import array, fresh, given, ours, tensors
from .run import Job, empty_result, spread

# Equal up to rounding errors of long sums.
LENIENT = {
    "nn.CTCLoss",
    "nn.GRU",
    "nn.Transformer",
    "nn.TransformerEncoder",
    "nn.TransformerEncoderLayer",
    "nn.TransformerDecoderLayer",
}
FUNCTIONS = {torch.relu: "relu", torch.nn.functional.relu: "relu", torch.nn.functional.gelu: "gelu"}


def _class(name: str, lib: Any) -> Any:
    for part in name.split("."):
        lib = getattr(lib, part, None)
    return lib


def _arguments(x: Any, made: list) -> Any:
    """Converted arguments, including functions and modules."""
    if isinstance(x, torch.nn.Module):
        raise LookupError(f"a {type(x).__name__} as an argument")
    if callable(x) and x in FUNCTIONS:
        return getattr(tracer.nn.functional, FUNCTIONS[x])
    if isinstance(x, (list, tuple)):
        return type(x)(_arguments(item, made) for item in x)
    if isinstance(x, dict):
        return {key: _arguments(value, made) for key, value in x.items()}
    if isinstance(x, torch.device):
        return str(x)
    return ours(x, made)


def build(
    name: str, theirs: torch.nn.Module, args: tuple, kwargs: dict, dtype: torch.dtype, inputs: tuple | None = None
) -> tracer.nn.Module:
    """The equivalent module with the same arguments and state. A lazy one is first called with ``inputs``."""
    if name == "nn.TransformerEncoder":
        layer = theirs.layers[0]
        mine_layer = tracer.nn.TransformerEncoderLayer(
            layer.self_attn.embed_dim,
            layer.self_attn.num_heads,
            layer.linear1.out_features,
            layer.dropout.p,
            _arguments(layer.activation, []),
            layer.norm1.eps,
            batch_first=layer.self_attn.batch_first,
            norm_first=layer.norm_first,
            bias=layer.linear1.bias is not None,
        )
        mine = tracer.nn.TransformerEncoder(mine_layer, theirs.num_layers)
    else:
        mine = _class(name, tracer)(*_arguments(args, []), **_arguments(kwargs, []))
    mine.to(getattr(tracer, str(dtype).split(".")[-1]))
    if inputs is not None:
        mine(*inputs)
    state = {key: tracer.tensor(array(value)) for key, value in theirs.state_dict().items()}
    found = list(mine.state_dict())
    if found != list(state):
        raise Wrong(f"state_dict has {found} instead of {list(state)}")
    mine.load_state_dict(state)
    if repr(mine) != repr(theirs):
        raise Wrong(f"repr is {repr(mine)!r:.70} instead of {repr(theirs)!r:.70}")
    if mine.training != theirs.training:
        mine.train(theirs.training)
    return mine


def _without_dropout(module: Any) -> None:
    """Disables dropout, because both draw different random numbers."""
    for m in module.modules():
        if hasattr(m, "dropout") and isinstance(m.dropout, float):
            m.dropout = 0.0
        if hasattr(m, "p") and type(m).__name__.startswith("Dropout"):
            m.p = 0.0


class Skipped(Exception):
    """PyTorch raises."""


WIDER = {torch.float16: torch.float32, torch.bfloat16: torch.float32, torch.float32: torch.float64}


class _Wide:
    """PyTorch's results for a sample in the next wider type, None for float64; computed on first use."""

    def __init__(self, theirs: torch.nn.Module, sample: Any, dtype: torch.dtype):
        self._module, self._inputs, self._dtype = copy.deepcopy(theirs), sample.forward_input, dtype
        self._found: tuple[list[Any], list[Any]] | None = None

    def _all(self) -> tuple[list[Any], list[Any]]:
        if self._found is None:
            wide = WIDER[self._dtype]
            module = self._module.to(wide)
            args, kwargs = (widened(fresh(x), {self._dtype: wide}) for x in (self._inputs.args, self._inputs.kwargs))
            outs = tensors(module(*args, **kwargs), torch.Tensor)
            for k, t in enumerate([t for t in outs if t.requires_grad]):
                seed = given(cotangent(tuple(t.shape), str(self._dtype).split(".")[-1], k))
                t.backward(seed.to(wide), retain_graph=True)
            followed = [t for t in tensors([args, kwargs], torch.Tensor) if t.requires_grad]
            self._found = outs, [p.grad for p in (*module.parameters(), *followed)]
        return self._found

    def output(self, k: int) -> Any:
        return array(self._all()[0][k]) if self._dtype in WIDER else None

    def gradient(self, k: int) -> Any:
        return array(self._all()[1][k]) if self._dtype in WIDER else None


def _check(name: str, info: Any, sample: Any, dtype: torch.dtype, training: bool, traced: bool) -> None:
    made_args, made_kwargs = sample.constructor_input.args, sample.constructor_input.kwargs
    theirs = info.module_cls(*copy.deepcopy(made_args), **copy.deepcopy(made_kwargs)).to(dtype)
    theirs.train(training)
    lazy = isinstance(theirs, torch.nn.modules.lazy.LazyModuleMixin)
    if lazy:
        theirs(*fresh(sample.forward_input.args))
    mine = build(name, theirs, made_args, made_kwargs, dtype, ours(sample.forward_input.args, []) if lazy else None)
    for m in (theirs, mine):
        _without_dropout(m)
    exact = _Wide(theirs, sample, dtype)
    args, kwargs = fresh(sample.forward_input.args), fresh(sample.forward_input.kwargs)
    try:
        expected = theirs(*args, **kwargs)
    except Exception as e:
        raise Skipped from e
    function = tracer.trace(lambda *a, **k: mine(*a, **k)) if traced else mine
    if traced:
        before = {key: value.clone() for key, value in mine.state_dict().items()}
        made: list[tuple[torch.Tensor, tracer.Tensor]] = []
        function(*ours(sample.forward_input.args, made), **ours(sample.forward_input.kwargs, made))
        mine.load_state_dict(before)
    made = []
    b_args, b_kwargs = ours(sample.forward_input.args, made), ours(sample.forward_input.kwargs, made)
    out = function(*b_args, **b_kwargs)
    factor = 50.0 if name in LENIENT else 1.0
    pairs = list(zip(tensors(expected, torch.Tensor), tensors(out, tracer.Tensor), strict=True))
    for k, (a, b) in enumerate(pairs):
        compare(array(a), b.detach().numpy(), f"output {k}", factor, exact=lambda k=k: exact.output(k))
    for (key, a), (_, b) in zip(theirs.state_dict().items(), mine.state_dict().items(), strict=True):
        compare(array(a), b.numpy(), f"{key} after a call", factor)
    followed = [(a, b) for a, b in pairs if a.requires_grad]
    if [b.requires_grad for _, b in pairs] != [a.requires_grad for a, _ in pairs]:
        raise Wrong("requires_grad")
    if not followed:
        return
    for k, (a, b) in enumerate(followed):
        seed = cotangent(tuple(a.shape), str(a.dtype).split(".")[-1], k)
        a.backward(given(seed), retain_graph=True)
        b.backward(tracer.tensor(seed), retain_graph=True)
    leaves = [(f"parameter {key}", p, q) for (key, p), q in zip(theirs.named_parameters(), mine.parameters(), strict=True)]
    inputs = [t for t in tensors([args, kwargs], torch.Tensor) if t.requires_grad]
    leaves += [("input", p, b) for p, (_, b) in zip(inputs, [m for m in made if m[0].requires_grad], strict=True)]
    for k, (what, p, q) in enumerate(leaves):
        if (p.grad is None) != (q._grad is None):
            raise Wrong(f"gradient of {what}: {'none' if q._grad is None else 'one'}")
        if p.grad is not None:
            compare(array(p.grad), q.grad.numpy(), f"gradient of {what}", factor, exact=lambda k=k: exact.gradient(k))


def run_module(job: Job) -> dict[str, Any]:
    """The samples of one module, in one mode and dtype."""
    from torch.testing._internal.common_modules import module_db

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    result = empty_result(job)
    if _class(job.name, tracer) is None:
        result["counts"]["absent"] = 1
        return result
    info = next(m for m in module_db if m.name == job.name)
    dtype = getattr(torch, job.dtype)
    for training in (True, False):
        torch.manual_seed(0)
        samples = list(info.module_inputs_func(info, device="cpu", dtype=dtype, requires_grad=True, training=training))
        for k, sample in spread(samples, job.limit):
            if sample.forward_input is None:
                continue
            verdict, reason = _verdict(job, info, sample, dtype, training)
            result["counts"][verdict] += 1
            if reason:
                result["reasons"].append(f"{verdict}: sample {k} {'training' if training else 'eval'}: {reason}")
    return result


def _verdict(job: Job, info: Any, sample: Any, dtype: torch.dtype, training: bool) -> tuple[str, str]:
    """Like ``check.Outcome``: the verdict on a sample, and the reason."""
    torch.manual_seed(0)
    traced = job.mode == "traced"
    try:
        _check(job.name, info, sample, dtype, training, traced)
    except Skipped:
        return "skipped", ""
    except Wrong as e:
        return "wrong", str(e)
    except Exception as e:
        reason = f"{type(e).__name__}: {str(e)[:140]}"
        eager = traced and _verdict(job._replace(mode="eager"), info, sample, dtype, training)[0] != "missing"
        return "crash" if eager else "missing", reason
    return "ok", ""


def names() -> list[str]:
    from torch.testing._internal.common_modules import module_db

    return [m.name for m in module_db]
