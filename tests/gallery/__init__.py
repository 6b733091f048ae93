"""Programs as people write them, each with what tracing it may cost.

A program is a function ``make(wrap)``: it builds its state, puts ``wrap`` around what is to be traced, and returns a
function and the arguments of its calls, one tuple for each. ``runs`` is how often Python may run a traced function
over all calls, recordings and eager runs alike; all other calls are replays. ``programs`` is how many native programs may
be compiled. ``order`` is how often the results are differentiated from outside.
"""

from gallery.harness import PROGRAMS, compare, cost

from . import autograd, numerics, reinforcement, sequences, shapes, state, training
