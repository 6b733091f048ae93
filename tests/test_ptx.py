"""The PTX emulator: correct results of every instruction, and detection of every kind of planted fault."""

import functools
import math
import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracer.runtime import emulator as ptx

HEADER = ".version 8.5\n.target sm_80\n.address_size 64\n"
REGISTERS = """
    .reg .pred %p<10>;
    .reg .b16 %rs<10>;
    .reg .b32 %r<30>;
    .reg .b64 %rd<30>;
    .reg .f32 %f<30>;
    .reg .f64 %fd<10>;
"""


def program(body, pointers=1, integers=0, module="", name="kernel"):
    """A kernel with pointers in %rd1, %rd2... and 64-bit integers in %rd11...

    The thread's number is in %r1, four times that in %rd20, and the thread's words of the arrays are at %rd21, %rd22...
    """
    parameters = [f"p{k}" for k in range(pointers)] + [f"n{k}" for k in range(integers)]
    declared = ", ".join(f".param .u64 {p}" for p in parameters)
    loads = [f"ld.param.u64 %rd{k + 1}, [p{k}];" for k in range(pointers)]
    loads += [f"ld.param.u64 %rd{k + 11}, [n{k}];" for k in range(integers)]
    start = "mov.u32 %r1, %tid.x; mul.wide.u32 %rd20, %r1, 4;"
    start += " ".join(f"add.s64 %rd{k + 21}, %rd{k + 1}, %rd20;" for k in range(pointers))
    return f"{HEADER}{module}\n.visible .entry {name}({declared})\n{{{REGISTERS}{' '.join(loads)}\n{start}\n{body}\nret;\n}}\n"


def launched(body, arguments, blocks=1, threads=32, module="", **options):
    pointers = sum(isinstance(a, np.ndarray | ptx.Array) for a in arguments)
    text = program(body, pointers, len(arguments) - pointers, module)
    return ptx.launch(ptx.Kernel(text), arguments, blocks, threads, **options)


def fault(kind, body, arguments, blocks=1, threads=32, module="", **options):
    with pytest.raises(ptx.Fault) as caught:
        launched(body, arguments, blocks, threads, module, **options)
    assert caught.value.kind == kind, str(caught.value)
    return caught.value


def words(n, dtype=np.float32):
    return np.arange(n).astype(dtype)


# Results of instructions.


def dtype_of(type_):
    kind = {"b": "u", "s": "i"}.get(type_[0], type_[0])
    return np.dtype(f"{kind}{int(type_[1:]) // 8}")


def computed(instruction, result, *operands):
    """Runs ``op d, a, b, c`` in one thread for each element. ``operands``: pairs of a type and an array; the bits are
    loaded.
    """
    n = len(operands[0][1])
    registers, code = [f".reg .{'pred' if result == 'pred' else 'b' + result[1:]} d;"], []
    for letter, (type_, _) in zip("abc", operands, strict=False):
        size = int(type_[1:])
        registers.append(f".reg .b{size} {letter};")
        k = ord(letter) - ord("a") + 2
        code.append(f"mad.wide.u32 %rd21, %r1, {size // 8}, %rd{k}; ld.global.b{size} {letter}, [%rd21];")
    code.append(instruction + ";")
    if result == "pred":
        code.append("selp.u32 %r9, 1, 0, d;")
    size = 32 if result == "pred" else int(result[1:])
    code.append(f"mad.wide.u32 %rd21, %r1, {size // 8}, %rd1; st.global.b{size} [%rd21], {'%r9' if result == 'pred' else 'd'};")
    out = np.zeros(n, dtype_of("u32" if result == "pred" else result))
    arrays = [np.ascontiguousarray(a, dtype_of(t)) for t, a in operands]
    final, *_ = launched("\n".join(registers + code), [out, *arrays], 1, n)
    return final.astype(bool) if result == "pred" else final


