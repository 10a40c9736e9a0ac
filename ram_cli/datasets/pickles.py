"""Published ground truths are pickles from the network: read as data, and nothing of them is run.

The instructions of a file are interpreted here, one by one. There is no import, no call and no
attribute among them: the few names that arrays of numpy are written with become marks, and arrays
are made from their bytes once kind and size are checked. What `pickle` and numpy themselves would
do with a hostile file (run it, take its bytes for addresses, overflow the stack) cannot happen.
"""

import pickletools
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from ram_cli.datasets.arrays import NUMPY_NAMES, Budget, Call, Name, PickleError
from ram_cli.errors import DataError

LARGEST_FILE = 64 << 20
"""Bytes; a list of as many images and pairs as retrieval-SfM-120k takes six million."""

MOST_STEPS = 4_000_000
"""Instructions of a file; a list of the size of retrieval-SfM-120k takes 0.7 million."""

DEEPEST = 12
"""Containers inside containers; ground truths have four."""

_FAULTS = (
    PickleError, ValueError, IndexError, KeyError, TypeError, OverflowError, MemoryError,
)  # fmt: skip
_VALUES: Final = frozenset((
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "UNICODE",
    "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "FLOAT", "BINFLOAT",
))  # fmt: skip
_CONSTANTS: Final[dict[str, Any]] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}


def read_ground_truth(path: Path) -> dict[str, Any]:
    """Read a pickle of a dictionary of plain containers, numbers, texts and numpy arrays.

    Arrays of objects come as lists. Texts of Python 2 are read as Latin-1.

    Raises:
        DataError: The file is missing, too large, damaged, or holds anything else; nothing of it is
            run.
    """
    try:
        if (size := path.stat().st_size) > LARGEST_FILE:
            raise DataError(
                f"{path} is no ground truth: it holds {size} bytes, {LARGEST_FILE} are the most."
            )
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {(error.strerror or str(error)).lower()}.") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes in damaged texts
            found = read_plain(content)
    except _FAULTS as error:
        told = " ".join(str(error).split())[:120] or type(error).__name__
        raise DataError(
            f"{path} is no ground truth, or damaged ({told}). Nothing of it was run. "
            "Fetch it again from its authors."
        ) from error
    if not isinstance(found, dict):
        raise DataError(f"{path} is no ground truth: it holds no dictionary.")
    return found


def read_plain(content: bytes) -> Any:
    """Return what a pickle of plain things holds; raises `PickleError` and kin for any other."""
    machine = _Machine(Budget(4 * LARGEST_FILE))
    for number, (opcode, argument, _) in enumerate(pickletools.genops(content)):
        if number == MOST_STEPS:
            raise PickleError(f"it holds more than {MOST_STEPS} instructions")
        if opcode.name == "STOP":
            return _plain(machine.stack.pop(), 0, {})
        machine.step(opcode.name, argument)
    raise PickleError("it has no end")


