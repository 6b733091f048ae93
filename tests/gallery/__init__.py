"""Realistic programs, each with the allowed cost of tracing it.

A program is a function ``make(wrap)``: it builds its state, applies ``wrap`` to the functions to trace, and returns a
function and the arguments of its calls, one tuple per call. ``runs``: how often Python may run a traced function over all
calls, recordings and eager runs alike; all other calls are replays. ``programs``: how many native programs may be compiled.
``order``: how often the results are differentiated from outside.
"""

from gallery.harness import PROGRAMS, compare, cost

from . import autograd, language, methods, numerics, reinforcement, sequences, shapes, state, training