@functools.cache
def edges(type_):
    """All pairs of boundary values, and of some random ones."""
    dtype, random = dtype_of(type_), np.random.default_rng(0)
    if dtype.kind == "f":
        info = np.finfo(dtype)
        some = [0.0, 1.0, 1.5, 2.5, 3.0, 1e-3, 7e4, 3e9, 2.0**63, info.max, info.tiny, info.smallest_subnormal, np.inf]
        special = np.array([*some, *[-x for x in some], np.nan], dtype)
        extra = (random.standard_normal(20) * 10.0 ** random.integers(-6, 7, 20)).astype(dtype)
    else:
        info = np.iinfo(dtype)
        special = np.array([0, 1, 2, 3, 7, 31, 32, 33, 63, 64, info.max, info.max - 1, info.min, info.min + 1], dtype)
        extra = random.integers(info.min, info.max, 10, dtype, endpoint=True)
        special = np.concatenate([special, ~special])
    values = np.concatenate([special, extra])
    return [x.ravel() for x in np.meshgrid(values, values)]


def wrapped(value, type_):
    bits = int(type_[1:])
    value &= (1 << bits) - 1
    return value - (1 << bits) if type_[0] == "s" and value >> (bits - 1) else value


def signed_right(a, count, type_):
    return a >> min(count, int(type_[1:]) - 1 if type_[0] == "s" else 1000)


def truncated(a, b):
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


INTEGER = {
    "add": lambda a, b, t: a + b,
    "sub": lambda a, b, t: a - b,
    "mul.lo": lambda a, b, t: a * b,
    "mul.hi": lambda a, b, t: a * b >> int(t[1:]),
    "div": lambda a, b, t: truncated(a, b) if b else -1,
    "rem": lambda a, b, t: a - truncated(a, b) * b if b else a,
    "min": lambda a, b, t: min(a, b),
    "max": lambda a, b, t: max(a, b),
}


@pytest.mark.parametrize("type_", ["u16", "s16", "u32", "s32", "u64", "s64"])
@pytest.mark.parametrize("name", INTEGER)
def test_integer_arithmetic(name, type_):
    a, b = edges(type_)
    result = computed(f"{name}.{type_} d, a, b", type_, (type_, a), (type_, b))
    expected = [wrapped(INTEGER[name](int(x), int(y), type_), type_) for x, y in zip(a, b, strict=True)]
    assert result.tolist() == expected


@pytest.mark.parametrize("type_", ["u32", "s32", "u16", "s16"])
def test_wide_products(type_):
    a, b = edges(type_)
    wide = f"{type_[0]}{2 * int(type_[1:])}"
    result = computed(f"mul.wide.{type_} d, a, b", wide, (type_, a), (type_, b))
    assert result.tolist() == [int(x) * int(y) for x, y in zip(a, b, strict=True)]
    result = computed(f"mad.wide.{type_} d, a, b, -1", wide, (type_, a), (type_, b))
    assert result.tolist() == [wrapped(int(x) * int(y) - 1, wide) for x, y in zip(a, b, strict=True)]


@pytest.mark.parametrize("type_", ["b16", "s16", "b32", "u32", "s32", "b64", "s64"])
@pytest.mark.parametrize("name", ["shl", "shr"])
def test_shifts(name, type_):
    if name == "shl":
        type_ = f"b{type_[1:]}"
    a, _ = edges(type_)
    counts = np.resize(np.array([0, 1, 5, 15, 16, 31, 32, 33, 63, 64, 65, 2**31, 2**32 - 1], np.uint32), len(a))
    result = computed(f"{name}.{type_} d, a, b", type_, (type_, a), ("u32", counts))
    for x, count, r in zip(a, counts, result, strict=True):
        shifted = int(x) << min(int(count), 64) if name == "shl" else signed_right(int(x), int(count), type_)
        assert r == wrapped(shifted, type_)


def funnel(low, high, count, left, wrap):
    count = count & 31 if wrap else min(count, 32)
    both = high << 32 | low
    return (both << count >> 32 if left else both >> count) & 0xFFFFFFFF


@pytest.mark.parametrize("mode", ["l.wrap", "l.clamp", "r.wrap", "r.clamp"])
def test_funnel_shifts(mode):
    a, b = edges("b32")
    c = np.resize(np.array([0, 1, 17, 31, 32, 33, 64], np.uint32), len(a))
    result = computed(f"shf.{mode}.b32 d, a, b, c", "b32", ("b32", a), ("b32", b), ("u32", c))
    expected = [funnel(int(x), int(y), int(z), mode[0] == "l", "wrap" in mode) for x, y, z in zip(a, b, c, strict=True)]
    assert result.tolist() == expected


