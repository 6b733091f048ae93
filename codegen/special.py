"""The logarithm of the gamma function, and its first two derivatives; see ``math``.

In 32 bits they are computed in 64. The logarithm of the gamma function and its derivative are accurate to 2 units in the
last place for x > 0; between poles and near zeros at negative x, the absolute error is about 2^-50.
"""

from __future__ import annotations

from collections.abc import Callable

from .circular import sine_and_cosine, two_sum
from .math import Arithmetic, Value, log, polynomial
from .powers import long_log

# lgamma(y) / ((y - 1) (y - 2)) on [1, 3] in y - 2.
_LGAMMA_NEAR = (
    0.42278433509846713,
    -0.1003173016743539,
    0.032965000621155816,
    -0.012384192193374183,
    0.004998641164698706,
    -0.0021081308338353785,
    0.0009153769221939477,
    -0.0004057073998333553,
    0.00018255264018626728,
    -8.309510094797398e-05,
    3.8168877217049974e-05,
    -1.7661849545809686e-05,
    8.22227252824938e-06,
    -3.8465374565754054e-06,
    1.8077244952477939e-06,
    -8.554195306752008e-07,
    4.0491176292722286e-07,
    -1.8624721164419038e-07,
    8.858800462314761e-08,
    -5.1889381335192836e-08,
    2.4876913129422816e-08,
    -9.172949166290702e-10,
    3.821541398410965e-10,
    -8.87711600370437e-09,
    4.305220610785349e-09,
    2.444386936885692e-09,
    -1.1901740908188623e-09,
    -8.152852870624974e-10,
    3.9592899392841773e-10,
)
# lgamma(a) / (a - 2) on [3, 8] in (a - 5.5) / 4.
_LGAMMA_MIDDLE = (
    1.1308039907482046,
    0.5489018946669103,
    -0.1716767093573177,
    0.07548897062915784,
    -0.03845416018333164,
    0.02128647690840609,
    -0.012431154103863754,
    0.007535461030326825,
    -0.004694523053308093,
    0.002986270670684929,
    -0.0019309230615714844,
    0.0012650113825949326,
    -0.0008377646342334251,
    0.0005596905973075312,
    -0.0003759449109373491,
    0.00025461341083091675,
    -0.00017726930892089752,
    0.00012135066980026271,
    -6.971958011391451e-05,
    4.78909778302459e-05,
    -6.546224518130931e-05,
    4.566983861222185e-05,
    1.7707667131769114e-05,
    -1.2588458962861889e-05,
    -3.524439130744301e-05,
    2.4751721743952808e-05,
)
# The remainder of Stirling's formula times a, in 1 / a^2 for a >= 8; log(2 pi) / 2 and log(pi).
_STIRLING = (
    0.0833333333333333,
    -0.002777777777606244,
    0.0007936506649488252,
    -0.0005952025951802712,
    0.0008372834512071336,
    -0.0016526004455595122,
)
_HALF_LOG_2_PI, _LOG_PI = 0.9189385332046728, 1.1447298858494002
# digamma(y) / (y - z) on [1, 3] in y - 2, where z is its zero, in two parts.
_DIGAMMA_NEAR = (
    0.7853075386041053,
    -0.2607389546830014,
    0.10899991701762626,
    -0.04955103291767291,
    0.023447309597724546,
    -0.011338432553333682,
    0.005552254171350814,
    -0.0027395728831692795,
    0.0013581421903714414,
    -0.000675313369799565,
    0.00033643237613001386,
    -0.00016781518722379935,
    8.377966540530644e-05,
    -4.184622931937881e-05,
    2.0891708911121205e-05,
    -1.044106631983514e-05,
    5.26871942897218e-06,
    -2.6338311326151924e-06,
    1.2119815782595426e-06,
    -6.059322795045256e-07,
    4.6173797029851077e-07,
    -2.3086248081342955e-07,
    -5.6422994902202784e-08,
    2.821220170829738e-08,
    1.1540536834062045e-07,
    -5.77025926771739e-08,
    -3.5705337308985145e-08,
    1.7852672191376552e-08,
    1.0201545142033868e-08,
    -5.100770214989469e-09,
)
_ZERO = (1.4616321449683622, 9.549995429965697e-17)
# digamma(a) / (a - z) on [3, 8] in (a - 5.5) / 4.
_DIGAMMA_MIDDLE = (
    0.3989466057616312,
    -0.19770781259889939,
    0.11736416474161757,
    -0.0748050568781132,
    0.049544214457979074,
    -0.033608021951785465,
    0.023169931827281897,
    -0.016159423576878905,
    0.011366935857197358,
    -0.00804797783309048,
    0.005726940152610749,
    -0.004091516179791885,
    0.002932275840044982,
    -0.002106932094486151,
    0.0015180932241704145,
    -0.0010949126457314173,
    0.0007841460857526388,
    -0.0005669658603225848,
    0.0004396874844541497,
    -0.000318542732703464,
    0.00013993519194913342,
    -0.00010134540186211645,
    0.00026704193939124007,
    -0.0001939901695275695,
    -0.00012840277097919003,
    9.337848056953828e-05,
    0.0001527437518017172,
    -0.00011101589460463459,
)
# (log(a) - 1 / (2 a) - digamma(a)) a^2 in 1 / a^2 for a >= 8.
_DIGAMMA_FAR = (
    0.08333333333333333,
    -0.008333333333278636,
    0.0039682539119537084,
    -0.0041666448230497,
    0.007571689620283902,
    -0.020697987372370493,
    0.06362150587634356,
)
# Bernoulli numbers of even index: (trigamma(a) - 1 / a - 1 / (2 a^2)) a^3 in 1 / a^2, as an asymptotic series.
_TRIGAMMA_FAR = (
    1 / 6,
    -1 / 30,
    1 / 42,
    -1 / 30,
    5 / 66,
    -691 / 2730,
    7 / 6,
    -3617 / 510,
    43867 / 798,
)
_PI = (3.141592653589793, 1.2246467991473532e-16)


