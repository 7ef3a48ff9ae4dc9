"""The door: what comes in as logits, target and weight is checked, and opened as `Pixels`."""

from collections.abc import Sequence
from math import inf, prod

from lossmith.core.namespaces import Array, Namespace
from lossmith.core.pixels import TASKS, Pixels
from lossmith.errors import must

SOFT_SUM_TOLERANCE = 1e-2  # half-precision soft targets sum to 1 no better than this


def open_pixels(
    xp: Namespace,
    logits: Array,
    target: Array,
    weight: Array | None = None,
    *,
    task: str,
    ignore_index: int | None = None,
    from_logits: bool = True,
) -> Pixels:
    """Check a batch and open it as `Pixels`.

    Shapes: logits (N, C, *space), binary also (N, 1, *space) or (N, *space); target (N, *space) class indices, or soft
    / one-hot of the logits' shape; weight (N, *space), and for multilabel also the logits' shape. Which of them came
    is told by shape and dtype, never by values. Where values may be read, bad ones raise; elsewhere (traces,
    accelerators) they make the loss NaN.
    """
    space, channels = _layout(logits, task)
    images = logits.shape[0]
    if xp.kind(logits) != "real":
        raise TypeError(must("logits", "floating point", str(logits.dtype)))
    _check_shapes(logits, target, weight, task, space)
    cube = (images, channels, prod(space))
    scores = xp.reshape(xp.wide(logits), cube)
    hard = xp.kind(target) != "real"
    indices = task == "multiclass" and not _same(target.shape, logits.shape)
    if indices and not hard:
        raise TypeError(must("target", "class indices of an integer dtype", str(target.dtype)))
    if xp.kind(target) == "other":
        raise TypeError(must("target", "of an integer, bool or floating dtype", str(target.dtype)))
    values = xp.reshape(target, (images, cube[2]) if indices else cube)
    values = xp.integers(values) if hard else xp.astype(xp.wide(values), scores)
    valid, weights = _validity(xp, values, weight, task, ignore_index, indices, scores)
    if valid is not None:
        keep = xp.expand_dims(valid, axis=1) if indices else valid
        values = xp.where(valid, values, xp.zeros_like(values))
        scores = xp.where(keep, scores, xp.zeros_like(scores) + (0.0 if from_logits else 1.0 / max(channels, 2)))
    unread = _label_flaw(xp, values, channels if indices else 2, hard, ignore_index)
    flaws = [unread]
    if task == "multiclass" and not indices:
        flaws.append(_sum_flaw(xp, xp.astype(values, scores), valid, "target"))
    if not from_logits:
        flaws.append(_probability_flaw(xp, scores, task))
    if weights is not None and weight is not None:
        wrong = ~(weights >= 0) | (weights == inf)
        flaws.append(_found(xp, xp.any(wrong), "weight must be finite and >= 0 everywhere; got other values"))
    open_flaws = [flaw for flaw in flaws if flaw is not None]
    if indices and unread is not None:  # the labels may be wrong: the value will be NaN, but no index may point outside
        inside = (values >= 0) & (values < channels)
        values = xp.where(inside, values, xp.zeros_like(values))
    return Pixels(
        xp,
        task,
        space,
        logits=scores if from_logits else None,
        probs=None if from_logits else scores,
        labels=values if indices else None,
        target=None if indices else xp.astype(values, scores),
        soft=not hard,
        weight=weights,
        flaw=xp.any(xp.stack(open_flaws)) if open_flaws else None,
    )


def _layout(logits: Array, task: str) -> tuple[tuple[int, ...], int]:
    """The spatial shape and the number of channels of the logits."""
    shape = tuple(logits.shape)
    if task not in TASKS:
        raise ValueError(must("task", "'binary', 'multiclass' or 'multilabel'", task))
    if task == "binary":
        if len(shape) < 1:
            raise ValueError(must("logits", "of shape (N, 1, *space) or (N, *space)", shape))
        return (shape[2:] if len(shape) > 1 and shape[1] == 1 else shape[1:]), 1
    if len(shape) < 2:
        raise ValueError(must("logits", "of shape (N, C, *space)", shape))
    if task == "multiclass" and shape[1] < 2:
        raise ValueError(
            f"logits of a multiclass task must have at least 2 channels; got shape {shape}; "
            "one channel is task='binary'"
        )
    return shape[2:], shape[1]