@pytest.mark.parametrize("bits", [32, 64])
def test_bit_counts(bits):
    a, _ = edges(f"b{bits}")
    strings = [f"{int(x):0{bits}b}" for x in a]
    for name, expected in {
        "popc": [s.count("1") for s in strings],
        "clz": [bits - len(s.lstrip("0")) for s in strings],
    }.items():
        assert computed(f"{name}.b{bits} d, a", "u32", (f"b{bits}", a)).tolist() == expected
    reversed_ = computed(f"brev.b{bits} d, a", f"b{bits}", (f"b{bits}", a))
    assert reversed_.tolist() == [int(s[::-1], 2) for s in strings]
    highest = computed(f"bfind.u{bits} d, a", "u32", (f"u{bits}", a))
    assert highest.tolist() == [s[::-1].rfind("1") & 0xFFFFFFFF for s in strings]
    signed = computed(f"bfind.s{bits} d, a", "u32", (f"s{bits}", a))
    opposite = [s[::-1].rfind("0" if s[0] == "1" else "1") & 0xFFFFFFFF for s in strings]
    assert signed.tolist() == opposite


def extracted(a, position, length, bits, signed):
    position, length = position & 255, length & 255
    sign = 0 if not signed or length == 0 else a >> min(position + length - 1, bits - 1) & 1
    inside = [a >> (position + k) & 1 if k < length and position + k < bits else sign for k in range(bits)]
    return sum(bit << k for k, bit in enumerate(inside))


FIELDS = [(0, 0), (0, 1), (3, 5), (0, 32), (31, 1), (31, 8), (32, 4), (60, 8), (0, 64), (255, 255), (4, 255), (256, 3)]


@pytest.mark.parametrize("type_", ["u32", "s32", "u64", "s64"])
def test_bit_fields(type_):
    bits = int(type_[1:])
    a = edges(type_)[0][:40]
    b = np.ascontiguousarray(a[::-1])
    for position, length in FIELDS:
        fields = computed(f"bfe.{type_} d, a, {position}, {length}", type_, (type_, a))
        expected = [wrapped(extracted(int(x), position, length, bits, type_[0] == "s"), type_) for x in a]
        assert fields.tolist() == expected, (position, length)
        if type_[0] == "u":
            result = computed(f"bfi.b{bits} d, a, b, {position}, {length}", type_, (type_, a), (type_, b))
            mask = sum(1 << k for k in range(bits) if (position & 255) <= k < (position & 255) + (length & 255))
            assert result.tolist() == [int(y) & ~mask | (int(x) << (position & 255)) & mask for x, y in zip(a, b, strict=True)]


words32 = st.lists(st.integers(0, 2**32 - 1), min_size=4, max_size=4)


@settings(max_examples=25, deadline=None)
@given(words32, words32, words32, st.integers(0, 255))
def test_bytes_and_logic(a, b, c, table):
    operands = [("b32", np.array(x, np.uint32)) for x in (a, b, c)]
    permuted = computed("prmt.b32 d, a, b, c", "b32", *operands)
    logic = computed(f"lop3.b32 d, a, b, c, {table}", "b32", *operands)
    for x, y, z, p, q in zip(a, b, c, permuted.tolist(), logic.tolist(), strict=True):
        taken = [(z >> 4 * k & 15, (y << 32 | x) >> 8 * (z >> 4 * k & 7) & 255) for k in range(4)]
        assert p == sum(((255 if v & 128 else 0) if s & 8 else v) << 8 * k for k, (s, v) in enumerate(taken))
        assert q == sum((table >> ((x >> k & 1) << 2 | (y >> k & 1) << 1 | z >> k & 1) & 1) << k for k in range(32))


def nearest(exact, dtype):
    """The nearest number of a type to a fraction; of two, the one with even bits. None near the largest ones."""
    with np.errstate(over="ignore"):
        near = np.asarray(float(exact)).astype(dtype)[()]
        candidates = [np.nextafter(near, dtype.type(-np.inf)), near, np.nextafter(near, dtype.type(np.inf))]
    if not np.isfinite(candidates).all():
        return None
    return min(candidates, key=lambda x: (abs(Fraction(float(x)) - exact), int(x.view(f"u{dtype.itemsize}")) & 1))


