"""The cost of boundary losses beside MONAI's, and of the distance transform they stand on.

    .venv-bench/bin/python benchmarks/boundary.py --threads 1

Times are those of the processor, all threads together, in milliseconds: the least of the repetitions, forward and
backward, with the maps computed in every call unless said otherwise. Labels come in patches, or as noise.
"""

import argparse
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version

import edt
import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from lossmith.data import DistanceMaps
from lossmith.torch import BoundaryLoss, HausdorffDTLoss, parse

Run = Callable[[Tensor], Tensor]
TASK = "multiclass"


def least(runs: Mapping[str, Callable[[], object]], repetitions: int) -> dict[str, tuple[float, float]]:
    """Milliseconds of the processor, and of the clock. The runs take turns: what else the machine does meets all."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for _ in range(repetitions):
        for name, run in runs.items():
            clock, processor = time.perf_counter(), time.process_time()
            run()
            found[name].append((1e3 * (time.process_time() - processor), 1e3 * (time.perf_counter() - clock)))
    return {name: (min(cpu for cpu, _ in times), min(wall for _, wall in times)) for name, times in found.items()}


def labels(kind: str, images: int, classes: int, size: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    if kind == "noise":
        return torch.randint(classes, (images, size, size), generator=generator)
    coarse = torch.randn(images, classes, max(2, size // 20), max(2, size // 20), generator=generator)
    return F.interpolate(coarse, size=size, mode="bicubic").argmax(1)


def losses(target: Tensor, classes: int) -> Iterator[tuple[str, Run]]:
    """Ours, MONAI's and the yardstick, called with logits."""
    from monai.losses import BoundaryLoss as MonaiBoundary
    from monai.losses import HausdorffDTLoss as MonaiHausdorff

    hot = F.one_hot(target, classes).movedim(-1, 1).float()
    phi = torch.from_numpy(DistanceMaps(TASK, classes).batch(target))
    boundary, hausdorff = BoundaryLoss(TASK), HausdorffDTLoss(TASK)
    monai_boundary, monai_hausdorff = MonaiBoundary(softmax=True), MonaiHausdorff(softmax=True, include_background=True)
    yield "F.cross_entropy", lambda z: F.cross_entropy(z, target)
    yield "MONAI BoundaryLoss", lambda z: monai_boundary(z, hot)
    yield "lossmith BoundaryLoss", lambda z: boundary(z, target)
    yield "lossmith BoundaryLoss, map given", lambda z: boundary(z, target, distance=phi)
    yield "MONAI HausdorffDTLoss", lambda z: monai_hausdorff(z, hot)
    yield "lossmith HausdorffDTLoss", lambda z: hausdorff(z, target)
    yield "lossmith HausdorffDTLoss, map given", lambda z: hausdorff(z, target, distance=phi)
    for name in ("boundary_dou", "active_contour", "surface_dice", "structure"):
        loss = parse(name, TASK)
        yield f"lossmith {type(loss).__name__}", lambda z, loss=loss: loss(z, target)


def transforms(target: Tensor, classes: int) -> Iterator[tuple[str, Callable[[], object]]]:
    """Signed distances of every class of every image."""
    masks = [(image == c).numpy() for image in target for c in range(classes)]
    edges = [mask.view(np.uint8) + np.uint8(1) for mask in masks]
    yield (
        "scipy.ndimage.distance_transform_edt, twice",
        lambda: [ndimage.distance_transform_edt(~mask) - ndimage.distance_transform_edt(mask) for mask in masks],
    )
    yield "edt.edtsq, twice", lambda: [edt.edtsq(~mask) - edt.edtsq(mask) for mask in masks]
    yield "edt.edtsq of two labels, once (used)", lambda: [edt.edtsq(edge) for edge in edges]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shape", type=int, nargs=3, default=(2, 21, 256), metavar=("N", "C", "SIZE"))
    parser.add_argument("--labels", choices=("patches", "noise"), default="patches")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # MONAI's at import
    torch.set_num_threads(options.threads)
    images, classes, size = options.shape
    target = labels(options.labels, images, classes, size)
    logits = torch.randn(images, classes, size, size, generator=torch.Generator().manual_seed(1))
    logits += 2 * F.one_hot(target, classes).movedim(-1, 1)
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "monai", "edt", "scipy"))
    print(f"{images}x{classes}x{size}x{size}, {options.labels}, threads {options.threads}, {versions}")
    print(f"load before {os.getloadavg()[0]:.1f}\n\n| | processor ms | clock ms |\n|---|---|---|")
    runs: dict[str, Callable[[], object]] = {}
    for name, loss in losses(target, classes):
        runs[name] = lambda loss=loss: loss(logits.clone().requires_grad_()).backward()
    runs |= dict(transforms(target, classes))
    for name, (processor, clock) in least(runs, options.repetitions).items():
        print(f"| {name} | {processor:.0f} | {clock:.0f} |")


if __name__ == "__main__":
    main()
