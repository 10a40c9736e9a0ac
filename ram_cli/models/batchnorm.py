"""Batch normalisation that keeps its statistics while the rest trains."""

from collections.abc import Callable
from types import MethodType
from typing import TypeVar, cast

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

Network = TypeVar("Network", bound=nn.Module)


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


def share_batchnorm_statistics(module: Network) -> Network:
    """Let every batch normalisation that trains compute its statistics over all processes.

    Names and shapes of parameters stay as they are.
    """
    # imported where it is needed, for it takes a second
    from timm.layers.norm_act import convert_sync_batchnorm

    convert: Callable[[nn.Module], nn.Module] = convert_sync_batchnorm
    return cast(Network, convert(module))