FLOAT = {
    "add.f{}": lambda a, b: a + b,
    "sub.rn.f{}": lambda a, b: a - b,
    "mul.rn.f{}": lambda a, b: a * b,
    "div.rn.f{}": lambda a, b: a / b if b else None,
}
reals = st.floats(width=32, allow_nan=False, allow_infinity=False, min_value=-(2.0**100), max_value=2.0**100)
some_reals = st.lists(reals, min_size=8, max_size=8)


@pytest.mark.parametrize("bits", [32, 64])
@settings(max_examples=25, deadline=None)
@given(a=some_reals, b=some_reals, c=some_reals)
def test_float_arithmetic_rounds_once(bits, a, b, c):
    type_, dtype = f"f{bits}", np.dtype(f"f{bits // 8}")
    if bits == 64:
        a = [x / 3 for x in a]
    operands = [(type_, np.array(x, dtype)) for x in (a, b, c)]
    exact = [[Fraction(float(x)) for x in array] for _, array in operands]
    for name, function in FLOAT.items():
        result = computed(f"{name.format(bits)} d, a, b", type_, *operands[:2])
        for x, y, r in zip(exact[0], exact[1], result, strict=True):
            value = function(x, y)
            expected = None if value is None else nearest(value, dtype)
            assert expected is None or r == expected
    result = computed(f"fma.rn.{type_} d, a, b, c", type_, *operands)
    for x, y, z, r in zip(*exact, result, strict=True):
        expected = nearest(x * y + z, dtype)
        assert expected is None or r == expected


def test_fma_of_what_rounding_twice_gets_wrong():
    one = np.float32(1) + np.finfo(np.float32).eps
    result = computed("fma.rn.f32 d, a, a, b", "f32", ("f32", [one]), ("f32", [-one * one]))
    assert result[0] == float(one) ** 2 - float(np.float32(one * one))


@pytest.mark.parametrize("type_", ["f32", "f64"])
def test_roots_and_reciprocals(type_):
    a, _ = edges(type_)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(computed(f"sqrt.rn.{type_} d, a", type_, (type_, a)), np.sqrt(a))
        np.testing.assert_array_equal(computed(f"rcp.rn.{type_} d, a", type_, (type_, a)), 1 / a)


@pytest.mark.parametrize("type_", ["f32", "f64"])
def test_minimum_and_maximum(type_):
    a, b = edges(type_)
    for name, pick in (("min", min), ("max", max)):
        plain = computed(f"{name}.{type_} d, a, b", type_, (type_, a), (type_, b))
        strict = computed(f"{name}.NaN.{type_} d, a, b", type_, (type_, a), (type_, b)) if type_ == "f32" else None
        for k, (x, y) in enumerate(zip(a.tolist(), b.tolist(), strict=True)):
            numbers = [v for v in (x, y) if not math.isnan(v)]
            expected = pick(numbers, key=lambda v: (v, math.copysign(1, v)), default=math.nan)
            assert repr(plain[k].item()) == repr(expected)
            if strict is not None:
                assert repr(strict[k].item()) == repr(expected if len(numbers) == 2 else math.nan)


def test_flushing_of_subnormal_numbers():
    tiny = np.finfo(np.float32).tiny
    a = np.array([tiny / 2, -tiny / 2, tiny, tiny * 1.5], np.float32)
    result = computed("add.ftz.f32 d, a, a", "f32", ("f32", a))
    assert result.tolist() == [0.0, 0.0, 2 * tiny, 3 * tiny] and np.signbit(result).tolist() == [False, True, False, False]
    assert computed("mul.ftz.f32 d, a, 0f3F000000", "f32", ("f32", a)).tolist() == [0.0, 0.0, 0.0, 0.0]
    assert computed("add.f32 d, a, a", "f32", ("f32", a)).tolist() == [tiny, -tiny, 2 * tiny, 3 * tiny]
    assert computed("setp.eq.ftz.f32 d, a, 0f00000000", "pred", ("f32", a)).tolist() == [True, True, False, False]


