"""From kernels to running programs."""
