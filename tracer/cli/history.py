"""A program after each pass, and what passes change."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from ..ir import pipeline
from ..ir.graph import Graph, Value
from ..ir.parse import parse_graph
from ..ir.print import print_graph
from .capture import Program
from .errors import CommandError
from .stages import Options, Section, compiled, graph_data

START = "start"  # the name of the graph before the first pass


def pass_names(passes: Sequence[pipeline.Pass]) -> list[str]:
    """The names of passes in order. One that runs again has a number: ``dce``, ``dce:2``."""
    names: list[str] = []
    for p in passes:
        times = sum(name.partition(":")[0] == p.__name__ for name in names)
        names.append(p.__name__ if not times else f"{p.__name__}:{times + 1}")
    return names


def check_pass(name: str, options: Options) -> None:
    """Raises CommandError if there is no such pass."""
    known = [START, *pass_names(options.passes)]
    if name not in known:
        raise CommandError(f"there is no pass {name!r}; the passes are {', '.join(known)}")


def after(program: Program, name: str, options: Options) -> Section:
    """The graph after a pass."""
    graphs = _graphs(program, options)
    return _section(f"{program.title}, after {name}", graphs[name])


def after_all(program: Program, options: Options) -> list[Section]:
    """The graph after each pass; a pass that changes nothing is one line."""
    made: list[Section] = []
    before = None
    for name, graph in _graphs(program, options).items():
        title = f"{program.title}, {'before the first pass' if name == START else f'after {name}'}"
        if before is not None and _text(graph) == _text(before):
            made.append(Section(title, "text", "# unchanged\n", {"unchanged": True}))
        else:
            made.append(_section(title, graph))
        before = graph
    return made


def difference(program: Program, first: str, second: str, options: Options) -> Section:
    """The changes between two passes, as a unified diff."""
    graphs = _graphs(program, options)
    one, two = (_text(graphs[name]).splitlines() for name in (first, second))
    lines = list(difflib.unified_diff(one, two, f"after {first}", f"after {second}", lineterm=""))
    text = "\n".join(lines) + "\n" if lines else f"# no difference between {first} and {second}\n"
    return Section(f"{program.title}, {first} to {second}", "diff", text, {"diff": lines})


def _graphs(program: Program, options: Options) -> dict[str, Graph]:
    """The graph after each pass, by its name. Values keep their names from pass to pass, where they stay."""
    graph = parse_graph(print_graph(compiled(program, options)))
    after = pipeline.steps(graph, options.passes)
    return {START: graph} | {name: g for name, (_, g) in zip(pass_names(options.passes), after, strict=True)}


def _section(title: str, graph: Graph) -> Section:
    return Section(title, "ir", print_graph(graph, _names(graph)), graph_data(graph), graph)


def _text(graph: Graph) -> str:
    return print_graph(graph, _names(graph), locations=False)


def _names(graph: Graph) -> dict[Value, str]:
    """The names that the values already have, if these are unique; others get numbers that no value has."""
    values = [*graph.inputs, *(r for op in graph.ops for r in op.results)]
    fresh = max((int(v.name) for v in values if v.name.isdigit()), default=-1) + 1
    names: dict[Value, str] = {}
    taken: set[str] = set()
    for v in values:
        name = v.name
        if not name or name in taken:
            name, fresh = str(fresh), fresh + 1
        taken.add(name)
        names[v] = name
    return names
