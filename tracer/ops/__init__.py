"""The functions of the API, on tensors. Each is composed from primitives and differentiable where its primitives are."""

import sys as _sys
import typing as _typing

from .complex import *
from .construct import *
from .copies import *
from .create import *
from .diagonals import *
from .histogram import *
from .index import *
from .inquiry import *
from .linalg import *
from .moving import *
from .numeric import *
from .offering import offer as _offer
from .order import *
from .parts import *
from .pointwise import *
from .products import *
from .reduce import *
from .shape import *
from .special import *
from .stats import *
from .windows import *
from .writes import *

_MODULES = """
    complex construct copies create diagonals histogram index inquiry linalg moving numeric order parts pointwise products
    reduce shape special stats windows writes
"""

if not _typing.TYPE_CHECKING:  # a type checker uses the imports above
    __all__ = sorted({name for module in _MODULES.split() for name in _sys.modules[f"{__name__}.{module}"].__all__})
    _offer(globals(), __all__)
