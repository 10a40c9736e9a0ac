"""Batch normalisation that keeps its statistics while the rest trains."""

from types import MethodType

from torch import nn
from torch.nn.modules.batchnorm import _NormBase


def freeze_batchnorm_statistics(module: nn.Module) -> None:
    """Keep every batch normalisation inside `module` in eval mode, also after `.train()`.

    Running means and variances stay as they are; scale and shift still train. A copy of the module
    keeps the property.
    """
    for child in module.modules():
        if isinstance(child, _NormBase):
            child.eval()
            vars(child)["train"] = MethodType(_stay_in_eval, child)


def _stay_in_eval(module: nn.Module, mode: bool = True) -> nn.Module:
    module.training = False
    return module
