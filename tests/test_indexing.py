"""Indices of every kind, read and written: random ones compared with NumPy, and PyTorch's special cases in a table."""

from __future__ import annotations

import random
import warnings
from typing import Any

import numpy as np
import pytest

import tracer

MASKS = (bool, np.uint8)


def _positions(r: random.Random, extent: int, shape: tuple[int, ...]) -> Any:
    if not shape:
        return r.randrange(-extent, extent) if extent else 0
    return [_positions(r, extent, shape[1:]) for _ in range(shape[0])]


def random_index(r: random.Random) -> tuple[tuple[int, ...], list[Any]]:
    """A shape, and the items of an index into it; arrays stand for sequences, tensors and masks."""
    shape = tuple(r.choice((1, 2, 2, 3, 3, 4)) if r.random() < 0.95 else 0 for _ in range(r.choice((0, 1, 2, 2, 3, 3, 4))))
    length = r.choice((1, 2, 3))
    items: list[Any] = []
    axis, dots = 0, False
    while axis < len(shape) and r.random() < 0.85:
        n, kind = shape[axis], r.random()
        if kind < 0.12:
            items.append(None)
        elif kind < 0.2 and not dots:
            items.append(...)
            dots, axis = True, r.randrange(axis, len(shape) + 1)
        elif kind < 0.28:
            items.append(r.choice((True, True, False)))
        elif kind < 0.4 and n:
            items.append(r.randrange(-n, n))
            axis += 1
        elif kind < 0.55:
            bounds = (None, None, 0, 1, 2, -1, -2, 7)
            items.append(slice(r.choice(bounds), r.choice(bounds), r.choice((None, 1, 2, 3))))
            axis += 1
        elif kind < 0.8 and n:
            sizes = r.choice(((length,), (length,), (1,), (2, length), (length, 1), (0,)))
            items.append(np.array(_positions(r, n, sizes), np.int64).reshape(sizes))
            axis += 1
        else:
            part = shape[axis : axis + r.choice((1, 1, 2))]
            items.append(np.array([r.random() < 0.6 for _ in range(int(np.prod(part)))], r.choice(MASKS)).reshape(part))
            axis += len(part)
    if dots:
        items += [slice(None)] * (len(shape) - axis)
    return shape, items


def apart(x: np.ndarray, items: list[Any]) -> tuple[np.ndarray, tuple[Any, ...]]:
    """The view that the basic items select, and the remaining index of that view: PyTorch's rule, in NumPy."""
    basic: list[Any] = []
    rest: list[Any] = []
    used = sum(i.ndim if isinstance(i, np.ndarray) and i.dtype in MASKS else 1 for i in items if _uses(i))
    for i in items:
        if isinstance(i, bool):
            basic.append(None)
            rest.append(np.arange(int(i)))
        elif isinstance(i, np.ndarray):
            i = i.astype(bool) if i.dtype in MASKS else i
            basic += [slice(None)] * (i.ndim if i.dtype == bool else 1)
            rest.append(i)
        else:
            basic.append(i)
            rest += {True: [slice(None)] * (x.ndim - used), False: [] if isinstance(i, int) else [slice(None)]}[i is ...]
    if not any(i is ... for i in basic):
        basic.append(...)  # so that the result is a view, even for one element
    return x[tuple(basic)], tuple(rest)


def _uses(item: Any) -> bool:
    return item is not None and item is not ... and not isinstance(item, bool)


def _given(r: random.Random, item: Any) -> Any:
    """An array in one of its equivalent forms."""
    if not isinstance(item, np.ndarray):
        return item
    if item.dtype == np.uint8 or 0 in item.shape:
        return tracer.tensor(item)
    return r.choice((tracer.tensor, np.ndarray.tolist, lambda a: tuple(a.tolist()), lambda a: a))(item)


