"""The command line, ``tracer``: dump, opt, bisect, reduce, profile, explain, run, cache, demo, info."""

from . import cached, opt, profile, run
from .app import main

__all__ = ["main"]
