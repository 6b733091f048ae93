"""Inner loops of expensive functions whose extents leave many iterations over are computed with masks."""

import numpy as np
import pytest

import tracer
from tracer.codegen.masked import with_masks
from tracer.codegen.nest import Array, Kernel, Let, Loop, Store
from tracer.ir.types import float32, float64
from tracer.nn import functional as F
from tracer.runtime.compiler import compile as compiler
from tracer.runtime.compiler import machine


def rows(dtype, function="exp", start="0"):
    """A kernel that applies a function to the elements of rows."""
    body = [Let("t2", "load(p0, i0 * n0 + r1)"), Let("t3", f"{function}(t2)"), Store("p1", "i0 * n0 + r1", "t3")]
    loops = [Loop("i0", "start", "stop", [Loop("r1", start, "n0", body)])]
    return Kernel([Array("p0", dtype), Array("p1", dtype)], ["n0"], [0], loops, 4, [])


@pytest.mark.parametrize(
    ("dtype", "extent", "masked"),
    [
        *((float32, n, m) for n, m in ((10, True), (15, True), (16, False), (17, False), (18, False), (19, True), (31, True))),
        *((float32, n, m) for n, m in ((32, False), (255, True), (256, False), (1000, False))),
        *((float64, n, m) for n, m in ((8, False), (9, False), (10, True), (15, True), (100, True), (127, True), (135, False))),
    ],
)
def test_which_loops(dtype, extent, masked):
    def first(kernel):
        (outer,) = with_masks(kernel, kernel.body, {"n0": extent})
        return outer.body[0].masked or outer.masked

    assert first(rows(dtype)) is masked
    assert not first(rows(dtype, "negative")) and not first(rows(dtype, start="1"))


@pytest.mark.parametrize(
    ("start", "store", "masked"),
    [("r1", "r1", True), ("r1 * 4", "r1", False), ("j5 * 3 + 1", "r1", False), ("r1", "r1 * 2", False)],
)
def test_elements_that_are_apart_are_not_masked(start, store, masked):
    body = [
        Let("j5", "(r1 + n1)"),
        Let("t2", f"load(p0, i0 * n0 + {start})"),
        Let("t3", "exp(t2)"),
        Store("p1", f"i0 * n0 + {store}", "t3"),
    ]
    loops = [Loop("i0", "start", "stop", [Loop("r1", "0", "n0", body)])]
    kernel = Kernel([Array("p0", float64), Array("p1", float64)], ["n0", "n1"], [28, 2], loops, 4, [])
    (outer,) = with_masks(kernel, kernel.body, {"n0": 28, "n1": 2})
    assert outer.body[0].masked is masked


FUNCTIONS = {
    "softmax": lambda x: tracer.softmax(x, -1),
    "log_softmax": lambda x: tracer.log_softmax(x, -1),
    "gelu of a slice": lambda x: F.gelu(x[:, 1:]),
    "tanh of a slice": lambda x: tracer.tanh(x[:, :-1]) * x[:, 1:],
    "a sum": lambda x: (x.exp() * 0.5 + x.sin()).sum(-1),
    "an extremum": lambda x: (x * x.cos()).amax(-1),
    "condition": lambda x: tracer.where(x > 0, x.log1p(), x.expm1())[:, 1:],
    "logsumexp": lambda x: tracer.logsumexp(x, -1),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_results(name, dtype):
    tracer.manual_seed(0)
    function, traced = FUNCTIONS[name], tracer.trace(FUNCTIONS[name])
    room = 1e-5 if dtype == "float32" else 1e-12
    for n in (2, 7, 9, 10, 15, 16, 17, 23, 31, 33, 47, 63, 100, 255):
        x = tracer.randn(13, n, dtype=getattr(tracer, dtype))
        expected = function(x.double()).numpy()
        for _ in range(3):
            np.testing.assert_allclose(traced(x).numpy(), expected, rtol=room, atol=room)


@pytest.mark.parametrize("cpu", ["x86-64-v3", "x86-64-v4"])
@pytest.mark.parametrize("step", [3, 5, 8])
def test_strided_loads_are_no_gathers(cpu, step):
    """From memory these take several times as long as single loads."""
    text = f"""def kernel(args, start, stop):
    p0 = buffer_f64(args, 0, 2)
    p1 = buffer_f64(args, 1, 2)
    for i0 in range(start, stop):
        store(p1, i0, load(p0, i0 * {step}) * f64(2.0))
"""
    with machine.selecting(cpu):
        assert "gather" not in compiler.assembly(text)


@pytest.mark.parametrize(("cpu", "wide"), [("x86-64-v4", True), ("x86-64-v3", False), ("aarch64", False)])
def test_nothing_is_left_over(cpu, wide):
    """The vectorised loop has masks, and no loop for single numbers follows; with shorter vectors nothing changes."""
    text = """def kernel(args, start, stop):
    p0 = buffer_f32(args, 0, 2)
    p1 = buffer_f32(args, 1, 2)
    n0 = args[2]
    for i0 in range(start, stop):
        for r1 in LOOP(0, n0):
            store(p1, i0 * n0 + r1, exp(load(p0, i0 * n0 + r1)))
"""
    with machine.selecting(cpu):
        masked, plain = (compiler.llvm_ir(text.replace("LOOP", loop)) for loop in ("masked", "range"))
    assert ("llvm.masked.store" in masked) is wide and "llvm.masked.store" not in plain
    assert "store float" in plain and ("store float" in masked) is not wide
