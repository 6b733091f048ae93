"""The kernel language is a dialect of Numba: plain ``numba.njit`` compiles kernel text unchanged, with bitwise equal
results.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tracer.runtime import dialect
from tracer.runtime.compiler.intrinsics import DTYPES, INTRINSICS

TOOL = Path(__file__).parent / "second_compiler.py"


def compared(*arguments, cpu="host"):
    """The second compiler's report."""
    done = subprocess.run(
        [sys.executable, str(TOOL), *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "TRACER_CPU": cpu},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check(*arguments, at_least, cpu="host"):
    report = compared(*arguments, cpu=cpu)
    assert not report["differences"]
    assert report["kernels"] >= at_least


@pytest.mark.parametrize("share", range(2))
def test_a_sample_of_each_primitive(share):
    check("samples", "float32", f"{share}/2", "--first", at_least=50)


@pytest.mark.parametrize("share", range(2))
def test_workloads(share):
    check("workloads", f"{share}/2", "--first", at_least=30)


@pytest.mark.parametrize(("what", "start", "stop"), [("programs", 1000, 1008), ("gradients", 3000, 3002)])
def test_random_programs(what, start, stop):
    check(what, start, stop, at_least=10)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("share", range(4))
def test_all_samples(dtype, share):
    check("samples", dtype, f"{share}/4", at_least=60)


@pytest.mark.slow
@pytest.mark.parametrize("share", range(8))
def test_all_workloads(share):
    check("workloads", f"{share}/8", at_least=7)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, 40, 10))
def test_many_random_programs(start):
    check("programs", 1000 + start, 1010 + start, at_least=20)
    check("gradients", 3000 + start, 3003 + start, at_least=10)


@pytest.mark.slow
@pytest.mark.parametrize("each_cpu", ["x86-64-v2", "x86-64-v3"], indirect=True)
def test_another_cpu(each_cpu):
    check("samples", "float32", "0/1", "--first", at_least=100, cpu=each_cpu.name)
    check("workloads", "1/4", "--first", at_least=10, cpu=each_cpu.name)


def test_a_wrong_intrinsic_is_noticed():
    right = compared("samples", "float32", "0/1", "--primitive", "exp")
    wrong = compared("samples", "float32", "0/1", "--primitive", "exp", "--swap", "exp=exp2")
    assert right["kernels"] and not right["differences"]
    assert wrong["differences"]


def test_every_intrinsic_is_known_to_numba():
    assert set(dialect.NAMES) == {*INTRINSICS, *DTYPES, *(f"buffer_{short}" for short in DTYPES), "inf", "nan", "masked"}
    assert all(name in vars(dialect) for name in dialect.__all__)


SCALE = """def kernel(args, start, stop):
    p0 = buffer_f32(args, 0, 2)
    p1 = buffer_f32(args, 1, 2)
    n0 = args[2]
    status = args[3]
    for i0 in range(start, stop):
        store(p1, i0, load(p0, check_index(i0 + n0, 4, status, 0)) * f32(2.0))
"""


def test_call():
    kernel = dialect.compiled(SCALE)
    x, y = np.arange(4, dtype=np.float32), np.zeros(4, np.float32)
    dialect.call(kernel, [x, y], [1], 0, 2)
    assert y.tolist() == [2, 4, 0, 0]
    with pytest.raises(RuntimeError, match="check 0 of the kernel failed for 4"):
        dialect.call(kernel, [x, y], [1], 0, 4)
    with pytest.raises(ValueError, match="array 1 is not contiguous"):
        dialect.call(kernel, [x, np.zeros((4, 2), np.float32)[:, 0]], [1], 0, 2)
