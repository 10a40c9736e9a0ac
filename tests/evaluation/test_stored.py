"""Vectors on disk: gone on with after a stop, never taken for others, and larger than memory."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ram_cli.errors import OutputError
from ram_cli.evaluation import label_metrics
from ram_cli.evaluation.stored import MAPPED_ROWS, map_vectors, store_vectors, stretches_of

SHAPE = (23, 5)
KEY = {"model": "abc", "images": "xyz"}


class Sections:
    """Gives known rows in batches of four, out of order inside; may stop before a batch."""

    def __init__(self, stop_before: int | None = None) -> None:
        self.vectors = torch.rand(SHAPE, generator=torch.Generator().manual_seed(3))
        self.stop_before, self.given = stop_before, []

    def __call__(self, done: int):
        for batch in range(done, 6):
            if batch == self.stop_before:
                raise KeyboardInterrupt
            rows = torch.arange(4 * batch, min(4 * batch + 4, SHAPE[0])).roll(1)
            self.given.append(batch)
            yield rows, self.vectors[rows], batch + 1


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_interrupted_file_is_gone_on_with_and_ends_the_same(tmp_path):
    calm, hunted = tmp_path / "calm" / "v.safetensors", tmp_path / "hunted" / "v.safetensors"
    store_vectors(calm, SHAPE, KEY, Sections())
    for stop in (2, 5):
        with pytest.raises(KeyboardInterrupt):
            store_vectors(hunted, SHAPE, KEY, Sections(stop))
        assert not hunted.exists()
        assert map_vectors(hunted, KEY) is None
    last = Sections()
    store_vectors(hunted, SHAPE, KEY, last)
    assert last.given == [5]
    assert hunted.read_bytes() == calm.read_bytes()
    assert _names(hunted.parent) == ["v.safetensors"]
    assert torch.equal(load_file(hunted)["vectors"], last.vectors)
    found = map_vectors(hunted, KEY, check=True)
    assert found is not None
    assert torch.equal(found, last.vectors)
    again = Sections()
    store_vectors(hunted, SHAPE, KEY, again)
    assert again.given == []


def test_what_was_begun_for_something_else_is_dropped(tmp_path):
    path = tmp_path / "v.safetensors"
    with pytest.raises(KeyboardInterrupt):
        store_vectors(path, SHAPE, KEY, Sections(3))
    other = Sections()
    store_vectors(path, SHAPE, KEY | {"model": "abd"}, other)
    assert other.given == [0, 1, 2, 3, 4, 5]
    assert map_vectors(path, KEY) is None
    assert map_vectors(path, KEY | {"model": "abd"}, check=True) is not None


@pytest.mark.parametrize("damage", ["flip", "cut", "note", "empty"])
def test_damage_is_noticed(tmp_path, damage):
    path = tmp_path / "v.safetensors"
    store_vectors(path, SHAPE, KEY, Sections())
    content = path.read_bytes()
    if damage == "note":  # an unfinished file whose note is no JSON
        path.rename(tmp_path / ".incomplete-v.safetensors")
        (tmp_path / ".incomplete-v.json").write_text("[" * 100_000)
    else:
        flipped = content[:-3] + bytes([content[-3] ^ 255]) + content[-2:]
        path.write_bytes({"flip": flipped, "cut": content[:-8], "empty": b""}[damage])
    assert map_vectors(path, KEY, check=True) is None
    again = Sections()
    store_vectors(path, SHAPE, KEY, again)
    assert again.given == [0, 1, 2, 3, 4, 5]
    assert path.read_bytes() == content


def test_a_full_disk_is_told_of_before_the_work(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    sections = Sections()
    with pytest.raises(OutputError, match="no space left"):
        store_vectors(tmp_path / "v.safetensors", SHAPE, KEY, sections)
    assert sections.given == []
    monkeypatch.undo()
    store_vectors(tmp_path / "v.safetensors", SHAPE, KEY, sections)
    assert _names(tmp_path) == ["v.safetensors"]


def test_a_gallery_in_stretches_gives_the_same_numbers():
    random = np.random.default_rng(0)
    vectors = torch.from_numpy(random.normal(size=(MAPPED_ROWS + 700, 6)).astype(np.float32))
    labels = random.integers(0, 4000, len(vectors))
    assert len(stretches_of(vectors)) == 2
    few = vectors[:300]
    whole, cut = (
        label_metrics(few, gallery, labels[:300], labels, (1, 4), same_set=False)
        for gallery in (vectors, stretches_of(vectors))
    )
    np.testing.assert_array_equal(whole.ap, cut.ap)
    assert whole.map == cut.map


LIMITED = """
import resource, sys
from pathlib import Path
import numpy as np, torch
from ram_cli.evaluation import label_metrics
from ram_cli.evaluation.stored import map_vectors, store_vectors, stretches_of
from ram_cli.losses.miners import hardest_negatives

ROWS, WIDTH, STEP = 120_000, 512, 10_000
torch.set_num_threads(1)
labels = np.arange(ROWS) % 5000

def make(first):
    random = np.random.default_rng((7, first))
    centres = np.random.default_rng(1).normal(size=(5000, WIDTH)).astype(np.float32)
    noise = random.normal(size=(STEP, WIDTH)).astype(np.float32)
    found = centres[labels[first : first + STEP]] + 2 * noise
    return torch.from_numpy(found / np.linalg.norm(found, axis=1, keepdims=True))

def sections(done):
    for batch in range(done, ROWS // STEP):
        yield torch.arange(STEP) + batch * STEP, make(batch * STEP), batch + 1

warm = make(0)[:400]
label_metrics(warm, stretches_of(warm), labels[:400], labels[:400], (1,), same_set=True)
used = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
limit = used + 200 * 2**20
if sys.argv[2] == "limited":
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    try:
        np.ones((ROWS, WIDTH), np.float32)
    except MemoryError:
        print("the gallery does not fit", flush=True)
path = Path(sys.argv[1])
store_vectors(path, (ROWS, WIDTH), {}, sections)
vectors = map_vectors(path, {}, check=True)
if sys.argv[2] == "limited":
    gallery = stretches_of(vectors)
else:
    vectors = torch.cat([make(first) for first in range(0, ROWS, STEP)])
    gallery = vectors
found = label_metrics(vectors[:300], gallery, labels[:300], labels, (1,), same_set=False)
mined = hardest_negatives(vectors[:200], vectors, labels[:200], labels, 3, block_scores=1 << 22)
print(repr(found.map), repr(found.ap.sum()), int(mined.sum()), flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits the memory as Linux counts it")
def test_a_gallery_larger_than_memory_gives_the_same_numbers(tmp_path):
    """246 MB of vectors where a process may take 210 MB more than it has."""
    told = {}
    for kind in ("limited", "free"):
        done = subprocess.run(
            [sys.executable, "-c", LIMITED, str(tmp_path / "v.safetensors"), kind],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        told[kind] = done.stdout.splitlines()
    assert told["limited"] == ["the gallery does not fit", *told["free"]]
