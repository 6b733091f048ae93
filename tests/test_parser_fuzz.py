"""Random and mutated texts: the parser returns a verified graph, or an error that says where."""

import functools
import random
import re
import resource
import time
import tracemalloc

import pytest
from checks import cast_args, graph_of
from programs import RandomGraph
from samples import cases

from tracer.ir import pipeline
from tracer.ir.autodiff import vjp
from tracer.ir.lexer import IRSyntaxError
from tracer.ir.parse import parse_graph
from tracer.ir.primitive import PRIMITIVES
from tracer.ir.types import DTYPES
from tracer.ir.verify import verify

WORDS = [
    *("(", ")", "{", "}", "[", "]", ",", ":", "=", "->", "#", '"', "@", "%", ".", "-", "<", ">", "\n", "\\"),
    *(
        "func",
        "return",
        "yield",
        "fusion",
        "complex",
        "True",
        "False",
        "inf",
        "nan",
        "-inf",
        "-0.0",
        "1e999",
        "-1",
        "0",
        "1",
        "2",
    ),
    *("18446744073709551616", "9" * 500, "1" * 5000, "2147483648", "0x10", "1_0", "007"),
    *("\u0663", "\u00b2", "\u00df", "\ufeff", "\x00", "\r"),
    *("%x", "%y", "%0", "@f", "@k0", "@cuda", "@tpu:0", "f32", "f32[]", "f32[2]", "f32[2,]", "f32[,]", "f32[2,3]", "q8[1]"),
    *("f32[2147483647,2147483647,2147483647]", "f32[" + "1," * 70 + "1]", "(" * 3000, "{(" * 200, "[" * 3000),
    *('"\\q"', '"\\ud800"', 'dtype="f32"', "dtype=3", "body=3", "out=1", "value=nan", "value=True"),
    *("axes=(0)", "axes=()", "axes=(0,0)", "shape=(2)", "shape=(-1)"),
]
HEADS = [f"%y: f32[2] = {name} %x" for name in PRIMITIVES]


@functools.cache
def corpus():
    """Valid texts: every operation, random programs and their gradients, before and after the passes."""
    graphs = [graph_of(p, cast_args(sample.args, "float32"), sample.attrs) for _, p, sample in cases()]
    for seed in range(24):
        graph = RandomGraph(seed, 3 + seed % 8, smooth=seed % 2 == 0).finish()
        graphs += [graph, pipeline.run(graph, pipeline.COMPILE), pipeline.run(graph, pipeline.COMPILE_FOR_GRIDS)]
        if seed % 2 == 0:
            graphs.append(vjp(graph))
    return [str(graph) for graph in graphs]


def mutated(rng, text):
    """The text with a few changes: of characters, words, or lines."""
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        kind = rng.random()
        at = rng.randrange(len(text) + 1)
        end = min(len(text), at + rng.choice((1, 1, 2, 5, 30)))
        if kind < 0.2:
            text = text[:at] + text[end:]
        elif kind < 0.4:
            text = text[:at] + rng.choice(WORDS) + text[at:]
        elif kind < 0.55:
            text = text[:at] + rng.choice(WORDS) + text[end:]
        elif kind < 0.65:
            text = text[:at] + text[at:end] * 2 + text[end:]
        elif kind < 0.75:
            parts = text.split(" ")
            i, j = rng.randrange(len(parts)), rng.randrange(len(parts))
            parts[i], parts[j] = parts[j], parts[i]
            text = " ".join(parts)
        elif kind < 0.85:
            lines = text.split("\n")
            i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
            lines[i], lines[j] = lines[j], lines[i]
            text = "\n".join(lines)
        elif kind < 0.92:
            found = list(re.finditer(rng.choice((r"-?[0-9]+", r"%\w+", r"\b[a-z]+\b")), text))
            if found:
                old, new = rng.choice(found), rng.choice((*(m[0] for m in found), "0", "1", "-1", "2"))
                text = text[: old.start()] + new + text[old.end() :]
        elif kind < 0.96:
            old, new = rng.sample(list(DTYPES), 2)
            text = text.replace(f"{old.short}[", f"{new.short}[", rng.choice((1, -1)))
        else:
            text = text[:at]
    return text


def made(rng):
    """A text of random words, from none at all to the form of a graph."""
    if rng.random() < 0.3:
        return "".join(rng.choice(WORDS) + rng.choice((" ", "")) for _ in range(rng.randrange(40)))
    body = "".join(
        f"  {rng.choice(HEADS)}{rng.choice(('', ', %x', ', %x, %x'))}{rng.choice(('', ' {' + rng.choice(WORDS) + '}'))}\n"
        for _ in range(rng.randrange(4))
    )
    given = rng.choice(("f32[2]", "f32[2,2]", "i64[2]", "f32[]"))
    return f"func @f(%x: {given}) -> f32[2] {{\n{body}  return %{rng.choice('xyz')}\n}}\n"


def text_of(seed):
    rng = random.Random(seed)
    return made(rng) if seed % 4 == 0 else mutated(rng, rng.choice(corpus()))


