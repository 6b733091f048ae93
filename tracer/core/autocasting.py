"""The casts of ``amp.autocast``: which public functions cast their operands, and to what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..ir.types import DType, float32, float64
from .context import context
from .tensor import Tensor

AUTOCAST: list[object] = []  # the entered contexts, in any thread
OFF: Any = None  # instead of a dtype: the operations of a kind of device are not cast


def _named(*texts: str) -> frozenset[str]:
    return frozenset(name for text in texts for name in text.split())


_PRODUCTS = """
    matmul mm bmm addmm addbmm baddbmm linear einsum tensordot chain_matmul multi_dot vecdot scaled_dot_product_attention
    conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d conv_tbc
"""
_LOSSES = """
    mse_loss cosine_embedding_loss nll_loss hinge_embedding_loss poisson_nll_loss smooth_l1_loss cross_entropy l1_loss
    huber_loss margin_ranking_loss soft_margin_loss triplet_margin_loss multi_margin_loss ctc_loss kl_div multilabel_margin_loss
    binary_cross_entropy_with_logits multilabel_soft_margin_loss gaussian_nll_loss
"""
_LOWER = {"cpu": _named(_PRODUCTS), "cuda": _named(_PRODUCTS, "mv addmv prelu")}
_FLOAT32 = {
    "cpu": _named(
        _LOSSES,
        """binary_cross_entropy avg_pool3d grid_sample polar prod quantile nanquantile stft cdist matrix_trace view_as_complex
        cholesky
        cholesky_inverse cholesky_solve inverse lu_solve orgqr ormqr pinverse max_pool3d max_unpool2d max_unpool3d
        adaptive_avg_pool3d adaptive_max_pool3d fractional_max_pool2d fractional_max_pool3d fft ifft fft2 ifft2 fftn ifftn rfft
        irfft rfft2 irfft2 rfftn irfftn hfft ihfft cond matrix_rank solve svdvals eigvals eigvalsh inv householder_product
        tensorinv tensorsolve geqrf lstsq qr svd triangular_solve eig eigh cholesky_ex inv_ex""",
    ),
    "cuda": _named(
        _LOSSES,
        """acos asin cosh erfinv exp expm1 log log10 log2 log1p reciprocal rsqrt sinh tan pow softplus layer_norm group_norm
        rms_norm norm vector_norm matrix_norm cosine_similarity dist pdist cdist renorm softmax log_softmax softmin cumprod
        cumsum prod sum logsumexp""",
    ),
}
_WIDEST = {
    "cpu": _named("stack cat concat concatenate index_copy"),
    "cuda": _named("stack cat concat concatenate addcdiv addcmul atan2 bilinear cross dot grid_sample index_put scatter_add"),
}


def cast_operands(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a public function, as it gets them in the current context."""
    for kind, dtype in context.autocast:
        if dtype is OFF:
            continue
        if name in _LOWER[kind]:
            to = dtype
        elif name in _FLOAT32[kind]:
            to = float32
        elif name in _WIDEST[kind]:
            found = [d for d in _dtypes([*args, *kwargs.values()], kind) if d is not dtype]
            if not found:
                continue
            to = float32 if len({*found, dtype}) > 1 else found[0]
        else:
            continue
        args, kwargs = cast_to(to, kind, args, kwargs)
    return tuple(args), dict(kwargs)


def cast_to(to: DType, kind: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments, with the floating tensors on a kind of device in this dtype; float64 stays."""
    return tuple([_cast(a, kind, to) for a in args]), {key: _cast(a, kind, to) for key, a in kwargs.items()}


def casting(name: str, *operands: Any) -> tuple[Any, ...]:
    """The operands, as a public function gets them: for code that calls the function below."""
    return cast_operands(name, operands, {})[0] if AUTOCAST and context.autocast else operands


def _is_cast(x: Any, kind: str) -> bool:
    return isinstance(x, Tensor) and x.is_floating_point() and x.dtype is not float64 and x.device.type == kind


def _dtypes(values: Sequence[Any], kind: str) -> list[DType]:
    found: list[DType] = []
    for x in values:
        if isinstance(x, (list, tuple)):
            found += _dtypes(x, kind)
        elif _is_cast(x, kind):
            found.append(x.dtype)
    return found


def _cast(x: Any, kind: str, to: DType) -> Any:
    if x.__class__ in (list, tuple):
        return x.__class__(_cast(y, kind, to) for y in x)
    return x.to(to) if _is_cast(x, kind) and x.dtype is not to else x