def times_polynomial(m: Arithmetic, d: Value, d_rest: Value, x: Value, coefficients: tuple[float, ...]) -> Value:
    """(d + d_rest) times a polynomial; the last sum and the product keep rounding errors."""
    p = polynomial(m, x, coefficients[2:])
    p = m.fma(x, p, m.real(coefficients[1]))
    h = m.fma(x, p, m.real(coefficients[0]))
    lost = m.fma(x, p, coefficients[0] - h)
    product = d * h
    return product + (m.fma(d, h, -product) + m.fma(d, lost, d_rest * h))


def _sine_and_cosine_of_turns(m: Arithmetic, a: Value) -> tuple[Value, Value]:
    """|sin(pi a)|, and cos(pi a) / sin(pi a) times that, for a >= 0."""
    f = a - m.rint(a)
    g = m.absolute(f)
    steep = g > 0.25
    h = m.select(steep, 0.5 - g, g)
    r = h * _PI[0]
    s, s_rest, c, c_rest = sine_and_cosine(m, r, m.fma(h, m.real(_PI[0]), -r) + h * _PI[1])
    s, c = s + s_rest, c + c_rest
    return m.select(steep, c, s), m.copysign(m.select(steep, s, c), f)


def lgamma(m: Arithmetic, x: Value) -> Value:
    """log|gamma(x)|: by a polynomial on [1, 3], to which the recurrence leads from 0; by another up to 8; by Stirling's
    formula beyond; by reflection for negative numbers.
    """
    if m.bits == 32:
        w = m.wide
        return m.narrowed(lgamma(w, w.widened(x)))
    infinity = float("inf")
    a = m.absolute(x)
    low, small = a < 1.0, a < 3.0
    first, second = m.select(low, a, a - 1.0), m.select(low, a - 1.0, m.select(small, a - 2.0, m.real(0.0)))
    d = first * second
    near = times_polynomial(m, d, m.fma(first, second, -d), second, _LGAMMA_NEAR)  # below 1, of a + 1
    high, rest = long_log(m, a)
    high = m.select(a == 0.0, m.real(-infinity), high)
    u = m.select(a < 8.0, a - 5.5, m.real(0.0)) * 0.25
    middle = times_polynomial(m, a - 2.0, m.real(0.0), u, _LGAMMA_MIDDLE)
    r = 1.0 / m.select(a < 8.0, m.real(8.0), a)
    b = a - 0.5
    product = b * high
    lower = m.fma(b, high, -product) + b * rest
    lower = m.select(product < infinity, lower, m.real(0.0))
    far = (product - a) + (lower + m.fma(r, polynomial(m, r * r, _STIRLING), m.real(_HALF_LOG_2_PI)))
    value = m.select(low, (near - high) - rest, m.select(small, near, m.select(a < 8.0, middle, far)))

    def reflected() -> tuple[Value]:
        sine, _ = _sine_and_cosine_of_turns(m, a)
        return ((_LOG_PI - log(m, m.select(low, sine, sine * a))) - m.select(low, near, value),)

    (value,) = m.rarely(x < 0.0, (value,), reflected)
    value = m.select(a < infinity, value, m.real(infinity))
    return m.select(x == x, value, x)


