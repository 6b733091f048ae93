"""Layers, activations and losses as functions."""

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
