"""Programs that write slices: patterns of reads and writes that overlap in all ways."""

import tracer


def rows(a, b):
    y = a * 0
    for i in range(1, len(a)):
        y[i] = y[i - 1] * 2 + a[i]
    return y


def argument(a, b):
    for i in range(1, len(a)):
        a[i] = a[i] + a[i - 1]


def backwards(a, b):
    for i in range(len(a) - 2, -1, -1):
        a[i] += a[i + 1].clone() * b[i]
    return a


def columns(a, b):
    y = a.clone()
    for j in range(1, a.shape[1]):
        y[:, j] = y[:, j - 1] - b[:, j]
    return y


def stencil(a, b):
    for _ in range(3):
        b[1:-1, 1:-1] = a[1:-1, 1:-1] + a[:-2, 1:-1] + a[2:, 1:-1] + a[1:-1, :-2] + a[1:-1, 2:]
        a[1:-1, 1:-1] = b[1:-1, 1:-1] - b[:-2, 1:-1] + b[2:, 1:-1]
    return a


def stencil_in_place(a, b):
    for _ in range(2):
        a[1:-1] += a[:-2] - a[2:]
    return a


def shifted(a, b):
    a[1:] = a[:-1].clone()
    a[:, :-1] = a[:, 1:] * 1
    a[::2] = a[1::2]
    return a


def swapped(a, b):
    old = a[0].clone()
    a[0] = a[3]
    a[3] = old
    a[1], a[2] = a[2].clone(), a[1].clone()
    return a


def reversed_in_place(a, b):
    a[:] = a.flip(0)
    a[1] = a[1].flip(0)
    return a


def red_black(a, b):
    for _ in range(2):
        a[::2, 1::2] += a[1::2, 1::2]
        a[1::2, ::2] += a[::2, ::2]
    return a


def two_from_one(a, b):
    x, y = a.clone(), a.clone()
    x[0] = 1
    y[1] = 2
    return x, y, a


def versions(a, b):
    a = a * 1
    first = a.clone()
    a[0] = b[0]
    second = a.clone()
    a[1] = b[1]
    return first, second, a


def old_elements(a, b):
    total = a[0] + a[1]
    a[0] = b[0]
    a[1] = total + a[0]
    return total * a[0]


def views(a, b):
    y = a * 1
    row, rest = y[1], y[2:]
    row += 1
    rest[:, 1] = row[0]
    y.view(-1)[3] = 5
    y.T[2] = y.T[3]
    return y, row, rest


def whole_between(a, b):
    y = a * 1
    y[0] = b[0]
    y = y * 2
    y[1] = y[0] + 1
    y *= 3
    y[2] = y[1]
    return y.sum(0), y


def reduced(a, b):
    y = a * 0
    for i in range(len(a)):
        y[i] = a[i] * a[i].sum()
    return y


def products(a, b):
    y = a * 0
    for i in range(1, len(a)):
        y[i] = a[i] - y[:i].sum(0) + (a[:i].T @ b[:i, 0])
    return y


def factored(a, b):
    a[:4, :4] += tracer.eye(4, dtype=a.dtype) * 16
    for k in range(3):
        a[k + 1 :, k] = a[k + 1 :, k] * 1 * b[k, k]
        a[k + 1 :, k + 1 :] -= (a[k + 1 :, k, None] + 0) * (a[k, k + 1 :] + 0)
    return a


def aligned(a, b):
    a[1:3] = (b[1:3] + 0) * (a[1:3] + 0) + a[0]
    b[1:3] = a[1:3] - b[1:3]
    a[1:3], b[1:3] = a[1:3] + b[1:3], a[1:3] - b[1:3]
    return a


def both(a, b):
    a[0] = b[0] + a[1]
    b[0] = a[2] - a[1]
    a[1] = b[0]
    b[1] = a[0]


def many_small(a, b):
    y = tracer.zeros(20, dtype=a.dtype)
    for i in range(20):
        y[i] = a[i % 4, i % 5] + (y[i - 1] if i else 0)
    return y


def overlapping(a, b):
    y = a * 1
    y[0:2] = b[0:2]
    y[1:3] = b[2:4]
    y[0:3, 1] = y[1:4, 2]
    y[0:3, 1:3] = y[1:4, 0:2]
    return y


PATTERNS = [
    *(
        rows,
        argument,
        backwards,
        columns,
        stencil,
        stencil_in_place,
        shifted,
        swapped,
        reversed_in_place,
        red_black,
        two_from_one,
    ),
    *(versions, old_elements, views, whole_between, reduced, products, factored, aligned, both, many_small, overlapping),
]
