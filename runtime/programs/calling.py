"""Generated Python code that calls a program: a function from the input words to the result arrays."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..support import memory, objects
from .program import Program

Caller = Callable[..., "tuple[np.ndarray, ...] | None"]


def caller(program: Program, looked_at: Sequence[int], views: bool = False) -> Caller:
    """A function that calls ``program``. Its arguments are the addresses of the inputs' memory; for inputs in ``looked_at``,
    the ids of array objects, which own their memory unless ``views``. It returns the results that are not updates, or None
    if the program failed and nothing has changed.

    For programs that update no inputs (``unsafe`` is empty, and there is no ``lock``), and only if
    ``objects.reads_arrays``.
    """
    frames = program.look_at(looked_at, views)
    results = range(len(program.plan.results))
    words = [f"w{i}" for i in range(len(program.plan.inputs))]
    lines = [f"def call({', '.join(words)}):"]
    lines += ["    try: frame = pop()", "    except IndexError: frame = make()"]
    lines.append(f"    view, header{''.join(f', p{j}' for j in results)} = frame.written")
    for j in results:
        lines += [f"    for e{j} in p{j}:", f"        if refcount(e{j}[0]) == FREE: break"]
        lines.append(f"    else: e{j} = frame.pools[{j}].grow()")
    if any(not kind.source for kind in program.steps):
        lines.append("    frame.arm()")
    lines.append(f"    pack(view, 0, {', '.join([*words, *(f'e{j}[1]' for j in results)])})")
    lines += ["    if native(header):", "        frame.forget_failure(); give_back(frame)", "        return None"]
    lines += [f"    r{j} = e{j}[0]" for j in results]
    lines += ["    give_back(frame)", f"    return {''.join(f'r{j}, ' for j in results) or '()'}"]
    names: dict[str, Any] = {"pop": frames.pop, "give_back": frames.append, "pack": program.pack, "native": program.call}
    names["make"] = functools.partial(program.frame, looked_at, views)
    names |= {"refcount": objects.references, "FREE": memory.FREE}
    exec(compile("\n".join(lines), "<call of a program>", "exec"), names)
    found: Caller = names["call"]
    return found
