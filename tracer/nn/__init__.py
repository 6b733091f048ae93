"""Modules, layers and losses."""

from . import functional, init, modules, utils
from .module import Module
from .modules import *
from .parameter import Buffer, Parameter

__all__ = ["Buffer", "Module", "Parameter", "functional", "init", "utils", *modules.__all__]