@pytest.mark.parametrize("block", range(10))
@pytest.mark.parametrize("traced", [False, True])
def test_random_indices_read_and_write(block: int, traced: bool) -> None:
    warnings.simplefilter("ignore")
    for seed in range(4 * block, 4 * block + 4) if traced else range(100 * block, 100 * block + 100):
        r = random.Random(seed)
        shape, items = random_index(r)
        values = np.arange(1.0, 1 + np.prod(shape)).reshape(shape)
        index = tuple(_given(r, i) for i in items)

        part, rest = apart(values, items)
        try:
            want = part[rest]
        except IndexError:  # masks with different numbers of elements
            with pytest.raises(IndexError, match="could not be broadcast together"):
                tracer.tensor(values)[index]
            continue
        weights = np.arange(1.0, 1 + want.size).reshape(want.shape)
        slope = np.zeros(shape)
        np.add.at(apart(slope, items)[0], rest, weights)
        written = values.copy()
        apart(written, items)[0][rest] = -1.0

        def read(x: tracer.Tensor, index: Any = index) -> tracer.Tensor:
            return x[index]

        def write(x: tracer.Tensor, index: Any = index) -> tracer.Tensor:
            y = x * 1.0
            y[index] = -1.0
            return y

        if traced:
            read, write = tracer.trace(read), tracer.trace(write)
        for _ in range(3 if traced else 1):
            x = tracer.tensor(values, requires_grad=True)
            got = read(x)
            assert got.shape == want.shape, (seed, shape, index)
            np.testing.assert_array_equal(got.detach().numpy(), want, err_msg=f"{seed} {shape} {index}")
            (got * tracer.tensor(weights)).sum().backward()
            np.testing.assert_array_equal(x.grad.numpy(), slope, err_msg=f"{seed} {shape} {index}")
            np.testing.assert_array_equal(write(x).detach().numpy(), written, err_msg=f"{seed} {shape} {index}")
        if not traced:  # what nothing tracks is left to NumPy where that means the same
            untracked, value = tracer.tensor(values), tracer.tensor(np.where(want > 1, want, -1.0))
            assert untracked[index].stride() == got.stride(), (seed, shape, index)
            np.testing.assert_array_equal(untracked[index].numpy(), want, err_msg=f"{seed} {shape} {index}")
            tracked = tracer.tensor(values, requires_grad=True) * 1
            untracked[index], tracked[index] = value, value
            np.testing.assert_array_equal(untracked.numpy(), tracked.detach().numpy(), err_msg=f"{seed} {shape} {index}")
            untracked[index] = -1.0
            np.testing.assert_array_equal(untracked.numpy(), written, err_msg=f"{seed} {shape} {index}")


def grid(*shape: int) -> tracer.Tensor:
    return tracer.arange(float(np.prod(shape))).reshape(*shape)


@pytest.mark.parametrize(
    ("index", "want"),
    [
        (lambda: [[1, 1, 3], [0]], [4.0, 4.0, 12.0]),
        (lambda: [[0, 1], [1, 0]], [1.0, 4.0]),
        (lambda: [slice(0, 2), 1], [1.0, 5.0]),
        (lambda: [None, 1], [[4.0, 5.0, 6.0, 7.0]]),
        (lambda: [tracer.tensor(1), tracer.tensor(2)], 6.0),
        (lambda: [np.array([1, 2]), [0]], [4.0, 8.0]),
        (lambda: [[True, False, True, False]], [[0.0, 1.0, 2.0, 3.0], [8.0, 9.0, 10.0, 11.0]]),
        (lambda: [np.int64(1)], [[4.0, 5.0, 6.0, 7.0]]),
        (lambda: ([[1]], [[2, 3]]), [[6.0, 7.0]]),
        (lambda: ((0, 1), (1, 1)), [1.0, 5.0]),
        (lambda: (tracer.tensor(True), 1), [[4.0, 5.0, 6.0, 7.0]]),
        (lambda: (True, False), []),
        (lambda: (True, [0, 2], 1), [1.0, 9.0]),
        (lambda: (True, ..., [0, 1]), [[0.0, 4.0, 8.0, 12.0], [1.0, 5.0, 9.0, 13.0]]),
        (lambda: ([True, False, True, False], ..., 0), [0.0, 8.0]),
        (lambda: (np.int64(1), np.int32(2)), 6.0),
        (lambda: slice(np.int64(3), None), [[12.0, 13.0, 14.0, 15.0]]),
        (lambda: slice(tracer.tensor(3), None), [[12.0, 13.0, 14.0, 15.0]]),
        (lambda: tracer.tensor(-1), [12.0, 13.0, 14.0, 15.0]),
        (lambda: range(0), []),
        (lambda: (..., -1, ...), [3.0, 7.0, 11.0, 15.0]),
        (lambda: [[0.5]], [[0.0, 1.0, 2.0, 3.0]]),
    ],
)
def test_indices_that_mean_what_they_mean_in_pytorch(index: Any, want: Any) -> None:
    assert grid(4, 4)[index()].tolist() == want