def check(text):
    """Returns True if the text is a graph."""
    begin = time.process_time()
    try:
        graph = parse_graph(text)
    except IRSyntaxError as e:
        graph, said = None, str(e)
        lines = text.split("\n")
        assert 1 <= e.line <= len(lines) and 1 <= e.column <= len(lines[e.line - 1]) + 1, said
        head, shown, caret = said.split("\n")
        assert head == f"line {e.line}, column {e.column}: {e.message}" and len(said) < 1000
        assert caret.strip() == "^" and len(caret) <= len(shown) + 1
    assert time.process_time() - begin < 0.5 + len(text) * 1e-4
    if graph is None:
        return False
    verify(graph)
    again = str(graph)
    assert str(parse_graph(again)) == again
    return True


def check_all(seeds):
    accepted = sum(check(text_of(seed)) for seed in seeds)
    assert 0.02 < accepted / len(seeds) < 0.6  # neither all are refused nor do the mutations change nothing


@pytest.mark.parametrize("block", range(4))
def test_texts(block):
    check_all(range(1000 * block, 1000 * block + 1000))


@pytest.mark.fuzz
@pytest.mark.parametrize("block", range(40))
def test_many_texts(block):
    corpus()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    check_all(range(10_000 + 5000 * block, 15_000 + 5000 * block))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


LARGE = {
    "parentheses": "func @f() -> f32[] {\n  %x: f32[] = full {value=" + "(" * 100_000,
    "fusions": "func @f(%x: f32[]) -> f32[] {\n" + "%y: f32[] = fusion @k %x { (%x: f32[]): " * 20_000,
    "comments": "# comment\n" * 50_000 + "func",
    "digits": "func @f() -> f32[" + "9" * 100_000 + "]",
    "extents": "func @f(%x: f32[" + ",".join(["2"] * 50_000) + "]) -> f32[] {",
    "quotes": "func @f() -> f32[] {\n  %x: f32[] = full {value=" + '"' * 100_000,
    "one line": "func @f(%x: f32[]) -> f32[] {" + " %y: f32[] = tanh %x" * 20_000,
    "inputs": "func @f(" + ", ".join(f"%x{i}: f32[]" for i in range(30_000)) + ") -> f32[",
    "updates": "func @f("
    + ", ".join(f"%x{i}: f32[]" for i in range(3_000))
    + ") -> ("
    + ", ".join(["f32[]"] * 3000)
    + ") { return "
    + ", ".join(f"%x{i} -> %x{i}" for i in range(3000))
    + "",
}


@pytest.mark.parametrize("what", LARGE)
def test_large_texts_take_time_and_memory_in_proportion(what):
    text = LARGE[what]
    begin = time.process_time()
    with pytest.raises(IRSyntaxError) as caught:
        parse_graph(text)
    assert time.process_time() - begin < 10
    assert len(str(caught.value)) < 1000
    tracemalloc.start()
    try:
        with pytest.raises(IRSyntaxError):
            parse_graph(text)
        assert tracemalloc.get_traced_memory()[1] < 2**20 + 1000 * len(text)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("text", ["f32[]", "f32[4,8]", "bool[0]", "c128[1, 2]", "i64[3]@cuda", "f32[2147483647]"])
def test_types(text):
    graph = parse_graph(f"func @f(%x: {text}) -> {text} {{ return %x }}")
    assert str(graph.inputs[0].type) == text.replace(" ", "")


@pytest.mark.parametrize(
    "text, column, message",
    [
        ("", 1, "expected a type, found 'the end'"),
        ("f32", 4, "expected '[', found 'the end'"),
        ("f33[2]", 1, "unknown dtype 'f33'"),
        ("float32[2]", 1, "unknown dtype 'float32'"),
        ("f32[2", 6, "expected ',', found 'the end'"),
        ("f32[2,]", 7, "expected an extent, found ']'"),
        ("f32[,2]", 5, "expected an extent, found ','"),
        ("f32[2 3]", 7, "expected ',', found '3'"),
        ("f32[-1]", 5, "an extent must be an integer, 0 or more, not '-1'"),
        ("f32[2.0]", 5, "an extent must be an integer"),
        ("f32[1e3]", 5, "an extent must be an integer"),
        ("f32[02]", 5, "an extent must be an integer"),
        ("f32[\u0663]", 5, "unexpected character"),
        ("f32[x]", 5, "expected an extent, found 'x'"),
        ("f32[4294967296]", 5, "an extent must be less than 2**31"),
        ("f32[2147483647,2147483647]", 1, "is too large"),
        ("f32[2]]", 7, "expected ',', found ']'"),
        ("f32[2] f32[2]", 8, "expected ',', found 'f32'"),
        ("f32[2]@tpu", 7, "unknown device 'tpu'"),
        ("f32(2)", 4, "expected '[', found '('"),
        ("f32[" + "1," * 64 + "1]", 1, "at most 64 dimensions"),
    ],
)
def test_malformed_types_say_where(text, column, message):
    with pytest.raises(IRSyntaxError) as caught:
        parse_graph(f"func @f(%x: {text}")
    assert caught.value.column == len("func @f(%x: ") + column and message in caught.value.message
