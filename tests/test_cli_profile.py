"""``tracer profile``, ``explain``, ``cache``, ``--version`` and shell completion, as users type them."""

import json
import os
import re
import subprocess
import sys
import textwrap

import pytest
from typer.testing import CliRunner

import tracer
from tracer.cli.app import app
from tracer.runtime.compiler import cache

SCRIPT = """
    import sys
    import tracer
    import helper

    @tracer.trace
    def f(x):
        return (x * helper.two).sum()

    @tracer.trace
    def never_called(x):
        return x

    def main():
        for _ in range(4):
            result = f(tracer.ones(8))
        print("result", result.item(), sys.argv[1:], __name__)

    if __name__ == "__main__":
        main()
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT))
    (tmp_path / "helper.py").write_text("two = 2")
    (tmp_path / "fails.py").write_text("print(1 / 0)")
    (tmp_path / "leaves.py").write_text("import sys\nsys.exit(3)")
    (tmp_path / "says.py").write_text("raise SystemExit('no data')")
    monkeypatch.chdir(tmp_path)
    return lambda *args: CliRunner().invoke(app, list(args), catch_exceptions=False)


def test_profile_runs_a_script_with_its_own_arguments_and_prints_a_table(run):
    before = sys.argv.copy(), sys.path.copy()
    result = run("profile", "--top", "1", "script.py", "--rate", "1", "-x")
    assert result.exit_code == 0, result.output
    assert result.stdout == "result 16.0 ['--rate', '1', '-x'] __main__\n"
    assert "phase" in result.stderr and "mul, sum" in result.stderr and "script.py:8" in result.stderr
    assert (sys.argv, sys.path) == before


def test_profile_writes_a_trace_and_a_report(run, tmp_path):
    result = run("profile", "--trace", "trace.json", "--html", "report.html", "script.py")
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    "script, code, said", [("fails.py", 1, "ZeroDivisionError"), ("leaves.py", 3, ""), ("says.py", 1, "no data")]
)
@pytest.mark.parametrize("command", ["profile", "explain"])
def test_the_exit_code_is_that_of_the_script(run, command, script, code, said):
    result = run(command, script)
    assert result.exit_code == code and said in result.stderr


@pytest.mark.parametrize(
    "arguments, said",
    [
        (("profile", "nothing.py"), "there is no file or module 'nothing.py'"),
        (("profile", "no_such_module"), "there is no file or module 'no_such_module'"),
        (("explain", "nothing.py"), "there is no file or module 'nothing.py'"),
        (("profile", "--html", "nowhere/report.html", "script.py"), "there is no folder 'nowhere'"),
        (("profile", "--trace", ".", "script.py"), "cannot write"),
    ],
)
def test_a_bad_argument_is_one_line_and_exit_code_2(run, arguments, said):
    result = run(*arguments)
    assert result.exit_code == 2 and f"tracer: {said}" in result.stderr.splitlines()[-1]


def test_a_module_can_be_profiled_by_name(run):
    result = run("profile", "script")
    assert result.exit_code == 0 and "result 16.0" in result.stdout


def test_explain_reports_the_traced_functions_that_were_called(run):
    result = run("explain", "script.py")
    assert result.exit_code == 0, result.output
    assert "f: 1 traces" in result.stderr and "x: float32[8]" in result.stderr and "never_called" not in result.stderr
    assert "no traced function was called" in run("explain", "helper.py").stderr


def test_the_cache_is_listed_measured_verified_and_cleared(run, tmp_path, monkeypatch):
    monkeypatch.setenv("TRACER_CACHE_DIR", str(tmp_path / "cache"))
    assert run("cache", "list").output == "" and run("cache", "verify").output == "0 files, 0 not valid\n"
    cache.write("k_one", b"machine code")
    cache.write("p_two", b"a plan")
    listed = run("cache", "list").output.splitlines()
    assert len(listed) == 2 and all(re.match(r"(kernel|plan) +\d+ \d{4}-\d\d-\d\d \d\d:\d\d:\d\d [kp]_\w+$", x) for x in listed)
    sizes = run("cache", "size").output
    assert re.search(r"kernels +1 +44 bytes", sizes) and re.search(r"total +2 +82 bytes, at most 536870912", sizes)
    assert run("cache", "verify").exit_code == 0
    (tmp_path / "cache" / "k_one").write_bytes(b"something else, long enough to have a digest at its start")
    broken = run("cache", "verify")
    assert broken.exit_code == 1 and broken.output == "not valid: k_one\n2 files, 1 not valid\n"
    assert run("cache", "verify", "--remove").output.startswith("not valid, removed: k_one\n1 files")
    assert run("cache", "verify").exit_code == 0
    assert run("cache", "clear").exit_code == 1  # nobody answers
    assert cache.read("p_two") == b"a plan"
    assert run("cache", "clear", "--yes").output == "1 files removed\n"
    assert not list(cache.files())


def test_verifying_does_not_count_as_a_use(run, tmp_path, monkeypatch):
    monkeypatch.setenv("TRACER_CACHE_DIR", str(tmp_path / "cache"))
    cache.write("k_one", b"machine code")
    os.utime(tmp_path / "cache" / "k_one", (1e9, 1e9))
    run("cache", "verify")
    assert next(cache.files()).used == 1e9


def test_version_and_help(run):
    assert run("--version").output == f"tracer {tracer.__version__}\n"
    for arguments in (("-h",), ("--help",), ("profile", "-h"), ("cache", "-h"), ("cache", "clear", "-h")):
        result = run(*arguments)
        assert result.exit_code == 0 and "Usage: " in result.output


def test_as_a_module_and_completion(tmp_path):
    def told(*arguments, **environment):
        command = [sys.executable, "-m", "tracer", *arguments]
        return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}).stdout

    assert told("--version") == f"tracer {tracer.__version__}\n"
    completed = told(_TRACER_COMPLETE="complete_bash", COMP_WORDS="tracer pro", COMP_CWORD="1")
    assert completed.split() == ["profile"]
    assert "_TRACER_COMPLETE" in told("--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
