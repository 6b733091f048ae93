"""The command line: ``tracer demo``, ``dump``, ``profile``, ``explain``, ``cache``, ``info``."""

from . import cached, profile
from .app import main

__all__ = ["main"]
