"""Networks that do not train give the vectors of torch, whatever runs them."""

import copy

import pytest
import torch

from ram_cli.engine import Runtime, inference, resolve_runtime
from ram_cli.engine import runtime as runtime_module
from ram_cli.engine.inference import OnnxNetwork, fast_inference
from ram_cli.errors import ConfigError, ModelError
from ram_cli.models import build_embedder

pytest.importorskip("onnxruntime")

CPU = torch.device("cpu")
ALWAYS, AUTO = Runtime(CPU, "fp32", "onnxruntime"), Runtime(CPU, "fp32", "auto")


class Notes:
    """A reporter that keeps what it is told."""

    def __init__(self):
        self.said = []

    def note(self, message):
        self.said.append(message)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build_embedder(
        "timm:test_efficientnet", pretrained=False, dimension=16, input_size=64
    ).eval()


@pytest.mark.parametrize(
    ("backbone", "size", "pooled"),
    [
        ("timm:test_efficientnet", 64, True),
        ("timm:test_resnet", 96, False),
        ("timm:test_vit", 160, False),
    ],
)
def test_vectors_are_those_of_torch(backbone, size, pooled, monkeypatch):
    torch.manual_seed(1)
    model = build_embedder(backbone, pretrained=False, dimension=16, input_size=size)
    model.eval().to(memory_format=torch.channels_last)
    before = copy.deepcopy(model.state_dict())
    monkeypatch.setattr(inference, "_CHUNK_PIXELS", 3 * size * size)  # two chunks, one not full
    embed = fast_inference(model, ALWAYS, size=size, images=1, pooled=pooled)
    assert isinstance(embed, OnnxNetwork)
    images = torch.randn(5, 3, size, size).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        expected = model.pool(images) if pooled else model(images)
    found = embed(images)
    assert found.shape == expected.shape
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not model.training


@pytest.mark.parametrize(
    "backbone",
    [
        "timm:test_efficientnet",
        "timm:tf_efficientnet_lite0",  # pads by the size of what it sees
        "timm:test_resnet",
    ],
)
def test_one_network_takes_images_of_any_shape(backbone):
    torch.manual_seed(2)
    model = build_embedder(backbone, pretrained=False, dimension=16, input_size=64).eval()
    embed = fast_inference(model, ALWAYS, size=64, images=1, any_shape=True)
    assert isinstance(embed, OnnxNetwork)
    for shape in ((64, 64), (99, 131), (150, 70), (33, 256)):
        images = torch.randn(2, 3, *shape)
        with torch.no_grad():
            expected = model(images)
        torch.testing.assert_close(embed(images), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    ("backbone", "more"),
    [("timm:test_resnet", {"regional": True}), ("timm:test_vit", {})],
)
def test_what_a_trace_takes_for_constant_is_found(backbone, more, capfd):
    model = build_embedder(backbone, pretrained=False, dimension=16, input_size=160, **more).eval()
    notes = Notes()
    given = {"size": 160, "images": 1, "reporter": notes}
    assert fast_inference(model, ALWAYS, any_shape=True, **given) is model
    assert "stays with torch" in notes.said[0]
    assert not capfd.readouterr().out
    assert isinstance(fast_inference(model, ALWAYS, **given), OnnxNetwork)


def test_a_size_that_a_network_does_not_take_is_an_error_where_it_is_the_only_one(
    model, monkeypatch
):
    def refuse(images):
        raise ModelError("takes 32 pixels only")

    monkeypatch.setattr(model, "pool", refuse)
    with pytest.raises(ModelError, match="32 pixels"):
        fast_inference(model, ALWAYS, size=64, images=1)
    assert fast_inference(model, ALWAYS, size=64, images=1, any_shape=True) is model


def test_the_same_images_give_the_same_bits_again(model):
    images = torch.randn(4, 3, 64, 64)
    first, second = (fast_inference(model, ALWAYS, size=64, images=1)(images) for _ in range(2))
    assert torch.equal(first, second)


def test_the_global_generator_is_left_alone(model):
    state = torch.get_rng_state()
    fast_inference(model, ALWAYS, size=64, images=1)
    assert torch.equal(torch.get_rng_state(), state)


def test_auto_hands_over_only_what_is_long(model, monkeypatch):
    monkeypatch.setattr(inference, "WORTH_PIXELS", 10 * 64 * 64)
    assert fast_inference(model, AUTO, size=64, images=9) is model
    assert isinstance(fast_inference(model, AUTO, size=64, images=10), OnnxNetwork)
    assert fast_inference(model, Runtime(CPU, "fp32"), size=64, images=10**9) is model


def test_a_network_that_cannot_be_handed_over_stays_with_torch(model, monkeypatch):
    def refuse(network, shape, any_shape):
        raise RuntimeError("operator not supported\nand a long story")

    monkeypatch.setattr(inference, "_exported", refuse)
    notes = Notes()
    assert fast_inference(model, ALWAYS, size=64, images=1, reporter=notes) is model
    assert len(notes.said) == 1
    assert "operator not supported" in notes.said[0]
    assert "long story" not in notes.said[0]


@pytest.mark.parametrize("wrong", [0.01, float("nan")])
def test_a_network_of_other_vectors_stays_with_torch(model, monkeypatch, wrong):
    right = OnnxNetwork.__call__
    monkeypatch.setattr(OnnxNetwork, "__call__", lambda self, images: right(self, images) + wrong)
    notes = Notes()
    assert fast_inference(model, ALWAYS, size=64, images=1, reporter=notes) is model
    assert "differ" in notes.said[0]


def test_engines_that_are_not_there_are_refused(monkeypatch):
    assert resolve_runtime("cpu", "fp32").engine == "auto"
    assert resolve_runtime("cpu", "bf16").engine == "torch"
    with pytest.raises(ConfigError, match="fp32 on a CPU"):
        resolve_runtime("cpu", "bf16", "onnxruntime")
    with pytest.raises(ConfigError, match="none of torch"):
        resolve_runtime("cpu", "fp32", "abacus")
    monkeypatch.setattr(runtime_module, "onnxruntime_installed", lambda: False)
    assert resolve_runtime("cpu", "fp32").engine == "torch"
    with pytest.raises(ConfigError, match="pip install"):
        resolve_runtime("cpu", "fp32", "onnxruntime")
