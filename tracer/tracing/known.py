"""Knowledge about functions that are not the user's: which depend only on their arguments, and which on external state.

Python code is *quiet* if it depends on nothing that guards do not see: that of this package, of NumPy and SciPy, and of the
listed standard library modules. All other code is described like the user's. A function written in C is allowed if its
module, or the type that it is a method of, is listed; others are refused when they are called, because they include clocks,
files and process state.
"""

from __future__ import annotations

import functools
import random
import re
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np

_STRICT = re.compile(
    r"(_?heapq|_?pickle|array|copyreg|csv|datetime|decimal|fractions|json|marshal|sqlite3|statistics|struct"
    r"|time\.(sleep|ctime|gmtime|localtime|strftime)|builtins\.(type|memoryview|bytearray)|_?operator\.i?concat"
    r"|(builtins\.(list|dict|set)|collections\.deque)\.(?!fromkeys|__name__|__new__|__init__)\w+)(\.|$)"
)
PACKAGE = __name__.split(".")[0]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Python code that depends only on its arguments. Loggers are described by their levels (``walk``), replays log (``world``), and
# random draws are detected by the generators' states.
_QUIET = _words("""
    _collections_abc _py_abc _weakrefset abc ast base64 bisect calendar cmath codecs collections colorsys contextlib
    copy copyreg dataclasses decimal difflib dis encodings enum fnmatch fractions functools heapq importlib inspect io
    itertools json keyword linecache logging math numbers opcode operator pprint random re reprlib sre_compile
    sre_constants sre_parse statistics string stringprep struct textwrap token tokenize traceback types typing
    typing_extensions unicodedata warnings weakref zipimport
    """)

# C modules whose functions depend only on their arguments.
_PURE = _words("""
    _abc _ast _stat _bisect _codecs _collections _csv _datetime _decimal _elementtree _functools _hashlib _heapq _json _md5
    _opcode _operator _pickle _sha1 _sha2 _sha256 _sha3 _sha512 _sre _statistics _string _struct _suggestions _tokenize
    _typing _warnings _weakref array atexit binascii builtins cmath collections copyreg datetime decimal functools
    itertools math operator re struct types typing unicodedata weakref zlib
    """)
_IMPURE = _words("""
    builtins.__import__ builtins.breakpoint builtins.compile builtins.eval builtins.exec builtins.globals builtins.input
    builtins.open datetime.now datetime.today datetime.utcnow date.today decimal.getcontext decimal.setcontext
    decimal.localcontext
    """)
# From modules that are not pure as a whole.
_HARMLESS = _words("""
    _imp.acquire_lock _imp.release_lock _io.text_encoding _thread.RLock _thread.allocate_lock _tracer time.sleep
    posix.fspath sys.exc_info sys.getdefaultencoding sys.getsizeof sys.intern sys.is_finalizing
    sys.exception sys.setprofile sys.getprofile sys._getframemodulename gc.disable gc.enable gc.isenabled
    """)
# Types from modules that are not pure, with all their methods.
_HARMLESS_TYPES = frozenset(
    ["_thread.lock", "_thread.RLock", "_io.StringIO", "_io.BytesIO", "_contextvars.ContextVar", "_contextvars.Token"]
)
# Functions of quiet libraries that depend on files, clocks, and settings.
_REFUSED = _words("""
    numpy.load numpy.fromfile numpy.genfromtxt numpy.loadtxt numpy.memmap numpy.fromregex numpy.geterr numpy.seterr
    numpy.geterrcall numpy.get_printoptions numpy.set_printoptions numpy.setbufsize numpy.getbufsize numpy.seterrcall
    numpy.save numpy.savez numpy.savez_compressed numpy.savetxt numpy.DataSource numpy.show_config numpy.show_runtime
    inspect.currentframe inspect.stack inspect.trace inspect.getsource inspect.getsourcelines inspect.getsourcefile
    linecache.getline linecache.getlines importlib.reload importlib.import_module traceback.format_stack
    traceback.extract_stack logging.Logger.setLevel logging.Logger.addHandler logging.Logger.removeHandler
    logging.Logger.addFilter logging.Logger.removeFilter logging.Handler.setLevel logging.Handler.setFormatter
    logging.basicConfig logging.disable logging.captureWarnings logging.addLevelName random.Random.__init__
    random.SystemRandom.random random.SystemRandom.getrandbits random.SystemRandom.randbytes
    """)
_LIBRARIES = frozenset([PACKAGE, "numpy", "scipy"])
PROGRESS = "tqdm"  # draws progress bars, which depend on clocks and nothing on them
_TRUSTED = (_LIBRARIES | {PROGRESS} | sys.stdlib_module_names) - {"__main__", "test", "this", "antigravity"}


@functools.cache
def generators() -> tuple[type, ...]:
    """The classes of random generators. Importing NumPy's takes a tenth of the time of importing this package."""
    return random.Random, np.random.Generator, np.random.RandomState, np.random.BitGenerator


def root_of(module: Any) -> str:
    return module.split(".", 1)[0] if type(module) is str else ""


