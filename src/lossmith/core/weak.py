"""Losses that need no mask, or little of one: they look at the image, at the prediction alone, or at known sizes."""

from collections.abc import Callable

from lossmith.core.affinity import Kernel, neighbour_sum
from lossmith.core.namespaces import Array
from lossmith.core.pixel import mean_of_classes
from lossmith.core.pixels import Pixels, check_class_weight
from lossmith.core.reduce import Terms
from lossmith.core.region import Sums, takes
from lossmith.core.stable import divide
from lossmith.core.window import differences


def gated_crf(px: Pixels, **kernel: float) -> Terms:
    """sum_{j != i} k_ij (1 - sum_c p_ic p_jc) over the window of pixel i (Obukhov 2019, Eqs. 2-4).

    Pixels of weight 0 are gated out at both ends. Sigmoid tasks: the two-class form, 1 - p_i p_j - (1-p_i) (1-p_j).
    """
    xp, p = px.xp, px.probs
    summed = _neighbour_sum(px, kernel)
    rest = 1.0 - p
    others = rest if px.task == "multiclass" else xp.concat([rest, p], axis=1)
    if px.weight is not None:
        gate = px.valid()
        others = others * (gate if gate.shape[1] in (1, others.shape[1]) else xp.concat([gate, gate], axis=1))
    others = summed(others)
    if px.task == "multiclass":
        return Terms(xp.sum(p * others, axis=1, keepdims=True))
    return Terms(p * others[:, : px.channels, :] + rest * others[:, px.channels :, :])


def cut_sums(px: Pixels, **kernel: float) -> dict[str, Array]:
    """What `normalized_cut` is a formula of, (n, K): cut and volume, for sigmoid tasks also of the background.

    cut_k = sum_i p_ik sum_j k_ij (1 - p_jk), volume_k = sum_i p_ik sum_j k_ij, each pixel counted `weight` times. Both
    are given relative to the class's greatest probability, which the ratio does not depend on: neither can underflow.
    """
    xp, p, w = px.xp, px.probs, px.count()
    w = w if px.task == "multiclass" else w + xp.zeros_like(p)
    summed = _neighbour_sum(px, kernel)
    rest = w * (1.0 - p)
    if px.task == "multiclass":
        found = summed(xp.concat([rest, w], axis=1))
        others, degree = found[:, : px.channels, :], found[:, px.channels :, :]
    else:
        found = summed(xp.concat([rest, w * p], axis=1))
        others, own = found[:, : px.channels, :], found[:, px.channels :, :]
        degree = others + own
    share = w * _relative(px, px.log_probs)
    # Where there is no target every class is there: none is vacant.
    sums = {"T": px.statistic("N") + _nothing(px)}
    sums |= {"cut": xp.sum(share * others, axis=2), "volume": xp.sum(share * degree, axis=2)}
    if px.task != "multiclass":
        share = w * _relative(px, px.log_rest)
        sums |= {"rest cut": xp.sum(share * own, axis=2), "rest volume": xp.sum(share * degree, axis=2)}
    return sums


@takes(lambda **_: ())
def normalized_cut(S: Sums, **_: float) -> Array:
    """cut_k / volume_k for each class (Tang 2018, Eq. 3); sigmoid tasks: the mean of foreground and background."""
    cut = divide(S.xp, S.cut, S.volume)
    if "rest cut" not in S.known:
        return cut
    return 0.5 * (cut + divide(S.xp, S.known["rest cut"], S.known["rest volume"]))


def mumford_shah(px: Pixels, *, lam: float = 1e-3, isotropic: bool = False) -> Terms:
    """sum_k p_ik |x_i - c_k|^2 + lam sum_k |grad p_k|_i, c_k the mean image of class k (Kim & Ye 2020, Eq. 11).

    Sigmoid tasks have two classes a channel: what is in it, and the rest.
    """
    xp = px.xp
    phases = [(px.probs, px.log_probs)]
    if px.task != "multiclass":
        phases.append((1.0 - px.probs, px.log_rest))
    image, w = _image(px), px.count()
    loss = (lam * len(phases)) * _variation(px, px.probs, isotropic)
    for p, log_p in phases:
        share = w * _relative(px, log_p)
        size = xp.sum(share, axis=2, keepdims=True)
        for channel in range(image.shape[1]):
            x = image[:, channel : channel + 1, :]
            mean = divide(xp, xp.sum(share * x, axis=2, keepdims=True), size)
            loss = loss + p * (x - mean) ** 2
    return Terms(xp.sum(loss, axis=1, keepdims=True) if px.task == "multiclass" else loss)


