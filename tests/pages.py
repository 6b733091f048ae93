"""Runs the code blocks of a page of documentation, in order, in an empty folder.

- ``python``: runs, in one namespace for the page. If the first line is ``# NAME.py``, the block is saved under that name
  instead.
- ``console``: each line that begins with ``$ `` runs in a shell. What follows it is the expected output; without any, the
  output is not compared.
- ``text`` directly after a ``python`` block: the expected output of that block.
- ``sh`` blocks are commands for the reader's machine (installation), and do not run.

In expected outputs ``...`` matches any text. ``python tests/pages.py --update PAGE`` replaces outputs that contain no ``...``.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# (\w+\.py)\n")


def blocks(text: str) -> list[re.Match]:
    return list(_BLOCK.finditer(text))


def pages(root: Path) -> list[Path]:
    """The pages that are written by hand."""
    return [root / "README.md", *sorted(p for p in (root / "docs").glob("*.md") if p.name != "ir.md")]


def agrees(expected: str, found: str) -> bool:
    pattern = ".*?".join(map(re.escape, expected.strip().split("...")))
    return re.fullmatch(pattern, found.expandtabs().strip(), re.DOTALL) is not None


class Page:
    def __init__(self, path: Path, folder: Path, update: bool = False):
        self.path, self.folder, self.update = path, folder, update
        self.text = path.read_text()
        self.replaced: list[tuple[int, int, str]] = []

    def run(self) -> None:
        namespace: dict[str, Any] = {"__name__": "page"}
        printed, end = "", -1
        for block in blocks(self.text):
            language, code = block.groups()
            if language == "python" and (match := _FILE.match(code)):
                (self.folder / match[1]).write_text(code)
            elif language == "python":
                printed, end = self.run_python(code, namespace, self.text[: block.start()].count("\n") + 2), block.end()
            elif language == "console":
                self.run_commands(code, block.start(2))
            elif language == "text" and end >= 0 and not self.text[end : block.start()].strip():
                self.compare(code, printed, block.start(2))

    def run_python(self, code: str, namespace: dict[str, Any], line: int) -> str:
        file = self.folder / f"{self.path.stem}_{line}.py"
        file.write_text(code)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(code, str(file), "exec"), namespace)
        return out.getvalue()

    def run_commands(self, code: str, start: int) -> None:
        for match in re.finditer(r"^\$ (.*(?:\\\n.*)*)\n((?:(?!\$ ).*\n)*)", code, re.MULTILINE):
            environment = {
                **os.environ,
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
                "COLUMNS": "120",
            }
            done = subprocess.run(match[1], shell=True, cwd=self.folder, capture_output=True, text=True, env=environment)
            if done.returncode:
                raise AssertionError(f"{match[1]}: {done.returncode}\n{(done.stdout + done.stderr)[-3000:]}")
            if match[2].strip():
                self.compare(match[2], done.stdout.replace(f"{self.folder}{os.sep}", ""), start + match.start(2))

    def compare(self, expected: str, found: str, start: int) -> None:
        if self.update and "..." not in expected:
            self.replaced.append((start, start + len(expected), found.rstrip() + "\n"))
        elif not agrees(expected, found):
            raise AssertionError(f"{self.path.name}: expected\n{expected}\nfound\n{found[:3000]}")

    def updated(self) -> str:
        text = self.text
        for start, end, new in reversed(self.replaced):
            text = text[:start] + new + text[end:]
        return text


def main() -> None:
    """Runs pages; with ``--update``, replaces outputs."""
    update = "--update" in sys.argv
    for name in sys.argv[1:]:
        if name.startswith("--"):
            continue
        path = Path(name).resolve()
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            sys.path.insert(0, folder)
            page = Page(path, Path(folder), update)
            page.run()
            if update:
                path.write_text(page.updated())


if __name__ == "__main__":
    main()
