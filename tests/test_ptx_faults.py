"""The PTX emulator: every kind of planted fault is detected. Each test names the kind that it plants."""

import numpy as np
import pytest
from ptx_texts import fault, launched, words

from tracer.runtime import emulator as ptx

OUT = np.zeros(32, np.float32)
IN = words(32)
COPY = "ld.global.f32 %f1, [%rd22]; st.global.f32 [%rd21], %f1;"


def test_fault_out_of_bounds():
    caught = fault("out of bounds", COPY, [OUT, IN[:20].copy()])
    assert (caught.thread, caught.block) == (20, 0) and "ld.global.f32 %f1, [%rd22]" in str(caught)
    fault("out of bounds", COPY.replace("[%rd21]", "[%rd21+4]"), [OUT, IN])


def test_fault_out_of_bounds_names_the_block():
    body = "mov.u32 %r2, %ctaid.x; mad.wide.u32 %rd21, %r2, 32, %rd21; st.global.u32 [%rd21], %r1;"
    caught = fault("out of bounds", body, [np.zeros(20, np.uint32), OUT], 4, 8)
    assert (caught.thread, caught.block) == (4, 2)


def test_fault_before_the_beginning():
    fault("out of bounds", COPY.replace("[%rd22]", "[%rd22+-4]"), [OUT, IN])
    fault("out of bounds", "ld.global.f32 %f1, [%rd11];", [OUT, -4])
    fault("out of bounds", "ld.global.f32 %f1, [0];", [OUT])


def test_fault_misaligned_vector():
    body = "ld.global.v4.f32 {%f1, %f2, %f3, %f4}, [%rd1];"
    launched(body, [ptx.Array(IN, 16)])
    for align in (4, 8):
        fault("misaligned", body, [ptx.Array(IN, align)])
    fault("misaligned", "ld.global.v2.f32 {%f1, %f2}, [%rd2];", [IN, IN[1:]])


def test_fault_unaligned_scalar():
    fault("misaligned", "ld.global.f32 %f1, [%rd1+2];", [IN])
    fault("misaligned", "ld.global.f64 %fd1, [%rd1];", [ptx.Array(IN, 4)])


def test_fault_divergent_barrier():
    body = "setp.lt.u32 %p1, %r1, 16; @%p1 bra other; bar.sync 0; bra.uni end; other: bar.sync 0; end:"
    fault("divergent barrier", body, [OUT])


def test_fault_barrier_after_exit():
    caught = fault("barrier after exit", "setp.eq.u32 %p1, %r1, 5; @%p1 ret; bar.sync 0;", [OUT], 2, 64)
    assert "bar.sync 0" in str(caught)
    fault("barrier after exit", "setp.lt.u32 %p1, %r1, 32; @%p1 bar.sync 0;", [OUT], 1, 64)


def test_fault_shuffle_in_divergence():
    body = "mov.u32 %r3, 0; setp.ge.u32 %p1, %r1, 16; @%p1 bra end; shfl.sync.bfly.b32 %r3, %r1, 8, 31, -1; end:"
    fault("missing lanes", body, [OUT])
    fault("missing lanes", body.replace("-1", "0xff"), [OUT])
    launched(body.replace("-1", "0xffff"), [OUT])


def test_fault_shuffle_from_a_lane_that_does_not_exist():
    fault("missing lanes", "shfl.sync.bfly.b32 %r3, %r1, 16, 31, -1;", [OUT], 1, 20)


SHARED = ".shared .align 4 .b8 tile[256]; mov.u64 %rd3, tile; add.s64 %rd4, %rd3, %rd20; xor.b64 %rd5, %rd20, 4;\n"
SHARED += "add.s64 %rd5, %rd3, %rd5;\n"  # the thread's element, and the next one's


def test_fault_shared_race_read_after_write():
    body = SHARED + "st.shared.u32 [%rd4], %r1; bar.sync 0; ld.shared.u32 %r2, [%rd5];"
    launched(body, [OUT])
    fault("shared race", body.replace("bar.sync 0;", ""), [OUT])


def test_fault_shared_race_write_after_read():
    body = SHARED + "st.shared.u32 [%rd4], %r1; bar.sync 0; ld.shared.u32 %r2, [%rd5]; bar.sync 0; st.shared.u32 [%rd4], %r2;"
    launched(body, [OUT], 2, 64)
    fault("shared race", next(m for k, m in enumerate(ptx.without(body, "bar.sync")) if k == 1), [OUT], 2, 64)


