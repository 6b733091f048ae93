"""Functions for Numba as C callbacks, and in other processes."""

import ctypes
import math
import os
import re
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
import scipy.integrate
from numba import njit
from test_numba_functions import MEAN, ROOT, log_density

import tracer

# C.


@tracer.trace
def bump(x):
    return tracer.exp(-x * x)


@tracer.trace
def wave(x, a, b):
    return tracer.sin(a * x) * b


@tracer.trace
def length(v):
    return (v * v).sum().sqrt()


def test_quad_by_each_of_scipys_forms():
    integral = math.sqrt(math.pi) * math.erf(1) / 2
    for form in ("double (double)", "double(double,void*)"):
        assert scipy.integrate.quad(bump.cfunc(0.0, signature=form).low_level_callable(), 0, 1)[0] == pytest.approx(integral)
    expected = 5 * (1 - math.cos(3.0)) / 3
    for form in ("double (int, double *)", "double (int, double *, void *)"):
        function = wave.cfunc(0.0, np.float32(0), 0.0, signature=form).low_level_callable()
        assert scipy.integrate.quad(function, 0, 1, args=(3.0, 5.0))[0] == pytest.approx(expected)
        function = length.cfunc(np.zeros(2), signature=form).low_level_callable()
        assert scipy.integrate.nquad(function, [[0, 1], [0, 1]])[0] == pytest.approx(0.7651957164642126)


def test_nan_stands_for_errors():
    @tracer.trace
    def f(x):
        return tracer.arange(3.0)[x.long().reshape(1)].double().sum()

    c = f.cfunc(0.0, signature="double (double)")
    assert c.ctypes(2.0) == 2.0 and math.isnan(c.ctypes(3.0)) and c.ctypes(1.0) == 1.0
    v = length.cfunc(np.zeros(2), signature="double (int, double *)")
    two = (ctypes.c_double * 2)(3.0, 4.0)
    assert v.ctypes(2, two) == 5.0 and math.isnan(v.ctypes(3, two))


def test_the_default_signature():
    @tracer.trace
    def f(table, i, flag):
        return table[i], (flag & (i > 0)).sum()

    c = f.cfunc(np.zeros((4, 2), np.float32), np.zeros(3, np.int32), np.zeros(3, bool))
    assert c.signature == "int32_t f(const float *table, const int32_t *i, const bool *flag, float *out0, int64_t *out1)"
    table, i, flag = np.arange(8, dtype=np.float32).reshape(4, 2), np.array([3, 0, 1], np.int32), np.array([True, True, False])
    out, count = np.zeros((3, 2), np.float32), np.zeros((), np.int64)

    def call():
        pairs = zip((table, i, flag, out, count), c.ctypes.argtypes, strict=True)
        return c.ctypes(*[ctypes.cast(a.ctypes.data, t) for a, t in pairs])

    assert call() == 0 and out.tolist() == [[6, 7], [0, 1], [2, 3]] and count == 1
    i[1] = 9
    status = call()
    assert status > 0 and c.errors[status - 1].startswith("IndexError: index ... is out of bounds for dimension 0 with size 4")
    assert c.signature in c.__doc__ and "shape (4, 2)" in c.__doc__ and c.errors[0] in c.__doc__
    assert c.address == ctypes.cast(c.ctypes, ctypes.c_void_p).value and "int32_t f" in repr(c)
    with pytest.raises(TypeError, match="SciPy does not support"):
        c.low_level_callable()


def test_gradients_in_c():
    c = wave.cfunc(0.0, 0.0, 0.0, gradient=True, argnums=(0, 2))
    assert c.signature.endswith("double *out0, double *out1, double *out2)")
    given = [ctypes.byref(ctypes.c_double(x)) for x in (0.5, 3.0, 2.0)]
    out = [ctypes.c_double() for _ in range(3)]
    assert c.ctypes(*given, *map(ctypes.byref, out)) == 0
    assert [o.value for o in out] == pytest.approx([2 * math.sin(1.5), 6 * math.cos(1.5), math.sin(1.5)])


