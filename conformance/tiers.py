"""Operations by how much people use them: names as in PyTorch's sample database, with the variant after a slash."""

FIRST = """
    add sub mul div/no_rounding_mode true_divide neg abs exp log log1p expm1 sqrt rsqrt square pow reciprocal sin cos tan
    tanh sigmoid maximum minimum clamp where sign erf floor ceil round atan2 remainder matmul mm bmm addmm dot mv einsum
    outer sum mean prod var std var/unbiased std/unbiased amax amin max/binary max/reduction_no_dim
    max/reduction_with_dim min/reduction_with_dim argmax argmin logsumexp cumsum norm linalg.vector_norm softmax
    log_softmax nn.functional.relu nn.functional.gelu nn.functional.silu nn.functional.softplus nn.functional.leaky_relu
    nn.functional.elu nn.functional.logsigmoid nn.functional.linear nn.functional.layer_norm nn.functional.rms_norm
    nn.functional.batch_norm nn.functional.group_norm nn.functional.embedding nn.functional.cross_entropy
    nn.functional.nll_loss nn.functional.mse_loss nn.functional.l1_loss nn.functional.smooth_l1_loss
    nn.functional.huber_loss nn.functional.binary_cross_entropy nn.functional.binary_cross_entropy_with_logits
    nn.functional.kl_div nn.functional.conv1d nn.functional.conv2d nn.functional.max_pool2d nn.functional.avg_pool2d
    nn.functional.scaled_dot_product_attention nn.functional.pad/constant nn.functional.normalize nn.functional.one_hot
    reshape view permute transpose t squeeze unsqueeze expand flatten cat stack split chunk unbind narrow select
    __getitem__ index_select gather scatter scatter_add index_add index_put masked_fill masked_select take_along_dim tril
    triu flip roll repeat broadcast_to diagonal topk sort clone contiguous to eq ne lt le gt ge isnan isfinite
    logical_and logical_or logical_not all any full_like zeros_like ones_like arange linspace
""".split()

SECOND = """
    __radd__ __rsub__ __rmul__ __rdiv__ __rpow__ __rmatmul__ T mT movedim unflatten ravel view_as reshape_as expand_as
    repeat_interleave tile hstack vstack dstack tensor_split hsplit vsplit atleast_1d atleast_2d
    meshgrid/variadic_tensors column_stack asin acos atan sinh cosh asinh acosh atanh exp2 log2 log10 erfc erfinv lgamma
    digamma logit sinc trunc frac fmod div/floor_rounding div/trunc_rounding floor_divide float_power hypot copysign
    logaddexp logaddexp2 xlogy fmax fmin clamp_min clamp_max lerp addcmul addcdiv nan_to_num deg2rad rad2deg heaviside
    sgn positive ldexp var_mean std_mean nansum nanmean median quantile cumprod cummax cummin logcumsumexp count_nonzero
    aminmax diff trapezoid argsort searchsorted bincount unique kthvalue mode nonzero isin isclose allclose isinf
    logical_xor bitwise_and bitwise_or bitwise_xor baddbmm addmv addr addbmm tensordot kron inner vdot trace diag
    diag_embed diagflat cross cdist cov corrcoef linalg.norm linalg.matrix_norm linalg.inv linalg.solve linalg.det
    linalg.slogdet linalg.cholesky linalg.qr linalg.eigh linalg.svd linalg.pinv linalg.multi_dot linalg.solve_triangular
    linalg.matrix_power linalg.lstsq masked_scatter index_fill index_copy scatter_reduce/sum scatter_reduce/mean
    scatter_reduce/amax take put select_scatter slice_scatter diagonal_scatter rot90 fliplr flipud as_strided unfold
    block_diag cartesian_prod nn.functional.relu6 nn.functional.hardtanh nn.functional.hardswish
    nn.functional.hardsigmoid nn.functional.selu nn.functional.celu nn.functional.mish nn.functional.glu
    nn.functional.prelu nn.functional.softsign nn.functional.tanhshrink nn.functional.threshold nn.functional.conv3d
    nn.functional.conv_transpose2d nn.functional.max_pool1d nn.functional.avg_pool1d nn.functional.adaptive_avg_pool2d
    nn.functional.adaptive_max_pool2d nn.functional.instance_norm nn.functional.local_response_norm
    nn.functional.cosine_similarity nn.functional.pairwise_distance nn.functional.cosine_embedding_loss
    nn.functional.margin_ranking_loss nn.functional.triplet_margin_loss nn.functional.hinge_embedding_loss
    nn.functional.poisson_nll_loss nn.functional.gaussian_nll_loss nn.functional.soft_margin_loss nn.functional.bilinear
    nn.functional.unfold nn.functional.interpolate/nearest nn.functional.interpolate/bilinear nn.functional.pad/reflect
    nn.functional.pad/replicate nn.functional.pad/circular nn.functional.pixel_shuffle
    nn.functional.multi_head_attention_forward nn.functional.embedding_bag nn.functional.softmin fft.fft fft.ifft
    fft.rfft fft.irfft fft.fft2 fft.fftn special.entr special.xlog1py special.i0e special.ndtr special.erfcx
    softmax/with_dtype log_softmax/with_dtype new_zeros new_ones new_full eye logspace zeros ones empty_like
""".split()