def test_fault_shared_race_write_after_reads_of_all():
    body = (
        SHARED + "st.shared.u32 [%rd4], %r1; bar.sync 0; ld.shared.u32 %r2, [tile]; bar.sync 0; @%p1 st.shared.u32 [tile], %r2;"
    )
    body = "setp.eq.u32 %p1, %r1, 0;" + body
    launched(body, [OUT], 2, 64)
    fault("shared race", next(m for k, m in enumerate(ptx.without(body, "bar.sync")) if k == 1), [OUT], 2, 64)


def test_fault_shared_race_write_write():
    fault("shared race", SHARED + "st.shared.u32 [tile], %r1;", [OUT])
    fault("shared race", SHARED + "st.shared.u32 [%rd4], 1; st.shared.u32 [%rd5], 1;", [OUT])


def test_fault_shared_race_between_warps_that_only_synchronise_themselves():
    """``bar.warp.sync`` orders only the accesses of one warp's lanes."""
    body = SHARED + "st.shared.u32 [%rd4], %r1; bar.warp.sync -1; ld.shared.u32 %r2, [%rd5];"
    launched(body, [OUT], 1, 64)
    fault("shared race", body.replace("xor.b64 %rd5, %rd20, 4", "xor.b64 %rd5, %rd20, 128"), [OUT], 1, 64)


def test_fault_uninitialised_shared_read():
    body = SHARED + "ld.shared.u32 %r2, [%rd4];"
    fault("uninitialised memory", body, [OUT])
    fault("out of bounds", body.replace("[%rd4]", "[%rd4+252]"), [OUT])


def test_fault_uninitialised_local_read():
    fault("uninitialised memory", ".local .align 8 .b8 depot[8]; ld.local.u32 %r2, [depot+4];", [OUT])


def test_fault_uninitialised_register():
    body = "setp.lt.u32 %p1, %r1, 16; @%p1 mov.u32 %r2, 1; mov.u32 %r3, %r2; {} add.u32 %r3, %r3, 1;"
    caught = fault("uninitialised register", body.format(""), [OUT])
    assert caught.thread == 16 and "%r3" in str(caught)
    launched(body.format("@!%p1 mov.u32 %r3, 0;"), [OUT])
    fault("uninitialised register", "@%p2 mov.u32 %r2, 1;", [OUT])


def test_fault_conflicting_global_stores():
    fault("conflicting stores", "st.global.u32 [%rd1], %r1;", [OUT])
    body = "mov.u32 %r2, %ctaid.x; cvt.rn.f32.u32 %f1, %r2; add.s64 %rd21, %rd1, %rd20; st.global.f32 [%rd21], %f1;"
    fault("conflicting stores", body, [OUT], 2)
    (result,) = launched("st.global.f32 [%rd1], 0f3F800000;", [OUT], 3)
    assert result[0] == 1
    later = "st.global.u32 [%rd1], 1; setp.eq.u32 %p1, %r1, 3; @%p1 st.global.u32 [%rd1], 2;"
    fault("conflicting stores", later, [OUT])
    ordered = later.replace("setp", "bar.sync 0; setp")
    launched(ordered, [OUT])
    fault("conflicting stores", ordered, [OUT], 2)


OTHER = "xor.b32 %r2, %r1, 1; mov.u32 %r3, %ctaid.x; mov.u32 %r4, %ntid.x; mad.lo.u32 %r5, %r3, %r4, %r1;"
OTHER += "mad.lo.u32 %r2, %r3, %r4, %r2; mad.wide.u32 %rd4, %r5, 4, %rd1; mad.wide.u32 %rd5, %r2, 4, %rd1;"


def test_fault_global_race_in_a_block():
    body = OTHER + "st.global.u32 [%rd4], %r1; bar.sync 0; ld.global.u32 %r6, [%rd5];"
    launched(body, [OUT], 2, 16)
    fault("global race", body.replace("bar.sync 0;", ""), [OUT], 2, 16)


def test_fault_global_race_between_blocks():
    """A barrier orders only the threads of one block."""
    read = "xor.b32 %r5, %r5, 16; mad.wide.u32 %rd5, %r5, 4, %rd1; ld.global.u32 %r6, [%rd5];"
    fault("global race", OTHER + "st.global.u32 [%rd4], %r1; bar.sync 0;" + read, [OUT], 2, 16)
    fault("global race", OTHER + read + "bar.sync 0; st.global.u32 [%rd4], %r1;", [OUT], 2, 16)


def is_race(steps, places, team):
    """True if two threads access an element, one of them stores, and no barrier is between: by comparing all pairs.

    A "small" barrier orders the threads of a team, a "large" one all.
    """
    touched, small, large = [], 0, 0
    for step, at in zip(steps, places, strict=True):
        small, large = small + (step == "small"), large + (step == "large")
        if step in ("load", "store"):
            touched += [(place, thread, step, (small, large)) for thread, place in enumerate(at) if place >= 0]
    for k, (place, thread, step, now) in enumerate(touched):
        for other, by, sort, then in touched[:k]:
            if other == place and by != thread and "store" in (step, sort):
                in_order = then != now if team[by] == team[thread] else then[1] != now[1]
                if not in_order:
                    return True
    return False


