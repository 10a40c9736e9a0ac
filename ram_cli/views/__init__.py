"""What the networks see: decoding, evaluation crops, coupled training views, epoch plans."""

from ram_cli.views.batch import CoupledBatch, CoupledSample, collate_coupled
from ram_cli.views.coupled import CoupledViews
from ram_cli.views.decode import decode_image, decode_with_size, image_pixels
from ram_cli.views.evaluation import (
    EvaluationViews,
    LandmarkViews,
    evaluation_view,
    landmark_view,
    rescaled_view,
)
from ram_cli.views.samplers import ClassPlan, class_plan, instance_plan
from ram_cli.views.single import SingleViews
from ram_cli.views.spec import InputSpec, ViewKey
from ram_cli.views.tensors import normalise, resize_batch

__all__ = [
    "ClassPlan",
    "CoupledBatch",
    "CoupledSample",
    "CoupledViews",
    "EvaluationViews",
    "InputSpec",
    "LandmarkViews",
    "SingleViews",
    "ViewKey",
    "class_plan",
    "collate_coupled",
    "decode_image",
    "decode_with_size",
    "evaluation_view",
    "image_pixels",
    "instance_plan",
    "landmark_view",
    "normalise",
    "rescaled_view",
    "resize_batch",
]
