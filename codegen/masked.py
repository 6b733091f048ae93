"""Short loops whose last iterations are computed as one vector, with masks.

A vectorised loop leaves up to one vector less one of iterations, which run one by one. In a long loop they cost nothing, in a
row of 31 numbers as much as the rest. With masks each vector costs a fifth more, so only loops of expensive functions are
written ``masked``, and very short ones that load several elements: stencils. LLVM has no masked loads and stores of elements
that are apart: loops with such are not written ``masked``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from .affine import accesses, affine
from .nest import Accumulate, If, Kernel, Let, Loop, Reduce, Statement, walk
from .text import lines

_BYTES = 64  # of the widest vectors; with shorter ones the back end ignores the word
_LONGEST = 16  # vectors
_LONGEST_CHEAP = 4
_LOADS = 3
_EXPENSIVE = re.compile(
    r"\b(?:exp|expm1|log|log1p|log2|tanh|sinh|cosh|erf|erfc|sin|cos|tan|atan|atan2|asin|acos|power|cbrt)\w*\("
)


def with_masks(kernel: Kernel, statements: Sequence[Statement], extents: Mapping[str, int]) -> list[Statement]:
    """The statements, with inner loops of known extents written ``masked`` where that pays."""
    size = max([4, *(array.dtype.itemsize for array in kernel.arrays)])
    defined = {s.name: s.expression for s in walk(statements) if isinstance(s, Let) and s.name[0] == "j"}

    def steps(loop: Loop) -> bool:
        """True if some access takes elements that are apart, in adjacent iterations."""
        forms = [affine(offset, extents, defined) for _, offset in accesses(loop.body)]
        return any(form is not None and form.terms.get(loop.variable, 0) not in (0, 1) for form in forms)

    def rewritten(body: Sequence[Statement], inside: bool) -> list[Statement]:
        result: list[Statement] = []
        for s in body:
            if isinstance(s, If):
                s = If(s.condition, rewritten(s.then, inside), rewritten(s.otherwise, inside))
            elif isinstance(s, Loop):
                innermost = not any(isinstance(x, Loop) for x in walk(s.body))
                suits = inside and innermost and not s.sequential and s.start == "0"
                pays = suits and _pays(s, extents.get(s.stop, 0), _BYTES // size) and not steps(s)
                s = replace(s, masked=True) if pays else replace(s, body=rewritten(s.body, True))
            result.append(s)
        return result

    return rewritten(statements, False)


def _pays(loop: Loop, extent: int, lanes: int) -> bool:
    left = extent % lanes
    if extent >= _LONGEST * lanes or left * 8 <= lanes:
        return False
    text = lines(loop.body, 0)
    if any(map(_EXPENSIVE.search, text)):
        return True
    adds = any(isinstance(s, (Reduce, Accumulate)) for s in walk(loop.body))
    loads = sum(line.count("load(") for line in text)
    return loads >= _LOADS and not adds and extent < _LONGEST_CHEAP * lanes and left * 8 >= 3 * lanes
