"""Layers, activations and losses as functions."""

import typing as _typing

from ...ops.offering import offer as _offer
from .activation import *
from .attention import *
from .convolution import *
from .ctc import *
from .fractional import *
from .grouped import *
from .lookup import *
from .loss import *
from .margin import *
from .masking import *
from .normalization import *
from .pooling import *
from .resampling import *
from .sampling import *

if not _typing.TYPE_CHECKING:  # a type checker uses the imports above
    _offer(globals(), [name for name in globals() if name[0] != "_"])