def digamma(m: Arithmetic, x: Value) -> Value:
    """The derivative of ``lgamma``: by polynomials with the same zero on [1, 3] and up to 8; by the asymptotic series beyond;
    by the recurrence below 1; by reflection for negative numbers.
    """
    if m.bits == 32:
        w = m.wide
        return m.narrowed(digamma(w, w.widened(x)))
    infinity = float("inf")
    a = m.absolute(x)
    low = a < 1.0
    y = m.select(low, a + 1.0, m.select(a < 3.0, a, m.real(3.0)))
    d, d_rest = two_sum(y, m.real(-_ZERO[0]))
    lost = m.select(low, a - (y - 1.0), m.real(0.0))  # from a + 1
    near = times_polynomial(m, d, d_rest - _ZERO[1] + lost, y - 2.0, _DIGAMMA_NEAR)
    u = m.select(a < 8.0, a - 5.5, m.real(0.0)) * 0.25
    d, d_rest = two_sum(m.select(a < 8.0, a, m.real(8.0)), m.real(-_ZERO[0]))
    middle = times_polynomial(m, d, d_rest - _ZERO[1], u, _DIGAMMA_MIDDLE)
    c = m.select(a < 8.0, m.real(8.0), a)
    inverse = 1.0 / m.select(a == 0.0, m.real(1.0), a)
    r = 1.0 / c
    far = log(m, c) - m.fma(r * r, polynomial(m, r * r, _DIGAMMA_FAR), r * 0.5)
    value = m.select(a < 3.0, near, m.select(a < 8.0, middle, far))  # below 1, of a + 1

    def reflected() -> tuple[Value]:
        sine, cosine = _sine_and_cosine_of_turns(m, a)
        turned = m.select(low, value, value + inverse) + cosine / sine * _PI[0]
        return (m.select(sine == 0.0, m.real(float("nan")), turned),)  # poles

    (value,) = m.rarely(x < 0.0, (m.select(low, value - inverse, value),), reflected)
    value = m.select(a == 0.0, m.copysign(m.real(infinity), -x), value)
    value = m.select(a < infinity, value, m.select(x > 0.0, x, m.real(float("nan"))))
    return m.select(x == x, value, x)


def trigamma(m: Arithmetic, x: Value) -> Value:
    """The derivative of ``digamma``: by the asymptotic series from 9 on, to which the recurrence leads; by reflection for
    negative numbers.
    """
    if m.bits == 32:
        w = m.wide
        return m.narrowed(trigamma(w, w.widened(x)))
    low = x < 0.0
    a = m.select(low, 1.0 - x, x)
    steps = m.real(0.0)
    for k in reversed(range(1, 8)):
        r = 1.0 / (a + float(k))
        steps = m.fma(r, r, steps)
    r = 1.0 / a
    lost = m.select(a > 1e-100, m.fma(-r, a, m.real(1.0)), m.real(0.0))  # the rounding error of the largest term
    steps = m.fma(r, r, m.select(lost == 0.0, steps, m.fma(r * lost, r + r, steps)))
    high = a >= 9.0
    r = 1.0 / m.select(high, a, a + 8.0)
    square = r * r
    far = m.fma(r * square, polynomial(m, square, _TRIGAMMA_FAR), m.fma(square, m.real(0.5), r))
    value = m.select(high, far, steps + far)

    def reflected() -> tuple[Value]:
        sine, _ = _sine_and_cosine_of_turns(m, m.absolute(x))
        ratio = m.select(a < float("inf"), _PI[0] / sine, m.real(float("nan")))
        return (m.select(low, m.fma(ratio, ratio, -value), value),)

    (value,) = m.rarely(low, (value,), reflected)
    return m.select(x == x, value, x)


FUNCTIONS: dict[str, Callable[[Arithmetic, Value], Value]] = {f.__name__: f for f in (lgamma, digamma, trigamma)}
BRANCHING = (lgamma, digamma, trigamma)  # by ``rarely``