@functools.cache
def is_installed(root: str) -> bool:
    """True for a package that is installed beside this one's libraries, as opposed to modules of the user's program."""
    spec = getattr(sys.modules.get(root), "__spec__", None)
    places = [*(spec.submodule_search_locations or ()), spec.origin or ""] if spec is not None else []
    return root not in _TRUSTED and any(map(_is_installed_at, map(Path, places)))


def _is_installed_at(place: Path) -> bool:
    """True for a file, or a package's folder, beside the records of an installer: of any folder on the path."""
    return not {"site-packages", "dist-packages"}.isdisjoint(place.parts) or _has_records(place.parent)


@functools.cache
def _has_records(folder: Path) -> bool:
    return any(folder.glob("*.dist-info"))


def is_library(module: Any) -> bool:
    """True for a module of this package, NumPy, SciPy, or the standard library."""
    return root_of(module) in _TRUSTED


def is_strict(path: Any) -> bool:
    """True if a module or function accepts only exact floats, or may read a container past its class's methods."""
    return type(path) is str and _STRICT.match(path) is not None


def is_ours(module: Any) -> bool:
    return root_of(module) == PACKAGE


def is_quiet(module: Any) -> bool:
    """True if the Python code of a module depends on nothing that guards do not see."""
    root = root_of(module)
    return root in _QUIET or root in _LIBRARIES or root == PROGRESS or root.startswith("namedtuple_")


def refusal_of_code(module: Any, name: str) -> str | None:
    """The name of a Python function that depends on something that guards do not see; None for others."""
    path = f"{module}.{name}"
    if path in _REFUSED:
        return path
    if root_of(module) in ("numpy", "scipy"):
        head = "numpy" if module.startswith("numpy") else "scipy"
        if f"{head}.{name}" in _REFUSED:
            return f"{head}.{name}"
    return None


def refusal(function: Any) -> str | None:
    """The name of a C function whose result may differ in each call; None for others.

    ``function`` is a built-in function or method.
    """
    holder = function.__self__
    if holder is None or isinstance(holder, types.ModuleType):
        return _refusal_in_module(function, holder)
    if isinstance(holder, generators()):
        return None  # changes of its state are detected
    cls = holder if isinstance(holder, type) else type(holder)
    return _refusal_of_method(cls, function.__name__)


def _refusal_in_module(function: Any, holder: types.ModuleType | None) -> str | None:
    module = function.__module__ or (holder.__name__ if holder is not None else "builtins")
    path = f"{module}.{function.__name__}"
    if root_of(module) in _LIBRARIES:
        return path if module.startswith("numpy.random") else refusal_of_code(module, function.__name__)
    if path in _IMPURE:
        return path
    if root_of(module) in _PURE or path in _HARMLESS:
        return None
    return _readable(path)


@functools.lru_cache(4096)
def _refusal_of_method(cls: type, name: str) -> str | None:
    owner = next((base for base in cls.__mro__ if _is_in_c(vars(base).get(name))), cls)
    path = f"{owner.__module__}.{owner.__qualname__}"
    if f"{owner.__name__}.{name}" in _IMPURE and owner.__module__ == "datetime":
        return f"{path}.{name}"
    if hasattr(cls, "runtime_keys"):  # its methods read dynamic numbers
        return f"{path}.{name}" if hasattr(owner, "runtime_keys") else None
    if owner is not cls and owner is object:
        return None
    root = root_of(owner.__module__)
    if path in _HARMLESS_TYPES or root in _PURE or root in _LIBRARIES or root == "functools":
        return None
    return _readable(f"{path}.{name}")


def _is_in_c(x: Any) -> bool:
    return x is not None and not isinstance(x, (types.FunctionType, classmethod, staticmethod, property))


def _readable(path: str) -> str:
    return f"os.{path.removeprefix('posix.')}" if path.startswith("posix.") else path


def unseen_call(function: Any) -> str | None:
    """The name of an unseen call in a watched run whose result differs each time; None for others."""
    if isinstance(function, type):
        if issubclass(function, generators()) or function is np.datetime64:
            return f"{function.__module__}.{function.__qualname__}"
    elif type(function).__name__ == "cython_function_or_method" and str(function.__module__).startswith("numpy.random"):
        return f"numpy.random.{function.__name__}"
    return None


def state_of(generator: Any) -> Any:
    """The state of a random generator, for comparison."""
    if isinstance(generator, random.Random):
        try:
            return generator.getstate()
        except NotImplementedError:  # SystemRandom has none
            return None
    if isinstance(generator, np.random.RandomState):
        return repr(generator.get_state(legacy=False)["gauss"]), _flat(generator.get_state(legacy=False)["state"])
    return _flat((generator if isinstance(generator, np.random.BitGenerator) else generator.bit_generator).state)


def _flat(x: Any) -> Any:
    if isinstance(x, dict):
        return [_flat(v) for v in x.values()]
    return x.tobytes() if isinstance(x, np.ndarray) else x


def global_generators() -> list[Any]:
    """The generators of the functions of ``random`` and ``numpy.random``."""
    holders = [getattr(f, "__self__", None) for f in (random.getrandbits, np.random.bytes)]
    return [g for g in holders if isinstance(g, generators())]
