"""The network that turns images into embeddings.

Letters: B images of H × W pixels, C channels of a feature map of h × w positions, D dimensions of
an embedding.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ram_cli.errors import ModelError
from ram_cli.models.backbones import Backbone
from ram_cli.models.config import EmbedderConfig
from ram_cli.models.images import ImageLike, embed
from ram_cli.models.pooling import (
    POOLINGS,
    Gem,
    LocalWhitening,
    build_pooling,
    full_precision,
    l2_normalise,
    linear,
)
from ram_cli.models.projection import orthogonal_start
from ram_cli.views.spec import InputSpec
from ram_cli.views.whole import Fit


class GalleryWhitening(Protocol):
    """Knows the whitening of a model's searches, or finds it once it is needed."""

    def find(self) -> tuple[Tensor, Tensor] | None:
        """Mean m `[D]` and P `[D, D]`, applied as P(x − m); None where there is none."""


class Embedder(nn.Module):
    """Backbone → [adapter] → [local whitening] → pooling → L2 → [projection → L2].

    Everything after the backbone runs in float32, also under autocast (float64 stays float64).

    Args:
        config: What to build; `dimension` counts only where there is a projection.
        backbone: The backbone that `config` names.

    Attributes:
        whitening_source: Finds the whitening of its searches; None for a model that was not loaded.
    """

    whitening_source: GalleryWhitening | None = None

    def __init__(self, config: EmbedderConfig, backbone: Backbone) -> None:
        super().__init__()
        channels = config.adapter or backbone.channels
        dimension = config.dimension if config.projection else channels
        self.config = replace(config, dimension=dimension)
        self.backbone = backbone
        self.adapter = _adapter(backbone.channels, config.adapter) if config.adapter else None
        self.local_whitening = LocalWhitening(channels) if config.local_whitening else None
        self.pooling = build_pooling(
            config.pooling,
            channels,
            regional=config.regional,
            regional_whitening=config.regional_whitening,
        )
        self.projection = nn.Linear(channels, dimension) if config.projection else None
        if self.projection is not None:
            orthogonal_start(self.projection)

    def forward(self, images: Tensor) -> Tensor:
        """Embed normalised images.

        Args:
            images: `[B, 3, H, W]`.

        Returns:
            Unit vectors `[B, D]`, float32 (float64 for a float64 model).
        """
        return self.project(self.pool(images))

    def pool(self, images: Tensor) -> Tensor:
        """Unit vectors before the projection: `[B, 3, H, W]` → `[B, C]`."""
        features = self.backbone(images)
        if self.adapter is not None:
            features = self.adapter(features)
        with full_precision(features) as wide:
            if self.local_whitening is not None:
                wide = self.local_whitening(wide)
            return l2_normalise(self.pooling(wide))

    def project(self, pooled: Tensor) -> Tensor:
        """Embeddings from what `pool` gives: `[B, C]` → unit vectors `[B, D]`."""
        if self.projection is None:
            return pooled
        with full_precision(pooled) as wide:
            return l2_normalise(linear(wide, self.projection))

    def embed(
        self,
        images: ImageLike | Iterable[ImageLike],
        *,
        fit: Fit | None = None,
        whitening: "bool | Embedder | None" = None,
        batch_size: int = 32,
    ) -> Tensor:
        """Embed images of any kind, prepared as this model expects them.

        Of a JPEG file whose shorter side is 4.6 times the input or more, a half, a quarter or an
        eighth of the resolution is decoded, as in evaluation, several times faster. Its vector has
        a cosine of 0.999 on average with that of all its pixels, as an opened image or an array
        has them, and ranks as well, also where both kinds are searched together. Whole images are
        decoded in full.

        Args:
            images: N images, or one: paths, images of Pillow, uint8 RGB arrays `[H, W, 3]`, grey
                ones `[H, W]`, uint8 tensors `[3, H, W]`; kinds may be mixed, and any iterable or
                one array `[N, H, W, 3]` will do.
            fit: What it sees of an image: "crop", the centre, or "whole", all of it; None for what
                it was made for.
            whitening: Whether vectors are whitened as in its searches, as by `ram test --whiten`:
                with the stored whitening of the gallery network, which is the teacher of a student
                and else the model itself. None whitens where there is one and `fit` is "whole" by
                itself. A model instead: that of this gallery network.
            batch_size: Images that are computed at once, on the device the model is on; of whole
                images as many as have the pixels of so many 224 x 224 crops.

        Returns:
            Unit vectors `[N, D]`, float32, on the CPU, in the order of `images`.

        Raises:
            UnreadableImageError: A file is missing or damaged.
            DataError: Something is no image, or its pixels are not uint8.
            ModelError: A whitening is asked for and there is none, or its network is not here.
        """
        return embed(self, images, fit=fit, whitening=whitening, batch_size=batch_size)

    @property
    def fit(self) -> Fit:
        """What it was made to see of an image; the centre where nothing says so."""
        return "whole" if self.config.fit == "whole" else "crop"

    @property
    def spec(self) -> InputSpec:
        """Size, mean and std of its input."""
        return self.config.spec

    @property
    def dimension(self) -> int:
        """D."""
        return self.config.dimension

    @property
    def channels(self) -> int:
        """C, width of what enters the projection."""
        return self.config.adapter or self.backbone.channels

    @property
    def scale_power(self) -> float:
        """Power p of the mean that joins the vectors of several scales.

        GeM's own p where pooling is the last layer, else 1 (Radenović et al., TPAMI 2018,
        section 3.4).
        """
        if (
            self.projection is None
            and isinstance(self.pooling, Gem)
            and self.pooling.p.numel() == 1
        ):
            return float(self.pooling.p.detach())
        return 1.0

    def set_input_size(self, size: int) -> None:
        """Let `spec` ask for square images of `size` pixels.

        Raises:
            ModelError: The backbone takes no images of that size.
        """
        if size < 1 or not self.backbone.takes_size(size):
            raise ModelError(
                f"{self.config.backbone} was built for {self.config.network_size} pixels "
                f"and cannot take {size}."
            )
        self.config = replace(self.config, input_size=size)

    @torch.no_grad()
    def set_projection(self, weight: Tensor, bias: Tensor) -> None:
        """Start the projection from `weight` `[D, C]` and `bias` `[D]`.

        Raises:
            ModelError: There is no projection, or one of another shape.
        """
        layer = self.projection
        if layer is None or layer.weight.shape != weight.shape or layer.bias.shape != bias.shape:
            shape = "none" if layer is None else list(layer.weight.shape)
            raise ModelError(f"a projection {list(weight.shape)} does not fit: there is {shape}.")
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)

    def parameter_groups(self, lr: float, weight_decay: float) -> list[dict[str, Any]]:
        """Parameters that train, as optimisers take them.

        Args:
            lr: Learning rate of the backbone and the linear layers.
            weight_decay: Theirs too; the power of a pooling gets none.

        Returns:
            Groups `backbone`, `pooling`, `projection`, as far as they hold anything, each with
            `name`, `params`, `lr`, `lr_scale` (GeM 10, GeMmp 100, else 1) and `weight_decay`;
            `lr` includes `lr_scale`, for schedules that start from one common rate.
        """
        powers = [
            parameter
            for module in self.pooling.modules()
            for parameter in (module.parameters() if isinstance(module, Gem) else ())
        ]
        taken = {id(parameter) for parameter in (*powers, *self.backbone.parameters())}
        rest = [parameter for parameter in self.parameters() if id(parameter) not in taken]
        pooling_scale = POOLINGS[self.config.pooling].lr_scale
        groups = (
            ("backbone", list(self.backbone.parameters()), 1.0, weight_decay),
            ("pooling", powers, pooling_scale, 0.0),
            ("projection", rest, 1.0, weight_decay),
        )
        return [
            {
                "name": name,
                "params": training,
                "lr": lr * scale,
                "lr_scale": scale,
                "weight_decay": decay,
            }
            for name, parameters, scale, decay in groups
            if (training := [parameter for parameter in parameters if parameter.requires_grad])
        ]


def _adapter(channels: int, width: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(channels, width, 1, bias=False), nn.ReLU())
