"""The topology losses again, as slow loops over pixels of one binary image, written from the papers."""

from itertools import product

import numpy as np
from skimage.morphology import skeletonize


def windows(x, valid, offsets, choose):
    """The extreme of the valid neighbours of every pixel; of none, the value itself."""
    out = np.array(x, dtype=float)
    for place in np.ndindex(x.shape):
        seen = []
        for offset in offsets:
            other = tuple(a + b for a, b in zip(place, offset, strict=True))
            if all(0 <= a < n for a, n in zip(other, x.shape, strict=True)) and valid[other]:
                seen.append(x[other])
        if seen:
            out[place] = choose(seen)
    return out


def skeleton(x, iterations, valid=None):
    """Shit 2021, Alg. 1."""
    valid = np.ones(x.shape, dtype=bool) if valid is None else valid
    box = list(product((-1, 0, 1), repeat=x.ndim))
    cross = [offset for offset in box if sum(map(abs, offset)) <= 1]
    eroded = windows(x, valid, cross, min)
    found = np.maximum(x - windows(eroded, valid, box, max), 0)
    for _ in range(iterations):
        x = eroded
        eroded = windows(x, valid, cross, min)
        ridge = np.maximum(x - windows(eroded, valid, box, max), 0)
        found = found + (1 - found) * ridge
    return found


def harmonic(a, A, b, B):
    sensitivity = b / B if B > 0 else 1.0
    precision = a / A if A > 0 else float(B <= 0)
    return 1 - 2 * precision * sensitivity / (precision + sensitivity) if precision + sensitivity > 0 else 1.0


def cldice(p, t, iterations, weight=None, smooth=0.0):
    w = np.ones(p.shape) if weight is None else weight
    of_p, of_t = skeleton(p, iterations, w > 0), skeleton(t.astype(float), iterations, w > 0)
    a, A = (w * np.minimum(of_p, t)).sum(), (w * of_p).sum()
    b, B = (w * np.minimum(of_t, p)).sum(), (w * of_t).sum()
    return harmonic(a + smooth, A + smooth, b + smooth, B + smooth)


def skeleton_recall(p, t, tube, weight=None, smooth=0.0):
    w = np.ones(p.shape) if weight is None else weight
    line = skeletonize(t > 0) > 0
    for _ in range(tube):
        wide = line.copy()
        for place in zip(*np.nonzero(line), strict=True):
            for axis in range(t.ndim):
                for step in (-1, 1):
                    other = list(place)
                    other[axis] += step
                    if 0 <= other[axis] < t.shape[axis]:
                        wide[tuple(other)] = True
        line = wide
    line &= t > 0
    return 1 - ((w * p)[line].sum() + smooth) / (w[line].sum() + smooth)


def distances(mask):
    """Of every pixel of the mask to the nearest outside, by all pairs."""
    outside = np.argwhere(~mask)
    out = np.zeros(mask.shape)
    for place in np.argwhere(mask):
        out[tuple(place)] = np.sqrt(((outside - place) ** 2).sum(1).min())
    return out


def cbdice(p, t, iterations, weight=None, smooth=0.0):
    """Shi 2024: weights Q, and their sums as the published code combines them."""
    w = np.ones(p.shape) if weight is None else weight
    near, radius, inverse, lines = [], [], [], []
    for values, cut in ((t.astype(float), t > 0), (p, p > 0.5)):
        soft = skeleton(values, iterations)
        line, distance = soft > 0.5, distances(cut)
        widest = max(distance[line].max(initial=0), 1)
        near.append(np.minimum(distance, widest) / widest * values)
        r = np.where(line, distance / widest, 0)
        radius.append(r * values)
        inverse.append(np.where(line, 1 / np.where(line, r, 1) ** (t.ndim - 1), 0) * soft)
        lines.append(line)
    q_vl, q_vp, q_slvl, q_spvp, q_sl, q_sp = *near, *radius, *inverse
    precision = (w * q_sp * q_vl).sum(), (w * np.where(q_slvl != 0, q_slvl, q_spvp) * q_sp).sum()
    sensitivity = (w * q_sl * q_vp).sum(), (w * np.where(q_spvp != 0, q_spvp, q_slvl) * q_sl).sum()
    return harmonic(*(number + smooth for number in (*precision, *sensitivity)))
