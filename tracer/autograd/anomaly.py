"""Anomaly mode: errors of a backward pass name the line of the forward operation."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..core.context import context
from ..core.tensor import Tensor
from .forms import Form
from .node import BackwardNode


class set_detect_anomaly:
    """Turns anomaly mode on or off, by ``mode``; as a context manager, for the block only.

    While it is on, nodes store their forward stack. An exception in a backward pass, or (``check_nan``) a NaN, is preceded
    by a warning with that stack; the NaN raises RuntimeError. Traced functions run eagerly meanwhile.
    """

    def __init__(self, mode: bool, check_nan: bool = True):
        if mode and context.recorder is not None:
            context.recorder.give_up("uses anomaly mode")
        self.before = context.anomaly, context.check_nan
        context.anomaly, context.check_nan = bool(mode), check_nan

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: object) -> None:
        context.anomaly, context.check_nan = self.before


class detect_anomaly(set_detect_anomaly):
    """A block in anomaly mode: see ``set_detect_anomaly``. ``check_nan`` also looks for NaN, which raises RuntimeError."""

    def __init__(self, check_nan: bool = True):
        super().__init__(True, check_nan)


def is_anomaly_enabled() -> bool:
    return context.anomaly


def watched(node: BackwardNode, given: Mapping[int, Any], wanted: Sequence[bool], form: Form) -> Sequence[Any]:
    """The node's cotangents; warns before an exception, and raises for NaN."""
    try:
        cotangents = node.cotangents(given, wanted, form)
    except Exception:
        _warn(node)
        raise
    if context.check_nan:
        for i, ct in enumerate(cotangents):
            data = ct._data if isinstance(ct, Tensor) else ct
            if wanted[i] and data is not None and np.isnan(data).any():
                _warn(node)
                raise RuntimeError(f"Function '{node.name()}' returned nan values in its {i}th output.")
    return cotangents


def _warn(node: BackwardNode) -> None:
    made_at = node.extras and node.extras.made_at
    if not made_at:
        warnings.warn(
            f"Error detected in {node.name()}. No forward pass information available. Enable detect anomaly during forward "
            "pass for more information.",
            UserWarning,
            stacklevel=6,
        )
        return
    stack = "".join(traceback.format_list(made_at))
    text = f"Error detected in {node.name()}. Traceback of forward call that caused the error:\n{stack}"
    warnings.warn(text, UserWarning, stacklevel=6)
