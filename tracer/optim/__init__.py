"""Optimizers and learning rate schedulers."""

from ..ops.class_facts import describe as _describe
from ..ops.offering import offer_classes as _offer_classes
from . import facts as _facts
from . import lr_scheduler, swa_utils
from .adafactor import Adafactor, Muon
from .adam import Adam, Adamax, AdamW, NAdam, RAdam
from .adaptive import Adadelta, Adagrad, RMSprop
from .lbfgs import LBFGS
from .optimizer import Optimizer
from .sgd import ASGD, SGD, Rprop
from .sparse_adam import SparseAdam

__all__ = [
    "ASGD",
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Muon",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
    "SparseAdam",
    "lr_scheduler",
    "swa_utils",
]

_offer_classes(globals(), __all__)
_describe(globals(), __all__, _facts.ARGUMENTS, _facts.SHARED)
_describe(vars(lr_scheduler), lr_scheduler.__all__, _facts.ARGUMENTS, _facts.SHARED)
