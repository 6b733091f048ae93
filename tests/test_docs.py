"""The code in the documentation runs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tracer.runtime import dialect

DOCS = Path(__file__).parent.parent / "docs"
KERNELS = (DOCS / "kernels.md").read_text()


@pytest.mark.parametrize(("name", "count"), [("kernels", 5), ("tracing", 4)])
def test_the_code_in_a_text_runs(name, count, tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / f"{name}.md").read_text(), re.DOTALL)
    assert len(blocks) == count
    (tmp_path / "blocks.py").write_text("\n".join(blocks))
    subprocess.run([sys.executable, "blocks.py"], check=True, cwd=tmp_path)


def test_the_text_on_kernels_names_every_intrinsic():
    known = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]*)`", KERNELS))))
    assert set(dialect.NAMES) <= known, set(dialect.NAMES) - known
