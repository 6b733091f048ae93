"""Devices: the names of places where tensors live, and moving tensors between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..runtime.devices import USED, Device, device_named, device_of, is_registered, to_host
from ..runtime.devices.array import to_device
from .context import context, unrecorded

if TYPE_CHECKING:
    from .tensor import Tensor


Device.compiling = staticmethod(unrecorded)
_NAMES = ("cpu", "cuda", "meta", "mps", "xpu")


class device:
    """A kind of device, ``type``, and a number, ``index``: ``device("cpu")``, ``device("cuda", 1)``, ``device("cuda:1")``. None
    is no number.

    As a context it is where new tensors are made. For ``device("meta")``, whose tensors have no elements in PyTorch, ordinary
    tensors are made, in its context and by functions that get it. In the context tensors say that this is their device, so
    that programs which then put off filling them do so. Entering a device that does not exist raises RuntimeError.

    Raises TypeError for anything but a str or a device, RuntimeError for unknown kinds and for two numbers.
    """

    __slots__ = ("index", "type")

    def __init__(self, type: Any, index: int | None = None):
        if isinstance(type, device):
            type, index = type.type, type.index
        if not isinstance(type, str):
            raise TypeError(f"device(): argument 'type' (position 1) must be str, not {type.__class__.__name__}")
        name, _, number = str(type).partition(":")
        if not (name in _NAMES or is_registered(name)) or (number and not number.isdigit()):
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
        memory_for_new(self)
        CHOSEN.append(self)
        context.devices = (*context.devices, self)
        return self

    def __exit__(self, *error: object) -> None:
        *outer, left = context.devices
        context.devices = tuple(outer)
        CHOSEN.remove(left)

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __repr__(self) -> str:
        return f"device(type='{self.type}'{'' if self.index is None else f', index={self.index}'})"


CHOSEN: list[device] = []  # entered or set as the default by any thread: until then new tensors are on the CPU
CPU = device("cpu")


def current() -> device:
    """The device that tensors on the CPU say they are on: the CPU, or "meta" in its context."""
    chosen = get_default_device()
    return chosen if chosen.type == "meta" else CPU


def get_default_device() -> device:
    """The device on which new tensors are made."""
    return context.devices[-1] if context.devices else CPU


def set_default_device(where: Any) -> None:
    """Sets the device on which this thread makes new tensors; None is the CPU. Raises RuntimeError if it does not exist."""
    memory_for_new(where)
    if context.has_default_device:
        before, *entered = context.devices
        context.devices = tuple(entered)
        CHOSEN.remove(before)
    chosen = CPU if where is None else device(where)
    context.has_default_device = chosen.type != "cpu"
    if context.has_default_device:
        CHOSEN.append(chosen)
        context.devices = (chosen, *context.devices)


def device_named_for(data: Any) -> device:
    """The device of an array, as users name it."""
    found = device_of(data)
    return current() if found is None else device(found.type, found.index)


def memory_of(where: Any) -> Device | None:
    """The device with its own memory that a name stands for; None for the CPU, and for "meta" where that is the current device.

    Raises RuntimeError for a device that does not exist.
    """
    if where is None or where is CPU:
        return None
    found = device("cuda", where) if where.__class__ is int else device(where)
    if found.type == "cpu" or found == current():
        return None
    return device_named(found.type, found.index)


def memory_for_new(where: Any) -> Device | None:
    """The same for new tensors, on the default device if that is None: for "meta" they are ordinary ones."""
    if where is CPU:
        return None
    if where is None:
        if not context.devices:
            return None
        where = context.devices[-1]
    return None if where.__class__ is not int and device(where).type == "meta" else memory_of(where)


def beside(t: Tensor) -> device | None:
    """The ``device`` argument for a constant that is used with a tensor."""
    return t.device if USED else None


def placed(t: Tensor, like: Tensor) -> Tensor:
    """A tensor that was just made, on the device of another one."""
    target = device_of(like._data) if USED else None
    if target is not None:
        t._data = array_on(t._data, target)
    return t


def near(t: Tensor, other: Tensor) -> Tensor:
    """A tensor that was made on the CPU, on the device of another one."""
    return moved(t, other.device) if USED else t


def moved(t: Tensor, where: Any, copy: bool = False, wait: bool = True) -> Tensor:
    """The tensor on another device, differentiable; the tensor itself if it is there already, unless ``copy``. With
    ``wait=False`` a copy from or to page-locked memory is only started.
    """
    target = memory_of(where)
    there = device_of(t._data) is target
    if there and (target is None or not copy):
        return t
    from ..autograd.moving import Move

    return Move.apply(t, target, wait)  # type: ignore[no-any-return]


_ANYWHERE = frozenset(
    {"to", "type_as", "copy_", "set_", "as_tensor", "asarray", "tensor", "index", "index_put", "index_put_", "ctc_loss"}
)


def require_one_device(name: str, arguments: tuple[Any, ...]) -> None:
    """Raises RuntimeError if a function's tensors are on several devices. Those without axes may be on the CPU."""
    if name in _ANYWHERE:
        return
    from .tensor import Tensor

    places: dict[str, None] = {}
    work = list(arguments)
    while work:
        x = work.pop()
        if x.__class__ in (list, tuple):
            work += x
        elif isinstance(x, Tensor) and ((data := x._data).ndim or device_of(data) is not None):
            places[str(data.device)] = None
    if len(places) > 1:
        raise RuntimeError(
            "Expected all tensors to be on the same device, but found at least two devices, "
            f"{' and '.join(sorted(places, reverse=True))}! (in {name})"
        )


def on_cpu(data: Any) -> Any:
    """The elements of an array in the host's memory; a copy if it is on a device."""
    return to_host(data)


def array_on(data: Any, target: Device | None, wait: bool = True) -> Any:
    """A copy of an array on a device, or on the CPU; without ``wait`` it is only started."""
    if (device := device_of(data)) is not None:
        if device is target:
            return data.copy()
        if target is None:
            return to_host(data, wait)
        data = to_host(data)
    return data if target is None else to_device(data, target, wait)


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
