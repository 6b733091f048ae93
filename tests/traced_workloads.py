"""The benchmarks' workloads as recorded graphs, with their input arrays."""

import ctypes

import numpy as np

import tracer
from benchmarks import workloads
from tracer.tracing.graph_function import Executable


def graphs(workload, little=True):
    """(name, graph, arrays) of every program in a workload: traced whole, and with its backward pass outside."""
    found = []
    if little:
        with workloads.small():
            _collect(workload, found)
    else:
        _collect(workload, found)
    unique = {}
    for graph, arrays in found:
        if arrays is not None or graph.structure() not in unique:
            unique[graph.structure()] = graph, arrays
    return [
        (f"{workload.name}, program {k}", graph, arrays or [_numbers(v.type) for v in graph.inputs])
        for k, (graph, arrays) in enumerate(unique.values())
    ]


def _collect(workload, found):
    for compiled in ({"whole": tracer.trace}, {"part": tracer.trace}):
        with _Watch(found):
            step = workload.build(workloads.Library(tracer, **compiled))
            for _ in range(4):
                step()


class _Watch:
    """Records the graph of each ``Executable``, and copies of the inputs of its first run by addresses."""

    def __init__(self, found):
        self.found = found

    def __enter__(self):
        self.kind, self.init = Executable, Executable.__init__
        found, init = self.found, self.init

        def watched(executable, graph, *placement):
            init(executable, graph, *placement)
            found.append((graph, None))
            run = executable.program.run

            def noted(inputs):
                types = executable.program.plan.inputs
                arrays = [_copy(at, t) for at, t in zip(inputs, types, strict=True)]
                found.append((graph, arrays))
                executable.program.run = executable.run = run
                return run(inputs)

            executable.program.run = executable.run = noted

        Executable.__init__ = watched

    def __exit__(self, *error):
        self.kind.__init__ = self.init


def _numbers(t):
    """For programs whose inputs were not recorded: replays may pass array objects, not addresses."""
    return np.random.default_rng(0).uniform(0.5, 1.5, t.shape).astype(t.dtype.numpy)


def _copy(at, t):
    memory = (ctypes.c_char * t.nbytes).from_address(int(at))
    return np.frombuffer(bytes(memory), t.dtype.numpy).reshape(t.shape)
