"""Graphs of networks of every kind, compared with PyTorch."""

import time
from dataclasses import replace

import pytest
import torch

from ram_cli.errors import ModelError
from ram_cli.export import onnx, onnx_check
from ram_cli.export.onnx import write_onnx
from ram_cli.export.onnx_check import check_onnx, side_to_check, write_compared
from ram_cli.models import build_embedder


def views(model) -> torch.Tensor:
    side = side_to_check(model)
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (3, 3, side, side), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize(
    ("backbone", "size", "options", "any_size"),
    [
        ("timm:test_vit", 160, {"pooling": "gemmp"}, True),
        ("timm:test_resnet", 64, {"regional": True, "regional_whitening": True}, False),
    ],
)
def test_vectors_are_those_of_pytorch(tmp_path, backbone, size, options, any_size):
    model = build_embedder(
        backbone, dimension=16, pretrained=False, input_size=size, **options
    ).eval()
    file = write_onnx(model, tmp_path)
    assert file.any_size is any_size
    assert check_onnx(file, model, views(model)) <= 1e-4


def test_what_cannot_be_exported_is_named(tmp_path, monkeypatch):
    model = build_embedder("timm:test_resnet", dimension=16, pretrained=False, input_size=64).eval()

    def by_value(features):
        return features.mean(dim=(2, 3)) * float(features.sum().item() > 0)

    monkeypatch.setattr(model.pooling, "forward", by_value)
    with pytest.raises(ModelError, match=r"test_resnet cannot be exported"):
        write_onnx(model, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("backbone", ["mobilevit_xxs", "tiny_vit_5m_224"])
def test_nobody_waits_for_formulas_that_never_close(backbone):
    model = build_embedder(f"timm:{backbone}", dimension=16, pretrained=False, input_size=128)
    assert not onnx._may_be_free(model)


def test_a_graph_of_one_size_does_where_any_size_takes_too_long(tmp_path, monkeypatch):
    model = build_embedder("timm:test_resnet", dimension=16, pretrained=False, input_size=64).eval()
    program = onnx._program

    def endless(graph, example, names):
        while len(names) > 1:
            time.sleep(0.01)
        return program(graph, example, names)

    monkeypatch.setattr(onnx, "_program", endless)
    monkeypatch.setattr(onnx, "_SECONDS_FOR_ANY_SIZE", 1)
    file = write_onnx(model, tmp_path)
    assert not file.any_size
    assert check_onnx(file, model, views(model)) <= 1e-4


def test_the_first_cause_is_told(tmp_path, monkeypatch):
    model = build_embedder("timm:test_resnet", dimension=16, pretrained=False, input_size=64).eval()

    def failing(graph, example, names):
        try:
            raise ValueError("no such operator: odd\nand more")
        except ValueError as error:
            raise RuntimeError("the exporter failed") from error

    monkeypatch.setattr(onnx, "_program", failing)
    with pytest.raises(ModelError, match=r"cannot be exported: no such operator: odd$"):
        write_onnx(model, tmp_path)


def test_a_graph_that_is_right_at_one_size_only_is_of_that_size(tmp_path, monkeypatch):
    model = build_embedder("timm:test_resnet", dimension=16, pretrained=False, input_size=64).eval()
    real, checked = onnx_check.check_onnx, []

    def wrong_elsewhere(file, model, views):
        checked.append(file.any_size)
        if file.any_size:
            raise ModelError("onnx: vectors differ")
        return real(file, model, views)

    monkeypatch.setattr(onnx_check, "check_onnx", wrong_elsewhere)
    file = write_compared(model, tmp_path, views=views(model))
    assert checked == [True, False]
    assert not file.any_size
    assert file.difference <= 1e-4
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    with pytest.raises(ModelError, match=r"cannot compute 1 images of 64 × 96 pixels: "):
        real(replace(file, any_size=True), model, views(model))  # what the engine itself raises


def test_what_the_engine_cannot_compute_is_one_line(tmp_path, monkeypatch):
    model = build_embedder("timm:test_resnet", dimension=16, pretrained=False, input_size=64).eval()

    def failing(engine, images):
        raise RuntimeError("Non-zero status code\nwhile running Add node")

    monkeypatch.setattr(onnx_check.Engine, "vectors", failing)
    with pytest.raises(
        ModelError, match=r"cannot compute 1 images of 64 × 64 pixels: Non-zero .*"
    ) as caught:
        write_compared(model, tmp_path, views=views(model))
    assert "\n" not in str(caught.value)
