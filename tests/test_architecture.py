"""Rules for the source code."""

import ast
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
ORDER = ["ir", "codegen", "runtime", "tracer"]


def imported_rooms(path, room):
    """The parts that a file imports, with the parts as neighbours, as in the installed package."""
    package = ["tracer", *path.relative_to(ROOT).parent.parts[room == "tracer" :]]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            full = [*base, *(node.module or "").split(".")] if node.module else base
            names = [[*full, a.name] for a in node.names]
        elif isinstance(node, ast.Import):
            names = [a.name.split(".") for a in node.names]
        else:
            continue
        for name in names:
            if name[0] == "tracer":
                yield name[1] if len(name) > 1 and name[1] in ORDER else "tracer"
            else:
                yield name[0]


def test_imports_run_one_way():
    compilers = {"llvmlite", "numba", "cuda", "nvidia", "nvmath"}
    allowed = {
        "ir": {"numpy", "scipy", "ml_dtypes"},
        "codegen": {"numpy"},
        "runtime": {"numpy", "scipy", "ml_dtypes", *compilers},
    }
    for level, room in enumerate(ORDER):
        for path in sorted((ROOT / room).rglob("*.py")):
            for target in imported_rooms(path, room):
                if target in ORDER:
                    assert ORDER.index(target) <= level, f"{path.relative_to(ROOT)} imports {target}"
                elif room in allowed:
                    known = allowed[room] | set(sys.stdlib_module_names)
                    assert target in known, f"{path.relative_to(ROOT)} imports {target}"


def test_imports_in_the_runtime_run_one_way():
    order = ["emulator", "compiler", "support", "programs", "devices"]
    for level, room in enumerate(order):
        for path in (ROOT / "runtime" / room).glob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom) and node.level == 2 and node.module:
                    target = node.module.split(".")[0]
                    assert target not in order or order.index(target) <= level, f"{path.relative_to(ROOT)} imports {target}"


def test_every_package_is_listed_for_installation():
    import tomllib

    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = set()
    for room in ORDER:
        for init in (ROOT / room).rglob("__init__.py"):
            parts = init.parent.relative_to(ROOT).parts
            found.add(".".join(parts if room == "tracer" else ("tracer", *parts)))
    assert found == listed


def test_the_root_of_the_package_holds_what_people_import():
    names = {path.stem for path in (ROOT / "tracer").glob("*.py")} - {"__init__", "__main__"}
    assert names == {"accelerator", "amp", "backends", "compiler", "cuda", "fft", "quasirandom", "serialization", "special"}


def test_links_make_the_parts_one_package():
    """An editable install is the path ``src``, so that tools that do not run import hooks find the whole package."""
    assert (ROOT / "src" / "tracer").resolve() == ROOT / "tracer"
    assert [path.name for path in (ROOT / "src").iterdir() if path.suffix != ".egg-info"] == ["tracer"]
    for room in ORDER[:-1]:
        assert (ROOT / "src" / "tracer" / room).resolve() == ROOT / room


def test_only_the_folder_of_devices_knows_the_class_of_their_arrays():
    """Elsewhere ``device_of`` says where an array is."""
    for path in (ROOT / "tracer").rglob("*.py"):
        if path.relative_to(ROOT / "tracer").parts[0] not in ORDER:
            assert "DeviceArray" not in path.read_text(), path


def test_files_are_of_readable_size():
    for room in ORDER:
        for path in (ROOT / room).rglob("*.py"):
            assert len(path.read_text().splitlines()) <= 600, path


def test_import_is_quick(tmp_path):
    """The package's share of the import time, from the second process on, is at most three times NumPy's: 0.2 s, or less."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(tmp_path)}
    clock = (
        "import time; s = time.process_time(); import numpy; t = time.process_time(); import tracer; u = time.process_time()"
    )
    command = [sys.executable, "-c", f"{clock}; print(t - s, u - t)"]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout for _ in range(4)]
    times = [tuple(map(float, run.split())) for run in runs]
    assert min(ours / numpy for numpy, ours in times) < 3  # in one run, because the speed of a shared processor varies