def random_accesses(seed, threads, kinds):
    """Steps, and for each the element that each thread accesses, -1 for none. About half of the programs have races."""
    random = np.random.default_rng(seed)
    steps = random.choice(kinds, 8)
    places = np.where(random.random((8, threads)) < 2 / threads, random.integers(0, 4, (8, threads)), -1)
    return steps, places


def check_random_accesses(seed, space, team, barriers, start, blocks):
    steps, places = random_accesses(seed, 64, ["load", "load", "store", *barriers])
    table = np.full((8, 1024), -1, np.int32)
    table[:, :64] = places
    code = {"load": f"@%p1 ld.{space}.u32 %r3, [%rd4];", "store": f"@%p1 st.{space}.u32 [%rd4], %r9;", **barriers}
    index = "ld.global.s32 %r2, [%rd5+{}]; setp.ge.s32 %p1, %r2, 0; mad.wide.s32 %rd4, %r2, 4, %rd3;"
    number = "mov.u32 %r8, %ctaid.x; mov.u32 %r9, %ntid.x; mad.lo.u32 %r9, %r8, %r9, %r1; mad.wide.u32 %rd5, %r9, 4, %rd2;"
    number += "add.u32 %r9, %r9, 1;"  # each thread stores a different value
    body = start + number + "".join(index.format(4096 * k) + code[step] for k, step in enumerate(steps))
    race = is_race(steps, places, team)
    try:
        launched(body, [np.zeros(8, np.uint32), table], blocks, 64 // blocks)
    except ptx.Fault as found:
        assert race and found.kind in (f"{space} race", "conflicting stores"), str(found)
    else:
        assert not race


@pytest.mark.parametrize("block", range(4))
def test_races_are_those_that_pairs_of_accesses_make(block):
    threads = np.arange(64)
    start = ".shared .align 4 .b8 tile[32]; mov.u64 %rd3, tile; setp.lt.u32 %p1, %r1, 8; add.s64 %rd4, %rd3, %rd20;"
    start += "@%p1 st.shared.u32 [%rd4], 0; bar.sync 0;"
    warps = {"small": "bar.warp.sync -1;", "large": "bar.sync 0;"}
    for seed in range(25 * block, 25 * block + 25):
        check_random_accesses(seed, "shared", threads // 32, warps, start, 1)
        check_random_accesses(seed, "global", threads // 32, {"small": "bar.sync 0;"}, "mov.u64 %rd3, %rd1;", 2)


def test_fault_read_only_load_of_memory_that_is_written():
    body = "ld.global.nc.f32 %f1, [%rd22]; st.global.f32 [%rd21], %f1;"
    launched(body, [OUT, IN])
    fault("read-only load", body, [IN, IN])
    fault("read-only load", "st.global.f32 [%rd21], 0f00000000; ld.global.nc.f32 %f1, [%rd22];", [IN, IN])


def test_fault_endless_loop():
    caught = fault("endless", "loop: add.u32 %r1, %r1, 1; bra.uni loop;", [OUT], limit=1000)
    assert "1000 instructions" in str(caught)


def test_fault_trap():
    fault("trap", "setp.eq.u32 %p1, %r1, 7; @%p1 trap;", [OUT])


@pytest.mark.skipif(not hasattr(np, "row_stack"), reason="numba-cuda needs NumPy's row_stack, which NumPy 2.5 does not have")
def test_a_kernel_that_nvvm_wrote():
    cuda = pytest.importorskip("numba.cuda")
    types = pytest.importorskip("numba").types

    def kernel(x, y, n):
        shared = cuda.shared.array(64, types.float32)
        i, t = cuda.grid(1), cuda.threadIdx.x
        shared[t] = x[i] if i < n else types.float32(0)
        cuda.syncthreads()
        total = types.float32(0)
        for k in range(64):
            total += shared[(t + k) % 64]
        if i < n:
            y[i] = total

    arrays = types.CPointer(types.float32)
    text, _ = cuda.compile_ptx(kernel, types.void(arrays, arrays, types.int64), cc=(8, 0))
    compiled = ptx.Kernel(text)
    data = words(100)
    _, result = ptx.launch(compiled, [data, np.zeros(100, np.float32), 100], 2, 64)
    assert result.tolist() == [data[:64].sum()] * 64 + [data[64:].sum()] * 36
    (mutant,) = ptx.without(text, "bar.sync")
    with pytest.raises(ptx.Fault):
        ptx.launch(ptx.Kernel(mutant), [data, np.zeros(100, np.float32), 100], 2, 64)
