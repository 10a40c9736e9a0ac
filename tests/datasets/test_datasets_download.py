"""Known datasets brought from a server on this machine, in their publishers' own archives."""

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from archive_maker import cars_files, cub_files, sop_files, tgz, zipped
from file_server import FileServer, serving

from ram_cli.datasets import DATASETS, Counts, DatasetEntry, load_dataset
from ram_cli.datasets.download import obtain
from ram_cli.datasets.remote import RemoteFile
from ram_cli.errors import ConfigError, DataError, OutputError
from ram_cli.progress import SILENT
from ram_cli.transfer import disk, fetch

CUB = tgz(cub_files())
SOP = zipped(sop_files())


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setattr(fetch, "BACKOFF_SECONDS", 0.0)
    with serving(FileServer()) as running:
        running.files = {"CUB_200_2011.tgz": CUB, "Stanford_Online_Products.zip": SOP}
        yield running


def remote(server: FileServer, name: str, *, proven: bool = True) -> RemoteFile:
    content = server.files[name]
    return RemoteFile(
        name=name,
        urls=(f"{server.url}/gone/{name}", f"{server.url}/{name}"),
        size=len(content) if proven else 0,
        sha256=hashlib.sha256(content).hexdigest() if proven else "",
        md5=hashlib.md5(content, usedforsecurity=False).hexdigest() if proven else "",
    )


