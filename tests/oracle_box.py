"""The box losses from their papers: one pair of boxes at a time, numbers of mpmath, no arrays.

`frozen` is the prediction at which factors are taken that are constants of the gradient (CIoU's alpha, WIoU's
diagonal, Focal-EIoU's weight): a difference of such a loss is a difference of what is left.
"""

from collections.abc import Sequence

from mpmath import asin, atan, exp, inf, log, mpf, pi, sin, sqrt, workdps

Box = Sequence[float]


def sides(box: Box) -> list[tuple[mpf, mpf]]:
    half = len(box) // 2
    return [(mpf(box[k]), mpf(box[k + half])) for k in range(half)]


def product(values) -> mpf:
    total = mpf(1)
    for value in values:
        total *= value
    return total


def area(box: Box) -> mpf:
    return product(high - low for low, high in sides(box))


def common(a: Box, b: Box) -> mpf:
    return product(max(min(h, k) - max(l, m), 0) for (l, h), (m, k) in zip(sides(a), sides(b), strict=True))


def hull(a: Box, b: Box) -> list[mpf]:
    return [max(h, k) - min(l, m) for (l, h), (m, k) in zip(sides(a), sides(b), strict=True)]


def iou(a: Box, b: Box) -> mpf:
    union = area(a) + area(b) - common(a, b)
    if union == 0:
        return mpf(1) if [*a] == [*b] else mpf(0)
    return common(a, b) / union


def shift(a: Box, b: Box) -> list[mpf]:
    return [(l + h - m - k) / 2 for (l, h), (m, k) in zip(sides(a), sides(b), strict=True)]


def gap(a: Box, b: Box) -> mpf:
    whole = product(hull(a, b))
    return (whole - (area(a) + area(b) - common(a, b))) / whole if whole else mpf(0)


def distance(a: Box, b: Box) -> mpf:
    diagonal = sum(side**2 for side in hull(a, b))
    return sum(d**2 for d in shift(a, b)) / diagonal if diagonal else mpf(0)


def aspect_angle(box: Box) -> mpf:
    (left, right), (top, bottom) = sides(box)
    width, height = right - left, bottom - top
    return atan(width / height) if height else pi / 2


def aspect(a: Box, b: Box) -> mpf:
    """A point has no aspect ratio: nothing is wrong with it."""
    if any(left == right and top == bottom for (left, right), (top, bottom) in (sides(a), sides(b))):
        return mpf(0)
    return 4 / pi**2 * (aspect_angle(b) - aspect_angle(a)) ** 2


def alpha_of(a: Box, b: Box) -> mpf:
    v = aspect(a, b)
    return v / (1 - iou(a, b) + v) if v else mpf(0)


def box_l1(a: Box, b: Box, frozen: Box) -> mpf:
    return sum(abs(mpf(x) - mpf(y)) for x, y in zip(a, b, strict=True))


def box_smooth_l1(a: Box, b: Box, frozen: Box, beta: float = 1.0) -> mpf:
    total = mpf(0)
    for x, y in zip(a, b, strict=True):
        d = abs(mpf(x) - mpf(y))
        total += d**2 / (2 * mpf(beta)) if d < beta else d - mpf(beta) / 2
    return total


def box_iou(a: Box, b: Box, frozen: Box, form: str = "linear") -> mpf:
    found = iou(a, b)
    if form == "log":
        return -log(found) if found else mpf(inf)
    return 1 - found if form == "linear" else 1 - found**2


def giou(a: Box, b: Box, frozen: Box) -> mpf:
    return 1 - iou(a, b) + gap(a, b)


def diou(a: Box, b: Box, frozen: Box) -> mpf:
    return 1 - iou(a, b) + distance(a, b)


def ciou(a: Box, b: Box, frozen: Box, gradient: str = "constant", threshold: float = 0.0) -> mpf:
    alpha = alpha_of(a if gradient == "full" else frozen, b)
    return diou(a, b, frozen) + (alpha if iou(frozen, b) >= threshold else 0) * aspect(a, b)


def eiou(a: Box, b: Box, frozen: Box) -> mpf:
    total = diou(a, b, frozen)
    for (l, h), (m, k), side in zip(sides(a), sides(b), hull(a, b), strict=True):
        total += ((h - l) - (k - m)) ** 2 / side**2 if side else 0
    return total


