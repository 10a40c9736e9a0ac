"""Models: backbones, pooling, embedders, and how they are stored and found."""

from ram_cli.models.backbones import Backbone, build_backbone
from ram_cli.models.batchnorm import freeze_batchnorm_statistics, share_batchnorm_statistics
from ram_cli.models.build import build_embedder
from ram_cli.models.config import EmbedderConfig
from ram_cli.models.embedder import Embedder
from ram_cli.models.folder import (
    CARD_FILE,
    RESULTS_FILE,
    is_model_folder,
    model_hash,
    read_provenance,
    save_model,
    write_model,
)
from ram_cli.models.hub import MODEL_FILES, fetch_from_hub, is_hub_id, pinned
from ram_cli.models.loading import load_model
from ram_cli.models.pooling import POOLINGS, PoolingEntry, l2_normalise
from ram_cli.models.projection import pca_projection, ridge_projection, whiten
from ram_cli.models.whitening_file import (
    GALLERY_WHITENING_FILE,
    MULTI_SCALE_FILE,
    WHITENING_FILE,
    convert_whitening,
    copy_whitening,
    kept_whitening,
    save_whitening,
    stored_whitening,
)
from ram_cli.models.zoo import (
    AML_TEACHERS,
    LANDMARK_SIZE,
    ZOO,
    ZooEntry,
    find_in_zoo,
    published_as,
    zoo_whitening,
)

__all__ = [
    "AML_TEACHERS",
    "CARD_FILE",
    "GALLERY_WHITENING_FILE",
    "LANDMARK_SIZE",
    "MODEL_FILES",
    "MULTI_SCALE_FILE",
    "POOLINGS",
    "RESULTS_FILE",
    "WHITENING_FILE",
    "ZOO",
    "Backbone",
    "Embedder",
    "EmbedderConfig",
    "PoolingEntry",
    "ZooEntry",
    "build_backbone",
    "build_embedder",
    "convert_whitening",
    "copy_whitening",
    "fetch_from_hub",
    "find_in_zoo",
    "freeze_batchnorm_statistics",
    "is_hub_id",
    "is_model_folder",
    "kept_whitening",
    "l2_normalise",
    "load_model",
    "model_hash",
    "pca_projection",
    "pinned",
    "published_as",
    "read_provenance",
    "ridge_projection",
    "save_model",
    "save_whitening",
    "share_batchnorm_statistics",
    "stored_whitening",
    "whiten",
    "write_model",
    "zoo_whitening",
]
