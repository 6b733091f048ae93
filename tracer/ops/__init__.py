"""The functions of the API, on tensors. Each is composed from primitives and differentiable where its primitives are."""

from .create import *
from .index import gather, index_select, masked_fill, scatter_add
from .linalg import addmm, bmm, dot, matmul, mm, mv, outer
from .pointwise import *
from .reduce import (
    all,
    amax,
    amin,
    any,
    argmax,
    argmin,
    log_softmax,
    logsumexp,
    max,
    mean,
    min,
    softmax,
    std,
    sum,
    var,
)
from .shape import (
    broadcast_to,
    cat,
    chunk,
    contiguous,
    expand,
    expand_as,
    flatten,
    flip,
    narrow,
    permute,
    reshape,
    split,
    squeeze,
    stack,
    t,
    transpose,
    unsqueeze,
    view,
)
