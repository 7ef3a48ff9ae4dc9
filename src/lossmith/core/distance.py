"""Exact Euclidean distances of the pixels of masks, on the CPU, in NumPy, by `edt`."""

from collections.abc import Sequence

import numpy as np


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
        np.multiply(plane, 1 - 2 * mask.view(np.int8), out=plane)  # a `where` would be slow for scattered pixels
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
