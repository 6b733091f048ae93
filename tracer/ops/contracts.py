"""What the docstrings of public functions say of shapes, dtypes and errors. Each fact is stated once, for all functions that it
holds for.

Each table has sentences, followed by indented names. A name is a function of ``tracer``, or has the module before it:
``linalg.norm``. A function without an entry states these facts in its own docstring. Tests call functions to check them.
"""

from __future__ import annotations

import functools
from typing import Any

from .result_shapes import SHAPES

# The accepted dtypes, and that of the result.
_DTYPES = """
Takes any dtype; the dtype is kept.
    nn.init.constant_ nn.init.constant nn.init.ones_ nn.init.zeros_ nn.init.eye_ nn.init.eye nn.init.dirac_ nn.init.dirac
    nn.init.fans
    add addbmm addcmul addmm addmv addmv_ addr alias_copy as_strided as_strided_ as_strided_copy as_strided_scatter
    atleast_1d atleast_2d atleast_3d baddbmm block_diag bmm broadcast_shapes broadcast_tensors broadcast_to cartesian_prod
    cat channel_shuffle chunk column_stack combinations concat concatenate conj conj_physical constant_pad_nd conv1d conv2d
    conv3d conv_transpose1d conv_transpose2d conv_transpose3d diag diag_embed diagflat diagonal diagonal_copy
    diagonal_scatter diff dot dsplit dstack expand expand_as expand_copy fill flatten flip fliplr flipud gather ger hsplit
    hstack index_add index_copy index_fill index_put index_reduce index_select inner kron lu_unpack masked_fill
    masked_scatter masked_select matmul matrix_trace meshgrid mm moveaxis movedim mul multiply mv nan_to_num narrow
    narrow_copy ormqr outer permute permute_copy pixel_shuffle pixel_unshuffle pow put ravel repeat repeat_interleave
    reshape reshape_as resolve_conj resolve_neg roll rot90 row_stack scatter scatter_add scatter_reduce select select_copy
    select_scatter sgn slice_copy slice_scatter split split_copy split_with_sizes split_with_sizes_copy squeeze squeeze_copy
    stack swapaxes swapdims t t_copy take take_along_dim tensor_split tensordot tile transpose transpose_copy tril triu
    unbind unbind_copy unflatten unfold unfold_copy unsafe_chunk unsafe_split unsafe_split_with_sizes unsqueeze
    unsqueeze_copy vdot view view_as view_as_real view_as_real_copy view_copy vsplit vstack where linalg.diagonal
    linalg.matmul linalg.multi_dot linalg.trace fft.fftshift fft.ifftshift
    nn.functional.fold
    nn.functional.linear nn.functional.max_unpool1d nn.functional.max_unpool2d nn.functional.max_unpool3d nn.functional.pad
    nn.functional.unfold
Takes any dtype. Integers and bools give the default dtype.
    acos acosh arccos arccosh arcsin arcsinh arctan arctanh asin asinh atan atanh corrcoef cos cosh cov cumulative_trapezoid
    div divide exp exp2 expm1 ldexp log log10 log1p log2 logaddexp logcumsumexp logsumexp reciprocal rsqrt
    sigmoid sin sinc sinh sqrt tan tanh trapezoid trapz true_divide special.chebyshev_polynomial_t
    special.chebyshev_polynomial_u special.chebyshev_polynomial_v special.chebyshev_polynomial_w special.exp2 special.expit
    special.expm1 special.hermite_polynomial_h special.hermite_polynomial_he special.laguerre_polynomial_l
    special.legendre_polynomial_p special.log1p special.logsumexp special.shifted_chebyshev_polynomial_t
    special.shifted_chebyshev_polynomial_u special.shifted_chebyshev_polynomial_v special.shifted_chebyshev_polynomial_w
    special.sinc nn.functional.glu nn.functional.local_response_norm nn.functional.silu
    nn.functional.softsign nn.functional.swish
Takes floating, integer and bool tensors; complex ones raise NotImplementedError. Integers and bools give the default dtype.
    softmax log_softmax special.softmax special.log_softmax special.cbrt nn.functional.softmax nn.functional.log_softmax
    arctan2 atan2 copysign cosine_embedding_loss deg2rad digamma erf erfc erfinv hardshrink hypot i0 igamma igammac lgamma
    logaddexp2 logit mvlgamma rad2deg rrelu xlogy special.airy_ai special.bessel_j0 special.bessel_j1 special.bessel_y0
    special.bessel_y1 special.digamma special.entr special.erf special.erfc special.erfcx special.erfinv special.gammaln
    special.i0 special.i0e special.i1 special.i1e special.log_ndtr special.logit special.modified_bessel_i0
    special.modified_bessel_i1 special.modified_bessel_k0 special.modified_bessel_k1 special.multigammaln special.ndtr
    special.ndtri special.psi special.scaled_modified_bessel_k0 special.scaled_modified_bessel_k1
    special.spherical_bessel_j0 special.xlog1py special.xlogy special.zeta nn.functional.cosine_embedding_loss
    nn.functional.hardsigmoid nn.functional.hardswish nn.functional.leaky_relu
Takes real floating tensors; the dtype is kept.
    affine_grid_generator batch_norm binomial grid_sampler
    group_norm hinge_embedding_loss layer_norm max_pool1d_with_indices native_batch_norm
    native_group_norm native_layer_norm rms_norm nn.functional.affine_grid nn.functional.batch_norm
    nn.functional.fractional_max_pool2d_with_indices
    nn.functional.fractional_max_pool3d_with_indices nn.functional.group_norm
    nn.functional.interpolate nn.functional.layer_norm
    nn.functional.lp_pool1d nn.functional.lp_pool2d nn.functional.lp_pool3d nn.functional.multi_head_attention_forward
    nn.functional.upsample nn.functional.upsample_bilinear nn.functional.upsample_nearest
Takes floating and complex tensors; integer and bool ones raise RuntimeError. The dtype is kept.
    instance_norm nn.functional.instance_norm
    adaptive_avg_pool1d addcdiv cholesky cholesky_inverse cholesky_solve cosine_similarity geqrf lu_solve matrix_exp mean
    pinverse qr renorm std_mean svd triangular_solve var_mean linalg.cholesky linalg.eigh linalg.ldl_solve linalg.lu
    linalg.qr linalg.solve linalg.solve_triangular linalg.svd linalg.tensorinv linalg.tensorsolve
    nn.functional.adaptive_avg_pool2d nn.functional.adaptive_avg_pool3d nn.functional.normalize
The dtype is the default one unless given.
    bartlett_window blackman_window empty empty_permuted empty_strided eye hamming_window hann_window kaiser_window linspace
    logspace ones rand randn scalar_tensor zeros fft.fftfreq fft.rfftfreq signal.windows.bartlett signal.windows.blackman
    signal.windows.cosine signal.windows.exponential signal.windows.gaussian signal.windows.general_cosine
    signal.windows.general_hamming signal.windows.hamming signal.windows.hann signal.windows.kaiser signal.windows.nuttall
Takes floating, integer and bool tensors; complex ones raise NotImplementedError. The dtype is kept.
    amax amin aminmax clamp clamp_max clamp_min clip fmax fmin heaviside histc max maximum min minimum msort prelu sign
    threshold
Takes floating and complex tensors; the dtype is kept.
    bilinear chain_matmul conv_tbc det frobenius_norm inverse istft logdet matrix_power norm_except_dim nuclear_norm orgqr
    pca_lowrank slogdet svd_lowrank vander linalg.householder_product linalg.lu_solve
Takes any dtype.
    adjoint allclose clone contiguous detach_copy equal imag is_complex is_conj is_floating_point is_inference is_neg
    is_nonzero is_same_size is_signed numel
Takes floating tensors; complex, integer and bool ones raise NotImplementedError. The dtype is kept.
    poisson
    bernoulli celu histogram histogramdd selu nn.functional.elu nn.functional.fractional_max_pool2d
    nn.functional.fractional_max_pool3d nn.functional.gelu nn.functional.grid_sample nn.functional.logsigmoid
    nn.functional.mish nn.functional.multilabel_soft_margin_loss nn.functional.softplus
Takes any dtype. The result is bool.
    eq isclose isfinite isin isinf isnan isreal logical_and logical_not logical_or logical_xor ne not_equal
Takes floating and complex tensors; integer and bool ones raise RuntimeError. The dtype is kept; complex numbers give real
ones.
    dist norm pdist std var linalg.cond linalg.eigvalsh linalg.matrix_norm linalg.norm linalg.svdvals linalg.vector_norm
Takes floating, integer and bool tensors; complex ones raise NotImplementedError. The result is bool.
    ge greater greater_equal gt isneginf isposinf le less less_equal lt signbit
Takes any dtype. Bools and small integers are computed in int64.
    cumprod cumsum einsum prod square sum sum_to_size trace linalg.vander linalg.vecdot
Takes floating and integer tensors; complex and bool ones raise NotImplementedError. The dtype is kept.
    ceil fix floor floor_divide frac remainder round trunc special.round nn.functional.hardtanh
Takes floating and complex tensors; integer and bool ones raise RuntimeError. Values keep the dtype; positions and counts
are integers.
    lu linalg.cholesky_ex linalg.inv_ex linalg.ldl_factor linalg.ldl_factor_ex linalg.lstsq linalg.lu_factor
    linalg.lu_factor_ex linalg.solve_ex
Takes floating, complex and integer tensors; bool ones raise RuntimeError. Integers give the default dtype.
    gradient kl_div poisson_nll_loss nn.functional.huber_loss nn.functional.kl_div nn.functional.poisson_nll_loss
    nn.functional.smooth_l1_loss nn.functional.tanhshrink
Takes floating, complex and integer tensors; bool ones raise RuntimeError. The dtype is kept.
    cross neg negative positive rsub sub subtract linalg.cross nn.functional.mse_loss
Takes floating, integer and bool tensors; complex ones raise NotImplementedError. Values keep the dtype; positions and
counts are integers.
    adaptive_max_pool1d cummax cummin sort topk unique nn.functional.adaptive_max_pool1d nn.functional.adaptive_max_pool2d
    nn.functional.adaptive_max_pool3d
Inputs are floating; targets are integers (classes) or floating (probabilities).
    ctc_loss nn.functional.cross_entropy nn.functional.ctc_loss nn.functional.linear_cross_entropy
    nn.functional.multi_margin_loss nn.functional.multilabel_margin_loss nn.functional.nll_loss
Takes any dtype. Integers and bools give the default dtype. Complex numbers give real ones.
    angle fft.hfft fft.hfft2 fft.hfftn fft.irfft fft.irfft2 fft.irfftn
The dtype is ``input``'s unless given.
    empty_like full_like ones_like rand_like randint_like randn_like zeros_like
Takes any dtype. The result is complex.
    fft.fft fft.fft2 fft.fftn fft.ifft fft.ifft2 fft.ifftn
Takes floating, integer and bool tensors; complex ones raise RuntimeError. The result is complex.
    fft.ihfft fft.ihfft2 fft.ihfftn fft.rfft fft.rfft2 fft.rfftn
Takes any dtype. Values keep the dtype; positions and counts are integers.
    kthvalue median mode nanmedian unique_consecutive
Takes floating and integer tensors; complex and bool ones raise NotImplementedError or RuntimeError. Integers give the
default dtype.
    nn.functional.gumbel_softmax
    nn.functional.softmin
    margin_ranking_loss nn.functional.gaussian_nll_loss nn.functional.hinge_embedding_loss nn.functional.margin_ranking_loss
    nn.functional.softshrink
Takes floating, complex and integer tensors; bool ones raise RuntimeError. Integers give the default dtype. Complex numbers
give real ones.
    cdist pairwise_distance triplet_margin_loss nn.functional.triplet_margin_loss
    nn.functional.triplet_margin_with_distance_loss
Takes any dtype; the result is int64.
    argwhere count_nonzero nonzero nonzero_static
Takes floating tensors; complex, integer and bool ones raise NotImplementedError or RuntimeError. The dtype is kept.
    binary_cross_entropy_with_logits nn.functional.binary_cross_entropy_with_logits
    nn.functional.scaled_dot_product_attention nn.functional.soft_margin_loss
Takes integers; bools raise NotImplementedError.
    bitwise_left_shift bitwise_right_shift gcd lcm
The dtype is int64 unless given.
    randint randperm tril_indices triu_indices
Indices are integers; the table is floating or complex, and gives the dtype.
    embedding nn.functional.embedding nn.functional.embedding_bag
Takes any dtype; the dtype is kept; complex numbers give real ones.
    abs absolute real
Takes floating and integer tensors; complex and bool ones raise NotImplementedError or RuntimeError. The dtype is kept.
    relu nn.functional.relu nn.functional.relu6
Takes floating and integer tensors; complex and bool ones raise TypeError. Values keep the dtype; positions and counts are
integers.
    max_pool1d max_pool2d max_pool3d
Takes floating tensors; complex, integer and bool ones raise RuntimeError. The dtype is kept.
    alpha_dropout dropout feature_dropout feature_alpha_dropout native_dropout nn.functional.dropout nn.functional.dropout1d
    nn.functional.dropout2d nn.functional.dropout3d
    nanmean nanquantile quantile
Takes floating, complex and integer tensors; bool ones raise NotImplementedError. The dtype is kept.
    avg_pool1d nn.functional.avg_pool2d nn.functional.avg_pool3d
Takes floating, integer and bool tensors; complex ones raise NotImplementedError. The result is int64.
    argmax argmin argsort
Takes integers and bools; floating ones raise NotImplementedError.
    bitwise_and bitwise_or bitwise_xor
The dtype is given or that of the data: bool, int64, the default one or its complex one for Python numbers.
    as_tensor asarray tensor
Boundaries and values have real dtypes; the result is int64, or int32 if ``out_int32``.
    bucketize searchsorted
Parts are floating; the result is complex.
    complex polar
Takes any dtype; the result is bool, or uint8 for uint8.
    all any
Takes floating and complex tensors; integer and bool ones raise RuntimeError. The result is complex.
    linalg.eig linalg.eigvals
Takes floating tensors; complex, integer and bool ones raise RuntimeError. The result is complex.
    view_as_complex view_as_complex_copy
Takes floating, integer and bool tensors; complex ones raise TypeError. Integers and bools give the default dtype.
    polygamma special.polygamma
The dtype is int64 if all arguments are ints, else the default one, unless given.
    arange range
The dtype is the array's: bool, integers, floating, complex.
    from_dlpack from_numpy
Positions are integers; the results are int64.
    unravel_index
Takes any dtype; the result is float64, or complex128.
    float_power
Takes floating and complex tensors; integer and bool ones raise NotImplementedError. The dtype is kept.
    lerp
Takes floating and complex tensors; integer and bool ones raise RuntimeError. The result is int64.
    linalg.matrix_rank
Takes floating and complex tensors; the result is complex.
    stft
Takes floating and integer tensors; complex and bool ones raise NotImplementedError or TypeError.
    nn.functional.binary_cross_entropy
Takes floating and integer tensors; complex and bool ones raise NotImplementedError or TypeError. The dtype is kept.
    fmod
Takes floating tensors; complex, integer and bool ones raise RuntimeError. The result is int64.
    multinomial
Takes floating tensors; complex, integer and bool ones raise RuntimeError. Values keep the dtype; positions and counts are
integers.
    frexp
Takes floating, complex and integer tensors; bool ones raise RuntimeError. The dtype is kept; complex numbers give real
ones.
    nn.functional.l1_loss
Takes floating, integer and bool tensors; complex ones raise NotImplementedError.
    nextafter
Takes floating, integer and bool tensors; complex ones raise NotImplementedError. Bools and small integers are computed in
int64.
    nansum
Takes int64; the result is int64.
    nn.functional.one_hot
Takes integers and bools; floating ones raise TypeError.
    bitwise_not
Takes integers; the result is int64, or that of ``weights``.
    bincount
The dtype is given, or the default one.
    normal
The dtype is given.
    frombuffer
The dtype is that of ``fill_value`` unless given.
    full
Takes floating tensors.
    nn.functional.alpha_dropout nn.functional.feature_alpha_dropout
    nn.init.normal_ nn.init.normal nn.init.trunc_normal_ nn.init.uniform_ nn.init.uniform nn.init.sparse_ nn.init.sparse
    nn.init.kaiming_normal_ nn.init.kaiming_normal nn.init.kaiming_uniform_ nn.init.kaiming_uniform nn.init.xavier_normal_
    nn.init.xavier_normal nn.init.xavier_uniform_ nn.init.xavier_uniform nn.init.orthogonal_ nn.init.orthogonal
The dtype is uint8.
    get_rng_state set_rng_state
"""

