"""Files of PyTorch: those that it wrote (``torch_files.json``, PyTorch 2.13) are read as data; hostile ones are refused."""

import base64
import contextlib
import io
import json
import pickle
import random
import struct
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

import tracer
from tracer import nn, optim
from tracer.serialization import add_safe_globals, get_safe_globals, safe_globals

FILES = {
    name: base64.b64decode(text) for name, text in json.loads((Path(__file__).parent / "torch_files.json").read_text()).items()
}


def load(data):
    return tracer.load(io.BytesIO(data))


def saved(x):
    file = io.BytesIO()
    tracer.save(x, file, format="torch")
    return file.getvalue()


def check_values(found):
    assert found["a"].tolist() == [[0, 1, 2], [3, 4, 5]] and found["t"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert isinstance(found["p"], nn.Parameter) and found["p"].requires_grad and found["p"].tolist() == [1.5]
    assert found["h"].dtype is tracer.bfloat16 and found["h"].tolist() == [1.5, -2.0]
    assert found["i"].dtype is tracer.int64 and found["i"].tolist() == [1, -2]
    assert found["b"].dtype is tracer.bool and found["b"].tolist() == [True, False]
    assert found["z"].dtype is tracer.complex64 and found["z"].tolist() == [1 + 2j]
    assert found["s"].shape == () and found["s"].item() == 7 and found["e"].shape == (0, 3)
    assert found["l"] == [1, 2.5, "x", None, True, (1, 2**40), {3}]
    assert found["size"] == (2, 3) and isinstance(found["size"], tracer.Size)
    assert found["dtype"] is tracer.float16 and found["device"] == tracer.device("cpu")
    assert type(found["n"]) is np.ndarray and found["n"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("name", ["new", "old"])
def test_what_pytorch_wrote(name):
    found = load(FILES[name])
    check_values(found)
    if name == "new":
        assert found["u"].dtype is tracer.uint16 and found["u"].tolist() == [3]
    found["a"][1, 0] = 9  # views of one storage share memory
    assert found["t"][0, 1] == 9 and found["row"].tolist() == [9, 4, 5]


def test_state_dicts():
    state = load(FILES["state"])
    assert isinstance(state, OrderedDict) and state._metadata == {"": {"version": 1}}
    layer = nn.Linear(2, 1)
    layer.load_state_dict(state)
    assert layer(tracer.ones(1, 2)).item() == 6
    found = load(FILES["training"])
    layer.load_state_dict(found["model"])
    optimizer = optim.Adam(layer.parameters(), lr=1.0)
    optimizer.load_state_dict(found["optimizer"])
    assert optimizer.param_groups[0]["lr"] == 0.5 and optimizer.state[layer.weight]["step"].item() == 1


@pytest.mark.parametrize("name", ["module", "module_old"])
def test_classes_are_named_and_refused(name):
    with pytest.raises(ValueError, match=r"the file has a torch\.nn\.modules\.linear\.Linear, which is neither"):
        load(FILES[name])


def test_programs_are_refused():
    with pytest.raises(ValueError, match="the archive is a TorchScript program"):
        load(FILES["script"])


class Settings:
    def __init__(self, rate):
        self.rate = rate


def test_allowed_classes():
    data = saved({"settings": Settings(0.5)})
    with pytest.raises(ValueError, match=r"Settings, which is neither"):
        load(data)
    with safe_globals([Settings]):
        found = load(data)["settings"]
    assert type(found) is Settings and found.rate == 0.5 and get_safe_globals() == []
    add_safe_globals([Settings])
    try:
        assert load(data)["settings"].rate == 0.5
    finally:
        tracer.serialization.clear_safe_globals()


def test_round_trip(tmp_path):
    base = tracer.arange(6, dtype=tracer.float32).reshape(2, 3)
    values = {
        **{name: x for name, x in load(FILES["new"]).items() if name != "u"},
        "a": base,
        "t": base.T,
        "row": base[1],
        "large": -(2**100),
        "text": "\ud800é",
        "bytes": b"\x00\xff",
        "nested": OrderedDict(x=[()]),
        "arrays": [np.array(["ab", "c"]), np.array([1, 2], ">i2"), np.zeros((0, 3))],
    }
    values["itself"] = shared = [1]
    values["again"] = shared
    tracer.save(values, tmp_path / "x.pt", format="torch")
    found = tracer.load(tmp_path / "x.pt")
    check_values(found)
    assert found["large"] == -(2**100) and found["text"] == "\ud800é" and found["bytes"] == b"\x00\xff"
    assert found["itself"] is found["again"] and found["nested"] == {"x": [()]}
    assert [x.tolist() for x in found["arrays"]] == [["ab", "c"], [1, 2], []]
    found["a"][1, 0] = 9
    assert found["row"].tolist() == [9, 4, 5]
    assert saved({"x": base}) == saved({"x": base.clone()})  # equal objects give equal files


def test_a_small_view_is_saved_alone():
    assert len(saved(tracer.zeros(100_000)[:10])) < 5000


def test_what_cannot_be_saved():
    with pytest.raises(TypeError, match="cannot save a generator"):
        saved(x for x in ())
    with pytest.raises(ValueError, match="formats 'safetensors' and 'torch'"):
        tracer.save({}, io.BytesIO(), format="pickle")


# Hostile files. ``RAN`` would be made by any code of a file that ran.


class Trap:
    def __reduce__(self):
        return exec, ("import sys; sys.modules['ran'] = 1",)


GLOBALS = [
    b"cos\nsystem\n(S'touch ran'\ntR.",
    b"cbuiltins\neval\n(S'__import__(\"sys\").modules.update(ran=1)'\ntR.",
    b"\x80\x04\x8c\x08builtins\x8c\x04exec\x93\x8c\x01x\x85R.",
    b"ctracer.core.tensor\nTensor\n)\x81.",
    b"ctorch\nTensor\n(tR.",
    b"ccollections\nOrderedDict\n)\x81}b.",
    b"(lp0\n(ios\nsystem\n.",
    b"(cos\nsystem\nS'x'\no.",
    b"\x80\x02cnumpy\ndtype\n(X\x01\x00\x00\x00OtR.",
    b"c__builtin__\nlist\n(K\x05tR.",
    b"c__builtin__\nbytes\n(J\xff\xff\xff\x7ftR.",
    b"\x82\x01.",
    b"P1\n.",
    b"]K\x01Q.",
    b"K\x01K\x02a.",
    b"0.",
    b"2.",
    b"h\x05.",
    b"R.",
    b"e.",
    b"]K\x01e.",
    b"t.",
]


def archive(stream, storages=(), compressed=()):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as out:
        for name, data in (("data.pkl", stream), *storages):
            out.writestr(f"archive/{name}", data, zipfile.ZIP_DEFLATED if name in compressed else zipfile.ZIP_STORED)
    return file.getvalue()


@pytest.mark.parametrize("stream", [*GLOBALS, pickle.dumps(Trap()), pickle.dumps(Trap(), 2)])
def test_nothing_is_executed(stream, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"the file|neither"):
        load(archive(stream))
    with pytest.raises(ValueError, match=r"the file|neither"):
        load(stream)
    assert "ran" not in sys.modules and not list(tmp_path.iterdir())


def tensor_stream(offset, size, stride, count, key="0", kind="FloatStorage"):
    """The stream of one tensor."""

    def number(n):
        return b"\x8a\x08" + struct.pack("<q", n)

    def numbers(values):
        return b"(" + b"".join(map(number, values)) + b"t"

    text = [b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\n", kind.encode(), b"\n"]
    text += [b"X", struct.pack("<I", len(key)), key.encode(), b"X\x03\x00\x00\x00cpu", number(count), b"tQ"]
    text += [number(offset), numbers(size), numbers(stride), b"\x89ccollections\nOrderedDict\n)RtR."]
    return b"".join(text)


def test_a_made_tensor_is_read():
    data = np.arange(4, dtype=np.float32).tobytes()
    assert load(archive(tensor_stream(1, [2], [2], 4), [("data/0", data)])).tolist() == [1, 3]


OUTSIDE = {
    "offset": (3, [2], [1], 4),
    "size": (0, [5], [1], 4),
    "stride": (0, [2], [4], 4),
    "negative offset": (-1, [2], [1], 4),
    "negative size": (0, [-1], [1], 4),
    "negative stride": (3, [2], [-1], 4),
    "overflow": (0, [2**40, 2**40], [2**40, 1], 4),
    "other lengths": (0, [2, 2], [1], 4),
    "count": (0, [2], [1], 5),
    "huge count": (0, [2], [1], 2**60),
    "negative count": (0, [2], [1], -4),
    "missing": (0, [2], [1], 4, "1"),
    "another folder": (0, [2], [1], 4, "../data/0"),
    "no storage": (0, [2], [1], 4, "0", "Tensor"),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_memory_outside_of_the_file_is_refused(name):
    with pytest.raises(ValueError, match=r"the file|the memory|the archive"):
        load(archive(tensor_stream(*OUTSIDE[name]), [("data/0", bytes(16))]))


def test_zip_bombs_are_refused():
    stream = tensor_stream(0, [2], [1], 2**28)
    bomb = archive(stream, [("data/0", bytes(2**30))], ["data/0"])
    assert len(bomb) < 2**21
    with pytest.raises(ValueError, match="missing or of the wrong size"):
        load(bomb)
    with pytest.raises(ValueError, match=r"the archive has no data\.pkl"):
        load(archive(b"]" * 2**20 + b"." + bytes(2**28), compressed=["data.pkl"]))


@pytest.mark.parametrize("name", ["new", "old"])
def test_truncated_files_are_refused(name):
    data = FILES[name]
    ends = range(len(data)) if name == "old" else [*range(0, len(data) - 1, 7), *range(len(data) - 100, len(data))]
    for end in ends:
        with pytest.raises(ValueError, match=r"the file|the archive|the memory|neither"):
            load(data[:end])


@pytest.mark.parametrize("name", ["new", "old", "training"])
def test_damaged_files_give_data_or_an_error(name):
    numbers = random.Random(0)
    for _ in range(300):
        data = bytearray(FILES[name])
        for _ in range(numbers.randint(1, 4)):
            data[numbers.randrange(len(data))] = numbers.randrange(256)
        with contextlib.suppress(ValueError):
            load(bytes(data))
    assert "ran" not in sys.modules


def test_pytorch_is_not_imported():
    code = "import sys, tracer, io; f = io.BytesIO(); tracer.save({'x': tracer.ones(1)}, f, format='torch'); f.seek(0)"
    code += "; tracer.load(f); assert 'torch' not in sys.modules and 'pickle' not in tracer.serialization.__dict__"
    subprocess.run([sys.executable, "-c", code], check=True)
