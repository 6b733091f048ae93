"""The code in the documentation runs and prints what the documentation shows."""

import contextlib
import importlib.util
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from pages import agrees, blocks, pages

from tracer.ir.primitive import PRIMITIVES
from tracer.runtime import dialect

ROOT = Path(__file__).parent.parent
PAGES = pages(ROOT)


def load_reference():
    spec = importlib.util.spec_from_file_location("reference", ROOT / "docs" / "reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


reference = load_reference()


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p.read_text())], ids=lambda p: p.stem)
def test_the_code_of_a_page_runs(page):
    done = subprocess.run([sys.executable, Path(__file__).parent / "pages.py", page], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_every_block_has_a_language_that_says_whether_it_runs(page):
    languages = re.findall(r"^```(.+)$", page.read_text(), re.MULTILINE)
    assert set(languages) <= {"python", "console", "text", "sh", "{toctree}"}
    for block in blocks(page.read_text()):
        if block[1] == "sh":  # these do not run
            assert all(re.match(r"(mkdir|cd|python3? -m venv|\. |pip install|make) ?", line) for line in block[2].splitlines())


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_links_lead_somewhere(page):
    generated = {"ir.md", "api/index.rst", "api/index.md"}
    for target in re.findall(r"\]\((?!\w+:)([^)#\s]+)", page.read_text()):
        assert target in generated or (page.parent / target).exists(), target


def test_the_numbers_in_the_readme_are_those_of_the_results():
    readme, results = (ROOT / "README.md").read_text(), (ROOT / "benchmarks" / "RESULTS.md").read_text()
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in results.splitlines()]
    times = [[float(c) for c in r[1:6]] for r in rows if len(r) == 10 and re.fullmatch(r"[\d.]+", r[1])]
    factors = [float(r[7]) for r in rows if len(r) == 10 and re.fullmatch(r"[\d.]+", r[1])]
    eager = statistics.geometric_mean(t[1] / t[2] for t in times)
    cold = max(float(r[1]) for r in rows if len(r) == 4 and re.fullmatch(r"\d+\.\d\d", r[1]))
    assert len(times) == 16 and "over sixteen workloads" in readme
    stated = re.search(
        r"are ([\d.]+) times.*factor is ([\d.]+) for .* and ([\d.]+) for.* take ([\d.]+) times as long", readme, re.DOTALL
    )
    found = statistics.geometric_mean(factors), max(factors), min(factors), eager
    assert [float(x) for x in stated.groups()] == [round(x, 1) for x in found]
    assert cold < 2 and "up to two\nseconds" in readme


def test_outputs_are_compared():
    assert (
        agrees("a ... c\n", "a b\nb c\n")
        and agrees("1.5\n", "1.5")
        and not agrees("a ... c", "a b d")
        and not agrees("a", "ab")
    )


def test_the_text_on_kernels_names_every_intrinsic():
    known = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]*)`", (ROOT / "docs" / "kernels.md").read_text()))))
    assert set(dialect.NAMES) <= known, set(dialect.NAMES) - known


def test_the_reference_of_the_ir_has_every_operation_once():
    listed = re.findall(r"^\| `(\w+)\(", reference.ir_page(), re.MULTILINE)
    assert sorted(listed) == sorted(PRIMITIVES)


def test_the_reference_of_the_api_has_every_public_module():
    pages = reference.api_pages()
    assert {f"{name}.rst" for name in reference.MODULES} <= set(pages)
    assert (
        "autofunction:: tracer.softmax" in pages["tracer.rst"]
        and "automethod:: tracer.Tensor.backward" in pages["tracer.Tensor.rst"]
    )


def test_docstrings_become_markup():
    assert reference.marked(["x_ * y, and ``a * b``."]) == [r"x\_ \* y, and ``a * b``.", ""]
    assert reference.marked(["Text:", "", "    code * 2"]) == ["Text:", "", "::", "", "       code * 2", ""]


def test_links_of_copied_pages_lead_to_pages():
    text = "[a](RESULTS.md) [b](https://x.org/a) [c](../README.md) [d](../docs/numba.md#x)"
    assert reference.linked(text, "benchmarks/NOTES.md", "docs/copied/x.md") == (
        "[a](results.md) [b](https://x.org/a) [c](../README.md) [d](../numba.md#x)"
    )


@pytest.mark.skipif(not importlib.util.find_spec("furo"), reason="the documentation's packages are not installed: make docs")
@pytest.mark.slow
def test_the_site_is_built_without_warnings(tmp_path):
    with contextlib.chdir(ROOT):
        done = subprocess.run(
            [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "html", "-d", tmp_path / "trees", "docs", tmp_path / "html"],
            capture_output=True,
            text=True,
            env=os.environ,
        )
    assert done.returncode == 0, done.stderr