@pytest.fixture
def cub(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> DatasetEntry:
    entry = replace(
        DATASETS["cub"],
        train_val=Counts(4, 8),
        test=Counts(2, 4),
        sources=((remote(server, "CUB_200_2011.tgz"),),),
    )
    monkeypatch.setitem(DATASETS, "cub", entry)
    return entry


@pytest.fixture
def cars(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatasetEntry:
    files = cars_files(tmp_path)
    server.files["cars_annos.mat"] = files["cars_annos.mat"]
    server.files["CARS196.zip"] = zipped({f"CARS196/{name}": c for name, c in files.items()})
    server.files["car_ims.tgz"] = tgz({n: c for n, c in files.items() if n.startswith("car_ims")})
    entry = replace(
        DATASETS["cars"],
        train_val=Counts(3, 6),
        test=Counts(2, 4),
        hub=(),
        sources=(
            (remote(server, "CARS196.zip", proven=False),),
            tuple(
                replace(remote(server, name), urls=()) for name in ("car_ims.tgz", "cars_annos.mat")
            ),
        ),
    )
    monkeypatch.setitem(DATASETS, "cars", entry)
    return entry


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(".lock"))


def test_cub_comes_whole(server: FileServer, cub: DatasetEntry, tmp_path: Path) -> None:
    root = tmp_path / "data"
    got = obtain(cub, root)
    assert (got.name, got.images, got.how) == ("cub", 12, "fetched")
    assert got.folder == root / "CUB_200_2011"
    assert names(root) == ["CUB_200_2011", "archives"]
    assert names(got.folder) == ["image_class_labels.txt", "images", "images.txt"]
    assert names(root / "archives") == ["CUB_200_2011.tgz", "CUB_200_2011.tgz.sha256"]
    assert len(load_dataset("cub", root).test) == 4
    asked = len(server.requests)
    assert obtain(cub, root).how == "already here"
    assert len(server.requests) == asked


def test_sop_comes_without_its_archive(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = replace(
        DATASETS["sop"],
        train_val=Counts(5, 10),
        test=Counts(3, 9),
        sources=((remote(server, "Stanford_Online_Products.zip"),),),
    )
    monkeypatch.setitem(DATASETS, "sop", entry)
    obtain(entry, tmp_path / "data", keep_archive=False)
    assert names(tmp_path / "data" / "archives") == ["Stanford_Online_Products.zip.sha256"]
    assert len(load_dataset("sop", tmp_path / "data").train) == 4


def test_cars_come_from_one_archive(cars: DatasetEntry, tmp_path: Path) -> None:
    got = obtain(cars, tmp_path / "data")
    assert names(got.folder) == ["car_ims", "cars_annos.mat"]
    assert len(load_dataset("cars", tmp_path / "data").train_val) == 6


def test_cars_come_from_a_mirror_of_the_old_files(
    server: FileServer, cars: DatasetEntry, tmp_path: Path
) -> None:
    del server.files["CARS196.zip"]
    got = obtain(cars, tmp_path / "data", mirror=server.url)
    assert names(got.folder) == ["car_ims", "cars_annos.mat"]


def test_cars_from_files_at_hand(server: FileServer, cars: DatasetEntry, tmp_path: Path) -> None:
    mine = [tmp_path / name for name in ("cars_annos.mat", "car_ims.tgz")]
    mine[1].write_bytes(server.files["car_ims.tgz"])
    for given in (mine[:1], mine[1:], [*mine, tmp_path / "nowhere"]):
        with pytest.raises(ConfigError):
            obtain(cars, tmp_path / "data", from_files=given)
    got = obtain(cars, tmp_path / "data", from_files=mine, keep_archive=False)
    assert got.how == "unpacked"
    assert names(got.folder) == ["car_ims", "cars_annos.mat"]
    assert all(path.is_file() for path in mine)
    assert server.requests == []


def test_an_archive_at_hand_may_have_any_name_but_no_other_content(
    cub: DatasetEntry, tmp_path: Path
) -> None:
    (tmp_path / "birds.tar.gz").write_bytes(CUB)
    (tmp_path / "other.tgz").write_bytes(CUB[:-1])
    with pytest.raises(DataError):
        obtain(cub, tmp_path / "data", from_files=[tmp_path / "other.tgz"])
    obtain(cub, tmp_path / "data", from_files=[tmp_path / "birds.tar.gz"])
    assert names(tmp_path)[:2] == ["birds.tar.gz", "data"]


def test_a_mirror_may_be_the_file_itself(
    server: FileServer, cub: DatasetEntry, tmp_path: Path
) -> None:
    server.files["birds.tar.gz"] = server.files.pop("CUB_200_2011.tgz")
    obtain(cub, tmp_path / "data", mirror=f"{server.url}/birds.tar.gz")
    assert server.requests == [("birds.tar.gz", None)]


def test_nothing_to_be_had_says_what_to_do(
    server: FileServer, cub: DatasetEntry, cars: DatasetEntry, tmp_path: Path
) -> None:
    server.files = {}
    for entry, file in ((cub, "CUB_200_2011.tgz"), (cars, "CARS196.zip")):
        with pytest.raises(DataError) as caught:
            obtain(entry, tmp_path / "data")
        for part in (f"{server.url}/{file}", "404", "--from-file", "--mirror"):
            assert part in str(caught.value)
        assert "\n" not in str(caught.value)
    assert names(tmp_path / "data") == ["archives"]


def test_a_wrong_archive_leaves_nothing(
    server: FileServer, cub: DatasetEntry, tmp_path: Path
) -> None:
    server.files["CUB_200_2011.tgz"] = CUB[::-1]
    with pytest.raises(DataError):
        obtain(cub, tmp_path / "data")
    assert names(tmp_path / "data" / "archives") == []


@pytest.mark.parametrize("fault", ["nothing of it", "an image less", "no archive"])
def test_an_unproven_file_that_is_not_the_dataset_is_forgotten(
    server: FileServer, cars: DatasetEntry, tmp_path: Path, fault: str
) -> None:
    good = server.files["CARS196.zip"]
    files = cars_files(tmp_path)
    del files["car_ims/000003.jpg"]
    wrong = {"nothing of it": zipped({"a": b"b"}), "an image less": zipped(files)}
    server.files["CARS196.zip"] = wrong.get(fault, b"hello")
    with pytest.raises(DataError) as caught:
        obtain(cars, tmp_path / "data")
    assert "\n" not in str(caught.value)
    assert names(tmp_path / "data") == ["archives"]
    server.files["CARS196.zip"] = good
    assert obtain(cars, tmp_path / "data").how == "fetched"


def test_an_unproven_file_is_held_to_its_first_hash(
    server: FileServer, cars: DatasetEntry, tmp_path: Path
) -> None:
    got = obtain(cars, tmp_path / "data", keep_archive=False)
    got.folder.rename(tmp_path / "elsewhere")
    server.files["CARS196.zip"] += b"\0"
    with pytest.raises(DataError, match=r"CARS196\.zip\.sha256"):
        obtain(cars, tmp_path / "data")


def test_a_damaged_archive_here_is_fetched_again(
    server: FileServer, cub: DatasetEntry, tmp_path: Path
) -> None:
    kept = tmp_path / "data" / "archives" / "CUB_200_2011.tgz"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(CUB[:500])
    assert obtain(cub, tmp_path / "data").images == 12


def test_a_folder_in_the_way_is_left_alone(cub: DatasetEntry, tmp_path: Path) -> None:
    mine = tmp_path / "data" / "CUB_200_2011" / "mine.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("precious")
    with pytest.raises(DataError, match="in the way"):
        obtain(cub, tmp_path / "data")
    assert mine.read_text() == "precious"
    mine.unlink()
    assert obtain(cub, tmp_path / "data").images == 12


@pytest.mark.parametrize("damage", ["lost", "empty"])
def test_a_folder_that_lost_images_is_not_taken_for_whole(
    cub: DatasetEntry, tmp_path: Path, damage: str
) -> None:
    folder = obtain(cub, tmp_path / "data").folder
    image = folder / "images" / "001.Some_Bird" / "Some_Bird_0001.jpg"
    image.unlink()
    if damage == "empty":
        image.touch()
    with pytest.raises(DataError, match="Some_Bird_0001"):
        obtain(cub, tmp_path / "data")


def test_space_for_archive_and_images_is_needed(
    server: FileServer, cub: DatasetEntry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "free_bytes", lambda folder: 2 * len(CUB))
    with pytest.raises(OutputError):
        obtain(cub, tmp_path / "data")
    assert names(tmp_path / "data" / "archives") == []


def test_two_at_once_fetch_it_once(server: FileServer, cub: DatasetEntry, tmp_path: Path) -> None:
    server.gate.clear()
    said: list[str] = []

    class Listening:
        task = staticmethod(SILENT.task)
        warn = staticmethod(SILENT.warn)

        def note(self, message: str) -> None:
            said.append(message)
            if "another process" in message:
                server.gate.set()

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _: obtain(cub, tmp_path, reporter=Listening()), "ab"))
    assert sorted(result.how for result in results) == ["already here", "fetched"]
    assert sum(name == "CUB_200_2011.tgz" for name, _ in server.requests) == 1
    assert any("waiting" in message for message in said)


