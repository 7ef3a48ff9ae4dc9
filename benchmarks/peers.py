"""How each library is asked for a definition.

A function here takes the definition and the batch and gives a function of the logits; the target is brought into the
library's form before, and that is not timed.
"""

from functools import partial
from typing import Any

from definitions import ALPHA, BETA, GAMMA, Definition, Loss, NotOfferedError, Run, choose, cross_entropy, on
from workloads import Batch


def monai(d: Definition, b: Batch) -> Run:
    """MONAI; its focal mean divides by the classes too, which is undone here."""
    from monai import losses

    binary = b.task == "binary"
    form: dict[str, Any] = {"sigmoid": True} if binary else {"softmax": True, "to_onehot_y": True}
    region = {**form, "smooth_nr": 0.0, "smooth_dr": 0.0, "batch": d.pool == "batch"}
    target = b.real if binary else b.channel

    focal = losses.FocalLoss(gamma=GAMMA, to_onehot_y=not binary, use_softmax=not binary)
    return choose(
        {
            "focal": lambda x: b.classes * focal(x, target),
            "dice": on(losses.DiceLoss(**region), target),
            "jaccard": on(losses.DiceLoss(jaccard=True, **region), target),
            "tversky": on(losses.TverskyLoss(alpha=ALPHA, beta=BETA, **region), target),
            "gdice": on(losses.GeneralizedDiceLoss(**region), target),
            "dice+ce": on(losses.DiceCELoss(**region), target),
        },
        d,
    )


def kornia(d: Definition, b: Batch) -> Run:
    """kornia: by image, over the classes present; 2-D, so a volume goes in as (N, C, D, H W). Focal as in `monai`."""
    from kornia import losses

    if d.pool == "batch":
        raise NotOfferedError("by image only")

    if b.task == "binary":
        binary_focal = losses.BinaryFocalLossWithLogits(alpha=None, gamma=GAMMA, reduction="mean")
        return choose(
            {
                "ce": cross_entropy(b),
                "focal": on(binary_focal, b.real),
                "lovasz": _flattened(losses.LovaszHingeLoss(), b),
            },
            d,
        )
    focal = _flattened(losses.FocalLoss(alpha=None, gamma=GAMMA, reduction="mean"), b)
    return choose(
        {
            "ce": cross_entropy(b),
            "focal": lambda x: b.classes * focal(x),
            "dice": _flattened(losses.DiceLoss(average="macro"), b),
            "jaccard": _flattened(losses.TverskyLoss(alpha=1.0, beta=1.0), b),
            "tversky": _flattened(losses.TverskyLoss(alpha=ALPHA, beta=BETA), b),
            "lovasz": _flattened(losses.LovaszSoftmaxLoss(), b),
        },
        d,
    )


def _flattened(loss: Loss, b: Batch) -> Run:
    """A 2-D loss on any number of spatial dimensions: all but the first become one, a view."""
    if b.logits.ndim == 4:
        return on(loss, b.labels)
    labels = b.labels.flatten(2)
    return lambda x: loss(x.flatten(3), labels)


def smp(d: Definition, b: Batch) -> Run:
    """segmentation_models.pytorch: over the batch. Its FocalLoss is one-vs-rest; the softmax form is a function."""
    from segmentation_models_pytorch import losses
    from segmentation_models_pytorch.losses import _functional

    if d.pool == "image" and d.loss != "lovasz":
        raise NotOfferedError("over the batch only")
    binary = b.task == "binary"
    target = b.real if binary else b.labels
    softmax_focal = partial(_functional.softmax_focal_loss_with_logits, gamma=GAMMA)
    return choose(
        {
            "ce": cross_entropy(b),
            "focal": on(losses.FocalLoss("binary", gamma=GAMMA) if binary else softmax_focal, target),
            "dice": on(losses.DiceLoss(b.task), target),
            "jaccard": on(losses.JaccardLoss(b.task), target),
            "tversky": on(losses.TverskyLoss(b.task, alpha=ALPHA, beta=BETA), target),
            "lovasz": on(losses.LovaszLoss(b.task, per_image=d.pool == "image"), target),
        },
        d,
    )


def toolbelt(d: Definition, b: Batch) -> Run:
    """pytorch-toolbelt: over the batch; its Lovasz-softmax takes probabilities."""
    from pytorch_toolbelt import losses

    per_image = d.pool == "image"
    if per_image and d.loss != "lovasz":
        raise NotOfferedError("over the batch only")
    binary = b.task == "binary"
    target = b.real if binary else b.labels
    softmax, hinge = losses.LovaszLoss(per_image=per_image), losses.BinaryLovaszLoss(per_image=per_image)
    focal = losses.BinaryFocalLoss if binary else losses.CrossEntropyFocalLoss
    return choose(
        {
            "ce": cross_entropy(b),
            "focal": on(focal(gamma=GAMMA), target),
            "dice": on(losses.DiceLoss(b.task), target),
            "jaccard": on(losses.JaccardLoss(b.task), target),
            "lovasz": on(hinge, target) if binary else (lambda x: softmax(x.softmax(1), target)),
        },
        d,
    )


def exacta(d: Definition, b: Batch) -> Run:
    """exacta; Jaccard is its Tversky with alpha = beta = 1."""
    from exacta import losses

    binary = b.task == "binary"
    form: dict[str, Any] = (
        {"activation": "sigmoid", "target_format": "one-hot"} if binary else {"activation": "softmax"}
    )
    target = b.real if binary else b.labels
    region = {**form, "smooth": 0.0, "batch_dice": d.pool == "batch"}
    lovasz = losses.LovaszHingeLoss if binary else losses.LovaszSoftmaxLoss
    return choose(
        {
            "focal": on(losses.FocalLoss(gamma=GAMMA, **form), target),
            "dice": on(losses.DiceLoss(**region), target),
            "jaccard": on(losses.TverskyLoss(alpha=1.0, beta=1.0, **region), target),
            "tversky": on(losses.TverskyLoss(alpha=ALPHA, beta=BETA, **region), target),
            "gdice": on(losses.GeneralizedDiceLoss(**region), target),
            "dice+ce": on(losses.DiceCELoss(**region), target),
            "lovasz": on(lovasz(per_image=d.pool == "image"), b.labels),
        },
        d,
    )


def torchvision(d: Definition, b: Batch) -> Run:
    """torchvision: the sigmoid focal loss only."""
    from torchvision.ops import sigmoid_focal_loss

    if b.task != "binary" or d.loss != "focal":
        raise NotOfferedError("no such loss")
    return on(partial(sigmoid_focal_loss, alpha=-1, gamma=GAMMA, reduction="mean"), b.real)
