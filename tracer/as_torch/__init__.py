"""``import tracer.as_torch`` lets programs that import PyTorch run on this package: ``torch`` is then ``tracer``.

``import torch``, ``import torch.nn.functional as F`` and ``from torch.utils.data import DataLoader`` find the modules
here, also in packages that use PyTorch. ``tracer run script.py`` does so for a program that must not be changed. Names that
both have are the same objects; ``torch.compile`` is ``tracer.trace``. Names that a program with one process and one CPU does
not use, but imports (``torch.distributed``, ``torch.fx``), exist; using one raises NotImplementedError.

Raises ImportError if PyTorch itself has been imported.
"""

from .finder import VERSION, enter

__all__ = ["VERSION", "enter"]

enter()
