"""Page-locked memory of the host, from and to which a device copies while the host goes on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .device import Device


class Pinned:
    """An allocation of page-locked memory. It is used again only after the copies that were started have finished."""

    def __init__(self, device: Device, nbytes: int):
        self.device, self.nbytes = device, nbytes
        self.address = device.allocate_host(nbytes)
        self._copies: list[Any] = []  # events after them

    @property
    def __array_interface__(self) -> dict[str, Any]:
        return {"shape": (self.nbytes,), "typestr": "|u1", "data": (self.address, False), "version": 3}

    def copying(self, device: Device) -> None:
        """Notes that a copy was started."""
        self._copies = [*(e for e in self._copies if not device.happened(e)), device.event()]

    def __del__(self) -> None:
        if hasattr(self, "address"):
            self.device.host_pool.free(self.address, self.nbytes, events=self._copies)


def pinned(device: Device, shape: Sequence[int], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """A new contiguous array in page-locked memory."""
    nbytes = math.prod(shape) * dtype.itemsize
    return np.asarray(Pinned(device, max(nbytes, 1)))[:nbytes].view(dtype).reshape(shape)


def owner_of(array: np.ndarray[Any, Any]) -> Pinned | None:
    """The page-locked allocation that an array's elements are in, if any."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    return base if isinstance(base, Pinned) else None
