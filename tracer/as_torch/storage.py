"""``torch.storage``: the memory of a file, from which readers of checkpoints make tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from .absent import rest_of

__getattr__ = rest_of("storage")


class UntypedStorage:
    """Bytes: those of a file, or ``size`` zeros."""

    def __init__(self, size: Any = 0):
        self._bytes: np.ndarray = size if isinstance(size, np.ndarray) else np.zeros(size, np.uint8)

    @classmethod
    def from_file(cls, filename: Any, shared: bool = False, nbytes: int = 0) -> UntypedStorage:
        """The first bytes of a file, in memory that is the file's if ``shared``; else, changes are not written."""
        return cls(np.asarray(np.memmap(filename, np.uint8, "r+" if shared else "c", shape=(nbytes,))))

    def __getitem__(self, index: Any) -> Any:
        return UntypedStorage(self._bytes[index]) if isinstance(index, slice) else int(self._bytes[index])

    def __len__(self) -> int:
        return self._bytes.size

    nbytes = size = __len__

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self._bytes

    def untyped(self) -> UntypedStorage:
        """The storage itself."""
        return self

    def data_ptr(self) -> int:
        """The address of the first byte."""
        return int(self._bytes.__array_interface__["data"][0])


TypedStorage = UntypedStorage
