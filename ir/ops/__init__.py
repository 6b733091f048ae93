"""The records of all operations. Importing this package fills the registry."""

from .attention import *
from .compact import *
from .complex import *
from .contract import addmm as addmm
from .contract import contract as contract
from .contract import matmul as matmul
from .decompose import *
from .eigen import *
from .elementwise import *
from .exponential import *
from .floating import *
from .fusion import fusion as fusion
from .grouped import grouped_rows as grouped_rows
from .grouped import grouped_sums as grouped_sums
from .index import *
from .movement import *
from .polynomials import *
from .quantile import *
from .reduce import *
from .scan import *
from .select import *
from .source import *
from .special import *
from .triangular import *
from .views import *