def entropy(px: Pixels) -> Terms:
    """-sum_c p_c log p_c in nats (Grandvalet & Bengio 2004); sigmoid: -p log p - (1-p) log(1-p)."""
    xp, p = px.xp, px.probs
    lowest = -1.0 / xp.floor(px.like)  # 0 times -inf is not 0
    if px.task == "multiclass":
        return Terms(-xp.sum(p * xp.maximum(px.log_probs, lowest), axis=1, keepdims=True))
    return Terms(-p * xp.maximum(px.log_probs, lowest) - (1.0 - p) * xp.maximum(px.log_rest, lowest))


def total_variation(px: Pixels, *, isotropic: bool = False) -> Terms:
    """sum over the axes of |p_{i+1} - p_i|; isotropic: the root of the squares' sum. multiclass: the classes' mean."""
    variation = _variation(px, px.probs, isotropic)
    return Terms(variation if px.task != "multiclass" else mean_of_classes(px, variation))


def size_sums(px: Pixels, *, low: float | Array | None, high: float | Array | None) -> dict[str, Array]:
    """The bounds of each class in pixels, (n, K): `N` times those given; 0 and 0 for a class that has no tag.

    A scalar bounds every class but the background of a multiclass task, None no class.
    """
    xp, N = px.xp, px.statistic("N")
    zeros = _nothing(px) + xp.zeros_like(N)
    shares = {"low": _bound(px, "low", low, 0.0), "high": _bound(px, "high", high, 1.0)}
    bounds = {name: N * share + zeros for name, share in shares.items()}
    if "tags" in px.inputs:
        bounds = {name: xp.where(px.inputs["tags"], bound, zeros) for name, bound in bounds.items()}
    return {"T": N + zeros, **bounds}  # where there is no target every class is there: none is vacant


@takes(lambda **_: ())
def size_bounds(S: Sums, **_: float | Array | None) -> Array:
    """(low - V)^2 below the bounds, (V - high)^2 above, 0 between; V = P / N (Kervadec 2019, Eq. 3)."""
    below, above = S.mean(S.low - S.P), S.mean(S.P - S.high)
    return S.xp.maximum(below, 0.0) ** 2 + S.xp.maximum(above, 0.0) ** 2


def _nothing(px: Pixels) -> Array:
    """0 for each class of each image, (n, K); there may be no pixel to look at."""
    return px.xp.sum(px.xp.zeros_like(px.like[:, :, :1]), axis=2)


def _bound(px: Pixels, name: str, bound: float | Array | None, free: float) -> Array:
    """A bound for each class, (1, K); `free` is one that says nothing."""
    xp, K = px.xp, px.channels
    bound = free if bound is None else bound
    if isinstance(bound, float | int):
        background = px.task == "multiclass"
        return xp.constant([[free] * background + [float(bound)] * (K - background)], px.like)
    check_class_weight(bound, K, name)
    return xp.reshape(xp.astype(bound, px.like), (1, K))


def _neighbour_sum(px: Pixels, kernel: dict[str, float]) -> Callable[[Array], Array]:
    """``sum_j k_ij x_j`` of (n, k, P)."""
    summed = neighbour_sum(px.xp, Kernel(**kernel), px.grid(_image(px)))  # type: ignore[arg-type]
    return lambda x: px.xp.reshape(summed(px.grid(x)), x.shape)


def _image(px: Pixels) -> Array:
    """The image (n, c, P): 0 where a pixel does not count, NaN in place of inf, so that it is seen."""
    image = px.xp.astype(px.inputs["image"], px.like)
    if px.weight is not None:
        image = px.xp.where(px.xp.amax(px.weight, axis=1, keepdims=True) > 0, image, px.xp.zeros_like(image))
    return image + 0.0 * image


def _relative(px: Pixels, log_p: Array) -> Array:
    """p divided by its greatest value in the image, class by class, that being a constant."""
    xp, counts = px.xp, px.count() > 0
    if not px.pixels:
        return xp.exp(log_p)
    top = xp.amax(xp.where(counts, log_p, xp.zeros_like(log_p) - 1.0 / xp.floor(px.like)), axis=2, keepdims=True)
    return xp.exp(xp.where(counts, log_p - xp.stop_gradient(top), xp.zeros_like(log_p)))


def _variation(px: Pixels, p: Array, isotropic: bool) -> Array:
    """How far each pixel is from the next along every axis of space, (n, K, P); 0 from and to what does not count."""
    xp, grid = px.xp, px.grid(p)
    total = 0.0 * grid
    for step in differences(xp, grid, None if px.weight is None else px.grid(px.valid())):
        total = total + (step**2 if isotropic else xp.abs(step))
    if isotropic:
        still = total == 0  # where the root has no slope
        total = xp.where(still, total, xp.sqrt(xp.where(still, xp.ones_like(total), total)))
    return xp.reshape(total, p.shape)
