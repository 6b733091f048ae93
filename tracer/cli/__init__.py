"""The command line: ``tracer demo``, ``tracer dump``, ``tracer info``."""

from .app import main

__all__ = ["main"]
