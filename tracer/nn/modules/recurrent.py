"""Recurrent networks. Gates are stacked in the weights as in PyTorch."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable
from typing import Any, ClassVar

from ...core.autocasting import casting
from ...core.device import beside
from ...core.fused import fused, is_observed
from ...core.tensor import Tensor
from ...ir.types import DType
from ...ops import create, shape
from ...ops import pointwise as P
from .. import functional as F
from .. import init
from ..module import Module
from ..packed import PackedSequence
from ..parameter import Parameter

# The weight and bias for h, and the weight of the projection.
_Weights = tuple[Any, Any, Any]


# Cells: from x, the input's product with its weights, the state, and the other weights to the next state.


@fused
def _tanh_cell(x: Tensor, h: Tensor, weight: Tensor, bias: Tensor | None, _: None) -> tuple[Tensor, ...]:
    """tanh(x + h U')."""
    return (F.tanh(P.add(x, F.linear(h, weight, bias))),)


@fused
def _relu_cell(x: Tensor, h: Tensor, weight: Tensor, bias: Tensor | None, _: None) -> tuple[Tensor, ...]:
    """relu(x + h U')."""
    return (F.relu(P.add(x, F.linear(h, weight, bias))),)


@fused
def _lstm_cell(
    x: Tensor, h: Tensor, c: Tensor, weight: Tensor, bias: Tensor | None, projection: Tensor | None
) -> tuple[Tensor, ...]:
    """Hochreiter, Schmidhuber 1997; with a projection of h, Sak et al. 2014."""
    i, f, g, o = shape.chunk(P.add(x, F.linear(h, weight, bias)), 4, -1)
    c = P.add(P.mul(F.sigmoid(f), c), P.mul(F.sigmoid(i), F.tanh(g)))
    h = P.mul(F.sigmoid(o), F.tanh(c))
    return (h if projection is None else F.linear(h, projection), c)


@fused
def _gru_cell(x: Tensor, h: Tensor, weight: Tensor, bias: Tensor | None, _: None) -> tuple[Tensor, ...]:
    """Cho et al. 2014, with the reset gate after the product."""
    xr, xz, xn = shape.chunk(x, 3, -1)
    hr, hz, hn = shape.chunk(F.linear(h, weight, bias), 3, -1)
    z = F.sigmoid(P.add(xz, hz))
    n = F.tanh(P.add(xn, P.mul(F.sigmoid(P.add(xr, hr)), hn)))
    return (P.add(P.mul(P.sub(h, n), z), n),)


_Cell = Callable[..., tuple[Tensor, ...]]
_CELLS: dict[str, _Cell] = {"RNN_TANH": _tanh_cell, "RNN_RELU": _relu_cell, "LSTM": _lstm_cell, "GRU": _gru_cell}
_GATES = {"RNN_TANH": 1, "RNN_RELU": 1, "LSTM": 4, "GRU": 3}


def _steps_of(cell: _Cell, states: int) -> _Cell:
    """Steps of a cell in turn, from the last one on if ``backwards``: all states h, and the final state."""

    def steps(x: Tensor, backwards: bool, *given: Any) -> tuple[Tensor, ...]:
        state, weights = given[:states], given[states:]
        outputs = []
        for t in range(x.shape[0] - 1, -1, -1) if backwards else range(x.shape[0]):
            state = cell(x[t], *state, *weights)
            outputs.append(state[0])
        return (shape.stack(outputs[::-1] if backwards else outputs, 0), *state)

    return fused(steps)


_STEPS = {mode: _steps_of(cell, 2 if mode == "LSTM" else 1) for mode, cell in _CELLS.items()}
_BLOCK = 4  # steps of one call in eager mode, or 2 and 1 for the rest: few signatures for sequences of any length


def _blocks(n: int) -> list[int]:
    """The lengths of the blocks of ``n`` steps."""
    rest = [k for k in (2, 1) if n & k]
    return [_BLOCK] * (n // _BLOCK) + rest


class RNNBase(Module):
    """Layers of a recurrent cell over a sequence (L, N, ``input_size``), or (N, L, ``input_size``) if ``batch_first``, or
    without N. Returns the states h of the last layer, (L, N, directions * hidden), and the final states (layers * directions,
    N, hidden), which an optional second argument ``hx`` gives for the start. ``mode`` is "LSTM", "GRU", "RNN_TANH" or
    "RNN_RELU". ``proj_size``: see ``LSTM``.
    """

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: DType | None = None,
    ):
        super().__init__()
        if not isinstance(dropout, (int, float)) or isinstance(dropout, bool) or not 0 <= dropout <= 1:
            raise ValueError(
                "dropout should be a number in range [0, 1] representing the probability of an element being zeroed"
            )
        if dropout > 0 and num_layers == 1:
            warnings.warn(
                "dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects num_layers "
                f"greater than 1, but got dropout={dropout} and num_layers={num_layers}",
                UserWarning,
                stacklevel=3,
            )
        if not isinstance(hidden_size, int):
            raise TypeError(f"hidden_size should be of type int, got: {type(hidden_size).__name__}")
        if hidden_size <= 0:
            raise ValueError("hidden_size must be greater than zero")
        if num_layers <= 0:
            raise ValueError("num_layers must be greater than zero")
        if proj_size < 0:
            raise ValueError("proj_size should be a positive integer or zero to disable projections")
        if proj_size >= hidden_size:
            raise ValueError("proj_size has to be smaller than hidden_size")
        if proj_size and mode != "LSTM":
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        self.mode, self.input_size, self.hidden_size, self.num_layers = mode, input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout = bias, batch_first, float(dropout)
        self.bidirectional, self.proj_size = bidirectional, proj_size
        gates, out = _GATES[mode] * hidden_size, proj_size or hidden_size
        directions = 2 if bidirectional else 1
        for layer in range(num_layers):
            for direction in range(directions):
                suffix = self._suffix(layer, direction)
                width = input_size if layer == 0 else out * directions
                shapes: dict[str, tuple[int, ...]] = {"weight_ih": (gates, width), "weight_hh": (gates, out)}
                if bias:
                    shapes |= {"bias_ih": (gates,), "bias_hh": (gates,)}
                if proj_size:
                    shapes["weight_hr"] = (proj_size, hidden_size)
                for name, size in shapes.items():
                    self.register_parameter(name + suffix, Parameter(create.empty(size, device=device, dtype=dtype)))
        self.reset_parameters()

    @staticmethod
    def _suffix(layer: int, direction: int) -> str:
        return f"_l{layer}{'_reverse' if direction else ''}"

    def reset_parameters(self) -> None:
        bound = 1 / math.sqrt(self.hidden_size)
        for p in self.parameters():
            init.uniform_(p, -bound, bound)

    def flatten_parameters(self) -> None:
        """No effect: the weights are used in place."""

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        if isinstance(input, PackedSequence):
            return self._forward_packed(input, hx)
        if input.ndim not in (2, 3):
            raise ValueError(f"{type(self).__name__}: Expected input to be 2D or 3D, got {input.ndim}D instead")
        if input.shape[-1] != self.input_size:
            raise RuntimeError(f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got {input.shape[-1]}")
        batched = input.ndim == 3
        (input,) = casting("linear", input)
        if hx is not None:
            hx = casting("linear", *hx) if isinstance(hx, tuple) else casting("linear", hx)[0]
        x = input if batched else input.unsqueeze(1)
        if batched and self.batch_first:
            x = x.transpose(0, 1)
        x, ends = self._layers(x, self._states(x.shape[1], x, hx, batched), self._run)
        if not batched:
            x, ends = x.squeeze(1), tuple(e.squeeze(1) for e in ends)
        elif self.batch_first:
            x = x.transpose(0, 1)
        return x, ends if self.mode == "LSTM" else ends[0]

    def _forward_packed(self, input: PackedSequence, hx: Any) -> tuple[PackedSequence, Any]:
        """Every step, for the sequences that have not ended."""
        x, sizes = input.data, input.sizes()
        if x.shape[-1] != self.input_size:
            raise RuntimeError(f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got {x.shape[-1]}")
        states = self._states(sizes[0], x, hx, True)
        if input.sorted_indices is not None:
            states = tuple(s.index_select(1, input.sorted_indices) for s in states)
        x, ends = self._layers(x, states, functools.partial(self._run_packed, sizes))
        if input.unsorted_indices is not None:
            ends = tuple(e.index_select(1, input.unsorted_indices) for e in ends)
        return input.with_data(x), ends if self.mode == "LSTM" else ends[0]

    def _layers(
        self, x: Tensor, states: tuple[Tensor, ...], run: Callable[..., tuple[Tensor, tuple[Tensor, ...]]]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """All layers, each by ``run(x, state, layer, direction)``; and their final states."""
        directions = 2 if self.bidirectional else 1
        final: list[tuple[Tensor, ...]] = []
        for layer in range(self.num_layers):
            outputs = []
            for direction in range(directions):
                k = layer * directions + direction
                y, last = run(x, tuple(s[k] for s in states), layer, direction)
                outputs.append(y)
                final.append(last)
            x = shape.cat(outputs, -1) if directions == 2 else outputs[0]
            if self.dropout and layer < self.num_layers - 1:
                x = F.dropout(x, self.dropout, self.training)
        return x, tuple(shape.stack(list(parts), 0) for parts in zip(*final, strict=True))

    def _states(self, n: int, x: Tensor, hx: Any, batched: bool) -> tuple[Tensor, ...]:
        """The initial states, (layers * directions, N, size) each. Raises RuntimeError for other shapes."""
        layers = self.num_layers * (2 if self.bidirectional else 1)
        sizes = (self.proj_size or self.hidden_size, self.hidden_size)[: 2 if self.mode == "LSTM" else 1]
        if hx is None:
            return tuple(create.zeros(layers, n, size, dtype=x.dtype, device=beside(x)) for size in sizes)
        given = tuple(hx) if self.mode == "LSTM" else (hx,)
        states = []
        for i, (state, size) in enumerate(zip(given, sizes, strict=True)):
            if state.ndim != (3 if batched else 2):
                raise RuntimeError(
                    f"For {'batched 3' if batched else 'unbatched 2'}-D input, hx should also be {3 if batched else 2}-D but "
                    f"got {state.ndim}-D tensor"
                )
            state = state if batched else state.unsqueeze(1)
            if tuple(state.shape) != (layers, n, size):
                name = f"hidden[{i}]" if self.mode == "LSTM" else "hidden"
                raise RuntimeError(f"Expected {name} size {(layers, n, size)}, got {list(state.shape)}")
            states.append(state)
        return tuple(states)

    def _run(self, x: Tensor, state: tuple[Tensor, ...], layer: int, direction: int) -> tuple[Tensor, tuple[Tensor, ...]]:
        """One layer in one direction: all states h, and the final ones."""
        projected, weights = self._projected(x, layer, direction)
        if not x.shape[0]:
            raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
        blocks = [projected] if is_observed() else shape.split(projected, _blocks(x.shape[0]))
        outputs = []
        for block in blocks[::-1] if direction else blocks:
            out, *state = _STEPS[self.mode](block, bool(direction), *state, *weights)  # type: ignore[assignment]
            outputs.append(out)
        return shape.cat(outputs[::-1] if direction else outputs) if len(outputs) > 1 else outputs[0], tuple(state)

    def _run_packed(
        self, sizes: list[int], x: Tensor, state: tuple[Tensor, ...], layer: int, direction: int
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """``_run`` for packed steps with the batch sizes ``sizes``: states leave, or join, at the end of their sequences."""
        projected, weights = self._projected(x, layer, direction)
        cell, initial = _CELLS[self.mode], state
        parts = shape.split(projected, sizes)
        outputs: list[Tensor] = []
        left: list[tuple[Tensor, ...]] = []
        if direction:
            state = tuple(s[: sizes[-1]] for s in initial)
        for part, n in zip(reversed(parts) if direction else parts, reversed(sizes) if direction else sizes, strict=True):
            have = state[0].shape[0]
            if n < have:
                left.append(tuple(s[n:] for s in state))
                state = tuple(s[:n] for s in state)
            elif n > have:
                state = tuple(shape.cat([s, i[have:n]]) for s, i in zip(state, initial, strict=True))
            state = cell(part, *state, *weights)
            outputs.append(state[0])
        last = tuple(shape.cat(list(pieces)) for pieces in zip(state, *left[::-1], strict=True)) if left else state
        return shape.cat(outputs[::-1] if direction else outputs), last

    def _projected(self, x: Tensor, layer: int, direction: int) -> tuple[Tensor, _Weights]:
        """The products of the inputs of all steps with their weights; and the other weights."""
        suffix = self._suffix(layer, direction)
        w_ih, w_hh = (getattr(self, name + suffix) for name in ("weight_ih", "weight_hh"))
        b_ih, b_hh = (getattr(self, name + suffix) if self.bias else None for name in ("bias_ih", "bias_hh"))
        return F.linear(x, w_ih, b_ih), (w_hh, b_hh, getattr(self, "weight_hr" + suffix) if self.proj_size else None)

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        if self.proj_size:
            text += f", proj_size={self.proj_size}"
        if self.num_layers != 1:
            text += f", num_layers={self.num_layers}"
        if not self.bias:
            text += f", bias={self.bias}"
        if self.batch_first:
            text += f", batch_first={self.batch_first}"
        if self.dropout:
            text += f", dropout={self.dropout}"
        return text if not self.bidirectional else f"{text}, bidirectional={self.bidirectional}"


class RNN(RNNBase):
    """h = tanh(W x + b + U h + c), or relu (Elman 1990), by ``nonlinearity``, "tanh" or "relu"."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: DType | None = None,
    ):
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'.")
        mode = f"RNN_{nonlinearity.upper()}"
        super().__init__(mode, input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0, device, dtype)
        self.nonlinearity = nonlinearity


class LSTM(RNNBase):
    """Long short-term memory (Hochreiter, Schmidhuber 1997): c = f c + i g, h = o tanh(c), where i, f and o are sigmoids and g
    is the tanh of W x + b + U h + c, in the order i, f, g, o. ``hx`` and the final states are pairs (h, c). ``proj_size``: the
    size of a projection of h (Sak et al. 2014); 0 is none.
    """

    def __init__(self, input_size: int, hidden_size: int, *args: Any, **kwargs: Any):
        super().__init__("LSTM", input_size, hidden_size, *args, **kwargs)


class GRU(RNNBase):
    """Gated recurrent units (Cho et al. 2014): h = (1 - z) n + z h, z and r being sigmoids of W x + b + U h + c, and n = tanh(W
    x + b + r (U h + c)).
    """

    def __init__(self, input_size: int, hidden_size: int, *args: Any, **kwargs: Any):
        super().__init__("GRU", input_size, hidden_size, *args, **kwargs)


class RNNCellBase(Module):
    """One step of a recurrent cell, on (N, input_size) or (input_size)."""

    mode: ClassVar[str]

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: DType | None = None):
        super().__init__()
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        gates = _GATES[self.mode] * hidden_size
        shapes = {"weight_ih": (gates, input_size), "weight_hh": (gates, hidden_size), "bias_ih": (gates,), "bias_hh": (gates,)}
        for name, size in shapes.items():
            wanted = bias or not name.startswith("bias")
            self.register_parameter(name, Parameter(create.empty(size, device=device, dtype=dtype)) if wanted else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        bound = 1 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for p in self.parameters():
            init.uniform_(p, -bound, bound)

    def _step(self, mode: str, input: Tensor, hx: Any, states: int) -> tuple[Tensor, ...]:
        if input.ndim not in (1, 2):
            raise ValueError(f"{type(self).__name__}: Expected input to be 1D or 2D, got {input.ndim}D instead")
        given = () if hx is None else tuple(hx) if states == 2 else (hx,)
        for i, h in enumerate(given):
            if h.ndim not in (1, 2):
                name = f"hx[{i}]" if states == 2 else "hidden"
                raise ValueError(f"{type(self).__name__}: Expected {name} to be 1D or 2D, got {h.ndim}D instead")
        single = input.ndim == 1
        x = input.unsqueeze(0) if single else input
        if hx is None:
            given = (create.zeros(x.shape[0], self.hidden_size, dtype=x.dtype, device=beside(x)),) * states
        else:
            given = tuple(h.unsqueeze(0) if single else h for h in given)
        projected = F.linear(x, self.weight_ih, self.bias_ih)
        out = _CELLS[mode](projected, *given, self.weight_hh, self.bias_hh, None)
        return tuple(o.squeeze(0) for o in out) if single else out

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        return text if self.bias else f"{text}, bias={self.bias}"


class RNNCell(RNNCellBase):
    """h = tanh(W x + b + U h + c), or relu (Elman 1990), by ``nonlinearity``, "tanh" or "relu"; another one raises RuntimeError
    in a call.
    """

    mode = "RNN_TANH"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: DType | None = None,
    ):
        super().__init__(input_size, hidden_size, bias, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        if self.nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        return self._step(f"RNN_{self.nonlinearity.upper()}", input, hx, 1)[0]

    def extra_repr(self) -> str:
        text = super().extra_repr()
        return text if self.nonlinearity == "tanh" else f"{text}, nonlinearity={self.nonlinearity}"


class LSTMCell(RNNCellBase):
    """One step of an ``LSTM`` (Hochreiter, Schmidhuber 1997): (h, c) from the input and the pair (h, c)."""

    mode = "LSTM"

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, ...]:
        return self._step("LSTM", input, hx, 2)


class GRUCell(RNNCellBase):
    """One step of gated recurrent units (Cho et al. 2014), as in ``GRU``: h from the input and h."""

    mode = "GRU"

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        return self._step("GRU", input, hx, 1)[0]
