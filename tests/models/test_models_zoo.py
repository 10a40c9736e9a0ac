"""Published networks by name: the table, and fetching from servers that behave badly."""

from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from models_server import Server

from ram_cli.errors import CheckpointError, ModelError
from ram_cli.models import zoo
from ram_cli.models.loading import load_model
from ram_cli.models.zoo import ZOO, ZooEntry, find_in_zoo, load_from_zoo, zoo_whitening


def test_every_published_network_is_there() -> None:
    papers = [entry.paper for entry in ZOO.values()]
    assert (papers.count("RAML"), papers.count("cirtorch"), papers.count("AML")) == (9, 8, 32)
    assert len({entry.file for entry in ZOO.values()}) == 49


@pytest.mark.parametrize(
    ("name", "dimension", "size", "url"),
    [
        (
            "cub-S224r-T448r-resnet50-512-gem-w",
            512,
            224,
            "http://ptak.felk.cvut.cz/personal/sumapave/public/"
            "cub-S224r-T448r-resnet50-512-gem-w.pth",
        ),
        (
            "gl18-tl-resnet101-gem-w",
            2048,
            1024,
            "http://cmp.felk.cvut.cz/cnnimageretrieval/data/networks/gl18/"
            "gl18-tl-resnet101-gem-w-a4d43db.pth",
        ),
        (
            "retrievalSfM120k-vgg16-gem",
            512,
            1024,
            "http://cmp.felk.cvut.cz/cnnimageretrieval/data/networks/retrieval-SfM-120k/"
            "retrievalSfM120k-vgg16-gem-b4dcdc6.pth",
        ),
        (
            "efficientnet-b3-gem-contr_2048",
            2048,
            1024,
            "http://files.inria.fr/aml/efficientnet_b3_gem_contr_2048.pth.tar",
        ),
        (
            "mobilenet-v2-gem-contr-plus-vgg16",
            512,
            1024,
            "http://files.inria.fr/aml/mobilenet_v2_gem_contr_plus_vgg16.pth.tar",
        ),
    ],
)
def test_facts(name: str, dimension: int, size: int, url: str) -> None:
    entry = ZOO[name]
    assert (entry.dimension, entry.size, entry.urls[0]) == (dimension, size, url)
    if entry.paper == "cirtorch":
        assert f"-{entry.sha256}.pth" in entry.file
        assert len(entry.sha256) == 7


def test_spelling_makes_no_difference() -> None:
    assert find_in_zoo("Efficientnet_B3-gem-contr-2048") == "efficientnet-b3-gem-contr_2048"
    assert find_in_zoo("cub-s224r-t448r-resnet50-512-gem-w") == "cub-S224r-T448r-resnet50-512-gem-w"
    assert find_in_zoo("resnet50") is None
    with pytest.raises(ModelError, match="cub-448r-resnet50-512-gem-w"):
        load_model("cub-448-resnet50-512-gem-w")


