"""A PTX emulator on NumPy: runs compiled GPU kernels without a GPU and checks what they do.

    results = launch(Kernel(text), arguments, blocks, threads)

The checks are those of NVIDIA's compute-sanitizer, and each violation raises ``Fault``:

- memory: every access is in bounds and aligned; shared and local memory and registers are written before they are read;
- synchronisation: all threads of a block reach the same barrier, and all lanes in the mask of a shuffle reach that shuffle;
- races: no thread accesses memory that another thread writes, in shared or in global memory, without a barrier between;
- streams (``Order``): no work accesses memory that other work writes, unless an event or a synchronisation orders the two;
- stores of different values by several threads to one address, read-only loads of written memory, and endless loops.

Unknown instructions, and those without an exactly defined result (``.approx``), raise NotImplementedError.
"""

from .grid import Fault
from .kernel import Kernel
from .mutate import without
from .order import HOST, Clock, Order, Unordered, Work, joined
from .run import Array, launch, outcomes
