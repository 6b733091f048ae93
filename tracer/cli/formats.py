"""The formats of a dump: text, JSON, DOT, SVG, and an HTML page."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from typing import Any

from pygments import highlight
from pygments.formatters import HtmlFormatter, TerminalFormatter
from pygments.lexer import Lexer, RegexLexer, bygroups
from pygments.lexers import get_lexer_by_name
from pygments.token import Comment, Keyword, Name, Number, Operator, Punctuation, String, Text, Whitespace

from ..ir.graph import Graph
from . import pictures
from .errors import CommandError
from .stages import Section


class IRLexer(RegexLexer):
    """The text of graphs, for syntax highlighting."""

    name, aliases = "tracer IR", ["tracer"]
    tokens = {  # noqa: RUF012
        "root": [
            (r"\s+", Whitespace),
            (r"#.*", Comment.Single),
            (r'"(?:[^"\\\n]|\\.)*"', String),
            (r"%[\w.]+", Name.Variable),
            (r"@[\w.<>]+", Name.Function),
            (r"\b(func|return|yield)\b", Keyword),
            (r"\b(bool|[uif]\d+|bf16|c64|c128)(\[)", bygroups(Keyword.Type, Punctuation)),
            (r"-?\b(?:inf|nan)\b|-?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?", Number),
            (r"->|=", Operator),
            (r"[A-Za-z_]\w*", Name.Builtin),
            (r"[(){}\[\],:]", Punctuation),
            (r".", Text),
        ]
    }


def text(sections: Sequence[Section], colour: bool = False) -> str:
    """All sections as text, with their titles as comments if there are several."""
    return "\n".join(_text(s, len(sections) > 1, colour) for s in sections)


_MARKS = {"llvm": ";", "ptx": "//"}


def _text(section: Section, titled: bool, colour: bool) -> str:
    mark = _MARKS.get(section.language, "#")
    head = [section.title, *section.called_with] if titled else []
    whole = "".join(f"{mark} {line}\n" for line in head) + section.text.rstrip("\n") + "\n"
    return highlight(whole, _lexer(section.language), TerminalFormatter(bg="dark")) if colour else whole


def _lexer(language: str) -> Lexer:
    if language == "ir":
        return IRLexer(stripnl=False)
    names = {"asm": "gas", "ptx": "c", "text": "text"}
    return get_lexer_by_name(names.get(language, language), stripnl=False)


def as_json(sections: Sequence[Section]) -> str:
    """A list with an object for each section."""
    rows: list[dict[str, Any]] = [{"title": s.title, "arguments": list(s.called_with), **s.data} for s in sections]
    return json.dumps(rows, indent=1, default=str) + "\n"


def dot(sections: Sequence[Section]) -> str:
    return pictures.dot(_graphs(sections, "dot"))


def svg(sections: Sequence[Section]) -> str:
    return pictures.svg(pictures.dot(_graphs(sections, "svg")))


def _graphs(sections: Sequence[Section], name: str) -> list[Graph]:
    graphs = [s.graph for s in sections if s.graph is not None]
    if not graphs:
        raise CommandError(f"the format {name!r} draws graphs: the stages graph, adjoint, optimized and fused")
    return graphs


_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem; color: #222; }}
pre {{ font-size: 13px; line-height: 1.35; overflow-x: auto; background: #f8f8f8; padding: 1rem; }}
.picture {{ overflow: auto; max-height: 80vh; border: 1px solid #ddd; }}
{style}
</style>
</head>
<body>
<h1>{title}</h1>
{sections}
</body>
</html>
"""


def page(sections: Sequence[Section]) -> str:
    """One self-contained HTML page; graphs are also drawn if pygraphviz is installed."""
    formatter = HtmlFormatter()
    title = sections[0].title if len(sections) == 1 else "tracer dump"
    parts: list[str] = []
    for s in sections:
        parts.append(f"<h2>{html.escape(s.title)}</h2>")
        if s.called_with:
            parts.append("<ul>" + "".join(f"<li><code>{html.escape(a)}</code></li>" for a in s.called_with) + "</ul>")
        parts.append(highlight(s.text, _lexer(s.language), formatter))
        parts.append(_picture(s.graph))
    return _PAGE.format(title=html.escape(title), style=formatter.get_style_defs(".highlight"), sections="\n".join(parts))


def _picture(graph: Graph | None) -> str:
    if graph is None:
        return ""
    try:
        drawn = pictures.svg(pictures.dot([graph]))
    except CommandError:
        return ""
    return f'<div class="picture">{drawn[drawn.index("<svg") :]}</div>'
