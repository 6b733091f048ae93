"""The PTX emulator: correct results of every instruction."""

import functools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ptx_texts import launched

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
