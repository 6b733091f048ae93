"""Loop nests as kernel source for a GPU: the same subset of Python, with loops that say what runs their iterations.

    for i0 in blocks(start, stop):     a block takes one iteration at a time; ``warps``: a warp
    for r1 in threads4(0, n0):         divided among the threads of the block or warp, four adjacent iterations at a time
    for e2 in grid(0, n1):             divided among all threads
    for r3 in range(0, n2):            every thread runs all iterations

``block_sum(a)`` combines the values of a block's threads; ``load4`` and ``store4`` access four adjacent elements.
Statements outside thread loops are computed by every thread and stored by the first. ``readonly_f32`` declares an array
that is only read. The arguments are the arrays, the error cell, and the integers.
"""

from __future__ import annotations

from .mapping import Mapped
from .text import lines


def source(mapped: Mapped) -> str:
    """The kernel's text."""
    kernel = mapped.kernel
    written = kernel.written
    body: list[str] = []
    n = len(kernel.arrays)
    for k, array in enumerate(kernel.arrays):
        kind = "buffer" if array.name in written else "readonly"
        body.append(f"    {array.name} = {kind}_{array.dtype.short}(args, {k}, {n})")
    body.append(f"    status = buffer_i64(args, {n}, {n + 1})")
    for k, name in enumerate(kernel.params):
        body.append(f"    {name} = args[{n + 1 + k}]")
    return "\n".join(["def kernel(args, start, stop):", *body, *lines(kernel.body, 1), ""])
