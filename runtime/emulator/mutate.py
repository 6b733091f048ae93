"""Mutations of PTX text: kernels with one instruction removed, to test that its absence is detected."""

from __future__ import annotations

import re
from collections.abc import Iterator


def without(text: str, pattern: str) -> Iterator[str]:
    """Yields the text without one of the matching instructions, for each of them.

    ``pattern``: a regular expression for the beginning of the instruction, after its guard, for example ``bar.sync``.
    """
    for m in re.finditer(rf"(?<=[;{{}}:\n])[ \t]*((?:@!?\s*[%\w$]+\s+)?(?:{pattern})[^;]*;)", text):
        yield text[: m.start(1)] + text[m.end(1) :]