def siou(a: Box, b: Box, frozen: Box, theta: float = 4.0) -> mpf:
    across, down = shift(a, b)
    far = sqrt(across**2 + down**2)
    angle = 1 - 2 * sin(asin(abs(down) / far) - pi / 4) ** 2 if far else mpf(0)
    apart, shape = mpf(0), mpf(0)
    for d, side in zip((across, down), hull(a, b), strict=True):
        apart += 1 - exp(-(2 - angle) * (d / side) ** 2) if side else 0
    for (l, h), (m, k) in zip(sides(a), sides(b), strict=True):
        larger = max(h - l, k - m)
        shape += (1 - exp(-abs((h - l) - (k - m)) / larger)) ** mpf(theta) if larger else 0
    return 1 - iou(a, b) + (apart + shape) / 2


def penalties(a: Box, b: Box, frozen: Box, form: str) -> list[mpf]:
    return {
        "iou": lambda: [],
        "giou": lambda: [gap(a, b)],
        "diou": lambda: [distance(a, b)],
        "ciou": lambda: [distance(a, b), alpha_of(frozen, b) * aspect(a, b)],
    }[form]()


def alpha_iou(a: Box, b: Box, frozen: Box, alpha: float = 3.0, form: str = "iou") -> mpf:
    return 1 - iou(a, b) ** mpf(alpha) + sum(x ** mpf(alpha) for x in penalties(a, b, frozen, form))


def focal_eiou(a: Box, b: Box, frozen: Box, gamma: float = 0.5, gradient: str = "constant") -> mpf:
    return iou(a if gradient == "full" else frozen, b) ** mpf(gamma) * eiou(a, b, frozen)


def mpdiou(a: Box, b: Box, frozen: Box, image_size: tuple[float, float]) -> mpf:
    corners = sum((mpf(x) - mpf(y)) ** 2 for x, y in zip(a, b, strict=True))
    return 1 - iou(a, b) + corners / (mpf(image_size[0]) ** 2 + mpf(image_size[1]) ** 2)


def scaled(box: Box, ratio: float) -> list[mpf]:
    middles = [((low + high) / 2, (high - low) / 2 * mpf(ratio)) for low, high in sides(box)]
    return [middle - half for middle, half in middles] + [middle + half for middle, half in middles]


def inner_iou(a: Box, b: Box, frozen: Box, ratio: float = 0.75, form: str = "iou") -> mpf:
    return 1 - iou(scaled(a, ratio), scaled(b, ratio)) + sum(penalties(a, b, frozen, form))


def wiou(a: Box, b: Box, frozen: Box) -> mpf:
    diagonal = sum(side**2 for side in hull(frozen, b))
    away = sum(d**2 for d in shift(a, b)) / diagonal if diagonal else mpf(0)
    return exp(away) * (1 - iou(a, b))


def nwd(a: Box, b: Box, frozen: Box, constant: float = 12.8) -> mpf:
    squared = sum(d**2 for d in shift(a, b))
    for (l, h), (m, k) in zip(sides(a), sides(b), strict=True):
        squared += ((h - l) / 2 - (k - m) / 2) ** 2
    return 1 - exp(-sqrt(squared) / mpf(constant))


ORACLES = {
    function.__name__: function
    for function in (
        box_l1, box_smooth_l1, box_iou, giou, diou, ciou, eiou, siou, alpha_iou, focal_eiou, mpdiou, inner_iou, wiou, nwd,
    )
}  # fmt: skip


@workdps(40)
def value(name: str, a: Box, b: Box, **parameters) -> float:
    return float(ORACLES[name](a, b, a, **parameters))


@workdps(40)
def slope(name: str, a: Box, b: Box, **parameters) -> list[float]:
    """Central differences, by 1e-15 at 40 digits."""
    oracle, step, result = ORACLES[name], mpf("1e-15"), []
    for k in range(len(a)):
        up, down = [[mpf(x) + sign * step * (i == k) for i, x in enumerate(a)] for sign in (1, -1)]
        result.append(float((oracle(up, b, a, **parameters) - oracle(down, b, a, **parameters)) / (2 * step)))
    return result
