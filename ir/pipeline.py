"""The ordered list of passes, each with its reason, and the driver that verifies between them."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator, Sequence

from .graph import Graph
from .passes.blocks import block_reductions
from .passes.canonicalize import canonicalize
from .passes.columns import partial_columns
from .passes.cse import cse
from .passes.cut import cut_long_rows
from .passes.dce import dce
from .passes.exact import exact_columns
from .passes.expand import expand
from .passes.fold import fold
from .passes.fuse import fuse
from .passes.permutes import hoist_permutes
from .passes.recompute import recompute
from .passes.recurrence import batch_products
from .passes.stages import two_stages
from .passes.transpose import transpose_products
from .passes.undetach import undetach
from .passes.wide import wide_sums
from .passes.widen import widen
from .verify import VerifyError, verify

Pass = Callable[[Graph], Graph]

SIMPLIFY: tuple[Pass, ...] = (
    dce,  # first: a recorded graph holds much that no output needs, and every later pass is linear in the graph
    canonicalize,  # before fold and cse: equal things must look equal before they can be found equal
    fold,  # before the second canonicalize, which knows what to do with constants
    canonicalize,
    cse,  # after canonicalize; merging duplicates never makes new patterns worth another round
    transpose_products,  # after cse: two readers of one product must be seen as such
    dce,  # last: what the rewrites left behind
)

COMPILE: tuple[Pass, ...] = (
    undetach,  # first: what is compiled is not differentiated, and a value and its detached self are equal from here on
    widen,  # before what simplifies: nothing after it meets arithmetic on types of 16 bits
    *SIMPLIFY,
    expand,  # after cse, which would find what a gradient computes again, and keep it
    hoist_permutes,  # after cse, for it asks what else reads a value
    batch_products,  # after the simplifications, which show that products have an operand in common; nothing is fused yet
    wide_sums,  # after batch_products, which looks for products; before fuse, which takes in what this one writes
    fuse,  # after everything that looks at single operations: it hides them in bodies
    partial_columns,  # after fuse: it joins two of its kernels that have no axis of reduction in common
    recompute,  # after these two: what passes between kernels is known, and what was stored for a column's sum is not any more
    block_reductions,  # after fuse, which decides what is reduced in one kernel
    exact_columns,  # last: the others look for sums alone
)

COMPILE_FOR_GRIDS: tuple[Pass, ...] = (
    *COMPILE[:-2],
    cut_long_rows,  # before block_reductions, which looks for kernels that do nothing else than reduce
    block_reductions,
    two_stages,  # last: it looks at the shapes that kernels reduce
)


def run(graph: Graph, passes: Sequence[Pass], thorough: bool = True) -> Graph:
    """Applies the passes in order. The graph is verified before the first and after the last; ``thorough``: after each."""
    verify(graph)
    with collector_paused():
        for p in passes:
            before, graph = graph, p(graph)
            if thorough or p is passes[-1]:
                verify(graph)
            for old, new in ((before.inputs, graph.inputs), (before.outputs, graph.outputs)):
                if [v.type for v in old] != [v.type for v in new]:
                    raise VerifyError(f"{p.__name__} changes the type of @{graph.name}")
    return graph


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """No cyclic garbage is looked for meanwhile: a compiler makes objects by the hundred thousand, keeps most of them, and
    the collector would look at all of them again and again.
    """
    enabled = gc.isenabled()
    try:
        gc.disable()
        yield
    finally:
        if enabled:
            gc.enable()
