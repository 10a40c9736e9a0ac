"""Weights that strangers made: loaded whole and finite, or refused in a line; nothing is run."""

import io
import json
import os
import pickle
import shutil
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from guard import fuzz, mutated, refused_or_fine
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from ram_cli import load_model
from ram_cli.models import build_embedder, save_model
from ram_cli.models.checkpoints import published_whitening
from ram_cli.models.tensor_files import read_state_dict
from ram_cli.models.whitening_file import read_whitening

DEEP = "[" * 200_000
VALUES = st.sampled_from([
    -1, 0, 1, 2, 8, 2**15, 2**31, 2**63, 10**30, -0.5, 1e308, float("nan"), float("inf"), True,
    None, "", "x", "../../x", "\x1b[31m", "a\nb",
    [], [1], [0, 0, 0], [1e-320] * 3, [float("nan")] * 3,
    ["a", "b", "c"], [2**70] * 3, {}, {"a": 1}, "timm:test_vit", "timm:hf-hub:owner/name",
    "timm:local-dir:/etc", "torchvision:resnet18", "timm:test_resnet.\n", "gem", "rmac", "mac",
])  # fmt: skip
CONFIG_KEYS = st.sampled_from([
    "backbone", "pooling", "dimension", "projection", "input_size", "mean", "std", "network_size",
    "local_whitening", "regional", "regional_whitening", "adapter", "whole_features", "fit",
    "more\n",
])  # fmt: skip
DTYPES = st.sampled_from([
    "F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2",
    "C64", "U64", "U32", "U16", "F4", "x", "", None, 3,
])  # fmt: skip
SHAPES = st.sampled_from([
    [], [0], [1], [2**62], [2**31, 2**31], [-1], [1] * 80, [0, 2**60], "x", None, [1.5], [None],
])  # fmt: skip
OFFSETS = st.sampled_from(
    [[0, 0], [0, 2**62], [8, 0], [-8, 8], [0], "x", None, [0, 1e9], [2**70, 0]]
)
DAMAGE = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 4), st.integers(0, 255)),
    min_size=1,
    max_size=3,
)
TENSORS = st.sampled_from([
    torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int8, torch.bool,
    torch.complex64, torch.float8_e4m3fn, torch.float8_e5m2,
])  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp("whole") / "model"
    model = build_embedder("timm:test_resnet", pretrained=False, dimension=8, input_size=32)
    save_model(model, folder, provenance={})
    save_file({"m": torch.zeros(8), "P": torch.eye(8)}, folder / "whitening.safetensors")
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("weights")


def fresh(whole: Path, place: Path, *, hashed: bool = True) -> Path:
    folder = place / "model"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole, folder)
    if not hashed:
        content = json.loads((folder / "config.json").read_text("utf-8"))
        del content["hash"]
        (folder / "config.json").write_text(json.dumps(content), "utf-8")
    return folder


def check(path: Path, place: Path, reads: Any = load_model) -> None:
    """Load; a model that does load embeds, or says in a line why it cannot."""
    with refused_or_fine(place / "nowhere") as said:
        found = reads(path)
        if reads is load_model:
            assert all(value.isfinite().all() for value in found.parameters())
            if found.spec.size <= 64:
                found(torch.zeros(1, 3, found.spec.size, found.spec.size))
    assert not any(len(line) > 1000 for line in said), said


@fuzz()
@given(
    st.dictionaries(CONFIG_KEYS, VALUES, max_size=3),
    st.lists(CONFIG_KEYS, max_size=2),
    st.booleans(),
)
def test_any_description_of_a_model(whole, place, changes, left_out, hashed):
    folder = fresh(whole, place, hashed=hashed)
    content = json.loads((folder / "config.json").read_text("utf-8"))
    content["model"] |= changes
    for name in left_out:
        content["model"].pop(name, None)
    (folder / "config.json").write_text(json.dumps(content), "utf-8")
    check(folder, place)


