"""The command line: ``tracer demo``, ``dump``, ``opt``, ``bisect``, ``reduce``, ``profile``, ``explain``, ``cache``, ``info``."""

from . import cached, opt, profile
from .app import main

__all__ = ["main"]
