"""Names such as `resnet101-gem-r-whiten`, and the whitening that goes with a model."""

from pathlib import Path

import pytest
import torch

from ram_cli.errors import CheckpointError, ModelError
from ram_cli.models import ZOO, build_embedder, load_model, save_whitening, stored_whitening
from ram_cli.models.off_the_shelf import OffTheShelf, off_the_shelf
from ram_cli.models.whitening_file import WHITENING_FILE, read_whitening


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet101", OffTheShelf("resnet101", "spoc")),
        ("resnet101-gem", OffTheShelf("resnet101", "gem")),
        ("resnet101-gem-whiten", OffTheShelf("resnet101", "gem", projection=True)),
        ("vgg16-mac-r", OffTheShelf("vgg16", "mac", regional=True)),
        ("alexnet-rmac", OffTheShelf("alexnet", "rmac")),
        ("efficientnet-lite0-gem", OffTheShelf("efficientnet-lite0", "gem")),
        (
            "resnet50-gemmp-lwhiten-r-whiten",
            OffTheShelf("resnet50", "gemmp", True, True, True),
        ),
    ],
)
def test_names(name: str, expected: OffTheShelf) -> None:
    assert off_the_shelf(name, "spoc") == expected


@pytest.mark.parametrize("name", ["resnet50-gem-whiten-r", "resnet50-gm", "gem-whiten", "r-r"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ModelError, match="there is no model"):
        off_the_shelf(name)


def test_layers_that_nothing_was_learned_for_change_no_direction() -> None:
    torch.manual_seed(0)
    model = load_model("timm:test_resnet-mac-lwhiten-r", pretrained=False)
    plain = build_embedder(
        "timm:test_resnet", pooling="mac", dimension=0, pretrained=False, regional=True
    ).eval()
    plain.backbone.load_state_dict(model.backbone.state_dict())
    assert model.config.regional_whitening
    images = torch.randn(2, 3, 64, 48)
    with torch.no_grad():
        torch.testing.assert_close(model(images), plain(images), rtol=1e-4, atol=1e-4)


def test_a_projection_keeps_the_width_unless_told_otherwise() -> None:
    whitened = load_model("timm:test_resnet-gem-whiten", pretrained=False)
    assert whitened.config.projection
    assert whitened.dimension == whitened.channels
    assert load_model("timm:test_resnet-gem", pretrained=False, dimension=7).dimension == 7


def test_whitening_of_a_folder(tmp_path: Path) -> None:
    assert stored_whitening(tmp_path) is None
    mean, projection = torch.randn(4), torch.randn(4, 4)
    save_whitening(tmp_path, mean, projection, {"kind": "pca"})
    found = stored_whitening(tmp_path)
    assert found is not None
    assert torch.equal(found[0], mean.double())
    assert torch.equal(found[1], projection.double())
    save_whitening(tmp_path, mean, torch.randn(4, 3), {})
    with pytest.raises(CheckpointError, match="no whitening"):
        read_whitening(tmp_path)
    (tmp_path / WHITENING_FILE).write_bytes(b"damaged")
    with pytest.raises(CheckpointError):
        read_whitening(tmp_path)


@pytest.mark.parametrize("several", [False, True])
def test_whitening_inside_a_published_file(tmp_path: Path, several: bool) -> None:
    entries = {
        kind: {"m": torch.full((2, 1), float(place)).numpy(), "P": torch.eye(2).numpy()}
        for place, kind in enumerate(("ss", "ms"))
    }
    content = {"meta": {"Lw": {"retrieval-SfM-120k": entries}}, "state_dict": {}}
    torch.save(content, tmp_path / "published.pth")
    found = stored_whitening(tmp_path / "published.pth", scales=(1.0, 0.5)[: 1 + several])
    assert found is not None
    assert found[0].tolist() == [float(several)] * 2


def test_teachers_of_published_students() -> None:
    taught = {name: entry.teacher for name, entry in ZOO.items() if entry.teacher}
    assert len(taught) == 3 + 28
    assert all(teacher in ZOO for teacher in taught.values())
    assert all(ZOO[name].dimension == ZOO[teacher].dimension for name, teacher in taught.items())
