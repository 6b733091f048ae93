"""Devices that have their own memory: the arrays in it, and how primitives and programs run there."""

from .array import USED, DeviceArray, Memory, address, borrowed, bounds, contiguous, to_host
from .device import Applying, Device, device_named, is_registered

__all__ = [
    "USED",
    "Applying",
    "Device",
    "DeviceArray",
    "Memory",
    "address",
    "borrowed",
    "bounds",
    "contiguous",
    "device_named",
    "is_registered",
    "to_host",
]
