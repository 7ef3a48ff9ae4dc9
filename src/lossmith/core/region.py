"""Region losses: a formula on sums over the pixels of an image (or of the batch), class by class.

    I = sum w p t    P = sum w p    T = sum w t    N = sum w

A formula takes the `Sums` and gives one value for each item, (n, K): n images (or 1 for the batch) and K classes.
A class without target pixels is handled in one place for all of them, `region_loss`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from lossmith.core.namespaces import Array, Namespace
from lossmith.core.pixels import Pixels, check_class_weight
from lossmith.core.reduce import reduce_items
from lossmith.core.stable import divide, log_add_exp, log_probability, log_sum_exp, power
from lossmith.errors import must

POOLS = ("image", "batch")
EMPTIES = ("area", "smooth", "skip", "zero")
AVERAGES = ("macro", "image", "micro")
LOG_2 = math.log(2.0)

Formula = Callable[..., Array]
Blend = Callable[..., tuple[float, Array]]
Merge = Callable[[Pixels, Mapping[str, Array], Sequence[str]], Mapping[str, Array]]


@dataclass(frozen=True)
class Sums:
    """The statistics of a batch by name, each (n, K).

    counted: how much an item counts, None: all alike. full: every item is known to have target pixels. backgrounds: how
    many of the items are backgrounds, which come first.
    """

    xp: Namespace
    known: Mapping[str, Array]
    counted: Array | None = None
    full: bool = False
    backgrounds: int = 1

    def __getattr__(self, name: str) -> Array:
        return self.known[name]

    def mean(self, total: Array) -> Array:
        """A sum over pixels as their mean; 0 where there are none."""
        return divide(self.xp, total, self.known["N"] + self.xp.zeros_like(total))

    def log(self, name: str) -> Array:
        """log of a sum, also where that underflows."""
        return self.known[f"log {name}"]


def takes(
    names: Callable[..., Sequence[str]], *, beside: Blend | None = None, backgrounds: bool = False
) -> Callable[[Formula], Formula]:
    """Say which sums a formula needs beside N, P and T, given its options.

    beside: of a loss that adds pixel losses to a region loss, the share of the region loss, and what is added to it:
    the formula is the region loss alone, for which what is said about empty classes holds. `formula.merge`, where there
    is one, makes of the sums those that count before anything else looks at them. backgrounds: in sigmoid
    tasks the background of each channel is an item, too.
    """

    def declare(formula: Formula) -> Formula:
        formula.names, formula.beside, formula.backgrounds = names, beside, backgrounds  # type: ignore[attr-defined]
        return formula

    return declare


def names_of(formula: Formula, parameters: Mapping[str, object]) -> tuple[str, ...]:
    """The statistics that `region_loss` needs for a formula with these parameters."""
    return ("N", "P", "T", *formula.names(**parameters))  # type: ignore[attr-defined]


def dice_sums(squared: bool = False, log: bool = False, **_: object) -> Sequence[str]:
    """What `dice` takes."""
    overlap = "PT" if squared else "I"
    return [f"log {overlap}" if log else overlap, *(["PP", "TT"] if squared else [])]


@takes(dice_sums)
def dice(S: Sums, *, smooth: float = 0.0, squared: bool = False, log: bool = False) -> Array:
    """1 - (2 I + s) / (P + T + s); squared: 1 - (2 sum p t + s) / (sum p^2 + sum t^2 + s); log: -log of the ratio."""
    size = _plus(S.PP + S.TT if squared else S.P + S.T, smooth)
    if log:
        return _minus_log_index(S.xp, S.log("PT" if squared else "I") + LOG_2, size, smooth)
    return _index_loss(S, _plus(2.0 * (S.PT if squared else S.I), smooth), size)


@takes(lambda log=False, **_: ["I", "log I"] if log else ["I"])
def jaccard(S: Sums, *, smooth: float = 0.0, log: bool = False) -> Array:
    """1 - (I + s) / (P + T - I + s); log: -log of the ratio."""
    size = _plus(S.P + S.T - S.I, smooth)
    return _minus_log_index(S.xp, S.log("I"), size, smooth) if log else _index_loss(S, _plus(S.I, smooth), size)


@takes(lambda **_: ["I"])
def tversky(S: Sums, *, alpha: float = 0.5, beta: float = 0.5, smooth: float = 0.0) -> Array:
    """1 - (I + s) / (I + alpha FP + beta FN + s), FP = P - I, FN = T - I."""
    I = S.I
    size = _plus(I + alpha * (S.P - I) + beta * (S.T - I), smooth)
    return _index_loss(S if alpha > 0 and beta > 0 else replace(S, full=False), _plus(I, smooth), size)


@takes(lambda **_: ["I"])
def focal_tversky(S: Sums, *, alpha: float = 0.3, beta: float = 0.7, gamma: float = 0.75, smooth: float = 0.0) -> Array:
    """(1 - TI)^gamma for each class, TI the Tversky index."""
    loss = tversky(S, alpha=alpha, beta=beta, smooth=smooth)
    return power(S.xp, S.xp.maximum(loss, 0.0), gamma)


@takes(lambda **_: ["I"])
def generalized_dice(S: Sums, *, weighting: str = "square", smooth: float = 0.0) -> Array:
    """1 - (2 sum_c w_c I_c + s) / (sum_c w_c (P_c + T_c) + s), w_c = 1/T_c^2, 1/T_c or 1: one value for all classes.

    Weights are relative to that of the rarest class present, which has 1 (so `s` counts its pixels), and so has an
    absent class.
    A binary task counts background and foreground, the two classes of the paper.
    """
    xp = S.xp
    I, P, T = S.I, S.P, S.T
    counted = xp.ones_like(T) if S.counted is None else S.counted
    present = (T > 0) & (counted > 0)
    top = xp.amax(T, axis=1, keepdims=True)
    rarest = -xp.amax(-xp.where(present, T, top + xp.zeros_like(T)), axis=1, keepdims=True)
    ratio = xp.where(present, divide(xp, rarest + xp.zeros_like(T), T), xp.ones_like(T))
    w = counted * {"square": ratio**2, "simple": ratio, "uniform": xp.ones_like(ratio)}[weighting]
    numerator = 2.0 * xp.sum(w * I, axis=1, keepdims=True) + smooth
    denominator = xp.sum(w * (P + T), axis=1, keepdims=True) + smooth
    return _index_loss(S, numerator, denominator)


def _plus(x: Array, smooth: float) -> Array:
    return x + smooth if smooth else x


def _index_loss(S: Sums, overlap: Array, size: Array) -> Array:
    """1 - overlap / size; 0 where both are empty."""
    return 1.0 - divide(S.xp, overlap, size, otherwise=1.0, positive=S.full)


def _minus_log_index(xp: Namespace, log_overlap: Array, size: Array, smooth: float) -> Array:
    """log size - log(overlap + smooth)."""
    total = log_add_exp(xp, log_overlap, math.log(smooth)) if smooth > 0 else log_overlap
    return log_probability(xp, size) - total


def region_loss(
    px: Pixels,
    sums: Mapping[str, Array],
    names: Sequence[str],
    formula: Formula,
    *,
    reduction: str = "mean",
    pool: str = "image",
    classes: str | Sequence[int] = "all",
    empty: str = "area",
    average: str = "macro",
    class_weight: Array | None = None,
    joint: bool = False,
    **parameters: object,
) -> Array:
    """Reduce `formula(sums, **parameters)` over images and classes; `names` are the statistics it takes.

    pool: sums by image, or over the batch. classes: "all", those "present" in the item's target, or indices.
    empty: an item without target pixels costs the mean probability of its class ("area"), what the formula says
    ("smooth"), nothing ("zero"), or is left out ("skip"). average: the mean is over all items ("macro"), over the
    classes of an image and then over images ("image"), or there is one item for all classes together ("micro"). joint:
    the formula has already put the classes together, (n, 1).
    """
    xp = px.xp
    known = _pooled(px, _merged(px, sums, names, formula), names, pool)
    beside: Blend | None = getattr(formula, "beside", None)
    channels = known["T"].shape[1]
    both = px.task != "multiclass" and getattr(formula, "backgrounds", False)
    if both or (joint and px.task == "binary"):
        known = _two_classes(xp, known, names)
    T = known["T"]
    everyone = counted = _counted(px, known, classes, class_weight)
    if average == "micro":
        known, counted = _together(xp, known, names, counted)
        T = known["T"]
    vacant = T <= 0
    full = xp.read(xp.any(vacant)) is False
    S = Sums(xp, known, counted, full, channels if both else 1)
    value = formula(S, **parameters)
    if joint and not (full and counted is None):
        counted = xp.ones_like(T) if counted is None else counted
        chosen = xp.astype(counted > 0, T)
        area = (known["P"], known["N"] + xp.zeros_like(T))
        T, P, N = (xp.sum(total * chosen, axis=1, keepdims=True) for total in (T, *area))
        known, vacant = {"P": P, "N": N}, T <= 0
        counted = xp.astype(xp.sum(chosen, axis=1, keepdims=True) > 0, T)
    if empty != "smooth" and not full:
        value, counted = _vacant(xp, value, counted, vacant, known, empty)
    added: Array | None = None
    if beside is not None:
        share, added = beside(S, **parameters)
        added = reduce_items(px, added + xp.zeros_like(value), everyone, reduction, pooled=pool == "batch")
        value = share * value
    if counted is not None:
        value = xp.where(counted > 0, value, xp.zeros_like(value))
    if average == "image" and reduction == "mean" and (counted is not None or px.processes.shared):
        counted = xp.ones_like(value) if counted is None else counted
        counted = divide(xp, counted, xp.sum(counted, axis=1, keepdims=True) + xp.zeros_like(counted))
    if (joint or average == "micro") and reduction == "none":
        value = value[:, 0]
        return px.flagged(value[0] if pool == "batch" else value)
    value = reduce_items(px, value, counted, reduction, pooled=pool == "batch")
    return value if added is None else value + added


def _merged(px: Pixels, sums: Mapping[str, Array], names: Sequence[str], formula: Formula) -> Mapping[str, Array]:
    """The sums as `formula.merge` makes them, where there is one."""
    merge: Merge | None = getattr(formula, "merge", None)
    return sums if merge is None else merge(px, sums, names)


def _pooled(px: Pixels, sums: Mapping[str, Array], names: Sequence[str], pool: str) -> Mapping[str, Array]:
    """The statistics of each item: of an image, or of the batch in all of its processes."""
    xp, logs = px.xp, [name for name in names if name.startswith("log ")]
    if pool == "image" and not logs:
        return sums
    known = {name: sums[name] for name in names if name not in logs}
    if pool == "batch":
        totals = px.everywhere(*(xp.sum(total, axis=0, keepdims=True) for total in known.values()))
        known = dict(zip(known, totals, strict=True))
    for name in logs:
        total = log_sum_exp(xp, sums[name], axis=2)
        if pool == "batch":
            total = px.everywhere_log(xp.expand_dims(log_sum_exp(xp, total, axis=0), axis=0))
        known[name] = xp.where(known["T"] > 0, total, xp.zeros_like(total) + math.log(xp.floor(px.like)))
    return known


def _two_classes(xp: Namespace, known: Mapping[str, Array], names: Sequence[str]) -> dict[str, Array]:
    """The sums of the backgrounds of sigmoid tasks, and behind them those of the foregrounds, (n, 2 K).

    Of other sums than N, P, T and I both have the same.
    """
    P, T, I = (known[name] for name in ("P", "T", "I"))
    N = known["N"] + xp.zeros_like(T)
    rest = {"N": N, "P": N - P, "T": N - T, "I": N - P - T + I}
    found = {name: known[name] for name in names} | {"N": N}
    return {name: xp.concat([rest.get(name, found[name]), found[name]], axis=1) for name in names}


def _counted(
    px: Pixels, known: Mapping[str, Array], classes: str | Sequence[int], class_weight: Array | None
) -> Array | None:
    """How much each item counts: nothing without pixels, nothing outside of `classes`; None where all count alike."""
    xp, T, factors = px.xp, known["T"], []
    by_class = known["N"].shape[1] > 1  # a class may have fewer pixels than the image
    if px.weighted or by_class or px.images * px.pixels == 0:
        factors.append(xp.astype(known["N"] + xp.zeros_like(T) != 0, T))
    if classes == "present":
        factors.append(xp.astype(T > 0, T))
    elif not isinstance(classes, str):
        K = T.shape[1]
        if any(not 0 <= c < K for c in classes):
            raise ValueError(must("classes", f"indices from 0 to {K - 1}", list(classes)))
        factors.append(xp.constant([float(c in classes) for c in range(K)], T) + xp.zeros_like(T))
    if class_weight is not None:
        check_class_weight(class_weight, px.channels)
        factors.append(xp.reshape(xp.astype(class_weight, T), (1, -1)) + xp.zeros_like(T))
    return math.prod(factors[1:], start=factors[0]) if factors else None


def _together(
    xp: Namespace, known: Mapping[str, Array], names: Sequence[str], counted: Array | None
) -> tuple[dict[str, Array], Array | None]:
    """One item for the classes that count, each sum times how much they do: (n, 1)."""
    T = known["T"]
    share = xp.ones_like(T) if counted is None else counted
    floor = xp.floor(T)
    found = {}
    for name in names:
        if name.startswith("log "):
            found[name] = xp.expand_dims(log_sum_exp(xp, known[name] + xp.log(share + floor), axis=1), axis=1)
        else:
            found[name] = xp.sum((known[name] + xp.zeros_like(T)) * share, axis=1, keepdims=True)
    return found, None if counted is None else xp.astype(xp.sum(share, axis=1, keepdims=True) > 0, T)


def _vacant(
    xp: Namespace, value: Array, counted: Array | None, vacant: Array, known: Mapping[str, Array], empty: str
) -> tuple[Array, Array | None]:
    """The rule for items without target pixels."""
    if empty == "area":
        P = known["P"]
        return xp.where(vacant, divide(xp, P, known["N"] + xp.zeros_like(P)), value), counted
    if empty == "zero":
        return xp.where(vacant, xp.zeros_like(value), value), counted
    counted = xp.ones_like(value) if counted is None else counted
    return value, xp.where(vacant, xp.zeros_like(counted), counted)
