"""Conformance with PyTorch, measured on PyTorch's own samples."""