def test_saturation():
    a = np.array([-1, -0.0, 0.25, 3, np.nan, np.inf], np.float32)
    assert computed("add.sat.f32 d, a, 0f00000000", "f32", ("f32", a)).tolist() == [0, 0, 0.25, 1, 0, 1]
    assert computed("cvt.sat.f32.f32 d, a", "f32", ("f32", a)).tolist() == [0, 0, 0.25, 1, 0, 1]


COMPARISONS = {
    "eq": lambda a, b: a == b, "ne": lambda a, b: a != b, "lt": lambda a, b: a < b, "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b, "ge": lambda a, b: a >= b,
}  # fmt: skip


@pytest.mark.parametrize("name", COMPARISONS)
def test_comparisons(name):
    """With NaN they are false, and their -u variants true."""
    for type_ in ("s32", "u64", "f32", "f64"):
        a, b = edges(type_)
        result = computed(f"setp.{name}.{type_} d, a, b", "pred", (type_, a), (type_, b))
        unordered = np.isnan(a) | np.isnan(b) if type_[0] == "f" else np.zeros(len(a), bool)
        expected = COMPARISONS[name](a, b)
        assert np.array_equal(result, expected & ~unordered)
        if type_[0] == "f":
            result = computed(f"setp.{name}u.{type_} d, a, b", "pred", (type_, a), (type_, b))
            assert np.array_equal(result, expected | unordered)
    a, b = edges("f32")
    assert np.array_equal(computed("setp.nan.f32 d, a, b", "pred", ("f32", a), ("f32", b)), np.isnan(a) | np.isnan(b))
    a, b = edges("s32")
    result = computed(f"set.{name}.u32.s32 d, a, b", "u32", ("s32", a), ("s32", b))
    assert np.array_equal(result, np.where(COMPARISONS[name](a, b), 2**32 - 1, 0))


def test_combined_comparisons():
    a, b = (np.array(x, np.int32) for x in ([0, 0, 1, 1], [0, 1, 0, 1]))
    body = """
    mad.lo.s32 %r2, %r1, 1, 0;
    add.s64 %rd21, %rd2, %rd20; ld.global.u32 %r3, [%rd21];
    add.s64 %rd21, %rd3, %rd20; ld.global.u32 %r4, [%rd21];
    setp.ne.s32 %p1, %r4, 0;
    setp.ne.and.s32 %p2|%p3, %r3, 0, %p1;
    setp.ne.xor.s32 %p4, %r3, 0, !%p1;
    not.pred %p5, %p4;
    selp.b32 %r5, 1, 0, %p2; selp.b32 %r6, 2, 0, %p3; selp.b32 %r7, 4, 0, %p5;
    or.b32 %r5, %r5, %r6; or.b32 %r5, %r5, %r7;
    add.s64 %rd21, %rd1, %rd20; st.global.u32 [%rd21], %r5;
    """
    result, *_ = launched(body, [np.zeros(4, np.uint32), a, b], 1, 4)
    assert result.tolist() == [0, 6, 4, 1]


def test_choices():
    a, b, c = (np.array(x, np.float32) for x in ([1, 2, 3, 4], [5, 6, 7, 8], [0.0, -0.0, -1, np.nan]))
    result = computed("slct.f32.f32 d, a, b, c", "f32", ("f32", a), ("f32", b), ("f32", c))
    assert result.tolist() == [1, 2, 7, 8]
    result = computed("copysign.f32 d, a, b", "f32", ("f32", c), ("f32", a))
    assert result[:3].tolist() == [1, -2, -3]
    subnormal = computed("testp.subnormal.f32 d, a", "pred", ("f32", np.array([0, 1e-40, 1e-30, np.nan])))
    assert subnormal.tolist() == [False, True, False, False]


# Conversions.

ROUNDINGS = {"rni": round, "rzi": math.trunc, "rmi": math.floor, "rpi": math.ceil}


