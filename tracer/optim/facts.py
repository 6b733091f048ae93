"""What the docstrings of optimizers and schedulers have in common (see ``ops.class_facts``)."""

from __future__ import annotations

# The arguments of constructors that mean the same in all classes that do not say otherwise.
ARGUMENTS = """
params: tensors, (name, tensor) pairs, or dicts of a group's parameters, "params", and its settings.
lr: the learning rate: a number, or a tensor with one element; at least 0.
momentum: the weight of the past steps.
betas: the weights of the past in the running means of g and g^2, from 0 to 1.
eps: a small number that is added to the denominator.
weight_decay: the factor of the parameters that are added to their gradients (L2 regularization).
maximize: increases the objective, and does not decrease it.
foreach: no effect, also if not None: it selects among PyTorch's implementations.
optimizer: the optimizer whose groups' rates it sets.
last_epoch: the epoch to resume after; -1 begins, with the groups' rates as the initial ones.
"""

# Sentences about dtypes and errors.
SHARED = """
Parameters are leaves, of floating or complex dtypes and any shape; their states have the same. Complex numbers are updated as
pairs of real ones, 16-bit numbers are computed in float32.
    SGD ASGD Rprop Adagrad Adadelta RMSprop Adam AdamW NAdam RAdam Adamax LBFGS Optimizer
Parameters are leaves, of floating dtypes and any shape; their states have the same dtype. 16-bit numbers are computed in
float32.
    Adafactor Muon SparseAdam
PyTorch's options ``foreach``, ``fused``, ``capturable`` and ``differentiable``, as far as its class has them, have no effect.
    SGD ASGD Rprop Adagrad Adadelta RMSprop Adam AdamW NAdam RAdam Adamax
Raises ValueError for settings out of range, without parameters, and for tensors that are no leaves or occur twice; TypeError
for anything but tensors, and for unknown settings.
    SGD ASGD Rprop Adagrad Adadelta RMSprop Adam AdamW NAdam RAdam Adamax LBFGS Optimizer Adafactor Muon SparseAdam
Raises TypeError for anything but an optimizer, KeyError to resume without the groups' ``initial_lr``.
    LRScheduler LambdaLR MultiplicativeLR StepLR MultiStepLR ConstantLR LinearLR ExponentialLR PolynomialLR CosineAnnealingLR
    CosineAnnealingWarmRestarts CyclicLR OneCycleLR
Raises ValueError for a list of another length than the groups.
    LambdaLR MultiplicativeLR CyclicLR OneCycleLR ReduceLROnPlateau
"""
