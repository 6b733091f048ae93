"""Loaders of batches."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, NamedTuple

import numpy as np

from ...core.tensor import Tensor
from ...ops import as_tensor, stack, tensor
from ...random import Generator, manual_seed, randint
from .dataset import Dataset, IterableDataset, T
from .sampler import BatchSampler, RandomSampler, SequentialSampler


def default_collate(batch: Sequence[Any]) -> Any:
    """Collates samples to a batch: tensors are stacked, numbers become a tensor, structures are collated item by item."""
    first = batch[0]
    if isinstance(first, Tensor):
        return stack(list(batch))
    if isinstance(first, np.ndarray):
        return stack([tensor(x) for x in batch])
    if isinstance(first, np.generic):
        return tensor(np.array(batch))
    if isinstance(first, float):
        from ...ir.types import float64

        return tensor(list(batch), dtype=float64)
    if isinstance(first, int):
        return tensor(list(batch))
    if isinstance(first, (str, bytes)):
        return list(batch)
    if isinstance(first, Mapping):
        return {key: default_collate([d[key] for d in batch]) for key in first}
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return type(first)(*(default_collate(items) for items in zip(*batch, strict=True)))
    if isinstance(first, Sequence):
        if any(len(x) != len(first) for x in batch):
            raise RuntimeError("each element in list of batch should be of equal size")
        return [default_collate(items) for items in zip(*batch, strict=True)]
    raise TypeError(f"default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {type(first)}")


def default_convert(data: Any) -> Any:
    """A sample with its NumPy arrays and scalars converted to tensors, also inside dicts and sequences."""
    if isinstance(data, Tensor):
        return data
    if isinstance(data, (np.ndarray, np.generic)):
        return data if data.dtype.kind in "SUO" else as_tensor(np.asarray(data))
    if isinstance(data, Mapping):
        return {key: default_convert(value) for key, value in data.items()}
    if isinstance(data, tuple):
        parts = [default_convert(x) for x in data]
        return type(data)(*parts) if hasattr(data, "_fields") else parts
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return [default_convert(x) for x in data]
    return data


def _pinned(data: Any) -> Any:
    """A batch with its tensors in page-locked memory, also inside dicts and sequences, and what has a method ``pin_memory``."""
    if hasattr(data, "pin_memory"):
        return data.pin_memory()
    if isinstance(data, Mapping):
        return {key: _pinned(value) for key, value in data.items()}
    if isinstance(data, tuple):
        parts = [_pinned(x) for x in data]
        return type(data)(*parts) if hasattr(data, "_fields") else tuple(parts)
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return [_pinned(x) for x in data]
    return data


class WorkerInfo(NamedTuple):
    """A worker process: its number, the number of workers, its random seed, and the data set."""

    id: int
    num_workers: int
    seed: int
    dataset: Any


_worker: WorkerInfo | None = None
_fetch: Callable[[Sequence[Any]], Any] | None = None


def get_worker_info() -> WorkerInfo | None:
    """In a worker process, its description; None elsewhere."""
    return _worker


def _start_worker(started: Any, count: int, seed: int, fetch: _Fetch, worker_init_fn: Callable[[int], None] | None) -> None:
    """The start of a worker process: stores the batch function, which is inherited by fork and never pickled."""
    global _worker, _fetch
    _fetch = fetch
    with started.get_lock():
        number = started.value
        started.value += 1
    _worker = WorkerInfo(number, count, seed + number, fetch.dataset)
    manual_seed(seed + number)
    if worker_init_fn is not None:
        worker_init_fn(number)


class _Fetch:
    """Creates a batch of the samples at the given positions."""

    def __init__(self, dataset: Any, collate: Callable[[Sequence[Any]], Any]):
        self.dataset, self.collate = dataset, collate

    def __call__(self, positions: Sequence[int]) -> Any:
        return self.collate([self.dataset[i] for i in positions])


def _fetch_in_worker(positions: Sequence[Any]) -> Any:
    assert _fetch is not None
    return _fetch(positions)


class DataLoader(Generic[T]):
    """Batches of ``dataset``, in order or shuffled, collated in this process or by workers.

    ``batch_size`` None: samples one by one. ``shuffle`` True: in random order, by ``generator``; None is the default one.
    ``sampler`` gives the positions, ``batch_sampler`` lists of them; None is in order, in lists of ``batch_size``.
    ``drop_last`` leaves out a last batch that is smaller. ``collate_fn`` makes a batch of a list of samples; None is
    ``default_collate``, which stacks tensors of any dtype along a new first axis. ``num_workers``: the number of processes that
    load samples; 0 is this process. ``worker_init_fn`` is called in each with its number, unless None. ``pin_memory``: the
    tensors of a batch are copied to page-locked memory (``Tensor.pin_memory``). ``prefetch_factor``: how many batches each
    worker prepares; None is two. ``timeout``, ``multiprocessing_context``, ``persistent_workers``, ``pin_memory_device`` and
    ``in_order`` have no effect: processes are forked for each pass, and batches come in order.

    Raises ValueError for options that exclude each other, a batch size below 1, and a negative number of workers.
    """

    def __init__(
        self,
        dataset: Dataset[T] | Sequence[T],
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[int] | None = None,
        batch_sampler: Iterable[list[int]] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[Sequence[Any]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ):
        if num_workers < 0:
            raise ValueError("num_workers option should be non-negative; use num_workers=0 to disable multiprocessing.")
        if num_workers == 0 and prefetch_factor is not None:
            raise ValueError(
                "prefetch_factor option could only be specified in multiprocessing.let num_workers > 0 to enable "
                "multiprocessing, otherwise set prefetch_factor to None."
            )
        if prefetch_factor is not None and prefetch_factor < 0:
            raise ValueError("prefetch_factor option should be non-negative")
        if persistent_workers and num_workers == 0:
            raise ValueError("persistent_workers option needs num_workers > 0")
        if sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None and (batch_size != 1 or shuffle or sampler is not None or drop_last):
            raise ValueError("batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last")
        self.dataset, self.num_workers, self.drop_last = dataset, num_workers, drop_last
        self.worker_init_fn, self.generator, self.pin_memory = worker_init_fn, generator, pin_memory
        self.timeout, self.persistent_workers, self.multiprocessing_context = (
            timeout,
            persistent_workers,
            multiprocessing_context,
        )
        self.prefetch_factor = 2 if num_workers and prefetch_factor is None else prefetch_factor
        self.pin_memory_device, self.in_order = pin_memory_device, in_order
        self.collate_fn = collate_fn or (default_collate if batch_size is not None else default_convert)
        self.batch_size = None if batch_sampler is not None else batch_size
        if isinstance(dataset, IterableDataset):
            if shuffle or sampler is not None or batch_sampler is not None:
                raise ValueError(
                    "DataLoader with IterableDataset: expected unspecified shuffle, sampler and batch_sampler options"
                )
            self.sampler, self.batch_sampler = None, None
            return
        self.sampler = sampler or (RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset))
        self.batch_sampler = batch_sampler
        if batch_sampler is None and batch_size is not None:
            self.batch_sampler = BatchSampler(self.sampler, batch_size, drop_last)

    def __len__(self) -> int:
        if isinstance(self.dataset, IterableDataset):
            n = len(self.dataset)  # type: ignore[arg-type]
            return n if self.batch_size is None else -(-n // self.batch_size)
        return len(self.batch_sampler if self.batch_sampler is not None else self.sampler)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Any]:
        batches = self.__batches()
        return map(_pinned, batches) if self.pin_memory else batches

    def __batches(self) -> Iterator[Any]:
        if isinstance(self.dataset, IterableDataset):
            return self.__stream()
        fetch = _Fetch(self.dataset, self.collate_fn)
        positions: Iterable[Any] = self.batch_sampler if self.batch_sampler is not None else self.sampler  # type: ignore[assignment]
        if self.batch_sampler is None:
            dataset, collate = self.dataset, self.collate_fn
            return (collate(dataset[i]) for i in positions)
        if self.num_workers == 0:
            return map(fetch, positions)
        return self.__parallel(fetch, positions)

    def __stream(self) -> Iterator[Any]:
        samples = iter(self.dataset)
        if self.batch_size is None:
            yield from map(self.collate_fn, samples)
            return
        while batch := list(itertools.islice(samples, self.batch_size)):
            if len(batch) == self.batch_size or not self.drop_last:
                yield self.collate_fn(batch)

    def __parallel(self, fetch: _Fetch, positions: Iterable[Any]) -> Iterator[Any]:
        """Batches in order, from worker processes."""
        import multiprocessing  # takes a fortieth of what importing this package does

        processes = multiprocessing.get_context("fork")
        seed = int(randint(0, 2**62, (), generator=self.generator).item())
        start = (processes.Value("i", 0), self.num_workers, seed, fetch, self.worker_init_fn)
        with processes.Pool(self.num_workers, _start_worker, start) as pool:
            waiting: list[Any] = []
            for batch in positions:
                waiting.append(pool.apply_async(_fetch_in_worker, (batch,)))
                if len(waiting) >= max(self.prefetch_factor or 0, 1) * self.num_workers:
                    yield waiting.pop(0).get()
            for result in waiting:
                yield result.get()
