"""The functions of the API, on tensors. Each is composed from primitives and differentiable where its primitives are."""

from .create import *
from .index import *
from .linalg import *
from .pointwise import *
from .reduce import *
from .shape import *
