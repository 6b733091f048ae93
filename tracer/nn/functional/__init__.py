"""Layers, activations and losses as functions."""

from __future__ import annotations

from . import activation, attention, convolution, lookup, loss, margin, masking, normalization, pooling, resampling
from .activation import *
from .attention import *
from .convolution import *
from .lookup import *
from .loss import *
from .margin import *
from .masking import *
from .normalization import *
from .pooling import *
from .resampling import *

_MODULES = (activation, attention, convolution, lookup, loss, margin, masking, normalization, pooling, resampling)
__all__ = sorted({name for module in _MODULES for name in module.__all__})
