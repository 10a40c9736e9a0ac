"""Weights that strangers made: loaded whole and finite, or refused in a line; nothing is run."""

import json
import shutil
import struct
from pathlib import Path

import pytest
import torch
from guard import fuzz, mutated, refused_or_fine
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from weights import DAMAGE, VALUES, check

from ram_cli import load_model
from ram_cli.models.whitening_file import read_whitening

DEEP = "[" * 200_000
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
TENSORS = st.sampled_from([
    torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int8, torch.bool,
    torch.complex64, torch.float8_e4m3fn, torch.float8_e5m2,
])  # fmt: skip


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
