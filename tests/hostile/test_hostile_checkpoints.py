"""Files of the published kind that strangers made: loaded, or refused in a line; nothing is run."""

import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from guard import fuzz, mutated, refused_or_fine
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from weights import DAMAGE, VALUES, check

from ram_cli import load_model
from ram_cli.models.checkpoints import published_whitening
from ram_cli.models.tensor_files import read_state_dict


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("weights")


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