# Errors about shapes and axes.
_ERRORS = """
Raises TypeError for arguments of other types.
    get_rng_state
    nn.init.constant_ nn.init.constant nn.init.normal_ nn.init.normal nn.init.ones_ nn.init.trunc_normal_ nn.init.uniform_
    nn.init.uniform nn.init.zeros_
    abs absolute acos acosh adjoint affine_grid_generator alias_copy alpha_dropout angle arange arccos arccosh arcsin
    arcsinh arctan arctanh argwhere as_strided as_strided_ as_strided_copy as_tensor asarray asin asinh atan atanh
    atleast_1d atleast_2d atleast_3d bartlett_window binomial blackman_window broadcast_shapes chain_matmul chunk clone
    column_stack conj conj_physical constant_pad_nd contiguous conv_tbc cos cosh cumprod cumsum det detach_copy diag_embed
    diagflat diagonal diagonal_copy dropout dsplit dstack einsum empty empty_like empty_permuted empty_strided equal exp
    exp2 expm1 eye feature_alpha_dropout feature_dropout fill flatten flip fliplr flipud frobenius_norm from_dlpack
    from_numpy frombuffer full full_like ger grid_sampler hamming_window hann_window hstack imag inverse is_complex is_conj
    is_floating_point is_inference is_neg is_nonzero is_same_size is_signed isfinite isin isinf isnan isreal istft
    kaiser_window kron kthvalue log log10 log1p log2 log_softmax logcumsumexp logical_not logsumexp matrix_power
    matrix_trace max_pool1d_with_indices mode moveaxis movedim nan_to_num native_dropout nonzero nonzero_static norm
    norm_except_dim nuclear_norm numel ones ones_like orgqr outer pca_lowrank poisson rand rand_like randint randint_like
    randn randn_like randperm range ravel real reciprocal resolve_conj resolve_neg roll rot90 row_stack rsqrt scalar_tensor
    sgn sigmoid sin sinc sinh slice_copy slogdet softmax sqrt square squeeze squeeze_copy stack svd_lowrank swapaxes
    swapdims tan tanh tensor tile transpose transpose_copy tril tril_indices triu triu_indices unbind unbind_copy
    unravel_index unsafe_chunk unsqueeze unsqueeze_copy vander view_as_real view_as_real_copy vsplit vstack zeros zeros_like
    linalg.diagonal linalg.matrix_norm linalg.multi_dot linalg.trace linalg.vander fft.fftfreq fft.rfftfreq special.cbrt
    special.exp2 special.expit special.expm1 special.log1p special.log_softmax special.logsumexp special.sinc
    special.softmax signal.windows.bartlett signal.windows.blackman signal.windows.cosine signal.windows.exponential
    signal.windows.gaussian signal.windows.general_cosine signal.windows.general_hamming signal.windows.hamming
    signal.windows.hann signal.windows.kaiser signal.windows.nuttall nn.functional.affine_grid nn.functional.alpha_dropout
    nn.functional.dropout nn.functional.dropout1d nn.functional.dropout2d nn.functional.dropout3d
    nn.functional.feature_alpha_dropout nn.functional.fold nn.functional.fractional_max_pool2d_with_indices
    nn.functional.fractional_max_pool3d_with_indices nn.functional.gumbel_softmax nn.functional.local_response_norm
    nn.functional.log_softmax nn.functional.lp_pool1d nn.functional.lp_pool2d nn.functional.lp_pool3d nn.functional.one_hot
    nn.functional.silu nn.functional.softmax nn.functional.softsign nn.functional.swish nn.functional.upsample
Shapes that do not fit raise RuntimeError.
    add addbmm addcdiv addcmul addmm addmv addmv_ addr allclose arctan2 as_strided_scatter atan2 baddbmm batch_norm bilinear
    bitwise_and bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor block_diag bmm broadcast_tensors bucketize
    cartesian_prod cdist cholesky_solve clamp clamp_max clamp_min clip complex conv1d conv2d conv3d conv_transpose1d
    conv_transpose2d conv_transpose3d copysign cosine_embedding_loss diagonal_scatter diff dist div divide dot eq expand_as
    float_power floor_divide fmax fmin fmod gather gcd ge greater greater_equal gt heaviside hinge_embedding_loss hypot
    igamma igammac index_fill index_put inner isclose kl_div layer_norm lcm ldexp le lerp less less_equal linspace logaddexp
    logaddexp2 logical_and logical_or logical_xor logspace lt lu_solve margin_ranking_loss masked_fill masked_scatter
    masked_select matmul max maximum min minimum mm mul multiply mv native_batch_norm native_group_norm native_layer_norm ne
    nextafter normal not_equal ormqr pairwise_distance poisson_nll_loss polar pow prelu remainder reshape_as rms_norm rsub
    scatter scatter_add scatter_reduce searchsorted select_scatter slice_scatter sub subtract take_along_dim tensordot
    triangular_solve triplet_margin_loss true_divide vdot view_as where xlogy linalg.householder_product linalg.ldl_solve
    linalg.lstsq linalg.lu_solve linalg.matmul linalg.solve linalg.solve_ex linalg.solve_triangular linalg.tensorsolve
    special.chebyshev_polynomial_t special.chebyshev_polynomial_u special.chebyshev_polynomial_v
    special.chebyshev_polynomial_w special.hermite_polynomial_h special.hermite_polynomial_he special.laguerre_polynomial_l
    special.legendre_polynomial_p special.shifted_chebyshev_polynomial_t special.shifted_chebyshev_polynomial_u
    special.shifted_chebyshev_polynomial_v special.shifted_chebyshev_polynomial_w special.xlog1py special.xlogy special.zeta
    nn.functional.batch_norm nn.functional.cosine_embedding_loss nn.functional.gaussian_nll_loss nn.functional.grid_sample
    nn.functional.hinge_embedding_loss nn.functional.huber_loss nn.functional.kl_div nn.functional.l1_loss
    nn.functional.layer_norm nn.functional.linear nn.functional.linear_cross_entropy nn.functional.margin_ranking_loss
    nn.functional.max_unpool1d nn.functional.max_unpool2d nn.functional.max_unpool3d nn.functional.mse_loss
    nn.functional.multi_head_attention_forward nn.functional.multi_margin_loss nn.functional.multilabel_margin_loss
    nn.functional.multilabel_soft_margin_loss nn.functional.poisson_nll_loss nn.functional.scaled_dot_product_attention
    nn.functional.smooth_l1_loss nn.functional.soft_margin_loss nn.functional.triplet_margin_loss
    nn.functional.triplet_margin_with_distance_loss
Other numbers of axes raise RuntimeError.
    adaptive_avg_pool1d adaptive_max_pool1d avg_pool1d bincount broadcast_to channel_shuffle cholesky cholesky_inverse
    combinations corrcoef cov ctc_loss diag embedding expand expand_copy group_norm histogram histogramdd hsplit
    instance_norm logdet matrix_exp max_pool1d max_pool2d max_pool3d meshgrid multinomial narrow narrow_copy pdist permute
    permute_copy pixel_shuffle pixel_unshuffle repeat reshape split stft sum_to_size t t_copy topk trace unflatten unfold
    unfold_copy view view_copy linalg.cholesky linalg.cholesky_ex linalg.eig linalg.eigh linalg.eigvals linalg.eigvalsh
    linalg.inv_ex linalg.ldl_factor linalg.ldl_factor_ex linalg.lu_factor linalg.matrix_rank linalg.tensorinv
    nn.functional.adaptive_max_pool1d nn.functional.avg_pool2d nn.functional.avg_pool3d nn.functional.ctc_loss
    nn.functional.embedding nn.functional.fractional_max_pool2d nn.functional.fractional_max_pool3d nn.functional.glu
    nn.functional.group_norm nn.functional.instance_norm nn.functional.unfold
An axis out of range raises IndexError.
    all amax amin aminmax any argmax argmin argsort cat concat concatenate count_nonzero mean median nanmean nanmedian
    nansum prod sort split_copy std std_mean sum tensor_split unique unique_consecutive unsafe_split var var_mean
    linalg.vector_norm fft.fft fft.fft2 fft.fftn fft.fftshift fft.hfft fft.hfft2 fft.hfftn fft.ifft fft.ifft2 fft.ifftn
    fft.ifftshift fft.ihfft fft.ihfft2 fft.ihfftn fft.irfft fft.irfft2 fft.irfftn fft.rfft fft.rfft2 fft.rfftn
    nn.functional.normalize
An axis out of range raises IndexError. Shapes that do not fit raise RuntimeError.
    cosine_similarity cross cumulative_trapezoid nanquantile quantile trapezoid trapz linalg.cross linalg.vecdot
Other numbers of axes raise ValueError.
    nn.init.kaiming_normal_ nn.init.kaiming_normal nn.init.kaiming_uniform_ nn.init.kaiming_uniform nn.init.xavier_normal_
    nn.init.xavier_normal nn.init.xavier_uniform_ nn.init.xavier_uniform nn.init.orthogonal_ nn.init.orthogonal
    nn.init.sparse_ nn.init.sparse nn.init.eye_ nn.init.eye nn.init.dirac_ nn.init.dirac
    nn.functional.adaptive_avg_pool2d nn.functional.adaptive_avg_pool3d nn.functional.adaptive_max_pool2d
    nn.functional.adaptive_max_pool3d nn.functional.interpolate nn.functional.upsample_bilinear
    nn.functional.upsample_nearest
Shapes that do not fit raise IndexError.
    index_add index_copy index_reduce index_select lu_unpack put take
An axis out of range raises IndexError. Other numbers of axes raise RuntimeError.
    gradient repeat_interleave split_with_sizes split_with_sizes_copy unsafe_split_with_sizes linalg.norm
Shapes that do not fit raise ValueError.
    binary_cross_entropy_with_logits nn.functional.binary_cross_entropy nn.functional.binary_cross_entropy_with_logits
    nn.functional.cross_entropy nn.functional.embedding_bag nn.functional.nll_loss
Other numbers of axes raise IndexError.
    select select_copy
Raises RuntimeError for amounts that do not fit.
    nn.functional.pad
Raises RuntimeError for states of another size or kind.
    set_rng_state
"""

