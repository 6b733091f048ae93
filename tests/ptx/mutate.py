"""Programs with one instruction less: a test of them shows that the instruction is needed, and that its lack is found."""

from __future__ import annotations

import re
from collections.abc import Iterator


def without(text: str, pattern: str) -> Iterator[str]:
    """The program with one of the instructions left out that match, for each of them.

    ``pattern``: a regular expression for the beginning of the instruction, after its predicate: ``bar.sync`` will do.
    """
    for m in re.finditer(rf"(?<=[;{{}}:\n])[ \t]*((?:@!?\s*[%\w$]+\s+)?(?:{pattern})[^;]*;)", text):
        yield text[: m.start(1)] + text[m.end(1) :]