@pytest.mark.parametrize("mode", ROUNDINGS)
@pytest.mark.parametrize("source", ["f32", "f64"])
@pytest.mark.parametrize("to", ["s16", "u32", "s32", "u64", "s64"])
def test_conversions_to_integers_clamp(to, source, mode):
    a = np.unique(edges(source)[0])
    result = computed(f"cvt.{mode}.{to}.{source} d, a", to, (source, a))
    info = np.iinfo(dtype_of(to))
    narrow = source == "f32" and not to.endswith("64")
    for x, r in zip(a, result.tolist(), strict=True):
        if math.isnan(x):
            assert r == (0 if narrow else wrapped(1 << (int(to[1:]) - 1), to))
        elif math.isinf(x):
            assert r == (info.max if x > 0 else info.min)
        else:
            assert r == min(max(ROUNDINGS[mode](float(x)), info.min), info.max)


def directed(exact, near, mode):
    """The number next to the nearest one on the right side of a fraction."""
    down, up = np.nextafter(near, near.dtype.type(-np.inf)), np.nextafter(near, near.dtype.type(np.inf))
    value = -math.inf if near == -np.inf else math.inf if near == np.inf else Fraction(float(near))
    if mode == "rn" or value == exact:
        return near
    mode = {"rz": "rm" if exact > 0 else "rp"}.get(mode, mode)
    return (near if value < exact else down) if mode == "rm" else (near if value > exact else up)


@pytest.mark.parametrize("mode", ["rn", "rz", "rm", "rp"])
@pytest.mark.parametrize("to, source", [("f32", "f64"), ("f32", "s64"), ("f32", "u64"), ("f64", "s64"), ("f32", "s32")])
def test_conversions_to_floats(to, source, mode):
    a = np.unique(edges(source)[0])
    result = computed(f"cvt.{mode}.{to}.{source} d, a", to, (source, a))
    with np.errstate(over="ignore"):
        near = a.astype(dtype_of(to))
    for x, n, r in zip(a, near, result, strict=True):
        if not np.isfinite(x):
            assert repr(r) == repr(n)
            continue
        expected = directed(Fraction(x.item()), n, mode)
        assert r == expected and np.signbit(r) == np.signbit(expected)


def test_conversions_of_halves():
    a = np.array([1.0, 1 / 3, 65504, 65520, 1e-7, -2.5, np.inf], np.float32)
    with np.errstate(over="ignore"):
        expected = a.astype(np.float16)
    bits = computed("cvt.rn.f16.f32 d, a", "b16", ("f32", a))
    assert np.array_equal(bits.view(np.float16), expected)
    assert np.array_equal(computed("cvt.f32.f16 d, a", "f32", ("b16", bits)), expected.astype(np.float32))
    assert computed("cvt.rz.f16.f32 d, a", "b16", ("f32", a)).view(np.float16)[3] == 65504
    exact = computed("cvt.rn.bf16.f32 d, a", "b16", ("f32", a))
    whole = a.view(np.uint32).astype(np.uint64)
    assert exact.tolist() == ((whole + 0x7FFF + (whole >> 16 & 1)) >> 16).tolist()
    assert computed("cvt.rz.bf16.f32 d, a", "b16", ("f32", a)).tolist() == (whole >> 16).tolist()
    assert np.array_equal(computed("cvt.f32.bf16 d, a", "f32", ("b16", exact)).view(np.uint32) >> 16, exact)
    pairs = computed("cvt.rn.bf16x2.f32 d, a, b", "b32", ("f32", a), ("f32", a[::-1]))
    assert np.array_equal(pairs >> 16, exact) and np.array_equal(pairs & 0xFFFF, exact[::-1])


def test_conversions_among_integers():
    a = np.array([0, 1, 127, 128, 255, 256, 2**31, 2**32 - 1], np.uint32)
    assert computed("cvt.s32.s8 d, a", "s32", ("b32", a)).tolist() == [0, 1, 127, -128, -1, 0, 0, -1]
    assert computed("cvt.s64.s32 d, a", "s64", ("b32", a)).tolist() == a.view(np.int32).tolist()
    assert computed("cvt.u64.u32 d, a", "u64", ("b32", a)).tolist() == a.tolist()
    assert computed("cvt.sat.u8.s32 d, a", "u32", ("b32", a)).tolist() == [0, 1, 127, 128, 255, 255, 0, 0]
    assert computed("cvt.s8.s32 d, a", "s32", ("b32", a)).tolist() == [0, 1, 127, -128, -1, 0, 0, -1]


# Programs.


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


# Planted faults. Each test names the kind that it plants.

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
