"""HTML for notebooks. Everything that is shown goes through ``preformatted``, which escapes it."""

from __future__ import annotations

import html
import re

_COMMENT = re.compile(r"(#.*)$", re.MULTILINE)
_HIGH = 40  # lines shown without scrolling


def preformatted(text: str, head: str = "") -> str:
    """Text as it is, scrolled if it is long; ``head`` is a line above it."""
    above = f"<div><b>{html.escape(head)}</b></div>" if head else ""
    limit = f"max-height:{_HIGH * 1.3:.0f}em;" if text.count("\n") > _HIGH else ""
    return f'{above}<pre style="{limit}overflow:auto;line-height:1.3">{html.escape(text)}</pre>'


def of_graph(text: str) -> str:
    """The text of a graph, with its source locations in grey."""
    return _COMMENT.sub(r'<span style="color:gray">\1</span>', preformatted(text))
