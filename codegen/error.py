"""The error function and its complement.

The methods are those of ``math``. In 32 bits, on processors whose registers hold sixteen numbers, a table has one
polynomial for each interval of length 1/4: such a processor looks up sixteen coefficients at once.
"""

from __future__ import annotations

from collections.abc import Callable

from .math import Arithmetic, Value, exp_times, normal_exp, polynomial

# fmt: off
# erf(k / 4), rounded to 32 bits, for k = 0 to 15.
_ERF_AT = (
    0.0, 0.2763264, 0.5204999, 0.71115565, 0.8427008, 0.92290014, 0.96610516, 0.9866717,
    0.9953223, 0.9985373, 0.999593, 0.9998994, 0.9999779, 0.9999957, 0.9999993, 0.9999999,
)
# (erf((k + t) / 4) - erf(k / 4)) / t on |t| <= 1/2: for each power of t its coefficients (minimal relative error, by Lawson's
# weights). The last interval's are half a unit in the last place too large, so that erf is 1 from 3.85 on.
_ERF_STEP = (
    (0.2820948, 0.26500356, 0.21969567, 0.16073276, 0.10377687, 0.05913028, 0.029732572, 0.013193749,
     0.005166746, 0.0017855797, 0.0005445711, 0.0001465693, 3.4813263e-05, 7.297256e-06, 1.3498567e-06, 2.6435805e-07),
    (9.858414e-09, -0.016562423, -0.02746177, -0.03013778, -0.025943829, -0.018478736, -0.011150375, -0.005772802,
     -0.0025840711, -0.0010049517, -0.00033943905, -0.000101045574, -2.5386114e-05, -6.280779e-06, -2.0565165e-06, -3.3959e-08),
    (-0.0058771498, -0.0048310817, -0.0022890493, 0.00041853424, 0.0021619883, 0.0026177412, 0.002168008, 0.0014087183,
     0.00075349025, 0.00033944746, 0.00013046914, 4.3129818e-05, 1.2328954e-05, 3.0592e-06, 6.6075546e-07, 1.2449391e-07),
    (9.2535356e-07, 0.0004924797, 0.00071141514, 0.0005885193, 0.0002689756, -2.0675237e-05, -0.0001704021, -0.00018521094,
     -0.00013173875, -7.247663e-05, -3.7510843e-05, -1.1715556e-05, -7.01036e-06, 2.666182e-07, 3.2202809e-06, -7.434027e-07),
    (0.000108557244, 7.879416e-05, 9.010565e-06, -5.1551797e-05, -6.721213e-05, -4.599729e-05, -1.4621009e-05, 6.3340467e-06,
     1.2704983e-05, 1.0392283e-05, 5.986242e-06, 2.7060926e-06, 1.0016607e-06, 3.1035037e-07, 8.1530985e-08, 1.8315648e-08),
)
# fmt: on
_ERF_REST = -1.4658845692849809e-08  # the rounding error of the first interval's first coefficient
_END = 3.874  # end of the last interval
_MAGIC = 1.5 * 2**23  # adding it rounds to an integer, found in the low bits
# erf(x) / x - 1 in x^2, on |x| <= 1.
_ERF_NEAR = {
    32: (
        0.12837916612625122,
        -0.3761262595653534,
        0.11283594369888306,
        -0.02685421146452427,
        0.005189087241888046,
        -0.000801686430349946,
        7.875874871388078e-05,
    ),
    64: (
        0.12837916709551256,
        -0.3761263890318375,
        0.11283791670954879,
        -0.026866170645076792,
        0.0052239776248180145,
        -0.000854832698083379,
        0.0001205533111164271,
        -1.4925595266831182e-05,
        1.6461000484121368e-06,
        -1.6350312701054695e-07,
        1.4659775274047436e-08,
        -1.1372848856791674e-09,
        5.957176147748911e-11,
    ),
}
# log2(erfc(x)) on [1, 4], for 32 bits: erf is 1 beyond. Fitted to erfc(x), not to its logarithm (Lawson's weights). And (2^r -
# 1) / r on |r| <= 1/2, with the accuracy needed here.
_LOG2_ERFC = (
    -0.0038544770979687115,
    -1.612122865383362,
    -0.9442280897141708,
    -0.1278719914029901,
    0.02132028878443142,
    -0.0016597040261536002,
)
_EXP2 = (0.6931471824645996, 0.2402234822511673, 0.055503811687231064, 0.009666387923061848, 0.0013381321914494038)
# exp(x^2) erfc(x) on [1, 6] in (x - 3) / (x + 3), for 64 bits.
_ERFCX = (
    0.17900115118138996,
    -0.3262335600430372,
    0.2456038017123351,
    -0.15011593650078225,
    0.07166583719744636,
    -0.024392499318701324,
    0.004269136358224983,
    0.0007077464609774446,
    -0.0005970625264967634,
    4.525441392984132e-05,
    6.406317224688518e-05,
    -1.2846071521652843e-05,
    -8.012226568147506e-06,
    2.0128954131341006e-06,
    1.281853868587828e-06,
    9.28455028932115e-09,
)

