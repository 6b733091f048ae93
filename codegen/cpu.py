"""Loop nests as kernel source, a small part of Python: one flat function per kernel.

    def kernel(args, start, stop):

``args`` is the argument block. All kernels have this signature, so a program calls them through addresses. The functions
that the source calls (``load``, ``accumulate``, ``exp`` ...) are the back end's intrinsics; this module uses only their
names.
"""

from __future__ import annotations

from .blocked import blocked
from .masked import with_masks
from .nest import Kernel
from .prefetch import with_requests
from .text import lines
from .tiles import tiled
from .together import rows_together


def source(kernel: Kernel) -> str:
    """The kernel's text. Equal texts are the same kernel, for all shapes; only short extents appear in it."""
    body: list[str] = []
    n = len(kernel.arrays)
    for k, array in enumerate(kernel.arrays):
        body.append(f"    {array.name} = buffer_{array.dtype.short}(args, {k}, {n})")
    for k, name in enumerate(kernel.params):
        body.append(f"    {name} = args[{n + k}]")
    tail = n + len(kernel.params)
    extents = dict(zip(kernel.params, kernel.values, strict=True))
    statements = with_masks(kernel, tiled(kernel, rows_together(blocked(with_requests(kernel), extents))), extents)
    text = "\n".join(lines(statements, 1))
    if "status" in text:
        body.append(f"    status = args[{tail}]")
    if "(gemm," in text:
        body.append(f"    gemm = args[{tail + 1}]")
    return "\n".join(["def kernel(args, start, stop):", *body, text, ""])
