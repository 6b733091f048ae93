"""Parameters, buffers and children of modules: their names and their order."""

import pytest

import tracer
from tracer import nn

TABLES = {"parameter": "_parameters", "module": "_modules", "buffer": "_buffers"}
NAMES = {"parameter": "abc", "module": "xyz", "buffer": "pqr"}
VALUES = {
    "parameter": lambda: nn.Parameter(tracer.zeros(2)),
    "module": lambda: nn.Linear(1, 1),
    "buffer": lambda: nn.Buffer(tracer.zeros(2)),
}
REGISTER = {"parameter": "register_parameter", "module": "register_module", "buffer": "register_buffer"}


def model():
    m = nn.Module()
    for kind, names in NAMES.items():
        for name in names:
            setattr(m, name, VALUES[kind]())
    m.plain = 3
    return m


def order(m):
    return {kind: "".join(getattr(m, table)) for kind, table in TABLES.items()}


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("none_first", [False, True])
def test_what_is_replaced_keeps_its_place(kind, none_first):
    for place, name in enumerate(NAMES[kind]):
        m, value = model(), VALUES[kind]()
        if none_first:
            setattr(m, name, None)
        setattr(m, name, value)
        assert order(m) == NAMES
        assert list(getattr(m, TABLES[kind]).values())[place] is value
        getattr(m, REGISTER[kind])(name, VALUES[kind]())
        assert order(m) == NAMES
        delattr(m, name)
        setattr(m, name, value)
        assert order(m)[kind] == NAMES[kind].replace(name, "") + name


@pytest.mark.parametrize(("name", "kind"), [("x", "parameter"), ("p", "parameter"), ("p", "module"), ("plain", "module")])
def test_a_value_of_another_kind_moves_the_name(name, kind):
    m = model()
    setattr(m, name, VALUES[kind]())
    expected = {k: names.replace(name, "") + (name if k == kind else "") for k, names in NAMES.items()}
    assert order(m) == expected
    assert name not in m.__dict__


@pytest.mark.parametrize(("name", "kind"), [("a", "module"), ("a", "buffer"), ("x", "buffer")])
def test_a_table_refuses_what_it_does_not_hold(name, kind):
    m = model()
    with pytest.raises(TypeError, match=f"cannot assign .* '{name}'"):
        setattr(m, name, VALUES[kind]())
    assert order(m) == NAMES


@pytest.mark.parametrize("kind", TABLES)
def test_a_name_that_is_something_else_is_refused(kind):
    for name in ("plain", *(names[0] for k, names in NAMES.items() if k != kind)):
        m = model()
        with pytest.raises(KeyError, match=f"attribute '{name}' already exists"):
            getattr(m, REGISTER[kind])(name, VALUES[kind]())
        assert order(m) == NAMES


def test_a_buffer_replaced_by_assignment_stays_out_of_the_state():
    m = nn.Module()
    m.register_buffer("b", tracer.zeros(2), persistent=False)
    m.b = tracer.ones(2)
    assert list(m.state_dict()) == []
    m.b = nn.Buffer(tracer.ones(2))
    assert list(m.state_dict()) == ["b"]


def test_set_submodule():
    m = nn.Sequential(nn.ReLU(), nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
    m.set_submodule("1.0", nn.Tanh())
    assert [type(c).__name__ for c in m[1]] == ["Tanh", "ReLU"]
    m.set_submodule("1.more", nn.Identity())
    assert list(m[1]._modules) == ["0", "1", "more"]
    with pytest.raises(ValueError, match="without a target"):
        m.set_submodule("", nn.ReLU())
    with pytest.raises(ValueError, match=r"not an nn\.Module"):
        m.set_submodule("0", 3)
    for target, strict in (("1.none", True), ("9.0", False), ("1.training", False)):
        with pytest.raises(AttributeError, match=r"attribute|not an nn\.Module"):
            m.set_submodule(target, nn.ReLU(), strict=strict)


LAYOUTS = {
    "transposed": lambda: tracer.zeros(3, 4).t(),
    "every second": lambda: tracer.zeros(8, 3)[::2],
    "diagonal": lambda: tracer.zeros(3, 3).diagonal(),
    "permuted": lambda: tracer.zeros(2, 3, 4).permute(2, 0, 1),
    "empty": lambda: tracer.zeros(0, 3),
    "expanded, empty": lambda: tracer.zeros(1, 0).expand(4, 0),
    "expanded, one row": lambda: tracer.zeros(1, 3).expand(1, 3),
    "expanded to one row": lambda: tracer.zeros(3).expand(1, 3),
    "windows": lambda: tracer.zeros(6).unfold(0, 3, 3),
    "real part": lambda: tracer.zeros(3, dtype=tracer.complex64).real,
    "int": lambda: tracer.zeros(3, dtype=tracer.int64),
    "scalar": lambda: tracer.zeros(()),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_state_is_loaded_into_any_layout(layout):
    m, buffer = nn.Module(), LAYOUTS[layout]()
    m.register_buffer("b", buffer)
    state = tracer.arange(buffer.numel()).reshape(buffer.shape)
    m.load_state_dict({"b": state})
    assert m.b is buffer
    assert m.b.tolist() == state.tolist()


@pytest.mark.parametrize("make", [lambda: tracer.zeros(1, 3).expand(4, 3), lambda: tracer.zeros(()).expand(2)])
def test_a_state_for_elements_that_share_memory_is_refused_by_name(make):
    m, buffer = nn.Module(), make()
    m.register_buffer("b", buffer)
    with pytest.raises(
        RuntimeError, match=r'(?s)in loading state_dict for Module.*parameter named "b".*single memory location'
    ):
        m.load_state_dict({"b": tracer.ones(buffer.shape)})