@fuzz(0.5)
@given(DAMAGE)
def test_any_damage_to_a_description(whole, place, damage):
    folder = fresh(whole, place)
    path = folder / "config.json"
    path.write_bytes(mutated(path.read_bytes(), damage))
    check(folder, place)


@pytest.mark.parametrize(
    "text", [DEEP, '{"model":' + DEEP, '{"format": "ram-embedder", "model": {"backbone": ' + DEEP,
             "9" * 100_000, '{"format_version": ' + "9" * 100_000 + "}", "\ufeff{}", "NaN"]
)  # fmt: skip
def test_json_that_is_deep_or_long(whole, place, text):
    folder = fresh(whole, place)
    (folder / "config.json").write_text(text, "utf-8")
    with refused_or_fine(place / "nowhere") as said:
        load_model(folder)
    assert said


@fuzz(2)
@given(
    st.dictionaries(
        st.integers(0, 60),
        st.fixed_dictionaries(
            {}, optional={"dtype": DTYPES, "shape": SHAPES, "data_offsets": OFFSETS}
        ),
        max_size=2,
    ),
    st.none() | st.sampled_from([0, 1, 2**20, 2**31, 2**62, 2**64 - 1]),
    st.sampled_from([None, {}, {"format": 3}, "x", {"format": "pt", "a": {"b": 1}}]),
)  # fmt: skip
def test_any_header_of_safetensors(whole, place, changes, length, metadata):
    folder = fresh(whole, place, hashed=False)
    path = folder / "model.safetensors"
    content = path.read_bytes()
    (size,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8 : 8 + size])
    names = sorted(header)
    for number, change in changes.items():
        name = names[number % len(names)]
        header[name] = header[name] | change
    if metadata is not None:
        header["__metadata__"] = metadata
    text = json.dumps(header).encode()
    told = len(text) if length is None else length
    path.write_bytes(struct.pack("<Q", told) + text + content[8 + size :])
    check(folder, place)


@fuzz()
@given(DAMAGE)
def test_any_damage_to_safetensors(whole, place, damage):
    folder = fresh(whole, place, hashed=False)
    for name, reads in (
        ("model.safetensors", load_model),
        ("whitening.safetensors", read_whitening),
    ):
        content = (whole / name).read_bytes()
        (folder / name).write_bytes(mutated(content, damage))
        check(folder, place, reads)


@fuzz()
@given(
    st.integers(0, 60), TENSORS, st.sampled_from([None, float("nan"), float("inf"), -float("inf")])
)
def test_any_kind_of_tensor(whole, place, number, dtype, value):
    folder = fresh(whole, place, hashed=False)
    path = folder / "model.safetensors"
    tensors = load_file(path)
    name = sorted(tensors)[number % len(tensors)]
    tensors[name] = tensors[name].to(dtype)
    if value is not None and dtype.is_floating_point:
        tensors[name] = tensors[name].float().fill_(value).to(dtype)
    save_file(tensors, path)
    check(folder, place)


def published(whole: Path) -> dict[str, Any]:
    state = load_file(whole / "model.safetensors")
    prefix = "backbone.network."
    renamed = {
        f"backbone.{key.removeprefix(prefix)}": value
        for key, value in state.items()
        if key.startswith(prefix)
    }
    renamed["pool.p"] = state["pooling.p"]
    renamed["whiten.weight"] = state["projection.weight"]
    renamed["whiten.bias"] = state["projection.bias"]
    learned = {"m": torch.zeros(8, 1).numpy(), "P": torch.eye(8).numpy()}
    meta = {
        "architecture": "test_resnet",
        "pooling": "gem",
        "mean": [0.5] * 3,
        "std": [0.5] * 3,
        "Lw": {"sfm": {"ss": learned}},
    }
    return {"meta": meta, "state_dict": renamed}


def test_the_twin_of_a_published_file_loads(whole, place):
    path = place / "twin.pth"
    torch.save(published(whole), path)
    assert load_model(path).dimension == 8
    assert list(published_whitening(path)) == ["sfm/ss"]


