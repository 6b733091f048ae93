"""Layers, activations and losses as functions."""

import typing as _typing

from ...ops.names import named as _named
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

if not _typing.TYPE_CHECKING:
    globals().update(
        {name: _named(value, name) for name, value in list(globals().items()) if name[0] != "_" and callable(value)}
    )
