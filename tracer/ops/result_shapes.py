"""The shapes of operands and results, for docstrings (see ``contracts``): sentences, followed by indented names."""

# After "Shapes:".
SHAPES = """
A result like ``input``.
    abs absolute acos acosh alias_copy alpha_dropout angle arccos arccosh arcsin arcsinh arctan arctanh argsort
    as_strided_scatter asin asinh atan atanh bernoulli bitwise_not bucketize ceil celu channel_shuffle cholesky
    cholesky_inverse cholesky_solve clamp clip clone conj conj_physical contiguous cos cosh cummax cummin cumprod cumsum
    deg2rad detach_copy diagonal_scatter digamma dropout empty_like erf erfc erfinv exp exp2 expm1 feature_alpha_dropout
    feature_dropout fill fix flip fliplr flipud floor frac frexp full_like geqrf group_norm hardshrink i0 index_add
    index_copy index_fill index_put index_reduce instance_norm isfinite isin isinf isnan isneginf isposinf isreal lgamma log
    log10 log1p log2 log_softmax logcumsumexp logical_not logit lu lu_solve masked_fill matrix_exp msort mvlgamma nan_to_num
    native_dropout native_group_norm neg negative ones_like ormqr pinverse poisson polygamma positive prelu put rad2deg
    rand_like randint_like randn_like real reciprocal relu renorm resolve_conj resolve_neg roll rot90 round rrelu rsqrt
    scatter scatter_add scatter_reduce select_scatter selu sgn sigmoid sign signbit sin sinc sinh slice_scatter softmax sort
    sqrt square tan tanh threshold triangular_solve tril triu trunc zeros_like linalg.cholesky linalg.cholesky_ex
    linalg.householder_product linalg.inv_ex linalg.ldl_factor linalg.ldl_factor_ex linalg.lu_factor linalg.lu_factor_ex
    fft.fftshift fft.ifftshift special.airy_ai special.bessel_j0 special.bessel_j1 special.bessel_y0 special.bessel_y1
    special.cbrt special.digamma special.entr special.erf special.erfc special.erfcx special.erfinv special.exp2
    special.expit special.expm1 special.gammaln special.i0 special.i0e special.i1 special.i1e special.log1p special.log_ndtr
    special.log_softmax special.logit special.modified_bessel_i0 special.modified_bessel_i1 special.modified_bessel_k0
    special.modified_bessel_k1 special.multigammaln special.ndtr special.ndtri special.polygamma special.psi special.round
    special.scaled_modified_bessel_k0 special.scaled_modified_bessel_k1 special.sinc special.softmax
    special.spherical_bessel_j0 nn.functional.alpha_dropout nn.functional.batch_norm nn.functional.dropout
    nn.functional.dropout1d nn.functional.dropout2d nn.functional.dropout3d nn.functional.elu
    nn.functional.feature_alpha_dropout nn.functional.gelu nn.functional.group_norm nn.functional.gumbel_softmax
    nn.functional.hardsigmoid nn.functional.hardswish nn.functional.hardtanh nn.functional.instance_norm
    nn.functional.leaky_relu nn.functional.local_response_norm nn.functional.log_softmax nn.functional.logsigmoid
    nn.functional.mish nn.functional.normalize nn.functional.relu nn.functional.relu6 nn.functional.silu
    nn.functional.softmax nn.functional.softmin nn.functional.softplus nn.functional.softshrink nn.functional.softsign
    nn.functional.swish nn.functional.tanhshrink
The operands broadcast.
    add addcdiv addcmul arctan2 atan2 bitwise_and bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor
    broadcast_tensors clamp_max clamp_min complex copysign div divide eq expand_as float_power floor_divide fmax fmin fmod
    gcd ge greater greater_equal gt heaviside hypot igamma igammac isclose lcm ldexp le lerp less less_equal logaddexp
    logaddexp2 logical_and logical_or logical_xor lt masked_scatter maximum minimum mul multiply ne nextafter not_equal
    polar pow remainder rsub sub subtract true_divide where xlogy special.chebyshev_polynomial_t
    special.chebyshev_polynomial_u special.chebyshev_polynomial_v special.chebyshev_polynomial_w
    special.hermite_polynomial_h special.hermite_polynomial_he special.laguerre_polynomial_l special.legendre_polynomial_p
    special.shifted_chebyshev_polynomial_t special.shifted_chebyshev_polynomial_u special.shifted_chebyshev_polynomial_v
    special.shifted_chebyshev_polynomial_w special.xlog1py special.xlogy special.zeta
The axes ``dim`` (by default all) are removed; ``keepdim`` keeps them with extent 1.
    all amax amin aminmax any argmax argmin frobenius_norm max mean median min nanmean nanmedian nanquantile nansum norm
    nuclear_norm prod quantile std std_mean sum var var_mean linalg.norm linalg.vector_norm
``input`` and ``target`` broadcast; the result is a scalar, or has their shape if ``reduction`` is none.
    binary_cross_entropy_with_logits hinge_embedding_loss kl_div poisson_nll_loss nn.functional.binary_cross_entropy
    nn.functional.binary_cross_entropy_with_logits nn.functional.gaussian_nll_loss nn.functional.hinge_embedding_loss
    nn.functional.huber_loss nn.functional.kl_div nn.functional.l1_loss nn.functional.mse_loss
    nn.functional.poisson_nll_loss nn.functional.smooth_l1_loss nn.functional.soft_margin_loss
``size``.
    as_strided as_strided_ as_strided_copy empty empty_permuted empty_strided full ones rand randint randn zeros
A vector of ``M`` elements.
    signal.windows.bartlett signal.windows.blackman signal.windows.cosine signal.windows.exponential signal.windows.gaussian
    signal.windows.general_cosine signal.windows.general_hamming signal.windows.hamming signal.windows.hann
    signal.windows.kaiser signal.windows.nuttall
The axes in another order.
    adjoint moveaxis movedim permute permute_copy swapaxes swapdims t t_copy transpose transpose_copy
Any; the result is a Python bool.
    allclose equal is_complex is_conj is_floating_point is_inference is_neg is_nonzero is_same_size is_signed
The parts differ from ``input`` along ``dim`` alone.
    chunk split split_copy split_with_sizes split_with_sizes_copy tensor_split unsafe_chunk unsafe_split
    unsafe_split_with_sizes
(N, D) or (D); the result is a scalar, or one number per sample if ``reduction`` is none.
    triplet_margin_loss nn.functional.multilabel_margin_loss nn.functional.multilabel_soft_margin_loss
    nn.functional.triplet_margin_loss nn.functional.triplet_margin_with_distance_loss
A (..., n, n) and B (..., n, k), or (..., n) where said; batches broadcast. The result is like B.
    linalg.ldl_solve linalg.lu_solve linalg.solve linalg.solve_ex linalg.solve_triangular
A vector of ``window_length`` elements.
    bartlett_window blackman_window hamming_window hann_window kaiser_window
The axis ``dim`` is removed; ``keepdim`` keeps it with extent 1.
    kthvalue logsumexp mode linalg.matrix_norm special.logsumexp
The operands agree except along the joined axis.
    column_stack dstack hstack row_stack vstack
(N, C, ...) with one to three last axes, which get ``size``, or their extent times ``scale_factor``.
    nn.functional.interpolate nn.functional.upsample nn.functional.upsample_bilinear nn.functional.upsample_nearest
(N, C, D, H, W) or (C, D, H, W), the last axes of the given size.
    nn.functional.adaptive_avg_pool3d nn.functional.adaptive_max_pool3d nn.functional.fractional_max_pool3d
    nn.functional.fractional_max_pool3d_with_indices
(N, C, H, W) or (C, H, W), the last axes of the given size.
    nn.functional.adaptive_avg_pool2d nn.functional.adaptive_max_pool2d nn.functional.fractional_max_pool2d
    nn.functional.fractional_max_pool2d_with_indices
(N, C, L) or (C, L); the last axis becomes the number of windows, floor((L + 2 padding - dilation (kernel - 1) - 1) /
stride) + 1.
    avg_pool1d max_pool1d max_pool1d_with_indices nn.functional.lp_pool1d
Input, scale and shift agree in the last axes, ``normalized_shape``.
    layer_norm native_layer_norm rms_norm nn.functional.layer_norm
The axes ``dim`` get the extents ``s``, by default their own.
    fft.fft2 fft.fftn fft.ifft2 fft.ifftn
The axes ``dim`` get the extents ``s``, the last one by default 2 (its own - 1).
    fft.hfft2 fft.hfftn fft.irfft2 fft.irfftn
The axes ``dim`` get the extents ``s``, the last one s / 2 + 1, rounded down.
    fft.ihfft2 fft.ihfftn fft.rfft2 fft.rfftn
The axis ``dim`` is removed.
    select select_copy unbind unbind_copy
Those of the data.
    as_tensor asarray from_numpy tensor
(N, C) or (C) and targets (N) or (); the result is a scalar, or one number per sample if ``reduction`` is none.
    cosine_embedding_loss nn.functional.cosine_embedding_loss nn.functional.multi_margin_loss
(N, C, D, H, W) or (C, D, H, W); each of the last axes becomes the number of windows, floor((n + 2 padding - dilation
(kernel - 1) - 1) / stride) + 1.
    max_pool3d nn.functional.avg_pool3d nn.functional.lp_pool3d
(N, C, H, W) or (C, H, W); each of the last axes becomes the number of windows, floor((n + 2 padding - dilation (kernel - 1)
- 1) / stride) + 1.
    max_pool2d nn.functional.avg_pool2d nn.functional.lp_pool2d
(N, C, L) or (C, L), the last axis of the given size.
    adaptive_avg_pool1d adaptive_max_pool1d nn.functional.adaptive_max_pool1d
``size``, to which the input broadcasts.
    broadcast_to expand expand_copy
Any; a missing axis has extent 1.
    atleast_1d atleast_2d atleast_3d
Square matrices (..., n, n); the result is (...).
    det logdet slogdet
Square matrices (..., n, n); the result likewise.
    inverse matrix_power orgqr
The axes ``dim1`` and ``dim2`` are removed; the last axis is the diagonal.
    diagonal diagonal_copy linalg.diagonal
The given shape, with the same number of elements.
    reshape view view_copy
The operands agree except along ``dim``, whose extents add up.
    cat concat concatenate
The operands broadcast, and the axis ``dim`` is removed.
    cosine_similarity pairwise_distance linalg.vecdot
The parts differ from ``input`` along the split axis alone.
    dsplit hsplit vsplit
The result's last axes have the extents (n - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1.
    conv_transpose1d conv_transpose2d conv_transpose3d
(..., n, m) from ``lu_factor``; P is (..., n, n), L (..., n, k), U (..., k, m), with k = min(n, m).
    lu_unpack linalg.lu
(..., n, m) give (..., n, q), (..., q), (..., m, q).
    pca_lowrank svd_lowrank
(..., n, m); Q is (..., n, k), R (..., k, m), with k = min(n, m), or n if complete.
    qr linalg.qr
(..., n, m); U is (..., n, k), S (..., k), Vh (..., k, m), with k = min(n, m); n and m if ``full_matrices``.
    svd linalg.svd
(2, number of positions).
    tril_indices triu_indices
(N, C, *); statistics and parameters are (C).
    batch_norm native_batch_norm
(n, m) and (m), and an ``input`` that broadcasts to (n).
    addmv addmv_
(variables, observations) give (variables, variables); a vector gives a scalar.
    corrcoef cov
A last axis of extent 2 is new.
    view_as_real view_as_real_copy
A matrix gives a scalar.
    matrix_trace linalg.trace
A new axis of extent 1.
    unsqueeze unsqueeze_copy
A vector of ``n`` elements.
    randperm fft.fftfreq
A vector of ``steps`` elements.
    linspace logspace
A vector, or slices along ``dim``; inverse positions like the input, counts like the vector.
    unique unique_consecutive
Any indices and a table (rows, width) give (*indices, width).
    embedding nn.functional.embedding
Any; the result is (positions, axes).
    argwhere nonzero_static
Any; the result is a scalar.
    dist trace
Any; the result likewise.
    from_dlpack imag
As ``numpy.matmul``: (..., n, m) and (..., m, p) give (..., n, p); a vector stands for a row on the left, a column on the
right.
    matmul linalg.matmul
Axes of extent 1 are removed.
    squeeze squeeze_copy
Each extent is multiplied by its number of repeats.
    repeat tile
Each padded axis grows by its two amounts.
    constant_pad_nd nn.functional.pad
Input (N, C, ...) or (C), target (N, ...) or () of classes, or probabilities like the input; the result is a scalar, or has
the target's shape if ``reduction`` is none.
    nn.functional.cross_entropy nn.functional.nll_loss
Input (N, C, H, W) and grid (N, H', W', 2) give (N, C, H', W'); also with three axes of positions.
    grid_sampler nn.functional.grid_sample
Log-probabilities (T, N, C) or (T, C), targets (N, S) or concatenated, lengths (N); the result is a scalar, or (N) if
``reduction`` is none.
    ctc_loss nn.functional.ctc_loss
Matrices that can be multiplied in order.
    chain_matmul linalg.multi_dot
Square matrices (..., n, n); the result is (..., n).
    linalg.eigvals linalg.eigvalsh
Square matrices (..., n, n); values (..., n), vectors in the columns of (..., n, n).
    linalg.eig linalg.eigh
That of ``index``, which has the number of axes of ``input``.
    gather take_along_dim
That of ``other``, with the same number of elements.
    reshape_as view_as
The axis ``dim`` gets the extent ``length``.
    narrow narrow_copy
The axis ``dim`` gets the extent ``n``, by default 2 (its own - 1).
    fft.hfft fft.irfft
The axis ``dim`` gets the extent ``n``, by default its own.
    fft.fft fft.ifft
The axis ``dim`` gets the extent n / 2 + 1, rounded down.
    fft.ihfft fft.rfft
The axis ``dim`` is removed; ``x`` has the shape of ``y``, or is a vector.
    trapezoid trapz
The axis gets the number of windows, floor((n - size) / step) + 1; a last axis of extent ``size`` is new.
    unfold unfold_copy
The last axis, of extent 2, is removed.
    view_as_complex view_as_complex_copy
The operands broadcast to (..., 3) along ``dim``.
    cross linalg.cross
The operands broadcast; the result is a scalar, or has their shape if ``reduction`` is none.
    margin_ranking_loss nn.functional.margin_ranking_loss
Theta (N, 2, 3) and size (N, C, H, W) give (N, H, W, 2); in three dimensions (N, 3, 4) gives (N, D, H, W, 3).
    affine_grid_generator nn.functional.affine_grid
Vectors (n) and (m) give (n, m).
    ger outer
Vectors (n) and (n) give a scalar.
    dot vdot
(..., C r r, H, W) give (..., C, H r, W r).
    pixel_shuffle
(..., C, H r, W r) give (..., C r r, H, W).
    pixel_unshuffle
(..., P, D) and (..., R, D) give (..., P, R); batches broadcast.
    cdist
(..., in), weight (out, in), bias (out) give (..., out).
    nn.functional.linear
(..., in1), (..., in2), weight (out, in1, in2), bias (out) give (..., out).
    bilinear
(..., n) and (..., n) give the leading axes of the first, then of the second.
    inner
(..., n) give (..., n + |offset|, n + |offset|), with the new axes at ``dim1`` and ``dim2``.
    diag_embed
(..., n) give (..., n, N).
    linalg.vander
(..., n, m) give (...).
    linalg.matrix_rank
(..., n, m); the result is (..., min(n, m)).
    linalg.svdvals
(B, n, m) and (B, m, p) give (B, n, p).
    bmm
(B, n, m) and (B, m, p), and an ``input`` that broadcasts to (B, n, p).
    baddbmm
(B, n, m) and (B, m, p), and an ``input`` that broadcasts to (n, p).
    addbmm
(N, C kH kW, windows), or without N, give (N, C, *output_size).
    nn.functional.fold
(N, C, D, H, W) or (C, D, H, W) with indices of the same shape; each last axis becomes ``output_size``, by default (n - 1)
stride - 2 padding + kernel.
    nn.functional.max_unpool3d
(N, C, H, W) or (C, H, W) give (N, C kH kW, windows).
    nn.functional.unfold
(N, C, H, W) or (C, H, W) with indices of the same shape; each last axis becomes ``output_size``, by default (n - 1) stride
- 2 padding + kernel.
    nn.functional.max_unpool2d
(N, C, L) or (C, L) with indices of the same shape; the last axis becomes ``output_size``, by default (n - 1) stride - 2
padding + kernel.
    nn.functional.max_unpool1d
(N, D) give (N (N - 1) / 2).
    pdist
(N, L) or (L) give (N, n_fft / 2 + 1, frames), or all n_fft frequencies if not ``onesided``.
    stft
(N, frequencies, frames), or without N, give (N, L).
    istft
(T, N, C) and (K, C, O) give (T + 2 pad - K + 1, N, O).
    conv_tbc
(n) and (m), and an ``input`` that broadcasts to (n, m).
    addr
(n, m) and (m) give (n).
    mv
(n, m) and (m, p) give (n, p).
    mm
(n, m) and (m, p), and an ``input`` that broadcasts to (n, p).
    addmm
(n, m), with m = n unless given.
    eye
A (..., m, n), B (..., m, k) or (m); the solution is (..., n, k) or (n).
    linalg.lstsq
A has the axes of B, then those of the result.
    linalg.tensorsolve
``count`` and ``prob`` broadcast.
    binomial
``dim`` stays, the other axes have extent 1.
    norm_except_dim
``input`` is a vector; the result has max(max(input) + 1, minlength) elements.
    bincount
``mask`` broadcasts with ``input``; the result is a vector.
    masked_select
``size``, which broadcasts to the input's shape.
    sum_to_size
A result like ``mean``, a tensor, or ``size``.
    normal
A scalar.
    scalar_tensor
A vector (n) gives (n + |diagonal|, n + |diagonal|), a matrix its diagonal.
    diag
A vector (n) gives (n, N).
    vander
A vector gives (number of combinations, r).
    combinations
A vector of ``count`` elements, by default all.
    frombuffer
A vector of ceil((end - start) / step) elements.
    arange
A vector of floor((end - start) / step) + 1 elements.
    range
A vector of n / 2 + 1 elements.
    fft.rfftfreq
A vector with all elements.
    ravel
Any with n elements; the result is (n + |offset|, n + |offset|).
    diagflat
Any; the counts have ``bins`` elements, the edges one more.
    histogram
Any; the result has ``bins`` elements.
    histc
Any; the result has a new last axis of extent ``num_classes``.
    nn.functional.one_hot
Any; the result is (positions, axes), or one vector per axis.
    nonzero
Any; the result is a Python int.
    numel
As the equation says: each letter stands for one extent.
    einsum
Each extent is the product of the operands'; missing leading axes count as 1.
    kron
Equal shapes; the result has a new axis ``dim``.
    stack
Indices (B, L), or (total) with ``offsets`` (B), and a table (rows, width) give (B, width).
    nn.functional.embedding_bag
Input (..., in), weight (C, in), target (...); the result is a scalar, or like the target if ``reduction`` is none.
    nn.functional.linear_cross_entropy
Matrices (r, c) give (sum of r, sum of c).
    block_diag
One axis becomes several, whose product is its extent.
    unflatten
One tensor per axis, each like ``indices``.
    unravel_index
One tensor per axis, each like ``input``.
    gradient
Points (..., D); counts with an axis per dimension, and D vectors of edges.
    histogramdd
Query (..., L, E), key (..., S, E), value (..., S, V), a mask that broadcasts to (..., L, S); the result is (..., L, V).
    nn.functional.scaled_dot_product_attention
Query (L, N, E), key and value (S, N, E), or without N; the output is like the query, the weights (N, L, S).
    nn.functional.multi_head_attention_forward
Shapes, not tensors.
    broadcast_shapes
Square matrices (..., n, n), or (..., n, m) for the 2 norms; the result is (...).
    linalg.cond
That of ``index``.
    take
That of ``values``; the sorted sequence is a vector, or has its leading axes.
    searchsorted
The axes ``dim`` (by default all) are removed.
    count_nonzero
The axes before ``ind`` and those after it have equal numbers of elements; the result has them exchanged.
    linalg.tensorinv
The axis ``dim`` gets the extent ``k``.
    topk
The axis ``dim`` gets the length of the slice.
    slice_copy
The axis ``dim`` gets the number of indices.
    index_select
The axis ``dim`` is halved.
    nn.functional.glu
The axis ``dim`` loses ``n`` elements.
    diff
The axis ``dim`` loses one element.
    cumulative_trapezoid
The free axes of ``a``, then those of ``b``.
    tensordot
The merged axes become one, whose extent is their product.
    flatten
The result is (N, O, D', H', W') with n' = floor((n + 2 padding - dilation (kernel - 1) - 1) / stride) + 1, without N if the
input is.
    conv3d
The result is (N, O, H', W') with n' = floor((n + 2 padding - dilation (kernel - 1) - 1) / stride) + 1, without N if the
input is.
    conv2d
The result is (N, O, floor((L + 2 padding - dilation (kernel - 1) - 1) / stride) + 1), without N if the input is.
    conv1d
Vectors of n, m, ... elements give (n m ..., number of vectors).
    cartesian_prod
Vectors; each result has one axis per vector.
    meshgrid
Weights (n) or (m, n) give (num_samples) or (m, num_samples).
    multinomial
Without ``dim`` a vector; otherwise only the axis ``dim`` grows.
    repeat_interleave
Any; the tensor is filled in place and returned.
    nn.init.constant_ nn.init.constant nn.init.normal_ nn.init.normal nn.init.ones_ nn.init.trunc_normal_ nn.init.uniform_
    nn.init.uniform nn.init.zeros_
Weights (out, in, ...); the tensor is filled in place and returned.
    nn.init.kaiming_normal_ nn.init.kaiming_normal nn.init.kaiming_uniform_ nn.init.kaiming_uniform nn.init.xavier_normal_
    nn.init.xavier_normal nn.init.xavier_uniform_ nn.init.xavier_uniform nn.init.orthogonal_ nn.init.orthogonal
Matrices; the tensor is filled in place and returned.
    nn.init.sparse_ nn.init.sparse nn.init.eye_ nn.init.eye
Convolution weights (O, I, L), (O, I, H, W) or (O, I, D, H, W), filled in place and returned.
    nn.init.dirac_ nn.init.dirac
Weights (out, in, ...).
    nn.init.fans
A vector of bytes.
    get_rng_state set_rng_state
"""
