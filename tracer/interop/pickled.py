"""Pickle streams as data: a reader that executes nothing but constructors in a given table, and a writer.

The reader interprets the opcodes itself, as listed in ``pickletools``. A stream can name a class or function, but it gets one
only from the table; an unknown name or opcode is refused. The writer emits protocol 2, which PyTorch's files have.
"""

from __future__ import annotations

import pickletools
import struct
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import IO, Any

Names = Mapping[tuple[str, str], Any]


class NotData(ValueError):
    """A stream has something that is not data; the message says what."""


class _Mark:
    """The start of a run of items on the stack."""


_MARK = _Mark()


class Name:
    """A name of the stream, with its meaning: ``call`` makes the object from arguments, ``value`` is the object itself."""

    def __init__(self, call: Callable[..., Any] | None = None, value: Any = None, cls: Any = None):
        self.call, self.value, self.cls = call, value, cls


def read(
    file: IO[bytes], names: Names, storage: Callable[[Any], Any] | None = None, states: Mapping[type, Any] | None = None
) -> Any:
    """The next object of a stream.

    ``names`` maps (module, name) to ``Name``s; ``storage`` gives the objects for persistent identifiers; ``states`` has
    functions that set the state of an object of a class. Raises NotData for a name outside of the table, an opcode that makes
    no plain data, and a damaged stream.
    """
    try:
        return _Reader(names, storage, states or {}).run(file)
    except NotData:
        raise
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, struct.error) as e:
        raise NotData(f"the file is damaged ({e})") from None


