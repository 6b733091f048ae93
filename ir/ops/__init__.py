"""The records of all operations. Importing this package fills the registry."""

from .contract import matmul as matmul
from .elementwise import *  # noqa: F403
from .fusion import fusion as fusion
from .index import *  # noqa: F403
from .movement import *  # noqa: F403
from .reduce import *  # noqa: F403
from .source import *  # noqa: F403
