"""The functions of the API, on tensors. Each is composed from primitives and differentiable where its primitives are."""

from . import create, diagonals, index, linalg, moving, order, pointwise, products, reduce, shape, special, stats, writes
from .create import *
from .diagonals import *
from .index import *
from .linalg import *
from .moving import *
from .order import *
from .pointwise import *
from .products import *
from .reduce import *
from .shape import *
from .special import *
from .spelling import spelled
from .stats import *
from .writes import *

_MODULES = (create, diagonals, index, linalg, moving, order, pointwise, products, reduce, shape, special, stats, writes)
__all__ = sorted({name for module in _MODULES for name in module.__all__})
globals().update({name: spelled(globals()[name]) for name in __all__})
