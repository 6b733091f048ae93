"""The gallery: programs as people write them mean the same traced, and cost what they say."""

import gallery
import pytest

# Programs that run eagerly, wholly or too often, and should not: what keeps them from what they may cost.
EAGER_FOR_NOW: dict[str, str] = {}

# Programs that are not the same traced.
WRONG_FOR_NOW: dict[str, str] = {}

MARKS = {name: [pytest.mark.xfail(reason=reason, strict=True, raises=AssertionError)] for name, reason in WRONG_FOR_NOW.items()}


def test_there_are_enough():
    assert len(gallery.PROGRAMS) >= 80
    assert {*EAGER_FOR_NOW, *WRONG_FOR_NOW} <= {*gallery.PROGRAMS}


@pytest.mark.parametrize("name", [pytest.param(name, marks=MARKS.get(name, ())) for name in gallery.PROGRAMS])
def test_program(name):
    program, cost = gallery.PROGRAMS[name], gallery.cost(name)
    if name in EAGER_FOR_NOW:
        assert not cost.within(program), f"{name} keeps to what it may cost: take its mark away"
    else:
        assert cost.within(program), f"{name} ran {cost.runs} times, with {cost.programs} programs:\n{cost.explained}"
