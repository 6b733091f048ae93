"""Interfaces of others: NumPy, the array API, einops, Numba, and older or different names in PyTorch."""
