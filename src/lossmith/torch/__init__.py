"""Losses for PyTorch: ``from lossmith.torch import DiceLoss``."""

from lossmith.torch.loss import Loss, SumLoss
from lossmith.torch.parse import parse
from lossmith.torch.pixel import (
    CrossEntropyLoss,
    FocalLoss,
    L1Loss,
    MissingAnnotationLoss,
    MSELoss,
    OhemLoss,
    SmoothL1Loss,
    TopKLoss,
    WeightedCrossEntropyLoss,
)
from lossmith.torch.region import (
    DiceLoss,
    FocalTverskyLoss,
    GeneralizedDiceLoss,
    JaccardLoss,
    LovaszHingeLoss,
    LovaszSoftmaxLoss,
    TverskyLoss,
)
from lossmith.torch.targets import class_counts, fit, unet_weight_map

__all__ = [
    "CrossEntropyLoss",
    "DiceLoss",
    "FocalLoss",
    "FocalTverskyLoss",
    "GeneralizedDiceLoss",
    "JaccardLoss",
    "L1Loss",
    "Loss",
    "LovaszHingeLoss",
    "LovaszSoftmaxLoss",
    "MSELoss",
    "MissingAnnotationLoss",
    "OhemLoss",
    "SmoothL1Loss",
    "SumLoss",
    "TopKLoss",
    "TverskyLoss",
    "WeightedCrossEntropyLoss",
    "class_counts",
    "fit",
    "parse",
    "unet_weight_map",
]