def giant(shape: tuple[int, ...]) -> torch.Tensor:
    """Of few bytes, whatever it says of its shape."""
    return torch.zeros(1).expand(shape)


ODD_VALUES = {
    "rows without memory": lambda: giant((10**6, 64)),
    "a line without memory": lambda: giant((2**40,)),
    "a table without memory": lambda: giant((2**30, 512)),
    "empty": lambda: torch.zeros(0),
    "scalar": lambda: torch.zeros(()),
    "sparse": lambda: torch.eye(4).to_sparse(),
    "without data": lambda: torch.empty(3, device="meta"),
    "part of a storage": lambda: torch.zeros(2**20)[:1],
    "complex": lambda: torch.zeros(8, 64, dtype=torch.complex64),
    "not a number": lambda: torch.full((8,), float("nan")),
    "whole numbers": lambda: torch.zeros(8, 64, dtype=torch.int64),
    "eight bits": lambda: torch.zeros(8, 64, dtype=torch.float8_e4m3fn),
    "text": lambda: "x",
    "nothing": lambda: None,
    "list": lambda: [1],
    "dictionary": lambda: {"a": 1},
}


@fuzz()
@given(
    st.sampled_from(["whiten.weight", "whiten.bias", "pool.p", "lwhiten.weight", "module.x",
                     "pool.whiten.weight", "backbone.conv1.weight", "features.0.weight",
                     "\x1b[2J\n"]),
    st.sampled_from(list(ODD_VALUES)),
    st.dictionaries(st.sampled_from(["architecture", "pooling", "mean", "std", "regional", "Lw"]),
                    VALUES, max_size=2),
    st.booleans(),
)  # fmt: skip
def test_any_published_content(whole, place, name, value, meta, old):
    content = published(whole)
    content["state_dict"][name] = ODD_VALUES[value]()
    content["meta"] |= meta
    path = place / "odd.pth"
    torch.save(content, path, _use_new_zipfile_serialization=not old)
    for reads in (load_model, published_whitening, read_state_dict):
        check(path, place, reads)


@fuzz(3)
@given(DAMAGE, st.booleans())
def test_any_damage_to_a_published_file(whole, place, damage, old):
    file = io.BytesIO()
    torch.save(published(whole), file, _use_new_zipfile_serialization=not old)
    path = place / "damaged.pth"
    path.write_bytes(mutated(file.getvalue(), damage))
    for reads in (load_model, published_whitening):
        check(path, place, reads)


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors", "a.bin"])
@fuzz(0.5)
@given(content=st.binary(max_size=300))
def test_rubbish(place, name, content):
    path = place / name
    path.write_bytes(content)
    check(path, place, load_model)
    check(path, place, read_state_dict)


def test_packed_records_are_refused_before_they_are_unpacked(whole, place):
    """torch packs nothing; a stranger may put gigabytes of zeros into a few kilobytes."""
    file = io.BytesIO()
    torch.save({"meta": {}, "state_dict": {"x": torch.zeros(2**26)}}, file)
    path = place / "bomb.pth"
    with (
        zipfile.ZipFile(file) as source,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for member in source.infolist():
            target.writestr(member.filename, source.read(member))
    assert path.stat().st_size < 2**20
    with refused_or_fine(place / "nowhere") as said:
        load_model(path)
    assert "packed" in said[0]


class _Runs:
    def __reduce__(self) -> Any:
        return os.system, (f"touch {_Runs.mark}",)

    mark = ""


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("inside", [False, True])
def test_pickles_that_would_run_code(place, protocol, inside):
    _Runs.mark = str(place / "ran")
    path = place / "code.pth"
    if inside and protocol > 1:
        torch.save({"meta": {"x": _Runs()}, "state_dict": {}}, path, pickle_protocol=protocol)
    else:
        path.write_bytes(pickle.dumps({"meta": {"x": _Runs()}, "state_dict": {}}, protocol))
    for reads in (load_model, published_whitening, read_state_dict):
        with refused_or_fine(place / "nowhere") as said:
            reads(path)
        assert said
    assert not (place / "ran").exists()