@pytest.fixture
def tiny_zoo(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """A zoo of one network, published in the layout of RAML."""
    from torchvision.models import get_model

    features = get_model("squeezenet1_1", weights=None).features.state_dict()
    meta = {"architecture": "squeezenet1_1", "pooling": "spoc", "whitening": 0, "outputdim": 512}
    torch.save(
        {"meta": meta, "state_dict": {f"backbone.{key}": value for key, value in features.items()}},
        tmp_path / "source",
    )
    server.content = (tmp_path / "source").read_bytes()
    entry = ZooEntry("RAML", "squares", "squeezenet1_1", 512, 96, (f"{server.url}/file.pth",))
    monkeypatch.setitem(zoo.ZOO, "tiny-gem", entry)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return server


def test_a_zoo_name_is_fetched_once_and_loaded(tiny_zoo: Server, tmp_path: Path) -> None:
    model = load_model("Tiny_Gem")
    assert model.spec.size == 96
    assert model.config.backbone == "torchvision:squeezenet1_1"
    assert load_model("tiny-gem", input_size=64).spec.size == 64
    assert len(tiny_zoo.requests) == 1
    assert (tmp_path / "cache" / "ram" / "zoo" / "file.pth").is_file()
    assert zoo_whitening("tiny-gem") is None


def test_a_file_put_into_the_cache_by_hand_is_enough(tiny_zoo: Server, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file.pth").write_bytes(tiny_zoo.content)
    assert load_from_zoo("tiny-gem", cache_dir=tmp_path / "mine").dimension == 512
    assert tiny_zoo.requests == []


def test_a_damaged_file_is_no_measure_for_the_good_one_after_it(
    tiny_zoo: Server, tmp_path: Path
) -> None:
    file = tmp_path / "file.pth"
    file.write_bytes(tiny_zoo.content[:1000])
    with pytest.raises(CheckpointError, match=r"Delete \S*file\.pth to fetch it again"):
        load_from_zoo("tiny-gem", cache_dir=tmp_path)
    file.write_bytes(tiny_zoo.content)
    assert load_from_zoo("tiny-gem", cache_dir=tmp_path).dimension == 512


def test_a_mirror_comes_before_the_authors(
    tiny_zoo: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAM_HUB_MIRROR", f"{tiny_zoo.url}/mirror/")
    load_model("tiny-gem")
    assert [path for path, _ in tiny_zoo.requests] == ["/mirror/file.pth"]
    load_from_zoo("tiny-gem", cache_dir=tmp_path / "b", mirror="")
    assert tiny_zoo.requests[-1][0] == "/file.pth"


def test_a_mirror_can_be_a_hub_repository(
    tiny_zoo: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hf_hub_download(repository: str, file: str, *, local_dir: Path, **_options: Any) -> str:
        if repository != "someone/published":
            raise FileNotFoundError(repository)
        local_dir.mkdir(parents=True, exist_ok=True)
        (local_dir / file).write_bytes(tiny_zoo.content)
        return str(local_dir / file)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hf_hub_download)
    monkeypatch.setattr(zoo, "reachable", lambda _url: True)
    model = load_from_zoo("tiny-gem", cache_dir=tmp_path / "c", mirror="someone/published")
    assert model.dimension == 512
    with pytest.raises(ModelError, match="someone/else"):
        load_from_zoo("tiny-gem", cache_dir=tmp_path / "d", mirror="someone/else")
    assert tiny_zoo.requests == []


def test_failures_say_where_to_put_the_file(tiny_zoo: Server, tmp_path: Path) -> None:
    tiny_zoo.status = 404
    with pytest.raises(ModelError, match=r"file\.pth.*RAM_HUB_MIRROR") as caught:
        load_from_zoo("tiny-gem", cache_dir=tmp_path / "e")
    assert "\n" not in str(caught.value)


def test_a_published_file_of_another_width_is_refused(
    tiny_zoo: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = ZooEntry("RAML", "squares", "x", 128, 96, (f"{tiny_zoo.url}/file.pth",))
    monkeypatch.setitem(zoo.ZOO, "tiny-gem", entry)
    with pytest.raises(CheckpointError, match="128"):
        load_from_zoo("tiny-gem", cache_dir=tmp_path / "f")


class Runs:
    """A pickle that runs code where pickles are trusted."""

    def __reduce__(self) -> Any:
        return print, ("code ran",)


def test_a_file_that_would_run_code_is_told_apart_from_a_damaged_one(
    tiny_zoo: Server, tmp_path: Path
) -> None:
    torch.save({"meta": {}, "state_dict": Runs()}, tmp_path / "runs")
    tiny_zoo.content = (tmp_path / "runs").read_bytes()
    with pytest.raises(CheckpointError, match="print, which is no tensor"):
        load_from_zoo("tiny-gem", cache_dir=tmp_path / "h")


def test_whitening_of_its_own_file(
    tiny_zoo: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import numpy as np

    torch.save({"m": np.ones((4, 1)), "P": np.eye(4)}, tmp_path / "w")
    tiny_zoo.content = (tmp_path / "w").read_bytes()
    url = f"{tiny_zoo.url}/file.pth"
    entry = ZooEntry("AML", "squares", "x", 4, 96, ("http://127.0.0.1:9/x",), whitening=url)
    monkeypatch.setitem(zoo.ZOO, "tiny-gem", entry)
    found = zoo_whitening("tiny-gem", cache_dir=tmp_path / "g")
    assert found is not None
    assert torch.equal(found[0], torch.ones(4, dtype=torch.float64))
