"""An emulator of PTX on NumPy, for tests: it runs what compilers for NVIDIA's GPUs write, with no GPU, and watches it.

    results = launch(Kernel(text), arguments, blocks, threads)

It looks for what NVIDIA's compute-sanitizer looks for. Memory: every access is inside an array and aligned, and what is
read of shared and local memory was stored before. Barriers: all threads of a block come to the same one, all lanes that a
shuffle names to the same shuffle. Races: no thread touches what another thread writes unless a barrier stands between
them. It also finds threads that store different values in one place, and loops that do not end. All these raise ``Fault``.

Instructions that have no exactly defined value (``.approx``), or that are unknown, raise NotImplementedError.
"""

from .grid import Fault
from .kernel import Kernel
from .mutate import without
from .run import Array, launch