@contextmanager
def stopped_in(step: str, root: Path, cub: DatasetEntry) -> Iterator[None]:
    """Kill a process that brings cub, at the beginning of a step."""
    file = cub.sources[0][0]
    code = f"""
import os, signal, sys
from dataclasses import replace
from pathlib import Path
from ram_cli.datasets import DATASETS, Counts, download, unpacking
from ram_cli.datasets.remote import RemoteFile
file = RemoteFile(name={file.name!r}, urls={file.urls!r}, size={file.size}, sha256={file.sha256!r})
entry = replace(DATASETS["cub"], train_val=Counts(4, 8), test=Counts(2, 4), sources=((file,),))
def die(*words, **more):
    os.kill(os.getpid(), signal.SIGKILL)
if {step!r} == "unpack":
    import ram_cli.datasets.extraction as module
    count = 0
    write = module._Sink.write
    def some(self, name, content):
        global count
        count += 1
        die() if count == 5 else write(self, name, content)
    module._Sink.write = some
else:
    setattr(unpacking, {step!r}, die)
download.obtain(entry, Path({str(root)!r}))
"""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    yield


@pytest.mark.parametrize("step", ["unpack", "check_whole", "atomic_folder"])
def test_a_killed_process_is_gone_on_from(
    server: FileServer, cub: DatasetEntry, tmp_path: Path, step: str
) -> None:
    root = tmp_path / "data"
    with stopped_in(step, root, cub):
        assert not (root / "CUB_200_2011").exists()
        asked = len(server.requests)
        assert obtain(cub, root).images == 12
        assert len(server.requests) == asked
        assert names(root) == ["CUB_200_2011", "archives"]


def test_the_table_names_what_is_published() -> None:
    for name in ("cub", "cars", "sop"):
        for source in DATASETS[name].sources:
            assert all(url.endswith(file.name) for file in source for url in file.urls)
    assert DATASETS["furniture"].sources == ()
    cub, sop = (DATASETS[name].sources[0][0] for name in ("cub", "sop"))
    assert (cub.size, cub.md5) == (1150585339, "97eceeb196236b17998738112f37df78")
    assert (sop.size, sop.md5) == (3083860082, "7f73d41a2f44250d4779881525aea32e")
