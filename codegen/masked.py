"""Short loops of expensive functions, whose last iterations are computed as one vector, with masks.

A vectorised loop leaves up to one vector less one of iterations, which run one by one. In a long loop they cost nothing, in a
row of 31 numbers as much as the rest. With masks each vector costs a fifth more, so only such loops are written ``masked``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from .nest import If, Kernel, Loop, Statement, walk
from .text import lines

_BYTES = 64  # of the widest vectors; with shorter ones the back end ignores the word
_LONGEST = 16  # vectors
_EXPENSIVE = re.compile(
    r"\b(?:exp|expm1|log|log1p|log2|tanh|sinh|cosh|erf|erfc|sin|cos|tan|atan|atan2|asin|acos|power|cbrt)\w*\("
)


def with_masks(kernel: Kernel, statements: Sequence[Statement], extents: Mapping[str, int]) -> list[Statement]:
    """The statements, with inner loops of known extents written ``masked`` where that pays."""
    size = max([4, *(array.dtype.itemsize for array in kernel.arrays)])

    def rewritten(body: Sequence[Statement], inside: bool) -> list[Statement]:
        result: list[Statement] = []
        for s in body:
            if isinstance(s, If):
                s = If(s.condition, rewritten(s.then, inside), rewritten(s.otherwise, inside))
            elif isinstance(s, Loop):
                innermost = not any(isinstance(x, Loop) for x in walk(s.body))
                pays = (
                    inside
                    and innermost
                    and not s.sequential
                    and s.start == "0"
                    and _pays(extents.get(s.stop, 0), _BYTES // size)
                )
                expensive = pays and any(map(_EXPENSIVE.search, lines(s.body, 0)))
                s = replace(s, masked=True) if expensive else replace(s, body=rewritten(s.body, True))
            result.append(s)
        return result

    return rewritten(statements, False)


def _pays(extent: int, lanes: int) -> bool:
    return extent < _LONGEST * lanes and extent % lanes * 8 > lanes
