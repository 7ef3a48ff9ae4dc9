"""Exact Euclidean distances of the pixels of masks, on the CPU, in NumPy: by `edt`, and SciPy for the U-Net map."""

from collections.abc import Iterator, Sequence

import numpy as np

from lossmith.errors import must

REACH = 9.0  # in sigmas: beyond it the border term is below w0 exp(-40)


def signed_distance(
    inside: np.ndarray,
    valid: np.ndarray | None,
    spacing: Sequence[float],
    power: float = 1.0,
    dtype: type[np.floating] = np.float32,
) -> np.ndarray:
    """Distance of each valid pixel to the nearest valid one of the other kind, to a power, and negative inside.

    Where a mask is empty or full, and nothing is of the other kind, it is 1; at pixels that do not count, 0.

    inside, valid: bool (*n, *space), a mask for each index of the leading axes. spacing: the size of a pixel along each
    of the spatial axes, three at most. The squares are float32: with a spacing of 1 whole numbers, exact below 2^24.
    """
    out = np.empty(inside.shape, dtype=dtype)
    leading = inside.ndim - len(spacing)
    space = inside.shape[leading:] or (1,)  # no axis of space is one pixel
    count = int(np.prod(inside.shape[:leading]))
    masks, planes = inside.reshape(count, *space), out.reshape(count, *space)
    counted = [None] * count if valid is None else valid.reshape(count, *space)
    for mask, there, plane in zip(masks, counted, planes, strict=True):
        some = None if there is None or there.all() else there
        squares = _between(mask, spacing) if some is None else _between_valid(mask, some, spacing)
        if squares is None:
            plane[...] = 1.0
        else:
            _raise(squares, power, plane)
        if some is not None:
            plane[~some] = 0.0
        np.negative(plane, out=plane, where=mask)
    return out


def _raise(squares: np.ndarray, power: float, out: np.ndarray) -> None:
    """Write distances to a power, from their squares."""
    if power == 1:
        np.sqrt(squares, out=out, dtype=out.dtype)
    elif power == 2:
        out[...] = squares
    else:
        np.power(squares, 0.5 * power, out=out, dtype=out.dtype)


def _between(mask: np.ndarray, spacing: Sequence[float]) -> np.ndarray | None:
    """Squared distances, None without a boundary.

    One transform for both kinds: it takes labels, and gives each pixel the distance to another label.
    """
    if not mask.any() or mask.all():
        return None
    return _transform(mask.view(np.uint8) + np.uint8(1), spacing)


def _between_valid(mask: np.ndarray, there: np.ndarray, spacing: Sequence[float]) -> np.ndarray | None:
    """As `_between`, with a transform for each kind, from its valid pixels."""
    ins, outs = mask & there, there & ~mask
    if not ins.any() or not outs.any():
        return None
    return np.where(mask, _transform(~outs, spacing), _transform(~ins, spacing))


def _transform(labels: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Squared distance of each pixel to the nearest one of another label, of label 0 everywhere 0."""
    import edt

    size = float(spacing[0]) if len(spacing) == 1 else tuple(map(float, spacing))
    return np.asarray(edt.edtsq(np.ascontiguousarray(labels), anisotropy=size))


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
