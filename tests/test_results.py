"""Results belong to the caller: changes to a result's array do not affect later results or the process."""

import contextlib

import numpy as np
import pytest

import tracer


def reshape(a):
    a.shape = (3, 2)


def retype(a):
    a.dtype = np.uint8


def restride(a):
    a.strides = (0,) * a.ndim


def freeze(a):
    a.flags.writeable = False


def resize(a):
    a.resize((100_000,), refcheck=False)


def shrink(a):
    a.resize((1,), refcheck=False)


def overwrite(a):
    a[...] = -1


CHANGES = [reshape, retype, restride, freeze, resize, shrink, overwrite]
PROGRAMS = {
    "written out": lambda x: x * 2,
    "two results": lambda x: (x * 2, x + 1),
    "by NumPy": lambda x: (x * 2).sort()[0],
    "views": lambda x: (x * 2)[:],
}


def first(y):
    return y[0] if isinstance(y, tuple) else y


@pytest.mark.parametrize("owner", [False, True], ids=["array", "owner"])
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("program", PROGRAMS)
def test_changes_of_a_result(program, change, owner):
    f = tracer.trace(PROGRAMS[program])
    for i in range(12):
        y = first(f(tracer.full((6,), float(i))))
        a = y.numpy()
        if owner:
            while a.base is not None:
                a = a.base
        assert a.reshape(-1).view(np.float32).tolist() == [2.0 * i] * 6
        with contextlib.suppress(ValueError, AttributeError):  # NumPy refuses
            change(a)
        if i % 2:
            del a, y  # otherwise they are held until the next result is created
        np.full(6, 9, np.float32)
    assert first(f(tracer.ones(6))).tolist() == [2.0] * 6


@pytest.mark.parametrize("change", CHANGES)
def test_changes_of_a_gradient(change):
    w = tracer.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], requires_grad=True)

    @tracer.trace
    def step(x):
        w.grad = None
        loss = (w * x).sum()
        loss.backward()
        return loss.detach()

    for i in range(12):
        step(tracer.full((6,), float(i)))
        a = w.grad.numpy()
        assert a.tolist() == [float(i)] * 6
        with contextlib.suppress(ValueError, AttributeError):
            change(a)
        del a


def test_an_array_of_a_tensor_does_not_resize_it():
    x = tracer.ones(3)
    with pytest.raises(ValueError):
        x.numpy().resize((5,), refcheck=False)
    x.numpy().shape = (3, 1)
    assert x.shape == (3,)
    x.numpy()[0] = 5
    np.asarray(x)[1] = 6
    assert x.tolist() == [5.0, 6.0, 1.0]
