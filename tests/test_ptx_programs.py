"""The PTX emulator: programs of many instructions, and of the threads of a warp."""

import re

import numpy as np
import pytest
from ptx_texts import HEADER, fault, launched, program, words

from tracer.runtime import emulator as ptx


def test_arguments_are_copied_and_numbers_are_cast():
    text = (
        HEADER
        + """
    .visible .entry first(.param .u64 .ptr .global .align 16 out, .param .u32 n, .param .f32 x) {
        .reg .u64 a; .reg .s32 b; .reg .f32 c;
        ld.param.u64 a, [out]; ld.param.u32 b, [n]; ld.param.f32 c, [x];
        st.global.u32 [a], b; st.global.f32 [a+4], c;
        ret;
    }
    .visible .entry second() { ret; }
    """
    )
    out = np.zeros(2, np.int32)
    (result,) = ptx.launch(ptx.Kernel(text, "first"), [out, -5, 1.5], 1, 1)
    assert result[0] == -5 and result.view(np.float32)[1] == 1.5 and not out.any()
    assert ptx.launch(ptx.Kernel(text, "second"), [], 1, 1) == []
    with pytest.raises(ValueError, match="first, second"):
        ptx.Kernel(text)
    with pytest.raises(ValueError, match="2 arguments"):
        ptx.launch(ptx.Kernel(text, "first"), [out, 1], 1, 1)


def test_too_many_threads_for_the_kernel():
    text = HEADER + ".visible .entry k() .maxntid 64, 1, 1 { ret; }"
    with pytest.raises(ValueError, match="65 threads"):
        ptx.launch(ptx.Kernel(text), [], 1, 65)


def test_blocks_of_two_dimensions():
    body = """
    mov.u32 %r2, %tid.y; mov.u32 %r3, %ntid.x; mov.u32 %r4, %ctaid.y; mov.u32 %r5, %nctaid.x; mov.u32 %r6, %ctaid.x;
    mad.lo.u32 %r7, %r2, %r3, %r1;
    mad.lo.u32 %r8, %r4, %r5, %r6;
    mov.u32 %r9, %ntid.y; mul.lo.u32 %r9, %r9, %r3; mad.lo.u32 %r10, %r8, %r9, %r7;
    mad.wide.u32 %rd21, %r10, 4, %rd1; st.global.u32 [%rd21], %r10;
    """
    (result,) = launched(body, [np.zeros(48, np.uint32)], (2, 3), (4, 2))
    assert result.tolist() == list(range(48))


def test_vectors_and_packed_moves():
    body = """
    add.s64 %rd20, %rd20, %rd20; add.s64 %rd20, %rd20, %rd20;
    add.s64 %rd21, %rd1, %rd20; add.s64 %rd22, %rd2, %rd20;
    ld.global.v4.f32 {%f1, %f2, %f3, %f4}, [%rd22];
    mov.b32 %r2, %f1;
    mov.b32 {%rs1, %rs2}, %r2; mov.b32 %r3, {%rs2, %rs1};
    mov.b64 %rd23, {%r3, %r2}; mov.b64 {%r4, %r5}, %rd23;
    st.global.v4.b32 [%rd21], {%r4, %r5, %f3, 7};
    """
    data = np.arange(1, 17, dtype=np.float32) / 3
    result, _ = launched(body, [np.zeros(16, np.uint32), data], 1, 4)
    bits = data.view(np.uint32).reshape(4, 4)
    swapped = bits[:, 0] >> 16 | bits[:, 0] << 16
    assert np.array_equal(result.reshape(4, 4), np.stack([swapped, bits[:, 0], bits[:, 2], np.full(4, 7)], 1))