class _Reader:
    def __init__(self, names: Names, storage: Callable[[Any], Any] | None, states: Mapping[type, Any]):
        self.names, self.storage, self.states = names, storage, states
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, file: IO[bytes]) -> Any:
        for opcode, arg, _ in pickletools.genops(file):
            if opcode.name == "STOP":
                return self.plain(self.stack.pop())
            if opcode.name in _CONSTANTS:
                self.stack.append(_CONSTANTS[opcode.name])
            elif opcode.name in _EMPTY:
                self.stack.append(_EMPTY[opcode.name]())
            elif opcode.name in _LITERALS:
                self.stack.append(arg)
            else:
                step = getattr(self, f"on_{opcode.name.lower()}", None)
                if step is None:
                    raise NotData(f"the file has the opcode {opcode.name}, which makes no plain data")
                step(arg)
        raise NotData("the file ends early")

    def items(self) -> list[Any]:
        """The run of items on the stack, back to its mark, which is removed."""
        at = len(self.stack) - 1
        while self.stack[at] is not _MARK:
            at -= 1
        if at < 0:
            raise NotData("the file is damaged (an item before its mark)")
        found = [self.plain(x) for x in self.stack[at + 1 :]]
        del self.stack[at:]
        return found

    def plain(self, x: Any) -> Any:
        return x.value if isinstance(x, Name) else x

    def pop(self) -> Any:
        return self.plain(self.stack.pop())

    def ignore(self, arg: Any) -> None:
        pass

    on_proto = on_frame = ignore

    def on_mark(self, arg: Any) -> None:
        self.stack.append(_MARK)

    def on_pop(self, arg: Any) -> None:
        self.stack.pop()

    def on_dup(self, arg: Any) -> None:
        self.stack.append(self.stack[-1])

    # Names and objects.

    def name(self, module: str, name: str) -> None:
        found = self.names.get((module, name))
        if found is None:
            raise NotData(f"the file has a {module}.{name}, which is neither a tensor nor a plain container")
        self.stack.append(found)

    def on_global(self, arg: str) -> None:
        module, _, name = arg.partition(" ")
        self.name(module, name)

    def on_stack_global(self, arg: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.name(module, name)

    def on_reduce(self, arg: Any) -> None:
        arguments, function = self.pop(), self.stack.pop()
        if not isinstance(function, Name) or function.call is None or type(arguments) is not tuple:
            raise NotData("the file calls something that is not a constructor of tensors or plain containers")
        self.stack.append(function.call(*arguments))

    def on_newobj(self, arg: Any) -> None:
        arguments, name = self.pop(), self.stack.pop()
        if not isinstance(name, Name) or name.cls is None or arguments != ():
            raise NotData("the file creates an object of a class that is not allowed")
        self.stack.append(name.cls.__new__(name.cls))

    def on_build(self, arg: Any) -> None:
        """The attributes of an OrderedDict (``_metadata`` of a state dict) or of an object of an allowed class."""
        state, x = self.pop(), self.stack[-1]
        known = next((put for cls, put in self.states.items() if isinstance(x, cls)), None)
        if known is not None:
            known(x, state)
        elif hasattr(x, "__setstate__") and not isinstance(x, OrderedDict):
            x.__setstate__(state)
        elif type(state) is dict and hasattr(x, "__dict__"):
            vars(x).update(state)
        else:
            raise NotData(f"the file sets attributes of a {type(x).__name__}")

    def on_binpersid(self, arg: Any) -> None:
        if self.storage is None:
            raise NotData("the file refers to memory that it does not contain")
        self.stack.append(self.storage(self.pop()))

    # Memo.

    def on_put(self, arg: int) -> None:
        self.memo[arg] = self.stack[-1]

    on_binput = on_long_binput = on_put

    def on_memoize(self, arg: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def on_get(self, arg: int) -> None:
        self.stack.append(self.memo[arg])

    on_binget = on_long_binget = on_get

    # Containers.

    def on_tuple(self, arg: Any) -> None:
        self.stack.append(tuple(self.items()))

    def on_list(self, arg: Any) -> None:
        self.stack.append(self.items())

    def on_dict(self, arg: Any) -> None:
        found = self.items()
        self.stack.append(dict(zip(found[::2], found[1::2], strict=True)))

    def on_frozenset(self, arg: Any) -> None:
        self.stack.append(frozenset(self.items()))

    def on_tuple1(self, arg: Any) -> None:
        self.stack[-1:] = [(self.plain(self.stack[-1]),)]

    def on_tuple2(self, arg: Any) -> None:
        self.stack[-2:] = [tuple(map(self.plain, self.stack[-2:]))]

    def on_tuple3(self, arg: Any) -> None:
        self.stack[-3:] = [tuple(map(self.plain, self.stack[-3:]))]

    def container(self, *types: type) -> Any:
        """The container on top of the stack, of one of these types or a subclass in the table."""
        if not isinstance(self.stack[-1], types):
            raise NotData(f"the file adds items to a {type(self.stack[-1]).__name__}")
        return self.stack[-1]

    def on_append(self, arg: Any) -> None:
        item = self.pop()
        self.container(list).append(item)

    def on_appends(self, arg: Any) -> None:
        found = self.items()
        self.container(list).extend(found)

    def on_additems(self, arg: Any) -> None:
        found = self.items()
        self.container(set).update(found)

    def on_setitem(self, arg: Any) -> None:
        value, key = self.pop(), self.pop()
        self.container(dict)[key] = value

    def on_setitems(self, arg: Any) -> None:
        found = self.items()
        self.container(dict).update(zip(found[::2], found[1::2], strict=True))


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, type] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_SET": set}
_LITERALS = frozenset(
    [
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "STRING", "BINSTRING", "SHORT_BINSTRING"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    ]
)


class Writer:
    """Values as opcodes. ``special`` writes those that are not plain data, and returns False for what it does not know."""

    def __init__(self, special: Callable[[Writer, Any], bool]):
        self.special = special
        self.parts = [b"\x80\x02"]
        self.memo: dict[int, tuple[int, Any]] = {}

    def finish(self, x: Any) -> bytes:
        """The stream of one object."""
        self.write(x)
        return b"".join([*self.parts, b"."])

    def write(self, x: Any) -> None:
        """Appends a value. Raises TypeError for what is neither plain data nor known to ``special``."""
        if id(x) in self.memo:
            self.parts.append(b"j" + struct.pack("<I", self.memo[id(x)][0]))
        elif x is None or x is True or x is False:
            self.parts.append({None: b"N", True: b"\x88", False: b"\x89"}[x])
        elif type(x) is int:
            self._int(x)
        elif type(x) is float:
            self.parts.append(b"G" + struct.pack(">d", x))
        elif type(x) is str:
            data = x.encode("utf-8", "surrogatepass")
            self.parts.append(b"X" + struct.pack("<I", len(data)) + data)
        elif type(x) in (tuple, list, dict, set, OrderedDict):
            self._container(x)
        elif not self.special(self, x):
            raise TypeError(f"cannot save a {type(x).__name__}: save its state_dict() instead")

    def name(self, module: str, name: str) -> None:
        """Appends a class or function by name."""
        self.parts.append(f"c{module}\n{name}\n".encode())

    def call(self, module: str, name: str, *arguments: Any) -> None:
        """Appends the result of a call."""
        self.name(module, name)
        self.write(arguments)
        self.parts.append(b"R")

    def persistent(self, identifier: tuple[Any, ...]) -> None:
        """Appends the object with this identifier."""
        self.write(identifier)
        self.parts.append(b"Q")

    def put(self, x: Any) -> None:
        """Remembers the last appended value, so that a second appearance refers to it."""
        self.parts.append(b"r" + struct.pack("<I", len(self.memo)))
        self.memo[id(x)] = len(self.memo), x  # kept alive, so that the id stays its own

    def build(self, state: Any) -> None:
        """Sets attributes of the last appended object."""
        self.write(state)
        self.parts.append(b"b")

    def _int(self, x: int) -> None:
        if -(2**31) <= x < 2**31:
            self.parts.append(b"J" + struct.pack("<i", x))
        else:
            data = x.to_bytes(x.bit_length() // 8 + 1, "little", signed=True)
            self.parts.append(b"\x8a" + struct.pack("<B", len(data)) + data)  # raises struct.error beyond 255 bytes

    def _container(self, x: Any) -> None:
        if type(x) is tuple:
            self.parts.append(b"(")
            for item in x:
                self.write(item)
            self.parts.append(b"t")
        elif type(x) is set:
            self.call("builtins", "set", list(x))
        elif type(x) is list:
            self.parts.append(b"]")
            self.put(x)
            self.parts.append(b"(")
            for item in x:
                self.write(item)
            self.parts.append(b"e")
        else:
            if type(x) is dict:
                self.parts.append(b"}")
            else:
                self.call("collections", "OrderedDict")
            self.put(x)
            self.parts.append(b"(")
            for key, value in x.items():
                self.write(key)
                self.write(value)
            self.parts.append(b"u")
            if vars_of(x):
                self.build(vars_of(x))


def vars_of(x: Any) -> dict[str, Any]:
    """The attributes of an OrderedDict: a state dict has ``_metadata``. No attributes for other containers."""
    return dict(vars(x)) if isinstance(x, OrderedDict) else {}
