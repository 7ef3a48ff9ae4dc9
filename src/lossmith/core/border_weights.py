"""U-Net's weights of the pixels between objects, by distances to them: on the CPU, in NumPy and SciPy."""

from collections.abc import Iterator, Sequence

import numpy as np

from lossmith.errors import must

REACH = 9.0  # in sigmas: beyond it the border term is below w0 exp(-40)


def unet_weight_map(
    target: np.ndarray,
    valid: np.ndarray,
    w0: float,
    sigma: float,
    *,
    class_weight: str | Sequence[float] | None,
    instances: bool,
) -> np.ndarray:
    """U-Net's border weights of one mask of class indices (or instance ids); see `lossmith.torch.unet_weight_map`."""
    background = target == 0
    near, next_near = _two_nearest(target, instances, REACH * sigma)
    border = w0 * np.exp(-((near + next_near) ** 2) / (2 * sigma**2))
    weights = _class_weights(np.where(background, 0, 1) if instances else target, valid, class_weight)
    return np.where(valid, weights + np.where(background, border, 0.0), 0.0)


def _two_nearest(target: np.ndarray, instances: bool, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Distance of each pixel to the nearest and the second nearest object; inf beyond `reach`."""
    from scipy import ndimage

    near, next_near = np.full(target.shape, np.inf), np.full(target.shape, np.inf)
    for box, inside in _objects(target, instances):
        window = tuple(slice(max(0, side.start - int(reach) - 1), side.stop + int(reach) + 1) for side in box)
        outside = np.ones(near[window].shape, dtype=bool)
        offset = tuple(
            slice(side.start - seen.start, side.stop - seen.start) for side, seen in zip(box, window, strict=True)
        )
        outside[offset] = ~inside
        distance = ndimage.distance_transform_edt(outside)
        next_near[window] = np.minimum(next_near[window], np.maximum(near[window], distance))
        near[window] = np.minimum(near[window], distance)
    return near, next_near


def _objects(target: np.ndarray, instances: bool) -> Iterator[tuple[tuple[slice, ...], np.ndarray]]:
    """Each object as its bounding box and its mask therein; objects of a class are its connected components."""
    from scipy import ndimage

    for value in np.unique(target[target != 0]):
        labels = (target == value).astype(np.int32)
        if not instances:
            labels, _ = ndimage.label(labels, structure=np.ones((3,) * target.ndim))
        for i, box in enumerate(ndimage.find_objects(labels), start=1):
            yield box, labels[box] == i


def _class_weights(target: np.ndarray, valid: np.ndarray, class_weight: str | Sequence[float] | None) -> np.ndarray:
    """The map of each pixel's class weight."""
    if class_weight is None:
        return np.ones(target.shape)
    counts = np.bincount(target[valid], minlength=1)
    if isinstance(class_weight, str):
        if class_weight != "inverse":
            raise ValueError(must("class_weight", "'inverse', None or one number for each class", class_weight))
        table = valid.sum() / (np.count_nonzero(counts) * np.maximum(counts, 1))
    else:
        table = np.asarray(class_weight, dtype=np.float64)
        if table.ndim != 1 or len(table) < len(counts) or not (table >= 0).all():
            raise ValueError(must("class_weight", f"at least {len(counts)} numbers >= 0", class_weight))
    return np.asarray(table[target])
