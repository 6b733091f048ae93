"""Devices: only the CPU is supported."""

from __future__ import annotations

import threading
from typing import Any


class device:
    """A kind of device, ``type``, and a number, ``index``: ``device("cpu")``, ``device("cuda", 1)``, ``device("cuda:1")``. None
    is no number.

    As a context it has no effect on the CPU. For ``device("meta")``, whose tensors have no elements in PyTorch, ordinary
    tensors are made, in its context and by functions that get it; entering another one raises RuntimeError. In the context
    tensors say that this is their device, so that programs which then put off filling them do so.

    Raises TypeError for anything but a str or a device, RuntimeError for unknown kinds and for two numbers.
    """

    __slots__ = ("index", "type")

    def __init__(self, type: Any, index: int | None = None):
        if isinstance(type, device):
            type, index = type.type, type.index
        if not isinstance(type, str):
            raise TypeError(f"device(): argument 'type' (position 1) must be str, not {type.__class__.__name__}")
        name, _, number = str(type).partition(":")
        if name not in ("cpu", "cuda", "meta", "mps", "xpu") or (number and not number.isdigit()):
            raise RuntimeError(f"Invalid device string: '{type}'")
        if number and index is not None:
            raise RuntimeError(f"type (string) must not include an index because index was passed explicitly: {type}")
        self.type: str = name
        self.index: int | None = int(number) if number else index

    def __eq__(self, other: object) -> bool:
        return isinstance(other, device) and (self.type, self.index) == (other.type, other.index)

    def __hash__(self) -> int:
        return hash((self.type, self.index))

    def __reduce__(self) -> tuple[Any, ...]:
        return device, (self.type, self.index)

    def __enter__(self) -> device:
        require_memory(self)
        _entered.devices.append(self)
        return self

    def __exit__(self, *error: object) -> None:
        _entered.devices.pop()

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __repr__(self) -> str:
        return f"device(type='{self.type}'{'' if self.index is None else f', index={self.index}'})"


class _Entered(threading.local):
    """The devices whose contexts a thread is in."""

    def __init__(self) -> None:
        self.devices: list[device] = []


_entered = _Entered()
CPU = device("cpu")


def current() -> device:
    """The device that tensors say they are on: the CPU, or "meta" in its context."""
    return _entered.devices[-1] if _entered.devices else CPU


def require_cpu(where: Any) -> None:
    """Raises RuntimeError for a device that tensors cannot be on."""
    if where is None or where is CPU:
        return
    found = device(where)
    if found.type != "cpu" and found != current():
        raise RuntimeError(f"no device '{found}': tensors live on 'cpu'")


def require_memory(where: Any) -> None:
    """The same for a device that new tensors are made for: "meta" too, for which they are ordinary ones."""
    if where is not None and where is not CPU and device(where).type != "meta":
        require_cpu(where)
