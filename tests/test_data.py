"""Datasets and loaders."""

import itertools

import pytest

import tracer
from tracer.utils.data import DataLoader, Dataset, TensorDataset, random_split


class Squares(Dataset):
    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        if not 0 <= i < self.n:
            raise IndexError(i)
        return tracer.tensor([float(i)]), i * i


def test_tensor_dataset():
    x, y = tracer.arange(6).reshape(3, 2), tracer.tensor([5, 6, 7])
    data = TensorDataset(x, y)
    assert len(data) == 3
    assert [t.tolist() for t in data[1]] == [[2, 3], 6]
    with pytest.raises(AssertionError, match="Size mismatch"):
        TensorDataset(x, y[:2])


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_in_order(workers):
    batches = list(DataLoader(Squares(7), batch_size=3, num_workers=workers))
    assert [b[0].reshape(-1).tolist() for b in batches] == [[0, 1, 2], [3, 4, 5], [6]]
    assert [b[1].tolist() for b in batches] == [[0, 1, 4], [9, 16, 25], [36]]
    assert batches[0][1].dtype is tracer.int64
    assert len(DataLoader(Squares(7), batch_size=3)) == 3
    assert len(DataLoader(Squares(7), batch_size=3, drop_last=True)) == 2
    assert len(list(DataLoader(Squares(7), batch_size=3, drop_last=True, num_workers=workers))) == 2


def test_shuffled_by_a_generator():
    def order(seed):
        loader = DataLoader(Squares(20), batch_size=4, shuffle=True, generator=tracer.Generator().manual_seed(seed))
        return [i for b in loader for i in b[0].reshape(-1).tolist()]

    assert order(1) == order(1) != order(2)
    assert sorted(order(1)) == list(range(20)) != order(1)


def test_collate():
    class Records(Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, i):
            return {"x": tracer.ones(2) * i, "name": f"n{i}", "pair": (i, float(i))}

    (batch,) = DataLoader(Records(), batch_size=4)
    assert batch["x"].shape == (4, 2)
    assert batch["name"] == ["n0", "n1", "n2", "n3"]
    assert batch["pair"][0].tolist() == [0, 1, 2, 3]
    assert batch["pair"][1].dtype is tracer.float64
    (batch,) = DataLoader(Records(), batch_size=4, collate_fn=len)
    assert batch == 4


class Fails(Squares):
    def __getitem__(self, i):
        if i == 5:
            raise ValueError("number five")
        return super().__getitem__(i)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_in_a_dataset_reaches_the_loop(workers):
    with pytest.raises(ValueError, match="number five"):
        list(DataLoader(Fails(8), batch_size=2, num_workers=workers))


def test_bad_arguments():
    with pytest.raises(ValueError, match="batch_size"):
        DataLoader(Squares(3), batch_size=0)
    with pytest.raises(ValueError, match="num_workers"):
        DataLoader(Squares(3), num_workers=-1)


def test_random_split():
    a, b = random_split(Squares(10), [7, 3], generator=tracer.Generator().manual_seed(0))
    assert (len(a), len(b)) == (7, 3)
    assert sorted(int(x) for part in (a, b) for x, _ in part) == list(range(10))
    with pytest.raises(ValueError, match=r"[Ss]um of input lengths"):
        random_split(Squares(10), [7, 4])


def test_a_training_loop():
    tracer.manual_seed(0)
    x = tracer.randn(64, 3)
    y = x @ tracer.tensor([[1.0], [-2.0], [0.5]])
    model = tracer.nn.Linear(3, 1)
    optimizer = tracer.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(30):
        for inputs, targets in DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True):
            optimizer.zero_grad()
            loss = tracer.nn.functional.mse_loss(model(inputs), targets)
            loss.backward()
            optimizer.step()
    assert loss.item() < 1e-3


def test_samplers():
    from tracer.utils.data import (
        ChainDataset,
        DistributedSampler,
        IterableDataset,
        Sampler,
        StackDataset,
        SubsetRandomSampler,
        WeightedRandomSampler,
    )

    tracer.manual_seed(0)
    assert list(WeightedRandomSampler([0.0, 1.0], 3)) == [1, 1, 1]
    assert sorted(WeightedRandomSampler([1.0, 1.0, 0.0], 2, replacement=False)) == [0, 1]
    drawn = list(WeightedRandomSampler([1.0, 3.0], 4000))
    assert 0.7 < sum(drawn) / 4000 < 0.8
    assert sorted(SubsetRandomSampler([4, 2])) == [2, 4]
    parts = [list(DistributedSampler(range(7), 3, r, shuffle=False)) for r in range(3)]
    assert parts == [[0, 3, 6], [1, 4, 0], [2, 5, 1]]
    assert [len(list(DistributedSampler(range(7), 3, r, drop_last=True))) for r in range(3)] == [2, 2, 2]
    assert Sampler[int] in SubsetRandomSampler.__orig_bases__
    for bad in [lambda: WeightedRandomSampler([1.0], 0), lambda: WeightedRandomSampler([[1.0]], 2)]:
        with pytest.raises(ValueError, match=r"num_samples|weights"):
            bad()

    class Numbers(IterableDataset):
        def __iter__(self):
            return iter([1, 2])

    assert list(Numbers() + Numbers()) == list(ChainDataset([Numbers(), Numbers()])) == [1, 2, 1, 2]
    assert StackDataset([1, 2], [3, 4])[1] == (2, 4)
    assert StackDataset(a=[1, 2], b=[3, 4])[0] == {"a": 1, "b": 3}
    with pytest.raises(ValueError, match="Size mismatch"):
        StackDataset([1], [1, 2])


def test_workers_know_their_number():
    from tracer.utils.data import get_worker_info

    class Who(Dataset):
        def __len__(self):
            return 8

        def __getitem__(self, i):
            info = get_worker_info()
            return info.num_workers * 10 + info.id

    started = []
    found = {int(v) for b in DataLoader(Who(), batch_size=1, num_workers=2, worker_init_fn=started.append) for v in b}
    assert found <= {20, 21} and get_worker_info() is None


def test_arrays_become_tensors_without_batches():
    import numpy as np

    ((x, (y, z)),) = DataLoader([(np.ones(2), ["a", np.float64(3.0)])], batch_size=None)
    assert isinstance(x, tracer.Tensor) and y == "a" and z.item() == 3.0


@pytest.mark.parametrize("replacement", [True, False])
def test_a_random_sampler_of_many_samples_draws_as_it_goes(replacement):
    from tracer.utils.data import RandomSampler

    sampler = RandomSampler(range(7), replacement=replacement, num_samples=10**10)
    assert len(sampler) == 10**10
    first = list(itertools.islice(iter(sampler), 3000))
    assert set(first) == set(range(7))
    if not replacement:
        assert all(sorted(first[k : k + 7]) == list(range(7)) for k in range(0, 2100, 7))


@pytest.mark.parametrize("n", [1, 6, 7, 8, 1024, 1025, 3000])
@pytest.mark.parametrize("replacement", [True, False])
def test_a_random_sampler_draws_the_number_asked_for(n, replacement):
    from tracer.utils.data import RandomSampler

    drawn = list(RandomSampler(range(7), replacement=replacement, num_samples=n))
    assert len(drawn) == n
    assert set(drawn) <= set(range(7))