@pytest.mark.parametrize(
    ("shape", "index", "error", "words"),
    [
        ((4, 4), lambda: slice(None, None, -1), ValueError, "step must be greater than zero"),
        ((4, 4), lambda: 5, IndexError, "index 5 is out of bounds for dimension 0 with size 4"),
        ((4, 4), lambda: (slice(None), [7]), IndexError, "index 7 is out of bounds for dimension 1 with size 4"),
        ((4, 4), lambda: [-5], IndexError, "index -5 is out of bounds for dimension 0 with size 4"),
        ((4, 4), lambda: (0, 0, 0), IndexError, "too many indices for tensor of dimension 2"),
        ((), lambda: 0, IndexError, "invalid index of a 0-dim tensor"),
        ((), lambda: slice(None), IndexError, r"slice\(\) cannot be applied to a 0-dim tensor"),
        ((), lambda: [0], IndexError, "too many indices for tensor of dimension 0"),
        ((0, 3), lambda: 0, IndexError, "index 0 is out of bounds for dimension 0 with size 0"),
        ((0, 3), lambda: [0], IndexError, "index is out of bounds for dimension with size 0"),
        ((4, 4), lambda: ([0, 1], [0, 1, 2]), IndexError, r"could not be broadcast together with shapes \[2\], \[3\]"),
        ((4, 4), lambda: [True, False], IndexError, r"The shape of the mask \[2\] at index 0 does not match .* at index 0"),
        ((4, 4), lambda: ([0, 1], [True, False]), IndexError, r"mask \[2\] at index 0 does not match .* at index 1"),
        ((4, 4), lambda: tracer.tensor([0.5]), IndexError, "must be long, int, byte or bool tensors"),
        ((4, 4), lambda: tracer.tensor([0], dtype=tracer.int16), IndexError, "must be long, int, byte or bool tensors"),
        ((4, 4), lambda: 1.0, IndexError, r"only integers, .* are valid indices \(got float\)"),
        ((4, 4), dict, IndexError, r"only integers, .* are valid indices \(got dict\)"),
        ((4, 4), lambda: object(), IndexError, r"only integers, .* are valid indices \(got object\)"),
        ((4, 4), lambda: "a", TypeError, "invalid data type 'str'"),
        ((4, 4), lambda: slice("0", None), TypeError, "slice indices must be integers"),
        ((4, 4), lambda: slice(1.5, None), TypeError, "slice indices must be integers"),
    ],
)
def test_wrong_indices_are_refused_for_reading_and_writing(shape: tuple, index: Any, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        grid(*shape)[index()]
    with pytest.raises(error, match=words):
        grid(*shape)[index()] = 1.0


@pytest.mark.parametrize("value", [[1.0] * 4, (1.0,) * 4, np.ones(4), "a", None, object()])
def test_only_tensors_and_numbers_are_written(value: Any) -> None:
    for index in (0, [0], grid(4, 4) > 2):
        with pytest.raises(TypeError, match=r"can't assign a .* to a tracer.FloatTensor"):
            grid(4, 4)[index] = value


def test_values_broadcast_to_what_an_index_chooses() -> None:
    for index, sizes in ((0, (1, 1, 4)), ([0, 1], (1, 1, 4)), ([0, 1], ()), ([], (0, 4)), ((0, 0), (1, 1))):
        x, y = grid(4, 4), grid(4, 4).numpy().copy()
        x[index] = tracer.ones(sizes)
        y[index] = np.ones(sizes[len(sizes) - 2 :] if len(sizes) > 2 else sizes if index != (0, 0) else ())
        np.testing.assert_array_equal(x.numpy(), y)
    for index, sizes in ((0, (3,)), (0, (2, 4)), ([0, 1], (2, 1, 4)), ([0, 1], (3,)), ([], (2,)), (grid(4, 4) > 2, (3,))):
        with pytest.raises(RuntimeError):
            grid(4, 4)[index] = tracer.ones(sizes)
    with pytest.raises(RuntimeError, match="source and destination dtypes match"):
        grid(4, 4)[[0, 1]] = tracer.tensor([1])
    with pytest.raises(RuntimeError, match="without overflow"):
        grid(4, 4)[[0, 1]] = 1j


def test_bytes_are_masks_and_deprecated() -> None:
    with pytest.warns(UserWarning, match="uint8 is deprecated"):
        assert tracer.arange(3)[tracer.tensor([1, 0, 1], dtype=tracer.uint8)].tolist() == [0, 2]
