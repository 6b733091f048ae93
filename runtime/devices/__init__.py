"""Devices that have their own memory: the arrays in it, and how primitives and programs run there."""

from .array import USED, DeviceArray, Memory, to_host
from .device import Device, device_named, is_available

__all__ = ["USED", "Device", "DeviceArray", "Memory", "device_named", "is_available", "to_host"]
