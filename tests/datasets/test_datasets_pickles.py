"""Ground truths as data: everything that numpy writes is read, everything hostile refused unrun."""

import builtins
import os
import pickle
import pickletools
import struct
import subprocess
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ram_cli.datasets import pickles
from ram_cli.datasets.pickles import read_ground_truth, read_plain
from ram_cli.errors import DataError

ARRAYS = [
    np.arange(6).reshape(2, 3),
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.zeros((0, 4), np.float32),
    np.array(["all souls", "é"]),
    np.array([b"abc", b"d"]),
    np.array([True, False]),
    np.arange(3, dtype=">i4"),
    np.array(7, np.uint8),
]


def same(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, np.ndarray):
        return (
            isinstance(found, np.ndarray)
            and found.dtype == wanted.dtype
            and np.array_equal(found, wanted)
        )
    if isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(same(found[k], wanted[k]) for k in wanted)
    if isinstance(wanted, list | tuple):
        return (
            type(found) is type(wanted)
            and len(found) == len(wanted)
            and all(map(same, found, wanted))
        )
    return type(found) is type(wanted) and bool(found == wanted)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}-{array.ndim}")
def test_arrays_of_every_protocol(protocol: int, array: np.ndarray) -> None:
    content = {"one": array, "again": [array, (array,)], "number": np.float32(2.5)}
    found = read_plain(pickle.dumps(content, protocol))
    assert same(found["one"], array)
    assert same(found["again"], content["again"])
    assert found["number"] == 2.5


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_of_objects_are_lists(protocol: int) -> None:
    assert read_plain(pickle.dumps(np.array(["a", 1, [2]], object), protocol)) == ["a", 1, [2]]


def test_texts_of_python_2_and_both_paths_of_numpy() -> None:
    for core in (b"numpy.core", b"numpy._core"):
        content = (
            b"\x80\x02}q\x00(U\x03gndq\x01c" + core + b".multiarray\n_reconstruct\nq\x02cnumpy\n"
            b"ndarray\nq\x03K\x00\x85U\x01bq\x04\x87R(K\x01K\x02\x85cnumpy\ndtype\nU\x02i4K\x00K\x01"
            b"\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x08\x01\x00\x00\x00"
            b"\xff\xff\xff\xfftbU\x01nU\x02\xe9\xffu."
        )
        found = read_plain(content)
        assert found["gnd"].tolist() == [1, -1]
        assert found["n"] == "éÿ"


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda part: (
        st.lists(part, max_size=4)
        | st.dictionaries(st.text() | st.integers(), part, max_size=4)
        | st.tuples(part, part)
    ),
    max_leaves=12,
)


