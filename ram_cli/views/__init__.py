"""What the networks see: decoding, evaluation crops, coupled training views, epoch plans."""

from ram_cli.views.batch import CoupledBatch, CoupledSample, collate_coupled
from ram_cli.views.coupled import CoupledViews
from ram_cli.views.decode import decode_image, decode_with_size, image_pixels, stored_size
from ram_cli.views.deferred import DeferredBatch, DeferredSample, collate_deferred
from ram_cli.views.device_probe import obstacle_to_device_views
from ram_cli.views.evaluation import (
    EvaluationViews,
    LandmarkViews,
    evaluation_view,
    landmark_view,
    rescaled_view,
)
from ram_cli.views.pairs import label_pairs, listed_pairs, pair_count
from ram_cli.views.samplers import ClassPlan, class_plan, instance_plan
from ram_cli.views.single import SingleViews
from ram_cli.views.spec import InputSpec, ViewKey
from ram_cli.views.tensors import normalise, resize_batch
from ram_cli.views.whole import (
    Fit,
    WholeViews,
    bucket_shape,
    bucket_shapes,
    exact_batches,
    shape_batches,
    stack_by_shape,
)

__all__ = [
    "ClassPlan",
    "CoupledBatch",
    "CoupledSample",
    "CoupledViews",
    "DeferredBatch",
    "DeferredSample",
    "EvaluationViews",
    "Fit",
    "InputSpec",
    "LandmarkViews",
    "SingleViews",
    "ViewKey",
    "WholeViews",
    "bucket_shape",
    "bucket_shapes",
    "class_plan",
    "collate_coupled",
    "collate_deferred",
    "decode_image",
    "decode_with_size",
    "evaluation_view",
    "exact_batches",
    "image_pixels",
    "instance_plan",
    "label_pairs",
    "landmark_view",
    "listed_pairs",
    "normalise",
    "obstacle_to_device_views",
    "pair_count",
    "rescaled_view",
    "resize_batch",
    "shape_batches",
    "stack_by_shape",
    "stored_size",
]