_IN_PLACE = (
    "Changes the tensor and returns it. The result must have the tensor's shape, and a dtype that converts to the tensor's. "
    "Raises RuntimeError otherwise, and for a leaf that requires a gradient."
)


@functools.cache
def contracts() -> dict[str, str]:
    """The sentences about each function."""
    found: dict[str, str] = {}
    for table, opening in ((SHAPES, "Shapes: "), (_DTYPES, ""), (_ERRORS, "")):
        for name, sentences in facts(table).items():
            found[name] = f"{found[name]} {sentences}" if name in found else opening + sentences
    return found


def facts(table: str) -> dict[str, str]:
    """The sentences of a table by name."""
    found: dict[str, str] = {}
    sentence: list[str] = []
    named = True
    for line in table.strip().splitlines():
        if line.startswith(" "):
            for name in line.split():
                found[name] = f"{found[name]} {' '.join(sentence)}" if name in found else " ".join(sentence)
            named = True
        else:
            sentence = [line] if named else [*sentence, line]
            named = False
    return found


def stated(about: str | None, name: str, module: str) -> str | None:
    """A docstring with the sentences about the function ``name`` of a module."""
    place = module.removeprefix("tracer").removeprefix(".")
    known = contracts()
    sentences = known.get(f"{place}.{name}") or known.get(f"{place.partition('.')[0]}.{name}")
    if sentences is None and not place.startswith("nn.init"):
        sentences = known.get(name)
    if about is None or sentences is None:
        return about
    return f"{about.rstrip()}\n\n    {wrapped(sentences)}\n    "


def complete(namespace: dict[str, Any], place: str = "") -> None:
    """States the facts in the docstrings of a module's functions that lack them: those that are not ``offered``."""
    for name, sentences in contracts().items():
        function = namespace.get(name.removeprefix(place)) if name.startswith(place) else None
        if function is not None and "Shapes: " not in (function.__doc__ or ""):
            function.__doc__ = f"{function.__doc__.rstrip()}\n\n    {wrapped(sentences)}\n    "


def in_place(name: str) -> str:
    """The docstring of the in-place variant of a function."""
    return f"``{name}``, in place.\n\n    {wrapped(_IN_PLACE)}\n    "


def wrapped(text: str, indent: str = "    ", width: int = 116) -> str:
    """The text in lines; all but the first are indented, by default like a docstring."""
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return f"\n{indent}".join(lines)
