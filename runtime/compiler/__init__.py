"""Kernel source to machine code: instructions, Numba targets, CPUs and GPUs, object code and its cache."""
