"""The command line, ``tracer``: dump, opt, bisect, reduce, profile, explain, cache, demo, info."""

from . import cached, opt, profile
from .app import main

__all__ = ["main"]
