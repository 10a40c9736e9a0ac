"""What the networks see: decoding, evaluation crops, coupled training views, epoch plans."""

from ram_cli.views.spec import InputSpec, ViewKey
from ram_cli.views.tensors import normalise, resize_batch

__all__ = ["InputSpec", "ViewKey", "normalise", "resize_batch"]
