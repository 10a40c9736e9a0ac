"""The public surface, held as a set, and the README's code, run as it is written."""

import re
import tomllib
from pathlib import Path

import torch
from PIL import Image

import ram_cli
import ram_cli.evaluation
import ram_cli.losses

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def test_names():
    assert set(ram_cli.__all__) == {"Embedder", "__version__", "load_model"}
    assert {
        "absolute_loss",
        "contrastive_loss",
        "darkrank_loss",
        "multi_similarity_loss",
        "relational_loss",
        "rkd_loss",
        "triplet_loss",
    } <= set(ram_cli.losses.__all__)
    assert {
        "apply_whitening",
        "embed_images",
        "label_metrics",
        "retrieval_metrics",
        "revisited_metrics",
        "whiten_pca",
        "whiten_supervised",
    } <= set(ram_cli.evaluation.__all__)
    for module in (ram_cli, ram_cli.losses, ram_cli.evaluation):
        for name in module.__all__:
            assert getattr(module, name) is not None


def test_python_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    from ram_cli.models import build_embedder, save_model

    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    for name, size in (("student", 32), ("teacher", 64)):
        model = build_embedder(
            "timm:test_resnet", pretrained=False, dimension=8, input_size=size
        ).eval()
        save_model(model, Path("ram-demo", name), provenance={})
    photos = Path("photos/of things")
    photos.mkdir(parents=True)
    for number in range(6):
        image = Image.new("RGB", (80, 70), (40 * number, 40, 200))
        image.save(photos / f"{number}.jpg")
    image.save("query.jpg")
    blocks = re.findall(r"```python\n(.*?)```", README, re.S)
    assert blocks
    for code in blocks:
        assert len(code.split("import ram_cli\n")[1].strip().splitlines()) < 10
        exec(code, {})  # as it is written
    found = capsys.readouterr().out.splitlines()
    assert len(found) == 5
    assert all("photos/of things/" in line for line in found)


def test_commands_of_the_readme_exist():
    from ram_cli.settings import SETTINGS

    named = set(re.findall(r"^(?:RAM_\w+=\S+ +)?ram (\w+)", README, re.M))
    assert {"demo", "train", "distill", "test", "export"} <= named
    assert named <= set(SETTINGS)


def test_extras_that_messages_and_readme_name_exist():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for extra in re.findall(r"\.\[(\w+)\]", README):
        assert extra in project["optional-dependencies"]