# (1 + 2 x) exp(x^2) erfc(x) on [0.49, 28] in (x - 3) / (x + 3), and on [0.49, 12] with 32-bit accuracy.
_ERFC = (
    1.2530080582697296,
    -0.13562110612458136,
    -0.04756229435345035,
    0.1296451587027847,
    -0.11927366341533967,
    0.0683080273430306,
    -0.02377051491763201,
    0.0025293918332412275,
    0.0018886903412002926,
    -0.0007798324436924849,
    -0.00010515961080947247,
    0.00012510038368595703,
    4.948260349531643e-06,
    -2.0104442858127044e-05,
    -7.265035961226077e-07,
    3.481522301508069e-06,
    3.4385712343733725e-07,
    -6.294535471384477e-07,
    -1.2076132723726115e-07,
    1.1120321749911207e-07,
    2.254392220630657e-08,
    -1.5134576095404133e-08,
)
_ERFC_32 = (
    1.2530080582846754,
    -0.13562110599909988,
    -0.04756229725496982,
    0.12964514983427036,
    -0.11927357270695357,
    0.06830821637365579,
    -0.02377154875333227,
    0.0025275932148304875,
    0.0018940058584544,
    -0.0007712494423710275,
    -0.00011770446550126336,
    0.00010478076771172096,
    1.57932880575934e-05,
)


def erf(m: Arithmetic, x: Value) -> Value:
    """Up to 1 a polynomial, then 1 - erfc(x), with erfc from its logarithm or as e^(-x^2) times a smooth function."""
    a = m.absolute(x)
    near = _near_erf(m, x)
    if m.bits == 32:
        c = m.select(a < 4.0, a, m.real(4.0))
        complement = _rough_exp2(m, polynomial(m, c, _LOG2_ERFC))
    else:
        c = m.select(a < 6.0, a, m.real(6.0))
        complement = normal_exp(m, -(c * c)) * polynomial(m, (c - 3.0) / (c + 3.0), _ERFCX)
    far = m.copysign(1.0 - complement, x)
    return m.select(a >= 1.0, far, near)  # near, for NaN


def _near_erf(m: Arithmetic, x: Value) -> Value:
    """erf(x) for |x| <= 1."""
    return m.fma(x, polynomial(m, x * x, _ERF_NEAR[m.bits]), x)


def _rough_exp2(m: Arithmetic, x: Value) -> Value:
    """2^x to a few units in the last place of 32 bits, if that is a normal number."""
    shifted = x + _MAGIC
    r = x - (shifted - _MAGIC)
    # The shift removes the low bits to which the integer was added.
    return m.from_bits(m.to_bits(m.fma(r, polynomial(m, r, _EXP2), m.real(1.0))) + (m.to_bits(shifted) << 23))


def erf_by_table(m: Arithmetic, x: Value) -> Value:
    """For 32 bits: erf(k / 4), plus the difference to |x| by a polynomial for this k."""
    a = m.absolute(x)
    a = m.select(a > _END, m.real(_END), a)  # NaN stays
    shifted = m.fma(a, m.real(4.0), m.real(_MAGIC))
    t = m.fma(a, m.real(4.0), -(shifted - _MAGIC))  # exact
    k = m.to_bits(shifted) & 15
    *steps, step = (m.table(f"erf_step_{i}", numbers, k) for i, numbers in enumerate(_ERF_STEP))
    for lower in reversed(steps):  # not by Estrin's scheme: the processor works on other elements meanwhile
        step = m.fma(step, t, lower)
    rest = m.table("erf_rest", (_ERF_REST,) + (0.0,) * 15, k)
    return m.copysign(m.fma(step, t, m.fma(rest, t, m.table("erf_at", _ERF_AT, k))), x)


def erfc(m: Arithmetic, x: Value) -> Value:
    """Near zero 1 - erf(x), else e^(-x^2) times a smooth function."""
    if m.bits == 32:
        w = m.wide
        return m.narrowed(_erfc(w, w.widened(x), _ERFC_32, 12.0))
    return _erfc(m, x, _ERFC, 28.0)


def _erfc(m: Arithmetic, x: Value, smooth: tuple[float, ...], most: float) -> Value:
    a = m.absolute(x)
    c = m.select(a < most, a, m.real(most))
    square, d = c * c, c + c + 1.0
    u = (c - 3.0) / (c + 3.0)
    p = polynomial(m, u, smooth[1:])
    h = m.fma(u, p, m.real(smooth[0]))
    inverse = 1.0 / d
    q = h * inverse
    # Added together: the rounding errors of the last sum, the quotient, the divisor and the square.
    lost = m.fma(u, p, smooth[0] - h) + m.fma(-q, d, h) - q * (c + c - (d - 1.0))
    rest = lost * inverse - q * m.fma(c, c, -square)
    far = exp_times(m, -square, q + rest)
    far = m.select(x < 0.0, 2.0 - far, far)
    return m.select(x == x, m.select(a < 0.5, 1.0 - _near_erf(m, x), far), x)


FUNCTIONS: dict[str, Callable[[Arithmetic, Value], Value]] = {f.__name__: f for f in (erf, erfc)}
BY_TABLE = {"erf": erf_by_table}  # for 32 bits, if a register holds a table
