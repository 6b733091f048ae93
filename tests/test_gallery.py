"""The gallery: realistic programs have the same results traced, at the stated cost."""

import gallery
import pytest
from marks import ON_DEVICE

# Programs that still run eagerly, entirely or too often, and the reasons.
EAGER_FOR_NOW: dict[str, str] = {}
ON_A_DEVICE = {
    "rejection_sampling": "it is given no tensor that says where to compute",
    "experts_by_tokens": "there, numbers of selected rows are paths",
}
USE_NUMPY = {"numpy_inside", "particles_in_a_box_with_numpy", "numbers_are_returned", "numbers_are_stored"}


def test_there_are_enough():
    assert len(gallery.PROGRAMS) >= 80
    assert {*EAGER_FOR_NOW, *ON_A_DEVICE, *USE_NUMPY} <= {*gallery.PROGRAMS}


@pytest.mark.parametrize("name", gallery.PROGRAMS)
def test_program(name):
    if ON_DEVICE and name in USE_NUMPY:
        pytest.skip("uses NumPy arrays, which are on the CPU: with tensors of a device it raises an error, as in PyTorch")
    program, cost = gallery.PROGRAMS[name], gallery.cost(name)
    if name in EAGER_FOR_NOW or (ON_DEVICE and name in ON_A_DEVICE):
        assert not cost.within(program), f"{name} keeps to what it may cost: take its mark away"
    else:
        assert program.raises or program.runs < cost.calls, "it may run in each call"
        # On a device sums are rounded otherwise, and a loop that ends by a tolerance may take more steps.
        allowed = cost.runs <= program.runs if ON_DEVICE else cost.within(program)
        assert allowed, f"{name} ran {cost.runs} times, with {cost.programs} programs:\n{cost.explained}"
