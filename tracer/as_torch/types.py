"""``torch.types``: types in annotations."""

from __future__ import annotations

import builtins
import os
from collections.abc import Sequence
from typing import IO, Union

from ..core.device import device as _device
from ..core.layout import layout as _layout
from ..core.tensor import Size as _Size
from ..core.tensor import Tensor
from ..ir.types import DType as _dtype

__all__ = ["Device", "FileLike", "Number", "Tensor"]

Number = Union[int, float, bool]  # noqa: UP007
_int, _float, _bool, _complex = builtins.int, builtins.float, builtins.bool, builtins.complex
_size = Union[_Size, list[int], tuple[int, ...]]  # noqa: UP007
_symsize = _size
_dispatchkey = Union[str, int]  # noqa: UP007
_TensorOrTensors = Union[Tensor, Sequence[Tensor]]  # noqa: UP007
Device = Union[_device, str, int, None]  # noqa: UP007
FileLike = Union[str, os.PathLike[str], IO[bytes]]  # noqa: UP007
_TensorOrTensorsOrGradEdge = _TensorOrTensors
_qscheme = None
