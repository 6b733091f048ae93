"""Devices that have their own memory: the arrays in it, and how primitives and programs run there."""

from .array import (
    USED,
    Borrowed,
    DeviceArray,
    Memory,
    Part,
    address,
    borrowed,
    bounds,
    contiguous,
    copy_later,
    filled,
    may_copy_later,
    to_host,
)
from .device import WITH_STREAMS, Applying, Device, DeviceError, device_named, devices_of, is_registered
from .pinned import Pinned

__all__ = [
    "USED",
    "WITH_STREAMS",
    "Applying",
    "Borrowed",
    "Device",
    "DeviceArray",
    "DeviceError",
    "Memory",
    "Part",
    "Pinned",
    "address",
    "borrowed",
    "bounds",
    "contiguous",
    "copy_later",
    "device_named",
    "devices_of",
    "filled",
    "is_registered",
    "may_copy_later",
    "to_host",
]
