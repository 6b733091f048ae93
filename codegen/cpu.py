"""Loop nests as kernel source, a small part of Python: one flat function per kernel.

    def kernel(args, start, stop):

``args`` is the argument block; every kernel has this one signature, so a program reaches all of them through
addresses. The functions the source calls (``load``, ``accumulate``, ``exp`` ...) are the back end's
intrinsics; this module knows them by name only.
"""

from __future__ import annotations

from .nest import Accumulate, Do, If, Kernel, Let, Loop, Reduce, Statement, Store
from .prefetch import with_requests


def source(kernel: Kernel) -> str:
    """The kernel's text. Equal texts are the same kernel, whatever the shapes."""
    body: list[str] = []
    n = len(kernel.arrays)
    for k, array in enumerate(kernel.arrays):
        body.append(f"    {array.name} = buffer_{array.dtype.short}(args, {k}, {n})")
    for k, name in enumerate(kernel.params):
        body.append(f"    {name} = args[{n + k}]")
    tail = n + len(kernel.params)
    lines = _lines(with_requests(kernel), 1)
    text = "\n".join(lines)
    if "status" in text:
        body.append(f"    status = args[{tail}]")
    if "(gemm," in text:
        body.append(f"    gemm = args[{tail + 1}]")
    return "\n".join(["def kernel(args, start, stop):", *body, text, ""])


def _lines(statements: list[Statement], depth: int) -> list[str]:
    pad = "    " * depth
    lines: list[str] = []
    for s in statements:
        if isinstance(s, Let):
            lines.append(f"{pad}{s.name} = {s.expression}")
        elif isinstance(s, Store):
            lines.append(f"{pad}store({s.array}, {s.offset}, {s.value})")
        elif isinstance(s, (Reduce, Accumulate)):
            lines += _lines(s.lines(), depth)
        elif isinstance(s, Do):
            lines.append(f"{pad}{s.expression}")
        elif isinstance(s, Loop):
            lines += [
                f"{pad}for {s.variable} in range({s.start}, {s.stop}):",
                *(_lines(s.body, depth + 1) or [f"{pad}    pass"]),
            ]
        elif isinstance(s, If):
            lines += [f"{pad}if {s.condition}:", *_lines(s.then, depth + 1)]
            if s.otherwise:
                lines += [f"{pad}else:", *_lines(s.otherwise, depth + 1)]
    return lines
