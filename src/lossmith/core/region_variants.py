"""Region losses beyond overlap: correlation, distances between classes, and sums of a region loss and pixel losses."""

from collections.abc import Sequence

from lossmith.core.namespaces import Array
from lossmith.core.pixel import Focusing, foreground, two_weights
from lossmith.core.pixels import Pixels
from lossmith.core.region import Sums, dice, dice_sums, takes, tversky
from lossmith.core.stable import divide, power
from lossmith.errors import must


@takes(lambda **_: ["I", "rest"])
def mcc(S: Sums) -> Array:
    """1 - (I/N - P/N T/N) / sqrt(P/N (1 - P/N) T/N (1 - T/N)), the correlation of prediction and target.

    The published (TP TN - FP FN) / sqrt((TP + FP) (TP + FN) (TN + FP) (TN + FN)), divided by N^2 above and below. It is
    0/0 where the target is foreground alone: there the background is the absent class and costs 1 - P/N.
    """
    xp = S.xp
    one = xp.ones_like(S.T)
    N = xp.where(S.N > 0, S.N + xp.zeros_like(S.T), one)
    p, t = S.P / N, S.T / N
    q, u = xp.maximum(1.0 - p, 0.0), S.rest / N
    vacant = (p * q <= 0) | (t * u <= 0)
    spread = xp.sqrt(xp.where(vacant, one, p * q)) * xp.sqrt(xp.where(vacant, one, t * u))
    value = 1.0 - xp.where(vacant, xp.zeros_like(p), (S.I / N - p * t) / spread)
    return xp.where((u <= 0) & (t > 0), q, value)


def background(px: Pixels, **_: object) -> dict[str, Array]:
    """How many pixels are not of a class: as a sum of its own it is exactly 0 where there is none."""
    return {"rest": px.sum(1.0 - px.target)}


@takes(dice_sums)
def log_cosh_dice(S: Sums, *, smooth: float = 0.0, squared: bool = False) -> Array:
    """log cosh(1 - Dice), as log(1 + sinh^2) / 2: without cancellation near 0 (Jadon 2020)."""
    xp = S.xp
    x = dice(S, smooth=smooth, squared=squared)
    return 0.5 * xp.log1p(((xp.expm1(x) - xp.expm1(-x)) / 2.0) ** 2)


@takes(lambda **_: ["PP", "TT", "error"])
def noise_robust_dice(S: Sums, **_: object) -> Array:
    """sum |p - t|^gamma / (sum p^2 + sum t^2) (Wang 2020); 0 without target, where it would grow as p falls."""
    xp, absent = S.xp, S.T <= 0
    size = xp.where(absent, xp.ones_like(S.T), S.PP + S.TT)
    return xp.where(absent, 0.0 * S.error, S.error / size)


def powers_of_errors(px: Pixels, *, gamma: float = 1.5, **_: object) -> dict[str, Array]:
    """sum w |p - t|^gamma."""
    return {"error": px.sum(power(px.xp, px.xp.abs(px.probs - px.target), gamma))}


@takes(lambda **_: ["missed", "added", "rest"])
def sensitivity_specificity(S: Sums, *, r: float = 0.05) -> Array:
    """r (mean squared error of the class's pixels) + (1 - r) (that of the others) (Brosch 2015)."""
    return r * divide(S.xp, S.missed, S.T) + (1.0 - r) * divide(S.xp, S.added, S.rest)


def squared_errors(px: Pixels, **_: object) -> dict[str, Array]:
    """sum w (t - p)^2 t and sum w (t - p)^2 (1 - t)."""
    squares = (px.target - px.probs) ** 2
    return {"missed": px.sum(squares * px.target), "added": px.sum(squares * (1.0 - px.target)), **background(px)}


def _blended(S: Sums, *, alpha: float = 0.5, beta: float = 0.5, **_: object) -> tuple[float, Array]:
    """The share of combo's Dice, and its cross-entropy."""
    return 1.0 - alpha, alpha * S.mean(beta * S.hit + (1.0 - beta) * S.miss)


@takes(lambda **_: ["I", "hit", "miss"], beside=_blended)
def combo(S: Sums, *, smooth: float = 0.0, **_: float) -> Array:
    """The region part of alpha (weighted cross-entropy) + (1 - alpha) (1 - Dice) (Taghanaki 2019)."""
    return dice(S, smooth=smooth)


def one_against_the_rest(px: Pixels, **_: object) -> dict[str, Array]:
    """-sum w t log p and -sum w (1 - t) log(1 - p) of each class."""
    return {
        "hit": -px.sum(px.target * px.log_probs),
        "miss": -px.sum((1.0 - px.target) * log_rest(px)),
    }


