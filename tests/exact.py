"""Writes exact.json: values of special functions to thirty digits, as two floats each. Needs mpmath.

python tests/exact.py
"""

from __future__ import annotations

import json
from pathlib import Path

import mpmath as mp
import numpy as np


def erfinv(x: mp.mpf) -> mp.mpf:
    """mpmath's own does not find numbers close to 1."""
    y = mp.sqrt(-mp.log(1 - abs(x)))
    return mp.sign(x) * mp.findroot(lambda y: mp.log(mp.erfc(y)) - mp.log(1 - abs(x)), y) if abs(x) > 0.9 else mp.erfinv(x)


FUNCTIONS = {
    "erfc": mp.erfc,
    "lgamma": lambda x: mp.log(abs(mp.gamma(x))),
    "digamma": mp.digamma,
    "trigamma": lambda x: mp.polygamma(1, x),
    "erfinv": erfinv,
}


def points(name: str) -> list[float]:
    rng = np.random.default_rng(0)
    if name == "erfc":
        return [*rng.uniform(-6, 26.5, 120), *rng.standard_normal(60), 0.5, -0.5, 1.0, 1e-300]
    if name == "erfinv":
        return [
            *rng.uniform(-1, 1, 120),
            *(1 - 10.0 ** rng.uniform(-16, -1, 60)),
            1e-300,
            -1e-9,
            0.5,
            1 - 2.0**-53,
            -1 + 2.0**-53,
        ]
    near = [z + d for z in (1.0, 2.0, 1.4616321449683622) for d in 10.0 ** rng.uniform(-12, -1, 15)]
    return [*rng.uniform(0, 12, 100), *np.exp(rng.uniform(-300, 300, 60)), *near, 1.0, 2.0, 3.0, 8.0, 0.5]


def main() -> None:
    mp.mp.prec = 2000  # for gamma(1e130)
    table = {}
    for name, function in FUNCTIONS.items():
        rows = []
        for x in points(name):
            y = mp.loggamma(x) if name == "lgamma" and x > 0 else function(mp.mpf(float(x)))
            rows.append([float(x).hex(), float(y).hex(), float(y - mp.mpf(float(y))).hex()])
        table[name] = rows
    Path(__file__).with_name("exact.json").write_text(json.dumps(table, indent=0).replace('",\n"', '", "') + "\n")


if __name__ == "__main__":
    main()
