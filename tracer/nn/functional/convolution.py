"""Convolutions, pooling, and their windows, in one, two and three dimensions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ...core.fused import fused
from ...core.tensor import Tensor
from ...ir import ops as P
from ...ops import matmul, permute, reshape
from ...ops import pointwise as F
from ...ops import shape as S
from .ranks import by_rank

__all__ = [
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
]


_WIDE = 32  # positions per image: with fewer columns a product is inefficient


def ntuple(x: Any, n: int) -> tuple[int, ...]:
    found = (x,) * n if isinstance(x, int) else tuple(x)
    return found * n if len(found) == 1 and n > 1 else found


def require_images(name: str, n: int, input: Tensor, dims: int | None = None) -> None:
    """Raises RuntimeError unless the input is a batch of images of ``n`` axes, which may be empty, or one image, with
    non-empty channels and pixels, or non-empty last ``dims`` axes.
    """
    if input.ndim not in (n + 1, n + 2) or 0 in input._data.shape[input.ndim - (dims or n + 1) :]:
        raise RuntimeError(
            f"{name}(): Expected {n + 1}D or {n + 2}D (batch mode) tensor with possibly 0 batch size and other non-zero "
            f"dimensions for input, but got: {list(input.shape)}"
        )


def _batched(function: Any, n: int, input: Tensor, *args: Any) -> Any:
    """Applies ``function`` to a batch of one if the input has no batch axis."""
    out = function(n, S.unsqueeze(input, 0), *args)
    if isinstance(out, tuple):
        return tuple(S.squeeze(o, 0) for o in out)
    return S.squeeze(out, 0)


@fused
def conv_nd(
    n: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation of {inputs} (N, C, {axes}) or (C, {axes}), with a weight (O, C / groups, {kernel}).

    The windows are the columns of a matrix, one per image or, for small images, one for all; then products (Chellapilla,
    Puri, Simard 2006). Raises RuntimeError for shapes, dtypes and settings that do not fit.
    """
    name = f"conv{n}d"
    if input.ndim == n + 1:
        return _batched(conv_nd, n, input, weight, bias, stride, padding, dilation, groups)
    if input.ndim != n + 2:
        raise RuntimeError(
            f"Expected {n + 1}D (unbatched) or {n + 2}D (batched) input to {name}, but got input of size: {list(input.shape)}"
        )
    step, gap = ntuple(stride, n), ntuple(dilation, n)
    _require_fitting(name, n, input, weight, bias, step, gap, groups)
    count, c = input._data.shape[:2]
    out, per_group, *size = weight._data.shape
    if not isinstance(padding, str) and min(ntuple(padding, n)) < 0:
        raise RuntimeError("negative padding is not supported")
    if c != per_group * groups:
        raise RuntimeError(
            f"Given groups={groups}, weight of size {list(weight.shape)}, expected input{list(input.shape)} to have "
            f"{per_group * groups} channels, but got {c} channels instead"
        )
    x = _padded(n, input, size, step, padding, gap)
    reach = [(k - 1) * d + 1 for k, d in zip(size, gap, strict=True)]
    if any(r > e for r, e in zip(reach, x._data.shape[2:], strict=True)):
        raise RuntimeError(
            f"Calculated padded input size per channel: ({' x '.join(map(str, x._data.shape[2:]))}). "
            f"Kernel size: ({' x '.join(map(str, reach))}). Kernel size can't be greater than actual input size"
        )
    windows = P.windows(x, size=tuple(size), stride=step, dilation=gap)
    image = windows._data.shape[2 + n :]
    if groups == 1 and math.prod(image) >= _WIDE:
        columns = reshape(windows, (count, per_group * math.prod(size), math.prod(image)))
        product = P.matmul(reshape(weight, (out, per_group * math.prod(size))), columns)
        result = reshape(product, (count, out, *image))
    else:
        columns = permute(windows, (1, *range(2, 2 + n), 0, *range(2 + n, 2 + 2 * n)))
        inner, many = per_group * math.prod(size), count * math.prod(image)
        if groups == 1:
            product = matmul(reshape(weight, (out, inner)), reshape(columns, (inner, many)))
        else:
            product = matmul(reshape(weight, (groups, out // groups, inner)), reshape(columns, (groups, inner, many)))
        result = permute(reshape(product, (out, count, *image)), (1, 0, *range(2, 2 + n)))
    if bias is not None:
        result = F.add(result, reshape(bias, (out, *(1,) * n)))
    # an input without channels gives a result without channels, as in PyTorch
    return result if c else S.narrow(result, 1, 0, 0)


conv1d, conv2d, conv3d = by_rank(conv_nd)


def _require_fitting(
    name: str,
    n: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    step: Sequence[int],
    gap: Sequence[int],
    groups: int,
    transposed: bool = False,
) -> None:
    """Raises RuntimeError for invalid dtypes, shapes and steps, or an empty kernel."""
    if input.dtype is not weight.dtype:
        raise RuntimeError(f"Input type ({input.dtype.ctype}) and weight type ({weight.dtype.ctype}) should be the same")
    if bias is not None and input.dtype is not bias.dtype:
        raise RuntimeError(f"Input type ({input.dtype.ctype}) and bias type ({bias.dtype.ctype}) should be the same")
    if weight.ndim != n + 2:
        raise RuntimeError(
            f"Expected {weight.ndim}-dimensional input for {weight.ndim}-dimensional weight {list(weight.shape)}, but got "
            f"{input.ndim}-dimensional input of size {list(input.shape)} instead"
        )
    out = weight._data.shape[1] * groups if transposed else weight._data.shape[0]
    if min(step) <= 0:
        raise RuntimeError("non-positive stride is not supported")
    if min(gap) <= 0:
        raise RuntimeError("dilation should be greater than zero")
    if bias is not None and bias._data.shape != (out,):
        raise RuntimeError(
            f"Given weight of size {list(weight.shape)}, expected bias to be 1-dimensional with {out} elements, "
            f"but got bias of size {list(bias.shape)} instead"
        )
    if groups <= 0:
        raise RuntimeError("non-positive groups is not supported")
    if weight._data.shape[0] < groups:
        raise RuntimeError(
            f"Given groups={groups}, expected weight to be at least {groups} at dimension 0, but got weight of size "
            f"{list(weight.shape)} instead"
        )
    if weight._data.shape[0] % groups:
        raise RuntimeError(
            f"Given groups={groups}, expected weight to be divisible by {groups} at dimension 0, "
            f"but got weight of size {list(weight.shape)} instead"
        )
    if 0 in weight._data.shape[2:]:
        raise RuntimeError(f"kernel size should be greater than zero, but got weight of size {list(weight.shape)}")
    require_images(name, n, input, n)


def _padded(n: int, x: Tensor, size: Sequence[int], step: Sequence[int], padding: Any, gap: Sequence[int]) -> Tensor:
    if padding == "valid":
        return x
    if padding == "same":
        if any(s != 1 for s in step):
            raise RuntimeError("padding='same' is not supported for strided convolutions")
        total = [(k - 1) * d for k, d in zip(size, gap, strict=True)]
        amounts = [a for t in reversed(total) for a in (t // 2, t - t // 2)]
    elif isinstance(padding, str):
        raise RuntimeError(f"Invalid padding string: '{padding}'")
    else:
        amounts = [a for p in reversed(ntuple(padding, n)) for a in (p, p)]
    return S.pad(x, amounts) if any(amounts) else x


@fused
def conv_transpose_nd(
    n: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """The adjoint of ``conv{n}d`` as a layer, of {inputs} (N, C, {axes}) or (C, {axes}).

    The weight is (C, O / groups, {kernel}). Products give the windows, whose overlaps are summed. Raises RuntimeError for
    shapes, dtypes and settings that do not fit.
    """
    if input.ndim == n + 1:
        return _batched(conv_transpose_nd, n, input, weight, bias, stride, padding, output_padding, groups, dilation)
    if input.ndim != n + 2:
        raise RuntimeError(
            f"Expected {n + 1}D (unbatched) or {n + 2}D (batched) input to conv_transpose{n}d, but got input of size: "
            f"{list(input.shape)}"
        )
    step, edge, extra, gap = (ntuple(v, n) for v in (stride, padding, output_padding, dilation))
    if any(e >= max(s, d) for e, s, d in zip(extra, step, gap, strict=True)):
        raise RuntimeError(
            "output padding must be smaller than either stride or dilation, but got output_padding_height: "
            f"{extra[0]} output_padding_width: {extra[-1]}"
        )
    _require_fitting(f"conv_transpose{n}d", n, input, weight, bias, step, gap, groups, transposed=True)
    count, c = input._data.shape[:2]
    c_weight, per_group, *size = weight._data.shape
    if not per_group:
        raise RuntimeError(f"non-empty {n + 2}D weight tensor expected, but got: {list(weight.shape)}")
    if c != c_weight:
        raise RuntimeError(
            f"Given transposed=1, weight of size {list(weight.shape)}, expected input{list(input.shape)} to have {c_weight} "
            f"channels, but got {c} channels instead"
        )
    image = input._data.shape[2:]
    many = count * math.prod(image)
    columns = permute(input, (1, 0, *range(2, 2 + n)))
    w = reshape(weight, (groups, c // groups, per_group * math.prod(size)))
    product = matmul(permute(w, (0, 2, 1)), reshape(columns, (groups, c // groups, many)))
    windows = reshape(product, (groups * per_group, *size, count, *image))
    windows = permute(windows, (1 + n, 0, *range(1, 1 + n), *range(2 + n, 2 + 2 * n)))
    full = [(e - 1) * s + (k - 1) * d + 1 for e, s, k, d in zip(image, step, size, gap, strict=True)]
    result = [f - 2 * p + e for f, p, e in zip(full, edge, extra, strict=True)]
    if count and min(result) < 1:
        raise RuntimeError(
            f"Given input size per channel: ({' x '.join(map(str, image))}). Calculated output size per channel: "
            f"({' x '.join(map(str, result))}). Output size is too small"
        )
    whole = P.fold(windows, extents=tuple(full), stride=step, dilation=gap)
    cuts: list[int] = []
    for e, p in zip(reversed(extra), reversed(edge), strict=True):
        cuts += [-p, e - p]
    out = S.pad(whole, cuts) if any(cuts) else whole
    return out if bias is None else F.add(out, reshape(bias, (groups * per_group, *(1,) * n)))


conv_transpose1d, conv_transpose2d, conv_transpose3d = by_rank(conv_transpose_nd)
