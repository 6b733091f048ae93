"""The ordered list of passes, each with the reason for its place, and the driver that verifies between them."""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Callable, Iterator, Sequence

from . import validate
from .graph import Graph, free
from .iterations import assembled, divided
from .passes.adjoin import adjoin_parts
from .passes.blocks import block_reductions
from .passes.canonicalize import canonicalize
from .passes.columns import partial_columns
from .passes.cse import cse
from .passes.cut import cut_long_rows
from .passes.dce import dce
from .passes.divide import divide
from .passes.dots import sum_dots
from .passes.epilogues import join_epilogues
from .passes.exact import exact_columns
from .passes.expand import expand
from .passes.fold import fold
from .passes.fuse import fuse
from .passes.masks import compute_at_masks
from .passes.name import name_kernels
from .passes.pairs import complex_as_pairs
from .passes.permutes import hoist_permutes
from .passes.positions import find_positions
from .passes.powers import whole_powers
from .passes.products import find_products
from .passes.recompute import recompute
from .passes.recurrence import batch_products
from .passes.shifted import repeat_shifted
from .passes.slices import simplify_slices
from .passes.stages import two_stages
from .passes.transpose import transpose_products
from .passes.undetach import undetach
from .passes.views import contract_views
from .passes.wide import wide_sums
from .passes.widen import widen
from .passes.writes import choose_writes
from .verify import VerifyError, verify

Pass = Callable[[Graph], Graph]

_MANY = 100_000  # young objects: a collection would traverse them for nothing

SIMPLIFY: tuple[Pass, ...] = (
    dce,  # first: a recorded graph has many operations that no output needs, and every later pass is linear in the graph
    canonicalize,  # before fold and cse: equal expressions must have equal form to be found
    simplify_slices,  # after canonicalize, which gives slices their simplest form; before fold: it may find constants
    fold,  # before the second canonicalize, which simplifies constants
    canonicalize,
    cse,  # after canonicalize; merging duplicates never makes new patterns worth another round
    transpose_products,  # after cse: both readers of one product must be known
    dce,  # last: removes what the rewrites left unused
)

COMPILE: tuple[Pass, ...] = (
    undetach,  # first: compiled graphs are not differentiated, so a value and its detached copy are equal from here on
    complex_as_pairs,  # before the simplifications, which simplify the formulas
    widen,  # before the simplifications: later passes see no 16-bit arithmetic
    find_positions,  # before cse, which finds that an extremum and its position are asked for
    *SIMPLIFY,
    compute_at_masks,  # after cse, which finds equal masks; before fuse, which stores what has been selected
    whole_powers,  # after the simplifications, which compute constant exponents; before fuse, which looks for operations
    expand,  # after cse, which would merge a gradient's recomputations with the stored values
    divide,  # after the last cse, for the same reason
    adjoin_parts,  # after the two passes that concatenate parts
    find_products,  # after the simplifications, which bring broadcasts next to what reads them
    hoist_permutes,  # after cse, because it asks for a value's other readers
    batch_products,  # after the simplifications, which reveal common operands of products, and before fusion
    sum_dots,  # after batch_products, which looks for products; before the passes that look at what remains of them
    contract_views,  # after the passes that look for products and permutations; before fuse, which would store the views
    wide_sums,  # after batch_products, which looks for products; before fuse, which fuses what this pass writes
    choose_writes,  # after the passes that know updates; before fuse, which orders reads and writes
    fuse,  # after everything that looks at single operations: it moves them into bodies
    repeat_shifted,  # after fuse: which values are between kernels is known
    partial_columns,  # after fuse: it merges two of its kernels that have no common reduction axis
    recompute,  # after these two: values between kernels are known, and values for column sums are no longer stored
    block_reductions,  # after fuse, which decides what one kernel reduces
    exact_columns,  # after the passes that look for plain sums
    name_kernels,  # last: the passes before it decide what each kernel computes
)