@given(PLAIN, st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_plain_things_are_what_they_were(content: Any, protocol: int) -> None:
    found = read_plain(pickle.dumps(content, protocol))
    assert found == pickle.loads(pickle.dumps(content, protocol))


class Ask:
    """Asks to be made by any call."""

    def __init__(self, target: Any, *words: Any) -> None:
        self.made = (target, words)

    def __reduce__(self) -> Any:
        return self.made


def lying_kind() -> bytes:
    """A kind whose fields are objects and whose flags deny it: numpy takes bytes for addresses."""
    start = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    inner = b"cnumpy\ndtype\nU\x02O8K\x00K\x01\x87R"
    kind = b"cnumpy\ndtype\nU\x02V8K\x00K\x01\x87R(K\x03U\x01|NU\x01x\x85}U\x01x" + inner
    kind += b"K\x00\x86sK\x08K\x01K\x00tb"
    return b"\x80\x02}(U\x01a" + start + b"(K\x01K\x01\x85" + kind + b"K\x00U\x08AAAAAAAAtbu."


def hostile(ran: Path) -> dict[str, bytes]:
    command = f"touch {ran}"
    code = f"__import__('os').system({command!r})"
    asks = {
        "system": Ask(os.system, command),
        "eval": Ask(builtins.eval, code),
        "exec": Ask(builtins.exec, code),
        "getattr": Ask(getattr, Ask(getattr, [], "append"), "__self__"),
        "popen": Ask(subprocess.Popen, command),
        "inside an array": np.array([Ask(os.system, command)], object),
        "ordered": OrderedDict(a=1),
        "a set": {1, 2},
        "complex": 1j,
        "records": np.zeros(2, [("a", "i4")]),
        "dates": np.array(["2020-01-01"], "M8[D]"),
    }
    array = pickle.dumps({"a": np.arange(4)}, 2)
    loop: list[Any] = []
    loop.append(loop)
    deep: list[Any] = []
    for _ in range(300):
        deep = [deep]
    return {
        **{name: pickle.dumps({"a": ask}) for name, ask in asks.items()},
        "a chain of names": b"\x80\x04\x8c\x02os\x8c\x0bpath.exists\x93\x8c\x01a\x85R.",
        "numpy's own loader": b"cnumpy\nload\n(S'/dev/zero'\ntR.",
        "array by class": b"\x80\x02}(U\x01acnumpy\nndarray\nJ\xff\xff\xff\x7f\x85Ru.",
        "array by new": b"\x80\x02}(U\x01acnumpy\nndarray\nJ\xff\xff\xff\x7f\x85\x81u.",
        "changed name": b"\x80\x02}(U\x01acnumpy\nndarray\n}U\x01xK\x01sbu.",
        "a name itself": b"\x80\x02}(U\x01acnumpy\nndarray\nu.",
        "instance": b"(ios\nsystem\n.",
        "stored elsewhere": b"Pabc\n.",
        "registered": b"\x80\x02\x82\x01.",
        "codec": b"c_codecs\nencode\n(S'a'\nS'rot13'\ntR.",
        "array too short": array.replace(b"K\x04\x85", b"K\x05\x85"),
        "array of negative length": array.replace(b"K\x04\x85", b"J\xfc\xff\xff\xff\x85"),
        "array never filled": array[: array.index(b"(K\x01")] + b"s.",
        "kind that lies": lying_kind(),
        "objects as bytes": array.replace(b"i8", b"O8"),
        "huge place": b"\x80\x04]r" + struct.pack("<I", 2**31) + b"0.",
        "huge text": b"\x80\x04\x8d" + struct.pack("<Q", 2**40) + b"a.",
        "huge frame": b"\x80\x04\x95" + struct.pack("<Q", 2**60),
        "deep key": b"\x80\x04})" + b"\x85" * 20_000 + b"K\x01s.",
        "deep lists": pickle.dumps(deep),
        "itself": pickle.dumps({"a": loop}),
        "no stop": b"\x80\x04}",
        "nothing": b"",
        "empty stack": b".",
        "text": b"<html>not found</html>",
    }


NAMES = sorted(hostile(Path("ran")))


@pytest.mark.parametrize("name", NAMES)
def test_hostile_files_run_nothing(name: str, tmp_path: Path) -> None:
    content = hostile(tmp_path / "ran")[name]
    path = tmp_path / "gnd_roxford5k.pkl"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_ground_truth(path)
    assert "gnd_roxford5k.pkl" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    assert not (tmp_path / "ran").exists()


def test_the_hostile_files_do_run_elsewhere(tmp_path: Path) -> None:
    """Else the test above would hold for files that are merely damaged."""
    for name in ("system", "eval", "inside an array"):
        ran = tmp_path / name.replace(" ", "-")
        pickle.loads(hostile(ran)[name])
        assert ran.exists()


def test_size_and_steps_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "gnd.pkl"
    path.write_bytes(pickle.dumps({"a": list(range(50))}))
    assert len(read_ground_truth(path)["a"]) == 50
    monkeypatch.setattr(pickles, "MOST_STEPS", 40)
    with pytest.raises(DataError, match="instructions"):
        read_ground_truth(path)
    monkeypatch.setattr(pickles, "LARGEST_FILE", 10)
    with pytest.raises(DataError, match="10 are the most"):
        read_ground_truth(path)


def test_one_text_does_not_become_many_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickles, "LARGEST_FILE", 100)
    array = np.zeros(40, np.uint8)
    read_plain(pickle.dumps([array] * 20, 2))  # one array, twenty times
    with pytest.raises(Exception, match="too large"):
        read_plain(pickle.dumps([array.copy() for _ in range(20)], 2))


OPCODES = st.sampled_from([opcode.code.encode("latin1") for opcode in pickletools.opcodes])
NAMED = st.sampled_from(
    [
        b"cos\nsystem\n", b"cnumpy\nndarray\n", b"cnumpy\ndtype\n", b"c_codecs\nencode\n",
        b"cnumpy.core.multiarray\n_reconstruct\n", b"cnumpy._core.multiarray\nscalar\n",
        b"cnumpy._core.numeric\n_frombuffer\n", b"U\x02i8", b"K\x01", b"K\x00", b"}", b"(", b")",
    ]
)  # fmt: skip


@given(st.lists(OPCODES | NAMED | st.binary(max_size=3), max_size=40))
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_instructions_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes]
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.pkl"
    path.write_bytes(b"".join(parts) + b".")
    try:
        assert isinstance(read_ground_truth(path), dict)
    except DataError as error:
        assert "\n" not in str(error)  # noqa: PT017


WHOLE = pickle.dumps(
    {"imlist": ["a", "b"], "gnd": [{"bbx": np.arange(4.0), "easy": np.array([1]), "junk": []}]}, 2
)


@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), max_size=4))
@settings(max_examples=400, deadline=None)
def test_any_damage_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]]
) -> None:
    content = bytearray(WHOLE)
    for place, value in changes:
        content[place] = value
    path = tmp_path_factory.getbasetemp() / "damaged.pkl"
    path.write_bytes(bytes(content))
    try:
        assert isinstance(read_ground_truth(path), dict)
    except DataError as error:
        assert "\n" not in str(error)  # noqa: PT017