def _check_shapes(logits: Array, target: Array, weight: Array | None, task: str, space: tuple[int, ...]) -> None:
    full, flat = tuple(logits.shape), (logits.shape[0], *space)
    legal = (full,) if task == "multilabel" else (flat,) if _same(flat, full) else (flat, full)
    weights = (flat,) if task == "multiclass" or _same(flat, full) else (flat, full)
    for name, array, shapes in (("target", target, legal), ("weight", weight, weights)):
        if array is not None and not any(_same(array.shape, shape) for shape in shapes):
            expected = " or ".join(str(shape) for shape in shapes)
            raise ValueError(
                f"{name} must be of shape {expected} for {task} logits of shape {full}; got {tuple(array.shape)}"
            )


def _same(one: Sequence[int], other: Sequence[int]) -> bool:
    """Whether two shapes are equal; ranks first, so that no exporter sees sizes of different axes compared."""
    return len(one) == len(other) and tuple(one) == tuple(other)


def _validity(
    xp: Namespace,
    values: Array,
    weight: Array | None,
    task: str,
    ignore_index: int | None,
    indices: bool,
    like: Array,
) -> tuple[Array | None, Array | None]:
    """Which items count (as a mask of `values`' shape or one that broadcasts to it), and how often."""
    valid = None
    if ignore_index is not None:
        if task == "multiclass" and not indices:
            raise ValueError(
                f"ignore_index must be None for a target of the logits' shape; got {ignore_index}; "
                "give such pixels weight 0"
            )
        valid = values != ignore_index
    weights = None
    if weight is not None:
        images, channels, pixels = like.shape
        per_channel = prod(weight.shape) == prod(like.shape)
        weights = xp.reshape(xp.astype(weight, like), (images, channels if per_channel else 1, pixels))
        counted = weights != 0
        counted = xp.reshape(counted, (images, pixels)) if indices else counted
        valid = counted if valid is None else valid & counted
    if valid is None:
        return None, None
    mask = xp.astype(xp.expand_dims(valid, axis=1) if indices else valid, like)
    return valid, mask if weights is None else xp.where(mask > 0, weights, xp.zeros_like(mask))


def _found(xp: Namespace, flaw: Array, message: str) -> Array | None:
    """Raise where the flag can be read and is up; the flag itself where it cannot; None where all is well."""
    seen = xp.read(flaw)
    if seen:
        raise ValueError(message)
    return flaw if seen is None else None


def _label_flaw(xp: Namespace, values: Array, classes: int, hard: bool, ignore_index: int | None) -> Array | None:
    top = classes - 1 if hard else 1
    outside = (values < 0) | (values > top)
    flaw = xp.any(outside)
    seen = xp.read(flaw)
    if seen:
        low, high = xp.extremes(xp.where(outside, values, xp.zeros_like(values)))
        expected = f"class indices from 0 to {top}" if hard else "probabilities in [0, 1]"
        also = "" if ignore_index is None else f" or ignore_index {ignore_index}"
        raise ValueError(must("target", expected + also, low if low < 0 else high))
    return flaw if seen is None else None


def _probability_flaw(xp: Namespace, p: Array, task: str) -> Array | None:
    message = "logits must hold probabilities in [0, 1] when from_logits=False; got values outside"
    flaw = _found(xp, xp.any((p < 0) | (p > 1)), message)
    if task == "multiclass":
        total = _sum_flaw(xp, p, None, "logits")
        flaw = total if flaw is None else flaw if total is None else flaw | total
    return flaw


def _sum_flaw(xp: Namespace, p: Array, valid: Array | None, name: str) -> Array | None:
    off = xp.abs(xp.sum(p, axis=1, keepdims=True) - 1.0) > SOFT_SUM_TOLERANCE
    if valid is not None:
        off = off & valid
    return _found(xp, xp.any(off), f"{name} must hold probabilities that sum to 1 over the classes; got other sums")