def test_tables():
    module = """
    .const .align 4 .f32 weights[4] = {0f3F800000, 2.5, 0f40400000, 4.0};
    .global .align 8 .b8 bytes[8] = {1, 0, 0, 0, 255, 1};
    .global .u64 wide[2][2] = {{1, 2}, {3, 0xFFFFFFFFFF}};
    .global .u32 counter;
    """
    body = """
    mov.u64 %rd2, weights; add.s64 %rd2, %rd2, %rd20; ld.const.f32 %f1, [%rd2];
    st.global.f32 [%rd21], %f1;
    ld.global.u32 %r2, [bytes+4]; ld.global.u64 %rd3, [wide+24]; ld.global.u32 %r4, [counter];
    cvt.u32.u64 %r3, %rd3; add.u32 %r2, %r2, %r3; add.u32 %r2, %r2, %r4;
    st.global.u32 [%rd21+16], %r2;
    """
    (result,) = launched(body, [np.zeros(8, np.float32)], 1, 4, module)
    assert result[:4].tolist() == [1, 2.5, 3, 4] and (result.view(np.uint32)[4:] == 511 - 1).all()


def test_local_memory_and_generic_addresses():
    body = """
    .local .align 16 .b8 depot[16]; .shared .align 4 .b8 tile[128]; .reg .b64 %SP; .reg .b64 %SPL;
    mov.u64 %SPL, depot; cvta.local.u64 %SP, %SPL;
    st.local.v2.u32 [%SPL+8], {%r1, %r1}; add.s64 %rd3, %SP, 12; ld.u32 %r2, [%rd3];
    mov.u32 %r3, tile; cvt.u64.u32 %rd4, %r3; cvta.shared.u64 %rd4, %rd4; add.s64 %rd4, %rd4, %rd20;
    st.u32 [%rd4], %r2; cvta.to.shared.u64 %rd5, %rd4; ld.shared.u32 %r4, [%rd5];
    cvta.global.u64 %rd6, %rd21; st.u32 [%rd6], %r4;
    """
    (result,) = launched(body, [np.zeros(32, np.uint32)])
    assert result.tolist() == list(range(32))


def test_shared_memory_of_open_size():
    body = """
    mov.u64 %rd3, buffer; add.s64 %rd3, %rd3, %rd20; st.shared.u32 [%rd3], %r1; ld.shared.u32 %r2, [%rd3];
    st.global.u32 [%rd21], %r2;
    """
    module = ".extern .shared .align 16 .b8 buffer[];"
    (result,) = launched(body, [np.zeros(8, np.uint32)], 1, 8, module, shared=32)
    assert result.tolist() == list(range(8))
    fault("out of bounds", body, [np.zeros(8, np.uint32)], 1, 8, module, shared=28)


