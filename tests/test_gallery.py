"""The gallery: realistic programs have the same results traced, at the stated cost."""

import gallery
import pytest

# Programs that still run eagerly, entirely or too often, and the reasons.
EAGER_FOR_NOW: dict[str, str] = {}


def test_there_are_enough():
    assert len(gallery.PROGRAMS) >= 80
    assert {*EAGER_FOR_NOW} <= {*gallery.PROGRAMS}


@pytest.mark.parametrize("name", gallery.PROGRAMS)
def test_program(name):
    program, cost = gallery.PROGRAMS[name], gallery.cost(name)
    if name in EAGER_FOR_NOW:
        assert not cost.within(program), f"{name} keeps to what it may cost: take its mark away"
    else:
        assert program.raises or program.runs < cost.calls, "it may run in each call"
        assert cost.within(program), f"{name} ran {cost.runs} times, with {cost.programs} programs:\n{cost.explained}"
