"""The exact skeleton of masks, by scikit-image; on the CPU, in NumPy."""

import numpy as np


def tube(masks: np.ndarray, axes: int, width: int) -> np.ndarray:
    """The skeleton of each mask, widened by so many steps to the nearest neighbours and cut to the mask.

    masks: bool (*n, *space), a mask for each index of the leading axes; `axes` of space, 2 (Zhang & Suen 1984) or 3
    (Lee 1994).
    """
    try:
        from skimage.morphology import skeletonize
    except ImportError as error:
        raise ImportError("exact skeletons need scikit-image: pip install 'lossmith[topology]'") from error
    from scipy.ndimage import binary_dilation

    out = np.zeros(masks.shape, dtype=bool)
    space = masks.shape[masks.ndim - axes :]
    if out.size == 0:
        return out
    for mask, found in zip(masks.reshape(-1, *space), out.reshape(-1, *space), strict=True):
        if mask.any():
            line = skeletonize(np.ascontiguousarray(mask)) > 0
            found[...] = mask & (binary_dilation(line, iterations=width) if width else line)
    return out
