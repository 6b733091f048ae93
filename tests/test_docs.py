"""The code in the documents runs."""

import re
import subprocess
import sys
from pathlib import Path

from tracer.runtime import dialect

KERNELS = (Path(__file__).parent.parent / "docs" / "kernels.md").read_text()


def test_the_code_in_the_text_on_kernels_runs(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", KERNELS, re.DOTALL)
    assert len(blocks) == 5
    (tmp_path / "blocks.py").write_text("\n".join(blocks))
    subprocess.run([sys.executable, "blocks.py"], check=True, cwd=tmp_path)


def test_the_text_on_kernels_names_every_intrinsic():
    known = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]*)`", KERNELS))))
    assert set(dialect.NAMES) <= known, set(dialect.NAMES) - known
