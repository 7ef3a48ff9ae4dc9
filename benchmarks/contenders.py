"""Who takes part: this library, torch's cross-entropy as the yardstick, plain torch code, and the peers."""

from collections.abc import Callable
from dataclasses import dataclass

import peers
from definitions import ALPHA, BETA, GAMMA, Definition, Run, cross_entropy, on
from plain import plain_torch
from workloads import Batch


def lossmith(d: Definition, b: Batch) -> Run:
    """This library. Its smooth is 0 and its classes "all" by default."""
    from lossmith import torch as ours

    target = b.mask if b.task == "binary" else b.labels
    # Peers see one channel as one class; the paper's two classes are this library's binary form.
    gdice_task = "multilabel" if b.task == "binary" else b.task
    pool, per_image = d.pool or "image", d.pool == "image"
    builds: dict[str, Callable[[], ours.Loss]] = {
        "ce": lambda: ours.CrossEntropyLoss(b.task),
        "focal": lambda: ours.FocalLoss(b.task, gamma=GAMMA),
        "dice": lambda: ours.DiceLoss(b.task, pool=pool),
        "jaccard": lambda: ours.JaccardLoss(b.task, pool=pool),
        "tversky": lambda: ours.TverskyLoss(b.task, alpha=ALPHA, beta=BETA, pool=pool),
        "gdice": lambda: ours.GeneralizedDiceLoss(gdice_task, pool=pool),
        "lovasz": lambda: (
            ours.LovaszHingeLoss("binary", per_image=per_image)
            if b.task == "binary"
            else ours.LovaszSoftmaxLoss("multiclass", per_image=per_image)
        ),
    }
    parts = [(1.0, builds[name]()) for name in d.loss.split("+")]
    return on(ours.SumLoss(parts) if len(parts) > 1 else parts[0][1], target)


def yardstick(_: Definition, b: Batch) -> Run:
    """torch's cross-entropy, whatever the loss of the row."""
    return cross_entropy(b)


@dataclass(frozen=True)
class Contender:
    """A library as the tables name it, the package and module it comes from, and how it is asked for a loss."""

    name: str
    package: str
    module: str
    ask: Callable[[Definition, Batch], Run]


OURS, YARDSTICK, PLAIN = "lossmith", "F.cross_entropy", "plain torch"
CONTENDERS = (
    Contender(OURS, "lossmith", "lossmith.torch", lossmith),
    Contender(YARDSTICK, "torch", "torch", yardstick),
    Contender(PLAIN, "torch", "torch", plain_torch),
    Contender("MONAI", "monai", "monai.losses", peers.monai),
    Contender("kornia", "kornia", "kornia.losses", peers.kornia),
    Contender("smp", "segmentation-models-pytorch", "segmentation_models_pytorch.losses", peers.smp),
    Contender("toolbelt", "pytorch-toolbelt", "pytorch_toolbelt.losses", peers.toolbelt),
    Contender("exacta", "exacta", "exacta.losses", peers.exacta),
    Contender("torchvision", "torchvision", "torchvision.ops", peers.torchvision),
)
