"""What the docstrings of layers have in common (see ``ops.class_facts``)."""

from __future__ import annotations

# The arguments of constructors that mean the same in all classes that do not say otherwise.
ARGUMENTS = """
in_channels: the number of the input's channels.
out_channels: the number of the result's channels.
kernel_size: the extents of the window, one number for all axes or one for each.
stride: the distance between windows, one number or one for each axis; None is ``kernel_size``.
padding: the number of positions that are added on both sides, one number or one for each axis.
dilation: the distance between a window's elements, one number or one for each axis.
ceil_mode: rounds the number of windows up: a last window may reach beyond the end.
return_indices: also returns positions.
input_size: the number of the input's features.
hidden_size: the number of the state's features.
num_layers: the number of layers; each reads the states of the one before.
batch_first: the batch is the first axis, and not the second one.
bidirectional: a second state runs backwards; the two are concatenated.
d_model: the number of features, E.
nhead: the number of heads of each attention.
embed_dim: the number of features, E.
num_heads: the number of heads; each has E / heads features.
dim_feedforward: the number of features between the two linear layers.
dropout: the probability of zeros, between layers or in them, in training.
activation: the function between the two linear layers: "relu", "gelu", or any function of a tensor.
layer_norm_eps: ``eps`` of the normalizations.
norm_first: normalizes before each block, and not after it.
dim: the axis; None chooses 0 for up to one axis and for three, else 1, with a warning.
inplace: writes the result to the memory of the input.
margin: the least difference that costs nothing.
size_average: an older form of ``reduction``; None is not given.
reduce: an older form of ``reduction``; None is not given.
reduction: "mean", "sum", or "none" for all numbers. Another one raises ValueError in a call.
eps: a small number that avoids a division by 0, or a logarithm of it.
ignore_index: a class whose targets do not count.
value: the number that is added or set.
in_features: the number of the input's features, its last axis.
bias: whether a bias is added.
device: None or the CPU; another one raises RuntimeError.
dtype: that of the parameters, floating or complex, else RuntimeError; None is the default one.
"""

# The functions of layers that do not have them as ``function``.
APPLIED = {
    "BCEWithLogitsLoss": "binary_cross_entropy_with_logits",
    "Bilinear": "bilinear",
    "CrossEntropyLoss": "cross_entropy",
    "Embedding": "embedding",
    "EmbeddingBag": "embedding_bag",
    "GroupNorm": "group_norm",
    "LayerNorm": "layer_norm",
    "Linear": "linear",
    "LinearCrossEntropyLoss": "linear_cross_entropy",
    "MultiMarginLoss": "multi_margin_loss",
    "MultiheadAttention": "multi_head_attention_forward",
    "NLLLoss": "nll_loss",
    "PReLU": "prelu",
    "PairwiseDistance": "pairwise_distance",
    "RMSNorm": "rms_norm",
    "RReLU": "rrelu",
    "Unflatten": "unflatten",
    "UpsamplingBilinear2d": "interpolate",
    "UpsamplingNearest2d": "interpolate",
    **dict.fromkeys(("BatchNorm1d", "BatchNorm2d", "BatchNorm3d"), "batch_norm"),
    **dict.fromkeys(("InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d"), "instance_norm"),
}

# Sentences about shapes, dtypes and errors, for classes without such a function; and about constructors.
SHARED = """
Shapes: (N, C, L) or (C, L); the last axis grows by its two amounts. Takes any dtype; the dtype is kept.
    ReflectionPad1d ReplicationPad1d CircularPad1d
Shapes: (N, C, H, W) or (C, H, W); the last axes grow by their two amounts. Takes any dtype; the dtype is kept.
    ReflectionPad2d ReplicationPad2d CircularPad2d
Shapes: (N, C, D, H, W) or (C, D, H, W); the last axes grow by their two amounts. Takes any dtype; the dtype is kept.
    ReflectionPad3d ReplicationPad3d CircularPad3d
Raises NotImplementedError for other numbers of axes, and RuntimeError for amounts that are not below the extent, or give an
extent below 1.
    ReflectionPad1d ReflectionPad2d ReflectionPad3d
Raises NotImplementedError for other numbers of axes, and RuntimeError for amounts that give an extent below 1.
    ReplicationPad1d ReplicationPad2d ReplicationPad3d
Raises NotImplementedError for other numbers of axes, and RuntimeError for amounts above the extent.
    CircularPad1d CircularPad2d CircularPad3d
Shapes: at least as many axes as are padded, the last ones; each grows by its two amounts. Takes any dtype; the dtype is
kept. Raises RuntimeError for fewer axes, and for amounts that remove more than there is.
    ZeroPad1d ZeroPad2d ZeroPad3d ConstantPad1d ConstantPad2d ConstantPad3d
The parameters have no shape before the first call, which infers it from the input and makes the layer one of that class.
Arguments, shapes, dtypes and errors are those of that class.
    LazyLinear LazyConv1d LazyConv2d LazyConv3d LazyConvTranspose1d LazyConvTranspose2d LazyConvTranspose3d
    LazyBatchNorm1d LazyBatchNorm2d LazyBatchNorm3d LazyInstanceNorm1d LazyInstanceNorm2d LazyInstanceNorm3d
The input, the states and the parameters have the same floating dtype, which is kept. Raises ValueError for sizes below 1, a
``dropout`` outside [0, 1] and inputs with other numbers of axes, RuntimeError for other extents.
    RNNBase RNN LSTM GRU
Takes a sequence (L, N, input_size), or (N, L, input_size) if ``batch_first``, or without N, or a packed one, and optionally
the initial states, (layers * directions, N, hidden_size); they are zero by default. Returns the states h of the last layer,
(L, N, directions * hidden_size), and the final states of all. The weights and biases are uniform in [-b, b],
b = 1 / sqrt(hidden_size).
    RNN LSTM GRU
Further arguments are those of ``RNN`` but for ``nonlinearity``: ``num_layers``, ``bias``, ``batch_first``, ``dropout``,
``bidirectional``.
    LSTM GRU
Takes (N, input_size), and optionally the state, (N, hidden_size); it is zero by default; or both without N. The input, the
state and the parameters have the same floating dtype, which is kept. Raises ValueError for other numbers of axes,
RuntimeError for other extents. The weights and biases are uniform in [-b, b], b = 1 / sqrt(hidden_size).
    RNNCellBase RNNCell LSTMCell GRUCell
The batch, N, is the first axis if ``batch_first``. A call may have masks, as in ``MultiheadAttention``. Inputs and parameters
have the same floating dtype, which is kept.
    TransformerEncoderLayer TransformerDecoderLayer TransformerEncoder TransformerDecoder Transformer
Raises AssertionError unless ``d_model`` is divisible by ``nhead``, RuntimeError for other names of activations and for shapes
that do not fit.
    TransformerEncoderLayer TransformerDecoderLayer Transformer
Raises RuntimeError for shapes that do not fit the layers.
    TransformerEncoder TransformerDecoder
"""
