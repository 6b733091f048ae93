"""A function's errors, recorded and replayed: the same type and the same message."""

import math

import numpy as np
import pytest
from twice import both, vec

import tracer


def unbound(x, u):
    if u > 9:
        y = u
    return x * y


def unbound_and_computed(x, u):
    if u > 9:
        y = u
    y = y * u
    return x * y


def deleted(x, u):
    y = u * 2
    del y
    return x * y  # noqa: F821


def empty_cell(x, u):
    def inner():
        return y

    if u > 9:
        y = u
    return x * inner()


def unpacked(x, u):
    a, b = u
    return x * a * b


def entered(x, u):
    with u:
        return x


def assigned(x, u):
    u.attribute = 1
    return x


def raised(x, u):
    raise ValueError(u, u * 2)


ERRORS = {
    "an unbound variable": unbound,
    "one that is computed from itself": unbound_and_computed,
    "a deleted variable": deleted,
    "an empty cell": empty_cell,
    "unpacking": unpacked,
    "a context": entered,
    "an attribute assigned": assigned,
    "numbers in the arguments of an exception": raised,
    "an attribute": lambda x, u: x * u.attribute,
    "a name": lambda x, u: x * undefined * u,  # noqa: F821
    "a call": lambda x, u: x * u(2),
    "an item": lambda x, u: x * u[0],
    "a length": lambda x, u: x * len(u),
    "a loop": lambda x, u: [x for _ in u],
    "a range": lambda x, u: [x for _ in range(u * 0.5)],
    "an index": lambda x, u: x * [1.0][u + 0.5],
    "an index out of range": lambda x, u: x * [1.0][int(u) + 3],
    "a key": lambda x, u: x * {}[u],
    "an unhashable key": lambda x, u: {[u]: x},
    "membership": lambda x, u: x * ("a" in u),
    "a product of matrices": lambda x, u: u @ 2,
    "bits of a float": lambda x, u: (u * 0.5) | 1,
    "a complement": lambda x, u: ~(u * 0.5),
    "a sum with text": lambda x, u: x * (u + "a"),
    "a comparison with text": lambda x, u: x * (u < "a"),
    "a division": lambda x, u: x * (1 / (u - u)),
    "a remainder": lambda x, u: x * (u % 0.0),
    "a large power": lambda x, u: x * 10.0 ** (u * 1000 + 1000),
    "a negative root": lambda x, u: x * math.sqrt(-u - 1),
    "a logarithm": lambda x, u: x * math.log(u - u),
    "a format": lambda x, u: x * float(f"{u * 0.5:d}"),
    "text to a number": lambda x, u: x * int(f"a{u}"),
    "a character": lambda x, u: chr(u * 0.5),
    "text repeated": lambda x, u: "a" * (u * 0.5),
}


@pytest.mark.parametrize("numbers", [(0.5, 0.5, 0.75), (1, 2, 2, 3)], ids=["float", "int"])
@pytest.mark.parametrize("error", ERRORS)
def test_errors_are_the_same(error, numbers):
    def program(trace):
        f, seen = trace(ERRORS[error]), []
        for u in numbers:
            try:
                f(vec(1.0), u)
                seen.append("nothing")
            except Exception as e:
                seen.append((type(e).__name__, str(e)))
        return seen

    both(program)


@pytest.mark.parametrize(
    "use", [lambda a: a.attribute, lambda a: a(2), lambda a: {a: 1}, lambda a: a[5], lambda a: chr(a), lambda a: a + object()]
)
def test_errors_of_arrays_are_the_same(use):
    def program(trace):
        f, seen = trace(lambda x, a: x * use(a)), []
        for k in range(3):
            with pytest.raises(Exception) as raised:
                f(tracer.ones(2), np.array([0.5, k]))
            seen.append((raised.type.__name__, str(raised.value).split(" 0x")[0]))
        return seen

    both(program)