def test_divergent_loops_meet_again():
    body = """
    mov.u32 %r2, 0; mov.u32 %r3, 0;
    loop:
    add.u32 %r3, %r3, %r2; add.u32 %r2, %r2, 1;
    setp.le.u32 %p1, %r2, %r1;
    @%p1 bra loop;
    shfl.sync.idx.b32 %r4, %r3, 31, 31, -1;
    add.u32 %r3, %r3, %r4;
    st.global.u32 [%rd21], %r3;
    """
    (result,) = launched(body, [np.zeros(32, np.uint32)])
    assert result.tolist() == [k * (k + 1) // 2 + 31 * 16 for k in range(32)]


def test_threads_wait_at_a_shuffle_for_those_of_a_later_block_of_code():
    body = """
    mov.u32 %r2, %r1; setp.lt.u32 %p1, %r1, 10;
    @%p1 bra far;
    near: shfl.sync.bfly.b32 %r3, %r2, 16, 31, -1;
    st.global.u32 [%rd21], %r3; ret;
    far: add.u32 %r2, %r2, 100; bra.uni near;
    """
    (result,) = launched(body, [np.zeros(32, np.uint32)])
    values = np.arange(32) + 100 * (np.arange(32) < 10)
    assert result.tolist() == values[np.arange(32) ^ 16].tolist()


def test_jumps_through_a_table_and_scopes_of_names():
    body = """
    rem.u32 %r2, %r1, 3;
    table: .branchtargets one, two, three;
    brx.idx %r2, table;
    one: { .reg .b32 x; mov.u32 x, 10; mov.u32 %r3, x; } bra.uni end;
    two: { .reg .b64 x; mov.u64 x, 20; cvt.u32.u64 %r3, x; } bra.uni end;
    three: mov.u32 %r3, 30;
    end: st.global.u32 [%rd21], %r3;
    """
    (result,) = launched(body, [np.zeros(6, np.uint32)], 1, 6)
    assert result.tolist() == [10, 20, 30] * 2


def test_arrays_that_share_memory():
    whole = words(16)
    body = "ld.global.f32 %f1, [%rd22]; add.f32 %f1, %f1, 0f3F800000; st.global.f32 [%rd21+16], %f1;"
    first, second = launched(body, [whole[:8], whole[4:]], 1, 4)
    assert first.tolist() == [0, 1, 2, 3, 5, 6, 7, 8] and second.tolist() == [5, 6, 7, 8, *range(8, 16)]
    same = launched("ld.global.f32 %f1, [%rd22]; neg.f32 %f1, %f1; st.global.f32 [%rd21], %f1;", [whole, whole], 1, 16)
    assert all(np.array_equal(a, -whole) for a in same) and np.array_equal(whole, words(16))
    (strided,) = launched("st.global.f32 [%rd21+8], 0f00000000;", [whole.reshape(4, 4)[:, 1:3]], 1, 1)
    assert strided.tolist() == [[1, 2], [5, 6], [9, 10], [13, 14]]


def test_atomic_sums():
    body = """
    .shared .align 4 .b8 sum[4];
    setp.eq.u32 %p1, %r1, 0; @%p1 st.shared.u32 [sum], 0; bar.sync 0;
    atom.shared.add.u32 %r2, [sum], %r1; bar.sync 0; ld.shared.u32 %r3, [sum];
    red.global.add.u32 [%rd1], 1; atom.global.max.s32 %r4, [%rd1+4], %r1;
    @%p1 st.global.u32 [%rd1+8], %r3;
    """
    (result,) = launched(body, [np.zeros(3, np.uint32)], 1, 64)
    assert result.tolist() == [64, 63, 64 * 63 // 2]
    fault("global race", "red.global.add.u32 [%rd1], 1; ld.global.u32 %r2, [%rd1];", [np.zeros(1, np.uint32)])


def test_instructions_without_a_defined_value_or_unknown():
    for line in ("ex2.approx.f32 %f1, %f2", "div.full.f32 %f1, %f2, %f2", "add.rz.f32 %f1, %f2, %f2", "nonsense.u32 %r2, %r3"):
        with pytest.raises(NotImplementedError, match=re.escape(line)):
            ptx.Kernel(program(line + ";"))


# Warps.


def shuffled(mode, b, c, values):
    """By the definition in the PTX ISA."""
    result = []
    for lane in range(32):
        clamp, segment = c & 31, c >> 8 & 31
        highest, lowest = lane & segment | clamp & ~segment & 31, lane & segment
        j = {"up": lane - b, "down": lane + b, "bfly": lane ^ b, "idx": lowest | b & ~segment & 31}[mode]
        inside = j >= highest if mode == "up" else j <= highest
        result.append((values[j if inside else lane], inside))
    return result


@pytest.mark.parametrize("mode", ["up", "down", "bfly", "idx"])
@pytest.mark.parametrize("width", [32, 8])
def test_shuffles(mode, width):
    c = (32 - width) << 8 | (0 if mode == "up" else 31)
    values = list(range(100, 132))
    for b in (0, 1, 5, 16):
        body = f"""
        ld.global.u32 %r2, [%rd22];
        shfl.sync.{mode}.b32 %r3|%p1, %r2, {b}, {c}, 0xffffffff;
        selp.b32 %r4, 1000, 0, %p1; add.u32 %r3, %r3, %r4; st.global.u32 [%rd21], %r3;
        """
        result, _ = launched(body, [np.zeros(32, np.uint32), np.array(values, np.uint32)])
        assert result.tolist() == [v + 1000 * inside for v, inside in shuffled(mode, b, c, values)]


def test_a_shuffle_in_a_part_of_a_warp():
    body = """
    mov.u32 %r3, 0; setp.ge.u32 %p1, %r1, 8; @%p1 bra end;
    shfl.sync.down.b32 %r3, %r1, 4, 31, 255;
    end: st.global.u32 [%rd21], %r3;
    """
    broken = body.replace("255", "0xff").replace("%r1, 4,", "%r1, 5,")
    fault("missing lanes", broken, [np.zeros(32, np.uint32)])
    body = body.replace("31, 255", "0x1807, 255")
    (result,) = launched(body, [np.zeros(32, np.uint32)])
    assert result.tolist() == [4, 5, 6, 7, 4, 5, 6, 7] + [0] * 24


def test_votes_and_reductions():
    body = """
    and.b32 %r2, %r1, 3; setp.eq.u32 %p1, %r2, 1;
    vote.sync.ballot.b32 %r3, %p1, -1; vote.sync.any.pred %p2, %p1, -1; vote.sync.all.pred %p3, !%p1, -1;
    activemask.b32 %r4; popc.b32 %r4, %r4; redux.sync.add.s32 %r5, %r1, -1; redux.sync.max.u32 %r6, %r2, -1;
    selp.b32 %r7, 1, 0, %p2; selp.b32 %r8, 2, 0, %p3;
    st.global.u32 [%rd21], %r3; st.global.u32 [%rd21+128], %r4; st.global.u32 [%rd21+256], %r5;
    add.u32 %r6, %r6, %r7; add.u32 %r6, %r6, %r8; st.global.u32 [%rd21+384], %r6;
    """
    (result,) = launched(body, [np.zeros(128, np.uint32)])
    assert np.array_equal(result.reshape(4, 32), np.repeat([[0x22222222], [32], [31 * 16], [4]], 32, 1))


REDUCTION = """
    .shared .align 4 .b8 part[16];
    ld.global.f32 %f1, [%rd22];
    shfl.sync.bfly.b32 %f2, %f1, 16, 31, -1; add.f32 %f1, %f1, %f2;
    shfl.sync.bfly.b32 %f2, %f1, 8, 31, -1; add.f32 %f1, %f1, %f2;
    shfl.sync.bfly.b32 %f2, %f1, 4, 31, -1; add.f32 %f1, %f1, %f2;
    shfl.sync.bfly.b32 %f2, %f1, 2, 31, -1; add.f32 %f1, %f1, %f2;
    shfl.sync.bfly.b32 %f2, %f1, 1, 31, -1; add.f32 %f1, %f1, %f2;
    mov.u32 %r2, 0;
    again:
    and.b32 %r3, %r1, 31; setp.ne.u32 %p1, %r3, 0; shr.u32 %r4, %r1, 5; shl.b32 %r4, %r4, 2;
    mov.u32 %r5, part; add.u32 %r4, %r4, %r5;
    @%p1 bra skip;
    st.shared.f32 [%r4], %f1;
    skip:
    bar.sync 0;
    ld.shared.v4.f32 {%f3, %f4, %f5, %f6}, [part];
    add.f32 %f3, %f3, %f4; add.f32 %f5, %f5, %f6; add.f32 %f3, %f3, %f5;
    bar.sync 0;
    add.u32 %r2, %r2, 1; setp.lt.u32 %p2, %r2, 2;
    @%p2 bra again;
    mov.u32 %r6, %ctaid.x; mad.wide.u32 %rd23, %r6, 512, %rd21; st.global.f32 [%rd23], %f3;
"""


def test_a_reduction_of_a_block():
    data = words(128)
    result, _ = launched(REDUCTION, [np.zeros(384, np.float32), data], 3, 128)
    assert (result == data.sum()).all()


def test_a_reduction_without_one_of_its_barriers_is_a_shared_race():
    text = program(REDUCTION, 2)
    mutants = list(ptx.without(text, "bar.sync"))
    assert len(mutants) == 2 and all(m.count("bar.sync") == 1 for m in mutants)
    for mutant in mutants:
        with pytest.raises(ptx.Fault) as caught:
            ptx.launch(ptx.Kernel(mutant), [np.zeros(384, np.float32), words(128)], 3, 128)
        assert caught.value.kind == "shared race"


def test_without():
    text = program("@!%p1 bar.sync 0; add.u32 %r2, %r1, 1; add.u64 %rd3, %rd1, 1;", 0)
    assert [len(list(ptx.without(text, p))) for p in ("bar.sync", r"add\.u32", r"add\.", "ret", "absent")] == [1, 1, 2, 1, 0]
    (mutant,) = ptx.without(text, "bar.sync")
    assert mutant == text.replace("@!%p1 bar.sync 0;", "")
