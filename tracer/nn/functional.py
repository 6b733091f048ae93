"""Layers, activations and losses as functions."""

from __future__ import annotations

from . import activation, attention, convolution, loss, normalization, resampling
from .activation import *
from .attention import *
from .convolution import *
from .loss import *
from .normalization import *
from .resampling import *

_MODULES = (activation, attention, convolution, loss, normalization, resampling)
__all__ = sorted({name for module in _MODULES for name in module.__all__})
