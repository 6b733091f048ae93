"""The configuration of Sphinx, which builds the documentation (``make docs``)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import reference  # noqa: E402

import tracer  # noqa: E402

project, release = "tracer", tracer.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
html_theme, html_title = "furo", "tracer"
html_show_copyright = html_show_sphinx = html_copy_source = False
templates_path: list[str] = []
exclude_patterns = ["_build"]
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
highlight_language = "text"
copybutton_prompt_text = "$ "
maximum_signature_line_length = 100


def _docstring(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    lines[:] = reference.marked(lines)


def _source(app: Any, page: str, source: list[str]) -> None:
    if "/" not in page:
        source[0] = reference.linked(source[0], f"docs/{page}.md", f"docs/{page}.md")


def setup(app: Any) -> None:
    reference.write(HERE)
    app.connect("autodoc-process-docstring", _docstring)
    app.connect("source-read", _source)
