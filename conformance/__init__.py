"""How far tracer agrees with PyTorch, measured by PyTorch's own samples."""