def log_rest(px: Pixels) -> Array:
    """log(1 - p) of every channel, also where p rounds to 1.

    A softmax's largest p may do so: of it, 1 - p is the sum over the other classes.
    """
    if px.task != "multiclass":
        return px.log_rest
    xp, log_p = px.xp, px.log_probs
    top = xp.one_hot(xp.argmax(log_p, axis=1), px.channels, px.like) > 0
    least = xp.zeros_like(log_p) - 1.0 / xp.floor(px.like)
    second = xp.stop_gradient(xp.amax(xp.where(top, least, log_p), axis=1, keepdims=True))
    share = xp.exp(xp.where(top, xp.zeros_like(log_p), log_p - second))  # of the second largest p; 1 for the largest
    rest = xp.log(xp.sum(share, axis=1, keepdims=True) - 1.0) + second
    return xp.where(top, rest, xp.log1p(-share * xp.exp(second)))


def _focused(S: Sums, *, lam: float = 0.5, **_: object) -> tuple[float, Array]:
    """The share of unified focal's Tversky loss, and its focal loss."""
    return 1.0 - lam, lam * S.mean(S.focal)


@takes(lambda **_: ["I", "focal"], beside=_focused, backgrounds=True)
def unified_focal(
    S: Sums, *, delta: float = 0.6, gamma: float = 0.5, asymmetric: bool = True, smooth: float = 0.0, **_: float
) -> Array:
    """The region part of lam (focal) + (1 - lam) (focal Tversky): (1 - TI)^(1 - gamma) for each class.

    asymmetric: the background's without the power (Yeung 2022).
    """
    loss = S.xp.maximum(tversky(S, alpha=1.0 - delta, beta=delta, smooth=smooth), 0.0)
    raised = power(S.xp, loss, 1.0 - gamma)
    k = S.backgrounds
    return S.xp.concat([loss[:, :k], raised[:, k:]], axis=1) if asymmetric else raised


def focal_terms(
    px: Pixels, *, delta: float = 0.6, gamma: float = 0.5, asymmetric: bool = True, **_: object
) -> dict[str, Array]:
    """sum of delta_t (1 - p_t)^gamma (-log p_t), delta of foreground, 1 - delta of background.

    asymmetric: the foreground's without the power (Yeung 2022).
    """
    if not asymmetric:
        return {"focal": px.sum(px.expect(Focusing(px.xp, gamma), *two_weights(px, 1.0 - delta, delta)))}
    objects = -px.expect(None, *two_weights(px, 0.0, delta))
    return {"focal": px.sum(objects + px.expect(Focusing(px.xp, gamma), *two_weights(px, 1.0 - delta, 0.0)))}


@takes(lambda **_: ["right"])
def wasserstein_dice(S: Sums, **_: object) -> Array:
    """1 - 2 R / (2 R + E), E = sum W_i, R = sum a_i (a_i - W_i) over all pixels (Fidon 2017).

    W_i is the distance of prediction and truth, a_i that of the truth and the background, largest distance 1. As the
    prediction of the background counts as its own, P and T are here E and the foreground's pixels (`distances_moved`).
    """
    xp, absent, one = S.xp, S.T <= 0, S.xp.ones_like(S.P)
    size = xp.where(absent, one, 2.0 * S.right + S.P)
    wrong = xp.where(S.P > 0, one, xp.zeros_like(one)) + 0.0 * S.P
    return xp.where(absent, wrong, S.P / size)


def class_distances(
    px: Pixels, *, distances: Sequence[Sequence[float]] | None = None, **_: object
) -> dict[str, object]:
    """The distances between the classes, largest 1, row by row; None where they are all alike."""
    if distances is None:
        return {"distances": None}
    K = px.channels
    if len(distances) != K:
        raise ValueError(
            must("distances", f"{K} x {K} numbers, one for each pair of classes", f"{len(distances)} rows")
        )
    most = max(max(row) for row in distances)
    return {"distances": px.xp.constant([d / most for row in distances for d in row], px.like)}


def distances_moved(px: Pixels, *, distances: Array | None) -> dict[str, Array]:
    """sum W_i, sum a_i (a_i - W_i), and how many pixels are foreground: (n, 1) each.

    A certain truth has one way only to move probability: W_i = sum_c p_c d(t_i, c); 1 - p_t where all d are 1.
    """
    xp, K, labels = px.xp, px.channels, px.labels
    assert labels is not None
    objects = foreground(px)
    if distances is None:
        moved, a = px.expect(lambda p: p.rest), objects
    else:  # column by column: an index of the block's size would cost more than all the rest
        rows = xp.stack([xp.lookup(distances[c * K : (c + 1) * K], labels) for c in range(K)], axis=1)
        moved, a = xp.sum(px.probs * rows, axis=1, keepdims=True), rows[:, :1, :]
    return {"P": px.sum(moved), "right": px.sum(a * (a - moved)), "T": px.sum(objects)}
