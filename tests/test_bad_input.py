"""Bad input: PyTorch's exception type, and the main part of its message."""

import numpy as np
import pytest
from values import ones, raises_exactly

import tracer
from tracer import tensor
from tracer.nn import functional as F

INF, NAN = float("inf"), float("nan")


BAD = {
    "add": (
        lambda: ones(2, 3) + ones(4),
        RuntimeError,
        "a (3) must match the size of tensor b (4) at non-singleton dimension 1",
    ),
    "mul": (
        lambda: ones(2, 3) * ones(3, 3),
        RuntimeError,
        "a (2) must match the size of tensor b (3) at non-singleton dimension 0",
    ),
    "where": (
        lambda: tracer.where(tensor([True, False]), ones(3), 2.0),
        RuntimeError,
        "a (2) must match the size of tensor b (3)",
    ),
    "add a string": (lambda: ones(2) + "a", TypeError, "unsupported operand type(s) for +: 'Tensor' and 'str'"),
    "add None": (lambda: ones(2) + None, TypeError, "unsupported operand type(s) for +: 'Tensor' and 'NoneType'"),
    "add a list": (lambda: ones(2) + [1, 2], TypeError, "unsupported operand type(s) for +: 'Tensor' and"),  # noqa: RUF005
    "compare with None": (lambda: ones(2) < None, TypeError, "'<' not supported between instances of 'Tensor' and 'NoneType'"),
    "matmul": (lambda: ones(2, 3) @ ones(2, 3), RuntimeError, "mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)"),
    "vector with matrix": (
        lambda: ones(3) @ ones(2, 3),
        RuntimeError,
        "mat1 and mat2 shapes cannot be multiplied (1x3 and 2x3)",
    ),
    "matrix with vector": (lambda: ones(2, 3) @ ones(2), RuntimeError, "size mismatch, got input (2), mat (2x3), vec (2)"),
    "vector with vector": (
        lambda: ones(3) @ ones(2),
        RuntimeError,
        "inconsistent tensor size, expected tensor [3] and src [2]",
    ),
    "batches": (
        lambda: ones(2, 2, 3) @ ones(2, 2, 3),
        RuntimeError,
        "Expected size for first two dimensions of batch2 tensor to be: [2, 3] but got: [2, 2]",
    ),
    "batch extents": (
        lambda: ones(2, 2, 3) @ ones(3, 3, 3),
        RuntimeError,
        "size of tensor a (2) must match the size of tensor b (3) at non-singleton dimension 0",
    ),
    "matmul of a number": (
        lambda: tensor(1.0) @ ones(2),
        RuntimeError,
        "both arguments to matmul need to be at least 1D, but they are 0D and 1D",
    ),
    "matmul of two dtypes": (
        lambda: ones(2, 3) @ ones(3, 2, dtype="float64"),
        RuntimeError,
        "expected m1 and m2 to have the same dtype, but got: float != double",
    ),
    "matmul with a Python number": (lambda: ones(2) @ 3, TypeError, "unsupported operand type(s) for @: 'Tensor' and 'int'"),
    "mm": (lambda: tracer.mm(ones(2), ones(2, 2)), RuntimeError, "self must be a matrix"),
    "dot": (lambda: tracer.dot(ones(2), ones(2, 2)), RuntimeError, "1D tensors expected, but got 1D and 2D tensors"),
    "dot of lengths": (
        lambda: tracer.dot(ones(2), ones(3)),
        RuntimeError,
        "inconsistent tensor size, expected tensor [2] and src [3]",
    ),
    "bmm": (lambda: tracer.bmm(ones(2, 3), ones(2, 3)), RuntimeError, "batch1 must be a 3D tensor"),
    "t": (lambda: ones(2, 3, 4).t(), RuntimeError, "t() expects a tensor with <= 2 dimensions, but self is 3D"),
    "integers with gradients": (
        lambda: tensor([1, 2], requires_grad=True),
        RuntimeError,
        "Only Tensors of floating point and complex dtype can require gradients",
    ),
    "bools with gradients": (
        lambda: tracer.zeros(2, dtype=tracer.bool, requires_grad=True),
        RuntimeError,
        "Only Tensors of floating point",
    ),
    "requires_grad_ of integers": (
        lambda: tensor([1, 2]).requires_grad_(),
        RuntimeError,
        "only Tensors of floating point dtype can require gradients",
    ),
    "reshape": (lambda: ones(6).reshape(4), RuntimeError, "shape '[4]' is invalid for input of size 6"),
    "reshape with -1": (lambda: ones(6).reshape(-1, 4), RuntimeError, "shape '[-1, 4]' is invalid for input of size 6"),
    "reshape with two -1": (lambda: ones(6).reshape(-1, -1), RuntimeError, "only one dimension can be inferred"),
    "reshape with -2": (lambda: ones(6).reshape(-2, 3), RuntimeError, "invalid shape dimension -2"),
    "view": (lambda: ones(6).view(5), RuntimeError, "shape '[5]' is invalid for input of size 6"),
    "view across strides": (
        lambda: ones(2, 3).t().view(6),
        RuntimeError,
        "view size is not compatible with input tensor's size and stride",
    ),
    "sum dim": (
        lambda: ones(2, 3).sum(2),
        IndexError,
        "Dimension out of range (expected to be in range of [-2, 1], but got 2)",
    ),
    "mean dim": (
        lambda: ones(2, 3).mean(-3),
        IndexError,
        "Dimension out of range (expected to be in range of [-2, 1], but got -3)",
    ),
    "softmax dim": (lambda: ones(2, 3).softmax(2), IndexError, "Dimension out of range"),
    "argmax dim": (lambda: ones(2, 3).argmax(2), IndexError, "Dimension out of range"),
    "size dim": (lambda: ones(2, 3).size(2), IndexError, "Dimension out of range"),
    "transpose dim": (lambda: ones(2, 3).transpose(0, 2), IndexError, "Dimension out of range"),
    "unsqueeze dim": (lambda: ones(2, 3).unsqueeze(4), IndexError, "expected to be in range of [-3, 2], but got 4"),
    "squeeze dim": (lambda: ones(2, 3).squeeze(4), IndexError, "expected to be in range of [-2, 1], but got 4"),
    "cat dim": (lambda: tracer.cat([ones(2)], 1), IndexError, "expected to be in range of [-1, 0], but got 1"),
    "repeated dim": (lambda: ones(2, 3).sum((0, -2)), RuntimeError, "dim 0 appears multiple times in the list of dims"),
    "permute": (lambda: ones(2, 3).permute(0), RuntimeError, "does not match the length of the desired ordering of dimensions"),
    "permute twice": (lambda: ones(2, 3).permute(0, 0), RuntimeError, "permute(): duplicate dims are not allowed."),
    "expand": (
        lambda: ones(2, 3).expand(3, 3),
        RuntimeError,
        "(3) must match the existing size (2) at non-singleton dimension 0.  Target sizes: [3, 3].  Tensor sizes: [2, 3]",
    ),
    "expand to fewer": (
        lambda: ones(2, 3).expand(3),
        RuntimeError,
        "the number of sizes provided (1) must be greater or equal to the number of dimensions in the tensor (2)",
    ),
    "expand a new dim by -1": (
        lambda: ones(3).expand(-1, 3),
        RuntimeError,
        "The expanded size of the tensor (-1) isn't allowed in a leading, non-existing dimension 0",
    ),
    "flatten": (
        lambda: ones(2, 3).flatten(1, 0),
        RuntimeError,
        "flatten() has invalid args: start_dim cannot come after end_dim",
    ),
    "index": (lambda: ones(2, 3)[2], IndexError, "index 2 is out of bounds for dimension 0 with size 2"),
    "second index": (lambda: ones(2, 3)[0, -4], IndexError, "index -4 is out of bounds for dimension 1 with size 3"),
    "index tensor": (lambda: ones(2, 3)[tensor([0, 2])], IndexError, "index 2 is out of bounds for dimension 0 with size 2"),
    "too many indices": (lambda: ones(2, 3)[0, 0, 0], IndexError, "too many indices for tensor of dimension 2"),
    "index of a number": (lambda: tensor(1.0)[0], IndexError, "invalid index of a 0-dim tensor"),
    "index by a float": (
        lambda: ones(2, 3)[1.5],
        IndexError,
        "ellipsis (`...`), None and long or byte Variables are valid indices (got float)",
    ),
    "index by a float tensor": (
        lambda: ones(2)[tensor([0.0])],
        IndexError,
        "tensors used as indices must be long, int, byte or bool tensors",
    ),
    "mask": (
        lambda: ones(2, 3)[tensor([True, False, True])],
        IndexError,
        "The shape of the mask [3] at index 0 does not match the shape of the indexed tensor [2, 3]",
    ),
    "negative step": (lambda: ones(2)[::-1], ValueError, "step must be greater than zero"),
    "assignment": (
        lambda: ones(2, 3).__setitem__(0, ones(4)),
        RuntimeError,
        "The expanded size of the tensor (3) must match the existing size (4) at non-singleton dimension 0",
    ),
    "assignment outside": (
        lambda: ones(2, 3).__setitem__(2, 1),
        IndexError,
        "index 2 is out of bounds for dimension 0 with size 2",
    ),
    "gather": (
        lambda: tracer.gather(ones(2, 3), 1, tensor([[3]])),
        RuntimeError,
        "index 3 is out of bounds for dimension 1 with size 3",
    ),
    "gather of two ranks": (
        lambda: tracer.gather(ones(2, 3), 1, tensor([0])),
        RuntimeError,
        "Index tensor must have the same number of dimensions as input tensor",
    ),
    "one_hot": (lambda: F.one_hot(tensor([3]), 3), RuntimeError, "Class values must be smaller than num_classes."),
    "narrow": (lambda: ones(5).narrow(0, 3, 3), RuntimeError, "start (3) + length (3) exceeds dimension size (5)."),
    "split": (lambda: ones(5).split([2, 2]), RuntimeError, "split_with_sizes expects split_sizes to sum exactly to 5"),
    "split by 0": (lambda: ones(5).split(0), RuntimeError, "split_size can only be 0 if dimension size is 0"),
    "chunk by 0": (lambda: ones(5).chunk(0), RuntimeError, "chunk expects `chunks` to be greater than 0, got: 0"),
    "cat": (
        lambda: tracer.cat([ones(2, 3), ones(2, 4)]),
        RuntimeError,
        "must match except in dimension 0. Expected size 3 but got size 4 for tensor number 1 in the list.",
    ),
    "cat of two ranks": (
        lambda: tracer.cat([ones(2, 3), ones(2)]),
        RuntimeError,
        "Tensors must have same number of dimensions: got 2 and 1",
    ),
    "cat of nothing": (lambda: tracer.cat([]), ValueError, "expected a non-empty list of Tensors"),
    "stack": (
        lambda: tracer.stack([ones(2), ones(3)]),
        RuntimeError,
        "stack expects each tensor to be equal size, but got [2] at entry 0 and [3] at entry 1",
    ),
    "stack of nothing": (lambda: tracer.stack([]), RuntimeError, "stack expects a non-empty TensorList"),
    "item of many": (lambda: ones(3).item(), RuntimeError, "a Tensor with 3 elements cannot be converted to Scalar"),
    "item of nothing": (lambda: tensor([]).item(), RuntimeError, "a Tensor with 0 elements cannot be converted to Scalar"),
    "bool of many": (lambda: bool(ones(2)), RuntimeError, "Boolean value of Tensor with more than one value is ambiguous"),
    "bool of nothing": (lambda: bool(tensor([])), RuntimeError, "Boolean value of Tensor with no values is ambiguous"),
    "float of many": (lambda: float(ones(2)), ValueError, "only one element tensors can be converted to Python scalars"),
    "int of many": (lambda: int(ones(2)), ValueError, "only one element tensors can be converted to Python scalars"),
    "float as an index": (
        lambda: [1, 2][tensor(1.0)],
        TypeError,
        "only integer tensors of a single element can be converted to an index",
    ),
    "len of a number": (lambda: len(tensor(1.0)), TypeError, "len() of a 0-d tensor"),
    "iteration over a number": (lambda: list(tensor(1.0)), TypeError, "iteration over a 0-d tensor"),
    "numpy with gradients": (
        lambda: tracer.ones(2, requires_grad=True).numpy(),
        RuntimeError,
        "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.",
    ),
    "asarray with gradients": (
        lambda: np.asarray(tracer.ones(2, requires_grad=True)),
        RuntimeError,
        "Can't call numpy() on Tensor that requires grad",
    ),
    "ragged": (lambda: tensor([[1, 2], [3]]), ValueError, "expected sequence of length 2 at dim 1 (got 1)"),
    "tensor of a string": (lambda: tensor("abc"), TypeError, "invalid data type 'str'"),
    "tensor of None": (lambda: tensor(None), RuntimeError, "Could not infer dtype of NoneType"),
    "from_numpy of a list": (lambda: tracer.from_numpy([1]), TypeError, "expected np.ndarray (got list)"),
    "from_numpy of strings": (lambda: tracer.from_numpy(np.array(["a"])), TypeError, "can't convert np.ndarray of type"),
    "zeros": (lambda: tracer.zeros(-1), RuntimeError, "negative"),
    "arange by 0": (lambda: tracer.arange(0, 5, 0), RuntimeError, "step must be nonzero"),
    "arange the wrong way": (
        lambda: tracer.arange(5, 0),
        RuntimeError,
        "upper bound and lower bound inconsistent with step sign",
    ),
    "linspace": (lambda: tracer.linspace(0, 1, -1), RuntimeError, "number of steps must be non-negative"),
    "randint": (
        lambda: tracer.randint(3, 3, (2,)),
        RuntimeError,
        "random_ expects 'from' to be less than 'to', but got from=3 >= to=3",
    ),
    "default dtype": (
        lambda: tracer.set_default_dtype(tracer.int64),
        TypeError,
        "only floating-point types are supported as the default type",
    ),
    "mean of integers": (
        lambda: tensor([1, 2]).mean(),
        RuntimeError,
        "Input dtype must be either a floating point or complex dtype. Got: Long",
    ),
    "max of nothing": (
        lambda: tensor([]).max(),
        RuntimeError,
        "max(): Expected reduction dim to be specified for input.numel() == 0",
    ),
    "argmax of nothing": (
        lambda: tensor([]).argmax(),
        IndexError,
        "argmax(): Expected reduction dim to be specified for input.numel() == 0",
    ),
    "amax of nothing": (
        lambda: tracer.zeros(0, 3).amax(0),
        IndexError,
        "amax(): Expected reduction dim 0 to have non-zero size.",
    ),
    "negative power of integers": (
        lambda: tensor([1, 2]) ** -1,
        RuntimeError,
        "Integers to negative integer powers are not allowed.",
    ),
    "integers modulo 0": (lambda: tensor([1, 2]) % tensor([2, 0]), RuntimeError, "ZeroDivisionError"),
    "invert of floats": (
        lambda: ~ones(2),
        TypeError,
        "~ (operator.invert) is only implemented on integer and Boolean-type tensors",
    ),
    "and of floats": (lambda: ones(2) & ones(2), NotImplementedError, "\"bitwise_and_cpu\" not implemented for 'Float'"),
    "subtraction of bools": (
        lambda: tensor([True]) - tensor([True]),
        RuntimeError,
        "Subtraction, the `-` operator, with two bool tensors is not supported.",
    ),
    "subtraction from a bool": (
        lambda: tensor([True]) - 1,
        RuntimeError,
        "Subtraction, the `-` operator, with a bool tensor is not supported.",
    ),
    "negation of bools": (
        lambda: -tensor([True]),
        RuntimeError,
        "Negation, the `-` operator, on a bool tensor is not supported.",
    ),
    "clamp": (lambda: ones(2).clamp(), RuntimeError, "tracer.clamp: At least one of 'min' or 'max' must not be None"),
    "condition": (
        lambda: tracer.where(ones(2), 1.0, 2.0),
        RuntimeError,
        "where expected condition to be a boolean tensor, but got a tensor with dtype Float",
    ),
    "in-place broadcast": (
        lambda: ones(2).add_(ones(2, 2)),
        RuntimeError,
        "output with shape [2] doesn't match the broadcast shape [2, 2]",
    ),
    "in-place cast": (
        lambda: tensor([1, 2]).add_(1.5),
        RuntimeError,
        "result type Float can't be cast to the desired output type Long",
    ),
    "in-place on an expanded tensor": (
        lambda: ones(2).expand(3, 2).add_(1),
        RuntimeError,
        "more than one element of the written-to tensor refers to a single memory location",
    ),
    "a number too large for a dtype": (
        lambda: tracer.full((2,), 1e300, dtype=tracer.float32),
        RuntimeError,
        "value cannot be converted to type float without overflow",
    ),
    "a complex number for an integer": (
        lambda: ones(2).long().masked_fill(tensor([True, False]), 1j),
        RuntimeError,
        "value cannot be converted to type int64_t without overflow",
    ),
    "roll of a number along an axis": (lambda: tracer.roll(tensor(1.0), 1, 0), IndexError, "tensor has no dimensions"),
    "cat of a tensor": (lambda: tracer.cat(ones(2)), TypeError, "must be tuple of Tensors, not Tensor"),
    "max of a number": (lambda: tracer.max(1, ones(2)), TypeError, "must be Tensor, not int"),
    "igamma of a number": (lambda: tracer.igamma(1.0, ones(2)), TypeError, "must be Tensor, not float"),
    "xlog1py of numbers": (lambda: tracer.special.xlog1py(1, 2), TypeError, "invalid combination of arguments"),
    "an operator called with numbers": (lambda: tracer.Tensor.__radd__(1, 2), TypeError, "requires a 'Tensor'"),
    "a negative deviation": (lambda: ones(2).normal_(0, -1), RuntimeError, "normal expects std >= 0.0"),
    "out of another dtype": (
        lambda: tracer.gather(ones(2), 0, tensor([0]), out=tracer.zeros(1, dtype=tracer.float64)),
        RuntimeError,
        "Expected out tensor to have dtype Float, but got Double instead",
    ),
    "to an unknown device": (lambda: ones(2).to("nowhere"), RuntimeError, "nowhere"),
    "unknown attribute": (lambda: ones(2).nope, AttributeError, "'Tensor' object has no attribute 'nope'"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    raises_exactly(*BAD[name])


def probabilities(values):
    return F.binary_cross_entropy(tracer.tensor(values, requires_grad=True), tracer.zeros(2))


SCORES, POSITIONS = tracer.zeros(4, 1, 3).log_softmax(-1), tracer.arange(3)
VALUES_THAT_ARE_CHECKED = {
    "binary_cross_entropy above 1": (lambda: probabilities([0.5, 1.5]), RuntimeError, "between 0 and 1"),
    "binary_cross_entropy of NaN": (lambda: probabilities([0.5, float("nan")]), RuntimeError, "between 0 and 1"),
    "a first bag that starts later": (lambda: bags(1, 2), RuntimeError, r"offsets\[0\] has to be 0"),
    "a last bag behind the end": (lambda: bags(0, 5), RuntimeError, r"offsets\[-1\] can not be greater"),
    **{
        f"labels {labels}": (
            lambda labels=labels: F.multilabel_margin_loss(tracer.zeros(1, 3), tracer.tensor([labels])),
            RuntimeError,
            "argument #2 'target' is out of range",
        )
        for labels in ([0, 1, 5], [0, -2, 1], [0, -1, 5])
    },
    "a class": (lambda: F.multi_margin_loss(tracer.zeros(1, 3), tracer.tensor([3])), RuntimeError, "target out of range"),
    "bags out of order": (lambda: bags(0, 2, 1), RuntimeError, "offsets must not decrease"),
    "input lengths": (
        lambda: F.ctc_loss(SCORES, tracer.ones(1, 2).long(), (9,), (1,)),
        RuntimeError,
        "at most 4, but got value 9",
    ),
    "target lengths": (
        lambda: F.ctc_loss(SCORES, tracer.ones(1, 2).long(), (4,), (5,)),
        RuntimeError,
        "at least 5 at dimension 1",
    ),
    "targets in a row": (
        lambda: F.ctc_loss(SCORES, tracer.ones(2).long(), (4,), (3,)),
        RuntimeError,
        "at least 3 at dimension 0",
    ),
    **{
        f"{name} {position}": (lambda name=name, position=position: slices(name, position), IndexError, "out of")
        for name in ("index_add", "index_copy", "index_reduce")
        for position in (-1, 3, -4)
    },
}


def bags(*starts):
    return F.embedding_bag(POSITIONS, tracer.ones(3, 2), tracer.tensor(starts))


def slices(name, position):
    more = ("prod",) if name == "index_reduce" else ()
    return getattr(tracer.zeros(3), name)(0, tracer.tensor([0, position]), tracer.ones(2), *more)


@pytest.mark.parametrize("name", VALUES_THAT_ARE_CHECKED)
def test_values_are_checked(name):
    call, error, message = VALUES_THAT_ARE_CHECKED[name]
    with pytest.raises(error, match=message):
        call()


def test_probabilities_are_checked_in_replays():
    f = tracer.trace(lambda p: F.binary_cross_entropy(p, tracer.zeros(2)))
    for _ in range(3):
        assert f(tracer.tensor([0.0, 0.5])).item() == pytest.approx(np.log(2) / 2)
    with pytest.raises(RuntimeError, match="between 0 and 1"):
        f(tracer.tensor([0.0, 1.5]))


def test_positions_are_checked_in_replays():
    f = tracer.trace(lambda i: tracer.zeros(3).index_add(0, i, tracer.ones(2)))
    for _ in range(3):
        assert f(tracer.tensor([0, 2])).tolist() == [1, 0, 1]
    with pytest.raises(IndexError, match="-1 is out of bounds"):
        f(tracer.tensor([0, -1]))
