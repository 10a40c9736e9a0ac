"""The cost of a query: operations as published for the backbones of the papers."""

import pytest

from ram_cli.evaluation.cost import count_gmac
from ram_cli.models.loading import load_model

PUBLISHED = {
    "resnet50": {448: 16.35, 224: 4.09, 112: 1.08},
    "mobilenet_v2": {224: 0.30, 362: 0.82},
    "timm:tf_efficientnet_b3": {362: 2.66},
    "resnet101": {362: 21.2},
    "vgg16": {362: 39.6},
}


@pytest.mark.parametrize("backbone", PUBLISHED)
def test_operations_are_those_of_the_papers(backbone: str) -> None:
    model = load_model(backbone, pretrained=False).to("meta")
    for size, gmac in PUBLISHED[backbone].items():
        digits = 1 if gmac > 20 else 2
        assert round(count_gmac(model, size), digits) == pytest.approx(gmac)