class _Machine:
    """Stack, marks and memory that the instructions of a pickle work on."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memory: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        """Do what one instruction says."""
        if name in _VALUES:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _STEPS:
            _STEPS[name](self, argument)
        else:
            raise PickleError(f"it holds the instruction {name}")

    def marked(self) -> list[Any]:
        """Take what was put on the stack since the last mark."""
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def top(self, kind: type) -> Any:
        """The container on the stack that is to be filled."""
        if type(self.stack[-1]) is not kind:
            raise PickleError(f"it fills what is no {kind.__name__}")
        return self.stack[-1]

    def fill(self, items: list[Any]) -> None:
        """Put keys and values, in turn, into the dictionary on the stack."""
        target = self.top(dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str | int | bytes):  # anything else might hide what it holds
                raise PickleError(f"a key is of the kind {type(key).__name__}")
            target[key] = value

    def named(self, module: Any, name: Any) -> None:
        """Put the mark for a name of numpy on the stack."""
        if (found := NUMPY_NAMES.get((module, name))) is None:
            raise PickleError(f"it asks for {module}.{name}")
        self.stack.append(found)

    def call(self) -> None:
        """Note what numpy would be asked to make."""
        arguments, target = self.stack.pop(), self.stack.pop()
        if not isinstance(target, Name) or type(arguments) is not tuple:
            raise PickleError("it calls what is no array")
        self.stack.append(Call(target, arguments, self.budget))

    def build(self) -> None:
        """Note with what numpy would be asked to fill it."""
        state = self.stack.pop()
        if not isinstance(self.stack[-1], Call):
            raise PickleError("it changes what is no array")
        self.stack[-1].fill(state)


def _tuple(count: int) -> Callable[[_Machine, Any], None]:
    def step(machine: _Machine, _: Any) -> None:
        items = [machine.stack.pop() for _ in range(count)]
        machine.stack.append(tuple(reversed(items)))

    return step


def _remember(machine: _Machine, argument: Any) -> None:
    place = len(machine.memory) if argument is None else int(argument)
    machine.memory[place] = machine.stack[-1]


def _dictionary(machine: _Machine, _: Any) -> None:
    items = machine.marked()
    machine.stack.append({})
    machine.fill(items)


def _set_item(machine: _Machine, _: Any) -> None:
    value, key = machine.stack.pop(), machine.stack.pop()
    machine.fill([key, value])


def _append(machine: _Machine, _: Any) -> None:
    item = machine.stack.pop()
    machine.top(list).append(item)


def _extend(machine: _Machine, _: Any) -> None:
    items = machine.marked()
    machine.top(list).extend(items)


def _named_by_stack(machine: _Machine, _: Any) -> None:
    name, module = machine.stack.pop(), machine.stack.pop()
    machine.named(module, name) if isinstance(name, str) else machine.named(module, None)


_STEPS: Final[dict[str, Callable[[_Machine, Any], None]]] = {
    "PROTO": lambda machine, _: None,
    "FRAME": lambda machine, _: None,
    "MARK": lambda machine, _: machine.marks.append(len(machine.stack)),
    "POP_MARK": lambda machine, _: machine.marked().clear(),
    "EMPTY_LIST": lambda machine, _: machine.stack.append([]),
    "EMPTY_DICT": lambda machine, _: machine.stack.append({}),
    "EMPTY_TUPLE": lambda machine, _: machine.stack.append(()),
    "LIST": lambda machine, _: machine.stack.append(machine.marked()),
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine.marked())),
    "TUPLE1": _tuple(1),
    "TUPLE2": _tuple(2),
    "TUPLE3": _tuple(3),
    "DICT": _dictionary,
    "SETITEM": _set_item,
    "SETITEMS": lambda machine, _: machine.fill(machine.marked()),
    "APPEND": _append,
    "APPENDS": _extend,
    "PUT": _remember,
    "BINPUT": _remember,
    "LONG_BINPUT": _remember,
    "MEMOIZE": _remember,
    "GET": lambda machine, place: machine.stack.append(machine.memory[place]),
    "BINGET": lambda machine, place: machine.stack.append(machine.memory[place]),
    "LONG_BINGET": lambda machine, place: machine.stack.append(machine.memory[place]),
    "GLOBAL": lambda machine, text: machine.named(*text.split(" ", 1)),
    "STACK_GLOBAL": _named_by_stack,
    "REDUCE": lambda machine, _: machine.call(),
    "BUILD": lambda machine, _: machine.build(),
}


def _plain(item: Any, depth: int, done: dict[int, Any]) -> Any:
    """Return `item` with arrays made; shared parts are made once, and none may hold itself."""
    if depth > DEEPEST:
        raise PickleError(f"its containers are more than {DEEPEST} deep")
    if not isinstance(item, list | tuple | dict | Call):
        if isinstance(item, Name):
            raise PickleError(f"it holds {item.value} itself")
        return item
    if id(item) not in done:
        done[id(item)] = None
        if isinstance(item, Call):
            made = item.value()
            made = _plain(made, depth + 1, done) if isinstance(made, list) else made
        elif isinstance(item, dict):
            made = {key: _plain(value, depth + 1, done) for key, value in item.items()}
        else:
            made = type(item)(_plain(part, depth + 1, done) for part in item)
        done[id(item)] = made
    elif done[id(item)] is None:
        raise PickleError("a container holds itself")
    return done[id(item)]
