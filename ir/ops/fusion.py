"""A fusion: a body of operations that becomes one kernel."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph import Graph
from ..interp import evaluate
from ..primitive import Kind, primitive
from ..types import TensorType


def _infer(*types: TensorType, body: Graph) -> tuple[TensorType, ...]:
    if types != tuple(v.type for v in body.inputs):
        raise TypeError(
            f"@{body.name} takes ({', '.join(str(v.type) for v in body.inputs)}), got ({', '.join(map(str, types))})"
        )
    return tuple(v.type for v in body.outputs)


def _impl(*args: Any, body: Graph) -> tuple[np.ndarray, ...]:
    return evaluate(body, *args)


# The operations of a body decide what they compute in float32.
fusion = primitive("fusion", Kind.FUSION, "*operands", infer=_infer, impl=_impl, in_format=True)