COMPILE_FOR_GRIDS: tuple[Pass, ...] = (
    # A library's products are those of matrices; a thread of a GPU compares pairs of an element and its position.
    *(p for p in COMPILE[: COMPILE.index(fuse)] if p not in (sum_dots, contract_views, find_positions)),
    join_epilogues,  # after batch_products, which looks for products; before fuse, which would compute what it joins
    *COMPILE[COMPILE.index(fuse) : COMPILE.index(block_reductions)],
    cut_long_rows,  # before block_reductions, which looks for kernels that only reduce
    block_reductions,
    two_stages,  # after the others: it depends on the shapes that kernels reduce
    name_kernels,  # last: the passes before it decide what each kernel computes
)


def named(names: str) -> tuple[Pass, ...]:
    """The passes of a list such as ``"dce,cse"``. ``simplify``, ``compile`` and ``grids`` name the lists above.

    Raises ValueError for an unknown name.
    """
    lists = {"simplify": SIMPLIFY, "compile": COMPILE, "grids": COMPILE_FOR_GRIDS}
    passes = {p.__name__: (p,) for p in (*COMPILE, *COMPILE_FOR_GRIDS)}
    found: list[Pass] = []
    for name in filter(None, (name.strip() for name in names.split(","))):
        if name not in lists and name not in passes:
            raise ValueError(f"there is no pass {name!r}; known are {', '.join([*passes, *lists])}")
        found += lists.get(name) or passes[name]
    return tuple(found)


def steps(graph: Graph, passes: Sequence[Pass], thorough: bool = True) -> Iterator[tuple[Pass, Graph]]:
    """Applies the passes in order; yields each with its result. Verifies what ``run`` says."""
    verify(graph)
    for k, p in enumerate(passes):
        before, graph = graph, p(graph)
        if thorough or k == len(passes) - 1:
            verify(graph)
        for old, new in ((before.inputs, graph.inputs), (before.outputs, graph.outputs)):
            if [v.type for v in old] != [v.type for v in new]:
                raise VerifyError(f"{p.__name__} changes the type of @{graph.name}")
        yield p, graph


def run(graph: Graph, passes: Sequence[Pass], thorough: bool = True) -> Graph:
    """Applies the passes in order. Verifies the graph before the first and after the last; if ``thorough``, after each.

    With ``TRACER_VALIDATE=1`` the graph is run before and after each pass: raises Miscompiled if results differ.
    """
    if validate.ENABLED:
        validate.require(graph, passes)
    with collector_paused():
        before = graph
        for _, after in steps(graph, passes, thorough):
            free(before, graph, after)
            before = after
    return before


def compiled(graph: Graph, passes: Sequence[Pass]) -> Graph:
    """The graph after ``passes``. Equal parts of a long graph go through all but the last, which names kernels, once."""

    def through(part: Graph, passes: Sequence[Pass], last: Sequence[Pass] = ()) -> Graph:
        found = divided(part, lambda block: run(block, SIMPLIFY, thorough=False))
        if found is None:
            return run(part, (*passes, *last), thorough=False)
        whole = assembled(part, *found, lambda block: through(block, passes))
        return run(whole, last, thorough=False) if last else whole

    with collector_paused():
        return through(graph, passes[:-1], passes[-1:])


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """Pauses the cyclic garbage collector: a compiler creates hundreds of thousands of objects and keeps most of them, and the
    collector would traverse them all repeatedly. Not for a thread in the background, beside which the program goes on.

    If many objects were created, they count as old at the end, so that the next collections do not traverse them.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    enabled = gc.isenabled()
    try:
        gc.disable()
        yield
    finally:
        if enabled:
            # Frozen objects are those of a program that does this itself; counting them takes a time for each.
            if gc.get_count()[0] > _MANY and not gc.get_freeze_count():
                gc.freeze()
                gc.unfreeze()  # to the oldest generation
            gc.enable()
