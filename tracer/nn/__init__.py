"""Modules, layers and losses."""

from ..ops.class_facts import describe as _describe
from . import attention, functional, grad, init, modules, parallel, utils
from .module import Module
from .modules import *
from .parallel import DataParallel
from .parameter import Buffer, Parameter, UninitializedBuffer, UninitializedParameter

__all__ = [
    "Buffer",
    "DataParallel",
    "Module",
    "Parameter",
    "UninitializedBuffer",
    "UninitializedParameter",
    "attention",
    "functional",
    "grad",
    "init",
    "parallel",
    "utils",
    *modules.__all__,
]

_describe(globals(), ("Buffer", "DataParallel", "Module", "Parameter", "UninitializedBuffer", "UninitializedParameter"), "")
