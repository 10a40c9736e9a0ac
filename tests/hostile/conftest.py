"""Hostile input: a Hub on this machine that serves it, and a model to damage."""

from pathlib import Path

import pytest
from hub_fixtures import hub  # noqa: F401


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A model folder, with whitening."""
    import torch
    from safetensors.torch import save_file

    from ram_cli.models import build_embedder, save_model

    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp("whole") / "model"
    model = build_embedder("timm:test_resnet", pretrained=False, dimension=8, input_size=32)
    save_model(model, folder, provenance={})
    save_file({"m": torch.zeros(8), "P": torch.eye(8)}, folder / "whitening.safetensors")
    return folder
