"""Samplers: the order of a data set's samples."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from ...ir.types import float64
from ...ops import as_tensor
from ...random import Generator, multinomial, randint, randperm

T = TypeVar("T", covariant=True)  # of a position, or a list of them


class Sampler(Generic[T]):
    """Base of samplers: subclasses define ``__iter__``, else NotImplementedError is raised, and ``__len__`` if it is known.
    ``data_source`` has no effect, also if not None.
    """

    def __init__(self, data_source: Any = None):
        pass

    def __iter__(self) -> Iterator[T]:
        raise NotImplementedError("Subclasses of Sampler should implement __iter__.")


class SequentialSampler(Sampler[int]):
    """The positions 0, 1, 2 ... of ``data_source``. Raises TypeError if it has no length."""

    def __init__(self, data_source: Any):
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


_AT_ONCE = 1024  # positions drawn at a time


class RandomSampler(Sampler[int]):
    """The positions of ``data_source`` in random order, or random positions with ``replacement``. ``num_samples`` None is the
    number of positions. ``generator`` None is the default one. Raises ValueError for numbers below 1, TypeError for a source
    without a length.
    """

    def __init__(
        self, data_source: Any, replacement: bool = False, num_samples: int | None = None, generator: Generator | None = None
    ):
        self.data_source, self.replacement, self.generator = data_source, replacement, generator
        self.num_samples = len(data_source) if num_samples is None else num_samples
        if self.num_samples <= 0:
            raise ValueError(f"num_samples should be a positive integer value, but got num_samples={self.num_samples}")

    def __iter__(self) -> Iterator[int]:
        n = len(self.data_source)
        left = self.num_samples
        while left > 0:  # at most one part, or one permutation, at a time
            if self.replacement:
                drawn = randint(0, n, (min(left, _AT_ONCE),), generator=self.generator)
            else:
                drawn = randperm(n, generator=self.generator)[:left]
            yield from drawn.tolist()
            left -= len(drawn)

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler[list[int]]):
    """The positions of another sampler, ``sampler``, in lists of ``batch_size``; ``drop_last`` leaves out a last list that is
    shorter. Raises ValueError unless the size is a positive int.
    """

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool):
        if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size <= 0:
            raise ValueError(f"batch_size should be a positive integer value, but got batch_size={batch_size}")
        self.sampler, self.batch_size, self.drop_last = sampler, batch_size, drop_last

    def __iter__(self) -> Iterator[list[int]]:
        positions = iter(self.sampler)
        while batch := list(itertools.islice(positions, self.batch_size)):
            if len(batch) == self.batch_size or not self.drop_last:
                yield batch

    def __len__(self) -> int:
        n = len(self.sampler)  # type: ignore[arg-type]
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)


class SubsetRandomSampler(Sampler[int]):
    """The positions ``indices`` in random order. ``generator`` None is the default one. Raises TypeError for indices without a
    length.
    """

    def __init__(self, indices: Sequence[int], generator: Generator | None = None):
        self.indices, self.generator = indices, generator

    def __iter__(self) -> Iterator[int]:
        for i in randperm(len(self.indices), generator=self.generator).tolist():
            yield self.indices[i]

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler[int]):
    """``num_samples`` of the positions 0, 1, ... drawn with the given ``weights``, which need not sum to 1; without
    ``replacement`` none is drawn twice. ``generator`` None is the default one. Raises ValueError for invalid weights or numbers
    of samples.
    """

    def __init__(
        self, weights: Sequence[float], num_samples: int, replacement: bool = True, generator: Generator | None = None
    ):
        if not isinstance(num_samples, int) or isinstance(num_samples, bool) or num_samples <= 0:
            raise ValueError(f"num_samples should be a positive integer value, but got num_samples={num_samples}")
        if not isinstance(replacement, bool):
            raise ValueError(f"replacement should be a boolean value, but got replacement={replacement}")
        self.weights = as_tensor(weights, dtype=float64)
        if self.weights.ndim != 1:
            raise ValueError(f"weights should be a 1d sequence but given weights have shape {tuple(self.weights.shape)}")
        self.num_samples, self.replacement, self.generator = num_samples, replacement, generator

    def __iter__(self) -> Iterator[int]:
        yield from multinomial(self.weights, self.num_samples, self.replacement, generator=self.generator).tolist()

    def __len__(self) -> int:
        return self.num_samples


class DistributedSampler(Sampler[int]):
    """One process's part of the positions of ``dataset``, among ``num_replicas`` processes: every ``num_replicas``-th, from
    ``rank`` on. ``shuffle``: in an order that depends on ``seed`` and the epoch; ``set_epoch`` changes it. If the number of
    positions is not divisible, the last ones are left out if ``drop_last``, else the first ones are repeated.

    Raises RuntimeError without ``num_replicas`` and ``rank`` (None is not given), ValueError for a ``rank`` out of range.
    """

    def __init__(
        self,
        dataset: Any,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ):
        if num_replicas is None or rank is None:
            raise RuntimeError("DistributedSampler needs num_replicas and rank: there is no process group to ask")
        if not 0 <= rank < num_replicas:
            raise ValueError(f"Invalid rank {rank}, rank should be in the interval [0, {num_replicas - 1}]")
        self.dataset, self.num_replicas, self.rank, self.epoch = dataset, num_replicas, rank, 0
        self.shuffle, self.seed, self.drop_last = shuffle, seed, drop_last
        n = len(dataset)
        self.num_samples = n // num_replicas if drop_last else -(-n // num_replicas)
        self.total_size = self.num_samples * num_replicas

    def __iter__(self) -> Iterator[int]:
        n = len(self.dataset)
        order: list[int] = list(range(n))
        if self.shuffle:
            order = randperm(n, generator=Generator().manual_seed(self.seed + self.epoch)).tolist()
        while order and len(order) < self.total_size:
            order += order[: self.total_size - len(order)]
        return iter(order[self.rank : self.total_size : self.num_replicas])

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch: each has another order, the same in all processes."""
        self.epoch = epoch