def test_signatures_that_do_not_fit_are_refused():
    for signature, error, message in (
        ("float (float)", ValueError, "must be one of"),
        (3, TypeError, "must be a string"),
        ("double (double)", ValueError, "must take one floating-point scalar"),
    ):
        with pytest.raises(error, match=message):
            wave.cfunc(0.0, 0.0, 0.0, signature=signature)
    with pytest.raises(ValueError, match="must return one floating-point scalar"):
        bump.cfunc(0.0, signature="double (double)", gradient=True)
    with pytest.raises(ValueError, match="or one vector of float64"):
        length.cfunc(np.zeros(2, np.float32), signature="double (int, double *)")


def test_cffi():
    ffi = pytest.importorskip("cffi").FFI()
    c = log_density.cfunc(np.zeros(3), gradient=True)
    f = ffi.cast("int32_t (*)(const double *, double *, double *)", c.address)
    x, value, gradient = ffi.new("double[3]", MEAN.tolist()), ffi.new("double *"), ffi.new("double[3]")
    assert f(x, value, gradient) == 0 and value[0] == 0 and list(gradient) == [0, 0, 0]


C_PROGRAM = """
#include <pthread.h>
#include <stdint.h>
typedef int32_t (*function)(const double *x, double *value, double *gradient);
static function f;
static void *work(void *result) {
    double x[3] = {0, 0, 0}, value, gradient[3];
    for (int i = 0; i < 20000; i++)
        if (f(x, &value, gradient)) return 0;
        else for (int k = 0; k < 3; k++) x[k] += 0.01 * gradient[k];
    for (int k = 0; k < 3; k++) ((double *)result)[k] = x[k];
    return 0;
}
void climb(void *address, double *results, int n) {
    pthread_t threads[16];
    f = (function)address;
    for (int i = 0; i < n; i++) pthread_create(&threads[i], 0, work, results + 3 * i);
    for (int i = 0; i < n; i++) pthread_join(threads[i], 0);
}
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_threads_of_c(tmp_path):
    (tmp_path / "climb.c").write_text(C_PROGRAM)
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-pthread", "-o", "climb.so", "climb.c"], cwd=tmp_path, check=True)
    climb = ctypes.CDLL(str(tmp_path / "climb.so")).climb
    c = log_density.cfunc(np.zeros(3), gradient=True)
    results = np.zeros((6, 3))
    climb(ctypes.c_void_p(c.address), ctypes.c_void_p(results.ctypes.data), 6)
    np.testing.assert_allclose(results, np.tile(MEAN, (6, 1)))


# Processes.


def run(code, tmp_path, *arguments):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    command = [sys.executable, "-W", "ignore::DeprecationWarning", *arguments, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_numba_is_imported_only_when_asked_for(tmp_path):
    run("import tracer, sys; tracer.trace(lambda x: x)(tracer.ones(2)); assert 'numba' not in sys.modules", tmp_path)


CACHED = """
import numba, numpy as np, tracer

@tracer.trace
def f(x):
    return (x * x).sum() * SCALE

g = f.numba(np.zeros(3))

@numba.njit(cache=True)
def use(x):
    return g(x) + 1.0

print(use(np.arange(3.0)))
"""


def test_cached_user_functions_are_compiled_anew(tmp_path):
    """Addresses are not valid in another process."""
    for scale in ("2.0", "3.0"):
        (tmp_path / "user.py").write_text(CACHED.replace("SCALE", scale))
        out, err = run("import user", tmp_path)
        assert out == f"{5 * float(scale) + 1}\n"
        assert "Cannot cache compiled function" in err and "dynamic globals" in err


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_calls_while_the_parent_was_calling():
    f = log_density.numba(np.zeros(3))

    @njit(nogil=True)
    def busy(n):
        x, t = np.zeros(3), 0.0
        for _ in range(n):
            t += f(x)
        return t

    expected = busy(10)
    threads = [threading.Thread(target=busy, args=(1_000_000,)) for _ in range(6)]
    [t.start() for t in threads]
    for _ in range(4):
        child = os.fork()
        if child == 0:
            os._exit(0 if busy(10) == expected else 1)
        assert os.waitpid(child, 0)[1] == 0
    [t.join() for t in threads]


def test_the_documentation_runs():
    text = (ROOT / "docs" / "numba.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert blocks
    space = {"__name__": "documentation"}
    for block in blocks:
        exec(compile(block, "docs/numba.md", "exec"), space)
