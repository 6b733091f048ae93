"""The functions of the API, on tensors. Each is composed from primitives and differentiable where its primitives are."""

from . import create, index, linalg, pointwise, reduce, shape
from .create import *
from .index import *
from .linalg import *
from .pointwise import *
from .reduce import *
from .shape import *

__all__: list[str] = []
__all__ += create.__all__
__all__ += index.__all__
__all__ += linalg.__all__
__all__ += pointwise.__all__
__all__ += reduce.__all__
__all__ += shape.__all__
